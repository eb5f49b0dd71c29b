"""Bias and limits of agreement, of independent pairs and of several pairs per subject."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from avpenet_cli.stats.bootstrap import FEWEST_SUBJECTS, LEVEL, SubjectBootstrap, percentile_interval
from avpenet_cli.stats.estimate import NAN, NO_INTERVAL, Estimate, Interval, absent
from avpenet_cli.stats.pairs import Array, Pairs

# As in the papers, whose published limits would else differ in the third digit.
Z = 1.96

_FEWEST_FOR_PERCENTILES = 40
_EQUAL = "all differences are equal: there is no spread to judge by"

Method = Literal["independent pairs", "repeated measures, changing truth", "repeated measures, constant truth"]


@dataclass(frozen=True)
class Limits:
    """Bias and 95 % limits of agreement of d, points.

    Attributes:
        bias: mean of d; with repeated measures of the subjects' means, each subject counting the same.
        sd: standard deviation of d (ddof 1); with repeated measures the root of the total variance.
        lower, upper: bias -+ 1.96 SD with their own intervals.
        between_sd, within_sd: components with repeated measures, else NaN.
        approximate_lower_ci, approximate_upper_ci: independent pairs: the large-sample intervals of 1999.
        bootstrap_lower_ci, bootstrap_upper_ci: repeated measures: by the subject bootstrap, beside MOVER's.
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
    approximate_lower_ci: Interval = NO_INTERVAL
    approximate_upper_ci: Interval = NO_INTERVAL
    bootstrap_lower_ci: Interval = NO_INTERVAL
    bootstrap_upper_ci: Interval = NO_INTERVAL


def limits(pairs: Pairs, bootstrap: SubjectBootstrap | None, constant_truth: bool = False) -> Limits:
    """The limits by the method that fits: one pair per subject, or several."""
    if pairs.independent:
        return independent_limits(pairs.difference)
    if constant_truth:
        return constant_truth_limits(pairs.model, pairs.subject, pairs.reference, pairs.subject)
    return repeated_limits(pairs, bootstrap)


def independent_limits(d: Array) -> Limits:
    """Bland and Altman 1986; exact intervals of the limits by the non-central t (Carkeet 2015, Optom Vis Sci 92:e71).

    Args:
        d: (n,) differences, one per subject. Pooled repeated measures give the naive limits, too narrow in general.
    """
    n = len(d)
    method: Method = "independent pairs"
    if n < 2:
        none = absent("fewer than two pairs", n)
        bias = Estimate(float(d[0]), NO_INTERVAL, n, none.reason) if n else none
        return Limits(method, n, n, bias, NAN, none, none)
    mean, sd = float(d.mean()), float(d.std(ddof=1))
    if sd < 1e-12:
        same = Estimate(mean, NO_INTERVAL, n, _EQUAL)
        return Limits(method, n, n, same, 0.0, same, same)
    t = stats.t.ppf((1 + LEVEL) / 2, n - 1)
    bias_ci = (mean - t * sd / np.sqrt(n), mean + t * sd / np.sqrt(n))
    near, far = _tolerance_factors(n)
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
        approximate_lower_ci=_floats((lower - error, lower + error)),
        approximate_upper_ci=_floats((upper - error, upper + error)),
    )


def _tolerance_factors(n: int) -> Interval:
    """How many SDs from the bias the interval of a limit begins and ends."""
    tail = (1 - LEVEL) / 2
    if n <= 20_000:
        ends = stats.nct.ppf([tail, 1 - tail], n - 1, Z * np.sqrt(n)) / np.sqrt(n)
        return float(ends[0]), float(ends[1])
    # The non-central t is not computed reliably that far out, and is normal there to four digits.
    error = stats.norm.ppf(1 - tail) * np.sqrt(1 / n + Z**2 / (2 * (n - 1)))
    return Z - float(error), Z + float(error)


