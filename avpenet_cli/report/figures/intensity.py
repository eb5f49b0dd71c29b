"""The error along the scale, and calibration."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from avpenet_cli.report.figures.style import (
    BLUE,
    BOTTOM_IN,
    DASHED,
    FULL_IN,
    GREY,
    HALF_IN,
    INK,
    LEFT_IN,
    ORANGE,
    SMALL_PT,
    Figure,
    drawn,
    finish,
    legend_above,
    name_y,
    note,
    numbers,
    padded,
    panel,
    scale_limits,
    sheet,
)
from avpenet_cli.report.figures.wording import count, counted, in_sentence, number, shorten, signed


@drawn
def error_by_intensity(
    bins: Sequence[tuple[str, float, float, float, float, float]], *, name: str = "error-by-intensity"
) -> Figure:
    """Mean absolute error and bias in steps of the reference.

    Args:
        bins: (label, MAE, lower and upper end of its 95 % CI, bias, n of pairs), errors in points, in the order to
            draw; NaN where not computed.
        name: start of the figure's ids.
    """
    names = [in_sentence(label) for label, *_ in bins]
    table = numbers([row[1:] for row in bins]).reshape(-1, 5)
    mae, low, high, bias, n = table.T
    place = np.arange(len(names), dtype=np.float64)
    canvas = sheet(FULL_IN, 3.7)
    axes = panel(canvas, left=LEFT_IN, right=0.2, bottom=0.76, top=0.38)
    axes.axhline(0.0, color=GREY, linewidth=0.9)
    known = np.isfinite(low) & np.isfinite(high)
    axes.vlines(place[known] - 0.08, low[known], high[known], color=INK, linewidth=1.6)
    error = axes.plot(place - 0.08, mae, "o", color=INK, markersize=6.5)[0]
    side = axes.plot(place + 0.08, bias, "D", markerfacecolor="white", color=BLUE, markersize=6, markeredgewidth=1.6)[0]
    span = padded(np.concatenate([table[:, :4].ravel(), [0.0]]))
    for x in place[~np.isfinite(mae)]:
        axes.text(x, span[0] + 0.5 * (span[1] - span[0]), "too few", ha="center", va="center", fontsize=SMALL_PT)
    axes.set(xlim=(-0.6, max(len(names) - 0.4, 0.6)), ylim=span)
    room_in = 6.2 / max(len(names), 1)
    axes.set_xticks(
        place,
        [
            f"{shorten(label, room_in, SMALL_PT)}\n{shorten(f'n = {count(pairs)}', room_in, SMALL_PT)}"
            for label, pairs in zip(names, n, strict=True)
        ],
    )
    axes.grid(axis="x", visible=False)
    axes.set_xlabel("rating (points, 0-10 scale)")
    name_y(axes, "points")
    legend_above(axes, [error, side], ["mean absolute error, 95 % CI", "mean difference (bias)"])
    if not bins:
        note(axes, "no pairs")
    return finish(
        canvas,
        name,
        title="Error by pain intensity",
        caption=(
            "Size of the error from low to high ratings. Dots: mean absolute error with its 95 % confidence interval."
            " Diamonds: mean of score minus rating." + _extremes(names, mae)
        ),
        alternative="; ".join(
            f"{label}: mean absolute error {number(row[0])} (95 % CI {number(row[1])} to {number(row[2])}), mean"
            f" difference {signed(row[3])}, {counted(row[4], 'pair')}"
            if math.isfinite(row[0])
            else f"{label}: too few pairs ({count(row[4])})"
            for label, row in zip(names, table.tolist(), strict=True)
        )
        or "Empty plot: there are no pairs.",
    )


def _extremes(names: Sequence[str], mae: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> str:
    if np.isfinite(mae).sum() < 2:
        return ""
    least, most = int(np.nanargmin(mae)), int(np.nanargmax(mae))
    return (
        f" The error is smallest at {names[least]} ({number(mae[least])} points) and largest at {names[most]}"
        f" ({number(mae[most])})."
    )


@drawn
def calibration(
    bins: Sequence[tuple[float, float, float, float, float]],
    *,
    intercept: float,
    slope: float,
    name: str = "calibration",
) -> Figure:
    """Mean reference in steps of the score, with the line of identity and the line fitted to the pairs.

    Args:
        bins: (mean score, mean reference, lower and upper end of its 95 % CI, n of pairs), points.
        intercept: of reference on score, points; NaN where not computed.
        slope: of reference on score; NaN where not computed.
        name: start of the figure's ids.
    """
    table = numbers(list(bins)).reshape(-1, 5)
    score, rated, low, high, _ = table.T
    canvas = sheet(HALF_IN, HALF_IN + 0.12)
    axes = panel(canvas, left=0.7, right=0.24, bottom=BOTTOM_IN, top=0.52)
    fitted = math.isfinite(intercept) and math.isfinite(slope)
    span = scale_limits(table[:, :4])
    ends = np.array([np.nanmin(score), np.nanmax(score)]) if np.isfinite(score).any() else np.array(span)
    same = axes.plot(span, span, color=GREY, linewidth=1.0)[0]
    known = np.isfinite(low) & np.isfinite(high) & np.isfinite(score)
    axes.vlines(score[known], low[known], high[known], color=INK, linewidth=1.6)
    dots = axes.plot(score, rated, "o", color=INK, markersize=6)[0]
    handles, labels = [dots, same], ["mean, 95 % CI", "identity"]
    if fitted:
        line = axes.plot(ends, intercept + slope * ends, color=ORANGE, linestyle=DASHED, linewidth=1.7)[0]
        handles.append(line)
        labels.append("fit")
    axes.set(xlim=span, ylim=span, aspect="equal")
    axes.set_xlabel("score (points, 0-10)")
    name_y(axes, "mean rating (points, 0-10)")
    legend_above(axes, handles, labels)
    if not np.isfinite(rated).any():
        note(axes, "no pairs")
    line_text = f"rating = {number(intercept)} {'-' if slope < 0 else '+'} {number(abs(slope))} x score"
    return finish(
        canvas,
        name,
        title="Calibration",
        caption=(
            "Mean rating of the segments with a certain score. On the thin line the two agree; a dot above it: scores"
            " are lower than the ratings there. Bars: 95 % confidence intervals."
            + (f" Dashed: {line_text}; perfect calibration: intercept 0, slope 1." if fitted else "")
        ),
        alternative="; ".join(
            f"score {number(row[0])}: mean rating {number(row[1])} (95 % CI {number(row[2])} to {number(row[3])}),"
            f" {counted(row[4], 'pair')}"
            for row in table.tolist()
        )
        + (f". Fitted: {line_text}." if fitted else "")
        if len(table)
        else "Empty plot: there are no pairs.",
    )
