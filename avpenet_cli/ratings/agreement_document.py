"""How well raters agree: the content of agreement.json, as frozen dataclasses."""

from __future__ import annotations

from dataclasses import dataclass

from avpenet_cli.stats.estimate import Estimate
from avpenet_cli.study.sheets import SourceFile

AGREEMENT_VERSION = 1
MINIMUM_SUBJECTS = 10
"""Patients that a coefficient takes, as the groups of a report do."""
MINIMUM_SEGMENTS = 10
"""Segments that it takes."""


@dataclass(frozen=True)
class SetAgreement:
    """Raters who all rated the same segments, which no other rater did.

    Attributes:
        raters: at least two.
        n_segments: that they all rated.
        n_subjects: of those.
        icc_a1: ICC(A,1), absolute agreement of single ratings.
        icc_c1: ICC(C,1), consistency: a constant difference between raters does not lower it.
        icc_11: ICC(1,1), one-way.
    """

    raters: tuple[str, ...]
    n_segments: int
    n_subjects: int
    icc_a1: Estimate
    icc_c1: Estimate
    icc_11: Estimate


@dataclass(frozen=True)
class PairAgreement:
    """Two raters on the segments that both rated; differences are first minus second, points.

    Attributes:
        first: a rater.
        second: another one.
        n_segments: that both rated.
        n_subjects: of those.
        bias: mean difference, points.
        lower: lower limit of agreement, points.
        upper: upper limit of agreement, points.
        mae: mean absolute difference, points.
        icc_a1: ICC(A,1).
        icc_c1: ICC(C,1).
        kappa_classes: quadratically weighted kappa of low, moderate and high; of whole scales only.
        kappa_values: quadratically weighted kappa of the scale's own values.
    """

    first: str
    second: str
    n_segments: int
    n_subjects: int
    bias: Estimate
    lower: Estimate
    upper: Estimate
    mae: Estimate
    icc_a1: Estimate
    icc_c1: Estimate
    kappa_classes: Estimate
    kappa_values: Estimate


@dataclass(frozen=True)
class RaterDrift:
    """How a rater moves away from the others in the course of the rater's own ratings.

    Attributes:
        rater: who.
        by: `rated_at` or `order`, what gives the course; empty where neither is known.
        n_segments: that the rater and others rated.
        n_subjects: of those.
        change: slope of rating minus the median of the others, from the rater's first to last rating, points.
        p: of no change, two-sided; null where not computable.
        p_holm: corrected for the number of raters of this item (Holm 1979).
        method: of the slope's interval.
    """

    rater: str
    by: str
    n_segments: int
    n_subjects: int
    change: Estimate
    p: float
    p_holm: float
    method: str


@dataclass(frozen=True)
class ItemAgreement:
    """Agreement on one item, or on whole scales.

    Attributes:
        item: name of the item; empty for whole scales.
        scales: of its ratings.
        raters: who rated it.
        n_ratings: of all raters.
        n_segments: rated by at least one.
        n_common: rated by at least two.
        sets: raters who rated the same segments, the set with most segments first.
        pairs: every two raters.
        drift: every rater.
    """

    item: str
    scales: tuple[str, ...]
    raters: tuple[str, ...]
    n_ratings: int
    n_segments: int
    n_common: int
    sets: tuple[SetAgreement, ...]
    pairs: tuple[PairAgreement, ...]
    drift: tuple[RaterDrift, ...]


@dataclass(frozen=True)
class AgreementDocument:
    """Agreement of raters; ratings are brought to 0 to 10 points, and what cannot be computed is null with a reason.

    Attributes:
        version: of this format.
        software: name and version of the program.
        files: tables of ratings.
        subjects: table of subjects; null without one.
        subjects_known: whether a table of subjects was given; otherwise each recording counts as a patient.
        minimum_subjects: patients that a coefficient takes.
        minimum_segments: segments that a coefficient takes.
        cut_points: upper ends of the classes low and moderate, points.
        confidence: of the intervals, 0 to 1.
        bootstrap_replicates: number of resamples of patients.
        seed: of the resampling.
        empty: rows without a value, which were left out.
        notices: what a reader must know.
        items: whole scales first, then items in the order of the tables.
    """

    version: int
    software: str
    files: tuple[SourceFile, ...]
    subjects: SourceFile | None
    subjects_known: bool
    minimum_subjects: int
    minimum_segments: int
    cut_points: tuple[float, float]
    confidence: float
    bootstrap_replicates: int
    seed: int
    empty: int
    notices: tuple[str, ...]
    items: tuple[ItemAgreement, ...]
