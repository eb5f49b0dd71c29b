"""A recording's scores over time as lines: broken at gaps, in columns where there are too many segments."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avpenet_cli.report.figures.style import FloatArray, numbers

MOST_SEGMENTS = 1500
COLUMNS = 500


@dataclass(frozen=True)
class Track:
    """The segments of a recording, in any order; all arrays are (segments,).

    Attributes:
        start_s: where each segment starts, seconds after the recording's start.
        end_s: where it ends.
        score: points of the 0-10 scale, NaN where unscorable.
        band_lo: lower end of the score's uncertainty, points; None without one.
        band_hi: upper end.
        reference: points, NaN without a rating; None without any.
    """

    start_s: npt.ArrayLike
    end_s: npt.ArrayLike
    score: npt.ArrayLike
    band_lo: npt.ArrayLike | None = None
    band_hi: npt.ArrayLike | None = None
    reference: npt.ArrayLike | None = None


@dataclass(frozen=True)
class Rating:
    """A rating, points, that holds from `start_s` to `end_s`, seconds."""

    rater: str
    start_s: float
    end_s: float
    value: float


@dataclass(frozen=True)
class Timeline:
    """A `Track` in order of time, as float64 arrays of equal length."""

    start_s: FloatArray
    end_s: FloatArray
    score: FloatArray
    band_lo: FloatArray
    band_hi: FloatArray
    reference: FloatArray

    @property
    def middle_s(self) -> FloatArray:
        """Centres of the segments, seconds."""
        return (self.start_s + self.end_s) / 2

    @property
    def span_s(self) -> tuple[float, float]:
        """From the start of the first segment to the end of the last, seconds; 0 to 1 without segments."""
        return (float(self.start_s[0]), float(self.end_s.max())) if self.start_s.size else (0.0, 1.0)


def timeline_of(track: Track) -> Timeline:
    """Sort a track by time, without segments whose times are not known.

    Raises:
        ValueError: arrays of different lengths.
    """
    start = numbers(track.start_s)
    absent = np.full(start.size, math.nan)
    arrays = [
        absent if values is None else numbers(values)
        for values in (track.start_s, track.end_s, track.score, track.band_lo, track.band_hi, track.reference)
    ]
    if len({values.size for values in arrays}) != 1:
        raise ValueError(f"arrays of different lengths: {[values.size for values in arrays]}")
    order = np.argsort(start, kind="stable")
    order = order[np.isfinite(arrays[0][order]) & np.isfinite(arrays[1][order])]
    return Timeline(*(values[order] for values in arrays))


def broken_line(timeline: Timeline, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Centres and values, with a NaN wherever a segment is missing, so that the line breaks there."""
    x = timeline.middle_s
    if x.size < 3:
        return x, values
    step = np.diff(timeline.start_s)
    gaps = np.flatnonzero(step > 1.5 * np.median(step)) + 1
    return np.insert(x, gaps, x[gaps]), np.insert(values, gaps, math.nan)


def isolated(values: FloatArray) -> npt.NDArray[np.bool_]:
    """Which values have no neighbour on either side, so that a line does not show them."""
    known = np.isfinite(values)
    beside = np.concatenate([[False], known, [False]])
    return np.asarray(known & ~beside[:-2] & ~beside[2:])


def unscorable_spans(timeline: Timeline) -> list[tuple[float, float]]:
    """Intervals without a score, seconds: adjacent ones merged, without the time of scored neighbours."""
    spans: list[tuple[float, float]] = []
    lost = ~np.isfinite(timeline.score)
    following = np.append(timeline.start_s[1:], math.inf)
    scored_until = -math.inf
    for index in range(timeline.score.size):
        start, end = float(timeline.start_s[index]), float(min(timeline.end_s[index], following[index]))
        if not lost[index]:
            scored_until = end
            continue
        start = max(start, scored_until) if scored_until < end else start
        if spans and start <= spans[-1][1] + 1e-6:
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
        else:
            spans.append((start, end))
    return spans


def steps(start_s: FloatArray, end_s: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """A step line: each value over its time, joined where the next starts as it ends.

    A step ends where the next starts, if that is earlier; a gap or a NaN breaks the line.
    """
    if not values.size:
        return np.empty(0), np.empty(0)
    ends = np.minimum(end_s, np.append(start_s[1:], math.inf))
    broken = np.append(start_s[1:] - ends[:-1] > 1e-6, True)
    x = np.column_stack([start_s, ends, np.where(broken, ends, math.nan)]).ravel()
    y = np.column_stack([values, values, np.full(values.size, math.nan)]).ravel()
    keep = np.column_stack([np.ones((values.size, 2), dtype=bool), broken]).ravel()
    return x[keep], y[keep]


@dataclass(frozen=True)
class Columns:
    """Minimum, mean and maximum in each column of time, NaN where there is none; arrays are (columns,)."""

    middle_s: FloatArray
    low: FloatArray
    mean: FloatArray
    high: FloatArray


def in_columns(time_s: FloatArray, values: FloatArray, span_s: tuple[float, float]) -> Columns:
    """Reduce values to `COLUMNS` columns of `span_s`, keeping the extremes."""
    edges = np.linspace(*span_s, COLUMNS + 1)
    low, high = np.full(COLUMNS, math.inf), np.full(COLUMNS, -math.inf)
    total, number = np.zeros(COLUMNS), np.zeros(COLUMNS)
    known = np.isfinite(values) & (time_s >= span_s[0]) & (time_s <= span_s[1])
    column = np.clip(np.searchsorted(edges, time_s[known], side="right") - 1, 0, COLUMNS - 1)
    np.minimum.at(low, column, values[known])
    np.maximum.at(high, column, values[known])
    np.add.at(total, column, values[known])
    np.add.at(number, column, 1.0)
    empty = number == 0
    low[empty] = high[empty] = math.nan
    mean = np.divide(total, number, out=np.full(COLUMNS, math.nan), where=~empty)
    return Columns((edges[:-1] + edges[1:]) / 2, low, mean, high)


def lost_columns(timeline: Timeline) -> npt.NDArray[np.bool_]:
    """Which columns contain a segment without a score."""
    lost = np.where(np.isfinite(timeline.score), math.nan, 1.0)
    return np.isfinite(in_columns(timeline.middle_s, lost, timeline.span_s).mean)


def by_rater(ratings: Sequence[Rating]) -> dict[str, tuple[FloatArray, FloatArray, FloatArray]]:
    """Start and end (s) and value (points) of each rater's ratings by time; raters in order of appearance."""
    rows: dict[str, list[tuple[float, float, float]]] = {}
    for rating in ratings:
        if math.isfinite(rating.start_s) and math.isfinite(rating.value):
            rows.setdefault(rating.rater, []).append((rating.start_s, rating.end_s, rating.value))
    arrays = {}
    for rater, triples in rows.items():
        table = np.array(sorted(triples, key=lambda triple: triple[0]), dtype=np.float64)
        table[:, 1] = np.where(np.isfinite(table[:, 1]), table[:, 1], table[:, 0])
        arrays[rater] = (table[:, 0], table[:, 1], table[:, 2])
    return arrays
