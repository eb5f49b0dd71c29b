"""Intraclass correlation coefficients under their exact names (McGraw and Wong 1996, Psychol Methods 1:30).

ICC(1,1): one-way. ICC(C,1): two-way, consistency. ICC(A,1): two-way, absolute agreement; Shrout and Fleiss call it
ICC(2,1) where raters are a sample, with the same value.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import stats

from avpenet_cli.stats.bootstrap import FEWEST_SUBJECTS, LEVEL, SubjectBootstrap
from avpenet_cli.stats.estimate import NO_INTERVAL, Estimate, Interval, absent
from avpenet_cli.stats.pairs import Array


@dataclass(frozen=True)
class Icc:
    """The three ICCs of a single rating, each at most 1.

    Attributes:
        icc_a1: ICC(A,1), absolute agreement, two-way.
        icc_c1: ICC(C,1), consistency, two-way: a constant bias does not lower it.
        icc_11: ICC(1,1), absolute agreement, one-way.
        n_targets: rows that all raters rated.
        n_raters: number of raters.
        method: of the intervals.
    """

    icc_a1: Estimate
    icc_c1: Estimate
    icc_11: Estimate
    n_targets: int
    n_raters: int
    method: str


def icc(ratings: Array, subject: np.ndarray[tuple[int], np.dtype[np.int64]], bootstrap: SubjectBootstrap) -> Icc:
    """ICCs of complete ratings.

    With one row per subject the intervals are exact, by F (McGraw and Wong 1996, table 7), otherwise by the subject
    bootstrap.

    Args:
        ratings: (n, k) points, no NaN, k >= 2.
        subject: (n,) codes from 0.
        bootstrap: resamples of those subjects.
    """
    n, k = ratings.shape
    if n < 2 or np.ptp(ratings, axis=0).max() < 1e-12:
        missing = absent("fewer than two segments" if n < 2 else "no variation between segments on either side", n)
        return Icc(missing, missing, missing, n, k, "none")
    n_subjects = bootstrap.n_subjects
    sums = icc_sums(ratings, subject, n_subjects)
    if n == n_subjects:
        values = icc_coefficients(k, n, sums.sum(axis=0))
        # With two or three rows the exact interval exceeds the range of a correlation.
        few = n < FEWEST_SUBJECTS
        intervals = [NO_INTERVAL] * 3 if few else _exact(*_mean_squares(k, n, sums.sum(axis=0)), n, k)
        why = f"fewer than {FEWEST_SUBJECTS} segments" if few else ""
        estimates = [Estimate(float(value), ci, n, why) for value, ci in zip(values, intervals, strict=True)]
        return Icc(estimates[0], estimates[1], estimates[2], n, k, "exact (F)")
    estimates = bootstrap.estimate(partial(icc_coefficients, k, n), sums, ("fisher", "fisher", "fisher"), n)
    return Icc(estimates[0], estimates[1], estimates[2], n, k, "subject bootstrap")


def icc_sums(ratings: Array, subject: np.ndarray[tuple[int], np.dtype[np.int64]], n_subjects: int) -> Array:
    """(n_subjects, 3 + k) sums by subject, for `icc_coefficients`; arguments as those of `icc`."""
    # Less 5, the middle of the scale, which keeps the sums small.
    x = ratings - 5.0
    columns = [np.ones(len(x)), (x**2).sum(axis=1), x.mean(axis=1) ** 2, *x.T]
    return np.stack([np.bincount(subject, column, n_subjects) for column in columns], axis=1).astype(np.float64)


def _mean_squares(k: int, n_rows: int, sums: Array) -> tuple[Array, Array, Array, Array]:
    """Mean squares between rows, between raters, of error and within rows, from sums (..., 3 + k)."""
    n, square, row_square = np.moveaxis(sums[..., :3], -1, 0)
    means = sums[..., 3:] / n[..., None]
    grand = means.mean(axis=-1)
    # A resample has another number of rows; scaling the degrees of freedom with it keeps the statistic homogeneous of
    # degree 0 in the sums.
    freedom = n * (n_rows - 1) / n_rows
    rows = k * (row_square - n * grand**2)
    raters = n * ((means - grand[..., None]) ** 2).sum(axis=-1)
    within = square - k * row_square
    error = np.maximum(within - raters, 0)
    return (
        rows / freedom,
        raters / (k - 1) * (n_rows / n),
        error / (freedom * (k - 1)),
        within / (n * (k - 1)),
    )


def icc_coefficients(k: int, n_rows: int, sums: Array) -> Array:
    """ICC(A,1), ICC(C,1) and ICC(1,1), (..., 3), from sums (..., 3 + k)."""
    rows, raters, error, within = _mean_squares(k, n_rows, sums)
    agreement = (rows - error) / (rows + (k - 1) * error + k / n_rows * (raters - error))
    consistency = (rows - error) / (rows + (k - 1) * error)
    one_way = (rows - within) / (rows + (k - 1) * within)
    return np.stack([agreement, consistency, one_way], axis=-1)


def _exact(rows: Array, raters: Array, error: Array, within: Array, n: int, k: int) -> list[Interval]:
    """Intervals of the three by F, from the mean squares of n rows and k raters; NaN for perfect agreement."""
    upper_tail = (1 + LEVEL) / 2
    if within <= 0 or error <= 0:
        return [NO_INTERVAL] * 3

    def quantile(first: float, second: float) -> float:
        return float(stats.f.ppf(upper_tail, first, second))

    def of_ratio(ratio: float, freedom: float) -> Interval:
        low, high = ratio / quantile(n - 1, freedom), ratio * quantile(freedom, n - 1)
        return (low - 1) / (low + k - 1), (high - 1) / (high + k - 1)

    value = float((rows - error) / (rows + (k - 1) * error + k / n * (raters - error)))
    if value >= 1:
        return [NO_INTERVAL] * 3
    a = k * value / (n * (1 - value))
    b = 1 + k * value * (n - 1) / (n * (1 - value))
    v = float((a * raters + b * error) ** 2 / ((a * raters) ** 2 / (k - 1) + (b * error) ** 2 / ((n - 1) * (k - 1))))
    other = k * raters + (k * n - k - n) * error
    f_low, f_high = quantile(n - 1, v), quantile(v, n - 1)
    agreement = (
        float(n * (rows - f_low * error) / (f_low * other + n * rows)),
        float(n * (f_high * rows - error) / (other + n * f_high * rows)),
    )
    return [
        agreement,
        of_ratio(float(rows / error), (n - 1) * (k - 1)),
        of_ratio(float(rows / within), n * (k - 1)),
    ]
