"""Decide once per recording how its audio channels become one: from statistics of a decode of their own.

The mean of the channels is right for most recordings. It is wrong where channels carry nothing, which lowers the level
(6 dB for one of two), and where channels run opposite to each other, which cancels. Both are faults of cables and
recorders that last for the whole recording, and so does the decision.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from avpenet_cli.phrasing import plural

BLOCK_S = 0.1
"""Length of the blocks whose means are the offset: it holds whole periods of 50 and 60 Hz hum."""

EMPTY_DB = 30.0
"""A channel this far below the loudest adds nothing to the mean but its share of the divisor."""

INVERTED_CORRELATION = -1 / 3
"""Two channels of one level with this correlation have half the power in their sum as in their difference (-3 dB)."""

_LOUD_BLOCKS = 5
"""A channel's level is that of its fifth loudest block: half a second of voice counts in however long a recording, a
click does not. In recordings shorter than 40 s it is what the channel exceeds in 1 % of the blocks."""
_QUIET_SHARE = 0.1
_MIN_QUIET_BLOCKS = 10
"""A second: in less, rumble can pass for an offset."""
_OFFSET_POWER = 1e-7
"""Mean square of the smallest offset that is removed, -70 dBFS: well below where a segment is called silent."""
_OFFSET_SHARE = 0.25
"""Of the power of the quietest blocks: an offset with this share raises their level by 1 dB."""
_DIGITAL_SILENCE = 1e-9
_MAX_MAGNITUDE = 1e6


@dataclass(frozen=True)
class Mixdown:
    """How a recording's channels become one.

    Attributes:
        signs: per channel 1, -1 (inverted) or 0 (empty); empty for the plain mean of all channels.
        has_offset: whether there is a DC offset, constant or wandering, that must be removed before measuring levels.
        notes: one phrase per correction.
    """

    signs: tuple[int, ...] = ()
    has_offset: bool = False
    notes: tuple[str, ...] = ()

    def pan(self, channels: int) -> str:
        """The arguments of ffmpeg's `pan` filter. Its `<` divides by the number of channels that take part."""
        signs = self.signs or (1,) * channels
        terms = [f"{'-' if sign < 0 else '+'}c{number}" for number, sign in enumerate(signs) if sign]
        return f"mono|c0<{''.join(terms).removeprefix('+')}"


@dataclass
class ChannelStatistics:
    """Sums over a recording, in blocks of `BLOCK_S`.

    Attributes:
        offsets: per batch, (blocks, channels) float32, mean of each block.
        powers: per batch, (blocks, channels) float32, mean square of each block about its mean.
        covariance: (channels, channels) float64, sum of products about the means of the blocks.
    """

    offsets: list[np.ndarray] = field(default_factory=list)
    powers: list[np.ndarray] = field(default_factory=list)
    covariance: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))

    def add(self, samples: np.ndarray) -> None:
        """Add (blocks, samples, channels) float; magnitudes over 1e6, infinities and NaN are damage and count as 0."""
        # Channels first: every sum then runs over contiguous samples.
        audio = np.ascontiguousarray(samples.transpose(0, 2, 1), np.float32)
        audio[~(np.abs(audio) <= _MAX_MAGNITUDE)] = 0
        offsets = audio.mean(axis=2, dtype=np.float64)
        audio -= offsets[:, :, None].astype(np.float32)
        products = np.matmul(audio, audio.transpose(0, 2, 1)).astype(np.float64)
        self.offsets.append(offsets.astype(np.float32))
        self.powers.append((np.diagonal(products, axis1=1, axis2=2) / audio.shape[2]).astype(np.float32))
        total = products.sum(axis=0)
        self.covariance = self.covariance + total if self.covariance.size else total

    def decide(self) -> Mixdown:
        """The mixdown of the recording; the plain mean where nothing was added."""
        if not self.powers:
            return Mixdown()
        powers = np.concatenate(self.powers).astype(np.float64)
        offsets = np.concatenate(self.offsets).astype(np.float64)
        live = _live(powers)
        signs = _signs(self.covariance, live)
        offset = max((_offset(offsets[:, c], powers[:, c]) for c in np.flatnonzero(live)), default=0.0)
        notes = _notes(signs)
        if offset:
            notes.append(f"a DC offset of {100 * offset:.2g} % of full scale was removed")
        corrected = any(sign != 1 for sign in signs)
        return Mixdown(signs if corrected else (), offset > 0, tuple(notes))


def _live(powers: np.ndarray) -> np.ndarray:
    """(channels,) bool, the channels that carry audio; all of them where none does."""
    rank = min(_LOUD_BLOCKS, (len(powers) - 1) // 100 + 1)
    levels = np.partition(powers, -rank, axis=0)[-rank]
    if levels.max() < _DIGITAL_SILENCE:
        return np.ones(levels.size, bool)
    live: np.ndarray = levels >= levels.max() * 10 ** (-EMPTY_DB / 10)
    return live


def _signs(covariance: np.ndarray, live: np.ndarray) -> tuple[int, ...]:
    """Each channel follows the channel before it with which it correlates most, if it does so clearly."""
    scale = np.sqrt(np.diagonal(covariance))
    products = np.outer(scale, scale)
    correlation = np.divide(covariance, products, out=np.zeros_like(covariance), where=products > 0)
    signs = live.astype(int)
    for channel in np.flatnonzero(live):
        before = np.flatnonzero(live[:channel])
        if not before.size:
            continue
        nearest = before[np.argmax(np.abs(correlation[channel, before]))]
        alike = correlation[channel, nearest]
        if abs(alike) >= -INVERTED_CORRELATION:
            signs[channel] = signs[nearest] if alike > 0 else -signs[nearest]
    return tuple(int(sign) for sign in signs)


def _offset(offsets: np.ndarray, powers: np.ndarray) -> float:
    """Offset of a channel in its quietest blocks, root mean square; 0 where it is too small to matter.

    An offset, even one that wanders at up to 1 Hz, has the same sign in a block and in its neighbours on both sides.
    Rumble at a few Hz has not: it is a sound of the room, and stays.
    """
    audible = np.square(offsets) + powers >= _DIGITAL_SILENCE
    if not audible.any():
        return 0.0
    power = np.where(audible, powers, np.inf)
    order = np.argsort(power, kind="stable")[: np.count_nonzero(audible)]
    quiet = order[: max(_MIN_QUIET_BLOCKS, round(_QUIET_SHARE * np.count_nonzero(audible)))]
    padded = np.pad(offsets, 2, "edge")
    shared = [
        float(np.mean(offsets[quiet] * (padded[quiet + 2 - lag] + padded[quiet + 2 + lag]) / 2)) for lag in (1, 2)
    ]
    offset, total = min(shared), float(np.mean(np.square(offsets[quiet]) + powers[quiet]))
    return offset**0.5 if offset >= max(_OFFSET_POWER, _OFFSET_SHARE * total) else 0.0


def _notes(signs: tuple[int, ...]) -> list[str]:
    notes = []
    live = [number for number, sign in enumerate(signs, 1) if sign]
    inverted = [number for number, sign in enumerate(signs, 1) if sign < 0]
    if len(live) < len(signs):
        carry = "carries" if len(live) == 1 else "carry"
        notes.append(f"{len(live)} of {plural(len(signs), 'channel')} {carry} audio; the others were left out")
    if inverted:
        numbers = ", ".join(map(str, inverted))
        notes.append(
            f"channel {numbers} is inverted; its sign was changed"
            if len(inverted) == 1
            else f"channels {numbers} are inverted; their signs were changed"
        )
    return notes
