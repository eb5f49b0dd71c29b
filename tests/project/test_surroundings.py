"""Synthesised surroundings: what an encoder learns not to take for pain."""

from __future__ import annotations

import numpy as np
import pytest

from weights.recipe.surroundings import SURROUNDINGS, draw_surroundings


@pytest.mark.parametrize("kind", SURROUNDINGS)
def test_a_kind_is_audible_within_full_scale_and_fixed_by_its_seed(kind: str) -> None:
    first, same, other = (draw_surroundings(kind, 0.7, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == (11_200,)
    assert first.dtype == np.float32
    assert np.isfinite(first).all()
    assert 0.04 < np.abs(first).max() <= 0.951
    np.testing.assert_array_equal(first, same)
    assert np.abs(first - other).max() > 0.01


@pytest.mark.parametrize("rate_hz", [8_000, 48_000])
def test_a_kind_holds_at_other_sampling_rates(rate_hz: int) -> None:
    audio = draw_surroundings("rooster", 0.5, np.random.default_rng(3), rate_hz)
    assert audio.shape == (rate_hz // 2,)
    assert np.isfinite(audio).all()


def test_what_is_out_of_range_is_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="unknown kind 'moo'; known: rooster, dog"):
        draw_surroundings("moo", 1.0, rng)
    with pytest.raises(ValueError, match=r"seconds must be 0\.1 to 600, not 0"):
        draw_surroundings("rain", 0.0, rng)
    with pytest.raises(ValueError, match="rate_hz must be 8000 or more, not 100"):
        draw_surroundings("rain", 1.0, rng, 100)
