"""Metrics of a predictor that was trained with several seeds: the mean over seeds, with the subject as the unit.

The scores of the seeds are not averaged: that would be the error of an ensemble. Every metric is computed for each
seed. The interval of their mean resamples subjects, the same in all seeds: it covers the choice of subjects, not that
of seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from avpenet_cli.stats.accuracy import accuracy_statistics, error_sums
from avpenet_cli.stats.bootstrap import Scale, Statistic, SubjectBootstrap
from avpenet_cli.stats.classes import LABELS, Counts, class_of, overall_statistics
from avpenet_cli.stats.estimate import NAN, Estimate, absent
from avpenet_cli.stats.mean_difference import paired_test
from avpenet_cli.stats.pairs import Array, Pairs
from avpenet_cli.stats.reliability import icc_coefficients, icc_sums

_ERRORS: tuple[tuple[str, Scale], ...] = (("mae", "log"), ("rmse", "log"), ("pearson", "fisher"))
_CLASSES: tuple[tuple[str, Scale], ...] = (
    ("accuracy", "logit"),
    ("macro_f1", "logit"),
    ("kappa", "fisher"),
    ("kappa_linear", "fisher"),
)
METRICS = ("mae", "rmse", "bias", "pearson", "icc_a1", "accuracy", "macro_f1", "kappa", "kappa_linear")


@dataclass(frozen=True)
class SeedAverage:
    """The mean of a metric over seeds, and how far the seeds differ.

    Attributes:
        mean: mean over seeds; its interval resamples subjects, `n` counts segments.
        low: least of the seeds; NaN without one.
        high: greatest of the seeds.
        sd: standard deviation between seeds (ddof 1); NaN with one seed.
        n_seeds: number of seeds.
    """

    mean: Estimate
    low: float = NAN
    high: float = NAN
    sd: float = NAN
    n_seeds: int = 0

    @classmethod
    def of(cls, mean: Estimate, values: Array) -> SeedAverage:
        """The mean with the spread of the seeds' values, (seeds,), NaN where not defined."""
        defined = values[np.isfinite(values)]
        if not len(defined):
            return cls(mean, n_seeds=len(values))
        sd = float(defined.std(ddof=1)) if len(defined) > 1 else NAN
        return cls(mean, float(defined.min()), float(defined.max()), sd, len(values))


@dataclass(frozen=True)
class SeedMetrics:
    """Every metric of `METRICS`.

    Attributes:
        averages: by name.
        by_seed: by name: (seeds,) values, NaN where not defined.
        reasons: by name: why a seed's value is NaN; empty where all are numbers.
        confusion: (3, 3) counts summed over seeds, rows the reference, columns the predictor.
    """

    averages: dict[str, SeedAverage]
    by_seed: dict[str, Array]
    reasons: dict[str, str]
    confusion: Counts


def no_metrics(reason: str, n_seeds: int = 0) -> SeedMetrics:
    """Metrics that cannot be computed, with the reason."""
    return SeedMetrics(
        {name: SeedAverage(absent(reason), n_seeds=n_seeds) for name in METRICS},
        {name: np.full(n_seeds, NAN) for name in METRICS},
        dict.fromkeys(METRICS, reason),
        ((0, 0, 0),) * 3,
    )


def seed_metrics(
    scores: Array,
    reference: Array,
    subject: NDArray[np.int64],
    bootstrap: SubjectBootstrap,
    cut_points: tuple[float, float],
) -> SeedMetrics:
    """Metrics of the same segments in every seed.

    Args:
        scores: (seeds, n) points, no NaN; at least one seed and one segment.
        reference: (n,) points.
        subject: (n,) codes from 0 to `bootstrap.n_subjects` - 1, each at least once.
        bootstrap: resamples of those subjects.
        cut_points: low up to and including the first, moderate up to and including the second, points.
    """
    seeds = [Pairs(row, reference, subject, bootstrap.n_subjects) for row in scores]
    estimates: dict[str, Estimate] = {}
    values: dict[str, Array] = {}

    def compute(statistic: Statistic, sums: Sequence[Array], names: Sequence[tuple[str, Scale]]) -> None:
        means, by_seed = average(statistic, sums, [scale for _, scale in names], bootstrap, len(reference))
        for place, (name, _) in enumerate(names):
            estimates[name], values[name] = means[place], by_seed[:, place]

    compute(
        lambda sums: accuracy_statistics(sums)[..., : len(_ERRORS)], [error_sums(pairs) for pairs in seeds], _ERRORS
    )
    coefficients = partial(icc_coefficients, 2, len(reference))
    ratings = [icc_sums(np.stack([row, reference], axis=1), subject, bootstrap.n_subjects) for row in scores]
    compute(lambda sums: coefficients(sums)[..., :1], ratings, (("icc_a1", "fisher"),))
    tables = [_class_counts(pairs, cut_points) for pairs in seeds]
    compute(lambda sums: overall_statistics(sums)[..., : len(_CLASSES)], tables, _CLASSES)
    estimates["bias"], values["bias"] = _bias(seeds)
    confusions = [table.sum(axis=0).reshape(3, 3).astype(np.int64) for table in tables]
    reasons = _undefined(seeds, confusions, values)
    for name, reason in reasons.items():
        estimates[name] = absent(reason, len(reference))
    averages = {name: SeedAverage.of(estimates[name], values[name]) for name in METRICS}
    counts = tuple(tuple(row) for row in sum(confusions, np.zeros((3, 3), np.int64)).tolist())
    return SeedMetrics(averages, {name: values[name] for name in METRICS}, reasons, counts)


