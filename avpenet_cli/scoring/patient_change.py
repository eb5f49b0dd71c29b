"""The columns `change` and `change_se`: each score against the same patient's own quiet minutes (`--baseline quiet`).

Quiet is told by the evidence, never by the score: the minutes with the lowest scores would have the lowest errors, too,
and every change would come out too high.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avpenet_cli.phrasing import plural
from avpenet_cli.records import THIN_EVIDENCE, Flag, RecordingOutcome, SegmentScore
from avpenet_cli.runs.manifest_entries import BaselineEntry, FluctuationsEntry, MissingBaseline
from avpenet_cli.stats.patient_baseline import (
    FEWEST_OTHER_RECORDINGS,
    FEWEST_QUIET_S,
    SHORTEST_STRETCH_S,
    Fluctuations,
    PatientScores,
    changes,
    fit_fluctuations,
    in_quiet_stretches,
)
from avpenet_cli.tables import CHANGE_COLUMNS, Columns

QUIET = "quiet"
"""The only baseline that `--baseline` knows."""
MOST_VOICED = 0.1
"""Largest share of a quiet segment in which there may be voice or another sound of its kind: 0.3 of 3 s."""
UNFIT: frozenset[Flag] = (THIN_EVIDENCE | {Flag.SHORT_TAIL}) - {Flag.LOW_SNR}
"""Flags of segments that are never taken for quiet. A quiet patient has `low_snr`. `silent` may be a dead microphone,
which would make every minute quiet."""

_MOST_NAMED = 10
TOO_FEW, NO_SUBJECT = "too_few_quiet_seconds", "no_subject"

Floats = npt.NDArray[np.float64]


def is_candidate(segment: SegmentScore) -> bool:
    """Whether a segment is quiet if its neighbours are: scored on good evidence, with next to no voice."""
    voiced = segment.quality.voiced
    return (
        segment.score is not None and voiced is not None and voiced <= MOST_VOICED and UNFIT.isdisjoint(segment.flags)
    )


@dataclass(frozen=True, eq=False)
class _Segments:
    """A recording's segments as arrays; `made_by` is the modalities that made a score, empty without one."""

    recording: str
    start_s: Floats
    end_s: Floats
    score: Floats
    made_by: npt.NDArray[np.str_]
    quiet: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, recording: str, segments: tuple[SegmentScore, ...]) -> _Segments:
        start_s = np.array([segment.start_s for segment in segments])
        end_s = np.array([segment.end_s for segment in segments])
        candidate = np.array([is_candidate(segment) for segment in segments], np.bool_)
        score = np.array([np.nan if segment.score is None else segment.score for segment in segments])
        made_by = np.array([segment.modalities for segment in segments], np.str_)
        quiet = in_quiet_stretches(np.zeros(len(segments), np.int64), start_s, end_s, candidate)
        return cls(recording, start_s, end_s, score, made_by, quiet)


