"""Accuracy and agreement of scores with the reference, for the weights' description and the evaluation."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.stats.accuracy import accuracy
from avpenet_cli.stats.agreement import limits
from avpenet_cli.stats.bootstrap import Resampling, SubjectBootstrap
from avpenet_cli.stats.estimate import Estimate, flat
from avpenet_cli.stats.pairs import Pairs
from avpenet_cli.stats.reliability import icc


@dataclass(frozen=True)
class Metrics:
    """Agreement of scores with the reference, with 95 % intervals by the subject bootstrap.

    Attributes:
        n, n_subjects: pairs of score and reference, and their subjects.
        mae, rmse, bias: points; bias is score less reference.
        icc_a1: ICC(A,1), two-way random effects, absolute agreement, single rater.
        pearson: correlation.
    """

    n: int
    n_subjects: int
    mae: Estimate
    rmse: Estimate
    bias: Estimate
    icc_a1: Estimate
    pearson: Estimate

    @property
    def estimates(self) -> dict[str, Estimate]:
        """The statistics, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Estimate)}

    def to_json(self) -> dict[str, Any]:
        """JSON types: `n`, `n_subjects`, `mae`, `mae_ci` ..., `reasons`; a statistic that has no value is null."""
        return {"n": self.n, "n_subjects": self.n_subjects} | flat(**self.estimates)


def compute_metrics(pairs: Pairs, bootstrap: SubjectBootstrap) -> Metrics:
    """Metrics of pairs of score (`model`) and reference, points; `bootstrap` is of the pairs' subjects."""
    errors = accuracy(pairs, bootstrap)
    reliability = icc(np.stack([pairs.model, pairs.reference], axis=1), pairs.subject, bootstrap)
    return Metrics(
        n=pairs.n,
        n_subjects=pairs.n_subjects,
        mae=errors.mae,
        rmse=errors.rmse,
        bias=limits(pairs, None).bias,
        icc_a1=reliability.icc_a1,
        pearson=errors.pearson,
    )


def segment_metrics(store: SegmentStore, rows: np.ndarray, scores: np.ndarray) -> Metrics:
    """Metrics of segments of a store.

    Args:
        rows: (n,) int64, of the store's index.
        scores: (n,) float64, points.
    """
    index = store.index
    reference = index["reference"].to_numpy(dtype=np.float64)[rows]
    pairs = Pairs.of(scores, reference, index["subject"].to_numpy(dtype=object)[rows])
    return compute_metrics(pairs, Resampling().of(pairs.n_subjects))
