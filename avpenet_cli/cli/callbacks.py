"""Progress, log and interruption of a command, as the library's callbacks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Self

from avpenet_cli.cli.reporter import Reporter
from avpenet_cli.cli.signals import stop_on_signals


class _LateReporter(Reporter):
    """A reporter whose progress bars appear once the number of items is known."""

    def __enter__(self) -> Self:
        return self

    def set_total(self, total: int) -> None:
        if self._progress is not None:
            self._progress.update(self._all, total=total)
            self._progress.start()


@contextlib.contextmanager
def run_callbacks(quiet: bool, counted: tuple[str, str] = ("recordings", "seconds")) -> Iterator[Reporter]:
    """Callbacks that log and show progress on stderr, and stop the run at SIGTERM, SIGHUP or Ctrl-C.

    Args:
        quiet: only warnings and errors.
        counted: what the two progress bars count: items of the run, and parts of the current item.
    """
    with (
        stop_on_signals() as should_stop,
        _LateReporter("text", None, quiet, False, 0, counted, should_stop) as reporter,
    ):
        yield reporter
