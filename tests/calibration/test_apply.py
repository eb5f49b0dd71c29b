"""Applying a calibration to arrays."""

from __future__ import annotations

import numpy as np
import pytest

from avpenet_cli.calibration.apply import THIN_FLAGS, abstention_measure, apply
from avpenet_cli.errors import SettingsError
from tests.support.sites import curve, site

NAN = np.nan


def test_scores_follow_the_curve_and_stay_at_its_ends_outside_of_it() -> None:
    result = apply(site(), np.array([0.0, 1.0, 3.0, 5.0, 9.0, 10.0, NAN]))
    np.testing.assert_allclose(result.calibrated, [2.0, 2.0, 3.5, 5.0, 9.0, 9.0, NAN])
    assert result.outside.tolist() == [True, False, False, False, False, True, False]


def test_intervals_stay_within_the_scale() -> None:
    result = apply(site(), np.array([1.0, 9.0, NAN]))
    np.testing.assert_allclose(result.interval_lo, [0.5, 7.5, NAN])
    np.testing.assert_allclose(result.interval_hi, [3.5, 10.0, NAN])
    assert not result.abstained.any()


def test_a_group_has_its_own_curve_and_others_the_pooled_one() -> None:
    calibration = site(curve("Neonate", half_width=0.5, shift=2.0))
    result = apply(calibration, np.array([1.0, 1.0, 1.0]), ["neonate", "adult", "(not stated)"])
    np.testing.assert_allclose(result.calibrated, [3.0, 2.0, 2.0])
    np.testing.assert_allclose(result.interval_hi, [3.5, 3.5, 3.5])
    assert result.pooled.tolist() == [False, True, True]
    assert apply(calibration, np.array([1.0])).calibrated.tolist() == [2.0]


def test_an_unanswered_segment_has_neither_score_nor_interval() -> None:
    result = apply(site(abstains=True), np.full(4, 5.0), measure=np.array([0.4, 0.5, 0.6, NAN]))
    assert result.abstained.tolist() == [False, False, True, True]
    assert np.isnan(result.calibrated[2:]).all()
    assert np.isnan(result.interval_lo[2:]).all()
    # Without a score there is nothing to abstain from.
    assert not apply(site(abstains=True), np.array([NAN]), measure=np.array([0.9])).abstained.any()


def test_abstention_needs_the_column_that_it_looks_at() -> None:
    with pytest.raises(SettingsError, match="score_sd"):
        apply(site(abstains=True), np.array([1.0]))
    with pytest.raises(SettingsError, match="no column score_sd"):
        abstention_measure("score_sd", {}, [])


def test_measures_are_a_column_or_the_number_of_flags_of_thin_evidence() -> None:
    flags = ["", "low_snr small_face", "short_tail", "no_face"]
    assert abstention_measure(THIN_FLAGS, {}, flags).tolist() == [0.0, 2.0, 0.0, 1.0]
    np.testing.assert_array_equal(abstention_measure("score_sd", {"score_sd": [0.2, None]}, flags), [0.2, NAN])


def test_no_scores_give_no_scores() -> None:
    assert apply(site(curve("neonate")), np.empty(0), []).calibrated.size == 0
