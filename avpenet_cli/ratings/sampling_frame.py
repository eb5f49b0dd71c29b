"""What can be sampled: the scored segments of score tables, or the segments that recordings will have."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from avpenet_cli.errors import RecordingError, SettingsError
from avpenet_cli.phrasing import plural
from avpenet_cli.records import Status
from avpenet_cli.stats.classes import LABELS, class_of
from avpenet_cli.study.csv_text import normalise_header
from avpenet_cli.study.pack import PackFile
from avpenet_cli.study.pairing import subjects_of
from avpenet_cli.study.score_tables import DEFAULT_CUT_POINTS, read_scores, scores_digest
from avpenet_cli.study.sheets import quoted
from avpenet_cli.study.subjects import NOT_STATED, Subjects, read_subjects
from avpenet_cli.study.tables import match_tables
from avpenet_cli.tables import SUFFIXES

SCORE = "score"
_MOST_LEVELS = 30
_NAMED = 3
_DECIMALS = 3
"""Of times in a score table, seconds."""


@dataclass(frozen=True)
class Frame:
    """Segments that can be drawn.

    Attributes:
        segments: `recording`, `start_s`, `end_s`, `subject`, in the order of the tables.
        stratum: (segments,) place of each in `strata`.
        strata: levels by column, for every combination of levels.
        scores: the score tables; empty for recordings.
        scores_digest: over their scores; empty for recordings.
        subjects: the table of subjects; None without one.
        weights: of the scores.
        cut_points: upper ends of the classes low and moderate, points.
        left_out: segments without a score.
        notices: what a person should know.
    """

    segments: pd.DataFrame
    stratum: np.ndarray[tuple[int], np.dtype[np.int64]]
    strata: tuple[dict[str, str], ...]
    scores: tuple[PackFile, ...]
    scores_digest: str
    subjects: PackFile | None
    weights: str
    cut_points: tuple[float, float]
    left_out: int
    notices: tuple[str, ...]


def read_frame(sources: Sequence[str], subjects: Path | None, stratify: Sequence[str]) -> Frame:
    """Read what can be sampled.

    Args:
        sources: score tables, or recordings and folders of recordings.
        subjects: table of subjects; None: every recording counts as a patient.
        stratify: `score` and columns of the table of subjects.

    Raises:
        SettingsError: tables and recordings together, a table that cannot be used, no segment, or a column that is
            not there.
    """
    tables = [Path(source) for source in sources if Path(source).suffix.lower() in SUFFIXES]
    if tables and len(tables) < len(sources):
        raise SettingsError("score tables and recordings together", "sample from the one or the other")
    people = None if subjects is None else read_subjects(subjects)
    if not tables:
        return _of_recordings(sources, people, stratify)
    inputs = match_tables(read_scores(tables), subjects=people)
    scores, people = inputs.scores, inputs.subjects
    files = tuple(
        PackFile(source.name, source.sha256, scores_digest(scores, place))
        for place, source in enumerate(scores.sources)
    )
    segments = scores.segments[["recording", "start_s", "end_s", "score", "status"]]
    segments = segments.assign(recording=segments["recording"].astype(str))
    frame = _frame(segments, people, stratify, scores.cut_points, inputs.notices)
    return replace(frame, scores=files, scores_digest=scores_digest(scores), weights=scores.weights)


def _of_recordings(sources: Sequence[str], subjects: Subjects | None, stratify: Sequence[str]) -> Frame:
    if SCORE in stratify:
        raise SettingsError("--stratify score without scores", "give the score table in place of the recordings")
    segments, notices = recorded_segments(sources)
    if subjects is not None:
        subjects = subjects.matched_to(list(dict.fromkeys(segments["recording"])), "the recordings")
        notices = (*notices, *subjects.notices)
    return _frame(segments, subjects, stratify, DEFAULT_CUT_POINTS, notices)


def recorded_segments(sources: Sequence[str]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The whole segments of recordings by their headers, in the form of a score table, and notes on the recordings.

    A shorter last segment is left out: only decoding tells where it ends.

    Raises:
        SettingsError: no recording, or none that can be read.
    """
    from avpenet_cli.inputs import collect
    from avpenet_cli.media.probe import probe
    from avpenet_cli.pipeline.windows import windows
    from avpenet_cli.settings import WINDOW_S, RunSettings

    settings = RunSettings()
    collected = collect(list(sources), None, False, None)
    rows: list[tuple[str, float, float]] = []
    unread: list[str] = []
    for recording in collected.recordings:
        try:
            if recording.problem:
                raise RecordingError("no_recordings", recording.problem)
            length_s = probe(recording.path, settings.decoding).nominal_s
        except RecordingError as error:
            unread.append(f"{recording.name}: {error.message}")
            continue
        # A file may decode to a step of the frame grid less than its header states.
        for window in windows(length_s - 0.5, settings.stride_s, 1.0):
            if not window.short and window.end_s - window.start_s >= WINDOW_S - 1e-6:
                rows.append((recording.name, window.start_s, window.end_s))
    if not rows:
        why = f": {unread[0]}" if unread else ""
        raise SettingsError(f"no segment can be sampled from {plural(len(collected.recordings), 'recording')}{why}", "")
    segments = pd.DataFrame(rows, columns=["recording", "start_s", "end_s"])
    notes = [*collected.notes]
    if unread:
        notes.append(f"not sampled, because they cannot be read: {'; '.join(unread[:_NAMED])}, {len(unread)} in all")
    return segments.assign(score=np.nan, status=Status.SCORED.value), tuple(notes)


