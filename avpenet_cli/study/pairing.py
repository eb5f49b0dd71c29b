"""Which rating belongs to which segment, whose segment it is, and what found no partner."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt
import pandas as pd

from avpenet_cli.errors import SettingsError
from avpenet_cli.study.ratings import Ratings, Subjects
from avpenet_cli.study.score_tables import Scores
from avpenet_cli.study.sheets import shown

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

HOLD_S = 10.0
"""The article's interval between two self-reports."""
NO_RECORDING = "no such recording in the scores"
BEYOND = "beyond the recording's last segment"
IN_NONE = "in no segment"

_HALF = 0.5
_ROUNDING_S = 1e-6
"""Times are decimal fractions of a second: half a segment must not become a hair less."""
_MOST_CELLS = 50_000_000
"""Of segments by raters, 400 MB."""


@dataclass(frozen=True)
class Pairing:
    """Segments beside their reference; nothing without a partner is dropped in silence.

    Attributes:
        segments: as in the scores, with `subject`, `reference` (0 to 10, NaN where there is none) and `n_raters`.
        by_rater: (segments, raters) on the same index, each rater's value, NaN where that rater has none.
        unmatched_ratings: `line`, `recording`, `start_s`, `why`, in the file's order.
        unrated_recordings: recordings of the scores that no row of the ratings names.
        unrated_segments: how many segments have no reference.
        recordings_without_subject: recordings of the scores that the subjects' table does not name; each is a subject
            of its own, named by the recording. Empty without a table.
        subjects_without_recording: subjects none of whose recordings is in the scores.
        subject_rows_without_scores: recordings of the subjects' table that are not in the scores.
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
    """Give every segment its subject and its reference.

    A rating falls in a segment when it overlaps it by at least half of the shorter of the two. Of the ratings of one
    rater that fall in a segment the median counts, and of the raters' values the median again (METHOD.md: median per
    segment for self-reports, median of the nurses for NIPS).

    Args:
        ratings: none: no segment has a reference.
        subjects: none: every recording is its own subject.
        hold_s: how long a rating of one moment holds from then on, seconds; 0: it is of the segment it falls in.

    Raises:
        SettingsError: `hold_s` negative or no number; ratings or subjects without a recording of the scores; too many
            raters to hold beside each other; a recording without a subject that has the name of someone else.
    """
    if not 0.0 <= hold_s < np.inf:
        raise SettingsError(f"a rating cannot hold for {hold_s:g} s", "give 0 s or more")
    segments = scores.segments.copy(deep=False)
    recordings = [str(name) for name in segments["recording"].cat.categories]
    named = _subjects_of(recordings, subjects)
    codes = segments["recording"].cat.codes.to_numpy().astype(np.int64)
    segments["subject"] = pd.array(named, dtype="str").take(codes)
    raters = () if ratings is None else ratings.raters
    values = np.full((len(segments), len(raters)), np.nan)
    texts, floats = pd.Series(dtype="str"), np.empty(0)
    unmatched = pd.DataFrame({"line": np.empty(0, np.int64), "recording": texts, "start_s": floats, "why": texts})
    unrated = tuple(recordings)
    if ratings is not None:
        if values.size > _MOST_CELLS:
            raise SettingsError(
                f"{ratings.file.name}: {len(raters)} raters are too many for {len(segments)} segments",
                "give self-reports one common name in the column `rater`, such as self",
            )
        rated = pd.Index(recordings).get_indexer(pd.Index(ratings.rows["recording"])).astype(np.int64)
        if not (rated >= 0).any():
            raise _nothing_in_common(ratings.file.name, ratings.rows["recording"].unique(), recordings)
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


def row_medians(values: Floats) -> tuple[Floats, Places]:
    """Median of each row's numbers, and how many there are.

    Args:
        values: (rows, columns) float64, NaN where there is none; columns may be 0.

    Returns:
        (rows,) float64 medians, NaN for a row without a number; (rows,) int64 counts.
    """
    counts = values.shape[1] - np.isnan(values).sum(axis=1)
    medians = np.full(values.shape[0], np.nan)
    filled = np.flatnonzero(counts)
    # NaN sorts last.
    ordered, many = np.sort(values[filled], axis=1), counts[filled]
    row = np.arange(filled.size)
    if filled.size:
        medians[filled] = (ordered[row, (many - 1) // 2] + ordered[row, many // 2]) / 2.0
    return medians, counts.astype(np.int64)


def _subjects_of(recordings: list[str], subjects: Subjects | None) -> list[str]:
    if subjects is None:
        return recordings
    rows = subjects.subject_of
    if not any(name in rows for name in recordings):
        raise _nothing_in_common(subjects.file.name, rows, recordings)
    taken = set(rows.values())
    for name in recordings:
        if name not in rows and name in taken:
            raise SettingsError(
                f"{subjects.file.name}: recording {shown(name)} has no row, and a subject has its name",
                "give the recording a row",
            )
    return [rows.get(name, name) for name in recordings]


def _present(codes: Places, count: int) -> npt.NDArray[np.bool_]:
    present = np.zeros(count, dtype=bool)
    present[codes[codes >= 0]] = True
    return present


def _place(
    segments: pd.DataFrame, codes: Places, ratings: Ratings, rated: Places, hold_s: float
) -> tuple[Floats, pd.DataFrame]:
    """Each rater's value for each segment, and the ratings that fall in none.

    Args:
        rated: (ratings,) code of each rating's recording, -1 where the scores do not have it.
    """
    starts_s, ends_s = segments["start_s"].to_numpy(), segments["end_s"].to_numpy()
    from_s, given_end_s = ratings.rows["start_s"].to_numpy(), ratings.rows["end_s"].to_numpy()
    to_s = np.where(np.isnan(given_end_s), from_s + hold_s, given_end_s)
    last_s = np.full(rated.size, -np.inf)
    found = [np.empty((2, 0), np.int64)]
    for where, its in _by_recording(codes, rated):
        last_s[its] = ends_s[where].max()
        segment, rating = _overlapping(starts_s[where], ends_s[where], from_s[its], to_s[its])
        found.append(np.stack([where.start + segment, its[rating]]))
    segment, rating = np.concatenate(found, axis=1)
    values = _rater_medians(segment, rating, ratings, len(segments))
    lonely = ~_present(rating, rated.size)
    why = np.where(rated < 0, NO_RECORDING, np.where(from_s >= last_s, BEYOND, IN_NONE))
    unmatched = ratings.rows.loc[lonely, ["line", "recording", "start_s"]].assign(why=why[lonely])
    return values, unmatched.reset_index(drop=True)


def _by_recording(codes: Places, rated: Places) -> Iterator[tuple[slice, Places]]:
    """For every recording with ratings: where its segments are, and which ratings are its."""
    order = np.argsort(rated, kind="stable")
    order = order[np.searchsorted(rated[order], 0) :]
    recordings, firsts = np.unique(rated[order], return_index=True)
    begins, stops = np.searchsorted(codes, recordings, side="left"), np.searchsorted(codes, recordings, side="right")
    bounds = [*firsts.tolist(), order.size]
    for place, (begin, stop) in enumerate(zip(begins.tolist(), stops.tolist(), strict=True)):
        yield slice(begin, stop), order[bounds[place] : bounds[place + 1]]


def _overlapping(starts_s: Floats, ends_s: Floats, from_s: Floats, to_s: Floats) -> tuple[Places, Places]:
    """Which ratings fall in which segments of one recording.

    Args:
        starts_s, ends_s: (segments,) by increasing start.
        from_s, to_s: (ratings,); equal for a rating of one moment.

    Returns:
        (pairs,) places of segments; (pairs,) places of ratings.
    """
    moment = from_s == to_s
    # Windows that overlap may end out of order, the padded last one before the one it follows.
    first = np.searchsorted(np.maximum.accumulate(ends_s), from_s, side="right")
    until = np.searchsorted(starts_s, to_s, side="left")
    until = np.where(moment, np.searchsorted(starts_s, from_s, side="right"), until)
    candidates = np.maximum(until - first, 0)
    rating = np.repeat(np.arange(from_s.size), candidates)
    segment = np.arange(rating.size) + np.repeat(first - np.cumsum(candidates) + candidates, candidates)
    start_s, end_s, begin_s, stop_s = starts_s[segment], ends_s[segment], from_s[rating], to_s[rating]
    overlap_s = np.minimum(end_s, stop_s) - np.maximum(start_s, begin_s)
    shorter_s = np.minimum(end_s - start_s, stop_s - begin_s)
    falls = np.where(moment[rating], begin_s < end_s, overlap_s >= _HALF * shorter_s - _ROUNDING_S)
    return segment[falls], rating[falls]


def _rater_medians(segment: Places, rating: Places, ratings: Ratings, n_segments: int) -> Floats:
    """(segments, raters) median of each rater's ratings that fall in a segment."""
    rater = pd.Index(ratings.raters).get_indexer(pd.Index(ratings.rows["rater"])).astype(np.int64)
    cell = segment * len(ratings.raters) + rater[rating]
    value = ratings.rows["value"].to_numpy()[rating]
    order = np.lexsort((value, cell))
    cell, value = cell[order], value[order]
    cells, first, many = np.unique(cell, return_index=True, return_counts=True)
    flat = np.full(n_segments * len(ratings.raters), np.nan)
    flat[cells] = (value[first + (many - 1) // 2] + value[first + many // 2]) / 2.0
    return flat.reshape(n_segments, len(ratings.raters))


def _nothing_in_common(file: str, theirs: Iterable[str], ours: list[str]) -> SettingsError:
    others = [str(name) for name in theirs]
    plain = {_plain(name): name for name in ours}
    alike = next((name for name in others if _plain(name) in plain), None)
    mine, other = (ours[0], others[0]) if alike is None else (plain[_plain(alike)], alike)
    hint = "use the names of the score table's column `recording`"
    if alike is not None:
        hint = f"the names agree but for folder, suffix or letter case: {hint}"
    return SettingsError(
        f"{file} has no recording in common with the scores: {shown(other)} there, {shown(mine)} in the scores", hint
    )


def _plain(name: str) -> str:
    """What is left of a recording's name when somebody notes it by hand."""
    return unicodedata.normalize("NFC", PurePosixPath(name.replace("\\", "/")).stem).casefold()
