"""The state of a trajectory over time: stable, rising, falling, unstable or indeterminate, and the rule for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from avpenet_cli.stats.trajectory_measures import Course, runs

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
    for stretch in runs(np.ones(len(found), np.bool_), course.stretch):
        for place in stretch:
            if np.isfinite(course.level[place]):
                about = _about(course, stretch, place, rule.seconds)
                found[place] = _state(course, score, sd, overlap, rule, about, place)
    return tuple(found)


def _about(course: Course, stretch: npt.NDArray[np.int64], place: int, seconds: float) -> npt.NDArray[np.int64]:
    """Places with a level of the seconds about a segment; about the ends of the stretch its first or last seconds."""
    times = course.middle_s[stretch]
    last_start = max(times[-1] - seconds, times[0])
    start = min(max(course.middle_s[place] - seconds / 2, times[0]), last_start)
    first, end = np.searchsorted(times, [start - 1e-6, start + seconds + 1e-6])
    places = stretch[first:end]
    kept: npt.NDArray[np.int64] = places[np.isfinite(course.level[places])]
    return kept


def _state(
    course: Course,
    score: Floats,
    sd: Floats,
    overlap: float,
    rule: StateRule,
    places: npt.NDArray[np.int64],
    place: int,
) -> State:
    """State of the segment at `place`, judged by the segments at `places`."""
    if course.seconds[places].sum() < rule.least_scored * rule.seconds:
        return "indeterminate"
    if course.high[place] - course.low[place] > rule.widest_band:
        return "indeterminate"
    change = course.level[places[-1]] - course.level[places[0]]
    low, high = np.quantile(course.draws[:, places[-1]] - course.draws[:, places[0]], [0.025, 0.975])
    extent = float(np.ptp(course.level[places]))
    if abs(change) >= max(rule.change, extent / 2) and (low > 0 or high < 0):
        return "rising" if change > 0 else "falling"
    if extent >= rule.range or _spread(course.middle_s, score, sd, overlap, rule, places):
        return "unstable"
    return "indeterminate" if low < -rule.open_change or high > rule.open_change else "stable"


def _spread(
    middle_s: Floats, score: Floats, sd: Floats, overlap: float, rule: StateRule, places: npt.NDArray[np.int64]
) -> bool:
    """Whether the scores spread about a straight line by more than the rule allows.

    Segments that share input share noise: of m scores, m / overlap are independent, less the line's two parameters.
    """
    places = places[np.isfinite(score[places])]
    freedom = len(places) / overlap - 2
    if freedom < 1:
        return False
    line = np.polynomial.polynomial.polyfit(middle_s[places] - middle_s[places[0]], score[places], 1)
    residual = score[places] - np.polynomial.polynomial.polyval(middle_s[places] - middle_s[places[0]], line)
    variance = float((residual**2).sum()) / (len(places) - 2 * overlap)
    known = sd[places][np.isfinite(sd[places])]
    explained = float((known**2).mean()) if len(known) else 0.0
    if variance - explained < rule.spread**2:
        return False
    return explained == 0 or float(stats.chi2.sf(freedom * variance / explained, freedom)) < rule.significance
