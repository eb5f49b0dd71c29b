"""The network `own-baseline` compares a segment with the quietest of the same recording."""

from __future__ import annotations

import numpy as np
import pytest

from avpenet_cli.model.correction_settings import Direction, LearningSettings, OwnBaselineSettings
from avpenet_cli.model.own_baseline import own_baselines
from tests.support.corrected_networks import corrected_network, errors_on_test, recording_scores
from tests.support.feature_tables import make_table


@pytest.mark.parametrize("direction", ["causal", "two-sided"])
def test_the_baseline_is_the_mean_of_the_quietest_quarter(direction: Direction) -> None:
    rng = np.random.default_rng(3)
    features, starts_s = rng.standard_normal((90, 4)).astype(np.float32), np.arange(90.0) * 3.0
    scores = np.round(rng.uniform(0, 10, 90)).astype(np.float32)  # with ties
    baselines, n = own_baselines(features, scores, starts_s, OwnBaselineSettings(direction=direction))
    for row in range(90):
        so_far = row + 1 if direction == "causal" else 90
        quiet = np.argsort(scores[:so_far], kind="stable")[: max(1, so_far // 4)]
        np.testing.assert_allclose(baselines[row], features[quiet].mean(axis=0), atol=1e-5)
        assert n[row] == so_far


def test_overlapping_windows_have_the_baseline_of_windows_side_by_side() -> None:
    rng = np.random.default_rng(3)
    features, starts_s = rng.standard_normal((90, 4)).astype(np.float32), np.arange(90.0) * 1.0
    settings = OwnBaselineSettings()
    dense, _ = own_baselines(features, features[:, 0], starts_s, settings)
    for phase in range(3):
        sparse, n = own_baselines(features[phase::3], features[phase::3, 0], starts_s[phase::3], settings)
        assert np.array_equal(dense[phase::3], sparse)
        assert n.tolist() == [30] * 30


def test_irregular_starts_have_a_baseline_within_the_recording() -> None:
    rng = np.random.default_rng(3)
    features, starts_s = rng.standard_normal((200, 4)).astype(np.float32), np.sort(rng.uniform(0, 300, 200))
    for direction in ("causal", "two-sided"):
        baselines, n = own_baselines(features, features[:, 0], starts_s, OwnBaselineSettings(direction=direction))
        assert bool(np.isfinite(baselines).all())
        assert 1 <= n.min() <= n.max() <= 200


@pytest.mark.parametrize("direction", ["causal", "two-sided"])
def test_a_segment_alone_keeps_the_score_of_the_base(direction: Direction) -> None:
    table = make_table(subjects=20, segments=20)
    brief = LearningSettings(max_epochs=5)
    network = corrected_network(OwnBaselineSettings(direction=direction, learning=brief)).learn(table, 0)
    features = table.features[7:8]
    score = recording_scores(network, features, np.array([12.0]))
    np.testing.assert_allclose(score, features[:, 512], atol=0.011)


@pytest.mark.slow
@pytest.mark.parametrize(("direction", "least_gain"), [("causal", 0.05), ("two-sided", 0.2)])
def test_own_baseline_cuts_the_error_where_the_base_misjudges_the_patient(
    direction: Direction, least_gain: float
) -> None:
    table = make_table(subjects=200, segments=20, memory_s=10.0, noise=0.2, bias=1.0)
    network = corrected_network(OwnBaselineSettings(direction=direction)).learn(table, 0)
    base, own = errors_on_test(network, table)
    assert own < (1 - least_gain) * base


def test_the_same_segment_scores_differently_against_another_baseline() -> None:
    table = make_table(subjects=2, segments=40)
    network = corrected_network(OwnBaselineSettings(), seeded=True)
    first, other = table.features[:40], table.features[40:]
    starts_s = np.arange(40.0) * 3.0
    mixed = np.concatenate([first[:1], other[1:]])
    scores = [recording_scores(network, features, starts_s)[0] for features in (first, mixed)]
    assert abs(scores[0] - scores[1]) > 1e-3
