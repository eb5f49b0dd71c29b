"""A chart as an image for documents: the same marks, drawn by matplotlib."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.patheffects import AbstractPathEffect, Normal
from matplotlib.patheffects import Stroke as Outline

from avpenet_cli.report.figures.style import PX_PER_IN, drawn, sheet
from avpenet_cli.trajectory.marks import (
    Area,
    Box,
    Chart,
    Dots,
    FixedBox,
    FixedDot,
    FixedLine,
    FixedSymbol,
    LabelGroup,
    Line,
    Rule,
    Stroke,
    Symbol,
    Text,
)

_HATCHES = {"": None, "rising": "////", "falling": "\\\\\\\\", "crossed": "xxxx", "dotted": "....", "level": "---"}
_MARKERS = {"peak": "v", "cross": "x", "diamond": "D"}
# Points in a px of the sheet.
_PT = 72 / PX_PER_IN
_ANCHORS = {"start": "left", "middle": "center", "end": "right"}


@drawn
def png(chart: Chart, scale: float = 2.0) -> bytes:
    """The chart as a PNG file, `scale` image px to a px of the chart, on white."""
    canvas = sheet(chart.width / PX_PER_IN, chart.height / PX_PER_IN)
    canvas.set_facecolor("white")
    axes = canvas.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, chart.width), ylim=(chart.height, 0))
    axes.axis("off")
    for order, fixed in enumerate(chart.fixed):
        _draw_fixed(axes, fixed, 1 + order / 1000)
    clip = Rectangle(
        (chart.left, chart.top), chart.right - chart.left, chart.bottom - chart.top, transform=axes.transData
    )
    for order, mark in enumerate(chart.timed):
        for artist in _draw_timed(axes, chart, mark, 10 + order / 10_000):
            artist.set_clip_path(clip)
    for group in (*chart.labels, chart.ticks):
        _draw_labels(axes, chart, group)
    file = io.BytesIO()
    canvas.savefig(file, format="png", dpi=PX_PER_IN * scale, metadata={"Software": None})
    return file.getvalue()


def _draw_timed(axes: Axes, chart: Chart, mark: Any, order: float) -> list[Any]:
    width = (chart.right - chart.left) / chart.length_s
    match mark:
        case Line():
            return axes.plot(chart.left + mark.time * width, mark.y, zorder=order, **_stroke(mark.stroke))
        case Area():
            x = chart.left + mark.time * width
            return [axes.fill_between(x, mark.upper, mark.lower, facecolor=mark.fill, linewidth=0, zorder=order)]
        case Dots():
            x, size = chart.left + mark.time * width, mark.diameter * _PT
            return axes.plot(x, mark.y, "o", color=mark.colour, markersize=size, markeredgewidth=0, zorder=order)
        case Box():
            start, end = chart.x(mark.start), chart.x(mark.end)
            return _box(axes, (start, mark.top, end - start, mark.bottom - mark.top), mark, order)
        case Rule():
            at = chart.x(mark.time)
            return axes.plot([at, at], [mark.top, mark.bottom], zorder=order, **_stroke(mark.stroke))
        case Symbol():
            return _symbol(axes, chart.x(mark.time), mark, order)
    raise TypeError(mark)


def _draw_fixed(axes: Axes, mark: Any, order: float) -> None:
    match mark:
        case Text():
            axes.text(
                mark.x,
                mark.y,
                mark.text,
                color=mark.colour,
                fontsize=mark.size * _PT,
                ha=_ANCHORS[mark.anchor],
                va="baseline",
                rotation=90 if mark.turned else 0,
                rotation_mode="anchor",
                path_effects=_outline() if mark.outlined else None,
                zorder=20,
            )
        case FixedLine():
            axes.plot([mark.x1, mark.x2], [mark.y1, mark.y2], zorder=order, **_stroke(mark.stroke))
        case FixedBox():
            _box(axes, (mark.x, mark.y, mark.width, mark.height), mark, order)
        case FixedSymbol():
            _symbol(axes, mark.x, mark, order)
        case FixedDot():
            axes.plot(
                [mark.x],
                [mark.y],
                "o",
                color=mark.colour,
                markersize=mark.diameter * _PT,
                markeredgewidth=0,
                zorder=order,
            )


def _draw_labels(axes: Axes, chart: Chart, group: LabelGroup) -> None:
    for label in group.labels:
        if label.row >= 0:
            axes.text(
                chart.x(label.time),
                label.y - label.row * group.row_height,
                label.text,
                color=group.colour,
                fontsize=group.size * _PT,
                ha="center",
                va="baseline" if group.rows else "center",
                rotation=0 if group.rows else 90,
                path_effects=_outline(),
                zorder=20,
            )


def _box(axes: Axes, box: tuple[float, float, float, float], mark: Box | FixedBox, order: float) -> list[Any]:
    x, y, width, height = box
    hatch = _HATCHES[mark.pattern]
    patches = [Rectangle((x, y), width, height, facecolor=mark.fill, edgecolor="none", zorder=order)]
    if hatch:
        patches.append(
            Rectangle(
                (x, y), width, height, facecolor="none", edgecolor="#8f969e", hatch=hatch, linewidth=0, zorder=order
            )
        )
    if mark.edge:
        patches.append(
            Rectangle((x, y), width, height, facecolor="none", edgecolor=mark.edge, linewidth=_PT, zorder=order)
        )
    return [axes.add_patch(patch) for patch in patches]


def _symbol(axes: Axes, x: float, mark: Symbol | FixedSymbol, order: float) -> list[Any]:
    # A peak's triangle points down to its place.
    y = mark.y - 4 if mark.shape == "peak" else mark.y
    size = 8 * _PT
    return axes.plot(
        [x], [y], _MARKERS[mark.shape], color=mark.colour, markersize=size, markeredgewidth=1.4, zorder=order
    )


def _outline() -> list[AbstractPathEffect]:
    return [Outline(linewidth=3 * _PT, foreground="white"), Normal()]


def _stroke(stroke: Stroke) -> dict[str, Any]:
    width = stroke.width * _PT
    # matplotlib multiplies dashes by the line's width.
    dashes = (0, tuple(length * _PT / width for length in stroke.dashes)) if stroke.dashes else "-"
    return {"color": stroke.colour, "linewidth": width, "linestyle": dashes}
