"""Scores for REDCap: an import file with a repeating instrument, one instance for each recording, and its data
dictionary."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from avpenet_cli.export.handover import HandedRecording, Handover
from avpenet_cli.phrasing import printable
from avpenet_cli.study.redcap_dictionary import dictionary_row, write_dictionary
from avpenet_cli.tables import Column, Row, write_table

INSTRUMENT = "avpenet_scores"
_UNVERIFIED = 1
"""State of an instrument that no person has looked at."""


@dataclass(frozen=True)
class _Field:
    """A field of the instrument; `kind` is that of its column, `validation` REDCap's."""

    name: str
    label: str
    kind: str = "text"
    validation: str = ""
    span: tuple[str, str] = ("", "")
    note: str = ""
    identifier: bool = False


_UNSCORED = "empty without a score"
_UNCALIBRATED = "empty in a table without calibration"
_FIELDS = (
    _Field("avp_recording", "Recording", identifier=True),
    _Field("avp_recorded_at", "Start of the recording", note="ISO 8601; empty where it is not known", identifier=True),
    _Field("avp_mean", "Mean score by software, not calibrated", "float", "number", ("0", "10"), _UNSCORED),
    _Field("avp_peak", "Highest score by software, not calibrated", "float", "number", ("0", "10"), _UNSCORED),
    _Field("avp_share_high", "Share of scored segments that are high", "float", "number", ("0", "1"), _UNSCORED),
    _Field("avp_segments", "Segments", "integer", "integer"),
    _Field("avp_scored", "Segments with a score", "integer", "integer"),
    _Field("avp_calibrated_mean", "Mean calibrated score", "float", "number", ("0", "10"), "of the segments with one"),
    _Field("avp_calibrated", "Segments with a calibrated score", "integer", "integer", note=_UNCALIBRATED),
    _Field("avp_abstained", "Segments left without a calibrated score", "integer", "integer", note=_UNCALIBRATED),
    _Field("avp_calibration", "Digest of the calibration", note=_UNCALIBRATED),
    _Field("avp_reason", "Why there is no score"),
    _Field("avp_ai_label", "Label", note="AIAST: asserted by artificial intelligence; HTEST: test data"),
    _Field("avp_weights", "Weights"),
    _Field("avp_weights_sha256", "Digest of the weights", note="SHA-256"),
    _Field("avp_version", "Version of avpenet"),
    _Field("avp_finished", "Scored", note="ISO 8601"),
)
_KEYS = (
    Column("record_id", "text", "the subject"),
    Column("redcap_repeat_instrument", "text", ""),
    Column("redcap_repeat_instance", "integer", "number of the recording within its subject, from 1"),
)
_COMPLETE = Column(f"{INSTRUMENT}_complete", "integer", "")
# REDCap asks for it as the first field; in an instrument of its own, since it does not repeat.
_RECORD_ID = dictionary_row("patient", "record_id", "Record ID", identifier=True)


def dictionary_path(out: Path) -> Path:
    """The data dictionary of the import file `out`."""
    return out.with_suffix(".dictionary.csv")


def write_redcap(handover: Handover, out: Path) -> None:
    """Write the import file and, beside it, the data dictionary.

    Args:
        handover: every recording has a subject.
        out: ends in .csv.

    Raises:
        OutputError, EnvironmentUnavailableError: a file cannot be written.
    """
    instances: Counter[str] = Counter()
    rows: list[Row] = []
    for recording in handover.recordings:
        subject = recording.subject or ""
        instances[subject] += 1
        keys: Row = {
            "record_id": subject,
            "redcap_repeat_instrument": INSTRUMENT,
            "redcap_repeat_instance": instances[subject],
        }
        rows.append(keys | _values(recording, handover) | {_COMPLETE.name: _UNVERIFIED})
    columns = (*_KEYS, *(_column(field) for field in _FIELDS), _COMPLETE)
    write_table(out, rows, columns)
    write_dictionary(dictionary_path(out), [_RECORD_ID, *map(_entry, _FIELDS)])


def _values(recording: HandedRecording, handover: Handover) -> Row:
    scores, weights, calibrated = recording.scores, handover.weights, recording.calibrated
    # How many segments a recording has is not known where it could not be read.
    segments, scored = (None, None) if scores.failure else (scores.segments, scores.scored)
    return {
        "avp_recording": printable(scores.recording),
        "avp_recorded_at": recording.recorded_at,
        "avp_mean": scores.mean,
        "avp_peak": scores.peak,
        "avp_share_high": scores.share_high,
        "avp_segments": segments,
        "avp_scored": scored,
        "avp_calibrated_mean": None if calibrated is None else calibrated.mean,
        "avp_calibrated": None if calibrated is None else calibrated.answered,
        "avp_abstained": None if calibrated is None else calibrated.abstained,
        "avp_calibration": None if handover.calibration is None else handover.calibration.digest,
        "avp_reason": recording.reason,
        "avp_ai_label": "AIAST HTEST" if handover.for_testing_only else "AIAST",
        "avp_weights": weights.mark,
        "avp_weights_sha256": weights.digest,
        "avp_version": handover.program_version,
        "avp_finished": handover.finished,
    }


def _column(field: _Field) -> Column:
    return Column(
        field.name, "float" if field.kind == "float" else "integer" if field.kind == "integer" else "text", ""
    )


def _entry(field: _Field) -> Row:
    return dictionary_row(
        INSTRUMENT,
        field.name,
        field.label,
        validation=field.validation,
        span=field.span,
        note=field.note,
        identifier=field.identifier,
    )
