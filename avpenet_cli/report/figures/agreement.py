"""Model against reference, pair by pair: Bland-Altman plots and the scatter with its line of identity."""

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

from avpenet_cli.report.figures.cloud import MOST_POINTS, draw_cloud, name_in_margin
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
    cased,
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
)
from avpenet_cli.report.figures.wording import counted, interval, left_out, number, percent, side_names, signed

# Bland and Altman 1999, section 3.2: an absolute residual of a normal error averages sqrt(2/pi) of its SD.
RESIDUAL_TO_LIMIT = 1.96 * math.sqrt(math.pi / 2)


@dataclass(frozen=True)
class AgreementLines:
    """What `bland_altman` draws, in points; each may be NaN where it could not be computed.

    Attributes:
        bias: mean of d = model - reference.
        bias_ci: its 95 % confidence interval.
        lower: lower limit of agreement.
        upper: upper limit of agreement.
        lower_ci: 95 % confidence interval of the lower limit.
        upper_ci: that of the upper one.
    """

    bias: float
    bias_ci: Interval
    lower: float
    upper: float
    lower_ci: Interval
    upper_ci: Interval


@drawn
def bland_altman(
    model: npt.ArrayLike,
    reference: npt.ArrayLike,
    *,
    against: Literal["mean", "reference"],
    limits: AgreementLines,
    delta: float | None = None,
    slope_line: tuple[float, float] | None = None,
    regression_loa: tuple[float, float, float, float] | None = None,
    sides: tuple[str, str] = ("model", "reference"),
    name: str | None = None,
) -> Figure:
    """Differences against the size of what was measured (Bland and Altman 1986, 1999).

    Args:
        model: (pairs,) points of the 0-10 scale; pairs with a NaN are left out and counted in the caption.
        reference: (pairs,) points.
        against: what x shows: the mean of the two, or the reference.
        limits: bias and limits of agreement with their intervals.
        delta: the acceptance limit in points, above 0; None or NaN without one.
        slope_line: (intercept, slope) of d on x as plotted.
        regression_loa: (b0, b1, c0, c1) on x as plotted: d = b0 + b1 x, absolute residual = c0 + c1 x; the limits
            are b0 + b1 x +- 1.96 sqrt(pi/2) (c0 + c1 x), drawn where c0 + c1 x >= 0.
        sides: what the two are called in axis labels and caption.
        name: start of the figure's ids; `bland-altman-mean` or `bland-altman-reference` when None.

    Raises:
        ValueError: arrays of different lengths.
    """
    sides = side_names(sides)
    model, reference, missing = finite_pairs(model, reference)
    x, d = (reference if against == "reference" else (model + reference) / 2), model - reference
    delta = delta if delta is not None and math.isfinite(delta) else None
    curves = _fitted_curves(x, slope_line, regression_loa)
    low, high, whole = _difference_range(d, limits, delta, [curve.y for curve in curves])
    legend = _legend(limits, curves)
    legend_height = legend_columns([label for _, label in legend], FULL_IN - LEFT_IN - 1.34)[1] if legend else 0.0
    dense = d.size > MOST_POINTS
    top = 0.12 + legend_height + (0.22 if dense else 0.0)
    on = sheet(FULL_IN, 3.85 + top)
    axes = panel(on, left=LEFT_IN, right=1.34, bottom=BOTTOM_IN, top=top)
    axes.set(xlim=scale_limits(x), ylim=(low, high))
    measured = sides[1] if against == "reference" else f"mean of {sides[0]} and {sides[1]}"
    axes.set_xlabel(f"{measured} (points, 0-10 scale)")
    name_y(axes, f"{sides[0]} minus {sides[1]} (points)")
    draw_cloud(on, axes, x, d, top_in=top - 0.02)
    _horizontal_lines(axes, limits, delta)
    for curve in curves:
        axes.plot(curve.x, curve.y, color=curve.color, ls=curve.dashes, lw=1.8, zorder=4.5, path_effects=cased())
    legend_above(axes, [handle for handle, _ in legend], [label for _, label in legend])
    _bland_altman_note(axes, d.size, limits)
    return finish(
        on,
        name or f"bland-altman-{against}",
        title=f"Differences against the {'mean of the two' if against == 'mean' else sides[1]} (Bland-Altman)",
        caption=_bland_altman_caption(d, limits, delta, curves, sides=sides, dense=dense)
        + ("" if whole else " The shaded intervals run beyond the picture.")
        + left_out(missing),
        alternative=_bland_altman_words(x, d, limits, against=sides[1] if against == "reference" else "mean"),
    )


@dataclass(frozen=True)
class _Curve:
    x: FloatArray
    y: FloatArray
    color: str
    dashes: tuple[int, tuple[float, ...]]
    label: str


