"""Errors of two predictors on the same segments, compared by pairs, and families of such comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from avpenet_cli.stats.bootstrap import SubjectBootstrap
from avpenet_cli.stats.estimate import NAN, Estimate, absent
from avpenet_cli.stats.mean_difference import MeanDifference, paired_test
from avpenet_cli.stats.pairs import Array

NO_SEGMENTS = "no segments in common"
_ZERO_ERROR = "the error that it would be a share of is 0"


@dataclass(frozen=True)
class ErrorComparison:
    """Absolute errors of two predictors on the same segments; differences are first minus second.

    Attributes:
        n: segments.
        n_subjects: their subjects.
        first, second: mean absolute errors, points, all segments with equal weight.
        difference: of the two, points; interval by the paired bootstrap over subjects.
        percent: difference over the second, per cent; interval likewise.
        test: paired t-test of the subjects' mean absolute errors, all subjects with equal weight.
    """

    n: int
    n_subjects: int
    first: float
    second: float
    difference: Estimate
    percent: Estimate
    test: MeanDifference


def compare_errors(
    first: Array, second: Array, subject: NDArray[np.int64], bootstrap: SubjectBootstrap
) -> ErrorComparison:
    """Compare two predictors on the same segments, as a family of one; `correct_family` corrects for more.

    Args:
        first, second: (n,) absolute errors, points.
        subject: (n,) codes from 0 to `bootstrap.n_subjects` - 1, each at least once.
        bootstrap: resamples of those subjects.
    """
    n, n_subjects = len(first), bootstrap.n_subjects
    if not n:
        missing = absent(NO_SEGMENTS)
        return ErrorComparison(0, 0, NAN, NAN, missing, missing, untested(NO_SEGMENTS))
    columns = (np.ones(n), first, second)
    sums = np.stack([np.bincount(subject, column, n_subjects) for column in columns], axis=1).astype(np.float64)
    difference, percent = bootstrap.estimate(_differences, sums, ("identity", "identity"), n)
    if not np.isfinite(percent.value):
        percent = absent(_ZERO_ERROR, n)
    means = sums[:, 1:] / sums[:, :1]
    test = paired_test(means[:, 0], means[:, 1], 1)
    return ErrorComparison(n, n_subjects, float(first.mean()), float(second.mean()), difference, percent, test)


def _differences(sums: Array) -> Array:
    n, first, second = np.moveaxis(sums, -1, 0)
    return np.stack([(first - second) / n, 100 * (first - second) / second], axis=-1)


def untested(reason: str, n: int = 0) -> MeanDifference:
    """A test that cannot be made, with the reason."""
    return MeanDifference(absent(reason, n), NAN, NAN, NAN, NAN, 0)


def correct_family(tests: Sequence[MeanDifference]) -> list[tuple[MeanDifference, float]]:
    """The tests with Bonferroni's correction for their number, and Holm's corrected p-value of each.

    Tests without a p-value do not count.
    """
    p = np.array([test.p for test in tests])
    size = int(np.isfinite(p).sum())
    corrected = [
        replace(test, p_bonferroni=min(1.0, test.p * size) if np.isfinite(test.p) else NAN, n_comparisons=size)
        for test in tests
    ]
    return list(zip(corrected, holm(p).tolist(), strict=True))


def holm(p: Array) -> Array:
    """Step-down p-values (Holm 1979, Scand J Stat 6:65): never larger than Bonferroni's.

    Args:
        p: (m,) NaN where there is no test, which does not count.

    Returns:
        (m,) at most 1; NaN where p is.
    """
    corrected = np.full(len(p), NAN)
    tested = np.flatnonzero(np.isfinite(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected
