"""Distributions: histogram and normal quantiles of the errors, histograms of scores and references."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from scipy.stats import norm

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
    PALE_BLUE,
    Figure,
    FloatArray,
    drawn,
    finish,
    legend_above,
    name_y,
    note,
    numbers,
    padded,
    panel,
    sheet,
)
from avpenet_cli.report.figures.wording import counted, number, percent, side_names, signed

STEP_POINTS = 0.5
MOST_BARS = 80
MOST_QUANTILES = 500
EXTREMES_KEPT = 20


def _without_nan(values: npt.ArrayLike) -> tuple[FloatArray, int]:
    every = numbers(values)
    kept = every[np.isfinite(every)]
    return kept, every.size - kept.size


def _mean_and_sd(d: FloatArray) -> tuple[float, float]:
    return (float(d.mean()) if d.size else math.nan, float(d.std(ddof=1)) if d.size > 1 else math.nan)


def _missing_note(missing: int) -> str:
    return f" {counted(missing, 'value')} not known and not drawn." if missing else ""


@drawn
def error_histogram(d: npt.ArrayLike, *, name: str = "error-histogram") -> Figure:
    """Histogram of d with the normal curve of the same mean and SD (ddof 1).

    Args:
        d: (pairs,) model - reference, points; NaN are omitted and counted in the caption.
        name: start of the figure's ids.
    """
    d, missing = _without_nan(d)
    mean, sd = _mean_and_sd(d)
    edges = _bar_edges(d)
    shares = np.histogram(d, edges)[0] / max(d.size, 1)
    canvas = sheet(HALF_IN, 3.1)
    axes = panel(canvas, left=LEFT_IN, right=0.14, bottom=BOTTOM_IN, top=0.14)
    axes.stairs(100 * shares, edges, fill=True, facecolor=PALE_BLUE, edgecolor=BLUE, linewidth=0.9)
    axes.axvline(0.0, color=GREY, linewidth=0.9)
    has_curve = d.size > 2 and sd > 0
    tallest = float(shares.max(initial=0.0))
    if has_curve:
        x = np.linspace(edges[0], edges[-1], 161)
        curve = norm.pdf(x, mean, sd) * (edges[1] - edges[0])
        tallest = max(tallest, float(curve.max()))
        axes.plot(x, 100 * curve, color=ORANGE, linestyle=DASHED, linewidth=1.7)
    else:
        note(axes, "too few values for a curve" if d.size < 3 else "all values are equal")
    axes.set(xlim=(min(edges[0], -1.25), max(edges[-1], 1.25)), ylim=(0, 112 * tallest or 1.0))
    axes.set_xlabel("score minus rating (points)")
    name_y(axes, "share of pairs (%)")
    mean_and_sd = f"mean {signed(mean)} points, standard deviation {number(sd)}"
    return finish(
        canvas,
        name,
        title="Distribution of the errors",
        caption=(
            f"How often each error occurs, in steps of {number(edges[1] - edges[0], 1)} points; grey line: no error"
            f" ({mean_and_sd})."
            + (" Dashed curve: normal distribution with this mean and standard deviation." if has_curve else "")
            + _missing_note(missing)
        ),
        alternative=(
            f"Histogram of {counted(d.size, 'error')} from {signed(d.min())} to {signed(d.max())} points,"
            f" {mean_and_sd}; {percent(float((np.abs(d) <= 1).mean()))} are within 1 point of zero."
            if d.size
            else "Empty histogram: there are no pairs."
        ),
    )


def _bar_edges(d: FloatArray) -> FloatArray:
    """Edges of bars for all values: half a point wide, wider where there would be too many."""
    if not d.size:
        return np.array([-0.5, 0.0, 0.5])
    step = STEP_POINTS
    while (d.max() - d.min()) / step > MOST_BARS:
        step *= 2
    # A bar is centred on zero, so that an error of 0 does not lie on an edge.
    first, last = math.floor(d.min() / step + 0.5), math.ceil(d.max() / step - 0.5) + 1
    return (np.arange(first, max(last, first + 1) + 1) - 0.5) * step


@drawn
def qq(d: npt.ArrayLike, *, name: str = "error-quantiles") -> Figure:
    """Normal quantile-quantile plot of d with the line mean + SD z; the 20 extremes of each side are always drawn.

    Args:
        d: (pairs,) model - reference, points; NaN are omitted and counted in the caption.
        name: start of the figure's ids.
    """
    d, missing = _without_nan(d)
    d = np.sort(d)
    mean, sd = _mean_and_sd(d)
    kept = _thinned(d.size)
    z = norm.ppf((kept + 0.5) / d.size) if d.size else np.empty(0)
    canvas = sheet(HALF_IN, 3.1)
    axes = panel(canvas, left=LEFT_IN, right=0.14, bottom=BOTTOM_IN, top=0.14)
    axes.plot(z, d[kept], "o", color=INK, markersize=3.6, markeredgewidth=0, zorder=3)
    width = max(float(z.max(initial=1.0)) * 1.08, 1.0)
    on_line = np.array([-width, width])
    if d.size > 2 and sd > 0:
        axes.plot(on_line, mean + sd * on_line, color=ORANGE, linestyle=DASHED, linewidth=1.6, zorder=2)
        axes.set_ylim(padded(np.concatenate([d, mean + sd * on_line])))
    else:
        note(axes, "too few values to assess" if d.size < 3 else "all values are equal")
        axes.set_ylim(padded(d))
    axes.set_xlim(-width, width)
    axes.set_xlabel("expected if they were normal (SD)")
    name_y(axes, "score minus rating (points)")
    return finish(
        canvas,
        name,
        title="Are the errors normally distributed?",
        caption=(
            (
                "Dots on the dashed line: the errors follow a normal distribution, as the limits of agreement assume."
                " Dots far from it at the ends: large errors are more, or less, frequent than that; then use the limits"
                " from percentiles."
                if d.size > 2 and sd > 0
                else "There are too few errors, or they are all equal, to assess their distribution."
            )
            + (
                f" {kept.size} of {counted(d.size, 'error')} are drawn, including all extremes."
                if kept.size < d.size
                else ""
            )
            + _missing_note(missing)
        ),
        alternative=_qq_alternative(d, mean, sd),
    )


def _thinned(size: int) -> npt.NDArray[np.intp]:
    """Indices of at most `MOST_QUANTILES` order statistics, all `EXTREMES_KEPT` of each end among them."""
    if size <= MOST_QUANTILES:
        return np.arange(size)
    middle = np.linspace(EXTREMES_KEPT, size - 1 - EXTREMES_KEPT, MOST_QUANTILES - 2 * EXTREMES_KEPT)
    ends = np.arange(EXTREMES_KEPT)
    return np.unique(np.concatenate([ends, np.round(middle).astype(np.intp), size - 1 - ends]))


def _qq_alternative(d: FloatArray, mean: float, sd: float) -> str:
    if d.size < 3 or not sd > 0:
        return f"Quantile plot of {counted(d.size, 'error')}: too few, or all equal, to assess their distribution."
    places = [
        ("smallest", 0),
        ("2.5th percentile", 0.025),
        ("median", 0.5),
        ("97.5th percentile", 0.975),
        ("largest", 1),
    ]
    quantiles = np.quantile(d, [share for _, share in places]).tolist()
    at = "; ".join(f"{label} {signed(value)}" for (label, _), value in zip(places, quantiles, strict=True))
    expected = f"{signed(mean - 1.96 * sd)} and {signed(mean + 1.96 * sd)}"
    return (
        f"Quantiles of {counted(d.size, 'error')}: {at} points. A normal distribution of this mean and standard"
        f" deviation has its 2.5th and 97.5th percentile at {expected}."
    )


@drawn
def distributions(
    model: npt.ArrayLike,
    reference: npt.ArrayLike | None,
    *,
    sides: tuple[str, str] = ("score", "rating"),
    name: str = "distributions",
) -> Figure:
    """Histogram of the scores, and of the reference where there is one, in steps of half a point.

    Args:
        model: (segments,) points of the 0-10 scale; NaN are omitted and counted in the caption.
        reference: (any,) points, not paired with `model`; None without ratings.
        sides: names of `model` and `reference`.
        name: start of the figure's ids.
    """
    sides = side_names(sides)
    scores, missing = _without_nan(model)
    rated, missing_rated = _without_nan(reference if reference is not None else [])
    every = np.concatenate([scores, rated, [0.0, 10.0]])
    # Steps are centred on whole and half points, so that a rating of 3 does not lie on an edge.
    first, last = round(every.min() / STEP_POINTS), round(every.max() / STEP_POINTS)
    edges = (np.arange(first, last + 2) - 0.5) * STEP_POINTS
    canvas = sheet(FULL_IN, 3.2)
    axes = panel(canvas, left=LEFT_IN, right=0.2, bottom=BOTTOM_IN, top=0.38)
    handles, labels, texts, tallest = [], [], [], 0.0
    for values, label, fill, style in (
        (rated, sides[1], True, {"facecolor": PALE_BLUE, "edgecolor": GREY, "linewidth": 0.8}),
        (scores, sides[0], False, {"edgecolor": INK, "linewidth": 1.8}),
    ):
        if not values.size:
            continue
        shares = 100 * np.histogram(values, edges)[0] / values.size
        tallest = max(tallest, float(shares.max()))
        handles.append(axes.stairs(shares, edges, fill=fill, **style))  # type: ignore[arg-type]
        labels.append(f"{label} ({counted(values.size, 'value')})")
        texts.append(_range_text(label, values))
    axes.set(xlim=(edges[0] - 0.1, edges[-1] + 0.1), ylim=(0, 1.08 * tallest or 1.0))
    axes.set_xticks(_whole_points(edges))
    axes.set_xlabel("points, 0-10 scale")
    name_y(axes, "share of values (%)")
    _note_if_empty(axes, scores)
    legend_above(axes, handles, labels)
    return finish(
        canvas,
        name,
        title=f"Distribution of {sides[0]}s" + (f" and {sides[1]}s" if rated.size else ""),
        caption=(
            "How often each value occurs, in steps of half a point."
            + (f" Filled: {sides[1]}. Bold outline: {sides[0]}." if rated.size else "")
            + _missing_note(missing + missing_rated)
        ),
        alternative="Histogram. " + (" ".join(texts) or "There are no values."),
    )


def _note_if_empty(axes: Axes, scores: FloatArray) -> None:
    if not scores.size:
        note(axes, "no scores")


def _whole_points(edges: FloatArray) -> FloatArray:
    low, high = math.ceil(edges[0]), math.floor(edges[-1])
    step = max(1, (high - low) // 12)
    return np.arange(low, high + 1, step, dtype=np.float64)


def _range_text(label: str, values: FloatArray) -> str:
    lower, middle, upper = np.quantile(values, [0.25, 0.5, 0.75])
    floor, ceiling = percent(float((values < 0.5).mean()), 1), percent(float((values > 9.5).mean()), 1)
    return (
        f"{label.capitalize()}: {number(values.min())} to {number(values.max())} points, median {number(middle)},"
        f" middle half {number(lower)} to {number(upper)}; {floor} under 0.5 and {ceiling} over 9.5."
    )
