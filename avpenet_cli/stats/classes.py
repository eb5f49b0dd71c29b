"""Agreement on the three classes: low, moderate, high."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avpenet_cli.stats.bootstrap import Scale, SubjectBootstrap
from avpenet_cli.stats.estimate import Estimate, absent
from avpenet_cli.stats.pairs import Array, Pairs

LABELS = ("low", "moderate", "high")
Counts = tuple[tuple[int, ...], ...]

_OVERALL: tuple[tuple[str, Scale], ...] = (
    ("accuracy", "logit"),
    ("macro_f1", "logit"),
    ("kappa", "fisher"),
    ("kappa_linear", "fisher"),
    ("kappa_quadratic", "fisher"),
    ("ac2", "fisher"),
    ("two_class_jumps", "logit"),
)
_STEPS = np.abs(np.arange(3)[:, None] - np.arange(3))


@dataclass(frozen=True)
class ClassAgreement:
    """One class against the other two; shares from 0 to 1.

    Attributes:
        sensitivity: of the pairs the reference puts in the class, the share that the model puts there.
        specificity: of the pairs the reference puts elsewhere, the share that the model puts elsewhere.
        ppv: positive predictive value: of the pairs the model puts in the class, the share the reference puts there.
    """

    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate


@dataclass(frozen=True)
class Classes:
    """Agreement on the three classes; intervals by the subject bootstrap.

    Attributes:
        cut_points: low up to and including the first, moderate up to and including the second, high above; points.
        labels: names of the classes, in the order of the confusion matrix.
        confusion: (3, 3) counts, rows the reference, columns the model; always all three classes.
        accuracy: share of pairs in the same class, 0 to 1.
        macro_f1: mean F1 over the three classes, 0 to 1; not defined when a class occurs on neither side.
        kappa: Cohen's kappa, unweighted, -1 to 1 (Cohen 1960, Educ Psychol Meas 20:37).
        kappa_linear: with linear weights (Cohen 1968, Psychol Bull 70:213).
        kappa_quadratic: with quadratic weights.
        ac2: Gwet's AC2 with quadratic weights, -1 to 1 (Gwet 2008, Br J Math Stat Psychol 61:29).
        two_class_jumps: share of pairs low on one side and high on the other, 0 to 1.
        per_class: by label.
    """

    cut_points: tuple[float, float]
    labels: tuple[str, ...]
    confusion: Counts
    accuracy: Estimate
    macro_f1: Estimate
    kappa: Estimate
    kappa_linear: Estimate
    kappa_quadratic: Estimate
    ac2: Estimate
    two_class_jumps: Estimate
    per_class: dict[str, ClassAgreement]


def class_of(values: Array, cut_points: tuple[float, float]) -> NDArray[np.int64]:
    """Class of each value, points: 0 low, 1 moderate, 2 high; cut points belong to the lower class."""
    # 6.000000001, which a median of rounded values may give, is a 6.
    return np.searchsorted(np.array(cut_points) + 1e-9, values, side="left").astype(np.int64)


def count_classes(reference: NDArray[np.int64], model: NDArray[np.int64]) -> Counts:
    """(3, 3) counts of pairs of classes, rows the reference, columns the model."""
    cells = np.bincount(reference * 3 + model, minlength=9).reshape(3, 3)
    return tuple(tuple(row) for row in cells.tolist())


def classes(pairs: Pairs, bootstrap: SubjectBootstrap, cut_points: tuple[float, float]) -> Classes:
    """Agreement of pairs on classes, by the same cut points (points) on both sides."""
    cell = class_of(pairs.reference, cut_points) * 3 + class_of(pairs.model, cut_points)
    sums = np.bincount(pairs.subject * 9 + cell, minlength=9 * pairs.n_subjects).reshape(-1, 9).astype(np.float64)
    confusion = sums.sum(axis=0).reshape(3, 3).astype(np.int64)
    scales: list[Scale] = [scale for _, scale in _OVERALL] + ["logit"] * 9
    estimates = (
        bootstrap.estimate(class_statistics, sums, scales, pairs.n) if pairs.n else [absent("no pairs")] * len(scales)
    )
    overall = {name: estimate for (name, _), estimate in zip(_OVERALL, estimates, strict=False)}
    _explain(overall, confusion)
    per_class = {
        label: _one_class(estimates[len(_OVERALL) + 3 * place :][:3], confusion, place)
        for place, label in enumerate(LABELS)
    }
    counts = tuple(tuple(row) for row in confusion.tolist())
    return Classes(cut_points, LABELS, counts, per_class=per_class, **overall)


def _one_class(estimates: Sequence[Estimate], confusion: NDArray[np.int64], place: int) -> ClassAgreement:
    """Sensitivity, specificity and ppv of one class, with the reason where their denominator is 0."""
    label, n = LABELS[place], int(confusion.sum())
    sensitivity, specificity, ppv = estimates
    if confusion[place].sum() == 0:
        sensitivity = absent(f"the reference is never {label}", n)
    if confusion[place].sum() == n:
        specificity = absent(f"the reference is always {label}", n)
    if confusion[:, place].sum() == 0:
        ppv = absent(f"the model is never {label}", n)
    return ClassAgreement(sensitivity, specificity, ppv)


def _explain(overall: dict[str, Estimate], confusion: NDArray[np.int64]) -> None:
    total = int(confusion.sum())
    nowhere = [label for place, label in enumerate(LABELS) if not (confusion[place].sum() + confusion[:, place].sum())]
    if nowhere:
        overall["macro_f1"] = absent(f"neither side is ever {' or '.join(nowhere)}", total)
    if len(nowhere) == 2:
        for name in ("kappa", "kappa_linear", "kappa_quadratic"):
            overall[name] = absent("both sides always have the same class", total)


def class_statistics(sums: Array) -> Array:
    """Counts per cell of the confusion matrix, (..., 9), to the overall and per-class statistics, (..., 7 + 9)."""
    shares, reference, model = _shares(sums)
    per_class = []
    for place in range(3):
        hit = shares[..., place, place]
        neither = 1 - reference[..., place] - model[..., place] + hit
        per_class += [hit / reference[..., place], neither / (1 - reference[..., place]), hit / model[..., place]]
    return np.concatenate([overall_statistics(sums), np.stack(per_class, axis=-1)], axis=-1)


def overall_statistics(sums: Array) -> Array:
    """Counts per cell of the confusion matrix, (..., 9), to the overall statistics, (..., 7), from accuracy on."""
    shares, reference, model = _shares(sums)
    same = np.diagonal(shares, axis1=-2, axis2=-1)
    by_chance = reference[..., :, None] * model[..., None, :]
    f1 = 2 * same / (reference + model)

    def kappa(weights: Array) -> Array:
        observed, expected = (shares * weights).sum(axis=(-1, -2)), (by_chance * weights).sum(axis=(-1, -2))
        value: Array = (observed - expected) / (1 - expected)
        return value

    quadratic = 1 - (_STEPS / 2) ** 2
    mean_share = (reference + model) / 2
    chance_agreement = quadratic.sum() / (3 * 2) * (mean_share * (1 - mean_share)).sum(axis=-1)
    observed = (shares * quadratic).sum(axis=(-1, -2))
    overall = [
        same.sum(axis=-1),
        f1.mean(axis=-1),
        kappa(np.eye(3)),
        kappa(1 - _STEPS / 2),
        kappa(quadratic),
        (observed - chance_agreement) / (1 - chance_agreement),
        shares[..., 0, 2] + shares[..., 2, 0],
    ]
    return np.stack(overall, axis=-1)


def _shares(sums: Array) -> tuple[Array, Array, Array]:
    """Shares of the cells, (..., 3, 3), and their margins, (..., 3), of the reference and of the model."""
    table = sums.reshape(*sums.shape[:-1], 3, 3)
    shares = table / table.sum(axis=(-1, -2), keepdims=True)
    return shares, shares.sum(axis=-1), shares.sum(axis=-2)
