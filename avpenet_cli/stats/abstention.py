"""Which segments to leave unanswered so that the risk in the others keeps a stated limit, with the patient as the unit.

The rule is a threshold on one measure of evidence. Thresholds are tested from the strictest on, each by a one-sided
test over patients, until the first that fails (fixed-sequence testing, as in Learn then Test; Angelopoulos et al.
2021, arXiv:2110.01052): the chosen one keeps the limit with the stated confidence although many were looked at.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from avpenet_cli.stats.pairs import Array

CONFIDENCE = 0.95
FEWEST_ANSWERED = 20
"""Patients with an answered segment that a threshold needs: below, a one-sided t limit of skewed errors is too low."""
SHARES = tuple(step / 20 for step in range(6, 21))
"""Of the segments that are answered, 30 to 100 %: what the thresholds are chosen for, without a look at the errors."""


@dataclass(frozen=True)
class ThresholdRisk:
    """Segments with at most a certain badness.

    Attributes:
        threshold: the highest badness that is answered.
        share_answered: share of the segments, each patient with equal weight.
        n_subjects: patients with an answered segment.
        risk: mean loss of the answered segments, each patient with equal weight before abstention; NaN without any.
        risk_upper: its upper confidence limit; NaN where patients are too few.
        accepted: whether this and every stricter threshold keep the limit.
    """

    threshold: float
    share_answered: float
    n_subjects: int
    risk: float
    risk_upper: float
    accepted: bool


def choose_threshold(
    loss: Array,
    badness: Array,
    subject: NDArray[np.int64],
    n_subjects: int,
    limit: float,
    confidence: float = CONFIDENCE,
) -> tuple[ThresholdRisk, ...]:
    """Test thresholds, the strictest first.

    Args:
        loss: (n,) of each segment's answer, at least 0, made without its patient.
        badness: (n,) the higher the poorer the evidence; infinity where it is not known, which is never answered.
        subject: (n,) 0 to n_subjects - 1.
        n_subjects: number of patients.
        limit: of the mean loss.
        confidence: of the upper limit, one-sided.

    Returns:
        Every threshold; the last accepted one is the most generous that keeps the limit. Empty where no segment has a
        known badness.
    """
    weight = 1.0 / np.bincount(subject, minlength=n_subjects)[subject]
    results: list[ThresholdRisk] = []
    keeps = True
    for threshold in _thresholds(badness, weight):
        kept = badness <= threshold
        answered: Array = np.bincount(subject, weight * kept, n_subjects).astype(np.float64)
        lost: Array = np.bincount(subject, weight * kept * loss, n_subjects).astype(np.float64)
        n_answered = int((answered > 0).sum())
        upper = upper_limit(lost, answered, confidence) if n_answered >= FEWEST_ANSWERED else float("nan")
        keeps = keeps and upper <= limit
        risk = float(lost.sum() / answered.sum())
        results.append(ThresholdRisk(threshold, min(1.0, float(answered.mean())), n_answered, risk, upper, keeps))
    return tuple(results)


def _thresholds(badness: Array, weight: Array) -> list[float]:
    """The levels of badness at which the shares of `SHARES` are answered, increasing."""
    order = np.argsort(badness, kind="stable")
    reached = np.cumsum(weight[order]) / weight.sum()
    places = np.minimum(np.searchsorted(reached, np.array(SHARES) - 1e-9), len(badness) - 1)
    levels = np.unique(badness[order[places]])
    return [float(level) for level in levels if np.isfinite(level)]


def upper_limit(lost: Array, answered: Array, confidence: float) -> float:
    """One-sided upper confidence limit of a ratio of means over patients, by inverting a t test (Fieller 1954).

    The test is corrected for skewness (Johnson 1978, J Am Stat Assoc 73:536): a few patients have most of the large
    errors, and without the correction the limit would be too low when these are not among the patients.

    Args:
        lost: (patients,) summed loss.
        answered: (patients,) summed weight.
        confidence: one-sided.

    Returns:
        Infinity where no ratio is rejected: too few patients have an answered segment.
    """
    n = len(lost)
    t = float(stats.t.ppf(confidence, n - 1))

    def statistic(ratio: float) -> float:
        rest = lost - ratio * answered
        mean, sd = float(rest.mean()), float(rest.std(ddof=1))
        if sd < 1e-12:
            return mean
        skewness = max(0.0, float(((rest - mean) ** 3).mean()) / sd**3)
        return mean + sd * (t / math.sqrt(n) + skewness * (1 + 2 * t * t) / (6 * n))

    low = float(lost.sum() / answered.sum())
    high = low + 1.0
    while statistic(high) > 0:
        high = low + 2 * (high - low)
        if high > 1e6:
            return float("inf")
    if statistic(low) <= 0:  # the same in every patient
        return low
    return optimize.brentq(statistic, low, high)
