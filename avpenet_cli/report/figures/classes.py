"""Classes of the model against classes of the reference, or of two score tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.patches import Rectangle
from matplotlib.typing import ColorType

from avpenet_cli.report.figures.style import (
    BOTTOM_IN,
    GREY,
    HALF_IN,
    INK,
    SMALL_PT,
    TEXT_PT,
    Figure,
    FloatArray,
    drawn,
    finish,
    name_y,
    panel,
    sheet,
)
from avpenet_cli.report.figures.wording import count, counted, in_sentence, percent, shorten, text_width_in

_LEFT_IN = 1.34
_SHADES = LinearSegmentedColormap.from_list("shares", ["#ffffff", "#c3d9ec", "#5b93c4", "#0b3d66"])


@drawn
def confusion(
    matrix: npt.ArrayLike,
    labels: Sequence[str],
    *,
    axis_names: tuple[str, str] = ("rating", "score"),
    title: str = "Classes by score and by rating",
    name: str = "confusion",
) -> Figure:
    """Counts and row shares of a square table of classes.

    Args:
        matrix: (classes, classes) counts: row the class by `axis_names[0]`, column that by `axis_names[1]`.
        labels: (classes,) names of the classes, in the order of the rows and columns.
        axis_names: names of the sources of rows and columns.
        title: heading for the page.
        name: start of the figure's ids.

    Raises:
        ValueError: a matrix that is not (classes, classes).
    """
    labels = [in_sentence(label) for label in labels]
    counts = np.asarray(matrix, dtype=np.float64)
    size = len(labels)
    if counts.shape != (size, size):
        raise ValueError(f"a table of {size} classes cannot have the shape {counts.shape}")
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.full_like(counts, math.nan), where=totals > 0)
    canvas = sheet(HALF_IN, HALF_IN - 0.76)
    axes = panel(canvas, left=_LEFT_IN, right=0.08, bottom=BOTTOM_IN, top=0.08)
    room_in = (HALF_IN - _LEFT_IN - 0.08) / size
    for row in range(size):
        for column in range(size):
            _cell(axes, row, column, counts[row, column], shares[row, column], room_in=room_in)
    _label_classes(axes, labels, totals[:, 0], room_in)
    axes.set_xlabel(axis_names[1])
    name_y(axes, axis_names[0])
    rows, columns = map(_with_article, axis_names)
    every, same = float(counts.sum()), float(np.trace(counts))
    agreeing = f"{count(same)} of {counted(every, 'segment')} ({percent(same / every if every else math.nan)})"
    return finish(
        canvas,
        name,
        title=title,
        caption=(
            f"Rows: class by {rows}; columns: class by {columns}. Each cell: number of segments and"
            " share of the row. On the diagonal the two agree:"
            f" {agreeing}."
            if every
            else "There are no segments to compare."
        ),
        alternative=_alternative(labels, counts, shares, axis_names),
    )


def _with_article(name: str) -> str:
    return name if name.startswith("this ") else f"the {name}"


def _label_classes(axes: Axes, labels: Sequence[str], totals: FloatArray, room_in: float) -> None:
    """Name rows and columns; `totals` are the rows' numbers of segments."""
    size = len(labels)
    axes.set(xlim=(0, size), ylim=(size, 0))
    middles = np.arange(size) + 0.5
    axes.set_xticks(middles, [shorten(label, room_in, SMALL_PT) for label in labels])
    axes.set_yticks(
        middles,
        [
            f"{shorten(label, _LEFT_IN - 0.4, SMALL_PT)}\nn = {count(total)}"
            for label, total in zip(labels, totals, strict=True)
        ],
    )
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _alternative(labels: Sequence[str], counts: FloatArray, shares: FloatArray, axis_names: tuple[str, str]) -> str:
    return " ".join(
        f"{axis_names[0].capitalize()} {label} ({count(row.sum())}): "
        + ", ".join(
            f"{axis_names[1]} {other} {count(value)} ({percent(share) if math.isfinite(share) else 'no share'})"
            for other, value, share in zip(labels, row, row_shares, strict=True)
        )
        + "."
        for label, row, row_shares in zip(labels, counts, shares, strict=True)
    )


def _cell(axes: Axes, row: int, column: int, value: float, share: float, *, room_in: float) -> None:
    """Draw a cell, shaded by its share of the row, with text in the colour of higher contrast."""
    shade = _SHADES(share if math.isfinite(share) else 0.0)
    axes.add_patch(Rectangle((column, row), 1, 1, facecolor=shade, edgecolor=GREY, linewidth=0.9))
    color = max((INK, "white"), key=lambda candidate: _contrast(candidate, shade))
    text = count(value)
    size_pt = min(TEXT_PT + 1.5, (TEXT_PT + 1.5) * 0.86 * room_in / text_width_in(text, TEXT_PT + 1.5))
    middle: dict[str, Any] = {"ha": "center", "va": "center", "color": color}
    axes.text(
        column + 0.5, row + 0.4, text, fontsize=size_pt, fontweight="bold" if row == column else "normal", **middle
    )
    axes.text(column + 0.5, row + 0.65, percent(share) if math.isfinite(share) else "-", fontsize=SMALL_PT, **middle)


def _contrast(text: ColorType, ground: ColorType) -> float:
    """Contrast ratio of two colours, 1 to 21 (WCAG 2.1)."""
    darker, lighter = sorted(_luminance(color) + 0.05 for color in (text, ground))
    return lighter / darker


def _luminance(color: ColorType) -> float:
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def class_changes(matrix: npt.ArrayLike, labels: Sequence[str], *, name: str = "class-changes") -> Figure:
    """Classes in two score tables of the same segments: rows this table, columns the other.

    Args:
        matrix: (classes, classes) counts.
        labels: (classes,) names of the classes.
        name: start of the figure's ids.

    Raises:
        ValueError: a matrix that is not (classes, classes).
    """
    return confusion(
        matrix, labels, axis_names=("this table", "other table"), title="Classes in the two tables", name=name
    )
