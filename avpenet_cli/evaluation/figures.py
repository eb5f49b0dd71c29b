"""Figure of an evaluation: the error under every condition, on one scale, with the clean error for comparison."""

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
from avpenet_cli.evaluation.results import ConditionResult
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
"""Label of the clean condition and of the axis, for each family."""


@drawn
def draw_conditions(results: Sequence[ConditionResult], headline: str, warnings: Sequence[str]) -> bytes:
    """MAE with its 95 % interval over noise, over occlusions and over modalities, as PNG.

    Args:
        results: the clean condition first.
        headline: one line of plain text above the panels.
        warnings: printed above that; must be read before any number.
    """
    families = [name for name in _AXES if any(_family(result) == name for result in results)] or [CLEAN.family]
    members = {name: [results[0], *(result for result in results[1:] if _family(result) == name)] for name in families}
    lines = [line for text in warnings for line in textwrap.wrap(text, 80)]
    top_in = 0.7 + _LINE_IN * (len(lines) + 1)
    figure = sheet(FULL_IN, _PANEL_IN + _BOTTOM_IN + top_in)
    _write_top(figure, headline, lines)
    maes = [result.metrics.mae for result in results]
    highest = max(value for mae in maes for value in (mae.value, mae.ci[1], 0.0) if math.isfinite(value))
    left = LEFT_IN
    available = FULL_IN - LEFT_IN - 0.1 - _BETWEEN_IN * (len(families) - 1)
    needed = {name: sum(_tick_in(text) for text in _ticks(name, group)) for name, group in members.items()}
    width_of = {name: available * width / sum(needed.values()) for name, width in needed.items()}
    for number, (name, group) in enumerate(members.items()):
        axes = panel(figure, left=left, right=FULL_IN - left - width_of[name], bottom=_BOTTOM_IN, top=top_in)
        axes.set_ylim(0.0, max(1.08 * highest, 0.5))
        _draw_family(axes, name, group)
        if number == 0:
            name_y(axes, "mean absolute error (points, 0-10 scale)")
            handles = [axes.lines[0], axes.lines[1]]
            any_interval = any(math.isfinite(mae.ci[0]) for mae in maes)
            label = "MAE, 95 % interval" if any_interval else "MAE; intervals not computable"
            legend_above(axes, handles, [f"clean, {_mae_text(results[0])}", label])
        else:
            axes.tick_params(labelleft=False, left=False)
        left += width_of[name] + _BETWEEN_IN
    png = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(png, format="png", dpi=_DPI)
    return png.getvalue()


def _family(result: ConditionResult) -> str:
    return result.condition.family


def _write_top(figure: Sheet, headline: str, warnings: Sequence[str]) -> None:
    height_in = float(figure.get_size_inches()[1])
    for line, text in enumerate([*warnings, headline]):
        last = line == len(warnings)
        figure.text(
            0.2 / FULL_IN,
            1 - (0.1 + _LINE_IN * line) / height_in,
            text,
            va="top",
            fontsize=SMALL_PT,
            fontweight="normal" if last else "bold",
            color=INK if last else ORANGE,
        )


def _draw_family(axes: Axes, name: str, results: Sequence[ConditionResult]) -> None:
    """One panel; its first two lines are the clean MAE and the curve."""
    x = np.arange(len(results), dtype=np.float64)
    mae = np.array([result.metrics.mae.value for result in results])
    intervals = np.array([result.metrics.mae.ci for result in results])
    axes.axhline(mae[0], color=ORANGE, linestyle=DASHED, linewidth=1.4)
    # Noise levels are ordered; the others are connected only to show that they belong together.
    ordered = name == "noise"
    style = SOLID if ordered else DOTTED
    axes.plot(x, mae, "o", linestyle=style, color=BLUE, linewidth=1.4 if ordered else 1.0, zorder=3)
    known = np.isfinite(intervals).all(axis=1)
    axes.vlines(x[known], intervals[known, 0], intervals[known, 1], color=INK, linewidth=1.6, zorder=2.5)
    white = {"facecolor": "white", "edgecolor": "none", "pad": 2.0}
    text_style: dict[str, Any] = {
        "rotation": 90,
        "ha": "center",
        "va": "center",
        "fontsize": SMALL_PT,
        "color": GREY,
    }
    for position in x[~np.isfinite(mae)]:
        axes.text(position, sum(axes.get_ylim()) / 2, "not computable", bbox=white, zorder=4, **text_style)
    axes.set_xticks(x, _ticks(name, results))
    axes.set_xlim(-0.5, len(results) - 0.5)
    axes.grid(axis="x", visible=False)
    axes.set_xlabel(_AXES[name][1] if name in _AXES else "")


def _ticks(family: str, results: Sequence[ConditionResult]) -> list[str]:
    """Labels under the conditions of a panel, on one line or two."""
    first = _AXES[family][0] if family in _AXES else CLEAN.name
    return [first, *(result.condition.level.removesuffix(" dB").replace(" ", "\n", 1) for result in results[1:])]


def _tick_in(text: str) -> float:
    """Width that a tick label needs, inches."""
    return 0.14 + max(text_width_in(line, SMALL_PT) for line in text.split("\n"))


def _mae_text(result: ConditionResult) -> str:
    mae = result.metrics.mae
    low, high = mae.ci
    interval = f" [{low:.2f}, {high:.2f}]" if math.isfinite(low) and math.isfinite(high) else ""
    return f"MAE {mae.value:.2f}{interval}" if math.isfinite(mae.value) else "not computable"
