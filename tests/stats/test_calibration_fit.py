"""Calibration curves: against other implementations, and by patient."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LinearRegression

from avpenet_cli.stats.bootstrap import Resampling
from avpenet_cli.stats.calibration_fit import (
    Method,
    cross_fitted,
    curve_band,
    fit_curve,
    mae_change,
    patient_folds,
    patient_weights,
    weighted_accuracy,
)
from avpenet_cli.stats.pairs import Pairs
from tests.stats.simulated_patients import Site, simulate


def patients(n: int = 40, seed: int = 0, most_segments: int = 40) -> Pairs:
    return simulate(Site(most_segments=most_segments), n, np.random.default_rng(seed))[0]


def test_at_its_knots_a_monotone_curve_is_isotonic_regression() -> None:
    rng = np.random.default_rng(3)
    knots = np.arange(10.0)
    subject = np.repeat(np.arange(30), rng.integers(1, 30, 30))
    score = rng.choice(knots, len(subject))
    pairs = Pairs(score, np.clip(score + rng.normal(0, 3, len(score)), 0, 10), subject, 30)
    curve = fit_curve(pairs, "monotone", knots)
    isotonic = IsotonicRegression().fit(score, pairs.reference, sample_weight=patient_weights(pairs))
    np.testing.assert_allclose(curve.at(knots), isotonic.predict(knots), atol=1e-8)
    assert (np.diff(isotonic.predict(knots)) == 0).any()  # else nothing was pooled


def test_a_linear_curve_is_weighted_least_squares_within_the_scale() -> None:
    pairs = patients()
    line = LinearRegression().fit(pairs.model[:, None], pairs.reference, sample_weight=patient_weights(pairs))
    expected = np.clip(line.predict(pairs.model[:, None]), 0, 10)
    np.testing.assert_allclose(fit_curve(pairs, "linear").at(pairs.model), expected, atol=1e-9)


@pytest.mark.parametrize("method", ["monotone", "linear"])
def test_more_segments_of_a_patient_do_not_change_the_curve(method: Method) -> None:
    pairs = patients()
    repeats = np.where(pairs.subject == 7, 50, 1)
    score, rating = np.repeat(pairs.model, repeats), np.repeat(pairs.reference, repeats)
    more = Pairs(score, rating, np.repeat(pairs.subject, repeats), pairs.n_subjects)
    np.testing.assert_allclose(fit_curve(more, method).calibrated, fit_curve(pairs, method).calibrated, atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_a_monotone_curve_never_falls_leaves_the_scale_or_jumps(seed: int) -> None:
    curve = fit_curve(patients(25, seed), "monotone")
    values = curve.at(np.linspace(-1, 11, 2401))
    assert (np.diff(values) >= 0).all()
    assert values.min() >= 0
    assert values.max() <= 10
    assert np.diff(values).max() < 0.1  # in 0.005 points of score


def test_scores_that_fall_with_the_rating_give_a_flat_monotone_curve() -> None:
    pairs = patients()
    falling = Pairs(10 - pairs.model, pairs.reference, pairs.subject, pairs.n_subjects)
    assert fit_curve(falling, "monotone").flat
    assert fit_curve(falling, "linear").flat
    assert fit_curve(Pairs(np.full(3, 2.0), np.arange(3.0), np.arange(3), 3), "monotone").flat


def test_cross_fitted_scores_do_not_depend_on_the_patients_own_ratings() -> None:
    pairs = patients()
    changed = pairs.reference.copy()
    changed[pairs.subject == 7] = 10.0
    with_other_ratings = Pairs(pairs.model, changed, pairs.subject, pairs.n_subjects)
    before, after = (cross_fitted(p, "monotone", 42) for p in (pairs, with_other_ratings))
    own = pairs.subject == 7
    np.testing.assert_array_equal(before[own], after[own])
    assert (before[~own] != after[~own]).any()


def test_folds_are_of_patients_of_nearly_equal_size_and_seeded() -> None:
    folds = patient_folds(47, 10, 1)
    assert set(np.bincount(folds)) == {4, 5}
    np.testing.assert_array_equal(folds, patient_folds(47, 10, 1))
    assert (folds != patient_folds(47, 10, 2)).any()


def test_accuracy_gives_patients_equal_weight() -> None:
    pairs = patients()
    found = weighted_accuracy(pairs.model, pairs, Resampling(200, 1))
    by_patient = [pairs.difference[pairs.subject == number] for number in range(pairs.n_subjects)]
    assert found.mae.value == pytest.approx(np.mean([np.abs(d).mean() for d in by_patient]))
    assert found.bias.value == pytest.approx(np.mean([d.mean() for d in by_patient]))
    line = LinearRegression().fit(pairs.model[:, None], pairs.reference, sample_weight=patient_weights(pairs))
    assert found.slope.value == pytest.approx(line.coef_[0])
    assert found.mae.ci[0] < found.mae.value < found.mae.ci[1]


def test_the_change_of_the_error_is_that_of_the_two_errors() -> None:
    plain, resampling = patients(60), Resampling(400, 1)
    pairs = Pairs(0.4 * plain.model + 4.0, plain.reference, plain.subject, plain.n_subjects)
    after = cross_fitted(pairs, "monotone", 1)
    change = mae_change(pairs.model, after, pairs, resampling)
    errors = [weighted_accuracy(scores, pairs, resampling).mae.value for scores in (pairs.model, after)]
    assert change.value == pytest.approx(errors[1] - errors[0])
    assert change.ci[1] < 0  # the scores were shrunk and shifted


def test_the_band_narrows_with_patients_not_with_segments() -> None:
    def width(n: int, most_segments: int) -> float:
        band = curve_band(patients(n, 1, most_segments), "linear", np.array([5.0]), Resampling(400, 1))
        return band[0].ci[1] - band[0].ci[0]

    assert width(160, 10) < 0.7 * width(40, 10)
    assert width(40, 100) > 0.7 * width(40, 10)


def test_without_a_fit_the_band_has_no_interval_and_a_reason() -> None:
    assert curve_band(patients(), "none", np.array([5.0]), Resampling(200, 1))[0].reason == "not fitted"
