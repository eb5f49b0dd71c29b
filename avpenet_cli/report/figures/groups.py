"""Bias by group (forest plot) and by batch (drift)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from avpenet_cli.report.figures.style import (
    BLUE,
    BOTTOM_IN,
    FULL_IN,
    GREY,
    INK,
    LEFT_IN,
    PALE_BLUE,
    PALE_GREY,
    SMALL_PT,
    Figure,
    FloatArray,
    drawn,
    finish,
    name_y,
    note,
    numbers,
    padded,
    panel,
    sheet,
)
from avpenet_cli.report.figures.wording import (
    count,
    counted,
    in_sentence,
    interval,
    joined,
    number,
    percent,
    shorten,
    signed,
    text_width_in,
)

MOST_ROWS = 60
_ROW_IN = 0.235


@drawn
def strata(rows: Sequence[tuple[str, str, float, float, float, float, float]], *, name: str = "strata") -> Figure:
    """Forest plot: bias of each level of each column with its interval, MAE and n.

    Args:
        rows: (column, level, bias, lower and upper end of its 95 % CI, MAE, n of subjects), errors in points, in the
            order to draw; a NaN bias is written "too few". The first 60 are drawn; the caption says so.
        name: start of the figure's ids.
    """
    drawn_rows = list(rows[:MOST_ROWS])
    lines: list[tuple[str, str, FloatArray | None]] = []
    for place, (column, level, *values) in enumerate(drawn_rows):
        if place == 0 or column != drawn_rows[place - 1][0]:
            lines.append((column, "", None))
        lines.append(("", level, numbers(values)))
    drawn_values = [values for _, _, values in lines if values is not None]
    canvas = sheet(FULL_IN, max(len(lines), 3) * _ROW_IN + 0.98)
    axes = panel(canvas, left=1.85, right=2.86, bottom=BOTTOM_IN, top=0.34)
    axes.axvline(0.0, color=GREY, linewidth=0.9, zorder=1)
    axes.set(
        xlim=padded(np.concatenate([[0.0], *(values[:3] for values in drawn_values)]), least=0.15),
        ylim=(max(len(lines), 3) - 0.4, -0.6),
    )
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("bias (points)")
    _column_heads(axes)
    for place, line in enumerate(lines):
        _forest_line(axes, place, *line)
    if not drawn_rows:
        note(axes, "no groups")
    hidden = len(rows) - len(drawn_rows)
    return finish(
        canvas,
        name,
        title="Bias by group",
        caption=(
            "Square: mean of score minus rating in one group, with its 95 % confidence interval. An interval right of"
            " zero: scores are higher than the ratings in this group; left of zero: lower. MAE: mean absolute error;"
            " n: subjects." + (f" The first {len(drawn_rows)} of {len(rows)} groups are drawn." if hidden else "")
        ),
        alternative=joined(
            [
                f"{in_sentence(column)} {in_sentence(level)}: bias {signed(bias)} (95 % CI {interval(low, high)}), mean"
                f" absolute error {number(mae)}, {counted(n, 'subject')}"
                if math.isfinite(bias)
                else f"{in_sentence(column)} {in_sentence(level)}: too few ({counted(n, 'subject')})"
                for column, level, bias, low, high, mae, n in rows
            ],
            MOST_ROWS,
        )
        or "Empty plot: there are no groups.",
    )


_COLUMNS_IN = {"bias": 0.14, "mae": 2.24, "n": 2.76}


def _beside(axes: Axes, place: float, offset_in: float, text: str, *, ha: str = "left", bold: bool = False) -> None:
    """Text in the right margin, `offset_in` from the axes, at the height of row `place`."""
    axes.annotate(
        text,
        xy=(1.0, place),
        xycoords=("axes fraction", "data"),
        xytext=(offset_in * 72, 0),
        textcoords="offset points",
        ha=ha,
        va="center",
        fontsize=SMALL_PT,
        fontweight="bold" if bold else "normal",
        annotation_clip=False,
    )


def _column_heads(axes: Axes) -> None:
    top = -1.1
    _beside(axes, top, _COLUMNS_IN["bias"], "bias (95 % CI)", bold=True)
    _beside(axes, top, _COLUMNS_IN["mae"], "MAE", ha="right", bold=True)
    _beside(axes, top, _COLUMNS_IN["n"], "n", ha="right", bold=True)


def _forest_line(axes: Axes, place: int, column: str, level: str, values: FloatArray | None) -> None:
    indent_in = 1.75 if values is None else 1.6
    axes.annotate(
        shorten(column if values is None else level, indent_in - 0.1, SMALL_PT),
        xy=(0.0, place),
        xycoords=("axes fraction", "data"),
        xytext=(-indent_in * 72, 0),
        textcoords="offset points",
        ha="left",
        va="center",
        fontsize=SMALL_PT,
        fontweight="bold" if values is None else "normal",
        annotation_clip=False,
    )
    if values is None:
        axes.axhspan(place - 0.5, place + 0.5, facecolor=PALE_GREY, linewidth=0, zorder=0)
        return
    bias, low, high, mae, n = values.tolist()
    if math.isfinite(bias):
        axes.hlines(place, low, high, color=INK, linewidth=1.6)
        axes.plot([bias], [place], "s", color=BLUE, markersize=6)
    _beside(
        axes,
        place,
        _COLUMNS_IN["bias"],
        f"{signed(bias)} ({interval(low, high)})" if math.isfinite(bias) else "too few",
    )
    _beside(axes, place, _COLUMNS_IN["mae"], number(mae) if math.isfinite(mae) else "-", ha="right")
    _beside(axes, place, _COLUMNS_IN["n"], count(n), ha="right")


@drawn
def drift(rows: Sequence[tuple[str, float, float, float, float, float]], *, name: str = "drift") -> Figure:
    """Bias and coverage by batch.

    Args:
        rows: (batch, bias in points, lower and upper end of its 95 % CI, coverage as a share [0, 1], n of pairs), in
            order of time; NaN where not computed.
        name: start of the figure's ids.
    """
    batches = [in_sentence(batch) for batch, *_ in rows]
    bias, low, high, coverage, n = numbers([row[1:] for row in rows]).reshape(-1, 5).T
    place = np.arange(len(rows), dtype=np.float64)
    canvas = sheet(FULL_IN, 4.3)
    upper = panel(canvas, left=LEFT_IN, right=0.2, bottom=2.0, top=0.14)
    lower = panel(canvas, left=LEFT_IN, right=0.2, bottom=0.92, top=2.55)
    upper.axhline(0.0, color=GREY, linewidth=0.9)
    known = np.isfinite(low) & np.isfinite(high)
    upper.vlines(place[known], low[known], high[known], color=INK, linewidth=1.5)
    upper.plot(place, bias, "-s", color=BLUE, markersize=5, linewidth=1.0)
    upper.set_ylim(padded(np.concatenate([bias, low, high, [0.0]]), least=0.2))
    name_y(upper, "bias (points)")
    lower.bar(place, 100 * coverage, width=0.72, facecolor=PALE_BLUE, edgecolor=INK, linewidth=0.8)
    lower.set_ylim(0, 104)
    lower.set_yticks([0, 50, 100])
    name_y(lower, "scored (%)")
    for axes in (upper, lower):
        axes.set_xlim(-0.7, max(len(rows) - 0.3, 0.7))
        axes.grid(axis="x", visible=False)
    upper.set_xticks([])
    _batch_ticks(lower, batches)
    if not np.isfinite(bias).any():
        note(upper, "no bias could be computed" if rows else "no batches")
    first_and_last = ""
    if len(rows) > 1 and math.isfinite(bias[0]) and math.isfinite(bias[-1]):
        first_and_last = (
            f" Bias was {signed(bias[0])} in {batches[0]} and {signed(bias[-1])} in {batches[-1]}, coverage"
            f" {percent(coverage[0])} and {percent(coverage[-1])}."
        )
    return finish(
        canvas,
        name,
        title="Drift: bias and coverage by batch",
        caption=(
            "Above: mean of score minus rating in each batch, with its 95 % confidence interval. A steady rise or fall"
            " may mean other devices, patients or raters. Below: share of the recorded time with a score."
            + first_and_last
        ),
        alternative=joined(
            [
                f"{batch}: bias {signed(mean)} (95 % CI {interval(ci_low, ci_high)}), {percent(share)} of the seconds"
                f" scored, {counted(pairs, 'pair')}"
                for batch, mean, ci_low, ci_high, share, pairs in zip(
                    batches, bias, low, high, coverage, n, strict=True
                )
            ],
            MOST_ROWS,
        )
        or "Empty plot: there are no batches.",
    )


def _batch_ticks(axes: Axes, batches: Sequence[str]) -> None:
    """Label the batches: horizontally where all labels fit, otherwise rotated and every nth."""
    width_in = 6.2 / max(len(batches), 1)
    widest = max((text_width_in(batch, SMALL_PT) for batch in batches), default=0.0)
    if widest + 0.08 <= width_in:
        axes.set_xticks(np.arange(len(batches)), batches)
        axes.set_xlabel("batch")
        return
    every = max(1, math.ceil(0.2 / width_in))
    places = list(range(0, len(batches), every))
    names = [shorten(batches[place], 1.02, SMALL_PT) for place in places]
    axes.set_xticks(places, names, rotation=45, ha="right", rotation_mode="anchor")
