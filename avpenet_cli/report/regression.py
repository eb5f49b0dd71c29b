"""Straight lines through the pairs: proportional bias, spread that grows with pain, calibration."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import statsmodels.api as sm

from avpenet_cli.report.agreement import Z
from avpenet_cli.report.estimate import NAN, Estimate, absent
from avpenet_cli.report.pairs import Array, Pairs


@dataclass(frozen=True)
class Line:
    """y = intercept + slope x by least squares.

    Attributes:
        p: of slope 0, two-sided.
        method: ordinary for one pair per subject, else cluster-robust (CR1) with subjects as clusters and their number
            less one as degrees of freedom.
    """

    intercept: Estimate
    slope: Estimate
    p: float
    method: str


@dataclass(frozen=True)
class RegressionLimits:
    """Limits of agreement that change along the scale (Bland and Altman 1999, section 3.2).

    At mean m: b0 + b1 m -+ 1.96 sqrt(pi / 2) (c0 + c1 m), points.
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
    """Least squares of y on x, (n,) each, aligned with the pairs."""
    clusters = pairs.n_subjects
    if pairs.n < 3 or clusters < 3 or np.ptp(x) < 1e-9:
        reason = "all values on the horizontal axis are the same" if pairs.n >= 3 else "fewer than three pairs"
        if pairs.n >= 3 and clusters < 3:
            reason = "fewer than three subjects"
        none = absent(reason, pairs.n)
        return Line(none, none, NAN, "none")
    model = sm.OLS(y, sm.add_constant(x))
    with warnings.catch_warnings():
        # A perfect fit has no residuals to judge by; its intervals are then NaN.
        warnings.simplefilter("ignore", RuntimeWarning)
        if pairs.independent:
            fit = model.fit()
        else:
            fit = model.fit(cov_type="cluster", cov_kwds={"groups": pairs.subject}, use_t=True)
        ends = fit.conf_int()
        p = float(fit.pvalues[1])
    method = "least squares" if pairs.independent else "least squares, cluster-robust by subject"
    found = [
        Estimate(float(fit.params[place]), (float(ends[place][0]), float(ends[place][1])), pairs.n) for place in (0, 1)
    ]
    return Line(found[0], found[1], p, method)


def proportional_bias(pairs: Pairs) -> Line:
    """d on the mean of the two. A shrunken predictor makes the slope non-zero without any bias of its own."""
    return line(pairs.difference, pairs.mean, pairs)


def heteroscedasticity(pairs: Pairs, bias: Line) -> Line:
    """Absolute residual of the line above on the mean: does the spread grow with pain?"""
    if np.isnan(bias.slope.value):
        return bias
    residual = np.abs(pairs.difference - bias.intercept.value - bias.slope.value * pairs.mean)
    return line(residual, pairs.mean, pairs)


def regression_limits(bias: Line, spread: Line) -> RegressionLimits | None:
    """Of the two lines; None where either is missing."""
    values = [bias.intercept.value, bias.slope.value, spread.intercept.value, spread.slope.value]
    return RegressionLimits(*values) if np.isfinite(values).all() else None


def calibration(pairs: Pairs) -> Line:
    """Reference on score: intercept 0 and slope 1 when calibrated."""
    return line(pairs.reference, pairs.model, pairs)
