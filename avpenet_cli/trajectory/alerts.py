"""Raise alerts by rules on a series, from what was known at each moment.

A value belongs to a segment and is known at the segment's end. A rule `of = "level"` sees the filter's level, which
rests on the scores until then, never the smoothed one, which looks both ways: alerts and their delays are nearly those
that a program without foresight would have had. How much the filter believes a score is estimated from the whole
series: its two variances, the median spread that stands in for an unknown one, and the overlap with later segments.

Alerts of `above`, `rise` and `low_confidence` stay within one recording. A segment without a score, or below the rule's
quality, meets no rule but `low_confidence`; it interrupts `above`, and never counts as a low value.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from avpenet_cli.trajectory.alert_rules import AboveRule, LowConfidenceRule, NoDeclineRule, RiseRule, Rule
from avpenet_cli.trajectory.analysed import Alert, Level
from avpenet_cli.trajectory.series import Event, Series

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

RECENT_S = 60.0
"""The value before an event, and the last one of the time after it, may be this old, s."""
LEAST_SCORED = 0.5
"""Share of the time after an event that needs scores before it can be said that there was no decline."""
# Times are sums of decimal fractions.
_EPSILON = 1e-6
_NAN = float("nan")


@dataclass(frozen=True, eq=False)
class _Timeline:
    """What a rule sees: arrays (n,), NaN where there is none.

    A hole, where the table has no rows, is one segment without a score.
    """

    start_s: Floats
    end_s: Floats
    hole: Bools
    score: Floats
    value: Floats
    low: Floats
    high: Floats
    quality: Floats
    stride_s: float

    def usable(self, min_quality: float) -> _Timeline:
        """The same without values below a quality; without those of unknown quality, too, unless it is 0."""
        if min_quality <= 0:
            return self
        good = self.quality >= min_quality
        value, low, high = (np.where(good, values, _NAN) for values in (self.value, self.low, self.high))
        return replace(self, value=value, low=low, high=high)


def raise_alerts(series: Series, level: Level, rules: Sequence[Rule]) -> tuple[Alert, ...]:
    """The alerts of all rules, by the time when they were raised and in the rules' order.

    Args:
        level: of the series; only its `filtered` is used.

    Raises:
        ValueError: `level` has no `filtered`, and a rule asks for it.
    """
    alerts = [alert for rule in rules for alert in _alerts(series, level, rule)]
    return tuple(sorted(alerts, key=lambda alert: alert.raised_s))


def alert_notices(series: Series, level: Level, rules: Sequence[Rule]) -> tuple[str, ...]:
    """What could not be evaluated, and why, as sentences: no alert there does not mean that all was well."""
    return tuple(f"rule {rule.name}: {notice}" for rule in rules for notice in _notices(series, level, rule))


def undecided_events(series: Series, level: Level, rule: NoDeclineRule) -> dict[float, str]:
    """Times of the rule's events, s, after which it cannot be said whether there was a decline, and why."""
    seen = _timeline(series, level, rule).usable(rule.min_quality)
    outcomes = {event.time_s: _after_event(series, seen, rule, event) for event in _events(series, rule)}
    return {time_s: outcome for time_s, outcome in outcomes.items() if isinstance(outcome, str) and outcome}


def exact_level(series: Series) -> Level:
    """The scores as a level without error, for ratings in place of scores."""
    return Level(series.score, series.score, series.score, filtered=Level(series.score, series.score, series.score))


def _alerts(series: Series, level: Level, rule: Rule) -> Iterator[Alert]:
    if isinstance(rule, NoDeclineRule):
        whole = _timeline(series, level, rule).usable(rule.min_quality)
        for event in _events(series, rule):
            outcome = _after_event(series, whole, rule, event)
            if isinstance(outcome, Alert):
                yield outcome
        return
    for number in range(len(series.parts)):
        timeline = _timeline(series, level, rule, number)
        if isinstance(rule, AboveRule):
            seen = timeline.usable(rule.min_quality)
            met, for_s, starts = (seen.low if rule.certain else seen.value) > rule.points, rule.for_s, timeline.start_s
        elif isinstance(rule, RiseRule):
            met, starts = _rises(timeline.usable(rule.min_quality), rule)
            for_s = 0.0
        else:
            met, for_s, starts = _poor(timeline, rule), 60 * rule.for_min, timeline.start_s
        for first, last, raised_s in _stretches(met, timeline, for_s, rule.rearm_s):
            yield Alert(rule.name, float(starts[first]), float(timeline.end_s[last]), raised_s, rule.text, number)


