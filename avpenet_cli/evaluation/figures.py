"""The picture of an evaluation: the error under every condition, on one scale, beside the clean one."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

from avpenet_cli.evaluation.conditions import CLEAN
from avpenet_cli.report.figures.style import (
    BLUE,
    DASHED,
    DOTTED,
    FULL_IN,
    GREY,
    INK,
    LEFT_IN,
    ORANGE,
    SMALL_PT,
    SOLID,
    Sheet,
    drawn,
    legend_above,
    name_y,
    panel,
    sheet,
)
from avpenet_cli.report.figures.wording import text_width_in

_DPI = 200
_LINE_IN = 0.19
_PANEL_IN = 2.6
_BETWEEN_IN = 0.14
_BOTTOM_IN = 0.78
_AXES = {
    "noise": ("clean", "white noise, SNR (dB)"),
    "occlusion": ("none", "face covered"),
    "modality": ("both", "modality"),
}
"""What the clean condition is called among the conditions of each family, and the family's axis."""


@drawn
def draw_conditions(rows: Sequence[dict[str, Any]], headline: str, warnings: Sequence[str]) -> bytes:
    """MAE with its 95 % interval over noise, over occlusions and over modalities, as PNG.

    Args:
        rows: from `evaluation.figures_of`, the clean condition first.
        headline: one line of plain text above the panels.
        warnings: what must be read before any number, above that.
    """
    families = [name for name in _AXES if any(row["family"] == name for row in rows)] or [CLEAN.family]
    of = {name: [rows[0], *(row for row in rows[1:] if row["family"] == name)] for name in families}
    lines = [line for text in warnings for line in textwrap.wrap(text, 80)]
    top_in = 0.7 + _LINE_IN * (len(lines) + 1)
    on = sheet(FULL_IN, _PANEL_IN + _BOTTOM_IN + top_in)
    _write_top(on, headline, lines)
    highest = max(value for row in rows for value in (row["mae"], row["mae_ci"][1], 0.0) if value is not None)
    left = LEFT_IN
    room = FULL_IN - LEFT_IN - 0.1 - _BETWEEN_IN * (len(families) - 1)
    needed = {name: sum(_tick_in(text) for text in _ticks(name, its)) for name, its in of.items()}
    width_of = {name: room * one / sum(needed.values()) for name, one in needed.items()}
    for place, (name, its) in enumerate(of.items()):
        axes = panel(on, left=left, right=FULL_IN - left - width_of[name], bottom=_BOTTOM_IN, top=top_in)
        axes.set_ylim(0.0, max(1.08 * highest, 0.5))
        _draw_family(axes, name, its)
        if place == 0:
            name_y(axes, "mean absolute error (points, 0-10 scale)")
            handles = [axes.lines[0], axes.lines[1]]
            some = any(row["mae_ci"][0] is not None for row in rows)
            words = "MAE, 95 % interval" if some else "MAE; intervals not computable"
            legend_above(axes, handles, [f"clean, {_in_words(rows[0])}", words])
        else:
            axes.tick_params(labelleft=False, left=False)
        left += width_of[name] + _BETWEEN_IN
    picture = io.BytesIO()
    FigureCanvasAgg(on).print_figure(picture, format="png", dpi=_DPI)
    return picture.getvalue()


def _write_top(on: Sheet, headline: str, warnings: Sequence[str]) -> None:
    height_in = float(on.get_size_inches()[1])
    for place, text in enumerate([*warnings, headline]):
        last = place == len(warnings)
        on.text(
            0.2 / FULL_IN,
            1 - (0.1 + _LINE_IN * place) / height_in,
            text,
            va="top",
            fontsize=SMALL_PT,
            fontweight="normal" if last else "bold",
            color=INK if last else ORANGE,
        )


def _draw_family(axes: Axes, name: str, rows: Sequence[dict[str, Any]]) -> None:
    """One panel; its first two lines are the clean MAE and the curve."""
    place = np.arange(len(rows), dtype=np.float64)
    mae = np.array([_number(row["mae"]) for row in rows])
    ends = np.array([[_number(end) for end in row["mae_ci"]] for row in rows])
    axes.axhline(mae[0], color=ORANGE, linestyle=DASHED, linewidth=1.4)
    # Noise has an order; the others are joined only to be read as one family.
    ordered = name == "noise"
    style = SOLID if ordered else DOTTED
    axes.plot(place, mae, "o", linestyle=style, color=BLUE, linewidth=1.4 if ordered else 1.0, zorder=3)
    known = np.isfinite(ends).all(axis=1)
    axes.vlines(place[known], ends[known, 0], ends[known, 1], color=INK, linewidth=1.6, zorder=2.5)
    white = {"facecolor": "white", "edgecolor": "none", "pad": 2.0}
    look: dict[str, Any] = {"rotation": 90, "ha": "center", "va": "center", "fontsize": SMALL_PT, "color": GREY}
    for at in place[~np.isfinite(mae)]:
        axes.text(at, sum(axes.get_ylim()) / 2, "not computable", bbox=white, zorder=4, **look)
    axes.set_xticks(place, _ticks(name, rows))
    axes.set_xlim(-0.5, len(rows) - 0.5)
    axes.grid(axis="x", visible=False)
    axes.set_xlabel(_AXES[name][1] if name in _AXES else "")


def _ticks(family: str, rows: Sequence[dict[str, Any]]) -> list[str]:
    """What stands under the conditions of a panel, on one line or two."""
    first = _AXES[family][0] if family in _AXES else CLEAN.name
    return [first, *(row["level"].removesuffix(" dB").replace(" ", "\n", 1) for row in rows[1:])]


def _tick_in(text: str) -> float:
    """Inches that a tick's words need."""
    return 0.14 + max(text_width_in(line, SMALL_PT) for line in text.split("\n"))


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _in_words(row: dict[str, Any]) -> str:
    low, high = row["mae_ci"]
    ends = "" if low is None or high is None else f" [{low:.2f}, {high:.2f}]"
    return "not computable" if row["mae"] is None else f"MAE {row['mae']:.2f}{ends}"
