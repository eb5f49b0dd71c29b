"""Bias and limits of agreement, for independent pairs and for several pairs per subject."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from avpenet_cli.stats.bootstrap import FEWEST_SUBJECTS, LEVEL, SubjectBootstrap, percentile_interval
from avpenet_cli.stats.estimate import NAN, NO_INTERVAL, Estimate, Interval, absent
from avpenet_cli.stats.pairs import Array, Pairs

Z = 1.96
"""Limits of agreement are bias -+ 1.96 SD, as in the papers; 1.95996 would differ from them in the third digit."""

_FEWEST_FOR_PERCENTILES = 40
_EQUAL = "all differences are equal: there is no spread to estimate from"

Method = Literal["independent pairs", "repeated measures, changing truth", "repeated measures, constant truth"]


@dataclass(frozen=True)
class LimitIntervals:
    """95 % confidence intervals of the same two limits of agreement by another method, points."""

    lower: Interval
    upper: Interval


@dataclass(frozen=True)
class PercentileLimits:
    """2.5th and 97.5th percentile of the differences, points."""

    lower: Estimate
    upper: Estimate


@dataclass(frozen=True)
class Limits:
    """Bias and 95 % limits of agreement of d = model - reference, points.

    Attributes:
        method: how bias and limits were computed.
        n_pairs: number of differences.
        n_subjects: number of subjects.
        bias: mean of d; with repeated measures the mean of the subjects' means, each subject with equal weight.
        sd: standard deviation of d (ddof 1); with repeated measures the square root of the total variance.
        lower: bias - 1.96 SD.
        upper: bias + 1.96 SD.
        between_sd: standard deviation between subjects; NaN for independent pairs.
        within_sd: standard deviation within subjects; NaN for independent pairs.
        pairs_per_subject: harmonic mean number of pairs of a subject.
        approximate: independent pairs only: the large-sample intervals of 1999; None where not computable.
        bootstrap: repeated measures only: intervals by the subject bootstrap; None where not computable.
    """

    method: Method
    n_pairs: int
    n_subjects: int
    bias: Estimate
    sd: float
    lower: Estimate
    upper: Estimate
    between_sd: float = NAN
    within_sd: float = NAN
    pairs_per_subject: float = 1.0
    approximate: LimitIntervals | None = None
    bootstrap: LimitIntervals | None = None

    @property
    def sd_estimate(self) -> Estimate:
        """The standard deviation, without an interval, and the reason where it cannot be computed."""
        return Estimate(self.sd, n=self.n_pairs, reason="" if np.isfinite(self.sd) else self.lower.reason)


def limits(pairs: Pairs, bootstrap: SubjectBootstrap | None, constant_truth: bool = False) -> Limits:
    """Limits of agreement by the method that fits the data: one pair per subject, or several.

    Args:
        pairs: at least one.
        bootstrap: resamples of the pairs' subjects; None leaves the bootstrap's intervals out.
        constant_truth: the true value is the same in all segments of a subject.
    """
    if pairs.independent:
        return independent_limits(pairs.difference)
    if constant_truth:
        return constant_truth_limits(pairs.model, pairs.subject, pairs.reference, pairs.subject)
    return repeated_limits(pairs, bootstrap)


def independent_limits(d: Array) -> Limits:
    """Limits of agreement of independent differences (Bland and Altman 1986, Lancet 327:307).

    Intervals of the limits are exact, by the non-central t distribution (Carkeet 2015, Optom Vis Sci 92:e71).

    Args:
        d: (n,) differences in points, one per subject. Pooled repeated measures give the naive limits, whose intervals
            are too narrow.
    """
    n = len(d)
    method: Method = "independent pairs"
    if n < 2:
        missing = absent("fewer than two pairs", n)
        bias = Estimate(float(d[0]), NO_INTERVAL, n, missing.reason) if n else missing
        return Limits(method, n, n, bias, NAN, missing, missing)
    mean, sd = float(d.mean()), float(d.std(ddof=1))
    if sd < 1e-12:
        same = Estimate(mean, NO_INTERVAL, n, _EQUAL)
        return Limits(method, n, n, same, 0.0, same, same)
    t = stats.t.ppf((1 + LEVEL) / 2, n - 1)
    bias_ci = (mean - t * sd / np.sqrt(n), mean + t * sd / np.sqrt(n))
    near, far = tolerance_factors(n)
    # Bland and Altman 1999, Stat Methods Med Res 8:135.
    error = t * sd * np.sqrt(1 / n + Z**2 / (2 * (n - 1)))
    lower, upper = mean - Z * sd, mean + Z * sd
    return Limits(
        method,
        n,
        n,
        Estimate(mean, _floats(bias_ci), n),
        sd,
        Estimate(lower, (mean - far * sd, mean - near * sd), n),
        Estimate(upper, (mean + near * sd, mean + far * sd), n),
        approximate=LimitIntervals(_floats((lower - error, lower + error)), _floats((upper - error, upper + error))),
    )


def tolerance_factors(n: int) -> Interval:
    """Distances from the bias, in SDs, at which the interval of a limit starts and ends."""
    tail = (1 - LEVEL) / 2
    if n <= 20_000:
        ends = stats.nct.ppf([tail, 1 - tail], n - 1, Z * np.sqrt(n)) / np.sqrt(n)
        return float(ends[0]), float(ends[1])
    # SciPy's non-central t is unreliable for larger n, where it is normal to four digits.
    error = stats.norm.ppf(1 - tail) * np.sqrt(1 / n + Z**2 / (2 * (n - 1)))
    return Z - float(error), Z + float(error)


def repeated_limits(pairs: Pairs, bootstrap: SubjectBootstrap | None = None) -> Limits:
    """Limits of agreement with several pairs per subject, the true value changing between them.

    One-way variance components of d by subject (Bland and Altman 2007, J Biopharm Stat 17:571); intervals by MOVER
    (Zou 2013, Stat Methods Med Res 22:630). The bias has Student's t where Zou has the normal, for few subjects.

    Args:
        bootstrap: resamples of the pairs' subjects; None leaves the bootstrap's intervals out.
    """
    method: Method = "repeated measures, changing truth"
    n, n_pairs = pairs.n_subjects, pairs.n
    sums = pairs.per_subject(np.ones(n_pairs), pairs.difference, pairs.difference**2)
    count, total, squares = sums.T
    means = total / count
    if n < 2:
        missing = absent("one subject: its segments say nothing about other subjects", n_pairs)
        bias = Estimate(float(means[0]), NO_INTERVAL, n_pairs, missing.reason)
        return Limits(method, n_pairs, n, bias, NAN, missing, missing)
    within_ss = np.maximum(squares - total**2 / count, 0)
    components = _Components(
        bias=float(means.mean()),
        between=float(means.var(ddof=1)),
        within=((1 - float((1 / count).mean()), float(within_ss.sum() / (n_pairs - n)), n_pairs - n),),
        n_subjects=n,
        n_pairs=n_pairs,
    )
    result = replace(components.limits(method), pairs_per_subject=1 / float((1 / count).mean()))
    if bootstrap is None:
        return result
    table = np.stack([np.ones(n), means, means**2, 1 / count, count - 1, within_ss], axis=1)
    lower, upper = bootstrap.estimate(partial(_limits_of_sums, n), table, ("identity", "identity"), n_pairs)
    if not (lower.has_interval and upper.has_interval):
        return result
    return replace(result, bootstrap=LimitIntervals(lower.ci, upper.ci))


def _limits_of_sums(n_subjects: int, sums: Array) -> Array:
    """The same limits from sums over subjects, (..., 6) -> (..., 2)."""
    n, mean, square, inverse, freedom, within = np.moveaxis(sums, -1, 0)
    bias = mean / n
    between = np.maximum(square / n - bias**2, 0) * n_subjects / (n_subjects - 1)
    half = Z * np.sqrt(between + (1 - inverse / n) * within / freedom)
    return np.stack([bias - half, bias + half], axis=-1)


def constant_truth_limits(x: Array, x_subject: NDArray[Any], y: Array, y_subject: NDArray[Any]) -> Limits:
    """Limits of agreement of replicates of a true value that does not change within a subject.

    Bland and Altman 2007; intervals by MOVER (Zou 2013). The two sides may have different numbers of readings.

    Args:
        x, y: all readings of either side, points.
        x_subject, y_subject: subject of each reading; every subject must have readings on both sides.
    """
    method: Method = "repeated measures, constant truth"
    names = np.unique(x_subject)
    n, n_pairs = len(names), max(len(x), len(y))
    sides = []
    for values, subject in ((x, x_subject), (y, y_subject)):
        code = np.searchsorted(names, subject)
        count = np.bincount(code, minlength=n)
        mean = np.bincount(code, values, n) / count
        freedom = len(values) - n
        within = float(((values - mean[code]) ** 2).sum() / freedom) if freedom else 0.0
        sides.append((mean, 1 - float((1 / count).mean()), within, freedom))
    difference = sides[0][0] - sides[1][0]
    if n < 2:
        missing = absent("one subject: its segments say nothing about other subjects", n_pairs)
        bias = Estimate(float(difference[0]), NO_INTERVAL, n_pairs, missing.reason)
        return Limits(method, n_pairs, n, bias, NAN, missing, missing)
    components = _Components(
        bias=float(difference.mean()),
        between=float(difference.var(ddof=1)),
        within=tuple(side[1:] for side in sides),
        n_subjects=n,
        n_pairs=n_pairs,
    )
    return replace(components.limits(method), pairs_per_subject=1 / (1 - sides[0][1]))


@dataclass(frozen=True)
class _Components:
    """Variance components that MOVER combines, points and points squared.

    Attributes:
        bias: mean of the subjects' mean differences.
        between: variance of the subjects' mean differences.
        within: for each side: 1 - 1/harmonic mean number of readings, variance within subjects, degrees of freedom.
        n_subjects: number of subjects.
        n_pairs: number of differences.
    """

    bias: float
    between: float
    within: tuple[tuple[float, float, int], ...]
    n_subjects: int
    n_pairs: int

    def limits(self, method: Method) -> Limits:
        n = self.n_subjects
        parts = [(self.between, n - 1)] + [(share * v, freedom) for share, v, freedom in self.within if freedom]
        sd = float(np.sqrt(sum(variance for variance, _ in parts)))
        if sd < 1e-9:
            same = Estimate(self.bias, NO_INTERVAL, self.n_pairs, _EQUAL)
            return Limits(method, self.n_pairs, n, same, 0.0, same, same, between_sd=0.0, within_sd=0.0)
        inward, outward = mover_reaches(parts, n)
        lower, upper = self.bias - Z * sd, self.bias + Z * sd
        t = stats.t.ppf((1 + LEVEL) / 2, n - 1) * np.sqrt(self.between / n)
        within_sd = float(np.sqrt(sum(v for _, v, _ in self.within)))
        # Variance of the means less the part that comes from within subjects; below 0 by chance.
        own = self.between - sum((1 - share) * v for share, v, _ in self.within)
        return Limits(
            method,
            self.n_pairs,
            n,
            Estimate(self.bias, _floats((self.bias - t, self.bias + t)), self.n_pairs),
            sd,
            Estimate(lower, _floats((lower - outward, lower + inward)), self.n_pairs),
            Estimate(upper, _floats((upper - inward, upper + outward)), self.n_pairs),
            between_sd=float(np.sqrt(max(own, 0.0))),
            within_sd=within_sd,
        )


def mover_reaches(parts: Sequence[tuple[Any, float]], n_subjects: int) -> tuple[Any, Any]:
    """How far the interval of a limit of agreement reaches inward and outward, points (MOVER; Zou 2013).

    Args:
        parts: components of the total variance with their degrees of freedom, the one between subjects first; numbers,
            or arrays that broadcast.
        n_subjects: number of subjects.
    """
    tail = (1 - LEVEL) / 2
    total = sum(variance for variance, _ in parts)
    sd = np.sqrt(total)
    below = sum((variance * (1 - f / stats.chi2.ppf(1 - tail, f))) ** 2 for variance, f in parts)
    above = sum((variance * (f / stats.chi2.ppf(tail, f) - 1)) ** 2 for variance, f in parts)
    least, most = np.sqrt(np.maximum(total - np.sqrt(below), 0)), np.sqrt(total + np.sqrt(above))
    of_bias = stats.norm.ppf(1 - tail) * np.sqrt(parts[0][0] / n_subjects)
    return np.hypot(of_bias, Z * (sd - least)), np.hypot(of_bias, Z * (most - sd))


def percentile_limits(pairs: Pairs, bootstrap: SubjectBootstrap) -> PercentileLimits:
    """2.5th and 97.5th percentile of d, points, with intervals by the subject bootstrap.

    With few subjects the intervals are too narrow, and so are those of other methods
    (docs/explanation/benchmarks.md); the page says so.
    """
    n = pairs.n
    order = np.argsort(pairs.difference, kind="stable")
    estimates = []
    for share, inward in ((0.025, order), (0.975, order[::-1])):
        value = float(np.quantile(pairs.difference, share)) if n else NAN
        if pairs.n_subjects < FEWEST_SUBJECTS or n < _FEWEST_FOR_PERCENTILES:
            few = f"fewer than {FEWEST_SUBJECTS} subjects: too few to resample"
            if n < _FEWEST_FOR_PERCENTILES:
                few = f"fewer than {_FEWEST_FOR_PERCENTILES} pairs: the percentile is the extreme itself"
            estimates.append(Estimate(value, NO_INTERVAL, n, few))
            continue
        resampled = np.concatenate([_tail_percentile(pairs, inward, drawn) for drawn in bootstrap.weights()])
        estimates.append(Estimate(value, percentile_interval(resampled, pairs.n_subjects), n))
    return PercentileLimits(estimates[0], estimates[1])


def _tail_percentile(pairs: Pairs, inward: NDArray[np.int64], drawn: Array) -> Array:
    """(resamples,) the value beyond which 1/40 of each resample lies, points.

    Args:
        inward: indices of the pairs from the most extreme difference inwards.
        drawn: (resamples, subjects) how often each subject was drawn.
    """
    size = drawn @ np.bincount(pairs.subject, minlength=pairs.n_subjects)
    # 1/40 of a resample nearly always lies within 1/16 of the data, so that the rest need not be summed.
    reach = pairs.n if pairs.n < 20_000 else pairs.n // 16
    while True:
        tail = inward[:reach]
        up_to = np.cumsum(drawn[:, pairs.subject[tail]], axis=1)
        place = (up_to < size[:, None] / 40).sum(axis=1)
        if reach == pairs.n or place.max() < reach:
            values: Array = pairs.difference[tail[np.minimum(place, reach - 1)]]
            return values
        reach = pairs.n


def _floats(interval: tuple[float, float]) -> Interval:
    return float(interval[0]), float(interval[1])
