"""A chart as an `<svg>` element of a page: small, and with marks of time that a script can move.

Lines, areas and dots are whole numbers, tenths of a second and of a px, in groups whose transform is all that zooming
changes; their strokes do not scale. Other marks of time state it in `data-` attributes.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import numpy.typing as npt

from avpenet_cli.report.figures.inline import FONTS
from avpenet_cli.report.figures.style import GREY, Figure
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
    Shape,
    Stroke,
    Symbol,
    Text,
    Timed,
)

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]

PER_UNIT = 10
"""Units of a path in a second, and in a px."""
# Keeps text readable on bands, patterns and lines.
_OUTLINE = ' stroke="#fff" stroke-width="3" paint-order="stroke"'
_PATTERNS = {
    "rising": "M-1 1l2-2M0 7l7-7M6 8l2-2",
    "falling": "M-1 6l2 2M0 0l7 7M6-1l2 2",
    "crossed": "M0 7l7-7M0 0l7 7",
    "dotted": "M1.5 1.5h2M5 5h2",
    "level": "M0 3.5h7",
}
_SHAPES: dict[Shape, str] = {
    "peak": "M0 0l-4.5-8h9z",
    "cross": "M-4-4L4 4M-4 4L4-4",
    "diamond": "M0-6L5 0L0 6L-5 0z",
}


def figure(chart: Chart) -> Figure:
    """A chart as a figure of a page."""
    return Figure(chart.name, chart.title, svg(chart), chart.caption, chart.alternative, round(chart.width))


def svg(chart: Chart) -> str:
    """The `<svg>` element; all text is escaped, and all ids start with the chart's name."""
    clip = (
        f'<clipPath id="{chart.name}-clip"><rect x="{_n(chart.left)}" y="{_n(chart.top)}"'
        f' width="{_n(chart.right - chart.left)}" height="{_n(chart.bottom - chart.top)}"/></clipPath>'
    )
    return "".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_n(chart.width)} {_n(chart.height)}" width="100%"'
            f' role="img" aria-labelledby="{chart.name}-title {chart.name}-desc" style="display:block;'
            f'max-width:{_n(chart.width)}px;height:auto;font-family:{FONTS};stroke-linejoin:round">',
            f'<title id="{chart.name}-title">{escape(chart.title)}</title>',
            f'<desc id="{chart.name}-desc">{escape(chart.alternative)}</desc>',
            f"<defs>{clip}{''.join(_patterns(chart.name))}</defs>",
            *(_fixed(chart.name, mark) for mark in chart.fixed if not isinstance(mark, Text)),
            f'<g class="timed" clip-path="url(#{chart.name}-clip)">',
            *_timed(chart),
            "</g>",
            *(_labels(chart, group, "labels") for group in chart.labels),
            _labels(chart, chart.ticks, "ticks"),
            *(_fixed(chart.name, mark) for mark in chart.fixed if isinstance(mark, Text)),
            "</svg>",
        ]
    )


def _patterns(name: str) -> Iterator[str]:
    for pattern, path in _PATTERNS.items():
        yield (
            f'<pattern id="{name}-{pattern}" width="7" height="7" patternUnits="userSpaceOnUse">'
            f'<path d="{path}" fill="none" stroke="{GREY}" stroke-width=".8"/></pattern>'
        )


def _timed(chart: Chart) -> Iterator[str]:
    per_unit = (chart.right - chart.left) / chart.length_s / PER_UNIT
    matrix = f"matrix({per_unit:.8g} 0 0 {1 / PER_UNIT:g} {_n(chart.left)} 0)"
    for scaled, marks in groupby(chart.timed, lambda mark: isinstance(mark, Line | Area | Dots)):
        content = "".join(_scaled(mark) if scaled else _moved(chart, mark) for mark in marks)
        yield f'<g class="scaled" transform="{matrix}">{content}</g>' if scaled and content else content


def _scaled(mark: Timed) -> str:
    constant = 'vector-effect="non-scaling-stroke"'
    if isinstance(mark, Line):
        path = "".join("M" + _path(run) for run in _runs(mark.time, mark.y))
        return f'<path d="{path}" fill="none" {_stroke(mark.stroke)} {constant}/>' if path else ""
    if isinstance(mark, Area):
        upper, lower = _runs(mark.time, mark.upper), _runs(mark.time, mark.lower)
        path = "".join(f"M{_path(np.vstack([up, low[::-1]]))}z" for up, low in zip(upper, lower, strict=True))
        return f'<path d="{path}" fill="{mark.fill}"/>' if path else ""
    assert isinstance(mark, Dots)
    known = np.isfinite(mark.y)
    if not known.any():
        return ""
    points = _whole(np.column_stack([mark.time[known], mark.y[known]]))
    steps = np.diff(points, axis=0, prepend=[[0, 0]]).tolist()
    path = "".join(f"m{dx}{dy if dy < 0 else f' {dy}'}h0" for dx, dy in steps)
    return (
        f'<path class="dots" d="{path}" fill="none" stroke="{mark.colour}" stroke-width="{_n(mark.diameter)}"'
        f' stroke-linecap="round" {constant}/>'
    )


