"""Do 95 % intervals cover the true value in 95 % of studies? `measure_coverage.py` has the studies."""

from __future__ import annotations

import math

import pytest

from tests.stats.measure_coverage import KNOWN, closed_form, coverage, percentiles, resampled


@pytest.mark.parametrize("n_subjects", [20, 100])
def test_intervals_of_bias_and_limits_cover_the_true_value(n_subjects: int) -> None:
    found = coverage(closed_form, n_subjects, studies=1000, seed=n_subjects)
    for name in (*KNOWN, "slope on the mean", "calibration slope"):
        assert found[name] == pytest.approx(0.95, abs=0.02), name


@pytest.mark.parametrize(("n_subjects", "least"), [(20, 0.82), (100, 0.87)])
def test_percentile_limits_cover_as_often_as_the_page_says(n_subjects: int, least: float) -> None:
    found = coverage(percentiles, n_subjects, studies=200, seed=n_subjects)
    assert min(found.values()) > least, found


@pytest.mark.slow
@pytest.mark.parametrize(("n_subjects", "studies"), [(20, 500), (100, 200)])
def test_intervals_of_the_subject_bootstrap_cover_the_true_value(n_subjects: int, studies: int) -> None:
    found = coverage(resampled, n_subjects, studies, seed=n_subjects)
    # 2 % for the method and two standard errors for the number of studies.
    allowed = 0.02 + 2 * math.sqrt(0.95 * 0.05 / studies)
    for name, share in found.items():
        assert share == pytest.approx(0.95, abs=allowed), name
