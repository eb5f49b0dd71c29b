"""Matching ratings to segments and segments to subjects, with everything that has no match."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt
import pandas as pd

from avpenet_cli.errors import SettingsError
from avpenet_cli.keys import normalise_key
from avpenet_cli.study.ratings import Ratings
from avpenet_cli.study.score_tables import Scores
from avpenet_cli.study.sheets import quoted
from avpenet_cli.study.subjects import Subjects

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

HOLD_S = 10.0
"""Seconds between two self-reports in the paper."""
NO_RECORDING = "no such recording in the scores"
BEYOND = "beyond the recording's last segment"
IN_NONE = "in no segment"

_HALF = 0.5
_ROUNDING_S = 1e-6
"""Times are decimal fractions: half a segment must not fall short by a rounding error."""
_MOST_CELLS = 50_000_000
"""Of the matrix of segments by raters; 400 MB."""


@dataclass(frozen=True)
class Pairing:
    """Segments with their reference, and every rating, recording and subject without a match.

    Attributes:
        segments: as in the scores, with `subject`, `reference` (0 to 10, NaN where there is none) and `n_raters`.
        by_rater: (segments, raters) on the same index, each rater's value in points, NaN where there is none.
        unmatched_ratings: `line`, `recording`, `start_s`, `why`, in the file's order.
        unrated_recordings: recordings of the scores that no row of the ratings names.
        unrated_segments: number of segments without a reference.
        recordings_without_subject: recordings of the scores that the table of subjects does not name; each counts as
            a separate subject named after the recording. Empty without a table.
        subjects_without_recording: subjects none of whose recordings is in the scores.
        subject_rows_without_scores: recordings of the table of subjects that are not in the scores.
    """

    segments: pd.DataFrame
    by_rater: pd.DataFrame
    unmatched_ratings: pd.DataFrame
    unrated_recordings: tuple[str, ...]
    unrated_segments: int
    recordings_without_subject: tuple[str, ...]
    subjects_without_recording: tuple[str, ...]
    subject_rows_without_scores: tuple[str, ...]


def pair(scores: Scores, ratings: Ratings | None, subjects: Subjects | None, hold_s: float = HOLD_S) -> Pairing:
    """Assign a subject and a reference to every segment.

    A rating belongs to a segment when the two overlap by at least half of the shorter one. The reference is the median
    over raters of the median of each rater's ratings (as in the paper: median per segment for self-reports, median of
    the nurses for NIPS).

    Args:
        scores: segments.
        ratings: None: no segment has a reference.
        subjects: None: every recording is a separate subject. Both tables name recordings as the scores do, see
            `matched_to`.
        hold_s: how long a rating given at one time holds from then on, seconds; 0: it belongs to the segment at that
            time.

    Raises:
        SettingsError: `hold_s` is negative or not a number; ratings or subjects have no recording in common with the
            scores; too many raters for memory; a recording without a subject has the name of a subject.
    """
    if not 0.0 <= hold_s < np.inf:
        raise SettingsError(f"a rating cannot hold for {hold_s:g} s", "give 0 s or more")
    segments = scores.segments.copy(deep=False)
    recordings = [str(name) for name in segments["recording"].cat.categories]
    subject_names = subjects_of(recordings, subjects)
    codes = segments["recording"].cat.codes.to_numpy().astype(np.int64)
    segments["subject"] = pd.array(subject_names, dtype="str").take(codes)
    raters = () if ratings is None else ratings.raters
    values = np.full((len(segments), len(raters)), np.nan)
    texts, floats = pd.Series(dtype="str"), np.empty(0)
    unmatched = pd.DataFrame({"line": np.empty(0, np.int64), "recording": texts, "start_s": floats, "why": texts})
    unrated = tuple(recordings)
    if ratings is not None:
        if values.size > _MOST_CELLS:
            raise SettingsError(
                f"{ratings.file.name}: {len(raters)} raters are too many for {len(segments)} segments",
                "give all self-reports the same name in the column `rater`, such as self",
            )
        rated = pd.Index(recordings).get_indexer(pd.Index(ratings.rows["recording"])).astype(np.int64)
        if not (rated >= 0).any():
            raise nothing_in_common(ratings.file.name, ratings.rows["recording"].unique(), recordings)
        unrated = tuple(name for name, has in zip(recordings, _present(rated, len(recordings)), strict=True) if not has)
        values, unmatched = _place(segments, codes, ratings, rated, hold_s)
    reference, n_raters = row_medians(values)
    segments["reference"], segments["n_raters"] = reference, n_raters
    known = set(recordings)
    rows = {} if subjects is None else subjects.subject_of
    with_scores = {subject for recording, subject in rows.items() if recording in known}
    return Pairing(
        segments=segments,
        by_rater=pd.DataFrame(values, index=segments.index, columns=list(raters)),
        unmatched_ratings=unmatched,
        unrated_recordings=unrated,
        unrated_segments=int(np.isnan(reference).sum()),
        recordings_without_subject=() if subjects is None else tuple(n for n in recordings if n not in rows),
        subjects_without_recording=tuple(s for s in dict.fromkeys(rows.values()) if s not in with_scores),
        subject_rows_without_scores=tuple(recording for recording in rows if recording not in known),
    )


def row_medians(values: Floats) -> tuple[Floats, Indices]:
    """Median and number of the values in each row.

    Args:
        values: (rows, columns) float64, NaN where there is no value; the number of columns may be 0.

    Returns:
        (rows,) float64 medians, NaN for a row without a value; (rows,) int64 counts.
    """
    counts = values.shape[1] - np.isnan(values).sum(axis=1)
    medians = np.full(values.shape[0], np.nan)
    filled = np.flatnonzero(counts)
    # NaN sorts last.
    ordered, count = np.sort(values[filled], axis=1), counts[filled]
    row = np.arange(filled.size)
    if filled.size:
        medians[filled] = (ordered[row, (count - 1) // 2] + ordered[row, count // 2]) / 2.0
    return medians, counts.astype(np.int64)


def subjects_of(recordings: list[str], subjects: Subjects | None) -> list[str]:
    """The subject of each recording: its own name where the table has no row for it, or where there is no table.

    Raises:
        SettingsError: the table names none of them; a recording without a row has the name of a subject.
    """
    if subjects is None:
        return recordings
    rows = subjects.subject_of
    if not any(name in rows for name in recordings):
        raise nothing_in_common(subjects.file.name, rows, recordings)
    taken = set(map(normalise_key, rows.values()))
    for name in recordings:
        if name not in rows and normalise_key(name) in taken:
            raise SettingsError(
                f"{subjects.file.name}: recording {quoted(name)} has no row, and its name is that of a subject",
                "add a row for the recording",
            )
    return [rows.get(name, name) for name in recordings]


def _present(codes: Indices, count: int) -> npt.NDArray[np.bool_]:
    present = np.zeros(count, dtype=bool)
    present[codes[codes >= 0]] = True
    return present


def _place(
    segments: pd.DataFrame, codes: Indices, ratings: Ratings, rated: Indices, hold_s: float
) -> tuple[Floats, pd.DataFrame]:
    """Each rater's value for each segment, and the ratings without a segment.

    Args:
        rated: (ratings,) code of each rating's recording, -1 where the scores do not have it.
    """
    starts_s, ends_s = segments["start_s"].to_numpy(), segments["end_s"].to_numpy()
    from_s, to_s = ratings.rows["start_s"].to_numpy(), ratings.rows["end_s"].to_numpy()
    to_s = np.where(np.isnan(to_s), from_s + hold_s, to_s)
    last_s = np.full(rated.size, -np.inf)
    matches = [np.empty((2, 0), np.int64)]
    for rows, of_recording in _by_recording(codes, rated):
        last_s[of_recording] = ends_s[rows].max()
        segment, rating = overlapping(starts_s[rows], ends_s[rows], from_s[of_recording], to_s[of_recording])
        matches.append(np.stack([rows.start + segment, of_recording[rating]]))
    segment, rating = np.concatenate(matches, axis=1)
    values = _rater_medians(segment, rating, ratings, len(segments))
    unmatched = ~_present(rating, rated.size)
    why = np.where(rated < 0, NO_RECORDING, np.where(from_s >= last_s, BEYOND, IN_NONE))
    listed = ratings.rows.loc[unmatched, ["line", "recording", "start_s"]].assign(why=why[unmatched])
    return values, listed.reset_index(drop=True)


def _by_recording(codes: Indices, rated: Indices) -> Iterator[tuple[slice, Indices]]:
    """Yield, for every recording with ratings, the rows of its segments and the indices of its ratings."""
    order = np.argsort(rated, kind="stable")
    order = order[np.searchsorted(rated[order], 0) :]
    recordings, firsts = np.unique(rated[order], return_index=True)
    starts, stops = np.searchsorted(codes, recordings, side="left"), np.searchsorted(codes, recordings, side="right")
    bounds = [*firsts.tolist(), order.size]
    for place, (start, stop) in enumerate(zip(starts.tolist(), stops.tolist(), strict=True)):
        yield slice(start, stop), order[bounds[place] : bounds[place + 1]]


def overlapping(starts_s: Floats, ends_s: Floats, from_s: Floats, to_s: Floats) -> tuple[Indices, Indices]:
    """Which ratings belong to which segments of a recording.

    Args:
        starts_s, ends_s: (segments,) seconds, by increasing start.
        from_s, to_s: (ratings,) seconds; equal for a rating that does not hold.

    Returns:
        (matches,) indices of segments; (matches,) indices of ratings.
    """
    instant = from_s == to_s
    # The last window is padded and may end before the one that precedes it.
    first = np.searchsorted(np.maximum.accumulate(ends_s), from_s, side="right")
    until = np.searchsorted(starts_s, to_s, side="left")
    until = np.where(instant, np.searchsorted(starts_s, from_s, side="right"), until)
    candidates = np.maximum(until - first, 0)
    rating = np.repeat(np.arange(from_s.size), candidates)
    segment = np.arange(rating.size) + np.repeat(first - np.cumsum(candidates) + candidates, candidates)
    start_s, end_s, begin_s, stop_s = starts_s[segment], ends_s[segment], from_s[rating], to_s[rating]
    overlap_s = np.minimum(end_s, stop_s) - np.maximum(start_s, begin_s)
    shorter_s = np.minimum(end_s - start_s, stop_s - begin_s)
    matched = np.where(instant[rating], begin_s < end_s, overlap_s >= _HALF * shorter_s - _ROUNDING_S)
    return segment[matched], rating[matched]


def _rater_medians(segment: Indices, rating: Indices, ratings: Ratings, n_segments: int) -> Floats:
    """(segments, raters) median of each rater's ratings of a segment, points; NaN where there is none."""
    rater = pd.Index(ratings.raters).get_indexer(pd.Index(ratings.rows["rater"])).astype(np.int64)
    cell = segment * len(ratings.raters) + rater[rating]
    value = ratings.rows["value"].to_numpy()[rating]
    order = np.lexsort((value, cell))
    cell, value = cell[order], value[order]
    cells, first, count = np.unique(cell, return_index=True, return_counts=True)
    flat = np.full(n_segments * len(ratings.raters), np.nan)
    flat[cells] = (value[first + (count - 1) // 2] + value[first + count // 2]) / 2.0
    return flat.reshape(n_segments, len(ratings.raters))


def nothing_in_common(file: str, names: Iterable[str], scored: list[str]) -> SettingsError:
    """The refusal of a table that names none of the scored recordings."""
    others = [str(name) for name in names]
    by_stem = {_normalised(name): name for name in scored}
    alike = next((name for name in others if _normalised(name) in by_stem), None)
    ours, other = (scored[0], others[0]) if alike is None else (by_stem[_normalised(alike)], alike)
    hint = "use the names of the score table's column `recording`"
    if alike is not None:
        hint = f"the names differ only in folder or suffix: {hint}"
    return SettingsError(
        f"{file} has no recording in common with the scores: {quoted(other)} there, {quoted(ours)} in the scores", hint
    )


def _normalised(name: str) -> str:
    """Key of a recording's name without folder and suffix, which people drop when they write it down."""
    return normalise_key(PurePosixPath(name.replace("\\", "/")).stem)
