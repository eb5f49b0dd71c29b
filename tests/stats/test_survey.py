"""Shares from a sample of segments: exact where subjects are independent, honest where they are not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from avpenet_cli.stats.survey import sampled_share


@pytest.mark.parametrize("found", [1, 6, 15, 29])
def test_one_segment_per_subject_gives_the_exact_binomial_interval(found: int) -> None:
    hits = np.arange(30) < found
    share = sampled_share(hits, np.arange(30))
    exact = stats.binomtest(found, 30).proportion_ci(0.95, "exact")
    assert share.value == pytest.approx(found / 30)
    assert share.ci == pytest.approx((exact.low, exact.high))


def test_subjects_who_differ_widen_the_interval() -> None:
    hits, alike = np.arange(30) < 10, np.arange(30) % 10
    clustered = sampled_share(hits, np.arange(30) // 5)
    spread = sampled_share(hits, alike)
    assert clustered.value == spread.value
    assert clustered.ci[1] - clustered.ci[0] > 1.4 * (spread.ci[1] - spread.ci[0])


def test_no_hit_is_no_proof_of_none() -> None:
    share = sampled_share(np.zeros(30, dtype=bool), np.arange(30) // 3)
    assert share.value == 0 and share.ci[0] == 0
    # Ten subjects, each counting once, and fewer for the spread of t.
    assert share.ci[1] > stats.binomtest(0, 10).proportion_ci(0.95, "exact").high
    whole = sampled_share(np.ones(30, dtype=bool), np.arange(30) // 3)
    assert whole.ci == pytest.approx((1 - share.ci[1], 1.0))


def test_one_subject_has_no_interval() -> None:
    share = sampled_share(np.array([True, False]), np.zeros(2))
    assert share.value == 0.5 and not share.has_interval and "one subject" in share.reason
    assert not sampled_share(np.zeros(0, dtype=bool), np.zeros(0)).computable


def test_the_interval_holds_the_true_share_where_subjects_differ() -> None:
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(300):
        of_subject = rng.beta(0.6, 2.4, 12)
        subject = np.repeat(np.arange(12), 2 + (np.arange(12) % 2))
        low, high = sampled_share(rng.random(subject.size) < of_subject[subject], subject).ci
        covered += low <= 0.2 <= high
    assert covered / 300 >= 0.93
