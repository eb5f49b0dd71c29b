"""The style of every figure: palette, fonts, sheets measured in inches, and the finished `Figure`."""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import matplotlib
import matplotlib.figure
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.legend_handler import HandlerTuple
from matplotlib.patheffects import AbstractPathEffect, Normal, Stroke

from avpenet_cli.report.figures.inline import inline_svg
from avpenet_cli.report.figures.wording import PERCENT, text_width_in

FloatArray = npt.NDArray[np.float64]
Interval = tuple[float, float]
Sheet = matplotlib.figure.Figure
P = ParamSpec("P")
R = TypeVar("R")

PX_PER_IN = 100
FULL_IN = 7.2
HALF_IN = 3.5
TEXT_PT = 10.0
SMALL_PT = 9.2

LEFT_IN = 0.8
BOTTOM_IN = 0.54
DASHED = (0, (6, 2.5))
DASH_DOT = (0, (7, 2, 1.2, 2))
DOTTED = (0, (1.2, 1.6))
SOLID = (0, ())

# Lightness falls from ORANGE to BLUE to INK, so that they differ in greyscale; dashes and markers differ as well.
INK = "#20262d"
BLUE = "#0b5394"
ORANGE = "#c8620a"
GREY = "#5c636b"
PALE_BLUE = "#cfe0f0"
PALE_ORANGE = "#f8dfc6"
PALE_GREY = "#e9ebee"
GRID = "#dfe2e6"

_RC_PARAMS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "avpenet",
    "text.parse_math": False,
    "text.usetex": False,
    "axes.unicode_minus": True,
    "font.family": ["DejaVu Sans"],
    "font.size": TEXT_PT,
    "text.color": INK,
    "axes.labelsize": TEXT_PT,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-6, 7),
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": SMALL_PT,
    "ytick.labelsize": SMALL_PT,
    "legend.fontsize": SMALL_PT,
    "legend.frameon": False,
    "hatch.linewidth": 0.7,
    "axes.labelpad": 5.0,
    "path.simplify": True,
}


@dataclass(frozen=True)
class Figure:
    """A figure of the page.

    Attributes:
        name: start of its ids: letters a-z, digits and hyphens; unique on a page.
        title: heading for the page, plain text; not drawn.
        svg: an `<svg>` element for HTML, already escaped; scales with its column up to `width_px`.
        caption: plain text: content, how to read it, key numbers.
        alternative: plain text for readers who cannot see it; also the svg's `<desc>`.
        width_px: width it was drawn for, CSS pixels: 720 is the column's width, 350 half of it.
    """

    name: str
    title: str
    svg: str
    caption: str
    alternative: str
    width_px: int


def drawn(draw: Callable[P, R]) -> Callable[P, R]:
    """Decorate a drawing function to run with this module's style, independent of the user's matplotlibrc."""

    @functools.wraps(draw)
    def with_style(*args: P.args, **kwargs: P.kwargs) -> R:
        with matplotlib.rc_context(), warnings.catch_warnings():
            # Text stays text in the SVG and is drawn with the reader's fonts; only its measured width is approximate.
            warnings.filterwarnings("ignore", message=r"Glyph \d+ .*missing from", category=UserWarning)
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(_RC_PARAMS)
            return draw(*args, **kwargs)

    return with_style


def sheet(width_in: float, height_in: float) -> Sheet:
    """A transparent sheet of the given size, inches."""
    return Sheet(figsize=(width_in, height_in), dpi=PX_PER_IN, facecolor="none")


def panel(canvas: Sheet, *, left: float, right: float, bottom: float, top: float) -> Axes:
    """Axes with margins in inches, so that text of known width fits into them."""
    width, height = canvas.get_size_inches()
    box = (left / width, bottom / height, (width - left - right) / width, (height - bottom - top) / height)
    return canvas.add_axes(box)


def name_y(axes: Axes, text: str) -> None:
    """Label the y axis near the sheet's left edge, independent of the width of the tick labels."""
    axes.set_ylabel(text)
    box = axes.get_position()
    left_in = box.x0 * axes.get_figure(root=True).get_size_inches()[0]  # type: ignore[union-attr]
    axes.yaxis.set_label_coords((0.2 - left_in) / panel_size_in(axes)[0], 0.5)


