"""Size of the error and strength of the relation: MAE, RMSE, correlations, shares of pairs within a distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from avpenet_cli.stats.bootstrap import LEVEL, Resampling, Scale, SubjectBootstrap
from avpenet_cli.stats.estimate import NO_INTERVAL, Estimate, absent
from avpenet_cli.stats.levels import Indices, count_table, levels
from avpenet_cli.stats.pairs import Array, Pairs, one_point_bins

# The jackknife ranks at most this many distinct values per side: exact for ratings, to 1/10,000 of rho for scores.
_GRID = 100
_CHUNK = 500

_NAMES = ("mae", "rmse", "pearson", "ccc", "within_1", "within_2")
_SCALES: tuple[Scale, ...] = ("log", "log", "fisher", "fisher", "logit", "logit")
_CONSTANT = "one of the two is constant"


@dataclass(frozen=True)
class Accuracy:
    """Errors and correlations over all pairs with equal weight; intervals by the subject bootstrap.

    Attributes:
        mae: mean absolute error, points.
        rmse: root mean square error, points.
        pearson: Pearson's correlation, -1 to 1.
        spearman: Spearman's rank correlation, -1 to 1; interval by the jackknife over subjects.
        ccc: Lin's concordance correlation coefficient, -1 to 1 (Lin 1989, Biometrics 45:255; variances with ddof 0).
        within_1: share of pairs at most 1 point apart, 0 to 1.
        within_2: share of pairs at most 2 points apart, 0 to 1.
    """

    mae: Estimate
    rmse: Estimate
    pearson: Estimate
    spearman: Estimate
    ccc: Estimate
    within_1: Estimate
    within_2: Estimate


@dataclass(frozen=True)
class IntensityBin:
    """The error where the reference lies in one interval of the scale.

    Attributes:
        from_points: lower end, included.
        to_points: upper end, excluded except for the last bin.
        mae: mean absolute error, points.
        bias: mean of model - reference, points.
        n_pairs: pairs in the bin.
        n_subjects: subjects with a pair in the bin.
    """

    from_points: int
    to_points: int
    mae: Estimate
    bias: float
    n_pairs: int
    n_subjects: int


def accuracy(pairs: Pairs, bootstrap: SubjectBootstrap) -> Accuracy:
    """Every statistic of `Accuracy`; `bootstrap` is of the pairs' subjects."""
    if pairs.n < 2:
        missing = absent("fewer than two pairs", pairs.n)
        return Accuracy(missing, missing, missing, missing, missing, missing, missing)
    estimates = bootstrap.estimate(accuracy_statistics, error_sums(pairs), _SCALES, pairs.n)
    by_name = dict(zip(_NAMES, estimates, strict=True))
    if min(np.ptp(pairs.model), np.ptp(pairs.reference)) < 1e-12:
        by_name["pearson"] = absent(_CONSTANT, pairs.n)
        if max(np.ptp(pairs.model), np.ptp(pairs.reference)) < 1e-12:
            by_name["ccc"] = absent("both are constant", pairs.n)
    return Accuracy(spearman=spearman(pairs), **by_name)


def mean_absolute_error(pairs: Pairs, bootstrap: SubjectBootstrap) -> Estimate:
    """Mean absolute error, points, over all pairs with equal weight; interval by the subject bootstrap."""
    if pairs.n < 1:
        return absent("no pairs")
    sums = pairs.per_subject(np.ones(pairs.n), np.abs(pairs.difference))
    return bootstrap.estimate(lambda total: total[..., 1:] / total[..., :1], sums, ("log",), pairs.n)[0]


def error_sums(pairs: Pairs) -> Array:
    """(n_subjects, 9) sums: 1, x, y, x^2, y^2, xy, |d|, |d| <= 1, |d| <= 2; x and y less 5, the middle of the scale."""
    x, y, distance = pairs.model - 5, pairs.reference - 5, np.abs(pairs.difference)
    # Differences of decimal fractions miss a round number by a rounding error.
    within = [(distance <= limit + 1e-9).astype(np.float64) for limit in (1, 2)]
    return pairs.per_subject(np.ones(pairs.n), x, y, x * x, y * y, x * y, distance, *within)


