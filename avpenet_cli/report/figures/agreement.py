"""Model against reference: Bland-Altman plots and the scatter plot with the line of identity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from avpenet_cli.report.figures.pair_cloud import MOST_POINTS, draw_cloud, name_in_margin
from avpenet_cli.report.figures.style import (
    BLUE,
    BOTTOM_IN,
    DASH_DOT,
    DASHED,
    DOTTED,
    FULL_IN,
    GREY,
    HALF_IN,
    INK,
    LEFT_IN,
    ORANGE,
    PALE_BLUE,
    PALE_ORANGE,
    SOLID,
    Figure,
    FloatArray,
    Interval,
    drawn,
    finish,
    finite_pairs,
    legend_above,
    legend_columns,
    name_y,
    note,
    padded,
    panel,
    scale_limits,
    sheet,
    with_outline,
)
from avpenet_cli.report.figures.wording import counted, interval, left_out, number, percent, side_names, signed

# Bland and Altman 1999, section 3.2: the mean absolute residual of a normal error is sqrt(2/pi) times its SD.
RESIDUAL_TO_LIMIT = 1.96 * math.sqrt(math.pi / 2)


@dataclass(frozen=True)
class AgreementLines:
    """Lines of a Bland-Altman plot, points; NaN where not computed.

    Attributes:
        bias: mean of d = model - reference.
        bias_ci: 95 % confidence interval of the bias.
        lower: lower limit of agreement.
        upper: upper limit of agreement.
        lower_ci: 95 % confidence interval of the lower limit.
        upper_ci: 95 % confidence interval of the upper limit.
        trend: (intercept, slope) of d on x as plotted; None without one.
        trend_limits: (b0, b1, c0, c1) on x as plotted: d = b0 + b1 x, absolute residual = c0 + c1 x; the limits are
            b0 + b1 x +- 1.96 sqrt(pi/2) (c0 + c1 x), drawn where c0 + c1 x >= 0; None without them.
    """

    bias: float
    bias_ci: Interval
    lower: float
    upper: float
    lower_ci: Interval
    upper_ci: Interval
    trend: tuple[float, float] | None = None
    trend_limits: tuple[float, float, float, float] | None = None


@drawn
def bland_altman(
    model: npt.ArrayLike,
    reference: npt.ArrayLike,
    *,
    against: Literal["mean", "reference"],
    limits: AgreementLines,
    delta: float | None = None,
    sides: tuple[str, str] = ("score", "rating"),
    name: str | None = None,
) -> Figure:
    """Differences against the measured value (Bland and Altman 1986, 1999).

    Args:
        model: (pairs,) points of the 0-10 scale; pairs with a NaN are omitted and counted in the caption.
        reference: (pairs,) points.
        against: the x axis: the mean of both, or the reference.
        limits: bias and limits of agreement with their intervals.
        delta: acceptance limit, points, above 0; None or NaN without one.
        sides: names of `model` and `reference` in axis labels and caption.
        name: start of the figure's ids; `bland-altman-mean` or `bland-altman-reference` when None.

    Raises:
        ValueError: arrays of different lengths.
    """
    sides = side_names(sides)
    model, reference, missing = finite_pairs(model, reference)
    x, d = (reference if against == "reference" else (model + reference) / 2), model - reference
    delta = delta if delta is not None and math.isfinite(delta) else None
    curves = _fitted_curves(x, limits)
    low, high, complete = _difference_range(d, limits, delta, [curve.y for curve in curves])
    legend = _legend(limits, curves)
    legend_height = legend_columns([label for _, label in legend], FULL_IN - LEFT_IN - 1.34)[1] if legend else 0.0
    dense = d.size > MOST_POINTS
    top = 0.12 + legend_height + (0.22 if dense else 0.0)
    canvas = sheet(FULL_IN, 3.85 + top)
    axes = panel(canvas, left=LEFT_IN, right=1.34, bottom=BOTTOM_IN, top=top)
    axes.set(xlim=scale_limits(x), ylim=(low, high))
    measured = sides[1] if against == "reference" else f"mean of {sides[0]} and {sides[1]}"
    axes.set_xlabel(f"{measured} (points, 0-10 scale)")
    name_y(axes, f"{sides[0]} minus {sides[1]} (points)")
    draw_cloud(canvas, axes, x, d, top_in=top - 0.02)
    _horizontal_lines(axes, limits, delta)
    for curve in curves:
        axes.plot(curve.x, curve.y, color=curve.color, ls=curve.dashes, lw=1.8, zorder=4.5, path_effects=with_outline())
    legend_above(axes, [handle for handle, _ in legend], [label for _, label in legend])
    _bland_altman_note(axes, d.size, limits)
    return finish(
        canvas,
        name or f"bland-altman-{against}",
        title=f"Differences against the {'mean of the two' if against == 'mean' else sides[1]} (Bland-Altman)",
        caption=(
            _bland_altman_caption(d, limits, delta, curves, sides=sides, dense=dense)
            if against == "mean"
            else f"The same differences and lines as above, with the {sides[1]} on the horizontal axis."
        )
        + ("" if complete else " The shaded intervals extend beyond the figure.")
        + left_out(missing),
        alternative=_bland_altman_alternative(x, d, limits, against=sides[1] if against == "reference" else "mean"),
    )


@dataclass(frozen=True)
class _Curve:
    x: FloatArray
    y: FloatArray
    color: str
    dashes: tuple[int, tuple[float, ...]]
    label: str


def _fitted_curves(measured: FloatArray, limits: AgreementLines) -> list[_Curve]:
    trend, loa = limits.trend, limits.trend_limits
    if not measured.size:
        return []
    x = np.linspace(measured.min(), measured.max(), 41)
    curves = []
    if trend is not None and np.isfinite(trend).all():
        curves.append(_Curve(x, trend[0] + trend[1] * x, BLUE, DOTTED, "trend of the differences"))
    if loa is not None and np.isfinite(loa).all():
        spread = loa[2] + loa[3] * x
        half = RESIDUAL_TO_LIMIT * np.where(spread >= 0, spread, np.nan)
        for side in (-1, 1):
            curves.append(_Curve(x, loa[0] + loa[1] * x + side * half, ORANGE, DOTTED, "limits that follow the trend"))
    return curves


def _difference_range(
    d: FloatArray, limits: AgreementLines, delta: float | None, curves: Sequence[FloatArray]
) -> tuple[float, float, bool]:
    """Limits of y that include every difference, line and curve, and the shaded intervals unless far wider."""
    core = np.concatenate([d, [0.0, limits.bias, limits.lower, limits.upper], [delta or 0.0, -(delta or 0.0)], *curves])
    shading = np.array([*limits.bias_ci, *limits.lower_ci, *limits.upper_ci])
    low, high = padded(core)
    all_low, all_high = padded(np.concatenate([core, shading]))
    if all_high - all_low <= 3 * (high - low):
        return all_low, all_high, True
    return low, high, False


def _legend(limits: AgreementLines, curves: Sequence[_Curve]) -> list[tuple[object, str]]:
    entries: dict[str, object] = {}
    if np.isfinite([*limits.bias_ci, *limits.lower_ci, *limits.upper_ci]).any():
        entries["95 % confidence"] = (Patch(facecolor=PALE_ORANGE), Patch(facecolor=PALE_BLUE, alpha=0.6))
    for curve in curves:
        entries[curve.label] = Line2D([], [], color=curve.color, linestyle=curve.dashes, linewidth=1.7)
    return [(handle, label) for label, handle in entries.items()]


def _horizontal_lines(axes: Axes, limits: AgreementLines, delta: float | None) -> None:
    """Draw zero, bias, limits and acceptance limit with their shading; label them in the right margin."""
    axes.axhline(0.0, color=GREY, linewidth=0.9, zorder=2)
    bands = [(limits.bias_ci, PALE_BLUE), (limits.lower_ci, PALE_ORANGE), (limits.upper_ci, PALE_ORANGE)]
    for (band_low, band_high), color in bands:
        if math.isfinite(band_low) and math.isfinite(band_high):
            axes.axhspan(band_low, band_high, facecolor=color, alpha=0.75, linewidth=0, zorder=1)
    lines = [
        (limits.upper, ORANGE, DASHED, "upper limit"),
        (limits.bias, BLUE, SOLID, "mean difference"),
        (limits.lower, ORANGE, DASHED, "lower limit"),
    ]
    if delta is not None:
        lines += [(delta, INK, DASH_DOT, "accepted"), (-delta, INK, DASH_DOT, "accepted")]
    named = []
    for value, color, dashes, label in lines:
        if math.isfinite(value):
            axes.axhline(value, color=color, linestyle=dashes, linewidth=1.6, zorder=5, path_effects=with_outline())
            named.append((value, f"{label}{' ' if label == 'accepted' else chr(10)}{signed(value)}", color))
    name_in_margin(axes, named)


def _bland_altman_note(axes: Axes, pairs: int, limits: AgreementLines) -> None:
    if not pairs:
        note(axes, "no pairs")
    elif not (math.isfinite(limits.lower) and math.isfinite(limits.upper)):
        note(axes, "too few pairs to draw limits" if math.isfinite(limits.bias) else "no limits could be computed")


def _bland_altman_caption(
    d: FloatArray,
    limits: AgreementLines,
    delta: float | None,
    curves: Sequence[_Curve],
    *,
    sides: tuple[str, str],
    dense: bool,
) -> str:
    mark = "Each hexagon counts pairs (the darker, the more); their" if dense else "Each dot is a pair; its"
    text = f"{mark} height is {sides[0]} minus {sides[1]}, so above zero the {sides[0]} is higher."
    if math.isfinite(limits.bias):
        text += f" Solid line: mean difference {signed(limits.bias)} points (95 % CI {interval(*limits.bias_ci)})."
    if math.isfinite(limits.lower) and math.isfinite(limits.upper):
        text += (
            f" Dashed lines: limits of agreement, {interval(limits.lower, limits.upper)}; about 95 % of the"
            f" differences lie between them (95 % CI of the lower {interval(*limits.lower_ci)}, of the upper"
            f" {interval(*limits.upper_ci)}). Shading: 95 % CI of each line."
        )
    elif d.size:
        text += " There are too few pairs to draw limits of agreement."
    if delta is not None:
        text += f" Dash-dotted lines: accepted difference, ±{number(delta)} points."
    if curves:
        text += " Dotted lines: mean difference and limits that may change along the scale."
    return text


def _bland_altman_alternative(x: FloatArray, d: FloatArray, limits: AgreementLines, *, against: str) -> str:
    if not d.size:
        return "Empty Bland-Altman plot: there are no pairs."
    text = (
        f"Bland-Altman plot of {counted(d.size, 'pair')} against the {against}, which runs from {number(x.min())} to"
        f" {number(x.max())}. Differences run from {signed(d.min())} to {signed(d.max())} points; their mean is"
        f" {signed(limits.bias)}, limits of agreement {interval(limits.lower, limits.upper)}."
    )
    if math.isfinite(limits.lower) and math.isfinite(limits.upper):
        outside = int(((d < limits.lower) | (d > limits.upper)).sum())
        text += f" {counted(outside, 'pair')} ({percent(outside / d.size, 1)}) outside the limits."
    return text


@drawn
def scatter(
    model: npt.ArrayLike,
    reference: npt.ArrayLike,
    *,
    sides: tuple[str, str] = ("score", "rating"),
    name: str = "scatter",
) -> Figure:
    """Model against reference with the line of identity, both axes equal and at least 0-10.

    Args:
        model: (pairs,) points of the 0-10 scale, on y; pairs with a NaN are omitted and counted in the caption.
        reference: (pairs,) points, on x.
        sides: names of `model` and `reference`.
        name: start of the figure's ids.

    Raises:
        ValueError: arrays of different lengths.
    """
    sides = side_names(sides)
    model, reference, missing = finite_pairs(model, reference)
    dense = model.size > MOST_POINTS
    top = 0.36 if dense else 0.14
    canvas = sheet(HALF_IN, HALF_IN - 0.4 + top)
    axes = panel(canvas, left=0.7, right=0.24, bottom=BOTTOM_IN, top=top)
    span = scale_limits(np.concatenate([model, reference]))
    axes.set(xlim=span, ylim=span, aspect="equal")
    axes.set_xlabel(f"{sides[1]} (points, 0-10)")
    name_y(axes, f"{sides[0]} (points, 0-10)")
    draw_cloud(canvas, axes, reference, model, top_in=top)
    axes.plot(span, span, color=ORANGE, linestyle=DASHED, linewidth=1.5, zorder=4, path_effects=with_outline())
    if not model.size:
        note(axes, "no pairs")
    higher = float((model > reference).mean()) if model.size else math.nan
    near = float((np.abs(model - reference) <= 1).mean()) if model.size else math.nan
    mark = "Each hexagon counts pairs (the darker, the more)" if dense else "Each dot is a pair"
    numbers = f"{percent(near)} of {counted(model.size, 'pair')} lie within 1 point of it, {percent(higher)} above it."
    return finish(
        canvas,
        name,
        title=f"{sides[0].capitalize()} against {sides[1]}",
        caption=f"{mark}. On the dashed line the two are equal; above it the {sides[0]} is higher."
        + (f" {numbers}" if model.size else " There are no pairs.")
        + left_out(missing),
        alternative=(
            f"Scatter of {counted(model.size, 'pair')}. {sides[1].capitalize()} from {number(reference.min())} to"
            f" {number(reference.max())}, {sides[0]} from {number(model.min())} to {number(model.max())} points."
            f" {percent(near)} within 1 point of the line of identity, {percent(higher)} above it."
            if model.size
            else "Empty scatter: there are no pairs."
        ),
    )
