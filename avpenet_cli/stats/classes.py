"""Agreement on the three classes: low, moderate, high."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avpenet_cli.stats.bootstrap import Scale, SubjectBootstrap
from avpenet_cli.stats.estimate import Estimate, absent
from avpenet_cli.stats.pairs import Array, Pairs

LABELS = ("low", "moderate", "high")

_OVERALL: tuple[tuple[str, Scale], ...] = (
    ("accuracy", "logit"),
    ("macro_f1", "logit"),
    ("kappa", "fisher"),
    ("kappa_linear", "fisher"),
    ("kappa_quadratic", "fisher"),
    ("ac2", "fisher"),
    ("two_class_jumps", "logit"),
)
_PER_CLASS = ("sensitivity", "specificity", "ppv")
_STEPS = np.abs(np.arange(3)[:, None] - np.arange(3))


@dataclass(frozen=True)
class Classes:
    """Agreement on classes; intervals by the subject bootstrap.

    Attributes:
        cut_points: low up to and including the first, moderate up to and including the second, high above.
        confusion: (3, 3) counts, rows the reference, columns the model; always all three classes.
        accuracy: share of pairs in the same class.
        macro_f1: mean F1 over the three classes; not defined when a class occurs on neither side.
        kappa, kappa_linear, kappa_quadratic: Cohen's (1960, 1968), unweighted and weighted.
        ac2: Gwet's AC2 with quadratic weights (Gwet 2008, Br J Math Stat Psychol 61:29; 2014).
        two_class_jumps: share of pairs low on one side and high on the other.
        per_class: sensitivity, specificity and positive predictive value of each class.
    """

    cut_points: tuple[float, float]
    confusion: NDArray[np.int64]
    accuracy: Estimate
    macro_f1: Estimate
    kappa: Estimate
    kappa_linear: Estimate
    kappa_quadratic: Estimate
    ac2: Estimate
    two_class_jumps: Estimate
    per_class: dict[str, dict[str, Estimate]]


def class_of(values: Array, cut_points: tuple[float, float]) -> NDArray[np.int64]:
    """0 low, 1 moderate, 2 high; cut points belong to the lower class."""
    # A score of 6.000000001 by rounding of medians is a 6.
    return np.searchsorted(np.array(cut_points) + 1e-9, values, side="left").astype(np.int64)


def classes(pairs: Pairs, bootstrap: SubjectBootstrap, cut_points: tuple[float, float]) -> Classes:
    """Of pairs of scores, by the same cut points on both sides."""
    cell = class_of(pairs.reference, cut_points) * 3 + class_of(pairs.model, cut_points)
    sums = np.bincount(pairs.subject * 9 + cell, minlength=9 * pairs.n_subjects).reshape(-1, 9).astype(np.float64)
    confusion = sums.sum(axis=0).reshape(3, 3).astype(np.int64)
    scales: list[Scale] = [scale for _, scale in _OVERALL] + ["logit"] * 9
    found = bootstrap.estimate(_of_sums, sums, scales, pairs.n) if pairs.n else [absent("no pairs")] * len(scales)
    named = {name: one for (name, _), one in zip(_OVERALL, found, strict=False)}
    _explain(named, confusion)
    per_class: dict[str, dict[str, Estimate]] = {}
    for place, label in enumerate(LABELS):
        three = found[len(_OVERALL) + 3 * place :][:3]
        per_class[label] = dict(zip(_PER_CLASS, three, strict=True))
        empty = {
            "sensitivity": confusion[place].sum() == 0,
            "specificity": confusion.sum() == confusion[place].sum(),
            "ppv": confusion[:, place].sum() == 0,
        }
        why = {
            "sensitivity": f"the reference is never {label}",
            "specificity": f"the reference is always {label}",
            "ppv": f"the model never says {label}",
        }
        for name, is_empty in empty.items():
            if is_empty:
                per_class[label][name] = absent(why[name], pairs.n)
    return Classes(cut_points, confusion, per_class=per_class, **named)


def _explain(named: dict[str, Estimate], confusion: NDArray[np.int64]) -> None:
    total = int(confusion.sum())
    nowhere = [label for place, label in enumerate(LABELS) if not (confusion[place].sum() + confusion[:, place].sum())]
    if nowhere:
        named["macro_f1"] = absent(f"neither side ever says {' or '.join(nowhere)}", total)
    if len(nowhere) == 2:
        for name in ("kappa", "kappa_linear", "kappa_quadratic"):
            named[name] = absent("both sides always say the same class", total)


def _of_sums(sums: Array) -> Array:
    """(..., 9) counts -> (..., 7 + 9)."""
    table = sums.reshape(*sums.shape[:-1], 3, 3)
    shares = table / table.sum(axis=(-1, -2), keepdims=True)
    reference, model = shares.sum(axis=-1), shares.sum(axis=-2)
    same = np.diagonal(shares, axis1=-2, axis2=-1)
    by_chance = reference[..., :, None] * model[..., None, :]
    f1 = 2 * same / (reference + model)

    def kappa(weights: Array) -> Array:
        seen, expected = (shares * weights).sum(axis=(-1, -2)), (by_chance * weights).sum(axis=(-1, -2))
        found: Array = (seen - expected) / (1 - expected)
        return found

    quadratic = 1 - (_STEPS / 2) ** 2
    mean_share = (reference + model) / 2
    rng = quadratic.sum() / (3 * 2) * (mean_share * (1 - mean_share)).sum(axis=-1)
    seen = (shares * quadratic).sum(axis=(-1, -2))
    overall = [
        same.sum(axis=-1),
        f1.mean(axis=-1),
        kappa(np.eye(3)),
        kappa(1 - _STEPS / 2),
        kappa(quadratic),
        (seen - rng) / (1 - rng),
        shares[..., 0, 2] + shares[..., 2, 0],
    ]
    for place in range(3):
        hit = same[..., place]
        neither = 1 - reference[..., place] - model[..., place] + hit
        overall += [hit / reference[..., place], neither / (1 - reference[..., place]), hit / model[..., place]]
    return np.stack(overall, axis=-1)
