"""What followed an event: the level then, the highest within a minute, and how fast it declined.

Each measure is computed in each draw of the level; value and interval are the median and the 2.5th and 97.5th
percentiles over the draws; the interval of the half-time is wider.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avpenet_cli.stats.estimate import Estimate, absent
from avpenet_cli.stats.trajectory_measures import Course, from_draws

Floats = npt.NDArray[np.float64]

RESPONSE_S = 60.0
"""The highest level is that within so long after the event, s."""
FOLLOW_UP_S = 600.0
"""The decline is followed for so long after the event, or until the next event, s."""
LEAST_DECLINE = 1.0
"""From the highest level to the lowest of what follows at least, points."""
# Share of the draws that must have such a decline.
_SHARE = 0.95
# An event has a level if that of the nearest segment is no further away, s.
_NEAREST_S = 3.0


@dataclass(frozen=True)
class Aftermath:
    """The level at an event and the highest of the next minute, points; half-time of the decline from there, s."""

    level: Estimate
    highest: Estimate
    half_time_s: Estimate


def after_event(course: Course, time_s: float, window_s: float, next_s: float = np.inf) -> Aftermath:
    """What followed an event.

    The half-time is the time from the highest level of the minute to the first that lies no higher than halfway between
    it and the lowest of what follows. A score is of a whole segment, which blurs a sharp peak: the interval is wider
    than that of the draws by the length of a segment on either side.

    Args:
        course: of the series.
        time_s: of the event, s on the course's axis.
        window_s: length of a segment, s.
        next_s: of the next event, s; the minute and the decline end there.
    """
    if course.reason:
        return Aftermath(*[absent(course.reason)] * 3)
    known = np.isfinite(course.level)
    level = _level_at(course, known, time_s)
    within = known & (course.middle_s >= time_s) & (course.middle_s <= min(time_s + RESPONSE_S, next_s))
    followed = known & (course.middle_s >= time_s) & (course.middle_s <= min(time_s + FOLLOW_UP_S, next_s))
    n = int(within.sum())
    if not n:
        missing = absent("no level in the minute after the event")
        return Aftermath(level, missing, missing)
    highest = from_draws(course.draws[:, within].max(axis=1), n)
    return Aftermath(level, highest, _half_time(course.middle_s[followed], course.draws[:, followed], n, window_s))


def _level_at(course: Course, known: npt.NDArray[np.bool_], time_s: float) -> Estimate:
    places = np.flatnonzero(known)
    nearest = places[np.abs(course.middle_s[places] - time_s).argmin()]
    if abs(course.middle_s[nearest] - time_s) > _NEAREST_S:
        return absent("no level at the event")
    return from_draws(course.draws[:, nearest], 1)


def _half_time(times: Floats, draws: Floats, n_response: int, window_s: float) -> Estimate:
    """Times and draws (draws, m) from the event on; the first `n_response` are those of the response."""
    start = draws[:, :n_response].argmax(axis=1)
    half_times = []
    for values, first in zip(draws, start, strict=True):
        after = values[first:]
        lowest = int(after.argmin())
        if after[0] - after[lowest] >= LEAST_DECLINE:
            halfway = int(np.argmax(after <= (after[0] + after[lowest]) / 2))
            half_times.append(times[first + halfway] - times[first])
    if len(half_times) < _SHARE * len(draws):
        return absent(f"no decline of {LEAST_DECLINE:g} point that the level's spread allows to state", len(times))
    estimate = from_draws(np.array(half_times), len(times))
    low, high = estimate.ci
    return Estimate(estimate.value, (max(low - window_s, 0.0), high + window_s), estimate.n)