def _timeline(series: Series, level: Level, rule: Rule, part: int | None = None) -> _Timeline:
    """Of one recording, its holes included, or of the whole series."""
    if rule.of == "score":
        columns = [series.score, series.low, series.high]
    elif level.filtered is None:
        raise ValueError("alerts need the level that was known at each moment")
    else:
        columns = [level.filtered.mean, level.filtered.low, level.filtered.high]
    scored = np.isfinite(series.score)
    chosen = np.arange(scored.size) if part is None else np.flatnonzero(series.part == part)
    order = chosen[np.argsort(series.end_s[chosen], kind="stable")]
    value, low, high = (np.where(scored, column, _NAN)[order] for column in columns)
    timeline = _Timeline(
        start_s=series.start_s[order],
        end_s=series.end_s[order],
        hole=np.zeros(order.size, dtype=np.bool_),
        score=series.score[order],
        value=value,
        low=low,
        high=high,
        quality=series.quality[order],
        stride_s=series.stride_s,
    )
    return timeline if part is None else _with_holes(timeline, series.parts[part].offset_s)


def _with_holes(timeline: _Timeline, begins_s: float) -> _Timeline:
    """The timeline of a recording that begins at `begins_s`, with a segment for each place where rows are missing.

    Holes reach from the end of one segment to the start of the next, or of the recording to that of its first segment.
    """
    if not timeline.start_s.size:
        return timeline
    steps = np.diff(timeline.start_s, prepend=begins_s - timeline.stride_s)
    at = np.flatnonzero(steps > 1.5 * timeline.stride_s)
    to_s = timeline.start_s[at]
    from_s = np.where(at > 0, timeline.end_s[at - 1], begins_s)
    # Where segments overlap, a missing one leaves no time without any.
    middle_s = (from_s + to_s) / 2
    missing = np.full(at.size, _NAN)
    return replace(
        timeline,
        start_s=np.insert(timeline.start_s, at, np.minimum(from_s, middle_s)),
        end_s=np.insert(timeline.end_s, at, np.maximum(to_s, middle_s)),
        hole=np.insert(timeline.hole, at, True),
        score=np.insert(timeline.score, at, missing),
        value=np.insert(timeline.value, at, missing),
        low=np.insert(timeline.low, at, missing),
        high=np.insert(timeline.high, at, missing),
        quality=np.insert(timeline.quality, at, missing),
    )


def _stretches(met: Bools, timeline: _Timeline, for_s: float, rearm_s: float) -> Iterator[tuple[int, int, float]]:
    """First and last segment of each alert of a recording, and when it was raised, s.

    An alert is raised at the first segment that ends `for_s` or more after the start of an unbroken run of segments
    that meet the rule, or in a hole when that time is over. It lasts until the last one before `rearm_s` without any.
    """
    first = last = run = -1
    raised_s: float | None = None
    # Until when a segment meets the rule, if the next one does not.
    until_s = np.where(timeline.hole, timeline.end_s, timeline.start_s + timeline.stride_s)
    for place in np.flatnonzero(met).tolist():
        if last < 0 or last != place - 1:
            run = place
            if raised_s is not None and timeline.start_s[place] - until_s[last] >= rearm_s - _EPSILON:
                yield first, last, raised_s
                raised_s = None
        last = place
        due_s = float(timeline.start_s[run]) + for_s
        if raised_s is None and timeline.end_s[place] >= due_s - _EPSILON:
            first = run
            raised_s = (
                max(due_s, float(timeline.start_s[place])) if timeline.hole[place] else float(timeline.end_s[place])
            )
    if raised_s is not None:
        yield first, last, raised_s


def _rises(seen: _Timeline, rule: RiseRule) -> tuple[Bools, Floats]:
    """Which segments are at the end of a rise, and when it began: at the end of the lowest segment before, the last.

    After a gap the level rests for some seconds on scores from before it. A rise therefore begins no lower than the
    lowest score since the last gap.
    """
    met, starts = np.zeros(len(seen.value), dtype=np.bool_), seen.start_s.copy()
    from_value, to_value = (seen.high, seen.low) if rule.certain else (seen.value, seen.value)
    from_value = np.maximum(from_value, _lowest_since_gap(seen.score))
    # Values by falling age and rising size: the first is the lowest of the time that counts.
    lowest: deque[int] = deque()
    for place in np.flatnonzero(np.isfinite(from_value) & np.isfinite(to_value)).tolist():
        oldest_s = seen.end_s[place] - rule.within_s - _EPSILON
        while lowest and seen.end_s[lowest[0]] < oldest_s:
            lowest.popleft()
        if lowest and to_value[place] - from_value[lowest[0]] >= rule.points - _EPSILON:
            met[place], starts[place] = True, seen.end_s[lowest[0]]
        while lowest and from_value[lowest[-1]] >= from_value[place]:
            lowest.pop()
        lowest.append(place)
    return met, starts


