"""Log and progress of a run, on stderr: progress bars on a terminal, plain or JSON lines elsewhere."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Literal, Self

import typer
from rich.console import Console

from avpenet_cli.cli.progress import RunProgress
from avpenet_cli.cli.run_end import formatted_traceback, run_end
from avpenet_cli.cli.run_log import LogOptions, make_log, printable
from avpenet_cli.cli.signals import stop_on_signals
from avpenet_cli.errors import ExitCode
from avpenet_cli.runs.callbacks import RunCallbacks

Tracebacks = Literal["none", "full", "without text"]
"""Whether failures are traced, and whether with the errors' own text, which may hold a patient's name."""


class Reporter(RunCallbacks):
    """Progress and log of one run, as a context.

    An error that leaves the context is logged, and becomes `typer.Exit` with its exit code.

    Args:
        log: format, file and level of the log.
        tracebacks: of recordings that fail, and of the error that ends the run.
        counted: what the two progress bars count: items of the run, and parts of the current item.
    """

    def __init__(
        self,
        log: LogOptions,
        tracebacks: Tracebacks = "none",
        counted: tuple[str, str] = ("recordings", "seconds"),
    ) -> None:
        self._should_stop: Callable[[], bool] = lambda: False
        self._tracebacks, self._is_json = tracebacks, log.format == "json"
        self._totals: Callable[[], tuple[str, dict[str, Any]]] | None = None
        console = Console(stderr=True) if sys.stderr.isatty() and not self._is_json else None
        self._progress = RunProgress(counted, console) if console is not None and not log.quiet else None
        self._log = make_log(log, console)
        self._libraries = _LibraryLines(self.detail)

    def __enter__(self) -> Self:
        logging.captureWarnings(True)
        logging.getLogger().addHandler(self._libraries)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close_progress()
        try:
            if error is not None and not isinstance(error, (typer.Exit, SystemExit, BrokenPipeError)):
                raise typer.Exit(self._log_end(error)) from error
        finally:
            logging.getLogger().removeHandler(self._libraries)
            logging.captureWarnings(False)
            for handler in self._log.handlers:
                with contextlib.suppress(OSError):  # reported when it happened, see _LogFile
                    handler.close()

    def _log_end(self, error: BaseException) -> ExitCode:
        end = run_end(error)
        if end.has_traceback and isinstance(error, Exception):
            self.failure(error)
        self._log_line(logging.ERROR, end.message, event="error", exit_code=int(end.exit_code), remedy=end.remedy)
        if self._is_json and self._totals is not None:
            message, fields = self._totals()
            self.summary(message, end.exit_code, **fields)
        return end.exit_code

    def close_progress(self) -> None:
        """End the progress bars; before anything is printed elsewhere than in the log."""
        if self._progress is not None:
            self._progress.stop()

    @contextlib.contextmanager
    def stopping_on_signals(self) -> Iterator[None]:
        """Within the block SIGTERM, SIGHUP and Ctrl-C ask for the end of the run."""
        with stop_on_signals() as self._should_stop:
            yield

    def should_stop(self) -> bool:
        """Whether a signal asked for the end of the run."""
        return self._should_stop()

    def set_total(self, total: int) -> None:
        """Show the progress bars, now that the number of items is known."""
        if self._progress is not None:
            self._progress.begin(total)

    def item_started(self, name: str, lane: int = 0) -> None:
        """Show the name of an item that is in progress."""
        if self._progress is not None:
            self._progress.item_started(printable(name), lane)

    def progress(self, done: float, total: float, lane: int = 0) -> None:
        """Move the bar of the items in progress."""
        if self._progress is not None:
            self._progress.item_progress(done, total, lane)

    def item_done(self, lane: int | None = 0) -> None:
        """Move the bar of all items."""
        if self._progress is not None:
            self._progress.item_done(lane)

    def info(self, message: str, **fields: object) -> None:
        """Log a line; `fields` are added to it in JSON."""
        self._log_line(logging.INFO, message, **fields)

    def detail(self, message: str, **fields: object) -> None:
        """Log a line that only -v shows."""
        self._log_line(logging.DEBUG, message, **fields)

    def warning(self, message: str, **fields: object) -> None:
        """Log something that a person should look at."""
        self._log_line(logging.WARNING, message, **fields)

    def error(self, message: str, **fields: object) -> None:
        """Log that something failed; -q shows it, too."""
        self._log_line(logging.ERROR, message, **fields)

    def failure(self, error: Exception) -> None:
        """Log a traceback if asked to, without the error's own text where that may hold a patient's name."""
        if self._tracebacks != "none":
            trace = formatted_traceback(error, with_text=self._tracebacks == "full")
            self._log_line(logging.ERROR, type(error).__name__, event="traceback", traceback=trace)

    def set_totals(self, totals: Callable[[], tuple[str, dict[str, Any]]]) -> None:
        """Say what a JSON log's summary holds where an error ends the run: message and fields of `summary`."""
        self._totals = totals

    def summary(self, message: str, exit_code: ExitCode, **fields: object) -> None:
        """Log the last line of a run. With -q it is shown only if the exit code is not 0."""
        self.close_progress()
        level = logging.INFO if exit_code == ExitCode.OK else logging.ERROR
        self._log_line(level, message, event="summary", exit_code=int(exit_code), **fields)

    def _log_line(self, level: int, message: str, **fields: object) -> None:
        self._log.log(level, message, extra={"fields": fields})


class _LibraryLines(logging.Handler):
    """What libraries warn of is for diagnosis, and would be no line of the log."""

    def __init__(self, show: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._show = show

    def emit(self, record: logging.LogRecord) -> None:
        self._show(f"{record.name}: {record.getMessage().strip()}")


@contextlib.contextmanager
def run_callbacks(
    quiet: bool,
    counted: tuple[str, str] = ("recordings", "seconds"),
    *,
    debug: bool = False,
) -> Iterator[Reporter]:
    """Callbacks that log and show progress on stderr, and stop the run at SIGTERM, SIGHUP or Ctrl-C.

    Args:
        quiet: show nothing unless something fails.
        counted: as for `Reporter`.
        debug: show tracebacks.
    """
    # Signals first, because loading libraries and weights takes seconds and cannot be interrupted safely.
    tracebacks: Tracebacks = "full" if debug else "none"
    with Reporter(LogOptions(quiet=quiet), tracebacks, counted) as reporter, reporter.stopping_on_signals():
        yield reporter
