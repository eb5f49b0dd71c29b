"""Differences between the means of subjects: Welch's t-test and the paired t-test, with Bonferroni's correction."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from avpenet_cli.stats.bootstrap import LEVEL
from avpenet_cli.stats.estimate import NAN, NO_INTERVAL, Estimate, Interval
from avpenet_cli.stats.pairs import Array

_NO_SPREAD = "the same in every subject: there is no spread to test against"


@dataclass(frozen=True)
class MeanDifference:
    """A t-test of two means.

    Attributes:
        difference: first mean minus second, in the unit of the values; its `n` counts subjects. The interval is not
            widened for the number of comparisons.
        t: test statistic.
        df: degrees of freedom.
        p: two-sided.
        p_bonferroni: p times the number of comparisons, at most 1 (Dunn 1961, J Am Stat Assoc 56:52).
        n_comparisons: number of tests in the family.
        cohens_d: paired test only: mean of the differences over their SD (ddof 1); NaN otherwise.
    """

    difference: Estimate
    t: float
    df: float
    p: float
    p_bonferroni: float
    n_comparisons: int
    cohens_d: float = NAN


def welch_test(first: Array, second: Array, n_comparisons: int) -> MeanDifference:
    """Unpaired t-test without the assumption of equal variances (Welch 1947, Biometrika 34:28).

    Args:
        first, second: (subjects,) one mean per subject, at least two on each side; no subject on both sides.
        n_comparisons: number of tests in the family, for Bonferroni's correction.
    """
    n, difference = len(first) + len(second), float(first.mean() - second.mean())
    if np.ptp(first) < 1e-12 and np.ptp(second) < 1e-12:
        return _without_test(Estimate(difference, NO_INTERVAL, n, _NO_SPREAD), NAN, n_comparisons)
    result = stats.ttest_ind(first, second, equal_var=False)
    return _tested(result, difference, n, float(result.df), n_comparisons)


def bounded_difference(first: Array, second: Array, bounds: Interval) -> Estimate:
    """Difference between two means of values that have bounds, with an interval that stays within what is possible.

    It is Welch's where both sides have spread. A side without any would count as known exactly: Wilson's interval
    (1927, J Am Stat Assoc 22:209) of as many patients stands for it, since no values within the bounds have more
    variance than those that lie on them. Both sides are joined as Newcombe (1998, Stat Med 17:873) joins two
    proportions.

    Args:
        first, second: (subjects,) one mean per subject, at least two on each side; no subject on both sides.
        bounds: smallest and largest possible value; without finite ones, the interval is Welch's.

    Returns:
        First mean minus second; `n` counts the subjects of the first.
    """
    low, high = bounds
    difference = float(first.mean() - second.mean())
    spread = [bool(np.ptp(side) >= 1e-12) for side in (first, second)]
    if all(spread) or not np.isfinite(high - low):
        with warnings.catch_warnings():
            # Of a side without spread.
            warnings.filterwarnings("ignore", "Precision loss", RuntimeWarning)
            result = welch_test(first, second, 1).difference
        ends = tuple(float(np.clip(end, low - high, high - low)) for end in result.ci)
        return Estimate(difference, (ends[0], ends[1]), len(first), result.reason)
    margins = []
    for side, varies in zip((first, second), spread, strict=True):
        mean, n = float(side.mean()), len(side)
        if varies:
            half = float(stats.t.ppf((1.0 + LEVEL) / 2.0, n - 1) * side.std(ddof=1) / np.sqrt(n))
            margins.append((min(half, mean - low), min(half, high - mean)))
        else:
            share = min(max((mean - low) / (high - low), 0.0), 1.0)
            z = float(stats.norm.ppf((1.0 + LEVEL) / 2.0)) / np.sqrt(n)
            centre = (share + z**2 / 2.0) / (1.0 + z**2)
            half = z * float(np.sqrt(share * (1.0 - share) + z**2 / 4.0)) / (1.0 + z**2)
            below, above = max(share - centre + half, 0.0), max(centre + half - share, 0.0)
            margins.append(((high - low) * below, (high - low) * above))
    (first_below, first_above), (second_below, second_above) = margins
    return Estimate(
        difference,
        (
            difference - float(np.hypot(first_below, second_above)),
            difference + float(np.hypot(first_above, second_below)),
        ),
        len(first),
    )


def paired_test(first: Array, second: Array, n_comparisons: int) -> MeanDifference:
    """Paired t-test with Cohen's d of the differences (Cohen 1988, Statistical Power Analysis).

    Args:
        first, second: (subjects,) one mean per subject, the same subjects in the same order.
        n_comparisons: number of tests in the family, for Bonferroni's correction.
    """
    differences = first - second
    n = len(differences)
    if n < 2 or np.ptp(differences) < 1e-12:
        reason = "fewer than two subjects" if n < 2 else _NO_SPREAD
        mean = float(differences.mean()) if n else NAN
        return _without_test(Estimate(mean, NO_INTERVAL, n, reason), n - 1, n_comparisons)
    mean, sd = float(differences.mean()), float(differences.std(ddof=1))
    return _tested(stats.ttest_1samp(differences, 0.0), mean, n, n - 1, n_comparisons, mean / sd)


def _without_test(difference: Estimate, df: float, n_comparisons: int) -> MeanDifference:
    return MeanDifference(difference, NAN, df, NAN, NAN, n_comparisons)


def _tested(
    result: Any, difference: float, n: int, df: float, n_comparisons: int, cohens_d: float = NAN
) -> MeanDifference:
    ci, p = result.confidence_interval(LEVEL), float(result.pvalue)
    return MeanDifference(
        Estimate(difference, (float(ci.low), float(ci.high)), n),
        float(result.statistic),
        df,
        p,
        min(1.0, p * n_comparisons) if np.isfinite(p) else NAN,
        n_comparisons,
        cohens_d,
    )
