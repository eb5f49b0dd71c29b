"""Difference of bias and error between two groups of pairs, with the subject as the unit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avpenet_cli.stats.bootstrap import Resampling
from avpenet_cli.stats.detection import Events
from avpenet_cli.stats.estimate import Estimate
from avpenet_cli.stats.pairs import Array, Pairs


@dataclass(frozen=True)
class ErrorGap:
    """One group minus another, points; intervals by the subject bootstrap, not widened for the number of groups.

    Attributes:
        group: whose error is compared.
        against: the group with the most subjects.
        bias: difference of the biases, each the mean over subjects of a subject's mean difference.
        mae: difference of the mean absolute errors, all pairs of a group with equal weight.
    """

    group: str
    against: str
    bias: Estimate
    mae: Estimate


def error_gap(pairs: Pairs, group: Events, against: Events, resampling: Resampling) -> tuple[Estimate, Estimate]:
    """Difference of bias, and of mean absolute error, points. Subjects may have pairs in both groups.

    Args:
        pairs: all pairs.
        group, against: (n,) the pairs of either group; no pair is in both.
        resampling: of the subjects of the two groups.
    """
    either = group | against
    part = Pairs.of(pairs.model[either], pairs.reference[either], pairs.subject[either])
    columns = []
    for chosen in (group[either], against[either]):
        inside = chosen.astype(np.float64)
        n, total, distance = part.per_subject(inside, inside * part.difference, inside * np.abs(part.difference)).T
        mean = np.divide(total, n, out=np.zeros_like(total), where=n > 0)
        columns += [n, distance, (n > 0).astype(np.float64), mean]
    sums = np.stack(columns, axis=1)
    bias, mae = resampling.of(part.n_subjects).estimate(_gaps, sums, ("identity", "identity"), part.n)
    return bias, mae


def _gaps(sums: Array) -> Array:
    n, distance, present, mean, other_n, other_distance, other_present, other_mean = np.moveaxis(sums, -1, 0)
    return np.stack([mean / present - other_mean / other_present, distance / n - other_distance / other_n], axis=-1)
