"""What a smoothed level amounts to: time above a cut point, area, mean, highest, peaks.

Intervals are the 2.5th and 97.5th percentiles of the measure over the level's draws. For the linear measures (area and
mean) the value is that of the level itself; for the others it is the median over the draws: the level is the mean of
them, so that its highest is lower, and its time above a cut point shorter or longer, than theirs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avpenet_cli.stats.estimate import Estimate, absent
from avpenet_cli.stats.smoothing import Smoothed

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

LOWEST, HIGHEST = 0.0, 10.0
"""Ends of the scale, points."""
LEAST_PROMINENCE = 1.0
"""Prominence of a peak at least, points."""


@dataclass(frozen=True, eq=False)
class Course:
    """A smoothed level with the time that each segment stands for. Arrays are (n,) unless stated otherwise.

    Attributes:
        middle_s: of the segments, s, in time order.
        seconds: that each segment with a score stands for, s; 0 without a score.
        level: points, confined to 0 to 10; NaN where there is none.
        low, high: its 95 % band, likewise.
        draws: (draws, n) likewise.
        stretch: int64; the level starts anew with each.
        reason: why there is no level; empty otherwise.
    """

    middle_s: Floats
    seconds: Floats
    level: Floats
    low: Floats
    high: Floats
    draws: Floats
    stretch: npt.NDArray[np.int64]
    reason: str = ""

    @classmethod
    def of(cls, start_s: Floats, end_s: Floats, score: Floats, smoothed: Smoothed) -> Course:
        """The course of a series of segments that was smoothed."""
        first, last = cells(start_s, end_s)
        seconds = np.where(np.isfinite(score), last - first, 0.0)
        level, low, high, draws = (
            np.clip(values, LOWEST, HIGHEST) for values in (smoothed.mean, smoothed.low, smoothed.high, smoothed.draws)
        )
        middle = (start_s + end_s) / 2
        return cls(middle, seconds, level, low, high, draws, smoothed.stretch, smoothed.reason)

    @property
    def scored(self) -> Mask:
        """(n,) whether a segment has a score."""
        result: Mask = self.seconds > 0
        return result

    @property
    def n(self) -> int:
        """Segments with a score."""
        return int(self.scored.sum())


@dataclass(frozen=True)
class PeakMeasure:
    """A peak of a level: place among the segments; level and its 95 % interval, points; prominence, points."""

    place: int
    level: float
    low: float
    high: float
    prominence: float


def cells(start_s: Floats, end_s: Floats) -> tuple[Floats, Floats]:
    """Start and end of the time that each segment stands for, (n,) each, s: the times nearest to its middle.

    Of segments that overlap, half of what they share goes to either; together they stand for every second once. A
    segment never stands for a time outside of itself.

    Args:
        start_s, end_s: (n,) of the segments, s, in any order.
    """
    middle = (start_s + end_s) / 2
    order = np.argsort(middle, kind="stable")
    between = (middle[order][:-1] + middle[order][1:]) / 2
    first, last = np.empty_like(middle), np.empty_like(middle)
    first[order], last[order] = np.append(-np.inf, between), np.append(between, np.inf)
    return np.maximum(start_s, first), np.minimum(end_s, last)


def from_draws(values: Floats, n: int, value: float | None = None) -> Estimate:
    """An estimate from a measure's value in each draw, (draws,) and no NaN: their median unless `value` is given."""
    low, high = np.quantile(values, [0.025, 0.975])
    return Estimate(float(np.median(values)) if value is None else value, (float(low), float(high)), n)


def seconds_above(course: Course, cut: float) -> Estimate:
    """Seconds with a score in which the level lies above `cut`, points."""
    if course.reason:
        return absent(course.reason, course.n)
    scored = course.scored
    return from_draws((course.draws[:, scored] > cut) @ course.seconds[scored], course.n)


def area(course: Course) -> Estimate:
    """Area under the level over the seconds with a score, points x s."""
    if course.reason:
        return absent(course.reason, course.n)
    scored = course.scored
    seconds = course.seconds[scored]
    return from_draws(course.draws[:, scored] @ seconds, course.n, float(course.level[scored] @ seconds))


def mean(course: Course) -> Estimate:
    """Mean level over the seconds with a score, points."""
    total = area(course)
    if not total.computable:
        return total
    seconds = float(course.seconds.sum())
    return Estimate(total.value / seconds, (total.ci[0] / seconds, total.ci[1] / seconds), total.n)


def highest(course: Course) -> Estimate:
    """Highest level of the segments with a score, points."""
    if course.reason:
        return absent(course.reason, course.n)
    return from_draws(course.draws[:, course.scored].max(axis=1), course.n)


def peaks(course: Course) -> tuple[PeakMeasure, ...]:
    """Peaks of the level with a prominence of at least LEAST_PROMINENCE, in time order.

    Stretches between gaps are searched one by one; the ends of a stretch are no peaks. The interval is that of the
    level at that time.
    """
    from scipy.signal import find_peaks

    found = []
    for places in runs(np.isfinite(course.level), course.stretch):
        where, properties = find_peaks(course.level[places], prominence=LEAST_PROMINENCE)
        for place, prominence in zip(places[where], properties["prominences"], strict=True):
            values = (course.level[place], course.low[place], course.high[place], prominence)
            found.append(PeakMeasure(int(place), *(float(value) for value in values)))
    return tuple(found)


def runs(kept: Mask, stretch: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """Places of each run of neighbours that are kept and of one stretch."""
    places = np.flatnonzero(kept)
    breaks = np.flatnonzero((np.diff(places) > 1) | (np.diff(stretch[places]) != 0)) + 1
    return [run for run in np.split(places, breaks) if len(run)]
