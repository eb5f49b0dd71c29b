"""Log and progress of a run, on stderr: progress bars on a terminal, plain or JSON lines elsewhere."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from avpenet_cli.cli.signals import stop_on_signals
from avpenet_cli.errors import SettingsError
from avpenet_cli.runs.callbacks import RunCallbacks

LogFormat = Literal["text", "json"]


def log_format_named(name: str) -> LogFormat:
    """The log format that `--log-format` names.

    Raises:
        SettingsError: there is no such format.
    """
    if name == "text":
        return "text"
    if name == "json":
        return "json"
    raise SettingsError(f"--log-format {name}: no such format", "use text or json")


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", {})
        return json.dumps(
            {"time": _now(record), "level": record.levelname.lower(), "message": record.getMessage()} | fields,
            ensure_ascii=False,
        )


class _TextLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"{_now(record)} {record.levelname.lower():7} {printable(record.getMessage())}"


def printable(text: str) -> str:
    """One harmless line: file names may hold newlines and terminal escapes."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _now(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="seconds")


class _ConsoleLines(logging.Handler):
    """Lines above the progress bars."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        style = {logging.WARNING: "yellow", logging.ERROR: "red"}.get(record.levelno, "")
        self._console.print(Text(printable(record.getMessage()), style=style))


Tracebacks = Literal["none", "full", "without text"]
"""Whether failures are traced, and whether with the errors' own text, which may hold a patient's name."""


@dataclass(frozen=True)
class LogOptions:
    """How a run is logged.

    Attributes:
        format: of the lines on stderr and in the log file.
        file: appended to, readable by its owner only.
        verbose: also stage timings.
    """

    format: LogFormat = "text"
    file: Path | None = None
    verbose: bool = False


class Reporter(RunCallbacks):
    """Progress and log of one run.

    Args:
        log: format, file and level of the log.
        quiet: only warnings and errors.
        tracebacks: of recordings that fail.
        counted: what the two progress bars count: items of the run, and parts of the current item.
        should_stop: tells whether the run should end; from `signals.stop_on_signals`.
    """

    def __init__(
        self,
        log: LogOptions,
        quiet: bool,
        tracebacks: Tracebacks = "none",
        counted: tuple[str, str] = ("recordings", "seconds"),
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._should_stop, self._tracebacks = should_stop, tracebacks
        self._log = logging.Logger(
            "avpenet", logging.WARNING if quiet else logging.DEBUG if log.verbose else logging.INFO
        )
        formatter: logging.Formatter = _JsonLines() if log.format == "json" else _TextLines()
        self._progress: Progress | None = None
        if sys.stderr.isatty() and log.format == "text" and not quiet:
            console = Console(stderr=True)
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=console,
            )
            self._all: TaskID = self._progress.add_task(counted[0], total=None)
            self._current: TaskID = self._progress.add_task(counted[1], total=None)
            handler: logging.Handler = _ConsoleLines(console)
        else:
            handler = logging.StreamHandler(sys.stderr)
            handler.setFormatter(formatter)
        self._log.addHandler(handler)
        if log.file is not None:
            self._log.addHandler(_file_handler(log.file, formatter))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()
        for handler in self._log.handlers:
            with contextlib.suppress(OSError):  # reported when it happened, see _LogFile
                handler.close()

    def should_stop(self) -> bool:
        """Whether a signal asked for the end of the run."""
        return self._should_stop()

    def set_total(self, total: int) -> None:
        """Show the progress bars, now that the number of items is known."""
        if self._progress is not None:
            self._progress.update(self._all, total=total)
            self._progress.start()

    def progress(self, done: float, total: float) -> None:
        """Move the bar of the current item."""
        if self._progress is not None:
            self._progress.update(self._current, completed=int(done), total=int(total) or None)

    def item_done(self) -> None:
        """Move the bar of all items."""
        if self._progress is not None:
            self._progress.advance(self._all)

    def info(self, message: str, **fields: object) -> None:
        """Log a line; `fields` are added to it in JSON."""
        self._log.info(message, extra={"fields": fields})

    def detail(self, message: str, **fields: object) -> None:
        """Log a line that only -v shows."""
        self._log.debug(message, extra={"fields": fields})

    def warning(self, message: str, **fields: object) -> None:
        """Log something that a person should look at."""
        self._log.warning(message, extra={"fields": fields})

    def failure(self, error: Exception) -> None:
        """Print a traceback if asked to, without the error's own text where that may hold a patient's name."""
        if self._tracebacks != "none":
            full = self._tracebacks == "full"
            lines = traceback.format_exception(error) if full else traceback.format_tb(error.__traceback__)
            print("".join(lines), file=sys.stderr)


@contextlib.contextmanager
def run_callbacks(
    quiet: bool,
    counted: tuple[str, str] = ("recordings", "seconds"),
    *,
    log: LogOptions | None = None,
    tracebacks: Tracebacks = "none",
) -> Iterator[Reporter]:
    """Callbacks that log and show progress on stderr, and stop the run at SIGTERM, SIGHUP or Ctrl-C.

    Args:
        quiet, counted, log, tracebacks: as for `Reporter`.
    """
    # Signals first, because loading libraries and weights takes seconds and cannot be interrupted safely.
    with (
        stop_on_signals() as should_stop,
        Reporter(log or LogOptions(), quiet, tracebacks, counted, should_stop) as reporter,
    ):
        yield reporter


@contextlib.contextmanager
def progress_bar(description: str, total: int, quiet: bool) -> Iterator[Callable[[], None]]:
    """Show a progress bar on a terminal, nothing elsewhere; yields what to call after each item."""
    visible = sys.stderr.isatty() and not quiet
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not visible) as bars:
        task = bars.add_task(description, total=total)
        yield lambda: bars.advance(task)


class _LogFile(logging.FileHandler):
    """A log file that reports a full disk once and never ends the run."""

    _failure_reported = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (logging's name)
        if not self._failure_reported:
            self._failure_reported = True
            print(f"the log file {self.baseFilename} cannot be written: {sys.exc_info()[1]}", file=sys.stderr)


def _file_handler(path: Path, formatter: logging.Formatter) -> logging.Handler:
    try:
        path.touch(mode=0o600, exist_ok=True)
        handler = _LogFile(path, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise SettingsError(f"--log-file {path}: {error.strerror}", "name a file that can be written") from None
    handler.setFormatter(formatter)
    return handler
