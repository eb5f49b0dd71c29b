"""The windows of a recording, and an account of its seconds."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from avpenet_cli.records import Balance, Reason, SegmentScore, Status
from avpenet_cli.settings import FRAME_STEP_S, FRAMES_PER_WINDOW, WINDOW_S

_DECIMALS = 6
"""Times are kept to a millionth of a second."""


@dataclass(frozen=True)
class Window:
    """One segment's position in time.

    Attributes:
        index: from 0.
        start_s, end_s: seconds after the recording's start; less than 3 s apart only in a padded last window.
        short: the window is padded to full length.
    """

    index: int
    start_s: float
    end_s: float
    short: bool

    @property
    def first_slot(self) -> int:
        """The first of the window's 30 positions on the frame grid."""
        return round(self.start_s / FRAME_STEP_S)

    @property
    def slots(self) -> range:
        """The window's positions on the frame grid before the recording's end."""
        count = FRAMES_PER_WINDOW if not self.short else round((self.end_s - self.start_s) / FRAME_STEP_S)
        return range(self.first_slot, self.first_slot + max(1, count))


def windows(length_s: float, stride_s: float, short_tail_share: float) -> list[Window]:
    """All windows of a recording of `length_s` decodable seconds.

    A window that is short by less than one step of the frame grid is complete. A shorter one is kept, and padded, if it
    has at least `short_tail_share` of the full length.
    """
    result: list[Window] = []
    while True:
        start_s = round(len(result) * stride_s, _DECIMALS)
        # Decimal fractions are rounded sums here: half a window must not become a hair less.
        left_s = round(length_s - start_s, _DECIMALS)
        short = round(WINDOW_S - left_s, _DECIMALS) >= FRAME_STEP_S
        if short and left_s < short_tail_share * WINDOW_S:
            return result
        end_s = start_s + WINDOW_S if left_s > WINDOW_S else length_s
        result.append(Window(len(result), start_s, round(end_s, _DECIMALS), short))


def balance(nominal_s: float, length_s: float, segments: Sequence[SegmentScore]) -> Balance:
    """Account for every second of a recording.

    A second is scored if any scored window covers it; else unscorable for the reason of the first window that covers
    it; else part of a tail too short for a window; else undecodable.

    Args:
        nominal_s, length_s: as in `RecordingEvidence`.
        segments: in order of time; they may overlap.
    """
    cuts = sorted({0.0, round(length_s, _DECIMALS), *(s.start_s for s in segments), *(s.end_s for s in segments)})
    scored_s = 0.0
    lost_s: dict[str, float] = {}
    first = 0
    for left, right in itertools.pairwise(cuts):
        while first < len(segments) and segments[first].end_s <= left:
            first += 1
        covering = []
        for segment in segments[first:]:
            if segment.start_s > left:
                break
            covering.append(segment)
        if any(segment.status is Status.SCORED for segment in covering):
            scored_s += right - left
        else:
            reason = covering[0].reason if covering else Reason.TAIL.value
            lost_s[reason] = lost_s.get(reason, 0.0) + right - left
    return Balance(
        nominal_s=round(nominal_s, 3),
        scored_s=round(scored_s, 3),
        unscorable_s={reason: lost for reason, seconds in lost_s.items() if (lost := round(seconds, 3)) > 0},
        undecodable_s=round(max(0.0, nominal_s - length_s), 3),
    )
