"""Numbers of subjects against published examples and simulated studies."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from avpenet_cli.stats.sample_size import (
    Spread,
    independent_segments,
    limit_half_width,
    subjects_to_fail,
    subjects_to_pass,
    upper_sd,
    verdict_chances,
)
from tests.stats.measure_power import simulated_chances


def test_the_example_of_lu_2016_needs_83_subjects() -> None:
    """Mean 0.001167, SD 0.001129, limit 0.004, alpha 0.05, beta 0.20, by the intervals of 1999."""
    spread = Spread(0.001167, 0.001129, 0.0)
    assert subjects_to_pass(spread, 0.004, 1, 0.8, "approximate") == 83


def test_the_example_of_simplyagree_needs_145_subjects() -> None:
    """SD 3.3, limit 8: 145 by its approximation of the power, of which ours, without it, is one subject short."""
    assert subjects_to_pass(Spread(0.0, 3.3, 0.0), 8.0, 1, 0.8, "approximate") == pytest.approx(145, abs=1)


@pytest.mark.parametrize(("n", "published"), [(100, 0.34), (200, 0.24)])
def test_the_precision_of_a_limit_is_that_of_bland_and_altman(n: int, published: float) -> None:
    """1.96 sqrt(3/n) s: 0.34 s with 100 subjects and 0.24 s with 200 (Bland 2004)."""
    found = limit_half_width(Spread(0.0, 1.0, 0.0), n, 1)
    assert round(found, 2) == published
    assert found == pytest.approx(1.96 * np.sqrt(3 / n), rel=0.02)


def test_exact_intervals_need_more_subjects_than_approximate_ones() -> None:
    spread = Spread(0.001167, 0.001129, 0.0)
    exact = subjects_to_pass(spread, 0.004, 1, 0.8)
    assert exact is not None and 83 < exact < 100


def test_segments_that_are_all_alike_within_a_subject_add_nothing() -> None:
    alike = Spread(0.1, 0.8, 1e-6)
    assert subjects_to_pass(alike, 2.5, 40, 0.8) == pytest.approx(subjects_to_pass(alike, 2.5, 1, 0.8), abs=8)
    assert independent_segments(alike, 30, 40) == pytest.approx(30, abs=0.01)


def test_more_segments_per_subject_need_fewer_subjects() -> None:
    spread = Spread(0.2, 0.5, 0.7)
    needed = [subjects_to_pass(spread, 2.3, segments, 0.8) for segments in (1, 5, 20)]
    assert all(n is not None for n in needed)
    assert sorted(needed, reverse=True) == needed  # type: ignore[type-var]
    assert independent_segments(spread, 10, 20) == pytest.approx(200 / (1 + 19 * 0.25 / 0.74))


def test_limits_beyond_the_acceptance_limit_never_pass_and_can_be_shown_to_fail() -> None:
    spread = Spread(0.0, 0.6, 1.2)
    assert subjects_to_pass(spread, 2.0, 20, 0.8) is None
    n = subjects_to_fail(spread, 2.0, 20, 0.8)
    assert n is not None
    assert verdict_chances(spread, 2.0, n, 20).fails >= 0.8 > verdict_chances(spread, 2.0, n - 1, 20).fails


def test_limits_close_to_the_acceptance_limit_need_more_than_the_most_subjects() -> None:
    assert subjects_to_pass(Spread(0.0, 0.0, 1.0), 1.9601, 1, 0.8) is None


def test_chances_are_those_of_simulated_studies() -> None:
    for spread, limit, n, segments in ((Spread(0.2, 0.5, 0.7), 2.3, 25, 8), (Spread(0.0, 1.0, 0.0), 1.7, 60, 1)):
        passes, fails = simulated_chances(spread, limit, n, segments, studies=400, seed=3)
        chances = verdict_chances(spread, limit, n, segments)
        assert (chances.passes, chances.fails) == pytest.approx((passes, fails), abs=0.06)


def test_the_upper_limit_of_a_pilot_sd_is_that_of_the_chi_square_distribution() -> None:
    assert upper_sd(Spread(0, 1.4, 0), 20, 1, 0.8) == pytest.approx(1.4 * np.sqrt(19 / stats.chi2.ppf(0.2, 19)))
    assert upper_sd(Spread(0, 0.7, 1.2), 20, 10, 0.8) < upper_sd(Spread(0, 1.2, 0.7), 20, 10, 0.8)
