"""The lines of a JSON log, `score --log-format json`: one object per line, told apart by `event`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from avpenet_cli.runs.manifest_entries import SecondsEntry

LOG_VERSION = 1

Level = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, kw_only=True)
class _Line:
    """What every line has.

    Attributes:
        time: ISO 8601 with offset.
        level: error where something failed, warning where a person should look, debug only with -v.
        message: the line of a text log.
    """

    time: str
    level: Level
    message: str


@dataclass(frozen=True, kw_only=True)
class MessageLine(_Line):
    """Anything without an event of its own.

    Attributes:
        batch_size: the batch that fits into the GPU's memory, where it was halved.
    """

    event: Literal["message"] = "message"
    batch_size: int | None = None


@dataclass(frozen=True, kw_only=True)
class NoticeLine(_Line):
    """What the weights must not be used for; once, before all else."""

    event: Literal["notice"] = "notice"


@dataclass(frozen=True, kw_only=True)
class StartLine(_Line):
    """Scoring begins.

    Attributes:
        recordings: number of inputs.
        device: cpu or cuda:N.
        precision: float32, bfloat16 or int8; never auto.
    """

    event: Literal["start"] = "start"
    recordings: int
    device: str
    precision: str


@dataclass(frozen=True, kw_only=True)
class RecordingLine(_Line):
    """A recording is finished; once for each.

    Attributes:
        recording: its name or pseudonym.
        reason: a stable code if it failed, else empty.
        segments: number, of which `unscorable` have no score.
        seconds: length of the recording; 0 if not known.
        reused: scored by an earlier run.
    """

    event: Literal["recording"] = "recording"
    recording: str
    status: Literal["scored", "unscorable", "failed"]
    reason: str
    segments: int
    unscorable: int
    seconds: float
    reused: bool


@dataclass(frozen=True, kw_only=True)
class RecordingNoteLine(_Line):
    """Something else about the recording of the line before.

    Attributes:
        audio_corrections: what was corrected in its audio.
        stage_s: seconds spent by stage.
    """

    event: Literal["recording_note"] = "recording_note"
    recording: str
    audio_corrections: list[str] | None = None
    stage_s: dict[str, float] | None = None


@dataclass(frozen=True, kw_only=True)
class TracebackLine(_Line):
    """With --debug: where in the program a recording, or the run, failed.

    Attributes:
        traceback: several lines; without the error's own text where names are pseudonyms.
    """

    event: Literal["traceback"] = "traceback"
    traceback: str


@dataclass(frozen=True, kw_only=True)
class ErrorLine(_Line):
    """What ended the run, or kept it from starting.

    Attributes:
        exit_code: exit status of the program.
        remedy: what to do; also the end of the message. Empty if there is nothing to say.
    """

    event: Literal["error"] = "error"
    exit_code: int
    remedy: str


@dataclass(frozen=True, kw_only=True)
class SummaryLine(_Line):
    """The last line of every run, also of a run that an error or a signal ended: then of what it did until there.

    Attributes:
        exit_code: exit status of the program.
        recordings: number by status: scored, unscorable, failed.
        segments: number by status: scored, unscorable.
        modalities: number of scored segments by what made the score.
        truncated: number of recordings that decode to less than their header promises.
        elapsed_s: how long the run took.
    """

    event: Literal["summary"] = "summary"
    exit_code: int
    recordings: dict[str, int]
    segments: dict[str, int]
    modalities: dict[str, int]
    seconds: SecondsEntry
    truncated: int
    elapsed_s: float


LogLine: TypeAlias = (
    MessageLine | NoticeLine | StartLine | RecordingLine | RecordingNoteLine | TracebackLine | ErrorLine | SummaryLine
)

_LINES: dict[str, type[LogLine]] = {
    "message": MessageLine,
    "notice": NoticeLine,
    "start": StartLine,
    "recording": RecordingLine,
    "recording_note": RecordingNoteLine,
    "traceback": TracebackLine,
    "error": ErrorLine,
    "summary": SummaryLine,
}


def log_line(time: str, level: str, message: str, fields: Mapping[str, object]) -> dict[str, Any]:
    """A line as its JSON object, without facts that it does not have.

    Args:
        time, level, message: as in `_Line`.
        fields: the facts of the line's event, named by `event`; without one it is a message.

    Raises:
        TypeError: fields that the event does not have, or lacks.
    """
    facts: dict[str, Any] = {"event": "message", **fields}
    line = _LINES[facts["event"]](time=time, level=level, message=message, **facts)  # type: ignore[arg-type]
    return {name: value for name, value in asdict(line).items() if value is not None}
