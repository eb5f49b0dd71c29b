"""The course of one recording: score, what raters said, what happened."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from avpenet_cli.report.figures.courses import (
    COLUMNS,
    MOST_SEGMENTS,
    Course,
    Rating,
    Track,
    alone,
    broken_line,
    by_rater,
    course_of,
    in_columns,
    lost_columns,
    steps,
    unscorable_spans,
)
from avpenet_cli.report.figures.style import (
    BLUE,
    BOTTOM_IN,
    FULL_IN,
    GREY,
    INK,
    LEFT_IN,
    ORANGE,
    PALE_BLUE,
    PALE_GREY,
    SMALL_PT,
    Figure,
    FloatArray,
    drawn,
    finish,
    legend_above,
    legend_columns,
    name_y,
    note,
    panel,
    scale_limits,
    sheet,
)
from avpenet_cli.report.figures.wording import (
    clock,
    count,
    counted,
    identifier,
    in_words,
    joined,
    number,
    percent,
    plain,
    shorten,
    signed,
    text_width_in,
)

MOST_RATERS_NAMED = 5
MOST_EVENTS_LISTED = 20
_EVENT_ROWS = 2
_ROW_IN = 0.18
_DASHES = ((0, (5, 1.6)), (0, (1.2, 1.4)), (0, (6, 1.6, 1.2, 1.6)), (0, (2.6, 1.4)), (0, (9, 2)))
_RIGHT_IN = 0.84
_PLOT_IN = 2.35
_TICK_STEPS_S = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 14400, 21600, 43200, 86400)


@drawn
def trajectory(
    name: str,
    track: Track,
    *,
    ratings: Sequence[Rating] = (),
    events: Sequence[tuple[float, str]] = (),
    cut_points: tuple[float, float] = (3.0, 6.0),
) -> Figure:
    """Score over time with ratings and events; unscorable stretches are hatched and break the line.

    Args:
        name: of the recording; goes into title and caption, its digest into the ids.
        track: the recording's segments. Above 1500 of them, columns of time are drawn with their range.
        ratings: of any number of raters, points of the 0-10 scale; those outside the recording are counted.
        events: (seconds after the recording's start, label); those outside the recording are listed.
        cut_points: where moderate and high begin, points.

    Raises:
        ValueError: arrays of the track differ in length.
    """
    course = course_of(track)
    span = course.span_s
    raters = by_rater(ratings)
    thin = course.score.size > MOST_SEGMENTS
    marks = _place_events(events, span)
    entries = _legend_entries(course, list(raters))
    legend_in = legend_columns([label for _, label in entries], FULL_IN - LEFT_IN - _RIGHT_IN)[1] if entries else 0.0
    events_in = marks.rows * _ROW_IN + (0.05 if marks.rows else 0.0)
    top = 0.12 + events_in + legend_in
    on = sheet(FULL_IN, _PLOT_IN + BOTTOM_IN + top)
    axes = panel(on, left=LEFT_IN, right=_RIGHT_IN, bottom=BOTTOM_IN, top=top)
    values = [
        course.score,
        course.band_lo,
        course.band_hi,
        course.reference,
        *(value for _, _, value in raters.values()),
    ]
    axes.set(xlim=span, ylim=_value_limits(np.concatenate(values)))
    _draw_classes(axes, cut_points)
    if thin:
        _draw_thinned(axes, course)
    else:
        _draw_segments(axes, course)
    _draw_raters(axes, raters, span, thin=thin)
    _draw_events(axes, marks)
    _time_axis(axes, span)
    name_y(axes, "points, 0-10 scale")
    legend_above(axes, [handle for handle, _ in entries], [label for _, label in entries], offset_in=events_in + 0.04)
    if not np.isfinite(course.score).any():
        note(axes, "no segment could be scored" if course.score.size else "no segments")
    outside = sum(int(((start > span[1]) | (end < span[0])).sum()) for start, end, _ in raters.values())
    return finish(
        on,
        identifier("trajectory", name),
        title=f"Course of {in_words(name)}",
        caption=_caption(course, list(raters), thin=thin, outside=outside) + _event_words(marks),
        alternative=_words(in_words(name), course, cut_points) + _event_words(marks),
    )


def _value_limits(values: FloatArray) -> tuple[float, float]:
    low, high = scale_limits(values)
    return (-0.4, 10.4) if (low, high) == scale_limits([]) else (low, high)


def _draw_classes(axes: Axes, cut_points: tuple[float, float]) -> None:
    low, high = axes.get_ylim()
    edges = [max(low, 0.0), *cut_points, min(high, 10.0)]
    for cut in cut_points:
        axes.axhline(cut, color=GREY, linestyle=(0, (1, 2.5)), linewidth=1.0, zorder=1)
    for below, above, label in zip(edges, edges[1:], ("low", "moderate", "high"), strict=False):
        if above - below > 0.05 * (high - low):
            axes.annotate(
                label,
                xy=(1.0, (below + above) / 2),
                xycoords=("axes fraction", "data"),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                fontsize=SMALL_PT,
                color=GREY,
                annotation_clip=False,
            )
    axes.grid(visible=False)


def _hatch(axes: Axes, start_s: float, end_s: float) -> None:
    axes.axvspan(start_s, end_s, facecolor=PALE_GREY, edgecolor="#b3b9c0", hatch="////", linewidth=0, zorder=0.5)


def _draw_segments(axes: Axes, course: Course) -> None:
    for start, end in unscorable_spans(course):
        _hatch(axes, start, end)
    x, score = broken_line(course, course.score)
    low, high = broken_line(course, course.band_lo)[1], broken_line(course, course.band_hi)[1]
    if np.isfinite(low).any():
        axes.fill_between(x, low, high, facecolor=PALE_BLUE, linewidth=0, zorder=1.5)
        single = alone(score)
        axes.vlines(x[single], low[single], high[single], color=PALE_BLUE, linewidth=4, zorder=1.5)
    axes.plot(*steps(course.start_s, course.end_s, course.reference), color=ORANGE, linewidth=2.6, zorder=3)
    few = np.isfinite(score).sum() <= 80
    axes.plot(x, score, color=BLUE, linewidth=1.5, marker="o" if few else None, markersize=3.6, zorder=4)
    if not few:
        single = alone(score)
        axes.plot(x[single], score[single], "o", color=BLUE, markersize=3.0, zorder=4)


def _draw_thinned(axes: Axes, course: Course) -> None:
    scored = in_columns(course.middle_s, course.score, course.span_s)
    half = (course.span_s[1] - course.span_s[0]) / COLUMNS / 2
    lost = lost_columns(course)
    for start, end in _runs(lost & ~np.isfinite(scored.mean), scored.middle_s, half):
        _hatch(axes, start, end)
    for start, end in _runs(lost & np.isfinite(scored.mean), scored.middle_s, half):
        axes.axvspan(start, end, ymax=0.03, facecolor=GREY, linewidth=0, zorder=5)
    low = in_columns(course.middle_s, course.band_lo, course.span_s).low
    high = in_columns(course.middle_s, course.band_hi, course.span_s).high
    if np.isfinite(low).any():
        axes.fill_between(scored.middle_s, low, high, facecolor=PALE_BLUE, linewidth=0, zorder=1.5)
    rated = in_columns(course.middle_s, course.reference, course.span_s)
    if np.isfinite(rated.mean).any():
        axes.plot(rated.middle_s, rated.mean, color=ORANGE, linewidth=2.4, zorder=3)
    axes.fill_between(
        scored.middle_s, scored.low, scored.high, facecolor="#8db4d8", edgecolor="#8db4d8", linewidth=0.8, zorder=2
    )
    axes.plot(scored.middle_s, scored.mean, color=BLUE, linewidth=1.3, zorder=4)


def _runs(which: npt.NDArray[np.bool_], middle: FloatArray, half: float) -> list[tuple[float, float]]:
    """Stretches of time of neighbouring columns that are true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], which, [False]]).astype(np.int8)))
    return [(float(middle[a] - half), float(middle[b - 1] + half)) for a, b in edges.reshape(-1, 2)]


