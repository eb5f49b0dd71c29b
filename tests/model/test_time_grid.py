"""Segments at fixed intervals are found whatever the stride of the windows."""

from __future__ import annotations

import numpy as np

from avpenet_cli.model.time_grid import MISSING, segments_at_lags


def test_overlapping_windows_give_the_segments_of_windows_side_by_side() -> None:
    dense_s = np.arange(0, 30, 1.0)
    dense = segments_at_lags(dense_s, (-2, -1, 0, 1), 3.0)
    sparse = segments_at_lags(dense_s[::3], (-2, -1, 0, 1), 3.0)
    assert np.array_equal(dense[::3], np.where(sparse == MISSING, MISSING, sparse * 3))


def test_gaps_and_ends_leave_places_empty() -> None:
    starts_s = np.array([0.0, 3.0, 9.0, 12.0])
    index = segments_at_lags(starts_s, (-1, 0, 1), 3.0)
    assert index.tolist() == [[MISSING, 0, 1], [0, 1, MISSING], [MISSING, 2, 3], [2, 3, MISSING]]


def test_strides_that_do_not_divide_the_step_give_the_nearest_and_of_two_the_earlier() -> None:
    index = segments_at_lags(np.arange(0, 12, 2.0), (-2, -1, 0), 3.0)
    # 6 s and 3 s before 8 s; 3 s before 8 s lies midway between 4 s and 6 s.
    assert index[4].tolist() == [1, 2, 4]
    assert index[1].tolist() == [MISSING, 0, 1]


def test_a_window_beside_a_gap_does_not_stand_for_the_missing_one() -> None:
    starts_s = np.delete(np.arange(0, 30, 1.0), range(15, 21))
    index = segments_at_lags(starts_s, (-1, 0, 1), 3.0)
    assert index[starts_s == 12.0][0, 2] == MISSING
    assert index[starts_s == 21.0][0, 0] == MISSING


def test_earlier_places_never_hold_the_segment_itself_or_a_later_one() -> None:
    rng = np.random.default_rng(1)
    starts_s = np.sort(rng.uniform(0, 300, 200))
    starts_s[50] = starts_s[51]
    index = segments_at_lags(starts_s, tuple(range(-20, 1)), 3.0)
    own = np.arange(200)
    assert np.array_equal(index[:, -1], own)
    found = index[:, :-1] != MISSING
    assert bool((index[:, :-1] < own[:, None])[found].all())
    assert found.any()
