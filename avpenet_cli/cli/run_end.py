"""Why the program ends: an error in one line, with its exit code."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from typer.exceptions import TyperException

from avpenet_cli.errors import AvpenetError, ExitCode
from avpenet_cli.runs.sent_error import sent_with


@dataclass(frozen=True)
class RunEnd:
    """What ended a command.

    Attributes:
        message: one line that includes the remedy; empty where everything has been said.
        remedy: what to do; may be empty.
        has_traceback: --debug shows where it was raised.
    """

    message: str
    exit_code: ExitCode
    remedy: str = ""
    has_traceback: bool = True


def run_end(error: BaseException) -> RunEnd:
    """The message and the exit code of an error."""
    if isinstance(error, AvpenetError):
        expected = error.exit_code in (ExitCode.LOCKED, ExitCode.INTERRUPTED)
        return RunEnd(str(error), error.exit_code, error.remedy, has_traceback=not expected)
    if isinstance(error, TyperException):
        # Empty when no arguments were given: then the help has been printed.
        message, remedy = error.format_message(), "see avpenet --help"
        return RunEnd(message and f"{message}; {remedy}", ExitCode.USAGE, remedy, has_traceback=False)
    if isinstance(error, KeyboardInterrupt):
        return RunEnd("interrupted", ExitCode.INTERRUPTED, has_traceback=False)
    remedy = "--debug shows where, please report it"
    message = f"internal error ({type(error).__name__}: {error}); {remedy}"
    return RunEnd(message, ExitCode.SOME_FAILED, remedy)


def formatted_traceback(error: BaseException, *, with_text: bool = True) -> str:
    """Where an error was raised, in several lines.

    Args:
        with_text: also what the error says, which may hold a patient's name.
    """
    if sent := sent_with(error):
        return sent.trace if with_text else sent.trace_without_text
    return "".join(traceback.format_exception(error) if with_text else traceback.format_tb(error.__traceback__))
