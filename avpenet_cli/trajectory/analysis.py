"""A series analysed: its level, changes, states and measures, after events and against ratings."""

from __future__ import annotations

import numpy as np

from avpenet_cli.stats.after_event import after_event
from avpenet_cli.stats.change_points import change_points
from avpenet_cli.stats.rating_lag import rating_lag
from avpenet_cli.stats.smoothing import Smoothed, Z, smooth
from avpenet_cli.stats.states import states
from avpenet_cli.stats.trajectory_measures import (
    HIGHEST,
    LOWEST,
    Course,
    area,
    cells,
    highest,
    mean,
    peaks,
    seconds_above,
)
from avpenet_cli.trajectory.analysed import (
    AfterEvent,
    AgainstRatings,
    ChangePoint,
    Level,
    Peak,
    Span,
    Trajectory,
)
from avpenet_cli.trajectory.series import Series

BETWEEN_RECORDINGS = "between recordings"
NOT_RECORDED = "not recorded"
"""Reasons of gaps beside those of the score table."""
# Shorter gaps are rounding of times.
_SHORTEST_GAP_S = 0.05


def analyse(series: Series, seed: int) -> Trajectory:
    """Everything that is computed from a series, alerts excepted.

    Args:
        series: with or without scores; what cannot be computed has a reason.
        seed: of the level's draws and of resampling.
    """
    smoothed = smooth(series.start_s, series.end_s, series.score, series.sd, seed, series.part)
    course = Course.of(series.start_s, series.end_s, series.score, smoothed)
    return Trajectory(
        series=series,
        level=_level(course, smoothed),
        changes=_changes(series, smoothed),
        peaks=tuple(
            Peak(float(course.middle_s[peak.place]), peak.level, peak.low, peak.high, peak.prominence)
            for peak in peaks(course)
        ),
        states=_states(series, course),
        gaps=gaps(series),
        scored_s=float(course.seconds.sum()),
        above=tuple((cut, seconds_above(course, cut)) for cut in series.cut_points),
        area=area(course),
        mean=mean(course),
        highest=highest(course),
        after_events=_after_events(series, course),
        against_ratings=_against_ratings(series, seed),
        notices=_notices(series, smoothed),
    )


def gaps(series: Series) -> tuple[Span, ...]:
    """Times of the series without a score, by reason, in time order.

    A segment stands for the times that are nearest to its middle. Reasons are those of the segments; between the last
    segment of a recording and the first of the next "between recordings"; where a recording has no segment "not
    recorded".
    """
    if not len(series.start_s):
        return ()
    first, last = cells(series.start_s, series.end_s)
    found: list[Span] = []

    def add(start: float, end: float, kind: str) -> None:
        if end - start < _SHORTEST_GAP_S:
            return
        if found and found[-1].kind == kind and start - found[-1].end_s < _SHORTEST_GAP_S:
            start = found.pop().start_s
        found.append(Span(start, end, kind))

    add(series.parts[series.part[0]].offset_s, float(first[0]), NOT_RECORDED)
    for place, scored in enumerate(np.isfinite(series.score)):
        if place:
            same = series.part[place] == series.part[place - 1]
            add(float(last[place - 1]), float(first[place]), NOT_RECORDED if same else BETWEEN_RECORDINGS)
        if not scored:
            add(float(first[place]), float(last[place]), series.reason[place] or "unscorable")
    return tuple(found)


def _level(course: Course, smoothed: Smoothed) -> Level:
    known, spread = smoothed.filtered_mean, Z * smoothed.filtered_sd
    middle, low, high = (np.clip(values, LOWEST, HIGHEST) for values in (known, known - spread, known + spread))
    return Level(course.level, course.low, course.high, smoothed.reason, Level(middle, low, high))


def _per_window(series: Series) -> float:
    """How many segments overlap at any time, at least 1."""
    return max(series.window_s / series.stride_s, 1.0)


def _changes(series: Series, smoothed: Smoothed) -> tuple[ChangePoint, ...]:
    if smoothed.reason:
        return ()
    found = change_points(series.middle_s, series.score, smoothed.information, smoothed.stretch, _per_window(series))
    return tuple(
        ChangePoint(change.time_s, change.low_s, change.high_s, change.before, change.after) for change in found
    )


def _states(series: Series, course: Course) -> tuple[Span, ...]:
    """States of the segments, neighbours of the same state joined; none where there are no segments."""
    first, last = cells(series.start_s, series.end_s)
    spans: list[Span] = []
    for start, end, state in zip(
        first, last, states(course, series.score, series.sd, _per_window(series)), strict=True
    ):
        if spans and spans[-1].kind == state and start - spans[-1].end_s < _SHORTEST_GAP_S:
            spans[-1] = Span(spans[-1].start_s, float(end), state)
        else:
            spans.append(Span(float(start), float(end), state))
    return tuple(spans)


def _after_events(series: Series, course: Course) -> tuple[AfterEvent, ...]:
    found = []
    for event in series.events:
        later = [other.time_s for other in series.events if other.time_s > event.time_s]
        after = after_event(course, event.time_s, series.window_s, min(later, default=np.inf))
        found.append(AfterEvent(event.time_s, event.label, after.level, after.highest, after.half_time_s))
    return tuple(found)


def _against_ratings(series: Series, seed: int) -> tuple[AgainstRatings, ...]:
    found = []
    for rater in sorted({rating.rater for rating in series.ratings}):
        ratings = [rating for rating in series.ratings if rating.rater == rater]
        start, end, value = (
            np.array([getattr(rating, name) for rating in ratings], np.float64)
            for name in ("start_s", "end_s", "value")
        )
        lag = rating_lag(series.middle_s, series.score, start, end, value, series.stride_s, seed)
        found.append(AgainstRatings(rater, lag.n, lag.lag_s, lag.spearman, lag.spearman_at_lag))
    return tuple(found)


def _notices(series: Series, smoothed: Smoothed) -> tuple[str, ...]:
    notices = []
    scored = np.isfinite(series.score)
    if smoothed.reason:
        notices.append(f"no level: {smoothed.reason}")
    elif np.ptp(series.score[scored]) < 1e-9:
        notices.append("all scores are equal")
    if scored.any() and not np.isfinite(series.sd[scored]).any():
        notices.append("the table gives no spread of the scores (score_sd); all their noise is estimated")
    elif (scored & ~np.isfinite(series.sd)).any():
        notices.append("some scores have no spread (score_sd); they are given the median of the others")
    return tuple(notices)