def average(
    statistic: Statistic, sums: Sequence[Array], scales: Sequence[Scale], bootstrap: SubjectBootstrap, n: int
) -> tuple[list[Estimate], Array]:
    """Mean over seeds of statistics, with intervals by the bootstrap over subjects.

    Args:
        statistic: of one seed's sums, as `SubjectBootstrap.estimate` takes it.
        sums: of each seed, (n_subjects, k).
        scales: of the statistics.
        bootstrap: resamples of the subjects.
        n: sample size to state.

    Returns:
        An estimate of each statistic, and (seeds, statistics) their values.
    """
    size = sums[0].shape[1]

    def mean(joined: Array) -> Array:
        parts = [statistic(joined[..., first : first + size]) for first in range(0, joined.shape[-1], size)]
        result: Array = np.mean(parts, axis=0)
        return result

    with np.errstate(all="ignore"):
        by_seed = np.stack([statistic(table.sum(axis=0)) for table in sums])
    return bootstrap.estimate(mean, np.concatenate(sums, axis=1), scales, n), by_seed


def _class_counts(pairs: Pairs, cut_points: tuple[float, float]) -> Array:
    """(n_subjects, 9) counts of the cells of the confusion matrix."""
    cell = class_of(pairs.reference, cut_points) * 3 + class_of(pairs.model, cut_points)
    counts = np.bincount(pairs.subject * 9 + cell, minlength=9 * pairs.n_subjects)
    return counts.reshape(-1, 9).astype(np.float64)


def _bias(seeds: Sequence[Pairs]) -> tuple[Estimate, Array]:
    """Mean over subjects of the mean difference, interval by Student's t; the seeds' values, points."""
    by_subject = []
    for pairs in seeds:
        count, total = pairs.per_subject(np.ones(pairs.n), pairs.difference).T
        by_subject.append(total / count)
    means: Array = np.mean(by_subject, axis=0)
    test = paired_test(means, np.zeros_like(means), 1)
    return replace(test.difference, n=seeds[0].n), np.mean(by_subject, axis=1)


def _undefined(
    seeds: Sequence[Pairs], confusions: Sequence[NDArray[np.int64]], values: dict[str, Array]
) -> dict[str, str]:
    """Why metrics are not defined in a seed; sets the values that rounding errors gave to NaN."""
    reasons: dict[str, str] = {}

    def mark(seed: int, name: str, reason: str) -> None:
        values[name][seed] = NAN
        reasons.setdefault(name, reason + (f" in seed number {seed + 1} of {len(seeds)}" if len(seeds) > 1 else ""))

    for seed, (pairs, confusion) in enumerate(zip(seeds, confusions, strict=True)):
        if np.ptp(pairs.reference) < 1e-12:
            mark(seed, "pearson", "the reference is the same in all segments")
        elif np.ptp(pairs.model) < 1e-12:
            mark(seed, "pearson", "the score is the same in all segments")
        if max(np.ptp(pairs.model), np.ptp(pairs.reference)) < 1e-12:
            mark(seed, "icc_a1", "no variation between segments on either side")
        occurs = confusion.sum(axis=0) + confusion.sum(axis=1) > 0
        if not occurs.all():
            nowhere = [label for label, present in zip(LABELS, occurs, strict=True) if not present]
            mark(seed, "macro_f1", f"neither side is ever {' or '.join(nowhere)}")
        if occurs.sum() == 1:
            for name in ("kappa", "kappa_linear"):
                mark(seed, name, "both sides always have the same class")
        for name, column in values.items():
            if not np.isfinite(column[seed]):
                mark(seed, name, reasons.get(name, "not defined for these data"))
    return reasons
