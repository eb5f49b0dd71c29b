"""How many subjects a verdict on limits of agreement needs: the chances of PASS and FAIL by number of subjects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from scipy import stats

from avpenet_cli.stats.agreement import Z, mover_reaches, tolerance_factors
from avpenet_cli.stats.bootstrap import LEVEL
from avpenet_cli.stats.pairs import Array

Intervals = Literal["report", "approximate"]

MOST_SUBJECTS = 10_000
"""Larger studies are not planned with this program."""
# Quantiles of the estimated variances that a chance is averaged over.
_BETWEEN_QUANTILES, _WITHIN_QUANTILES = 200, 20


@dataclass(frozen=True)
class Spread:
    """Differences of score and reference that a study is expected to find, points.

    Attributes:
        bias: mean.
        between_sd: standard deviation between subjects, of their true mean differences.
        within_sd: standard deviation within subjects, from segment to segment.
    """

    bias: float
    between_sd: float
    within_sd: float

    @property
    def sd(self) -> float:
        """Standard deviation of the differences, points."""
        return float(np.hypot(self.between_sd, self.within_sd))

    @property
    def icc(self) -> float:
        """Share of the variance of the differences that lies between subjects, 0 to 1."""
        return self.between_sd**2 / self.sd**2

    @property
    def outermost(self) -> float:
        """Distance from 0 of the farther limit of agreement, points."""
        return abs(self.bias) + Z * self.sd


@dataclass(frozen=True)
class Chances:
    """Chances of the two verdicts, 0 to 1; the rest is INCONCLUSIVE."""

    passes: float
    fails: float


def verdict_chances(
    spread: Spread, limit_points: float, n_subjects: int, segments: float, intervals: Intervals = "report"
) -> Chances:
    """Chances of PASS and FAIL in a study of normal differences with equal numbers of segments.

    The chances are those of the report's own rule: they are computed from the distributions of the estimated bias and
    variances, so that the intervals' own uncertainty counts (for independent pairs as Lu et al. 2016, Int J Biostat
    12:20150039, do for the intervals of 1999).

    Args:
        spread: true bias and spread.
        limit_points: acceptance limit, points.
        n_subjects: at least 2.
        segments: rated segments of each subject, at least 1.
        intervals: as the report computes them (exact for one segment per subject, otherwise MOVER), or the
            approximation of Bland and Altman 1999, for one segment per subject only.
    """
    if segments <= 1:
        sd, inward, outward = _independent(spread, n_subjects, intervals)
        of_bias = spread.sd / np.sqrt(n_subjects)
    else:
        sd, inward, outward = _clustered(spread, n_subjects, segments)
        of_bias = np.sqrt((spread.between_sd**2 + spread.within_sd**2 / segments) / n_subjects)

    def between(low: Array, high: Array) -> float:
        """Chance that the estimated bias lies between two ends, averaged over the estimated variances."""
        chance = stats.norm.cdf((high - spread.bias) / of_bias) - stats.norm.cdf((low - spread.bias) / of_bias)
        return float(np.maximum(chance, 0).mean())

    passes = limit_points - Z * sd - outward
    undecided = limit_points - Z * sd + inward
    return Chances(between(-passes, passes), 1 - between(-undecided, undecided))


def _independent(spread: Spread, n: int, intervals: Intervals) -> tuple[Array, Array, Array]:
    sd = spread.sd * np.sqrt(_scaled_chi2(n - 1, _BETWEEN_QUANTILES))
    if intervals == "approximate":
        near = stats.t.ppf((1 + LEVEL) / 2, n - 1) * np.sqrt(1 / n + Z**2 / (2 * (n - 1)))
        return sd, near * sd, near * sd
    near, far = tolerance_factors(n)
    return sd, (Z - near) * sd, (far - Z) * sd


def _clustered(spread: Spread, n: int, segments: float) -> tuple[Array, Array, Array]:
    """Estimated SD and reaches over the quantiles of both estimated variances."""
    freedom = n * (segments - 1)
    between = (spread.between_sd**2 + spread.within_sd**2 / segments) * _scaled_chi2(n - 1, _BETWEEN_QUANTILES)
    within = (1 - 1 / segments) * spread.within_sd**2 * _scaled_chi2(freedom, _WITHIN_QUANTILES)
    parts: list[tuple[Array, float]] = [(between[:, None], n - 1), (within[None, :], freedom)]
    inward, outward = mover_reaches(parts, n)
    return np.sqrt(between[:, None] + within[None, :]), inward, outward


@lru_cache(maxsize=256)
def _scaled_chi2(freedom: float, quantiles: int) -> Array:
    """Estimated over true variance at the middles of equally likely parts."""
    ratios: Array = stats.chi2.ppf((np.arange(quantiles) + 0.5) / quantiles, freedom) / freedom
    return ratios


def subjects_to_pass(
    spread: Spread, limit_points: float, segments: float, power: float, intervals: Intervals = "report"
) -> int | None:
    """Fewest subjects for a chance of PASS of `power`; None where no study of up to 10,000 has it."""
    if spread.outermost >= limit_points:
        return None
    return _fewest(lambda n: verdict_chances(spread, limit_points, n, segments, intervals).passes >= power)


def subjects_to_fail(spread: Spread, limit_points: float, segments: float, power: float) -> int | None:
    """Fewest subjects for a chance of FAIL of `power`; None where no study of up to 10,000 has it."""
    if spread.outermost <= limit_points:
        return None
    return _fewest(lambda n: verdict_chances(spread, limit_points, n, segments).fails >= power)


def _fewest(enough: Callable[[int], bool]) -> int | None:
    """The least n from 3 on that is enough; chances rise with n."""
    low, high = 2, 4
    while not enough(high):
        if high >= MOST_SUBJECTS:
            return None
        low, high = high, min(2 * high, MOST_SUBJECTS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def limit_half_width(spread: Spread, n_subjects: int, segments: float) -> float:
    """Half of the width of a limit's 95 % confidence interval, points, in large samples.

    With one segment per subject 1.96 s sqrt(1/n + 1.96^2 / (2 (n - 1))), which is about 1.96 sqrt(3/n) s (Bland and
    Altman 1986, 1999); with several the same by the delta method from the two components of variance.
    """
    n = n_subjects
    between = spread.between_sd**2 + spread.within_sd**2 / segments
    within = (1 - 1 / segments) * spread.within_sd**2
    of_total = 2 * between**2 / (n - 1)
    if segments > 1:
        of_total += 2 * within**2 / (n * (segments - 1))
    return Z * float(np.sqrt(between / n + Z**2 * of_total / (4 * spread.sd**2)))


def independent_segments(spread: Spread, n_subjects: int, segments: float) -> float:
    """How many independent segments the clustered ones are worth for the bias: n m / (1 + (m - 1) ICC) (Kish 1965)."""
    return n_subjects * segments / (1 + (segments - 1) * spread.icc)


def upper_sd(spread: Spread, n_subjects: int, segments: float, confidence: float) -> float:
    """One-sided upper confidence limit of the SD from a pilot study, points (Browne 1995, Stat Med 14:1933).

    Degrees of freedom of the total variance by Satterthwaite.

    Args:
        spread: as the pilot estimated it.
        n_subjects: of the pilot, at least 2.
        segments: of each of its subjects, at least 1.
        confidence: 0 to 1.
    """
    between = spread.between_sd**2 + spread.within_sd**2 / segments
    within = (1 - 1 / segments) * spread.within_sd**2
    of_within = within**2 / (n_subjects * (segments - 1)) if segments > 1 else 0.0
    freedom = (between + within) ** 2 / (between**2 / (n_subjects - 1) + of_within)
    return spread.sd * float(np.sqrt(freedom / stats.chi2.ppf(1 - confidence, freedom)))
