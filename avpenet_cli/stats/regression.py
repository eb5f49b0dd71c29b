"""Straight lines through the pairs: proportional bias and heteroscedasticity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from avpenet_cli.stats.agreement import Z
from avpenet_cli.stats.bootstrap import LEVEL
from avpenet_cli.stats.estimate import NAN, Estimate, absent
from avpenet_cli.stats.pairs import Array, Pairs

# A line through rounding errors would have a slope with an interval and a p-value.
_ROUNDING_POINTS = 1e-9


@dataclass(frozen=True)
class Line:
    """y = intercept + slope x by least squares.

    Attributes:
        intercept: in the unit of y.
        slope: y per x.
        p: of slope 0, two-sided.
        method: "least squares" for one pair per subject; otherwise standard errors are cluster-robust by the jackknife
            over subjects (CR3; MacKinnon, Nielsen and Webb 2023, J Appl Econometrics 38:671), with one degree of
            freedom fewer than subjects. CR1 gives intervals that are too narrow at 20 subjects.
    """

    intercept: Estimate
    slope: Estimate
    p: float
    method: str


@dataclass(frozen=True)
class RegressionLimits:
    """Limits of agreement that change along the scale (Bland and Altman 1999, section 3.2).

    At mean m: b0 + b1 m -+ 1.96 sqrt(pi / 2) (c0 + c1 m), points; b is the line of the differences, c that of their
    absolute residuals.
    """

    b0: float
    b1: float
    c0: float
    c1: float

    def at(self, mean: float) -> tuple[float, float]:
        """Lower and upper limit at a mean of `mean` points."""
        half = Z * np.sqrt(np.pi / 2) * max(self.c0 + self.c1 * mean, 0.0)
        centre = self.b0 + self.b1 * mean
        return float(centre - half), float(centre + half)


def line(y: Array, x: Array, pairs: Pairs) -> Line:
    """Least squares of y on x, (n,) each, in the order of the pairs, whose subjects are the clusters."""
    clusters = pairs.n_subjects
    if pairs.n < 3 or clusters < 3 or np.ptp(x) < 1e-9:
        reason = "all values on the horizontal axis are the same" if pairs.n >= 3 else "fewer than three pairs"
        if pairs.n >= 3 and clusters < 3:
            reason = "fewer than three subjects"
        missing = absent(reason, pairs.n)
        return Line(missing, missing, NAN, "none")
    if pairs.independent:
        fit = stats.linregress(x, y)
        value, error = np.array([fit.intercept, fit.slope]), np.array([fit.intercept_stderr, fit.stderr])
        freedom, method = pairs.n - 2, "least squares"
    else:
        value, error = _jackknifed(y, x, pairs)
        freedom, method = clusters - 1, "least squares, jackknife over subjects"
    reach = stats.t.ppf((1 + LEVEL) / 2, freedom) * error
    coefficients = [
        Estimate(float(value[place]), (float(value[place] - reach[place]), float(value[place] + reach[place])), pairs.n)
        for place in (0, 1)
    ]
    with np.errstate(all="ignore"):
        p = float(2 * stats.t.sf(abs(value[1] / error[1]), freedom))
    return Line(coefficients[0], coefficients[1], p, method)


def _jackknifed(y: Array, x: Array, pairs: Pairs) -> tuple[Array, Array]:
    """Intercept and slope, and their standard errors by leaving out one subject at a time."""
    # Centred, so that the sums of squares keep their precision.
    shift_x, shift_y = float(x.mean()), float(y.mean())
    u, v = x - shift_x, y - shift_y
    sums = pairs.per_subject(np.ones(len(u)), u, v, u * u, u * v)

    def fit(total: Array) -> Array:
        n, of_u, of_v, uu, uv = np.moveaxis(total, -1, 0)
        with np.errstate(all="ignore"):
            slope = (uv - of_u * of_v / n) / (uu - of_u**2 / n)
        return np.stack([of_v / n - slope * of_u / n + shift_y - slope * shift_x, slope], axis=-1)

    total = sums.sum(axis=0)
    without = fit(total - sums)
    subjects = pairs.n_subjects
    error: Array = np.sqrt((subjects - 1) / subjects * ((without - without.mean(axis=0)) ** 2).sum(axis=0))
    return fit(total), error


def proportional_bias(pairs: Pairs) -> Line:
    """Line of d on the mean of both (Bland and Altman 1999). Shrinkage of the scores alone makes the slope negative."""
    return line(pairs.difference, pairs.mean, pairs)


def heteroscedasticity(pairs: Pairs, bias: Line) -> Line:
    """Line of the absolute residuals of `bias` on the mean of the two: does the spread grow with pain?"""
    if np.isnan(bias.slope.value):
        return bias
    residual = np.abs(pairs.difference - bias.intercept.value - bias.slope.value * pairs.mean)
    if residual.max() < _ROUNDING_POINTS:
        missing = absent("all differences lie on one line: there is no spread around it", pairs.n)
        return Line(missing, missing, NAN, "none")
    return line(residual, pairs.mean, pairs)


def regression_limits(bias: Line, spread: Line) -> RegressionLimits | None:
    """Limits from `proportional_bias` and `heteroscedasticity`; None where either line is missing."""
    values = [bias.intercept.value, bias.slope.value, spread.intercept.value, spread.slope.value]
    return RegressionLimits(*values) if np.isfinite(values).all() else None
