"""Progress, log and interruption of a command, as the library's callbacks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from avpenet_cli.cli.reporter import Reporter
from avpenet_cli.cli.signals import stop_on_signals
from avpenet_cli.runs.callbacks import RunCallbacks


class _ReporterCallbacks(RunCallbacks):
    """Passes reports on to a `Reporter`, which appears with the first of them."""

    def __init__(
        self, quiet: bool, counted: tuple[str, str], should_stop: Callable[[], bool], stack: contextlib.ExitStack
    ) -> None:
        self._quiet, self._counted, self._should_stop, self._stack = quiet, counted, should_stop, stack
        self._reporter: Reporter | None = None

    def set_total(self, total: int) -> None:
        reporter = Reporter("text", None, self._quiet, False, total, self._counted)
        self._reporter = self._stack.enter_context(reporter)

    def info(self, message: str, **fields: object) -> None:
        if self._reporter is not None:
            self._reporter.info(message, **fields)

    def detail(self, message: str, **fields: object) -> None:
        if self._reporter is not None:
            self._reporter.detail(message, **fields)

    def warning(self, message: str, **fields: object) -> None:
        if self._reporter is not None:
            self._reporter.warning(message, **fields)

    def progress(self, done: float, total: float) -> None:
        if self._reporter is not None:
            self._reporter.seconds(done, total)

    def item_done(self) -> None:
        if self._reporter is not None:
            self._reporter.advance()

    def should_stop(self) -> bool:
        return self._should_stop()


@contextlib.contextmanager
def run_callbacks(quiet: bool, counted: tuple[str, str] = ("recordings", "seconds")) -> Iterator[RunCallbacks]:
    """Callbacks that log and show progress on stderr, and stop the run at SIGTERM, SIGHUP or Ctrl-C.

    Args:
        quiet: only warnings and errors.
        counted: what the two progress bars count: all items, and the parts of the current one.
    """
    with stop_on_signals() as should_stop, contextlib.ExitStack() as stack:
        yield _ReporterCallbacks(quiet, counted, should_stop, stack)