def _frame(
    segments: pd.DataFrame,
    subjects: Subjects | None,
    stratify: Sequence[str],
    cut_points: tuple[float, float],
    notices: tuple[str, ...],
) -> Frame:
    """The frame of segments in the form of a score table, without what is known of the table itself."""
    names = list(dict.fromkeys(segments["recording"]))
    subject_of = dict(zip(names, subjects_of(names, subjects), strict=True))
    drawable = (segments["status"] == Status.SCORED.value).to_numpy()
    if not drawable.any():
        raise SettingsError("no segment has a score: none can be sampled", "score recordings first")
    levels: dict[str, list[str]] = {}
    codes = np.zeros(len(segments), dtype=np.int64)
    for column in stratify:
        level, levels[column] = _levels(segments, subjects, column, cut_points)
        codes = codes * len(levels[column]) + level
    kept = segments[drawable].reset_index(drop=True)
    kept = kept.assign(
        subject=kept["recording"].map(subject_of),
        start_s=kept["start_s"].round(_DECIMALS),
        end_s=kept["end_s"].round(_DECIMALS),
    )
    strata = [dict(zip(levels, combination, strict=True)) for combination in itertools.product(*levels.values())]
    notes = list(notices)
    if subjects is None:
        notes.append(
            "whose recordings these are is not known (no --subjects): each counts as a patient, and one patient with "
            "many recordings may dominate the sample"
        )
    else:
        unknown = [name for name in names if name not in subjects.subject_of]
        if unknown:
            notes.append(f"{plural(len(unknown), 'recording')} without a row in {subjects.file.name}, each a patient")
    file = None if subjects is None else PackFile(subjects.file.name, subjects.file.sha256)
    columns = kept[["recording", "start_s", "end_s", "subject"]]
    left_out = int((~drawable).sum())
    return Frame(columns, codes[drawable], tuple(strata), (), "", file, "", cut_points, left_out, tuple(notes))


def _levels(
    segments: pd.DataFrame, subjects: Subjects | None, column: str, cut_points: tuple[float, float]
) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], list[str]]:
    """The level of each segment in a column, as a code, and the levels, of which some may have no scored segment."""
    if column == SCORE:
        return class_of(np.nan_to_num(segments["score"].to_numpy(np.float64)), cut_points), list(LABELS)
    if subjects is None:
        raise SettingsError(f"--stratify {column} without --subjects", "give the table of subjects that has the column")
    found = next((name for name in subjects.columns if normalise_header(name, [column]) == column), None)
    if found is None:
        there = ", ".join(map(quoted, subjects.columns)) or "none"
        raise SettingsError(
            f"--stratify {column}: {subjects.file.name} has no such column (to stratify by: {there})",
            "name `score` or one of its columns",
        )
    of_recording = subjects.table[found]
    level = segments["recording"].map(of_recording).fillna(NOT_STATED).astype(str)
    names = sorted(level.unique())
    if len(names) > _MOST_LEVELS:
        raise SettingsError(f"--stratify {column}: {len(names)} levels are too many", "give a column of groups")
    return pd.Index(names).get_indexer(pd.Index(level)).astype(np.int64), names
