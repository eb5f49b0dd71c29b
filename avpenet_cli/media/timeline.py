"""Place decoded audio packets on the timeline: samples are continuous, the stamps on them are not always.

A network recorder stamps packets with the time at which they arrived, often in bursts. Such stamps run ahead of the
sample count and fall back to it. A gap or an overlap lasts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

TOLERANCE_S = 0.04
"""Stamps within this distance of the running sample count are rounding."""

LOOK_AHEAD_S = 10.0
"""A deviation from which the stamps return within this much audio is jitter, not a gap or an overlap."""


@dataclass(frozen=True, eq=False)
class Packet:
    """Decoded samples, (samples,) float32, with the time stamped on the first one, in samples."""

    time: int
    samples: np.ndarray


class PacketPlacer:
    """Turn packets into a stream that starts at 0: (position, samples) with gaps between positions, never overlaps.

    Where a stamp deviates from the running sample count by more than `TOLERANCE_S`, the packets of the next
    `LOOK_AHEAD_S` are read. If any of them returns to the count, the samples go on without a break. If none does,
    samples are missing (the position moves on) or repeated (the repeated samples are dropped). Slow drift between the
    recorder's clocks thus moves the position by `TOLERANCE_S` at a time and stays in sync with the video.

    Near the end, where fewer packets follow, a deviation no larger than one that returned before is jitter too.

    Args:
        packets: in stream order.
        rate_hz: sampling rate, which is also the unit of the stamps.

    Attributes:
        jitter_s: largest deviation that was jitter; 0 where the stamps agree with the samples.
    """

    def __init__(self, packets: Iterator[Packet], rate_hz: int) -> None:
        self._packets, self._rate_hz = packets, rate_hz
        self._ahead: deque[Packet] = deque()
        self._tolerance = TOLERANCE_S * rate_hz
        self._jitter = 0
        # Sample counts at which stamps that are behind (-1) or ahead (1) are known to return, so that a burst of
        # packets is looked through once.
        self._returns: dict[int, int] = {}

    @property
    def jitter_s(self) -> float:
        """Largest deviation of the stamps from the samples that did not last, s."""
        return self._jitter / self._rate_hz

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        position, previous_time, overlapping = 0, None, False
        while (packet := self._next()) is not None:
            samples = packet.samples
            jump = packet.time - position
            if overlapping and -self._tolerance <= jump < 0:
                pass  # the rest of an overlap that ends within this packet
            elif position and abs(jump) <= self._tolerance:
                jump = -samples.size if self._is_repeat(packet, previous_time, position) else 0
            elif position:
                jump = self._lasting(jump, position + samples.size)
            if jump:
                self._returns.clear()  # the count that they return to has changed
            if jump > 0:
                position += jump
            elif jump < 0:
                samples = samples[-jump:]
            overlapping = not samples.size
            if samples.size:
                yield position, samples
                position += samples.size
            previous_time = packet.time

    def _lasting(self, jump: int, position: int) -> int:
        """The part of a deviation that lasts, in samples; 0 for jitter.

        Args:
            jump: stamp less the sample count at the packet.
            position: the sample count after the packet.
        """
        sign = 1 if jump > 0 else -1
        if position <= self._returns.get(sign, 0):
            self._jitter = max(self._jitter, abs(jump))
            return 0
        deviation, seen = abs(jump), 0
        for later in self._look_ahead():
            returned = sign * (later.time - position - seen)
            if returned <= self._tolerance:
                self._jitter = max(self._jitter, abs(jump))
                self._returns[sign] = position + seen
                return 0
            deviation = min(deviation, returned)
            seen += later.samples.size
        if seen < LOOK_AHEAD_S * self._rate_hz and abs(jump) <= self._jitter:
            return 0
        # A stamp that agrees with those after it is exact. Otherwise the least deviation is what surely lasts.
        return jump if abs(jump) - deviation <= self._tolerance else sign * deviation

    def _is_repeat(self, packet: Packet, previous_time: int | None, position: int) -> bool:
        """Whether a packet repeats the one before it: the same stamp, and the stamps after it stay behind."""
        size, behind = packet.samples.size, position - packet.time
        # ffmpeg moves a stamp that does not increase to one sample after the stamp before it.
        same_time = previous_time is not None and packet.time - previous_time <= 1
        if not same_time or behind <= max(size // 2, self._jitter):
            return False
        seen = size
        for later in self._look_ahead():
            if later.time - position - seen > -size / 2:
                return False
            seen += later.samples.size
        return True

    def _next(self) -> Packet | None:
        return self._ahead.popleft() if self._ahead else next(self._packets, None)

    def _look_ahead(self) -> Iterator[Packet]:
        """The packets after the present one, `LOOK_AHEAD_S` of samples at most; they stay to be placed."""
        index, seen = 0, 0
        while seen < LOOK_AHEAD_S * self._rate_hz:
            if index == len(self._ahead):
                packet = next(self._packets, None)
                if packet is None:
                    return
                self._ahead.append(packet)
            packet = self._ahead[index]
            yield packet
            index, seen = index + 1, seen + packet.samples.size
