"""The difference of two means of bounded values, where a side has no spread."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from avpenet_cli.stats.mean_difference import bounded_difference, welch_test

SHARE = (0.0, 1.0)


def test_it_is_newcombes_where_every_patient_is_at_a_bound() -> None:
    # Newcombe 1998, Stat Med 17:873, table II, method 10: 10 of 10 less 0 of 20, and less 0 of 10.
    result = bounded_difference(np.ones(10), np.zeros(20), SHARE)
    assert (result.value, result.n) == (1.0, 10)
    assert result.ci == pytest.approx((0.6791, 1.0), abs=5e-5)
    result = bounded_difference(np.ones(10), np.zeros(10), SHARE)
    assert result.ci == pytest.approx((0.6075, 1.0), abs=5e-5)


def test_it_is_welchs_where_both_sides_vary() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.uniform(0.2, 0.6, 12), rng.uniform(0.3, 0.8, 30)
    assert bounded_difference(first, second, SHARE).ci == pytest.approx(welch_test(first, second, 1).difference.ci)


def test_a_side_without_spread_is_not_known_exactly() -> None:
    first, second = np.zeros(5), np.array([1.0, 0.98, 1.0, 0.97, 1.0, 1.0])
    low, high = bounded_difference(first, second, SHARE).ci
    assert low == pytest.approx(-1.0)
    # 0 of 5 allow for up to 43 %.
    assert high == pytest.approx(-(second.mean() - stats.binomtest(0, 5).proportion_ci(0.95, "wilson").high), abs=0.01)
    scaled = bounded_difference(10 * first, 10 * second, (0.0, 10.0))
    assert scaled.ci == pytest.approx((10 * low, 10 * high))


def test_ends_stay_within_what_is_possible() -> None:
    low, high = bounded_difference(np.array([0.0, 0.05]), np.array([1.0, 0.5, 1.0]), SHARE).ci
    assert low == -1.0
    assert high > -0.5


def test_without_bounds_no_spread_is_no_interval() -> None:
    result = bounded_difference(np.zeros(3), np.ones(3), (-np.inf, np.inf))
    assert (result.value, result.has_interval, bool(result.reason)) == (-1.0, False, True)
