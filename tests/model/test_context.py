"""The network `context` tells a spike from sustained pain, and learns from the minute before."""

from __future__ import annotations

import numpy as np
import pytest

from avpenet_cli.model.correction_settings import ContextSettings, Direction
from tests.support.corrected_networks import corrected_network, errors_on_test, recording_scores
from tests.support.feature_tables import STEP_S, make_table


@pytest.mark.slow
@pytest.mark.parametrize(("direction", "least_gain"), [("causal", 0.2), ("two-sided", 0.33)])
def test_context_cuts_the_error_where_pain_is_smooth(direction: Direction, least_gain: float) -> None:
    table = make_table()
    base, own = errors_on_test(corrected_network(ContextSettings(direction=direction)).learn(table, 0), table)
    assert own < (1 - least_gain) * base


def test_a_spike_scores_lower_than_sustained_pain() -> None:
    table = make_table(subjects=25)
    network = corrected_network(ContextSettings()).learn(table, 0)
    by_score = np.argsort(table.features[:, 512])
    low, high = table.features[by_score[len(by_score) // 10]], table.features[by_score[-len(by_score) // 10]]
    starts_s = np.arange(20.0) * STEP_S
    spike = recording_scores(network, np.stack([low] * 19 + [high]), starts_s)[-1]
    sustained = recording_scores(network, np.stack([high] * 20), starts_s)[-1]
    assert sustained - spike > 1.0


def test_only_segments_within_the_span_count() -> None:
    table = make_table(subjects=2, segments=60)
    network = corrected_network(ContextSettings(), seeded=True)
    features, starts_s = table.features[:60], table.starts_s[:60]
    whole = recording_scores(network, features, starts_s)
    changed = features.copy()
    changed[30] = table.features[70]
    moved = recording_scores(network, changed, starts_s) != whole
    assert np.flatnonzero(moved).tolist() == list(range(30, 51))


def test_a_gap_is_no_segment() -> None:
    table = make_table(subjects=2, segments=60)
    network = corrected_network(ContextSettings(direction="two-sided"), seeded=True)
    features, starts_s = table.features[:60], table.starts_s[:60]
    kept = np.delete(np.arange(60), [29, 30])
    whole = recording_scores(network, features, starts_s)
    gap = recording_scores(network, features[kept], starts_s[kept])
    far = np.abs(kept - 29.5) > 21
    np.testing.assert_allclose(gap[far], whole[kept][far], atol=1e-5)
    assert float(np.abs(gap - whole[kept])[~far].min()) > 1e-4
    # Where the gap is longer than the span, what follows is a recording of its own.
    later = np.concatenate([starts_s[:30], starts_s[30:] + 61.5])
    apart = recording_scores(network, features, later)
    np.testing.assert_allclose(apart[:30], recording_scores(network, features[:30], later[:30]), atol=1e-5)
    np.testing.assert_allclose(apart[30:], recording_scores(network, features[30:], later[30:]), atol=1e-5)


def test_settings_give_the_positions_of_the_last_minute() -> None:
    assert ContextSettings().lags == tuple(range(-20, 1))
    assert ContextSettings(direction="two-sided", span_s=9).lags == (-3, -2, -1, 0, 1, 2, 3)