def _draw_raters(
    axes: Axes,
    raters: dict[str, tuple[FloatArray, FloatArray, FloatArray]],
    span: tuple[float, float],
    *,
    thin: bool,
) -> None:
    for index, (start, end, value) in enumerate(raters.values()):
        many = thin and value.size > MOST_SEGMENTS
        columns = in_columns(start, value, span)
        x, y = (columns.middle_s, columns.mean) if many else steps(start, end, value)
        axes.plot(x, y, color=GREY, linestyle=_DASHES[index % len(_DASHES)], linewidth=1.1, zorder=2.5)
        moments = end <= start
        axes.plot(start[moments], value[moments], "x", color=GREY, markersize=5, zorder=2.5)


def _legend_entries(course: Course, raters: Sequence[str]) -> list[tuple[object, str]]:
    entries: list[tuple[object, str]] = []
    if np.isfinite(course.score).any():
        entries.append((Line2D([], [], color=BLUE, linewidth=1.5, marker="o", markersize=3.6), "score"))
    if np.isfinite(course.band_lo).any():
        entries.append((Patch(facecolor=PALE_BLUE), "its uncertainty"))
    if np.isfinite(course.reference).any():
        entries.append((Line2D([], [], color=ORANGE, linewidth=2.6), "reference"))
    if not np.isfinite(course.score).all():
        entries.append((Patch(facecolor=PALE_GREY, edgecolor="#b3b9c0", hatch="////", linewidth=0), "no score"))
    if len(raters) <= MOST_RATERS_NAMED:
        for rater, dashes in zip(raters, _DASHES, strict=False):
            entries.append((Line2D([], [], color=GREY, linestyle=dashes, linewidth=1.1), shorten(rater, 1.2, SMALL_PT)))
    else:
        entries.append((Line2D([], [], color=GREY, linestyle=_DASHES[0], linewidth=1.1), f"{len(raters)} raters"))
    return entries


