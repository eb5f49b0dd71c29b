"""Statistics of every condition, by the same functions as the report, with 95 % intervals by the subject bootstrap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from avpenet_cli.evaluation.conditions import CLEAN, Condition
from avpenet_cli.evaluation.evaluate import Evaluation
from avpenet_cli.stats.bootstrap import Resampling, SubjectBootstrap
from avpenet_cli.stats.estimate import Estimate, absent, flat
from avpenet_cli.stats.pairs import Pairs
from avpenet_cli.training.metrics import Metrics, compute_metrics


@dataclass(frozen=True)
class ConditionResult:
    """The statistics of one condition.

    Attributes:
        metrics: over the rated segments that have a score under the condition and clean.
        mae_minus_clean: mean over segments of |error| under the condition minus |error| clean, points; positive is
            worse than clean.
        not_computable: why the condition cannot be applied to these weights; empty where it can.
    """

    condition: Condition
    metrics: Metrics
    mae_minus_clean: Estimate
    not_computable: str = ""

    @property
    def estimates(self) -> dict[str, Estimate]:
        """By name, in the order in which they are written."""
        return self.metrics.estimates | {"mae_minus_clean": self.mae_minus_clean}

    def to_json(self) -> dict[str, Any]:
        """JSON types: `condition`, `family`, `level`, counts, and for each statistic `NAME`, `NAME_ci`, `reasons`."""
        condition = self.condition
        return {
            "condition": condition.name,
            "family": condition.family,
            "level": condition.level,
            "n": self.metrics.n,
            "n_subjects": self.metrics.n_subjects,
            "not_computable": self.not_computable,
        } | flat(**self.estimates)


def condition_results(
    evaluation: Evaluation, conditions: Sequence[Condition], resampling: Resampling
) -> tuple[ConditionResult, ...]:
    """Statistics of each condition, in the same order."""
    return tuple(_result(evaluation, condition, resampling) for condition in conditions)


def _result(evaluation: Evaluation, condition: Condition, resampling: Resampling) -> ConditionResult:
    not_computable = evaluation.not_computable.get(condition.name, "")
    if not_computable:
        missing = absent(not_computable)
        return ConditionResult(
            condition, Metrics(0, 0, missing, missing, missing, missing, missing), missing, not_computable
        )
    pairs, clean = evaluation.pairs(condition.name)
    bootstrap = resampling.of(pairs.n_subjects)
    if condition is CLEAN:
        difference = absent("it is the clean condition")
    else:
        difference = paired_difference(pairs, clean, bootstrap)
    return ConditionResult(condition, compute_metrics(pairs, bootstrap), difference)


def paired_difference(pairs: Pairs, clean: Pairs, bootstrap: SubjectBootstrap) -> Estimate:
    """Mean over segments of |error| minus |error| of the same segments clean, points, by the paired subject bootstrap.

    Args:
        pairs, clean: the same segments in the same order.
    """
    if pairs.n < 1:
        return absent("no pairs")
    difference = np.abs(pairs.difference) - np.abs(clean.difference)
    sums = pairs.per_subject(np.ones(pairs.n), difference)
    return bootstrap.estimate(lambda total: total[..., 1:] / total[..., :1], sums, ("identity",), pairs.n)[0]
