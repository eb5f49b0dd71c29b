"""Estimates: exact where costs are exact, the largest shard decides, and a range that widens with the spread."""

from __future__ import annotations

import dataclasses

import pytest

from avpenet_cli.shards.estimate import (
    Cost,
    MeasuredPiece,
    SizedRecording,
    estimate_shards,
    fit,
    relative_margin,
    total_cpu_s,
)
from avpenet_cli.shards.plan import PlannedRecording

EACH_S, BASE, SLOPE, AUDIO = 0.5, 0.4, 0.02, 0.1
SMALL, LARGE = 10.0, 60.0
START = Cost(4.0, 6.0)


def rate(pixels: float | None) -> float:
    return AUDIO if pixels is None else BASE + SLOPE * pixels


def piece(pixels: float | None, noise: float = 0.0) -> MeasuredPiece:
    wall_s, short_s = EACH_S + 12 * rate(pixels) * (1 + noise), EACH_S + 3 * rate(pixels)
    return MeasuredPiece("a", 0.0, 12.0, pixels, Cost(wall_s, 2 * wall_s), 3.0, Cost(short_s, 2 * short_s))


def recording(key: str, seconds: float | None, pixels: float | None, size_bytes: int = 1000) -> SizedRecording:
    return SizedRecording(PlannedRecording(key, key, "", seconds, size_bytes, 0), pixels)


def test_costs_that_follow_the_model_are_found_exactly() -> None:
    model = fit([piece(SMALL), piece(LARGE), piece(SMALL), piece(None)], START)
    archive = [recording("a", 100.0, SMALL), recording("b", 200.0, 30.0), recording("c", 50.0, None)]
    expected_s = 3 * EACH_S + 100 * rate(SMALL) + 200 * rate(30.0) + 50 * rate(None)
    (whole,) = estimate_shards(archive, model, [1])
    assert whole.longest_s == pytest.approx(START.wall_s + expected_s)
    assert total_cpu_s(archive, model) == pytest.approx(START.cpu_s + 2 * expected_s)
    assert whole.bytes_per_s == pytest.approx(3000 / whole.longest_s)
    assert model.spread == pytest.approx(0.0, abs=1e-9)


def test_the_shard_that_takes_longest_decides_though_shards_are_divided_by_seconds() -> None:
    model = fit([piece(SMALL), piece(LARGE), piece(SMALL)], START)
    archive = [recording("a", 100.0, LARGE), recording("b", 99.0, SMALL), recording("c", 10.0, SMALL)]
    for estimate in estimate_shards(archive, model, [2, 3, 8]):
        assert estimate.longest_s == pytest.approx(START.wall_s + EACH_S + 100 * rate(LARGE)), estimate.count
    by_count = [row.longest_s for row in estimate_shards([recording(str(i), 60.0, SMALL) for i in range(16)], model)]
    assert by_count == sorted(by_count, reverse=True)
    assert by_count[-1] == pytest.approx(START.wall_s + EACH_S + 60 * rate(SMALL))  # 32 shards of 16 recordings
    (faster,) = estimate_shards(archive, model, [3], speedup=2.0)
    assert faster.longest_s == pytest.approx(START.wall_s + (EACH_S + 100 * rate(LARGE)) / 2)


def test_a_recording_of_unknown_length_counts_by_its_size() -> None:
    model = fit([piece(SMALL), piece(LARGE), piece(SMALL)], START)
    stated = [recording("a", 100.0, SMALL, 1000), recording("b", 50.0, SMALL, 500)]
    guessed = [stated[0], recording("b", None, SMALL, 500)]
    assert estimate_shards(guessed, model) == estimate_shards(stated, model)


def test_the_range_widens_with_the_spread_and_with_fewer_recordings_and_is_missing_with_one_piece() -> None:
    calm = fit([piece(SMALL, noise) for noise in (0.05, -0.05, 0.05, -0.05)], START)
    wild = fit([piece(SMALL, noise) for noise in (0.5, -0.5, 0.5, -0.5)], START)
    cases = [(calm, 100), (calm, 1), (wild, 100), (wild, 1)]
    margins = [relative_margin(model, count) or 0.0 for model, count in cases]
    assert 0 < margins[0] < margins[1] < margins[2] < margins[3]
    archive = [recording("a", 60.0, SMALL)]
    (row,) = estimate_shards(archive, wild, [1])
    assert row.low_s is not None
    assert row.high_s is not None
    assert row.low_s < row.longest_s < row.high_s
    (idle,) = estimate_shards(archive, wild, [1], cores_at_best=8)
    assert idle.low_s is not None
    assert idle.low_s < row.low_s
    (single,) = estimate_shards(archive, fit([piece(SMALL)], START), [1])
    assert (single.low_s, single.high_s) == (None, None)


def test_larger_frames_that_seemed_cheaper_do_not_make_still_larger_ones_free() -> None:
    cheap = dataclasses.replace(piece(LARGE), cost=Cost(3.0, 6.0))
    model = fit([piece(SMALL), piece(SMALL), cheap], START)
    assert model.wall.of(1000.0) == pytest.approx(model.wall.of(SMALL))
    assert model.wall.of(SMALL) > 0
