"""Agreement among human raters, in the same terms as the agreement of the model with them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avpenet_cli.stats.accuracy import mean_absolute_error
from avpenet_cli.stats.agreement import Method, limits
from avpenet_cli.stats.bootstrap import Resampling
from avpenet_cli.stats.classes import classes
from avpenet_cli.stats.estimate import Estimate
from avpenet_cli.stats.pairs import Array, Pairs
from avpenet_cli.stats.reliability import Icc, icc

FEWEST_SEGMENTS = 2
"""That two raters must have in common."""


@dataclass(frozen=True)
class RaterSet:
    """Raters who all rated the same segments, which no other rater did.

    Attributes:
        raters: columns of the ratings, at least two.
        n_subjects: subjects of those segments.
        icc: reliability of a single rating; `n_targets` counts the segments.
    """

    raters: tuple[int, ...]
    n_subjects: int
    icc: Icc


@dataclass(frozen=True)
class PairwiseAgreement:
    """Agreement of two raters, or of the model and a rater; differences are first minus second, points.

    Attributes:
        n_pairs: segments that both scored.
        n_subjects: subjects of those segments.
        method: of the limits of agreement.
        sd: standard deviation of the differences, points.
        bias: mean difference, points.
        lower: lower limit of agreement, points.
        upper: upper limit of agreement, points.
        mae: mean absolute difference, points.
        icc_a1: ICC(A,1).
        kappa_quadratic: quadratically weighted kappa of the three classes.
    """

    n_pairs: int
    n_subjects: int
    method: Method
    sd: float
    bias: Estimate
    lower: Estimate
    upper: Estimate
    mae: Estimate
    icc_a1: Estimate
    kappa_quadratic: Estimate


def rater_sets(ratings: Array, subject: NDArray[np.int64], resampling: Resampling) -> tuple[RaterSet, ...]:
    """ICCs of every set of raters who rated the same segments, the set with most segments first.

    Args:
        ratings: (segments, raters) points, NaN where not rated.
        subject: (segments,) code of the subject of each segment.
    """
    rated = np.isfinite(ratings)
    sets = []
    for pattern in _patterns(rated):
        rows = (rated == pattern).all(axis=1)
        if pattern.sum() < 2 or rows.sum() < FEWEST_SEGMENTS:
            continue
        subjects, codes = np.unique(subject[rows], return_inverse=True)
        result = icc(ratings[rows][:, pattern], codes, resampling.of(len(subjects)))
        sets.append(RaterSet(tuple(np.flatnonzero(pattern).tolist()), len(subjects), result))
    return tuple(sorted(sets, key=lambda rater_set: -rater_set.icc.n_targets))


def _patterns(rated: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """Which raters rated together: the distinct rows of (segments, raters)."""
    packed = np.packbits(rated, axis=1)
    as_bytes = np.ascontiguousarray(packed).view(np.dtype((np.void, packed.shape[1]))).ravel()
    _, first = np.unique(as_bytes, return_index=True)
    return [rated[row] for row in first]


def pairwise_agreement(pairs: Pairs, cut_points: tuple[float, float], resampling: Resampling) -> PairwiseAgreement:
    """Bias, limits of agreement, MAE, ICC(A,1) and quadratic kappa of the same pairs.

    Args:
        pairs: `model` is the first side, `reference` the second.
        cut_points: upper ends of the classes low and moderate, points, for both sides.
    """
    bootstrap = resampling.of(pairs.n_subjects)
    agreement = limits(pairs, None)
    both_sides = np.stack([pairs.model, pairs.reference], axis=1)
    return PairwiseAgreement(
        pairs.n,
        pairs.n_subjects,
        agreement.method,
        agreement.sd,
        agreement.bias,
        agreement.lower,
        agreement.upper,
        mean_absolute_error(pairs, bootstrap),
        icc(both_sides, pairs.subject, bootstrap).icc_a1,
        classes(pairs, bootstrap, cut_points).kappa_quadratic,
    )
