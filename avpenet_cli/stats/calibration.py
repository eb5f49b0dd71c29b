"""Calibration: what the reference is on average where the model gives a certain score."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from avpenet_cli.stats.bootstrap import Resampling
from avpenet_cli.stats.estimate import Estimate
from avpenet_cli.stats.pairs import Pairs, one_point_bins
from avpenet_cli.stats.regression import Line, line

_SCALE_POINTS = 10.0


@dataclass(frozen=True)
class CalibrationBin:
    """Pairs whose score lies in one interval of the scale.

    Attributes:
        from_points: lower end, included.
        to_points: upper end, excluded except for the last bin.
        mean_score: points.
        mean_reference: points, all pairs with equal weight; interval by the subject bootstrap on the logit scale.
        n_pairs: pairs in the bin.
        n_subjects: subjects with a pair in the bin.
    """

    from_points: int
    to_points: int
    mean_score: float
    mean_reference: Estimate
    n_pairs: int
    n_subjects: int


def calibration_line(pairs: Pairs) -> Line:
    """Least squares of the reference on the score: intercept 0 and slope 1 when calibrated."""
    return line(pairs.reference, pairs.model, pairs)


def calibration_bins(pairs: Pairs, resampling: Resampling) -> tuple[CalibrationBin, ...]:
    """Mean reference in bins of one point of the score; bins without a pair are left out."""
    bins = []
    for low, part in one_point_bins(pairs, pairs.model):
        # As a share of the scale, whose logit keeps the interval within it.
        sums = part.per_subject(np.ones(part.n), part.reference / _SCALE_POINTS)
        bootstrap = resampling.of(part.n_subjects)
        share = bootstrap.estimate(lambda total: total[..., 1:] / total[..., :1], sums, ("logit",), part.n)[0]
        ci = (_SCALE_POINTS * share.ci[0], _SCALE_POINTS * share.ci[1])
        mean = replace(share, value=_SCALE_POINTS * share.value, ci=ci)
        bins.append(CalibrationBin(low, low + 1, float(part.model.mean()), mean, part.n, part.n_subjects))
    return tuple(bins)
