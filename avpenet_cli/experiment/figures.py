"""Forest plots of an experiment: errors or differences of many systems, with the paper's figures as hollow marks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from avpenet_cli.report.figures.style import (
    BLUE,
    BOTTOM_IN,
    FULL_IN,
    GREY,
    INK,
    ORANGE,
    PALE_GREY,
    SMALL_PT,
    Figure,
    Sheet,
    drawn,
    finish,
    legend_columns,
    numbers,
    padded,
    panel,
    sheet,
)
from avpenet_cli.report.figures.wording import in_sentence, joined, shorten, text_width_in
from avpenet_cli.stats.estimate import NAN, NO_INTERVAL, Interval

MOST_ROWS = 34
"""Longer plots would not fit on a printed page."""
PAPER_MARK = "\N{WHITE DIAMOND}"
_ROW_IN = 0.235
_NARROWEST_IN, _WIDEST_IN = 1.2, 3.0
_PLOT_IN = 1.9
"""Least width of the axes: names are shortened before the axes become narrower."""
_LEGEND_IN = 0.28


HollowMark = Literal["paper", "own"]
_HOLLOW: dict[HollowMark, tuple[str, str]] = {"paper": ("D", ORANGE), "own": ("o", GREY)}


@dataclass(frozen=True)
class Row:
    """A line of a forest plot.

    Attributes:
        label: at the left.
        value, ci: filled mark and its interval; NaN where there is none.
        text: the same in words, at the right.
        hollow, hollow_ci: the second mark, such as the paper's figure, and its interval.
        hollow_text: the same in words, at the far right.
        ticks: small marks, such as single seeds.
        heading: only the label, as a heading of the rows below.
    """

    label: str
    value: float = NAN
    ci: Interval = NO_INTERVAL
    text: str = ""
    hollow: float = NAN
    hollow_ci: Interval = NO_INTERVAL
    hollow_text: str = ""
    ticks: tuple[float, ...] = ()
    heading: bool = False


@dataclass(frozen=True)
class Wording:
    """Words of a forest plot: title, caption, name of the x axis, heads of the columns of text, and of the legend.

    The paper's mark, a diamond, is for the paper's figures alone; other second values have a circle.
    """

    title: str
    caption: str
    axis: str
    text_head: str
    hollow_head: str = ""
    legend: tuple[str, str, str] = ("", "", "")
    hollow: HollowMark = "paper"


def split_rows(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows in parts that fit on a printed page, divided before headings where possible."""
    parts: list[list[Row]] = []
    blocks: list[list[Row]] = []
    for row in rows:
        if row.heading or not blocks:
            blocks.append([])
        blocks[-1].append(row)
    for block in blocks:
        if parts and len(parts[-1]) + len(block) <= MOST_ROWS:
            parts[-1] += block
        else:
            parts += [block[first : first + MOST_ROWS] for first in range(0, len(block), MOST_ROWS)]
    return parts


@drawn
def forest(
    rows: Sequence[Row], wording: Wording, *, name: str, zero: float | None = None, limits: Interval | None = None
) -> Figure:
    """Values with their intervals, one line each.

    Args:
        rows: at most `MOST_ROWS`, in the order to draw.
        wording: for the page.
        name: start of the figure's ids.
        zero: where to draw a vertical line.
        limits: of the x axis; those of the rows where None.
    """
    text_in = _widest([wording.text_head, *(row.text for row in rows)])
    hollow_in = _widest([wording.hollow_head, *(row.hollow_text for row in rows)]) if wording.hollow_head else 0.0
    right = 0.14 + text_in + (0.2 + hollow_in if hollow_in else 0.0) + 0.05
    left = min(max(_widest([row.label for row in rows]) + 0.3, _NARROWEST_IN), _WIDEST_IN, FULL_IN - right - _PLOT_IN)
    legend_in = _LEGEND_IN if any(wording.legend) else 0.0
    canvas = sheet(FULL_IN, max(len(rows), 3) * _ROW_IN + 0.98 + legend_in)
    axes = panel(canvas, left=left, right=right, bottom=BOTTOM_IN, top=0.34 + legend_in)
    if zero is not None:
        axes.axvline(zero, color=GREY, linewidth=0.9, zorder=1)
    axes.set(xlim=limits or limits_of(rows, zero), ylim=(max(len(rows), 3) - 0.4, -0.6))
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(wording.axis)
    _beside(axes, -1.1, 0.14, wording.text_head, bold=True)
    _beside(axes, -1.1, 0.34 + text_in, wording.hollow_head, bold=True)
    for place, row in enumerate(rows):
        _line(axes, place, row, left, wording.hollow)
        _beside(axes, place, 0.14, row.text)
        _beside(axes, place, 0.34 + text_in, row.hollow_text)
    shown = [(handle, label) for handle, label in zip(_handles(wording.hollow), wording.legend, strict=True) if label]
    if shown:
        handles, labels = zip(*shown, strict=True)
        legend_on_sheet(canvas, handles, labels)
    return finish(
        canvas,
        name,
        title=wording.title,
        caption=wording.caption,
        alternative=joined([_in_words(row, wording) for row in rows if not row.heading], MOST_ROWS)
        or "Empty plot: there is nothing to show.",
    )


