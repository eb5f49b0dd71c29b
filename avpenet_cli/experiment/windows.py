"""Windows of other lengths than a segment's: which stored segments cover them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from avpenet_cli.dataset.segment_files import SCORABLE
from avpenet_cli.settings import FRAME_STEP_S, FRAMES_PER_WINDOW

MIN_WINDOW_SHARE = 0.8
"""A window of which less than this share can be made is not used. Chosen: the first and last segment of a recording
keep their windows of 4 and 5 s."""

_SLOTS_PER_S = round(1 / FRAME_STEP_S)


class Piece(NamedTuple):
    """The part of a window that one stored segment provides.

    Attributes:
        row: of the segment, in the store's index.
        first, end: frames of the segment, 0 to 30, `end` excluded; each is 0.1 s of audio, too.
    """

    row: int
    first: int
    end: int


class Windows:
    """Windows of one length, each centred on the middle of a stored segment.

    A window takes what its own segment lacks from the scorable segments before and after it, whatever the stride. At
    an end of the recording, and beside an unscorable segment, it shrinks to what there is.

    Args:
        index: of the store.
        window_s: length of the windows, s.
    """

    def __init__(self, index: pd.DataFrame, window_s: int) -> None:
        self.frames = window_s * _SLOTS_PER_S
        self._recording = pd.factorize(index["recording"])[0]
        self._scorable = (index["status"] == SCORABLE).to_numpy(dtype=bool)
        starts_s, ends_s = index["start_s"].to_numpy(np.float64), index["end_s"].to_numpy(np.float64)
        self._start = np.rint(starts_s / FRAME_STEP_S).astype(np.int64)
        # As in `pipeline.windows`: a window that lacks less than half a step is complete.
        length = np.rint((ends_s - starts_s) / FRAME_STEP_S).astype(np.int64).clip(1, FRAMES_PER_WINDOW)
        self._end = self._start + length

    def pieces(self, row: int) -> list[Piece]:
        """What the window of a scorable segment is made of, in time order and without gaps or overlaps.

        Returns:
            Empty where less than `MIN_WINDOW_SHARE` of the window can be made.
        """
        begin = int(self._start[row] + self._end[row] - self.frames) // 2
        end = begin + self.frames
        left, right = max(begin, int(self._start[row])), min(end, int(self._end[row]))
        pieces = [self._piece(row, left, right)]
        while left > begin and (before := self._reaching(row, left, -1)) is not None:
            first = max(begin, int(self._start[before]))
            pieces.insert(0, self._piece(before, first, left))
            left = first
        while right < end and (after := self._reaching(row, right, 1)) is not None:
            last = min(end, int(self._end[after]))
            pieces.append(self._piece(after, right, last))
            right = last
        return pieces if right - left >= MIN_WINDOW_SHARE * self.frames - 1e-9 else []

    def _piece(self, row: int, first: int, end: int) -> Piece:
        start = int(self._start[row])
        return Piece(row, first - start, end - start)

    def _reaching(self, row: int, edge: int, step: int) -> int | None:
        """The scorable segment of the same recording that covers the slot beside an edge and reaches farthest beyond.

        Args:
            edge: left or right edge of what is covered, on the recording's frame grid.
            step: -1 for a segment to the left, 1 for one to the right.
        """
        best = None
        other = row + step
        while 0 <= other < len(self._start) and self._recording[other] == self._recording[row]:
            touches = self._end[other] >= edge if step < 0 else self._start[other] <= edge
            if not touches:
                break
            beyond = self._start[other] < edge if step < 0 else self._end[other] > edge
            if self._scorable[other] and beyond:
                best = other
            other += step
        return best
