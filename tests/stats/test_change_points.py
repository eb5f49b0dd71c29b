"""Change points: found where they are, with intervals that cover; none in noise. See also `measure_trajectories.py`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from avpenet_cli.stats.change_points import Change, change_points
from avpenet_cli.stats.smoothing import overlaps

Floats = npt.NDArray[np.float64]


def _changes(
    score: Floats, noise: Floats | float, stride_s: float = 1.0, stretch: npt.NDArray[np.int64] | None = None
) -> list[Change]:
    """Of scores whose noise is known."""
    start = np.arange(len(score), dtype=np.float64) * stride_s
    scored = np.isfinite(score)
    information = np.where(
        scored,
        1
        / (
            np.broadcast_to(noise, len(score)) ** 2 * overlaps(start, start + 3, scored, np.zeros(len(score), np.int64))
        ),
        0,
    )
    number = np.zeros(len(score), np.int64) if stretch is None else stretch
    return list(change_points(start + 1.5, score, information, number, max(3 / stride_s, 1)))


def _overlapping(level: Floats, noise: float, rng: np.random.Generator) -> Floats:
    """Means over 3 s, every second, of a level given each second and independent noise."""
    values = level + rng.normal(0, noise * np.sqrt(3), len(level))
    return np.convolve(values, np.full(3, 1 / 3), "valid")


def test_a_step_is_found_with_its_time_and_levels() -> None:
    rng = np.random.default_rng(0)
    level = np.repeat([2.0, 7.0, 4.0], [100, 80, 120])
    first, second = _changes(_overlapping(level, 0.5, rng), 0.5)
    assert first.time_s == pytest.approx(100, abs=2.5) and first.low_s <= 100 <= first.high_s
    assert second.time_s == pytest.approx(180, abs=3) and second.low_s <= 180 <= second.high_s
    assert (first.before, first.after) == pytest.approx((2, 7), abs=0.3)
    assert (second.before, second.after) == pytest.approx((7, 4), abs=0.3)


@pytest.mark.parametrize("n", [60, 600])
def test_at_most_one_in_twenty_constant_series_has_a_change(n: int) -> None:
    """Noise of 2 points, so that the least size of a change does not help."""
    rng = np.random.default_rng(n)
    count = sum(bool(_changes(_overlapping(np.full(n, 5.0), 2.0, rng), 2.0)) for _ in range(200))
    # Two standard errors above 0.05.
    assert count <= 200 * 0.05 + 2 * np.sqrt(200 * 0.05 * 0.95)


def test_intervals_cover_the_time_of_a_change() -> None:
    rng = np.random.default_rng(2)
    covered = []
    for _ in range(300):
        found = _changes(_overlapping(np.repeat([3.0, 5.0], 100), 0.7, rng), 0.7)
        covered += [change.low_s <= 100 <= change.high_s for change in found[:1]]
    assert len(covered) > 250
    assert np.mean(covered) > 0.92


def test_a_noisy_half_has_no_changes_and_a_quiet_half_keeps_its_own() -> None:
    rng = np.random.default_rng(3)
    noise = np.repeat([0.2, 2.0], 150)
    score = np.repeat([3.0, 5.0, 5.0], 100) + rng.normal(0, noise)
    (change,) = _changes(score, noise, stride_s=3.0)
    assert change.time_s == pytest.approx(300, abs=3)


def test_a_change_in_a_gap_may_be_anywhere_in_it() -> None:
    rng = np.random.default_rng(4)
    score = np.repeat([2.0, 8.0], 100) + rng.normal(0, 0.3, 200)
    score[90:110] = np.nan
    (change,) = _changes(score, 0.3, stride_s=3.0)
    assert change.low_s <= 270 and change.high_s >= 330


def test_small_changes_and_what_differs_between_recordings_are_no_changes() -> None:
    rng = np.random.default_rng(5)
    score = np.repeat([4.0, 4.6], 200) + rng.normal(0, 0.1, 400)
    assert not _changes(score, 0.1, stride_s=3.0)
    score = np.repeat([2.0, 8.0], 100) + rng.normal(0, 0.3, 200)
    assert not _changes(score, 0.3, stride_s=3.0, stretch=np.repeat([0, 1], 100))


@pytest.mark.parametrize("n", [0, 1, 5])
def test_too_few_scores_have_no_changes(n: int) -> None:
    assert not _changes(np.full(n, 3.0), 0.5)
