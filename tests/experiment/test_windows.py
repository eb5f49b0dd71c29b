"""Windows are covered without gaps or overlaps, whatever the stride of the store."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from avpenet_cli.dataset.segment_files import SCORABLE
from avpenet_cli.experiment.windows import Windows


def _index(stride_s: float, length_s: float, unscorable: tuple[int, ...] = ()) -> pd.DataFrame:
    starts_s = np.arange(0.0, length_s - 1.5 + 1e-9, stride_s).round(6)
    rows = {
        "recording": ["a.mp4"] * len(starts_s) + ["b.mp4"],
        "start_s": [*starts_s, 0.0],
        "end_s": [*np.minimum(starts_s + 3.0, length_s), 3.0],
        "status": ["unscorable" if row in unscorable else SCORABLE for row in range(len(starts_s))] + [SCORABLE],
    }
    return pd.DataFrame(rows)


@pytest.mark.parametrize("stride_s", [3.0, 2.0, 1.0, 0.7])
@pytest.mark.parametrize("window_s", [1, 2, 4, 5])
def test_windows_are_covered_at_every_stride(stride_s: float, window_s: int) -> None:
    index, length_s = _index(stride_s, 20.3), 20.3
    windows, starts_s = Windows(index, window_s), index["start_s"].to_numpy()
    for row in range(len(index) - 1):
        end_s = float(index["end_s"].iloc[row])
        begin_s = (starts_s[row] + end_s) / 2 - window_s / 2
        first_s, last_s = max(0.0, begin_s), min(length_s, begin_s + window_s)
        pieces = windows.pieces(row)
        if not pieces:
            assert last_s - first_s < 0.8 * window_s + 0.1
            continue
        covered = [(starts_s[piece.row] + piece.first / 10, starts_s[piece.row] + piece.end / 10) for piece in pieces]
        assert covered[0][0] == pytest.approx(first_s, abs=0.051)
        assert covered[-1][1] == pytest.approx(last_s, abs=0.151)  # the last segment may be short
        assert all(before[1] == pytest.approx(after[0]) for before, after in pairwise(covered))
        assert all(0 <= piece.first < piece.end <= 30 for piece in pieces)
        assert row in [piece.row for piece in pieces]


def test_overlapping_segments_bridge_an_unscorable_one() -> None:
    windows = Windows(_index(1.0, 20.0, unscorable=(4, 5)), 5)
    assert [piece.row for piece in windows.pieces(6)] == [3, 6, 9]
    assert Windows(_index(3.0, 20.0, unscorable=(1,)), 5).pieces(2)[0].row == 2


def test_neighbours_are_of_the_same_recording() -> None:
    index = _index(3.0, 9.0)
    pieces = Windows(index, 4).pieces(len(index) - 1)
    assert pieces == []