def accuracy_statistics(sums: Array) -> Array:
    """Sums of `error_sums`, (..., 9), to the statistics of `_NAMES`, (..., 6)."""
    n, x, y, xx, yy, xy, distance, within_1, within_2 = np.moveaxis(sums, -1, 0)
    mean_x, mean_y = x / n, y / n
    var_x, var_y, cov = xx / n - mean_x**2, yy / n - mean_y**2, xy / n - mean_x * mean_y
    return np.stack(
        [
            distance / n,
            np.sqrt(np.maximum(xx + yy - 2 * xy, 0) / n),
            cov / np.sqrt(np.maximum(var_x * var_y, 0)),
            2 * cov / (var_x + var_y + (mean_x - mean_y) ** 2),
            within_1 / n,
            within_2 / n,
        ],
        axis=-1,
    )


def spearman(pairs: Pairs) -> Estimate:
    """Spearman's rank correlation, -1 to 1; interval by the jackknife over subjects, with new ranks each time.

    The interval is normal on Fisher's z scale, with Student's t and one degree of freedom fewer than subjects: with few
    subjects it covers the true value more often than the bootstrap does (docs/explanation/benchmarks.md).
    """
    if min(np.ptp(pairs.model), np.ptp(pairs.reference)) < 1e-12:
        return absent(_CONSTANT, pairs.n)
    value = float(stats.spearmanr(pairs.model, pairs.reference).statistic)
    subjects = pairs.n_subjects
    if subjects < 2:
        return Estimate(value, NO_INTERVAL, pairs.n, "one subject: nothing to leave out")
    row, rows = levels(pairs.model, _GRID)
    column, columns = levels(pairs.reference, _GRID)
    used, cell = np.unique(row * columns + column, return_inverse=True)
    counts = count_table(pairs.subject, cell, (subjects, len(used)))
    total = np.asarray(counts.sum(axis=0)).ravel()
    without = [
        _rank_correlation(
            total - counts[first : first + _CHUNK].toarray(), used // columns, used % columns, (rows, columns)
        )
        for first in range(0, subjects, _CHUNK)
    ]
    with np.errstate(all="ignore"):
        centre, scaled = np.arctanh(value), np.arctanh(np.concatenate(without))
        spread = np.sqrt((subjects - 1) / subjects * ((scaled - scaled.mean()) ** 2).sum())
    reach = stats.t.ppf((1 + LEVEL) / 2, subjects - 1) * spread
    if not np.isfinite(centre) or not np.isfinite(reach):
        return Estimate(value, NO_INTERVAL, pairs.n, "not defined without one of the subjects, or perfect")
    return Estimate(value, (float(np.tanh(centre - reach)), float(np.tanh(centre + reach))), pairs.n)


def _rank_correlation(table: Array, row: Indices, column: Indices, shape: tuple[int, int]) -> Array:
    """(tables, cells) counts -> (tables,) correlation of midranks."""

    def deviations(place: Indices, size: int) -> Array:
        margin: Array = table @ count_table(np.arange(len(place)), place, (len(place), size))
        midrank = np.cumsum(margin, axis=1) - margin / 2
        total = margin.sum(axis=1, keepdims=True)
        centred: Array = (midrank - (margin * midrank).sum(axis=1, keepdims=True) / total)[:, place]
        return centred

    x, y = deviations(row, shape[0]), deviations(column, shape[1])
    with np.errstate(all="ignore"):
        correlation: Array = (table * x * y).sum(axis=1) / np.sqrt(
            (table * x * x).sum(axis=1) * (table * y * y).sum(axis=1)
        )
    return correlation


def by_intensity(pairs: Pairs, resampling: Resampling) -> tuple[IntensityBin, ...]:
    """MAE and bias in bins of one point of the reference; bins without a pair are left out."""
    bins = []
    for low, part in one_point_bins(pairs, pairs.reference):
        mae = mean_absolute_error(part, resampling.of(part.n_subjects))
        bins.append(IntensityBin(low, low + 1, mae, float(part.difference.mean()), part.n, part.n_subjects))
    return tuple(bins)
