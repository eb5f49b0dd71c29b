"""One family of errors. Each says what was wrong, where, and what to do, and carries its exit code.

Libraries raise them; only the command layer prints them and exits.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any


class ExitCode(IntEnum):
    """Exit status of the program. The docstring below a member is its line in the documentation."""

    OK = 0
    """Every recording was handled."""
    SOME_FAILED = 1
    """A recording failed; the others are written. With `--strict`, also an unscorable segment or truncation."""
    USAGE = 2
    """Usage or settings: a wrong option, or an output that belongs to other weights or settings."""
    ENVIRONMENT = 3
    """Weights or environment: no weights, no ffmpeg, no such GPU, no space left."""
    NOT_PASSED = 4
    """`report --fail-on-limit`: the verdict is not PASS. `phantom check`: FAIL, or nothing to compare with. `monitor`:
    an alarm. `verify`: something is altered or missing. `merge`: a shard is not finished, and nothing is written."""
    LOCKED = 75
    """Another run is writing this output."""
    INTERRUPTED = 130
    """Interrupted; the same command resumes, except that `score` must not have `--overwrite`, `train` needs `--resume`
    and `evaluate` starts over."""


class AvpenetError(Exception):
    """Base of all errors that this program raises deliberately.

    Args:
        message: what was wrong and where, one line.
        remedy: what to do about it, one line, may be empty.
    """

    exit_code = ExitCode.SOME_FAILED

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}" if self.remedy else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # By its attributes, because pickle would call the class with the message alone.
        return _with_attributes, (type(self), dict(self.__dict__))


class SettingsError(AvpenetError):
    """A setting, an option or a configuration file that cannot be used."""

    exit_code = ExitCode.USAGE


class WeightsError(AvpenetError):
    """Weights that are absent, altered, incomplete or do not fit this program."""

    exit_code = ExitCode.ENVIRONMENT


class EnvironmentUnavailableError(AvpenetError):
    """Something that this machine lacks: ffmpeg, a device, disk space."""

    exit_code = ExitCode.ENVIRONMENT


class NoSpaceError(EnvironmentUnavailableError):
    """No space left to write to: nothing else can be written either."""


class OutputError(AvpenetError):
    """An output that cannot be written, or that belongs to another run."""

    exit_code = ExitCode.USAGE


class ShardsUnfinishedError(AvpenetError):
    """Shards that runs have to finish before they can be merged."""

    exit_code = ExitCode.NOT_PASSED


class OutputLockedError(AvpenetError):
    """Another run is writing this output."""

    exit_code = ExitCode.LOCKED


class Interrupted(AvpenetError):
    """SIGTERM or Ctrl-C arrived; everything finished so far is in the journal."""

    exit_code = ExitCode.INTERRUPTED


class RecordingError(AvpenetError):
    """One recording that cannot be read. The run goes on with the others.

    Args:
        code: a stable word for tables and manifests, e.g. `empty_file`.
    """

    def __init__(self, code: str, message: str, remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.code = code

    @classmethod
    def from_unexpected(cls, error: Exception, action: str) -> RecordingError:
        """The failure of the recording at which the program, or the machine's memory, failed.

        Args:
            error: whatever was raised; its text is left out, since it may hold the path, and the path a patient's name.
            action: what could not be done with the recording, such as `scored`.
        """
        out_of_memory = isinstance(error, MemoryError) or "out of memory" in str(error).lower()
        code = "out_of_memory" if out_of_memory else "internal_error"
        if out_of_memory and action == "scored":
            remedy = "use a smaller --batch-size"
        else:
            remedy = "report it, with what --debug prints"
        return cls(code, f"could not be {action} ({type(error).__name__})", remedy)


def _with_attributes(kind: type[AvpenetError], attributes: dict[str, Any]) -> AvpenetError:
    error = kind.__new__(kind, attributes["message"])
    error.__dict__.update(attributes)
    return error


def reason(error: Exception) -> str:
    """Why a file cannot be used, for a message that names its path already."""
    return (error.strerror if isinstance(error, OSError) else None) or " ".join(str(error).split())
