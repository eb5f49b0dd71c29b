"""Errors under noise and covers: kinder and harder changes next to each other, and the share of segments lost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from avpenet_cli.experiment.figures import legend_on_sheet
from avpenet_cli.report.figures.style import (
    BLUE,
    DASH_DOT,
    DASHED,
    DOTTED,
    FULL_IN,
    GREY,
    INK,
    LEFT_IN,
    ORANGE,
    SMALL_PT,
    SOLID,
    Figure,
    drawn,
    finish,
    legend_columns,
    name_y,
    numbers,
    padded,
    panel,
    sheet,
)
from avpenet_cli.report.figures.wording import in_sentence, joined, number, percent, shorten
from avpenet_cli.stats.estimate import Estimate

MOST_SYSTEMS = 6
_GAP_IN = 0.3
# Colour, line and marker differ, so that systems can be told apart in greyscale.
_LOOKS = (
    (BLUE, SOLID, "s"),
    (ORANGE, DASHED, "o"),
    (INK, DOTTED, "^"),
    (GREY, DASH_DOT, "D"),
    (BLUE, DOTTED, "v"),
    (ORANGE, DASH_DOT, "P"),
)


@dataclass(frozen=True)
class Curve:
    """A system under the changes of a panel.

    Attributes:
        system: title.
        mae: under each change, the clean one first; points.
        lost: (changes,) share of the segments lost, 0 to 1; NaN where not known, 0 for the clean one.
    """

    system: str
    mae: tuple[Estimate, ...]
    lost: tuple[float, ...]


@dataclass(frozen=True)
class Panel:
    """Changes of one kind: heading, their labels, and at most `MOST_SYSTEMS` systems, the same in all panels."""

    heading: str
    labels: tuple[str, ...]
    curves: tuple[Curve, ...]


@drawn
def conditions(panels: Sequence[Panel], *, name: str, title: str, caption: str, connect: bool) -> Figure:
    """MAE by change, above, and share of segments lost, below, where any is.

    Args:
        panels: one or two, drawn next to each other with the same axes.
        name: start of the figure's ids.
        title, caption: for the page.
        connect: whether changes are ordered, so that their marks are joined by lines.
    """
    names = [curve.system for curve in panels[0].curves]
    short = [shorten(system, 2.9, SMALL_PT) for system in names]
    some_lost = any(share > 0 for panel_ in panels for curve in panel_.curves for share in curve.lost)
    legend_in = legend_columns(short, FULL_IN - 0.2)[1]
    # From the bottom: labels, shares lost, a gap, errors, headings, legend.
    lost_in = 1.0 if some_lost else 0.0
    height = 0.5 + lost_in + 2.3 + 0.36 + legend_in
    canvas = sheet(FULL_IN, height)
    width = (FULL_IN - LEFT_IN - 0.2 - _GAP_IN * (len(panels) - 1)) / len(panels)
    values = [
        number_ for panel_ in panels for curve in panel_.curves for est in curve.mae for number_ in (est.value, *est.ci)
    ]
    limits = padded(values, least=0.1)
    for column, panel_ in enumerate(panels):
        left = LEFT_IN + column * (width + _GAP_IN)
        right = FULL_IN - left - width
        upper = panel(canvas, left=left, right=right, bottom=0.5 + lost_in, top=0.36 + legend_in)
        axes: list[Axes] = [upper]
        upper.set_ylim(max(0.0, limits[0]), limits[1])
        if some_lost:
            lower = panel(canvas, left=left, right=right, bottom=0.5, top=height - 0.5 - lost_in + 0.22)
            lower.set_ylim(0, 100)
            lower.set_yticks([0, 50, 100])
            axes.append(lower)
        _draw(axes, panel_, connect)
        upper.annotate(
            panel_.heading,
            xy=(0.0, 1.0),
            xycoords="axes fraction",
            xytext=(0, 7),
            textcoords="offset points",
            fontsize=SMALL_PT,
            fontweight="bold",
        )
        for place, each in enumerate(axes):
            each.set_xlim(-0.5, len(panel_.labels) - 0.5)
            each.set_xticks(range(len(panel_.labels)), panel_.labels if place == len(axes) - 1 else [])
            each.grid(axis="x", visible=False)
            if column:
                each.tick_params(labelleft=False)
            else:
                name_y(each, ("MAE (points)", "lost (%)")[place])
    legend_on_sheet(canvas, _handles(len(short), connect), short)
    return finish(
        canvas,
        name,
        title=title,
        caption=caption,
        alternative=joined([_in_words(panel_, curve) for panel_ in panels for curve in panel_.curves], 24)
        or "Empty plot: no system was evaluated under these changes.",
    )


def _handles(count: int, connect: bool) -> list[Line2D]:
    return [
        Line2D([], [], color=color, linestyle=line if connect else "", marker=marker, markersize=5.5)
        for color, line, marker in _LOOKS[:count]
    ]


def _draw(axes: Sequence[Axes], panel_: Panel, connect: bool) -> None:
    step = min(0.13, 0.7 / max(len(panel_.curves), 1))
    for place, (curve, (color, line, marker)) in enumerate(zip(panel_.curves, _LOOKS, strict=False)):
        x = np.arange(len(curve.mae)) + (place - (len(panel_.curves) - 1) / 2) * step
        mae = numbers([estimate.value for estimate in curve.mae])
        low, high = (numbers([estimate.ci[end] for estimate in curve.mae]) for end in (0, 1))
        known = np.isfinite(low) & np.isfinite(high)
        upper = axes[0]
        upper.vlines(x[known], low[known], high[known], color=color, linewidth=1.1)
        upper.plot(x, mae, color=color, linestyle=line if connect else "", marker=marker, markersize=5, linewidth=1.1)
        if len(axes) > 1:
            shares = 100 * numbers(curve.lost)
            axes[1].bar(x, shares, width=0.85 * step, color=color)


def _in_words(panel_: Panel, curve: Curve) -> str:
    parts = []
    for label, estimate, lost in zip(panel_.labels, curve.mae, curve.lost, strict=True):
        gone = f", {percent(lost)} lost" if math.isfinite(lost) and lost > 0 else ""
        parts.append(f"{label} {number(estimate.value)}{gone}")
    return f"{panel_.heading}, {in_sentence(curve.system)}: mean absolute error {', '.join(parts)}"
