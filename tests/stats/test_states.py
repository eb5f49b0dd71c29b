"""States: made-up series of each kind; noise is not called a change."""

from __future__ import annotations

import numpy as np
import pytest

from avpenet_cli.stats.states import states
from tests.stats.measure_trajectories import Floats, simulated, steps


def _share(
    level: Floats, kind: str, noise: float = 0.4, known: float = 0.3, seed: int = 1, where: slice | None = None
) -> float:
    """Share of the segments that are called `kind`."""
    data = simulated(np.random.default_rng(seed), level, noise, known=known)
    called = np.array(states(data.course(), data.score, data.sd, data.overlap))[where or slice(None)]
    return float((called == kind).mean())


def test_a_steep_rise_is_rising_and_a_steep_fall_falling() -> None:
    ramp = np.linspace(2, 8, 480)
    assert _share(ramp, "rising") > 0.8
    assert _share(ramp[::-1], "falling") > 0.8


def test_a_step_is_a_rise_between_two_stable_levels() -> None:
    level = steps(200, (2.0, 7.0))
    assert _share(level, "stable", where=slice(0, 75)) > 0.9
    assert _share(level, "rising", where=slice(92, 106)) > 0.95
    assert _share(level, "stable", where=slice(125, None)) > 0.9


def test_a_wave_and_scores_that_jump_are_unstable() -> None:
    assert _share(5 + 2 * np.sin(np.arange(800) / 80 * 2 * np.pi), "unstable") > 0.9
    assert _share(steps(200, (5.0,)), "unstable", noise=2.0) > 0.9


def test_scores_that_are_known_to_be_uncertain_do_not_count_as_unstable() -> None:
    assert _share(steps(200, (5.0,)), "unstable", noise=0.0, known=1.5) == 0


@pytest.mark.parametrize(("noise", "known"), [(0.5, 0.0), (0.0, 0.8), (0.5, 0.5)])
def test_a_constant_level_with_noise_is_stable_in_95_percent_of_the_time(noise: float, known: float) -> None:
    shares = [_share(steps(150, (5.0,)), "stable", noise, known, seed) for seed in range(4)]
    assert np.mean(shares) >= 0.95


def test_too_few_scores_and_a_wide_band_are_indeterminate() -> None:
    data = simulated(np.random.default_rng(1), steps(200, (5.0,)), 0.4)
    data.score[60:100] = np.nan
    called = states(data.course(), data.score, data.sd, data.overlap)
    assert set(called[60:100]) == {"indeterminate"}
    assert set(called[:40]) == {"stable"} and set(called[-40:]) == {"stable"}
    assert _share(steps(40, (5.0,)), "indeterminate", noise=0.1, known=9.0) == 1


def test_without_a_level_every_segment_is_indeterminate() -> None:
    assert _share(steps(10, (5.0,)), "indeterminate") == 1
