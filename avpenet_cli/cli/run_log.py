"""Where the lines of a run's log go: a terminal, standard error, a file; as text or JSON."""

from __future__ import annotations

import errno
import io
import json
import logging
import logging.handlers
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.text import Text

from avpenet_cli.errors import SettingsError

LogFormat = Literal["text", "json"]

_LAST_EVENTS = ("error", "summary")
"""Events that end a run: on stderr their text begins with the program's name, like any program's last message."""


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


@dataclass(frozen=True)
class LogOptions:
    """How a run is logged.

    Attributes:
        format: of the lines on stderr and in the log file.
        file: appended to, readable by its owner only.
        verbose: also stage timings.
        quiet: nothing on stderr unless something fails; the file has every line.
    """

    format: LogFormat = "text"
    file: Path | None = None
    verbose: bool = False
    quiet: bool = False


def printable(text: str) -> str:
    """One harmless line: file names may hold newlines and terminal escapes."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def last_message(message: str) -> str:
    """The text line that ends a run."""
    return f"avpenet: {printable(' '.join(message.split()))}"


def json_line(level: str, message: str, fields: dict[str, Any], created: float | None = None) -> str:
    """A line of a JSON log.

    Args:
        created: seconds since the epoch; now by default.
    """
    from avpenet_cli.runs.log_lines import log_line

    return json.dumps(log_line(_time(created), level, message, fields), ensure_ascii=False)


def _time(created: float | None) -> str:
    when = datetime.now() if created is None else datetime.fromtimestamp(created)
    return when.astimezone().isoformat(timespec="seconds")


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return getattr(record, "fields", {})


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json_line(record.levelname.lower(), record.getMessage(), _fields(record), record.created)


class _TextLines(logging.Formatter):
    """Time, level and message."""

    def format(self, record: logging.LogRecord) -> str:
        if trace := _fields(record).get("traceback"):
            return str(trace)
        return f"{_time(record.created)} {record.levelname.lower():7} {printable(record.getMessage())}"


class _StderrText(_TextLines):
    """The same, except for the line that ends the run."""

    def format(self, record: logging.LogRecord) -> str:
        return (
            last_message(record.getMessage())
            if _fields(record).get("event") in _LAST_EVENTS
            else super().format(record)
        )


class _TerminalLines(logging.Handler):
    """Coloured lines, above the progress bars; the terminal wraps them, so that a copied path stays whole."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        fields = _fields(record)
        event, message = fields.get("event"), record.getMessage()
        style = {logging.WARNING: "yellow", logging.ERROR: "red"}.get(record.levelno, "")
        if event == "traceback":
            text = str(fields["traceback"])
        else:
            text = last_message(message) if event in _LAST_EVENTS else printable(message)
        self._console.print(Text(text, style="" if event == "summary" else style), soft_wrap=True)


class _StderrLines(logging.StreamHandler[Any]):
    """Lines on stderr; a reader that leaves does not end the run."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (logging's name)
        if isinstance(sys.exc_info()[1], BrokenPipeError):
            discard_output(self.stream)
        else:
            super().handleError(record)


def discard_output(stream: Any) -> None:
    """Let a stream lead nowhere whose reader has gone; Python would report it again when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class _LogFile(logging.FileHandler):
    """A log file that reports a full disk once and never ends the run."""

    def __init__(self, path: Path, report: Callable[[str], None]) -> None:
        super().__init__(path, encoding="utf-8", errors="backslashreplace")
        self._report: Callable[[str], None] | None = report

    def _open(self) -> io.TextIOWrapper:
        return open(self.baseFilename, "a", encoding=self.encoding, errors=self.errors, opener=_open_log)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (logging's name)
        if self._report is not None:
            report, self._report = self._report, None
            report(f"the log file {self.baseFilename} cannot be written: {sys.exc_info()[1]}")


def _open_log(path: str, flags: int) -> int:
    """Open a log file, 0600 where it is new, never by way of a link that another user made or makes meanwhile."""
    is_trusted_link = Path(path).is_symlink() and Path(path).lstat().st_uid in (0, os.geteuid())
    try:
        return os.open(path, flags | (0 if is_trusted_link else os.O_NOFOLLOW), 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP and not is_trusted_link:
            raise SettingsError(
                f"--log-file {path}: a link that another user made", "remove it, or name a file"
            ) from None
        raise


def make_log(options: LogOptions, console: Console | None) -> logging.Logger:
    """A logger with its handlers.

    Args:
        console: the terminal; None where stderr is none, or for JSON.

    Raises:
        SettingsError: the log file cannot be written.
    """
    log = logging.Logger("avpenet", logging.DEBUG if options.verbose else logging.INFO)
    as_json = options.format == "json"
    shown: logging.Handler
    if console is not None:
        shown = _TerminalLines(console)
    else:
        shown = _StderrLines(sys.stderr)
        shown.setFormatter(_JsonLines() if as_json else _StderrText())
    if options.quiet:
        # Warnings are kept back until something fails: they may say why.
        shown = logging.handlers.MemoryHandler(sys.maxsize, logging.ERROR, shown, flushOnClose=False)
        shown.setLevel(logging.WARNING)
    log.addHandler(shown)
    if options.file is not None:
        log.addHandler(_file_handler(options.file, _JsonLines() if as_json else _TextLines(), shown))
    return log


def _file_handler(path: Path, formatter: logging.Formatter, shown: logging.Handler) -> logging.Handler:
    def report(message: str) -> None:
        shown.handle(logging.LogRecord("avpenet", logging.ERROR, "", 0, message, None, None))

    try:
        handler = _LogFile(path, report)
    except OSError as error:
        raise SettingsError(f"--log-file {path}: {error.strerror}", "name a file that can be written") from None
    handler.setFormatter(formatter)
    return handler