@dataclass(frozen=True)
class _Marks:
    """Events on the picture: where, with what text in which row (None: no room for one), and those outside it."""

    placed: tuple[tuple[float, str, int | None], ...]
    listed: tuple[str, ...]
    outside: tuple[str, ...]
    rows: int
    numbered: bool


def _place_events(events: Sequence[tuple[float, str]], span: tuple[float, float]) -> _Marks:
    """Labels over the axes where all of them fit in two rows, else numbers, as many as fit."""
    known = sorted((time, plain(label)) for time, label in events if math.isfinite(time))
    inside = [(time, label) for time, label in known if span[0] <= time <= span[1]]
    outside = tuple(
        f"{in_words(label) or 'event'} at {clock(time)}" for time, label in known if not span[0] <= time <= span[1]
    )
    rows = _rows_of([(time, label) for time, label in inside], span)
    numbered = any(row is None for row in rows)
    texts = [label for _, label in inside]
    if numbered:
        texts = [str(one + 1) for one in range(len(inside))]
        rows = _rows_of([(time, text) for (time, _), text in zip(inside, texts, strict=True)], span)
    listed = tuple(
        f"{f'{place}: ' if numbered else ''}{in_words(label) or 'event'} at {clock(time)}"
        for place, (time, label) in enumerate(inside, start=1)
    )
    placed = tuple((time, text, row) for (time, _), text, row in zip(inside, texts, rows, strict=True))
    used = max((row + 1 for row in rows if row is not None), default=0)
    return _Marks(placed, listed, outside, used, numbered)


def _rows_of(labels: Sequence[tuple[float, str]], span: tuple[float, float]) -> list[int | None]:
    """The row in which each label, centred over its time, touches no other one; None where both rows are taken."""
    width_in = FULL_IN - LEFT_IN - _RIGHT_IN
    free_from = [-math.inf] * _EVENT_ROWS
    rows: list[int | None] = []
    for time, text in labels:
        at, half = (time - span[0]) / (span[1] - span[0]) * width_in, text_width_in(text, SMALL_PT) / 2
        fits = at - half > -LEFT_IN + 0.05 and at + half < width_in + _RIGHT_IN - 0.05
        row = next((one for one in range(_EVENT_ROWS) if free_from[one] <= at - half), None) if fits else None
        if row is not None:
            free_from[row] = at + half + 0.08
        rows.append(row)
    return rows