def limits_of(rows: Sequence[Row], zero: float | None) -> Interval:
    """Limits of the x axis that show all marks and intervals, and `zero`."""
    known = [] if zero is None else [zero]
    for row in rows:
        known += [row.value, *row.ci, row.hollow, *row.hollow_ci, *row.ticks]
    finite = [value for value in known if math.isfinite(value)]
    return padded(finite, least=0.02 * (max(finite) - min(finite)) or 0.05) if finite else (0.0, 1.0)


def legend_on_sheet(canvas: Sheet, handles: Sequence[Line2D], labels: Sequence[str]) -> None:
    """Draw a legend along the upper edge of the sheet."""
    canvas.legend(
        handles=list(handles),
        labels=list(labels),
        loc="upper left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=legend_columns(labels, FULL_IN - 0.2)[0],
        borderaxespad=0.0,
        borderpad=0.2,
        handlelength=2.6,
        handletextpad=0.5,
        columnspacing=1.3,
        labelspacing=0.3,
    )


def _widest(texts: Sequence[str]) -> float:
    return max((text_width_in(text, SMALL_PT) for text in texts), default=0.0) * 1.06


def _handles(hollow: HollowMark) -> list[Line2D]:
    marker, color = _HOLLOW[hollow]
    return [
        Line2D([], [], color=INK, linewidth=1.5, marker="s", markerfacecolor=BLUE, markeredgecolor=BLUE, markersize=6),
        Line2D([], [], color=color, linewidth=1.0, marker=marker, markerfacecolor="white", markersize=6),
        Line2D([], [], color=GREY, linewidth=0, marker="|", markersize=8, markeredgewidth=1.2),
    ]


def _line(axes: Axes, place: int, row: Row, left_in: float, hollow: HollowMark) -> None:
    indent_in = left_in - (0.02 if row.heading else 0.14)
    axes.annotate(
        shorten(row.label, indent_in - 0.1, SMALL_PT),
        xy=(0.0, place),
        xycoords=("axes fraction", "data"),
        xytext=(-indent_in * 72, 0),
        textcoords="offset points",
        ha="left",
        va="center",
        fontsize=SMALL_PT,
        fontweight="bold" if row.heading else "normal",
        annotation_clip=False,
    )
    if row.heading:
        axes.axhspan(place - 0.5, place + 0.5, facecolor=PALE_GREY, linewidth=0, zorder=0)
        return
    # Two marks of a line lie apart, so that neither hides the other.
    apart = 0.16 if math.isfinite(row.value) and math.isfinite(row.hollow) else 0.0
    if all(map(math.isfinite, row.ci)):
        axes.hlines([place - apart], *row.ci, color=INK, linewidth=1.5)
    ticks = numbers(row.ticks)
    axes.plot(ticks, np.full(len(ticks), place - apart), "|", color=GREY, markersize=8, markeredgewidth=1.2, zorder=2)
    if math.isfinite(row.value):
        axes.plot([row.value], [place - apart], "s", color=BLUE, markersize=5.5, zorder=3)
    marker, color = _HOLLOW[hollow]
    if all(map(math.isfinite, row.hollow_ci)):
        axes.hlines([place + apart], *row.hollow_ci, color=color, linewidth=1.0)
    if math.isfinite(row.hollow):
        axes.plot(
            [row.hollow],
            [place + apart],
            marker,
            markerfacecolor="white",
            markeredgecolor=color,
            markersize=5,
            zorder=3,
        )


def _beside(axes: Axes, place: float, offset_in: float, text: str, *, bold: bool = False) -> None:
    """Text in the right margin, `offset_in` from the axes, at the height of row `place`."""
    if not text:
        return
    axes.annotate(
        text,
        xy=(1.0, place),
        xycoords=("axes fraction", "data"),
        xytext=(offset_in * 72, 0),
        textcoords="offset points",
        ha="left",
        va="center",
        fontsize=SMALL_PT,
        fontweight="bold" if bold else "normal",
        annotation_clip=False,
    )


def _in_words(row: Row, wording: Wording) -> str:
    second = f", {wording.hollow_head.removeprefix(PAPER_MARK).strip()} {row.hollow_text}" if row.hollow_text else ""
    return f"{in_sentence(row.label)}: {row.text or 'none'}{second}"
