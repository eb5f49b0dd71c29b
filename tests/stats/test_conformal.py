"""Intervals for new patients: by hand, against crepes, and by simulation. `measure_conformal.py` measures with many."""

from __future__ import annotations

import math

import numpy as np
import pytest
from crepes import ConformalRegressor

from avpenet_cli.stats.conformal import conformal_half_width, expected_coverage_at_most, fewest_subjects
from tests.stats.measure_conformal import coverage, group_coverage
from tests.stats.simulated_patients import SITES


def test_patients_share_the_mass_whatever_their_number_of_segments() -> None:
    # Three patients and the new one have 1/4 each. Up to 3 lie all of the first and half of the second: 3/8.
    error = np.array([1.0, 2.0, 3.0, 9.0, 8.0])
    subject = np.array([0, 0, 1, 1, 2])
    assert conformal_half_width(error, subject, 3, 0.25) == 2.0
    assert conformal_half_width(error, subject, 3, 0.375) == 3.0
    assert conformal_half_width(error, subject, 3, 0.625) == 8.0
    assert conformal_half_width(error, subject, 3, 0.75) == 9.0
    assert conformal_half_width(error, subject, 3, 0.76) == math.inf


# None of which makes (1 - level) (n + 1) an integer, which crepes rounds down as 0.2 x 100 = 19.999....
@pytest.mark.parametrize("n", [20, 37, 62, 103])
@pytest.mark.parametrize("level", [0.8, 0.9, 0.95])
def test_with_one_segment_per_patient_it_is_split_conformal_prediction(n: int, level: float) -> None:
    residual = np.random.default_rng(n).normal(size=n)
    oracle = ConformalRegressor().fit(residual).predict_int(np.zeros(1), confidence=level)
    half_width = conformal_half_width(np.abs(residual), np.arange(n), n, level)
    assert half_width == pytest.approx(oracle[0, 1])


def test_as_many_patients_are_needed_as_make_the_interval_finite() -> None:
    assert [fewest_subjects(level) for level in (0.8, 0.9, 0.95, 0.99)] == [4, 9, 19, 99]
    for level in (0.8, 0.9, 0.95, 0.99):
        for n, finite in ((fewest_subjects(level), True), (fewest_subjects(level) - 1, False)):
            assert math.isfinite(conformal_half_width(np.linspace(1, 2, n), np.arange(n), n, level)) == finite
    assert expected_coverage_at_most(0.9, 45) == pytest.approx(0.92)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["strong correlation", "unequal numbers", "heteroscedastic patients"])
def test_intervals_cover_new_patients_within_two_points(name: str) -> None:
    by_patient = coverage(SITES[name], 60, 60)[:, 0]
    assert 0.88 <= by_patient.mean() <= 0.92 + by_patient.std() / 60**0.5


@pytest.mark.slow
def test_an_interval_by_segments_fails_where_long_recordings_are_calm() -> None:
    by_patient, naive, _ = coverage(SITES["long recordings are calm"], 60, 60).mean(axis=0)
    assert by_patient > 0.88
    assert naive < 0.85


@pytest.mark.slow
def test_intervals_of_groups_cover_every_group() -> None:
    own, pooled = group_coverage(25, 40)
    assert own.min() > 0.88
    assert pooled.min() < own.min()