def _fitted_curves(
    measured: FloatArray,
    slope_line: tuple[float, float] | None,
    loa: tuple[float, float, float, float] | None,
) -> list[_Curve]:
    if not measured.size:
        return []
    x = np.linspace(measured.min(), measured.max(), 41)
    curves = []
    if slope_line is not None and np.isfinite(slope_line).all():
        curves.append(_Curve(x, slope_line[0] + slope_line[1] * x, BLUE, DOTTED, "trend of the differences"))
    if loa is not None and np.isfinite(loa).all():
        spread = loa[2] + loa[3] * x
        half = RESIDUAL_TO_LIMIT * np.where(spread >= 0, spread, np.nan)
        for side in (-1, 1):
            curves.append(_Curve(x, loa[0] + loa[1] * x + side * half, ORANGE, DOTTED, "limits that follow the trend"))
    return curves


def _difference_range(
    d: FloatArray, limits: AgreementLines, delta: float | None, curves: Sequence[FloatArray]
) -> tuple[float, float, bool]:
    """Limits of y that hold every difference, line and curve; the shaded intervals too unless they dwarf those."""
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
    """Zero, bias, limits and acceptance limit with their shading, each named in the right margin."""
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
        lines += [(delta, INK, DASH_DOT, "allowed"), (-delta, INK, DASH_DOT, "allowed")]
    named = []
    for value, color, dashes, label in lines:
        if math.isfinite(value):
            axes.axhline(value, color=color, linestyle=dashes, linewidth=1.6, zorder=5, path_effects=cased())
            named.append((value, f"{label}{' ' if label == 'allowed' else chr(10)}{signed(value)}", color))
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
    mark = "Each hexagon counts pairs (the darker, the more); their" if dense else "Each dot is one pair; its"
    text = f"{mark} height is {sides[0]} minus {sides[1]}, so above zero the {sides[0]} reads higher."
    if math.isfinite(limits.bias):
        text += f" Solid line: mean difference {signed(limits.bias)} points (95 % CI {interval(*limits.bias_ci)})."
    if math.isfinite(limits.lower) and math.isfinite(limits.upper):
        text += (
            f" Dashed lines: limits of agreement {interval(limits.lower, limits.upper)}, between which about 95 % of"
            f" the differences are expected (95 % CI of the lower {interval(*limits.lower_ci)}, of the upper"
            f" {interval(*limits.upper_ci)}). Shading shows how uncertain each line is."
        )
    elif d.size:
        text += " There are too few pairs to draw limits of agreement."
    if delta is not None:
        text += f" Dash-dotted lines: the difference allowed beforehand, {number(delta)} points either way."
    if curves:
        text += " Dotted lines: the same where they may change along the scale."
    return text


def _bland_altman_words(x: FloatArray, d: FloatArray, limits: AgreementLines, *, against: str) -> str:
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
    sides: tuple[str, str] = ("model", "reference"),
    name: str = "scatter",
) -> Figure:
    """Model against reference with the line of identity, both axes alike and at least 0-10.

    Args:
        model: (pairs,) points of the 0-10 scale, on y; pairs with a NaN are left out and counted in the caption.
        reference: (pairs,) points, on x.
        sides: what the two are called.
        name: start of the figure's ids.

    Raises:
        ValueError: arrays of different lengths.
    """
    sides = side_names(sides)
    model, reference, missing = finite_pairs(model, reference)
    dense = model.size > MOST_POINTS
    top = 0.36 if dense else 0.14
    on = sheet(HALF_IN, HALF_IN - 0.4 + top)
    axes = panel(on, left=0.7, right=0.24, bottom=BOTTOM_IN, top=top)
    span = scale_limits(np.concatenate([model, reference]))
    axes.set(xlim=span, ylim=span, aspect="equal")
    axes.set_xlabel(f"{sides[1]} (points, 0-10)")
    name_y(axes, f"{sides[0]} (points, 0-10)")
    draw_cloud(on, axes, reference, model, top_in=top)
    axes.plot(span, span, color=ORANGE, linestyle=DASHED, linewidth=1.5, zorder=4, path_effects=cased())
    if not model.size:
        note(axes, "no pairs")
    higher = float((model > reference).mean()) if model.size else math.nan
    near = float((np.abs(model - reference) <= 1).mean()) if model.size else math.nan
    mark = "Each hexagon counts pairs (the darker, the more)" if dense else "Each dot is one pair"
    numbers = f"{percent(near)} of {counted(model.size, 'pair')} lie within 1 point of it; {percent(higher)} lie above."
    return finish(
        on,
        name,
        title=f"{sides[0].capitalize()} against {sides[1]}",
        caption=f"{mark}. On the dashed line both say the same; above it the {sides[0]} reads higher."
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