def panel_size_in(axes: Axes) -> tuple[float, float]:
    """Width and height of the axes, inches."""
    size = axes.get_position().size * axes.get_figure(root=True).get_size_inches()  # type: ignore[union-attr]
    return float(size[0]), float(size[1])


def finish(canvas: Sheet, name: str, *, title: str, caption: str, alternative: str) -> Figure:
    """Turn a sheet into a `Figure`.

    Raises:
        ValueError: a name that could not start an id.
    """
    if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
        raise ValueError(f"{name!r} cannot start an id: letters a-z, digits and hyphens only")
    width_px = round(float(canvas.get_size_inches()[0]) * PX_PER_IN)
    caption, alternative = (re.sub(r"(?<=\d) %", PERCENT, text) for text in (caption, alternative))
    svg = inline_svg(canvas, name=name, title=title, alternative=alternative, width_px=width_px)
    return Figure(name, title, svg, caption, alternative, width_px)


def numbers(values: npt.ArrayLike) -> FloatArray:
    """Anything array-like as a flat float64 array; infinite values become NaN, because they cannot be drawn."""
    flat = np.asarray(values, dtype=np.float64).ravel()
    return np.where(np.isfinite(flat), flat, np.nan)


def finite_pairs(model: npt.ArrayLike, reference: npt.ArrayLike) -> tuple[FloatArray, FloatArray, int]:
    """The pairs in which both values are finite, and the number of pairs omitted.

    Raises:
        ValueError: arrays of different lengths.
    """
    first, second = numbers(model), numbers(reference)
    if first.size != second.size:
        raise ValueError(f"{first.size} values cannot be paired with {second.size}")
    both = np.isfinite(first) & np.isfinite(second)
    return first[both], second[both], int(both.size - both.sum())


def padded(values: npt.ArrayLike, share: float = 0.06, least: float = 0.5) -> Interval:
    """Axis limits for all finite values: their range plus `share` of it, but at least `least`, on both sides."""
    finite = numbers(values)
    finite = finite[np.isfinite(finite)]
    if not finite.size:
        return (-1.0, 1.0)
    low, high = float(finite.min()), float(finite.max())
    pad = max((high - low) * share, least)
    return low - pad, high + pad


def scale_limits(values: npt.ArrayLike) -> Interval:
    """Axis limits for scores: the 0-10 scale, or the range of the values where some lie outside it."""
    finite = numbers(values)
    finite = finite[np.isfinite(finite)]
    if not finite.size or (finite.min() >= 0 and finite.max() <= 10):
        return (-0.3, 10.3)
    return padded(finite)


def with_outline() -> list[AbstractPathEffect]:
    """A white outline for a line, so that it is visible on a dark background."""
    return [Stroke(linewidth=3.4, foreground="white", alpha=0.85), Normal()]


def note(axes: Axes, text: str) -> None:
    """Write inside the axes why something is missing."""
    axes.text(
        0.5,
        0.94,
        text,
        transform=axes.transAxes,
        ha="center",
        va="top",
        fontsize=SMALL_PT,
        zorder=9,
        bbox={"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": GREY, "linewidth": 0.7},
    )


def legend_columns(labels: Sequence[str], width_in: float) -> tuple[int, float]:
    """Number of legend columns that fit in `width_in` inches, and the height of the legend in inches."""
    widths = [text_width_in(label, SMALL_PT) + 0.54 for label in labels]
    columns = len(labels)
    while columns > 1 and sum(float(column.max()) for column in np.array_split(widths, columns)) > width_in:
        columns -= 1
    rows = -(-len(labels) // max(columns, 1))
    return columns, rows * 0.2 + 0.08


def legend_above(axes: Axes, handles: Sequence[object], labels: Sequence[str], *, offset_in: float = 0.04) -> None:
    """Draw a legend above the axes, aligned with their left edge, `offset_in` inches above them."""
    if not labels:
        return
    width_in, height_in = panel_size_in(axes)
    axes.legend(
        handles=list(handles),
        labels=list(labels),
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0 + offset_in / height_in),
        ncols=legend_columns(labels, width_in)[0],
        borderaxespad=0.0,
        borderpad=0.1,
        handlelength=2.2,
        handletextpad=0.5,
        columnspacing=1.3,
        labelspacing=0.3,
        handler_map={tuple: HandlerTuple(ndivide=None, pad=0)},
    )
