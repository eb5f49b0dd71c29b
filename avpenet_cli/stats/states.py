"""The state of a trajectory over time: stable, rising, falling, unstable or indeterminate, and the rule for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from avpenet_cli.stats.trajectory_measures import Course

Floats = npt.NDArray[np.float64]
State = Literal["stable", "rising", "falling", "unstable", "indeterminate"]


@dataclass(frozen=True)
class StateRule:
    """When a level is called what. Each segment's state is that of the seconds about its middle.

    Attributes:
        seconds: that a state is judged by, half of them before the segment and half after, s; within a recording's
            first and last seconds those that there are, at least two thirds of them.
        least_scored: share of these seconds that must have a score; with less the state is indeterminate.
        widest_band: width of the level's 95 % band at most, points; with a wider one the state is indeterminate.
        change: of the level over these seconds, from which it is rising or falling, points; zero must be outside of the
            change's 95 % interval, and the change at least half of the level's range in these seconds.
        range: of the level in these seconds from which it is unstable, if neither rising nor falling, points.
        spread: standard deviation of the scores about a straight line through these seconds from which the state is
            unstable, points; beyond what the scores' own spread explains, and significantly so.
        significance: of that, as a probability under scores whose own spread explains theirs.
        open_change: the state is indeterminate if the change's 95 % interval reaches beyond this on a side, points.
    """

    seconds: float = 30.0
    least_scored: float = 2 / 3
    widest_band: float = 4.0
    change: float = 1.0
    range: float = 2.0
    spread: float = 1.0
    significance: float = 0.001
    open_change: float = 3.0


RULE = StateRule()


def states(course: Course, score: Floats, sd: Floats, overlap: float, rule: StateRule = RULE) -> tuple[State, ...]:
    """State of each segment, (n,).

    The first that holds, in this order: indeterminate for too few scores or a wide band; rising or falling; unstable;
    indeterminate for a change that is left open; stable.

    Args:
        course: of the segments.
        score: (n,) points; NaN where unscorable.
        sd: (n,) known standard deviation of each score, points; NaN where not known.
        overlap: how often a segment's input is counted: window / stride, at least 1.
        rule: its constants.
    """
    found: list[State] = ["indeterminate"] * len(course.middle_s)
    if course.reason:
        return tuple(found)
    places = np.flatnonzero(np.isfinite(course.level))
    stretch = {number: np.flatnonzero(course.stretch == number) for number in np.unique(course.stretch)}
    about = [_about(course, stretch[course.stretch[place]], place, rule.seconds) for place in places]
    first, last = (np.array([window[end] for window in about]) for end in (0, -1))
    low, high = np.quantile(course.draws[:, last] - course.draws[:, first], [0.025, 0.975], axis=0)
    for number, (place, window) in enumerate(zip(places, about, strict=True)):
        judged = _Window(window, float(low[number]), float(high[number]))
        found[place] = _state(course, score, sd, overlap, rule, judged, place)
    return tuple(found)


@dataclass(frozen=True, eq=False)
class _Window:
    """The segments that a state is judged by: their places, and the 95 % interval of the level's change, points."""

    places: npt.NDArray[np.int64]
    low: float
    high: float


def _about(course: Course, stretch: npt.NDArray[np.int64], place: np.int64, seconds: float) -> npt.NDArray[np.int64]:
    """Places with a level of the seconds about a segment; about the ends of the stretch its first or last seconds."""
    times = course.middle_s[stretch]
    last_start = max(times[-1] - seconds, times[0])
    start = min(max(course.middle_s[place] - seconds / 2, times[0]), last_start)
    first, end = np.searchsorted(times, [start - 1e-6, start + seconds + 1e-6])
    places = stretch[first:end]
    kept: npt.NDArray[np.int64] = places[np.isfinite(course.level[places])]
    return kept


def _state(
    course: Course, score: Floats, sd: Floats, overlap: float, rule: StateRule, window: _Window, place: np.int64
) -> State:
    """State of the segment at `place`, judged by the segments of the window."""
    places, low, high = window.places, window.low, window.high
    if course.seconds[places].sum() < rule.least_scored * rule.seconds:
        return "indeterminate"
    if course.high[place] - course.low[place] > rule.widest_band:
        return "indeterminate"
    level = course.level[places]
    change, extent = float(level[-1] - level[0]), float(level.max() - level.min())
    if abs(change) >= max(rule.change, extent / 2) and (low > 0 or high < 0):
        return "rising" if change > 0 else "falling"
    if extent >= rule.range or _spread(course.middle_s[places], score[places], sd[places], overlap, rule):
        return "unstable"
    return "indeterminate" if low < -rule.open_change or high > rule.open_change else "stable"


def _spread(time_s: Floats, score: Floats, sd: Floats, overlap: float, rule: StateRule) -> bool:
    """Whether the scores spread about a straight line by more than the rule allows.

    Segments that share input share noise: of m scores, m / overlap are independent, less the line's two parameters.
    """
    scored = np.isfinite(score)
    n = int(scored.sum())
    freedom = n / overlap - 2
    if freedom < 1:
        return False
    time, value = time_s[scored] - time_s[scored].mean(), score[scored] - score[scored].mean()
    squares = float(value @ value) - float(time @ value) ** 2 / float(time @ time)
    variance = squares / (n - 2 * overlap)
    known = sd[scored][np.isfinite(sd[scored])]
    explained = float(known @ known) / len(known) if len(known) else 0.0
    if variance - explained < rule.spread**2:
        return False
    from scipy.stats import chi2

    return explained == 0 or float(chi2.sf(freedom * variance / explained, freedom)) < rule.significance
