"""Events on a recording's timeline: vertical lines with labels above the axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from avpenet_cli.report.figures.style import FULL_IN, INK, LEFT_IN, SMALL_PT
from avpenet_cli.report.figures.wording import clock, in_sentence, joined, single_line, text_width_in

MOST_EVENTS_LISTED = 20
EVENT_ROW_IN = 0.18
RIGHT_IN = 0.84
"""Right margin of the axes, for the names of the classes."""
_EVENT_ROWS = 2


@dataclass(frozen=True)
class EventMarks:
    """Events of a figure.

    Attributes:
        placed: time in seconds, label, and row of the label above the axes; None where there is no room for it.
        listed: inside the figure, in words.
        outside: outside the figure, in words.
        rows: rows of labels in use.
        numbered: whether the labels are numbers.
    """

    placed: tuple[tuple[float, str, int | None], ...]
    listed: tuple[str, ...]
    outside: tuple[str, ...]
    rows: int
    numbered: bool


def place_events(events: Sequence[tuple[float, str]], span: tuple[float, float]) -> EventMarks:
    """Place labels above the axes where all of them fit in two rows, otherwise as many numbers as fit."""
    known = sorted((time, single_line(label)) for time, label in events if math.isfinite(time))
    inside = [(time, label) for time, label in known if span[0] <= time <= span[1]]
    outside = tuple(
        f"{in_sentence(label) or 'event'} at {clock(time)}" for time, label in known if not span[0] <= time <= span[1]
    )
    rows = _rows_of([(time, label) for time, label in inside], span)
    numbered = any(row is None for row in rows)
    texts = [label for _, label in inside]
    if numbered:
        texts = [str(number) for number in range(1, len(inside) + 1)]
        rows = _rows_of([(time, text) for (time, _), text in zip(inside, texts, strict=True)], span)
    listed = tuple(
        f"{f'{place}: ' if numbered else ''}{in_sentence(label) or 'event'} at {clock(time)}"
        for place, (time, label) in enumerate(inside, start=1)
    )
    placed = tuple((time, text, row) for (time, _), text, row in zip(inside, texts, rows, strict=True))
    used = max((row + 1 for row in rows if row is not None), default=0)
    return EventMarks(placed, listed, outside, used, numbered)


def _rows_of(labels: Sequence[tuple[float, str]], span: tuple[float, float]) -> list[int | None]:
    """The row in which each label, centred on its time, overlaps no other; None where both rows are full."""
    width_in = FULL_IN - LEFT_IN - RIGHT_IN
    free_from = [-math.inf] * _EVENT_ROWS
    rows: list[int | None] = []
    for time, text in labels:
        x_in, half_in = (time - span[0]) / (span[1] - span[0]) * width_in, text_width_in(text, SMALL_PT) / 2
        fits = x_in - half_in > -LEFT_IN + 0.05 and x_in + half_in < width_in + RIGHT_IN - 0.05
        free = (row for row in range(_EVENT_ROWS) if free_from[row] <= x_in - half_in)
        row = next(free, None) if fits else None
        if row is not None:
            free_from[row] = x_in + half_in + 0.08
        rows.append(row)
    return rows


def draw_events(axes: Axes, marks: EventMarks) -> None:
    """Draw a vertical line at each event, and its label where there is room."""
    for time, text, row in marks.placed:
        axes.axvline(time, color=INK, linestyle=(0, (2, 2)), linewidth=0.9, zorder=1.8)
        if row is not None:
            axes.annotate(
                text,
                xy=(time, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(0, 3 + 72 * EVENT_ROW_IN * row),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize=SMALL_PT,
                annotation_clip=False,
            )


def event_text(marks: EventMarks) -> str:
    """Sentences for the caption; empty without events."""
    text = f" Vertical lines: {joined(marks.listed, MOST_EVENTS_LISTED)}." if marks.listed else ""
    if any(row is None for _, _, row in marks.placed):
        text += " Where events are close together, some numbers are left out."
    if marks.outside:
        text += f" Outside the recording, not drawn: {joined(marks.outside, MOST_EVENTS_LISTED)}."
    return text