def _draw_events(axes: Axes, marks: _Marks) -> None:
    for time, text, row in marks.placed:
        axes.axvline(time, color=INK, linestyle=(0, (2, 2)), linewidth=0.9, zorder=1.8)
        if row is not None:
            axes.annotate(
                text,
                xy=(time, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(0, 3 + 72 * _ROW_IN * row),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize=SMALL_PT,
                annotation_clip=False,
            )


def _time_axis(axes: Axes, span: tuple[float, float]) -> None:
    length = span[1] - span[0]
    step = next((one for one in _TICK_STEPS_S if length / one <= 9), 86400)
    ticks = np.arange(math.ceil(span[0] / step - 1e-9), math.floor(span[1] / step + 1e-9) + 1) * float(step)
    if length < 300 and span[1] < 600:
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_xlabel("seconds after the recording's start")
        return
    hours = span[1] >= 3600 and step % 60 == 0
    texts = [f"{tick // 3600:.0f}:{tick // 60 % 60:02.0f}" if hours else clock(tick) for tick in ticks]
    axes.set_xticks(ticks, texts)
    unit = "hours:minutes" if hours else "minutes:seconds"
    axes.set_xlabel(f"time after the recording's start ({unit})")


def _caption(course: Course, raters: Sequence[str], *, thin: bool, outside: int) -> str:
    scored = int(np.isfinite(course.score).sum())
    text = f"Score over time, {count(scored)} of {counted(course.score.size, 'segment')} scored."
    if thin:
        text += (
            f" The recording is drawn in {COLUMNS} columns of"
            f" {number((course.span_s[1] - course.span_s[0]) / COLUMNS, 1)} s: lines, the mean of each; dark area,"
            " least to greatest score; marks along the bottom, columns in which some segments have no score."
        )
    if scored < course.score.size:
        text += " Hatched: no score could be given; the line is broken there."
    if np.isfinite(course.band_lo).any():
        text += " Light area: how uncertain the model says it is."
    if np.isfinite(course.reference).any():
        text += " Bold line: the reference, median of the ratings."
    if raters:
        text += f" Thin broken lines: what {counted(len(raters), 'rater')} said."
    text += " Dotted levels: where moderate and high begin."
    if outside:
        text += f" {counted(outside, 'rating')} outside the recording not drawn."
    return text


def _event_words(marks: _Marks) -> str:
    text = f" Upright lines: {joined(marks.listed, MOST_EVENTS_LISTED)}." if marks.listed else ""
    if any(row is None for _, _, row in marks.placed):
        text += " Where events are close together some numbers had no room."
    if marks.outside:
        text += f" Outside the recording, not drawn: {joined(marks.outside, MOST_EVENTS_LISTED)}."
    return text


def _words(name: str, course: Course, cut_points: tuple[float, float]) -> str:
    known = course.score[np.isfinite(course.score)]
    if not known.size:
        return f"{name}: none of {counted(course.score.size, 'segment')} has a score."
    top = int(np.nanargmax(course.score))
    text = (
        f"{name}, {clock(course.span_s[0])} to {clock(course.span_s[1])}: {count(known.size)} of"
        f" {counted(course.score.size, 'segment')} scored, {number(known.min())} to {number(known.max())} points, mean"
        f" {number(known.mean())}, highest at {clock(float(course.start_s[top]))};"
        f" {percent(float((known > cut_points[1]).mean()))} of the scored segments are high,"
        f" {percent(float((known <= cut_points[0]).mean()))} low."
    )
    both = np.isfinite(course.score) & np.isfinite(course.reference)
    if both.any():
        d = course.score[both] - course.reference[both]
        text += f" Mean difference from the reference {signed(d.mean())} points in {counted(d.size, 'segment')}."
    return text
