"""What followed an event: the level then, the highest within a minute, and how fast it declined.

Each measure is computed in each draw of the level; value and interval are the median and the 2.5th and 97.5th
percentiles over the draws; the interval of the half-time is wider.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avpenet_cli.stats.estimate import Estimate, absent
from avpenet_cli.stats.smoothing import LONGEST_BRIDGED_S
from avpenet_cli.stats.trajectory_measures import Course, from_draws

Floats = npt.NDArray[np.float64]

RESPONSE_S = 60.0
"""The highest level is that within so long after the event, s."""
FOLLOW_UP_S = 600.0
"""The decline is followed for so long after the event, or until the next event, s."""
LEAST_RESPONSE_S = 30.0
"""Of that, how much must have scores, s."""
LEAST_DECLINE = 1.0
"""From the highest level to the lowest of what follows at least, points."""
LEAST_FOLLOWED = 3.0
"""Halfway down, the level must be followed for so many more half-times: a shorter follow-up ends above the low that the
level is falling to, and its half-time would be too short."""
# Share of the draws that must have such a decline.
_SHARE = 0.95
# Of a decline, what is left at least when its pace is judged.
_LEAST_LEFT = 1 / 64
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
    it and the lowest of what follows. Where that is the first after a gap, the level may have been halfway at any time
    in the gap: the value is the middle of the gap, and the interval includes all of it. A score is of a whole segment,
    which blurs a sharp peak: the interval is wider than that of the draws by the length of a segment on either side.

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
    watched = _watched_s(time_s, course.middle_s[within], window_s)
    if watched < LEAST_RESPONSE_S:
        missing = absent(
            f"scores in {int(watched)} s of the minute after the event; at least {LEAST_RESPONSE_S:g} s", n
        )
        return Aftermath(level, missing, missing)
    highest = from_draws(course.draws[:, within].max(axis=1), n)
    return Aftermath(level, highest, _half_time(course.middle_s[followed], course.draws[:, followed], n, window_s))


def _watched_s(time_s: float, times: Floats, window_s: float) -> float:
    """How much of the time from the event to the last of `times`, middles of segments, has a level, s."""
    between = np.diff(times, prepend=time_s)
    last = min(window_s / 2, time_s + RESPONSE_S - times[-1])
    return float(between[between <= LONGEST_BRIDGED_S + window_s].sum() + last)


def _level_at(course: Course, known: npt.NDArray[np.bool_], time_s: float) -> Estimate:
    places = np.flatnonzero(known)
    nearest = places[np.abs(course.middle_s[places] - time_s).argmin()]
    if abs(course.middle_s[nearest] - time_s) > _NEAREST_S:
        return absent("no level at the event")
    return from_draws(course.draws[:, nearest], 1)


def _half_time(times: Floats, draws: Floats, n_response: int, window_s: float) -> Estimate:
    """Times and draws (draws, m) from the event on; the first `n_response` are those of the response."""
    start = draws[:, :n_response].argmax(axis=1)
    declines = []
    for values, first in zip(draws, start, strict=True):
        after, since = values[first:], times[first:] - times[first]
        lowest = float(after.min())
        if after[0] - lowest >= LEAST_DECLINE:
            halfway = int(np.argmax(after <= (after[0] + lowest) / 2))
            gap = since[halfway] - since[halfway - 1] > LONGEST_BRIDGED_S + window_s
            earliest = since[halfway - 1] if gap else since[halfway]
            left = (after[halfway] - lowest) / (after[0] - lowest)
            # Half-time of an exponential decline that is down to what is left here: shorter than `halfway` after a
            # steep fall, or a gap.
            pace = since[halfway] / np.log2(1 / max(left, _LEAST_LEFT))
            declines.append((earliest, since[halfway], since[-1] - since[halfway] - LEAST_FOLLOWED * pace))
    if len(declines) < _SHARE * len(draws):
        return absent(f"no decline of at least {LEAST_DECLINE:g} point is certain", len(times))
    earliest_s, latest_s, spare_s = np.array(declines).T
    if np.median(spare_s) < 0:
        return absent("still falling when the follow-up ends", len(times))
    low, high = np.quantile(earliest_s, 0.025), np.quantile(latest_s, 0.975)
    value = float(np.median((earliest_s + latest_s) / 2))
    return Estimate(value, (max(float(low) - window_s, 0.0), float(high) + window_s), len(times))
