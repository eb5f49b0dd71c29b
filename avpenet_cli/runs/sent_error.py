"""Exceptions on their way from a worker process to the run, with their tracebacks."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from avpenet_cli.errors import AvpenetError

_ATTRIBUTE = "sent_error"


@dataclass(frozen=True)
class SentError:
    """One exception, in a form that can be pickled whatever it holds.

    Attributes:
        error: an error of this program; None for any other exception.
        name: the exception's class.
        text: what it says; it may hold a patient's name.
        trace: where it was raised, in several lines, with its text.
        trace_without_text: the same without any exception's text.
    """

    error: AvpenetError | None
    name: str
    text: str
    trace: str
    trace_without_text: str

    @classmethod
    def of(cls, error: Exception) -> SentError:
        """Take down an exception where it was caught."""
        return cls(
            error if isinstance(error, AvpenetError) else None,
            type(error).__name__,
            str(error),
            "".join(traceback.format_exception(error)),
            "".join(traceback.format_tb(error.__traceback__)),
        )

    def restored(self) -> Exception:
        """An exception of the same name and text; `sent_with` gives its tracebacks."""
        error = self.error or type(self.name, (Exception,), {})(self.text)
        setattr(error, _ATTRIBUTE, self)
        return error


def sent_with(error: BaseException) -> SentError | None:
    """How an exception came from another process; None where it was raised in this one."""
    sent = getattr(error, _ATTRIBUTE, None)
    return sent if isinstance(sent, SentError) else None
