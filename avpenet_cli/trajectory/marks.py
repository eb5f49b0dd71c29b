"""What a chart consists of: marks whose x is time, which a reader may zoom, and marks that stay where they are.

Times are s of drawn time (`TimeAxis.drawn`); y, x and sizes are px from the chart's upper left corner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Anchor = Literal["start", "middle", "end"]
Pattern = Literal["", "rising", "falling", "crossed", "dotted", "level"]
Shape = Literal["peak", "cross", "diamond"]


@dataclass(frozen=True)
class Stroke:
    """A line's colour, width in px, and lengths of dashes and gaps in px."""

    colour: str
    width: float = 1.0
    dashes: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class Line:
    """A line through (n,) times and y; interrupted where y is NaN."""

    time: Floats
    y: Floats
    stroke: Stroke


@dataclass(frozen=True, eq=False)
class Area:
    """The area between two lines over (n,) times; interrupted where one of them is NaN."""

    time: Floats
    upper: Floats
    lower: Floats
    fill: str


@dataclass(frozen=True, eq=False)
class Dots:
    """Dots of a diameter at (n,) times and y; none where y is NaN."""

    time: Floats
    y: Floats
    colour: str
    diameter: float


@dataclass(frozen=True)
class Box:
    """A rectangle from one time to another, filled and patterned."""

    start: float
    end: float
    top: float
    bottom: float
    fill: str
    pattern: Pattern = ""
    edge: str = ""


@dataclass(frozen=True)
class Rule:
    """A vertical line at a time."""

    time: float
    top: float
    bottom: float
    stroke: Stroke


@dataclass(frozen=True)
class Symbol:
    """A small sign at a time; a peak's points down to (time, y)."""

    time: float
    y: float
    shape: Shape
    colour: str


@dataclass(frozen=True)
class Label:
    """Text centred on a time.

    Attributes:
        time, y: middle of its base line.
        text: of it.
        width: of the text, px.
        row: in its group; -1 where it has no room at full length of the axis, and is not drawn.
        room_s: it is drawn only where this stretch of time is as wide as the text; 0 where that does not matter.
    """

    time: float
    y: float
    text: str
    width: float
    row: int = 0
    room_s: float = 0.0


@dataclass(frozen=True)
class LabelGroup:
    """Labels that must not overlap each other.

    Attributes:
        labels: in time order.
        rows: rows in which they may stand.
        row_height: px by which each row is higher than the last.
        colour, size: of the text; size in px.
    """

    labels: tuple[Label, ...]
    rows: int
    row_height: float
    colour: str
    size: float


@dataclass(frozen=True)
class Text:
    """Text that stays where it is; turned texts run upwards, and outlined ones are readable on lines."""

    x: float
    y: float
    text: str
    colour: str
    size: float
    anchor: Anchor = "start"
    turned: bool = False
    outlined: bool = False


@dataclass(frozen=True)
class FixedLine:
    """A line that stays where it is."""

    x1: float
    y1: float
    x2: float
    y2: float
    stroke: Stroke


@dataclass(frozen=True)
class FixedBox:
    """A rectangle that stays where it is, for legends."""

    x: float
    y: float
    width: float
    height: float
    fill: str
    pattern: Pattern = ""
    edge: str = ""


@dataclass(frozen=True)
class FixedSymbol:
    """A small sign that stays where it is, for legends."""

    x: float
    y: float
    shape: Shape
    colour: str


@dataclass(frozen=True)
class FixedDot:
    """A dot that stays where it is, for legends."""

    x: float
    y: float
    diameter: float
    colour: str


Timed = Line | Area | Dots | Box | Rule | Symbol
Fixed = Text | FixedLine | FixedBox | FixedSymbol | FixedDot


@dataclass(frozen=True)
class Chart:
    """A drawn series.

    Attributes:
        name: start of its ids: letters a-z, digits and hyphens.
        title, caption, alternative: plain text; the last for readers who cannot see it.
        width, height: px.
        left, right: between which time is drawn, px.
        length_s: of the axis, s of drawn time.
        top, bottom: of the marks of time, px.
        timed: in the order of drawing.
        labels: of marks of time.
        ticks: labels of the axis, which are drawn anew when it is zoomed; those of dates stand a row lower.
        fixed: the rest.
    """

    name: str
    title: str
    caption: str
    alternative: str
    width: float
    height: float
    left: float
    right: float
    length_s: float
    top: float
    bottom: float
    timed: tuple[Timed, ...]
    labels: tuple[LabelGroup, ...]
    ticks: LabelGroup
    fixed: tuple[Fixed, ...]

    def x(self, time: float) -> float:
        """Where a time is drawn at full length of the axis, px."""
        return self.left + (self.right - self.left) * time / self.length_s