def repeated_limits(pairs: Pairs, bootstrap: SubjectBootstrap | None = None) -> Limits:
    """Several pairs per subject, the true value changing between them; unequal numbers.

    One-way components of d by subject (Bland and Altman 2007, J Biopharm Stat 17:571); intervals by MOVER (Zou 2013,
    Stat Methods Med Res 22:630). That of the bias uses Student's t where Zou has the normal, for few subjects.

    Args:
        bootstrap: of the pairs' subjects; None leaves those intervals out.
    """
    method: Method = "repeated measures, changing truth"
    n, n_pairs = pairs.n_subjects, pairs.n
    sums = pairs.per_subject(np.ones(n_pairs), pairs.difference, pairs.difference**2)
    count, total, squares = sums.T
    means = total / count
    if n < 2:
        none = absent("one subject: its segments say nothing about other subjects", n_pairs)
        bias = Estimate(float(means[0]), NO_INTERVAL, n_pairs, none.reason)
        return Limits(method, n_pairs, n, bias, NAN, none, none)
    within_ss = np.maximum(squares - total**2 / count, 0)
    components = _Components(
        bias=float(means.mean()),
        between=float(means.var(ddof=1)),
        within=((1 - float((1 / count).mean()), float(within_ss.sum() / (n_pairs - n)), n_pairs - n),),
        n_subjects=n,
        n_pairs=n_pairs,
    )
    found = components.limits(method)
    if bootstrap is None:
        return found
    one = np.ones(n)
    table = np.stack([one, means, means**2, 1 / count, count - 1, within_ss], axis=1)
    lower, upper = bootstrap.estimate(partial(_limits_of_sums, n), table, ("identity", "identity"), n_pairs)
    return Limits(**(found.__dict__ | {"bootstrap_lower_ci": lower.ci, "bootstrap_upper_ci": upper.ci}))


def _limits_of_sums(n_subjects: int, sums: Array) -> Array:
    """The same limits from sums over subjects, (..., 6) -> (..., 2)."""
    n, mean, square, inverse, freedom, within = np.moveaxis(sums, -1, 0)
    bias = mean / n
    between = np.maximum(square / n - bias**2, 0) * n_subjects / (n_subjects - 1)
    half = Z * np.sqrt(between + (1 - inverse / n) * within / freedom)
    return np.stack([bias - half, bias + half], axis=-1)


