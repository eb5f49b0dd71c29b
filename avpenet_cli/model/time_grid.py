"""Find the segments of a recording at fixed intervals, whatever the stride of its windows. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

MISSING = -1
_CLOCK_S = 1e-6
"""Start times this close are equal, s."""


def segments_at_lags(starts_s: npt.NDArray[np.float64], lags: Sequence[int], step_s: float) -> npt.NDArray[np.int64]:
    """For each segment, the segments that start a given number of steps from it.

    Each is the nearest to that time within half the stride of the windows; of two equally near the earlier one. So
    windows of a stride of 1 s give the same segments as windows of 3 s, and a gap leaves its places empty. Without
    positive lags the result for a segment depends on earlier starts only.

    Args:
        starts_s: (S,) ascending, S at least 1.
        lags: K numbers of steps, negative for earlier segments.
        step_s: length of a step, s.

    Returns:
        (S, K), `MISSING` where no segment is near enough.
    """
    steps = np.asarray(lags, np.float64)
    wanted_s = starts_s[:, None] + steps * step_s
    after = np.searchsorted(starts_s, wanted_s - _CLOCK_S).clip(0, len(starts_s) - 1)
    before = (after - 1).clip(0)
    distance_after, distance_before = np.abs(starts_s[after] - wanted_s), np.abs(starts_s[before] - wanted_s)
    earlier = distance_before <= distance_after + _CLOCK_S
    distance = np.where(earlier, distance_before, distance_after)
    stride_s = _strides(starts_s, step_s)
    if steps.max() > 0:
        stride_s[:] = stride_s[-1]
    index = np.where(distance <= stride_s[:, None] / 2 + _CLOCK_S, np.where(earlier, before, after), MISSING)
    # Of two windows of the same start each is its own present.
    index[:, steps == 0] = np.arange(len(starts_s))[:, None]
    return index.astype(np.int64)


def _strides(starts_s: npt.NDArray[np.float64], step_s: float) -> npt.NDArray[np.float64]:
    """(S,): the least interval between successive segments up to each, at most a step, s."""
    intervals = np.diff(starts_s, prepend=-np.inf)
    intervals[intervals <= _CLOCK_S] = np.inf
    return np.minimum.accumulate(np.minimum(intervals, step_s))
