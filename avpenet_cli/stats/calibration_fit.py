"""Calibration curves: the rating to be expected at a score, fitted with equal weight for every patient.

A patient with many segments tells more about that patient, not about others; a curve for new patients therefore gives
each patient the same total weight, shared by the patient's segments.

The monotone curve is the least-squares fit among rising curves that are straight between knots (isotonic regression,
Barlow et al. 1972, in the class of continuous piecewise linear functions): steps, which isotonic regression has, would
make the calibrated score jump where the score hardly changes. A fit needs only each patient's sums of products, so that
resampling patients costs little.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from avpenet_cli.stats.bootstrap import FEWEST_SUBJECTS, Resampling, percentile_interval
from avpenet_cli.stats.estimate import Estimate, absent
from avpenet_cli.stats.pairs import Array, Pairs

Method = Literal["monotone", "linear", "none"]

FEWEST_PATIENTS = 20
"""For a curve, of a site or of a group. Cross-fitting then leaves 18 patients for a fit; the bootstrap's intervals hold
from about 20 subjects (docs/explanation/benchmarks.md); a 90 % interval for new patients rests on the largest errors of
two patients in 20, of a single one with fewer than 19."""
FOLDS = 10
"""Into which patients are divided for cross-fitting."""

_LOWEST, _HIGHEST = 0.0, 10.0
_MOST_KNOTS = 8
"""Also with few patients: with 4 knots the band of 20 patients held the curve at its lower end in 77 % of simulated
sites, with 8 in 91 %, and the error was the same."""
_LEAST_GAP = 0.5
"""Points between knots: what lies nearer cannot be told apart by ratings in whole points."""
_FLAT = 1e-3


@dataclass(frozen=True)
class CalibrationCurve:
    """A curve that is straight between knots and constant beyond the first and the last.

    Attributes:
        score: (k,) points, increasing.
        calibrated: (k,) points, 0 to 10.
    """

    score: Array
    calibrated: Array

    def at(self, scores: Array) -> Array:
        """The calibrated scores, same shape, points."""
        values: Array = np.interp(scores, self.score, self.calibrated)
        return values

    @property
    def flat(self) -> bool:
        """Whether it does not rise: the scores say nothing about the ratings."""
        return bool(self.calibrated[-1] - self.calibrated[0] < _FLAT)


IDENTITY = CalibrationCurve(np.array([_LOWEST, _HIGHEST]), np.array([_LOWEST, _HIGHEST]))
"""Scores as they are."""


def patient_weights(pairs: Pairs) -> Array:
    """(n,) weight of each pair, one over its patient's number of pairs: every patient weighs 1."""
    weights: Array = 1.0 / np.bincount(pairs.subject, minlength=pairs.n_subjects)[pairs.subject]
    return weights


def fit_curve(pairs: Pairs, method: Method, knots: Array | None = None) -> CalibrationCurve:
    """The curve of the rating on the score; each patient has equal weight.

    Args:
        pairs: scores and ratings, at least one.
        method: `monotone`, `linear` (least squares, within the scale) or `none`.
        knots: (k,) points, increasing, where the curve may bend; None: ends and quantiles of the scores.
    """
    if method == "none":
        return IDENTITY
    knots = _knots(pairs, method) if knots is None else knots
    if len(knots) < 2:
        mean = float(np.average(pairs.reference, weights=patient_weights(pairs)))
        return CalibrationCurve(np.array([knots[0], knots[0] + 1e-6]), np.full(2, mean))
    gram, cross = _sums(pairs, knots)
    return _within_scale(knots, _solve(gram.sum(axis=0), cross.sum(axis=0), method))


def curve_band(pairs: Pairs, method: Method, scores: Array, resampling: Resampling) -> list[Estimate]:
    """The curve at some scores, with percentile intervals from the bootstrap by patient; knots stay where they are.

    Args:
        pairs: as for `fit_curve`.
        method: as for `fit_curve`.
        scores: (m,) points, where to evaluate it.
        resampling: of patients.

    Returns:
        m estimates; n is the number of patients.
    """
    curve = fit_curve(pairs, method)
    values = curve.at(scores)
    n = pairs.n_subjects
    knots = _knots(pairs, method) if method != "none" else IDENTITY.score
    if method == "none" or n < FEWEST_SUBJECTS or len(knots) < 2:
        reason = "not fitted" if method == "none" else "too few patients or scores to resample"
        return [Estimate(float(value), absent(reason).ci, n, reason) for value in values]
    gram, cross = _sums(pairs, knots)
    k = len(knots)
    resampled = []
    for drawn in resampling.of(n).weights():
        grams, crosses = (drawn @ gram.reshape(n, k * k)).reshape(-1, k, k), drawn @ cross
        for one_gram, one_cross in zip(grams, crosses, strict=True):
            resampled.append(_within_scale(knots, _solve(one_gram, one_cross, method)).at(scores))
    table = np.stack(resampled)
    return [Estimate(float(value), percentile_interval(table[:, place], n), n) for place, value in enumerate(values)]


def cross_fitted(pairs: Pairs, method: Method, seed: int, folds: int = FOLDS) -> Array:
    """(n,) calibrated scores, each from a curve that was fitted without the patient's fold of patients."""
    fold = patient_folds(pairs.n_subjects, folds, seed)[pairs.subject]
    calibrated = np.empty(pairs.n)
    for number in range(int(fold.max()) + 1):
        held_out = fold == number
        rest = Pairs.of(pairs.model[~held_out], pairs.reference[~held_out], pairs.subject[~held_out])
        calibrated[held_out] = fit_curve(rest, method).at(pairs.model[held_out])
    return calibrated


