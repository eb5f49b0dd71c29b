"""Abstention: the upper limit of the risk, the order of the tests, and how often the limit is broken."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from avpenet_cli.stats.abstention import FEWEST_ANSWERED, choose_threshold, upper_limit
from tests.stats.measure_conformal import abstention_failures, simulated_losses


def test_where_all_is_answered_and_nothing_skewed_the_limit_is_that_of_a_t_interval() -> None:
    loss = np.concatenate([0.5 + np.arange(20) / 40, 1.5 - np.arange(20) / 40])  # symmetric
    oracle = stats.ttest_1samp(loss, 0, alternative="less").confidence_interval(0.95).high
    assert upper_limit(loss, np.ones(40), 0.95) == pytest.approx(oracle)
    assert upper_limit(loss**3, np.ones(40), 0.95) > (
        stats.ttest_1samp(loss**3, 0, alternative="less").confidence_interval(0.95).high
    )
    assert upper_limit(np.full(30, 0.7), np.ones(30), 0.95) == pytest.approx(0.7)


def test_thresholds_are_accepted_up_to_the_first_that_fails() -> None:
    loss, badness, subject = simulated_losses(80, np.random.default_rng(0))
    tested = choose_threshold(loss, badness, subject, 80, 0.8)
    accepted = [point.accepted for point in tested]
    assert accepted == sorted(accepted, reverse=True)
    assert any(accepted)
    assert not all(accepted)
    assert all(point.risk_upper <= 0.8 for point in tested if point.accepted)
    shares = [point.share_answered for point in tested]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)
    assert not any(point.accepted for point in choose_threshold(loss, badness, subject, 80, 0.01))


def test_a_segment_without_a_measure_is_never_answered() -> None:
    loss, badness, subject = simulated_losses(60, np.random.default_rng(1))
    badness[::3] = np.inf
    assert all(np.isfinite(point.threshold) for point in choose_threshold(loss, badness, subject, 60, 1.0))
    assert choose_threshold(loss, np.full(len(loss), np.inf), subject, 60, 1.0) == ()


def test_a_threshold_that_answers_few_patients_is_not_accepted() -> None:
    subject = np.arange(40)
    badness = np.where(subject < FEWEST_ANSWERED - 1, 0.0, np.inf)
    (point,) = choose_threshold(np.full(40, 0.1), badness, subject, 40, 5.0)
    assert point.n_subjects == FEWEST_ANSWERED - 1
    assert np.isnan(point.risk_upper)
    assert not point.accepted


@pytest.mark.slow
def test_the_limit_is_kept_with_the_stated_confidence() -> None:
    over, found = abstention_failures(40, 300, 0.65)
    assert over <= 0.05 + 2 * (0.05 * 0.95 / 300) ** 0.5
    assert found > 0.3
