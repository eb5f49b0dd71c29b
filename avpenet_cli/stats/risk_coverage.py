"""Risk-coverage: the mean absolute error of the pairs that remain when those of lowest quality are set aside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from avpenet_cli.stats.bootstrap import FEWEST_SUBJECTS, SubjectBootstrap, percentile_interval
from avpenet_cli.stats.estimate import NO_INTERVAL, Estimate, Interval, absent
from avpenet_cli.stats.levels import count_table, levels
from avpenet_cli.stats.pairs import Array, Pairs

# Levels of quality in the resamples; the value itself is exact.
_LEVELS = 200
_TWENTIETHS = range(19)


@dataclass(frozen=True)
class RiskPoint:
    """Mean absolute error, points, when a share of the pairs, 0 to 1, is set aside."""

    share_set_aside: float
    mae: float


@dataclass(frozen=True)
class RiskCoverage:
    """Error against the share of pairs set aside by one measure of quality, the lowest quality first.

    Attributes:
        column: that measures quality.
        n_missing: pairs without a value there, which are set aside first.
        area: area under the risk-coverage curve, points: mean over k of the mean absolute error of the k pairs of
            highest quality (Geifman and El-Yaniv 2017, NeurIPS 30); pairs of equal quality in random order.
        gain: mean absolute error of all pairs minus the area, points: over 0 when quality tells where the error is
            large, 0 when setting aside by it is no better than by chance.
        curve: at 0, 5, ... 90 % set aside.
    """

    column: str
    n_missing: int
    area: Estimate
    gain: Estimate
    curve: tuple[RiskPoint, ...]


def risk_coverage(column: str, pairs: Pairs, quality: Array, bootstrap: SubjectBootstrap) -> RiskCoverage:
    """The curve, its area and the gain; intervals by expanded percentiles of the subject bootstrap.

    Args:
        column: for the result.
        pairs: all pairs.
        quality: (n,) the higher the better; NaN where not measured.
        bootstrap: resamples of the pairs' subjects.
    """
    missing = np.isnan(quality)
    n_missing = int(missing.sum())
    reason = ""
    if n_missing == pairs.n:
        reason = "no values in the score table"
    elif not n_missing and np.ptp(quality) < 1e-12:
        reason = "the same in every pair"
    if reason:
        return RiskCoverage(column, n_missing, absent(reason, pairs.n), absent(reason, pairs.n), ())
    badness = np.where(missing, np.inf, -quality)
    # Ranks, because infinity has no quantiles.
    place, n_levels = levels(np.unique(badness, return_inverse=True)[1].astype(np.float64), pairs.n)
    error = np.abs(pairs.difference)
    counts = np.bincount(place, minlength=n_levels).astype(np.float64)
    errors = np.bincount(place, error, n_levels).astype(np.float64)
    area = float(_area(counts[None, :], errors[None, :])[0])
    gain = float(error.mean()) - area
    area_ci, gain_ci, reason = _intervals(pairs, place.astype(np.float64), error, bootstrap)
    return RiskCoverage(
        column,
        n_missing,
        Estimate(area, area_ci, pairs.n, reason),
        Estimate(gain, gain_ci, pairs.n, reason),
        _curve(counts, errors),
    )


def _intervals(pairs: Pairs, place: Array, error: Array, bootstrap: SubjectBootstrap) -> tuple[Interval, Interval, str]:
    """Intervals of area and gain, and why there are none."""
    if pairs.n_subjects < FEWEST_SUBJECTS:
        return NO_INTERVAL, NO_INTERVAL, f"fewer than {FEWEST_SUBJECTS} subjects: too few to resample"
    coarse, n_coarse = levels(place, _LEVELS)
    shape = (pairs.n_subjects, n_coarse)
    tables = count_table(pairs.subject, coarse, shape), count_table(pairs.subject, coarse, shape, error)
    areas, gains = [], []
    for drawn in bootstrap.weights_for_ranks():
        counts, errors = (drawn @ table for table in tables)
        resampled = _area(counts, errors)
        areas.append(resampled)
        gains.append(errors.sum(axis=1) / counts.sum(axis=1) - resampled)
    area_ci, gain_ci = (percentile_interval(np.concatenate(parts), pairs.n_subjects) for parts in (areas, gains))
    return area_ci, gain_ci, ""


def _area(counts: Array, errors: Array) -> Array:
    """(rows,) area under the curve, points, from pairs and summed errors by level, best first, (rows, levels)."""
    last, total = np.cumsum(counts, axis=1), np.cumsum(errors, axis=1)
    first = last - counts
    mean = np.divide(errors, counts, out=np.zeros_like(errors), where=counts > 0)
    # Among the k best, k from first + 1 to last, the expected error is mean + (error before - mean * first) / k.
    harmonic = special.digamma(last + 1) - special.digamma(first + 1)
    area: Array = (errors + (total - errors - mean * first) * harmonic).sum(axis=1) / last[:, -1]
    return area


def _curve(counts: Array, errors: Array) -> tuple[RiskPoint, ...]:
    kept = np.concatenate([[0.0], np.cumsum(counts)])
    total = np.concatenate([[0.0], np.cumsum(errors)])
    points = []
    for twentieth in _TWENTIETHS:
        remaining = (1 - twentieth / 20) * kept[-1]
        points.append(RiskPoint(twentieth / 20, float(np.interp(remaining, kept, total) / remaining)))
    return tuple(points)
