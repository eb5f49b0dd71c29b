"""What is handed on to another system: the scores of every recording, and what made them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from avpenet_cli.errors import SettingsError
from avpenet_cli.phrasing import plural
from avpenet_cli.records import Status
from avpenet_cli.report.coverage import measure_coverage
from avpenet_cli.report.document.data import RecordingSummary
from avpenet_cli.report.document.provenance import CalibrationUsed
from avpenet_cli.report.notices import weights_notice
from avpenet_cli.report.provenance import calibration_used
from avpenet_cli.report.recordings import recording_summaries
from avpenet_cli.runs.history import ReadFile
from avpenet_cli.study.pairing import nothing_in_common
from avpenet_cli.study.score_tables import Scores, ScoreSource, read_scores, scores_digest
from avpenet_cli.study.subjects import Subjects, read_subjects
from avpenet_cli.study.tables import WeightsSummary, match_tables, summarise_weights

_NOT_FOR_PATIENTS = ("demonstration", "untrained")


@dataclass(frozen=True)
class CalibratedRecording:
    """What a site's calibration makes of a recording's scores.

    Attributes:
        mean: of the calibrated scores, points; None without one.
        answered: segments with a calibrated score.
        abstained: segments with a score, but evidence too poor for a calibrated one.
    """

    mean: float | None
    answered: int
    abstained: int


@dataclass(frozen=True)
class HandedRecording:
    """A recording.

    Attributes:
        scores: of its segments.
        subject: as in the table of subjects; None without a table, or without a row in it.
        recorded_at: its start, ISO 8601, with the offset from UTC where that is known; empty where it is not known.
        reason: why it has no score, as a code of `records.Reason` or of the failure; empty where it has one.
        file_sha256: digest of the file, hexadecimal; empty where the run did not compute it.
        calibrated: by the site's calibration; None where the table has none, or the recording could not be read.
    """

    scores: RecordingSummary
    subject: str | None
    recorded_at: str
    reason: str
    file_sha256: str
    calibrated: CalibratedRecording | None


@dataclass(frozen=True)
class Handover:
    """A score table to hand on.

    Attributes:
        recordings: in the order of the table, those that could not be read last.
        weights: that made the scores.
        for_testing_only: whether the weights are demonstration or untrained ones.
        notice: what the scores must not be used for; empty where the weights state nothing.
        calibration: of the calibrated scores; None where the table has none.
        program_version: of avpenet, which scored.
        finished: when the run ended, ISO 8601 with offset; the export's own time is stated nowhere, so that the same
            table gives the same bytes.
        source: the table and its manifest.
        read: the files that all this was read from.
    """

    recordings: tuple[HandedRecording, ...]
    weights: WeightsSummary
    for_testing_only: bool
    notice: str
    calibration: CalibrationUsed | None
    program_version: str
    finished: str
    source: ScoreSource
    read: tuple[ReadFile, ...]


def read_handover(scores: Path, subjects: Path | None, *, allow_demonstration: bool) -> Handover:
    """Read a score table, its manifest and the subjects.

    Args:
        scores: the table; its manifest lies beside it and has its digest.
        subjects: None: whose recordings these are is not stated.
        allow_demonstration: whether scores of demonstration or untrained weights may be handed on, as test data.

    Raises:
        SettingsError: a table that cannot be read; no manifest, or one of another table or without times; weights that
            are not for patients; subjects without a recording in common with the scores.
    """
    table = read_scores([scores])
    source = table.sources[0]
    if source.manifest is None or source.manifest_state != "verified":
        problem = {"altered": "was altered after the run that its manifest describes"}.get(
            source.manifest_state, "has no manifest beside it that can be read"
        )
        raise SettingsError(
            f"{scores} {problem}: what made its scores is not certain", "export the table as `avpenet score` wrote it"
        )
    weights = summarise_weights(table)
    testing = weights.status in _NOT_FOR_PATIENTS or any(word in table.weights for word in _NOT_FOR_PATIENTS)
    if testing and not allow_demonstration:
        raise SettingsError(
            f"{scores} has scores of {weights.status or 'demonstration'} weights, which belong in no patient's record",
            "export scores of weights for patients; for a trial, --allow-demonstration marks them as test data",
        )
    _check_times(source.manifest, scores)
    people = match_tables(table, subjects=None if subjects is None else read_subjects(subjects)).subjects
    notice = weights_notice(table)
    read = [
        ReadFile("scores", source.name, source.sha256, scores_digest(table)),
        ReadFile("manifest", scores.with_suffix(".run.json").name, source.manifest_sha256),
    ]
    if people is not None:
        read.append(ReadFile("subjects", people.file.name, people.file.sha256))
    return Handover(
        recordings=_recordings(table, people, source.manifest),
        weights=weights,
        for_testing_only=testing,
        notice="" if notice is None else notice.text,
        calibration=calibration_used(source.manifest),
        program_version=str(source.manifest["software"].get("avpenet", "")),
        finished=source.manifest["timing"]["finished"],
        source=source,
        read=tuple(read),
    )


def _check_times(manifest: Mapping[str, Any], scores: Path) -> None:
    times = [manifest["timing"]["finished"], *(entry.get("recorded_at") or None for entry in manifest["recordings"])]
    try:
        finished, *_ = [datetime.fromisoformat(time) for time in times if time is not None]
    except (TypeError, ValueError):
        finished = None
    if finished is None or finished.tzinfo is None:
        raise SettingsError(
            f"the manifest of {scores.name} has a time that is none, or no offset from UTC for the run's end",
            "export the table with the manifest as `avpenet score` wrote it",
        )


def _recordings(table: Scores, people: Subjects | None, manifest: Mapping[str, Any]) -> tuple[HandedRecording, ...]:
    failed = measure_coverage(table).section.failed_recordings
    summaries = recording_summaries(table.segments, failed, table.cut_points)
    subject_of = {} if people is None else people.subject_of
    if people is not None and not any(row.recording in subject_of for row in summaries):
        raise nothing_in_common(people.file.name, subject_of, [row.recording for row in summaries])
    entries = {entry["recording"]: entry for entry in manifest["recordings"]}
    calibrated = {} if calibration_used(manifest) is None else _calibrated(table.segments)
    lost = table.segments[table.segments["status"] != Status.SCORED]
    reasons = lost.groupby(lost["recording"].astype(str))["reason"].agg(lambda codes: codes.value_counts().index[0])
    return tuple(
        HandedRecording(
            scores=row,
            subject=subject_of.get(row.recording),
            recorded_at=str(entries.get(row.recording, {}).get("recorded_at") or ""),
            reason="" if row.scored else row.failure or str(reasons.get(row.recording, "")),
            file_sha256=str((entries.get(row.recording, {}).get("file") or {}).get("sha256") or ""),
            calibrated=calibrated.get(row.recording),
        )
        for row in summaries
    )


def _calibrated(segments: pd.DataFrame) -> dict[str, CalibratedRecording]:
    """By recording; empty for a table without calibrated scores."""
    if "calibrated" not in segments.columns:
        return {}
    found = {}
    for name, rows in segments.groupby("recording", observed=True):
        answered, mean = int(rows["calibrated"].count()), float(rows["calibrated"].mean())
        found[str(name)] = CalibratedRecording(mean if answered else None, answered, int(rows["abstained"].sum()))
    return found


def require_subjects(handover: Handover, subjects: Path | None, purpose: str) -> None:
    """Check that the subject of every recording is known.

    Args:
        handover: read with these subjects.
        subjects: the table; None where none was given.
        purpose: why it is needed, for the message.

    Raises:
        SettingsError: it is not.
    """
    if subjects is None:
        raise SettingsError(f"no --subjects: {purpose}", "give the table of subjects: recording, subject")
    unknown = [row.scores.recording for row in handover.recordings if row.subject is None]
    if unknown:
        raise SettingsError(
            f"{subjects.name} has no row for {plural(len(unknown), 'recording')} such as {unknown[0]!r}: {purpose}",
            "add them",
        )
