"""Figures of groups of recordings: areas under the ROC curve, shares and means, with the person as the unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from avpenet_cli.stats.bootstrap import LEVEL, Resampling
from avpenet_cli.stats.detection import auroc
from avpenet_cli.stats.estimate import NO_INTERVAL, Estimate, absent
from avpenet_cli.stats.pairs import Pairs

Scores = Mapping[str, float]
"""Score of each recording by name."""


def auc_between(higher: Scores, lower: Scores, unit: Mapping[str, str]) -> Estimate:
    """Area under the ROC curve (AUC) of recordings against others: chance that the one scores higher, ties half.

    Args:
        higher: recordings that should score higher.
        lower: the others.
        unit: person, device or file of each recording, which the interval resamples.
    """
    names = [*higher, *lower]
    scores = np.array([*higher.values(), *lower.values()], dtype=np.float64)
    event = np.arange(len(names)) < len(higher)
    return auc(scores, event, np.array([unit[name] for name in names], dtype=object))


def auc(scores: NDArray[np.float64], event: NDArray[np.bool_], unit: NDArray[np.generic]) -> Estimate:
    """The same from aligned columns, each (n,): score, whether it should be higher, and person, device or file."""
    if not event.any() or event.all():
        return absent("no scores on one side", len(scores))
    pairs = Pairs.of(scores, scores, unit)
    return auroc(pairs, event, Resampling().of(pairs.n_subjects))


def share(hits: Sequence[bool] | NDArray[np.bool_]) -> Estimate:
    """Share of independent recordings with its Wilson score interval (Wilson 1927, J Am Stat Assoc 22:209)."""
    n, count = len(hits), int(np.sum(hits))
    if not n:
        return absent("no scores")
    low, high = stats.binomtest(count, n).proportion_ci(LEVEL, method="wilson")
    return Estimate(count / n, (float(low), float(high)), n)


def mean(values: Sequence[float] | NDArray[np.float64]) -> Estimate:
    """Mean of independent values with Student's interval."""
    n = len(values)
    if not n:
        return absent("no scores")
    centre = float(np.mean(values))
    if n < 2:
        return Estimate(centre, NO_INTERVAL, n, "a single value")
    reach = float(stats.t.ppf((1 + LEVEL) / 2, n - 1) * np.std(values, ddof=1) / np.sqrt(n))
    return Estimate(centre, (centre - reach, centre + reach), n)
