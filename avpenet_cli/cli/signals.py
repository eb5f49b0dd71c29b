"""Turn SIGTERM, SIGINT and SIGHUP into a request to stop that is checked between batches."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@contextlib.contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Within the block the first signal makes the yielded function return True; a second raises KeyboardInterrupt."""
    stop_requested = threading.Event()
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def request_stop(number: int, frame: FrameType | None) -> None:
        if stop_requested.is_set():
            raise KeyboardInterrupt
        stop_requested.set()

    for number, handler in before.items():
        # SIGHUP stays ignored under nohup.
        if handler is not signal.SIG_IGN:
            signal.signal(number, request_stop)
    try:
        yield stop_requested.is_set
    finally:
        for number, handler in before.items():
            # After a first signal the program is ending; a second one must not interrupt its last message.
            signal.signal(number, signal.SIG_IGN if stop_requested.is_set() else handler)
