"""Pairs as dots or hexagons, and labels of lines in the right margin."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm, to_rgba

from avpenet_cli.report.figures.style import INK, SMALL_PT, FloatArray, Sheet, panel_size_in
from avpenet_cli.report.figures.wording import count, text_width_in

MOST_POINTS = 2000
_BAR_IN = 0.9
_HEXAGONS = LinearSegmentedColormap.from_list("hexagons", ["#bcd2e6", "#86aed1", "#4a80b3", "#1d5488"])


def draw_cloud(canvas: Sheet, axes: Axes, x: FloatArray, y: FloatArray, *, top_in: float) -> None:
    """Draw pairs as dots; above 2000 of them as hexagons, with a small colour bar at the sheet's upper right."""
    if x.size <= MOST_POINTS:
        alpha = 0.8 if x.size <= 60 else 0.45 if x.size <= 400 else 0.28
        size = 5.0 if x.size <= 400 else 4.0
        axes.plot(x, y, "o", color=to_rgba(INK, alpha), markersize=size, markeredgewidth=0, zorder=6)
        return
    width_in, height_in = panel_size_in(axes)
    across = max(10, round(width_in / 0.115))
    cells = axes.hexbin(
        x,
        y,
        gridsize=(across, max(5, round(across * height_in / width_in / math.sqrt(3)))),
        extent=(*axes.get_xlim(), *axes.get_ylim()),
        mincnt=1,
        cmap=_HEXAGONS,
        linewidths=0.2,
        zorder=3,
    )
    most = max(float(np.max(np.asarray(cells.get_array()))), 10.0)
    cells.set_norm(LogNorm(1.0, most))
    _color_bar(canvas, axes, most)


def _color_bar(canvas: Sheet, axes: Axes, most: float) -> None:
    """Draw counts from 1 to `most` on a logarithmic scale as vectors; matplotlib's colour bar would be a bitmap."""
    width_in, height_in = canvas.get_size_inches()
    label_in = text_width_in(count(most), SMALL_PT) + 0.08
    left_in = width_in * axes.get_position().x1 - label_in - _BAR_IN
    bar = canvas.add_axes((left_in / width_in, 1 - 0.21 / height_in, _BAR_IN / width_in, 0.11 / height_in))
    shades = np.linspace(0.0, 1.0, 24)
    bar.barh(
        np.zeros(24),
        np.full(24, 1 / 23),
        left=shades - 0.5 / 23,
        height=1.0,
        color=_HEXAGONS(shades),
        edgecolor=_HEXAGONS(shades),
        linewidth=0.6,
    )
    bar.set(xlim=(0, 1), ylim=(-0.5, 0.5))
    bar.set_axis_off()
    for place, text, side in ((-0.04, "pairs per hexagon: 1", "right"), (1.04, count(most), "left")):
        bar.text(place, 0.0, text, ha=side, va="center", fontsize=SMALL_PT)


def name_in_margin(axes: Axes, named: Sequence[tuple[float, str, str]]) -> None:
    """Draw labels right of the axes at the heights of their lines, moved apart where they would overlap."""
    low, high = axes.get_ylim()
    width_in, height_in = panel_size_in(axes)
    named = sorted(named)
    wanted = [(value - low) / (high - low) * height_in for value, _, _ in named]
    heights = [0.155 * (1 + text.count("\n")) + 0.05 for _, text, _ in named]
    for (_, text, color), wish, place in zip(named, wanted, moved_apart(wanted, heights), strict=True):
        axes.annotate(
            text,
            xy=(1.0, wish / height_in),
            xytext=(1.0 + 0.14 / width_in, place / height_in),
            xycoords="axes fraction",
            textcoords="axes fraction",
            ha="left",
            va="center",
            fontsize=SMALL_PT,
            linespacing=1.1,
            color=INK,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0},
        )


def moved_apart(wanted: Sequence[float], heights: Sequence[float]) -> list[float]:
    """Centres as close as possible (least squares) to those `wanted`, in that order, without overlap of `heights`.

    Pool-adjacent-violators algorithm on the wanted centres less the space below each; `wanted` ascends, any unit.
    """
    room = [0.0]
    for below, above in itertools.pairwise(heights):
        room.append(room[-1] + (below + above) / 2)
    blocks: list[list[float]] = []
    for wish, offset in zip(wanted, room, strict=False):
        blocks.append([wish - offset])
        while len(blocks) > 1 and sum(blocks[-2]) / len(blocks[-2]) > sum(blocks[-1]) / len(blocks[-1]):
            last = blocks.pop()
            blocks[-1] += last
    flat = [sum(block) / len(block) for block in blocks for _ in block]
    return [place + offset for place, offset in zip(flat, room, strict=False)]