@dataclass(frozen=True)
class PatientChanges:
    """The changes of all recordings.

    Attributes:
        of: by recording, (n,) changes and (n,) standard errors, points; NaN where missing.
        entry: what the manifest states.
        notices: what a person should know, one sentence each.
    """

    of: Mapping[str, tuple[Floats, Floats]]
    entry: BaselineEntry
    notices: tuple[str, ...]

    columns = CHANGE_COLUMNS

    def values(self, recording: str, stated: Columns) -> Columns:
        """The columns' values in the rows of a recording."""
        change, se = self.of[recording]
        return {"change": [_number(value) for value in change], "change_se": [_number(value) for value in se]}


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def patient_changes(
    outcomes: Iterable[tuple[str, RecordingOutcome]], subject_of: Mapping[str, str] | None
) -> PatientChanges:
    """The change of every score against the quiet minutes of the same patient.

    Scores are compared with quiet minutes that were scored from the same modalities: a score from the audio alone is on
    another footing than one from audio and face.

    Args:
        outcomes: name and outcome of each recording.
        subject_of: the patient of each recording; None: each recording is compared with itself.
    """
    recordings = [_Segments.of(name, outcome.segments) for name, outcome in outcomes]
    columns = {r.recording: (np.full(len(r.score), np.nan), np.full(len(r.score), np.nan)) for r in recordings}
    groups: dict[tuple[str, str], list[_Segments]] = {}
    missing: list[MissingBaseline] = []
    for segments in recordings:
        owner = segments.recording if subject_of is None else subject_of.get(segments.recording)
        for modalities in sorted(set(segments.made_by) - {""}):
            if owner is None:
                missing.append(MissingBaseline([segments.recording], str(modalities), 0.0, NO_SUBJECT))
            else:
                groups.setdefault((owner, str(modalities)), []).append(segments)
    patients = {key: _joined(members, key[1]) for key, members in groups.items()}
    fluctuations: dict[str, Fluctuations | None] = {
        modalities: fit_fluctuations([patient for key, patient in patients.items() if key[1] == modalities])
        for modalities in sorted({key[1] for key in patients})
    }
    without_se = 0
    for key, patient in patients.items():
        fitted = fluctuations[key[1]]
        members = groups[key]
        if fitted is None or not patient.has_baseline:
            names = [segments.recording for segments in members]
            missing.append(MissingBaseline(names, key[1], round(patient.quiet_s, 3), TOO_FEW))
            continue
        result = changes(patient, fitted)
        without_se += bool(np.isnan(result.se).any())
        for number, segments in enumerate(members):
            rows = patient.recording == number
            places = np.flatnonzero(segments.made_by == key[1])
            for column, values in zip(columns[segments.recording], (result.change, result.se), strict=True):
                column[places] = values[rows]
    with_baseline = len({key[0] for key, patient in patients.items() if patient.has_baseline})
    entry = BaselineEntry(
        rule=QUIET,
        by="recording" if subject_of is None else "subject",
        most_voiced=MOST_VOICED,
        shortest_stretch_s=SHORTEST_STRETCH_S,
        fewest_quiet_s=FEWEST_QUIET_S,
        number=len({key[0] for key in patients}),
        with_baseline=with_baseline,
        fluctuations=[_entry(kind, fitted) for kind, fitted in fluctuations.items() if fitted is not None],
        missing=missing,
    )
    return PatientChanges(columns, entry, tuple(_notices(entry, without_se)))


def _joined(members: list[_Segments], modalities: str) -> PatientScores:
    kept = [segments.made_by == modalities for segments in members]
    numbers = [np.full(int(rows.sum()), number) for number, rows in enumerate(kept)]

    def joined(name: str) -> npt.NDArray[np.float64]:
        return np.concatenate([getattr(segments, name)[rows] for segments, rows in zip(members, kept, strict=True)])

    return PatientScores(
        np.concatenate(numbers), joined("start_s"), joined("end_s"), joined("score"), joined("quiet").astype(np.bool_)
    )


def _entry(modalities: str, fitted: Fluctuations) -> FluctuationsEntry:
    return FluctuationsEntry(
        modalities=modalities,
        input_noise=round(fitted.input_noise, 6),
        decaying={
            f"{decay_s:g}": round(part, 6) for decay_s, part in zip(fitted.decays_s, fitted.decaying, strict=True)
        },
        between_recordings=None if fitted.between_recordings is None else round(fitted.between_recordings, 6),
    )


def _notices(entry: BaselineEntry, without_se: int) -> Iterable[str]:
    one = "recording" if entry.by == "recording" else "patient"
    yield (
        f"change: {entry.with_baseline} of {plural(entry.number, one)} with a baseline of at least "
        f"{entry.fewest_quiet_s:g} s of quiet minutes"
    )
    for lack in entry.missing[:_MOST_NAMED]:
        name = lack.recordings[0] + (f" and {len(lack.recordings) - 1} more" if len(lack.recordings) > 1 else "")
        why = (
            "no subject in the table given with --subjects"
            if lack.reason == NO_SUBJECT
            else f"{lack.quiet_s:.1f} s are quiet, a baseline takes {entry.fewest_quiet_s:g} s"
        )
        yield f"{name}: no change for scores from {lack.modalities}: {why}"
    if len(entry.missing) > _MOST_NAMED:
        yield f"{len(entry.missing) - _MOST_NAMED} more without a change are in the manifest"
    if without_se:
        yield (
            f"{plural(without_se, one)} with a change, but in part without change_se: from one recording to another it "
            f"takes {FEWEST_OTHER_RECORDINGS} quiet recordings beyond each patient's first"
        )
