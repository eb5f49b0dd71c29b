"""A recording over time: scores, ratings, events."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from avpenet_cli.report.figures.style import (
    BLUE,
    BOTTOM_IN,
    FULL_IN,
    GREY,
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
from avpenet_cli.report.figures.timeline import (
    COLUMNS,
    MOST_SEGMENTS,
    Rating,
    Timeline,
    Track,
    broken_line,
    by_rater,
    in_columns,
    isolated,
    lost_columns,
    steps,
    timeline_of,
    unscorable_spans,
)
from avpenet_cli.report.figures.trajectory_events import EVENT_ROW_IN, RIGHT_IN, draw_events, event_text, place_events
from avpenet_cli.report.figures.wording import (
    clock,
    count,
    counted,
    identifier,
    in_sentence,
    number,
    percent,
    shorten,
    signed,
)

MOST_RATERS_NAMED = 5
_DASHES = ((0, (5, 1.6)), (0, (1.2, 1.4)), (0, (6, 1.6, 1.2, 1.6)), (0, (2.6, 1.4)), (0, (9, 2)))
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
    """Scores over time with ratings and events; unscorable time is hatched and breaks the line.

    Args:
        name: of the recording, for title and caption; its digest is part of the ids.
        track: the recording's segments; more than 1500 are drawn in columns of time with their range.
        ratings: of any number of raters, points of the 0-10 scale; those outside the recording are counted.
        events: (seconds after the recording's start, label); those outside the recording are listed in the caption.
        cut_points: upper ends of the classes low and moderate, points.

    Raises:
        ValueError: arrays of the track differ in length.
    """
    timeline = timeline_of(track)
    span = timeline.span_s
    raters = by_rater(ratings)
    thin = timeline.score.size > MOST_SEGMENTS
    marks = place_events(events, span)
    entries = _legend_entries(timeline, list(raters))
    legend_in = legend_columns([label for _, label in entries], FULL_IN - LEFT_IN - RIGHT_IN)[1] if entries else 0.0
    events_in = marks.rows * EVENT_ROW_IN + (0.05 if marks.rows else 0.0)
    top = 0.12 + events_in + legend_in
    canvas = sheet(FULL_IN, _PLOT_IN + BOTTOM_IN + top)
    axes = panel(canvas, left=LEFT_IN, right=RIGHT_IN, bottom=BOTTOM_IN, top=top)
    values = [
        timeline.score,
        timeline.band_lo,
        timeline.band_hi,
        timeline.reference,
        *(value for _, _, value in raters.values()),
    ]
    axes.set(xlim=span, ylim=_value_limits(np.concatenate(values)))
    _draw_classes(axes, cut_points)
    if thin:
        _draw_thinned(axes, timeline)
    else:
        _draw_segments(axes, timeline)
    _draw_raters(axes, raters, span, thin=thin)
    draw_events(axes, marks)
    _time_axis(axes, span)
    name_y(axes, "points, 0-10 scale")
    legend_above(axes, [handle for handle, _ in entries], [label for _, label in entries], offset_in=events_in + 0.04)
    if not np.isfinite(timeline.score).any():
        note(axes, "no segment could be scored" if timeline.score.size else "no segments")
    outside = sum(int(((start > span[1]) | (end < span[0])).sum()) for start, end, _ in raters.values())
    return finish(
        canvas,
        identifier("trajectory", name),
        title=f"Scores over time: {in_sentence(name)}",
        caption=_caption(timeline, thin=thin, outside=outside) + event_text(marks),
        alternative=_alternative(in_sentence(name), timeline, cut_points) + event_text(marks),
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


def _draw_segments(axes: Axes, timeline: Timeline) -> None:
    for start, end in unscorable_spans(timeline):
        _hatch(axes, start, end)
    x, score = broken_line(timeline, timeline.score)
    low, high = broken_line(timeline, timeline.band_lo)[1], broken_line(timeline, timeline.band_hi)[1]
    if np.isfinite(low).any():
        axes.fill_between(x, low, high, facecolor=PALE_BLUE, linewidth=0, zorder=1.5)
        single = isolated(score)
        axes.vlines(x[single], low[single], high[single], color=PALE_BLUE, linewidth=4, zorder=1.5)
    axes.plot(*steps(timeline.start_s, timeline.end_s, timeline.reference), color=ORANGE, linewidth=2.6, zorder=3)
    few = np.isfinite(score).sum() <= 80
    axes.plot(x, score, color=BLUE, linewidth=1.5, marker="o" if few else None, markersize=3.6, zorder=4)
    if not few:
        single = isolated(score)
        axes.plot(x[single], score[single], "o", color=BLUE, markersize=3.0, zorder=4)


def _draw_thinned(axes: Axes, timeline: Timeline) -> None:
    scored = in_columns(timeline.middle_s, timeline.score, timeline.span_s)
    half = (timeline.span_s[1] - timeline.span_s[0]) / COLUMNS / 2
    lost = lost_columns(timeline)
    for start, end in _runs(lost & ~np.isfinite(scored.mean), scored.middle_s, half):
        _hatch(axes, start, end)
    for start, end in _runs(lost & np.isfinite(scored.mean), scored.middle_s, half):
        axes.axvspan(start, end, ymax=0.03, facecolor=GREY, linewidth=0, zorder=5)
    low = in_columns(timeline.middle_s, timeline.band_lo, timeline.span_s).low
    high = in_columns(timeline.middle_s, timeline.band_hi, timeline.span_s).high
    if np.isfinite(low).any():
        axes.fill_between(scored.middle_s, low, high, facecolor=PALE_BLUE, linewidth=0, zorder=1.5)
    rated = in_columns(timeline.middle_s, timeline.reference, timeline.span_s)
    if np.isfinite(rated.mean).any():
        axes.plot(rated.middle_s, rated.mean, color=ORANGE, linewidth=2.4, zorder=3)
    axes.fill_between(
        scored.middle_s, scored.low, scored.high, facecolor="#8db4d8", edgecolor="#8db4d8", linewidth=0.8, zorder=2
    )
    axes.plot(scored.middle_s, scored.mean, color=BLUE, linewidth=1.3, zorder=4)


def _runs(which: npt.NDArray[np.bool_], middle: FloatArray, half: float) -> list[tuple[float, float]]:
    """Intervals of time in which adjacent columns are true."""
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
        instant = end <= start
        axes.plot(start[instant], value[instant], "x", color=GREY, markersize=5, zorder=2.5)


def _legend_entries(timeline: Timeline, raters: Sequence[str]) -> list[tuple[object, str]]:
    entries: list[tuple[object, str]] = []
    if np.isfinite(timeline.score).any():
        entries.append((Line2D([], [], color=BLUE, linewidth=1.5, marker="o", markersize=3.6), "score"))
    if np.isfinite(timeline.band_lo).any():
        entries.append((Patch(facecolor=PALE_BLUE), "uncertainty"))
    if np.isfinite(timeline.reference).any():
        entries.append((Line2D([], [], color=ORANGE, linewidth=2.6), "rating"))
    if not np.isfinite(timeline.score).all():
        entries.append((Patch(facecolor=PALE_GREY, edgecolor="#b3b9c0", hatch="////", linewidth=0), "no score"))
    if len(raters) <= MOST_RATERS_NAMED:
        for rater, dashes in zip(raters, _DASHES, strict=False):
            entries.append((Line2D([], [], color=GREY, linestyle=dashes, linewidth=1.1), shorten(rater, 1.2, SMALL_PT)))
    else:
        entries.append((Line2D([], [], color=GREY, linestyle=_DASHES[0], linewidth=1.1), f"{len(raters)} raters"))
    return entries


def _time_axis(axes: Axes, span: tuple[float, float]) -> None:
    length = span[1] - span[0]
    step = next((seconds for seconds in _TICK_STEPS_S if length / seconds <= 9), 86400)
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


def _caption(timeline: Timeline, *, thin: bool, outside: int) -> str:
    scored = int(np.isfinite(timeline.score).sum())
    text = f"{count(scored)} of {counted(timeline.score.size, 'segment')} scored."
    if thin:
        text += (
            f" The recording is drawn in {COLUMNS} columns of"
            f" {number((timeline.span_s[1] - timeline.span_s[0]) / COLUMNS, 1)} s: lines, the mean of each; dark area,"
            " lowest to highest score; marks along the bottom, columns in which some segments have no score."
        )
    if outside:
        text += f" {counted(outside, 'rating')} outside the recording not drawn."
    return text


def _alternative(name: str, timeline: Timeline, cut_points: tuple[float, float]) -> str:
    known = timeline.score[np.isfinite(timeline.score)]
    if not known.size:
        return f"{name}: none of {counted(timeline.score.size, 'segment')} has a score."
    top = int(np.nanargmax(timeline.score))
    text = (
        f"{name}, {clock(timeline.span_s[0])} to {clock(timeline.span_s[1])}: {count(known.size)} of"
        f" {counted(timeline.score.size, 'segment')} scored, {number(known.min())} to {number(known.max())} points,"
        f" mean {number(known.mean())}, highest at {clock(float(timeline.start_s[top]))};"
        f" {percent(float((known > cut_points[1]).mean()))} of the scored segments are high,"
        f" {percent(float((known <= cut_points[0]).mean()))} low."
    )
    both = np.isfinite(timeline.score) & np.isfinite(timeline.reference)
    if both.any():
        d = timeline.score[both] - timeline.reference[both]
        text += f" Mean difference from the rating {signed(d.mean())} points in {counted(d.size, 'segment')}."
    return text