def _lowest_since_gap(score: Floats) -> Floats:
    """(n,) lowest score from the last gap until each segment; NaN in gaps."""
    lowest = score.copy()
    for place in range(1, score.size):
        if np.isfinite(score[place - 1]):
            lowest[place] = np.minimum(lowest[place - 1], score[place])
    return lowest


def _poor(timeline: _Timeline, rule: LowConfidenceRule) -> Bools:
    """Without a level there is no width to judge; scores and their quality are there all the same."""
    poor = ~np.isfinite(timeline.score) | (timeline.quality < rule.min_quality)
    if rule.max_width is not None:
        poor |= timeline.high - timeline.low > rule.max_width + _EPSILON
    return np.asarray(poor)


def _events(series: Series, rule: NoDeclineRule) -> list[Event]:
    label = rule.event.strip().casefold()
    return [event for event in series.events if event.label.strip().casefold() == label]


def _after_event(series: Series, seen: _Timeline, rule: NoDeclineRule, event: Event) -> Alert | str:
    """The alert, empty text where there is none, or why that cannot be said."""
    from_value, to_value = (seen.high, seen.low) if rule.certain else (seen.value, seen.value)
    known = np.flatnonzero(np.isfinite(from_value) & np.isfinite(to_value))
    ends = seen.end_s[known]
    deadline_s = event.time_s + 60 * rule.within_min
    start, stop = np.searchsorted(ends, [event.time_s + _EPSILON, deadline_s + _EPSILON], side="right")
    if not start or ends[start - 1] < event.time_s - RECENT_S - _EPSILON:
        return f"there is no score in the {RECENT_S:.0f} s before"
    before = known[start - 1]
    if seen.value[before] < (rule.points if rule.from_points is None else rule.from_points):
        return ""
    declined = from_value[before] - to_value[known] >= rule.points - _EPSILON
    if declined[start:stop].any():
        return ""
    if not len(seen.end_s) or seen.end_s.max() < deadline_s - _EPSILON:
        return "the scores end before the time is over"
    scored_s = (stop - start) * seen.stride_s
    if scored_s < LEAST_SCORED * 60 * rule.within_min or ends[stop - 1] < deadline_s - RECENT_S - _EPSILON:
        return "too little of the time after it has scores"
    later = [time.time_s for time in _events(series, rule) if time.time_s > event.time_s]
    over = np.flatnonzero(declined[stop:])
    end_s = min([float(ends[stop + over[0]]) if len(over) else float(ends[-1]), *later[:1]])
    return Alert(rule.name, event.time_s, max(end_s, deadline_s), deadline_s, rule.text)


def _notices(series: Series, level: Level, rule: Rule) -> Iterator[str]:
    scored = np.isfinite(series.score)
    timeline = _timeline(series, level, rule)
    of_confidence = isinstance(rule, LowConfidenceRule)
    if not scored.any() and not of_confidence:
        yield "not evaluated: there are no scores"
        return
    no_level = not np.isfinite(timeline.value).any() and scored.any()
    if no_level and not (isinstance(rule, LowConfidenceRule) and rule.max_width is None):
        what = "max_width: " if of_confidence else ""
        why = level.reason or "no reason is stated"
        yield f'{what}not evaluated: there is no level ({why}); of = "score" needs none'
        if not of_confidence:
            return
    if rule.min_quality > 0 and scored.any() and not np.isfinite(series.quality[scored]).any():
        yield "min_quality: the table states no quality"
    wide = rule.max_width is not None if isinstance(rule, LowConfidenceRule) else rule.certain
    if wide and scored.any() and not no_level and not np.isfinite(timeline.high - timeline.low).any():
        yield "there are no intervals; score with --mc-samples"
    if isinstance(rule, NoDeclineRule):
        events = _events(series, rule)
        if not events:
            yield f"there is no event {rule.event}"
        for event in events:
            outcome = _after_event(series, timeline.usable(rule.min_quality), rule, event)
            if isinstance(outcome, str) and outcome:
                yield f"{event.label} at {event.time_s:.1f} s: {outcome}"