def _moved(chart: Chart, mark: Timed) -> str:
    if isinstance(mark, Box):
        x, width = chart.x(mark.start), chart.x(mark.end) - chart.x(mark.start)
        place = (
            f'data-a="{mark.start:.6g}" data-b="{mark.end:.6g}" x="{_n(x)}" y="{_n(mark.top)}"'
            f' width="{_n(width)}" height="{_n(mark.bottom - mark.top)}"'
        )
        return _filled(chart.name, place, mark.fill, mark.pattern, mark.edge)
    if isinstance(mark, Rule):
        return (
            f'<path data-t="{mark.time:.6g}" transform="translate({_n(chart.x(mark.time))} 0)"'
            f' d="M0 {_n(mark.top)}V{_n(mark.bottom)}" fill="none" {_stroke(mark.stroke)}/>'
        )
    assert isinstance(mark, Symbol)
    place = (
        f'data-t="{mark.time:.6g}" data-y="{_n(mark.y)}" transform="translate({_n(chart.x(mark.time))} {_n(mark.y)})"'
    )
    return f'<path {place} d="{_SHAPES[mark.shape]}" {_shape_style(mark.shape, mark.colour)}/>'


def _labels(chart: Chart, group: LabelGroup, kind: str) -> str:
    turned = not group.rows
    texts = []
    for label in group.labels:
        x, y = _n(chart.x(label.time)), _n(label.y - max(label.row, 0) * group.row_height)
        hidden = ' visibility="hidden"' if label.row < 0 else ""
        turn = f' transform="translate({x} {y}) rotate(-90)" dy=".35em"' if turned else f' x="{x}" y="{y}"'
        texts.append(
            f'<text data-t="{label.time:.6g}" data-w="{label.width:.0f}" data-y="{_n(label.y)}"'
            f' data-room="{label.room_s:.6g}"{turn}{hidden}>{escape(label.text)}</text>'
        )
    base = f' data-base="{_n(group.labels[0].y)}"' if group.labels else ""
    return (
        f'<g class="{kind}" data-rows="{group.rows}" data-row-height="{_n(group.row_height)}"{base}'
        f' fill="{group.colour}" font-size="{_n(group.size)}"'
        f' text-anchor="middle"{_OUTLINE}>'
        f"{''.join(texts)}</g>"
    )


def _fixed(name: str, mark: Text | FixedLine | FixedBox | FixedSymbol | FixedDot) -> str:
    match mark:
        case Text():
            place = (
                f'transform="translate({_n(mark.x)} {_n(mark.y)}) rotate(-90)"'
                if mark.turned
                else f'x="{_n(mark.x)}" y="{_n(mark.y)}"'
            )
            anchor = "" if mark.anchor == "start" else f' text-anchor="{mark.anchor}"'
            style = f'fill="{mark.colour}" font-size="{_n(mark.size)}"{anchor}{_OUTLINE if mark.outlined else ""}'
            return f"<text {place} {style}>{escape(mark.text)}</text>"
        case FixedLine():
            path = f"M{_n(mark.x1)} {_n(mark.y1)}L{_n(mark.x2)} {_n(mark.y2)}"
            return f'<path d="{path}" fill="none" {_stroke(mark.stroke)}/>'
        case FixedBox():
            place = f'x="{_n(mark.x)}" y="{_n(mark.y)}" width="{_n(mark.width)}" height="{_n(mark.height)}"'
            return _filled(name, place, mark.fill, mark.pattern, mark.edge)
        case FixedSymbol():
            place = f'transform="translate({_n(mark.x)} {_n(mark.y)})"'
            return f'<path {place} d="{_SHAPES[mark.shape]}" {_shape_style(mark.shape, mark.colour)}/>'
        case FixedDot():
            return f'<circle cx="{_n(mark.x)}" cy="{_n(mark.y)}" r="{_n(mark.diameter / 2)}" fill="{mark.colour}"/>'


def _filled(name: str, place: str, fill: str, pattern: str, edge: str) -> str:
    border = f' stroke="{edge}"' if edge else ""
    box = f'<rect {place} fill="{fill}"{border}/>'
    return box + (f'<rect {place} fill="url(#{name}-{pattern})"/>' if pattern else "")


def _shape_style(shape: Shape, colour: str) -> str:
    return f'fill="none" stroke="{colour}" stroke-width="2.2"' if shape == "cross" else f'fill="{colour}"'


def _stroke(stroke: Stroke) -> str:
    dashes = f' stroke-dasharray="{" ".join(map(_n, stroke.dashes))}"' if stroke.dashes else ""
    return f'stroke={quoteattr(stroke.colour)} stroke-width="{_n(stroke.width)}"{dashes}'


def _runs(time: Floats, y: Floats) -> list[Whole]:
    """(m, 2) points of each run of known values."""
    index = np.flatnonzero(np.isfinite(y))
    runs = np.split(index, np.flatnonzero(np.diff(index) > 1) + 1) if index.size else []
    return [_whole(np.column_stack([time[run], y[run]])) for run in runs]


def _whole(points: Floats) -> Whole:
    return np.round(points * PER_UNIT).astype(np.int64)


def _path(points: Whole) -> str:
    """ "0 10l1-2 1 3": the first point, then the way to each of the others."""
    steps = np.diff(points, axis=0).tolist()
    way = " ".join(f"{dx}{dy if dy < 0 else f' {dy}'}" for dx, dy in steps)
    return f"{points[0, 0]} {points[0, 1]}l{way}" if steps else f"{points[0, 0]} {points[0, 1]}"


def _n(value: float) -> str:
    """A px value with as many decimals as are visible."""
    return f"{round(value, 1) + 0.0:.1f}".removesuffix(".0")
