"""Read an iterable ahead of its consumer in a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from typing import TypeVar

T = TypeVar("T")
_POLL_S = 0.2


def prefetch(source: Iterable[T], depth: int) -> Generator[T, None, None]:
    """Yield the items of `source`, read by a thread up to `depth` items ahead.

    An exception in `source` is raised here at its position. Closing this generator ends the thread and the source.
    """
    items: queue.Queue[tuple[bool, T | BaseException | None]] = queue.Queue(maxsize=depth)
    abandoned = threading.Event()

    def put(item: tuple[bool, T | BaseException | None]) -> bool:
        while not abandoned.is_set():
            try:
                items.put(item, timeout=_POLL_S)
            except queue.Full:
                continue
            return True
        return False

    def read() -> None:
        try:
            for item in source:
                if not put((True, item)):
                    return
            put((False, None))
        except BaseException as error:  # passed to the consumer, which raises it
            put((False, error))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        while True:
            more, item = items.get()
            if more:
                yield item  # type: ignore[misc]
            elif isinstance(item, BaseException):
                raise item
            else:
                return
    finally:
        abandoned.set()
        thread.join()