def constant_truth_limits(x: Array, x_subject: NDArray[Any], y: Array, y_subject: NDArray[Any]) -> Limits:
    """Replicates of a true value that does not change within a subject; numbers may differ between the two.

    Bland and Altman 2007; intervals by MOVER (Zou 2013).

    Args:
        x, y: all readings of either side, points.
        x_subject, y_subject: whose; subjects without both are an error of the caller.
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
        none = absent("one subject: its segments say nothing about other subjects", n_pairs)
        bias = Estimate(float(difference[0]), NO_INTERVAL, n_pairs, none.reason)
        return Limits(method, n_pairs, n, bias, NAN, none, none)
    return _Components(
        bias=float(difference.mean()),
        between=float(difference.var(ddof=1)),
        within=tuple(side[1:] for side in sides),
        n_subjects=n,
        n_pairs=n_pairs,
    ).limits(method)


@dataclass(frozen=True)
class _Components:
    """What MOVER joins. `between` is the variance of the subjects' mean differences.

    Attributes:
        within: of each: 1 - 1/harmonic mean number of readings, the variance within subjects, its degrees of freedom.
    """

    bias: float
    between: float
    within: tuple[tuple[float, float, int], ...]
    n_subjects: int
    n_pairs: int

    def limits(self, method: Method) -> Limits:
        n = self.n_subjects
        total = self.between + sum(share * variance for share, variance, _ in self.within)
        sd = float(np.sqrt(total))
        if sd < 1e-9:
            same = Estimate(self.bias, NO_INTERVAL, self.n_pairs, _EQUAL)
            return Limits(method, self.n_pairs, n, same, 0.0, same, same, between_sd=0.0, within_sd=0.0)
        parts = [(self.between, n - 1)] + [(share * v, freedom) for share, v, freedom in self.within if freedom]
        tail = (1 - LEVEL) / 2
        below = sum((v * (1 - f / stats.chi2.ppf(1 - tail, f))) ** 2 for v, f in parts)
        above = sum((v * (f / stats.chi2.ppf(tail, f) - 1)) ** 2 for v, f in parts)
        least, most = np.sqrt(max(total - np.sqrt(below), 0)), np.sqrt(total + np.sqrt(above))
        z = stats.norm.ppf(1 - tail)
        of_bias = z * np.sqrt(self.between / n)
        outward = np.hypot(of_bias, Z * (most - sd))
        inward = np.hypot(of_bias, Z * (sd - least))
        lower, upper = self.bias - Z * sd, self.bias + Z * sd
        t = stats.t.ppf(1 - tail, n - 1) * np.sqrt(self.between / n)
        within_sd = float(np.sqrt(sum(v for _, v, _ in self.within)))
        # What is left of the variance of means when the readings' own share is taken out; under 0 by chance.
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


def nonparametric_limits(pairs: Pairs, bootstrap: SubjectBootstrap) -> tuple[Estimate, Estimate]:
    """2.5th and 97.5th percentile of d, with intervals by the subject bootstrap.

    They hold the truth too rarely with few subjects, as do others that were tried
    (docs/explanation/benchmarks.md): the page says so.
    """
    n = pairs.n
    order = np.argsort(pairs.difference, kind="stable")
    found = []
    for share, outward in ((0.025, order), (0.975, order[::-1])):
        value = float(np.quantile(pairs.difference, share)) if n else NAN
        if pairs.n_subjects < FEWEST_SUBJECTS or n < _FEWEST_FOR_PERCENTILES:
            few = f"fewer than {FEWEST_SUBJECTS} subjects: too few to resample"
            if n < _FEWEST_FOR_PERCENTILES:
                few = f"under {_FEWEST_FOR_PERCENTILES} pairs: the percentile is the extreme itself"
            found.append(Estimate(value, NO_INTERVAL, n, few))
            continue
        resampled = np.concatenate([_tail_percentile(pairs, outward, drawn) for drawn in bootstrap.weights()])
        found.append(Estimate(value, percentile_interval(resampled, pairs.n_subjects), n))
    return found[0], found[1]


def _tail_percentile(pairs: Pairs, outward: NDArray[np.int64], drawn: Array) -> Array:
    """(resamples,) the value that a fortieth of each resample lies beyond.

    Args:
        outward: pairs from the most extreme inwards.
        drawn: (resamples, subjects) how often each subject is in.
    """
    size = drawn @ np.bincount(pairs.subject, minlength=pairs.n_subjects)
    # A resample's fortieth lies within a tenth of the whole, or nearly always; what lies deeper need not be summed.
    reach = pairs.n if pairs.n < 20_000 else pairs.n // 16
    while True:
        tail = outward[:reach]
        up_to = np.cumsum(drawn[:, pairs.subject[tail]], axis=1)
        place = (up_to < size[:, None] / 40).sum(axis=1)
        if reach == pairs.n or place.max() < reach:
            found: Array = pairs.difference[tail[np.minimum(place, reach - 1)]]
            return found
        reach = pairs.n


@dataclass(frozen=True)
class Verdict:
    """PASS, FAIL or INCONCLUSIVE against a limit set beforehand; NOT ASKED without one."""

    result: Literal["PASS", "FAIL", "INCONCLUSIVE", "NOT ASKED"]
    limit_points: float
    limit_source: str
    explanation: str


def verdict(found: Limits | None, limit_points: float | None, limit_source: str) -> Verdict:
    """Do the limits of agreement keep within +-`limit_points`, with confidence?

    PASS when the outer ends of both limits' intervals lie within, FAIL when an inner end lies outside, else
    INCONCLUSIVE; also where the intervals cannot be computed.
    """
    if limit_points is None:
        return Verdict("NOT ASKED", NAN, "", "no acceptance limit was given (--limit, --limit-source)")
    if found is None or not np.isfinite([*found.lower.ci, *found.upper.ci]).all():
        why = found.lower.reason if found is not None else "there are no pairs"
        return Verdict("INCONCLUSIVE", limit_points, limit_source, f"the limits' intervals are not known: {why}")
    method = "exact intervals" if found.method == "independent pairs" else "intervals by MOVER"
    result = judged(found.lower.ci, found.upper.ci, limit_points)
    words = {
        "PASS": "both limits lie within, with confidence",
        "FAIL": "a limit lies outside, with confidence",
        "INCONCLUSIVE": "the limits' intervals reach across it",
    }
    return Verdict(result, limit_points, limit_source, f"{words[result]} ({method})")


def judged(lower_ci: Interval, upper_ci: Interval, limit_points: float) -> Literal["PASS", "FAIL", "INCONCLUSIVE"]:
    """The verdict on two limits' intervals, none of them NaN."""
    if max(-lower_ci[0], upper_ci[1]) <= limit_points:
        return "PASS"
    return "FAIL" if max(-lower_ci[1], upper_ci[0]) > limit_points else "INCONCLUSIVE"


def _floats(interval: tuple[float, float]) -> Interval:
    return float(interval[0]), float(interval[1])
