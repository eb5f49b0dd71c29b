"""Groups, batches and raters compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from avpenet_cli.stats.error_gap import ErrorGap
from avpenet_cli.stats.estimate import Estimate
from avpenet_cli.stats.mean_difference import MeanDifference
from avpenet_cli.stats.raters import PairwiseAgreement
from avpenet_cli.stats.reliability import Icc

Measure = Literal["bias", "mae"]
QUALITY_FLAGS, MODALITIES = "quality flags", "modalities"
"""Strata by a property of the segments instead of the subjects."""


@dataclass(frozen=True)
class Group:
    """Bias and error of the pairs of one group.

    Attributes:
        name: level of the stratum, or batch.
        n_subjects: with a pair.
        n_recordings: with a pair; of a batch, all its recordings.
        n_pairs: pairs of score and reference.
        coverage_share: share of the recorded seconds with a score, 0 to 1; null where not known.
        suppressed: whether there are too few subjects to show bias and error.
        bias: points.
        mae: mean absolute error, points.
    """

    name: str
    n_subjects: int
    n_recordings: int
    n_pairs: int
    coverage_share: float | None
    suppressed: bool
    bias: Estimate
    mae: Estimate


@dataclass(frozen=True)
class GroupComparison:
    """Welch's t-test of the subjects' means of two groups: first minus second, points."""

    first: str
    second: str
    measure: Measure
    test: MeanDifference


@dataclass(frozen=True)
class Stratum:
    """The groups that one column forms.

    Attributes:
        column: of the table of subjects, or a property of the segments.
        groups: one per level; none where there are too many levels.
        comparisons: of every two groups with enough subjects.
        note: why there are no comparisons; else empty.
        gaps: every other group with enough subjects against the one with the most.
    """

    column: str
    groups: tuple[Group, ...]
    comparisons: tuple[GroupComparison, ...]
    note: str
    gaps: tuple[ErrorGap, ...]


@dataclass(frozen=True)
class DriftSection:
    """Bias and coverage by batch.

    Attributes:
        by: column that gives the batches, or `score table`.
        batches: in order of time.
    """

    by: str
    batches: tuple[Group, ...]


@dataclass(frozen=True)
class RaterSetReliability:
    """Reliability of raters who all rated the same segments."""

    raters: tuple[str, ...]
    n_subjects: int
    icc: Icc


@dataclass(frozen=True)
class RaterPair:
    """Agreement of two raters, or of the model and a rater; first minus second."""

    first: str
    second: str
    agreement: PairwiseAgreement


@dataclass(frozen=True)
class RatersSection:
    """Agreement among raters.

    Attributes:
        sets: those with most segments first.
        pairs: the model's first, then those with most segments; at most 15.
        pairs_left_out: how many more there are.
    """

    sets: tuple[RaterSetReliability, ...]
    pairs: tuple[RaterPair, ...]
    pairs_left_out: int
