"""All scores of the recording over time, with the explained segments marked."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes

from avpenet_cli.explanation.explained import Explanation
from avpenet_cli.report.figures.style import (
    BLUE,
    BOTTOM_IN,
    GREY,
    INK,
    LEFT_IN,
    PALE_GREY,
    PALE_ORANGE,
    SMALL_PT,
    Figure,
    drawn,
    finish,
    name_y,
    note,
    panel,
    panel_size_in,
    sheet,
)
from avpenet_cli.report.figures.timeline import Track, broken_line, isolated, timeline_of, unscorable_spans
from avpenet_cli.report.figures.wording import clock, counted, in_sentence, text_width_in

_WIDTH_IN, _HEIGHT_IN = 9.2, 1.9
_TOP_IN, _RIGHT_IN = 0.3, 0.2
_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
_MOST_TICKS = 10


@drawn
def draw_timeline(explanation: Explanation) -> Figure:
    """Scores over time; the numbers of explained segments stand above them, where there is room."""
    scores = explanation.scores
    values = [math.nan if row.score is None else row.score for row in scores]
    timeline = timeline_of(Track([row.start_s for row in scores], [row.end_s for row in scores], values))
    canvas = sheet(_WIDTH_IN, _HEIGHT_IN)
    axes = panel(canvas, left=LEFT_IN, right=_RIGHT_IN, bottom=BOTTOM_IN, top=_TOP_IN)
    first_s, last_s = timeline.span_s
    axes.set(xlim=(first_s, max(last_s, first_s + 1.0)), ylim=(-0.4, 10.4))
    for start_s, end_s in unscorable_spans(timeline):
        axes.axvspan(start_s, end_s, facecolor=PALE_GREY, edgecolor="#b3bac2", hatch="////", linewidth=0.0, zorder=1)
    _mark_segments(axes, explanation)
    axes.plot(*broken_line(timeline, timeline.score), color=BLUE, linewidth=1.5, zorder=3)
    alone = isolated(timeline.score)
    axes.plot(timeline.middle_s[alone], timeline.score[alone], ".", color=BLUE, markersize=4, zorder=3)
    step_s = next((step for step in _STEPS_S if (last_s - first_s) / step <= _MOST_TICKS), _STEPS_S[-1])
    ticks = np.arange(math.ceil(first_s / step_s) * step_s, last_s + 1e-6, step_s)
    axes.set_xticks(ticks, [clock(tick) for tick in ticks])
    axes.set_yticks([0, 5, 10])
    axes.set_xlabel("time in the recording (min:s)", fontsize=SMALL_PT)
    name_y(axes, "score")
    if not np.isfinite(timeline.score).any():
        note(axes, "no segment could be scored")
    numbers = ", ".join(str(segment.inputs.record.segment) for segment in explanation.segments)
    n_lost = int((~np.isfinite(timeline.score)).sum())
    lost = f" {counted(n_lost, 'segment')} without a score: hatched." if n_lost else ""
    return finish(
        canvas,
        "timeline",
        title="Scores of the recording",
        caption=f"Segments that are explained below have an orange ground and their number: {numbers or 'none'}.{lost}",
        alternative=(
            f"Scores of {in_sentence(explanation.recording)} over {clock(last_s)}; explained segments:"
            f" {numbers or 'none'}.{lost}"
        ),
    )


def _mark_segments(axes: Axes, explanation: Explanation) -> None:
    first_s, last_s = axes.get_xlim()
    s_per_in = (last_s - first_s) / panel_size_in(axes)[0]
    free_from_s = -math.inf
    for segment in explanation.segments:
        record = segment.inputs.record
        middle_s = (record.start_s + record.end_s) / 2
        # At least two pixels wide, however long the recording.
        half_s = max((record.end_s - record.start_s) / 2, 0.01 * s_per_in)
        axes.axvspan(middle_s - half_s, middle_s + half_s, color=PALE_ORANGE, linewidth=0, zorder=1.5)
        axes.axvline(middle_s, color=GREY, linewidth=0.6, linestyle=(0, (1, 2)), zorder=1.6)
        label = str(record.segment)
        half_label_s = (text_width_in(label, SMALL_PT) / 2 + 0.04) * s_per_in
        if middle_s - half_label_s < free_from_s:
            continue
        free_from_s = middle_s + half_label_s
        axes.annotate(
            label,
            (middle_s, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=SMALL_PT,
            fontweight="bold",
            color=INK,
            annotation_clip=False,
        )