def patient_folds(n_subjects: int, folds: int, seed: int) -> NDArray[np.int64]:
    """(n_subjects,) the fold of each patient, 0 to folds - 1, in random order; sizes differ by at most one."""
    order = np.random.default_rng(seed).permutation(n_subjects)
    fold = np.empty(n_subjects, dtype=np.int64)
    fold[order] = np.arange(n_subjects) % min(folds, n_subjects)
    return fold


@dataclass(frozen=True)
class WeightedAccuracy:
    """Scores against ratings, every patient with equal weight; intervals by the subject bootstrap, n in patients.

    Attributes:
        mae: mean absolute error, points.
        bias: mean of score minus rating, points.
        slope: of the rating on the score, least squares.
    """

    mae: Estimate
    bias: Estimate
    slope: Estimate


def weighted_accuracy(scores: Array, pairs: Pairs, resampling: Resampling) -> WeightedAccuracy:
    """Accuracy of scores against the pairs' ratings.

    Args:
        scores: (n,) points, raw or calibrated.
        pairs: their ratings and patients.
        resampling: of patients.
    """
    w, y = patient_weights(pairs), pairs.reference
    # Centred, so that sums of squares do not cancel.
    x = scores - np.average(scores, weights=w)
    sums = pairs.per_subject(w, w * np.abs(scores - y), w * (scores - y), w * x, w * y, w * x * x, w * x * y)

    def statistic(total: Array) -> Array:
        n, absolute, difference, sx, sy, sxx, sxy = np.moveaxis(total, -1, 0)
        return np.stack([absolute / n, difference / n, (sxy - sx * sy / n) / (sxx - sx * sx / n)], axis=-1)

    estimates = resampling.of(pairs.n_subjects).estimate(
        statistic, sums, ("log", "identity", "identity"), pairs.n_subjects
    )
    return WeightedAccuracy(*estimates)


def mae_change(before: Array, after: Array, pairs: Pairs, resampling: Resampling) -> Estimate:
    """Mean absolute error of `after` minus that of `before`, points, every patient with equal weight.

    Args:
        before: (n,) points.
        after: (n,) points.
        pairs: their ratings and patients.
        resampling: of patients.
    """
    w, y = patient_weights(pairs), pairs.reference
    sums = pairs.per_subject(w, w * (np.abs(after - y) - np.abs(before - y)))
    bootstrap = resampling.of(pairs.n_subjects)
    return bootstrap.estimate(lambda total: total[..., 1:] / total[..., :1], sums, ("identity",), pairs.n_subjects)[0]


def _knots(pairs: Pairs, method: Method) -> Array:
    """Where the curve may bend, points: the ends of the scores and, for a monotone curve, their quantiles."""
    ends = np.array([pairs.model.min(), pairs.model.max()])
    if method == "linear" or ends[1] - ends[0] < _LEAST_GAP:
        return np.unique(ends)
    order = np.argsort(pairs.model, kind="stable")
    reached = np.cumsum(patient_weights(pairs)[order])
    inner = np.interp(np.linspace(0, 1, _MOST_KNOTS)[1:-1] * reached[-1], reached, pairs.model[order])
    knots = [ends[0]]
    for knot in inner:
        if knot - knots[-1] >= _LEAST_GAP and ends[1] - knot >= _LEAST_GAP:
            knots.append(knot)
    return np.array([*knots, ends[1]])


def _sums(pairs: Pairs, knots: Array) -> tuple[Array, Array]:
    """Each patient's weighted sums of products: (n_subjects, k, k) of the basis, (n_subjects, k) with the rating.

    The basis is 1 and, for every stretch between knots, how much of it lies below the score, 0 to 1: coefficients are
    the value at the first knot and the rises between knots.
    """
    rises = np.clip((pairs.model[:, None] - knots[:-1]) / np.diff(knots), 0.0, 1.0)
    basis = np.concatenate([np.ones((pairs.n, 1)), rises], axis=1)
    weighted = basis * patient_weights(pairs)[:, None]
    k = len(knots)
    gram = np.empty((pairs.n_subjects, k, k))
    for row in range(k):  # one product at a time: all at once take 0.5 GB for a million segments
        for column in range(row + 1):
            product = weighted[:, row] * basis[:, column]
            gram[:, row, column] = gram[:, column, row] = np.bincount(pairs.subject, product, pairs.n_subjects)
    return gram, pairs.per_subject(*(weighted * pairs.reference[:, None]).T)


def _solve(gram: Array, cross: Array, method: Method) -> Array:
    """(k,) values at the knots that minimise the weighted squares; without falling where the curve is monotone."""
    value, vector = np.linalg.eigh(gram)
    kept = value > 1e-10 * value[-1]
    root = np.sqrt(value[kept])
    # |root V' c - V' cross / root|^2 is the sum of squares, but for a constant.
    matrix, target = root[:, None] * vector[:, kept].T, vector[:, kept].T @ cross / root
    if method == "linear":
        coefficients = np.linalg.lstsq(matrix, target, rcond=None)[0]
    else:
        coefficients = optimize.nnls(matrix, target)[0]
    values: Array = np.cumsum(coefficients)
    return values


def _within_scale(knots: Array, values: Array) -> CalibrationCurve:
    """The curve cut off at 0 and 10 points, with a knot where it meets them."""
    crossings = []
    for left in range(len(knots) - 1):
        rise = values[left + 1] - values[left]
        for level in (_LOWEST, _HIGHEST):
            if (values[left] - level) * (values[left + 1] - level) < 0:
                crossings.append(knots[left] + (level - values[left]) / rise * (knots[left + 1] - knots[left]))
    score = np.unique(np.concatenate([knots, crossings]))
    return CalibrationCurve(score, np.clip(np.interp(score, knots, values), _LOWEST, _HIGHEST))
