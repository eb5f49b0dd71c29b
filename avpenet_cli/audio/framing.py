"""Cut streams into blocks of fixed length and short-time frames, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from avpenet_cli.errors import SettingsError
from avpenet_cli.settings import AudioSettings

BLOCK_S = 1.0
"""Approximate length of the working blocks."""

MAX_MAGNITUDE = 1e6
"""A float track may exceed full scale, but +120 dBFS is damage, and its square would overflow the spectra."""


def block_samples(rate_hz: int, settings: AudioSettings) -> int:
    """Length of the working blocks in samples: the whole number of hops nearest to `BLOCK_S`."""
    hop = settings.denoise_hop_samples
    return hop * max(1, round(BLOCK_S * rate_hz / hop))


def fixed_blocks(blocks: Iterable[np.ndarray], length: int) -> Iterator[np.ndarray]:
    """Cut a stream into blocks of one length, so that results do not depend on the decoder's block lengths.

    NaN, infinities and magnitudes over `MAX_MAGNITUDE` are damage and become 0: one such sample would spoil the whole
    frame around it.

    Args:
        blocks: contiguous (samples,) float blocks of any length, full scale 1.
        length: samples per block.

    Returns:
        Fresh (length,) float32 arrays; the last may be shorter, none is empty.

    Raises:
        TypeError: a block is not one-dimensional floating point (integers would be off by their full scale).
    """
    pending: list[np.ndarray] = []
    pending_samples = 0
    for block in blocks:
        audio = _audio_only(block)
        while pending_samples + audio.size >= length:
            cut = length - pending_samples
            yield np.concatenate([*pending, audio[:cut]])
            pending, pending_samples, audio = [], 0, audio[cut:]
        if audio.size:
            pending.append(audio)
            pending_samples += audio.size
    if pending_samples:
        yield np.concatenate(pending)


def _audio_only(block: np.ndarray) -> np.ndarray:
    if block.ndim != 1 or block.dtype.kind != "f":
        raise TypeError(f"audio blocks must be one-dimensional floating point, got {block.dtype} {block.shape}")
    # NaN fails the comparison, so one condition covers all three kinds of damage.
    return np.where(np.abs(block) <= MAX_MAGNITUDE, block, 0).astype(np.float32, copy=False)


@lru_cache(maxsize=8)
def hann(length: int) -> np.ndarray:
    """Periodic Hann window, (length,) float32, read-only."""
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)).astype(np.float32)
    window.setflags(write=False)
    return window


def centred_frames(signal: np.ndarray, fft_samples: int, hop_samples: int) -> np.ndarray:
    """Cut frames centred on samples 0, hop, 2 hop, ..., with zeros beyond both ends.

    Args:
        signal: (samples,) float, at least one sample.

    Returns:
        (1 + samples // hop, fft_samples), a view of a padded copy.
    """
    padded = np.pad(signal, fft_samples // 2)
    return np.lib.stride_tricks.sliding_window_view(padded, fft_samples)[::hop_samples]


@dataclass(frozen=True, eq=False)
class FrameBlock:
    """Consecutive frames of a stream.

    Attributes:
        frames: (frames, fft_samples) float32.
        whole: (frames,) bool, True where a frame lies within the recording and contains no padding.
    """

    frames: np.ndarray
    whole: np.ndarray


class Framer:
    """`centred_frames` of a stream: the same frames, each returned as soon as its samples are complete.

    Attributes:
        samples: number of samples pushed.

    Raises:
        SettingsError: the hop is over half of the transform, so that overlapping frames do not cover every sample.
    """

    def __init__(self, fft_samples: int, hop_samples: int) -> None:
        if hop_samples > fft_samples // 2:
            raise SettingsError(
                f"denoise_hop_samples = {hop_samples} is more than half of denoise_fft_samples = {fft_samples}",
                "make the hop smaller",
            )
        self.samples = 0
        self._fft = fft_samples
        self._hop = hop_samples
        self._pad = fft_samples // 2
        self._buffer = np.zeros(self._pad, np.float32)
        self._frames_out = 0

    def push(self, block: np.ndarray) -> FrameBlock:
        """Add (samples,) float32; returns the frames that it completes, possibly none."""
        self.samples += block.size
        return self._advance(block)

    def finish(self) -> FrameBlock:
        """The last frames, padded with zeros. A stream without samples has no frames."""
        if not self.samples:
            self._buffer = np.zeros(0, np.float32)
        return self._advance(np.zeros(self._pad, np.float32))

    def _advance(self, block: np.ndarray) -> FrameBlock:
        signal = np.concatenate([self._buffer, block])
        count = max(0, (signal.size - self._fft) // self._hop + 1)
        self._buffer = signal[count * self._hop :]
        starts = (self._frames_out + np.arange(count)) * self._hop - self._pad
        self._frames_out += count
        if not count:
            return FrameBlock(np.zeros((0, self._fft), np.float32), np.zeros(0, bool))
        frames = np.lib.stride_tricks.sliding_window_view(signal, self._fft)[:: self._hop]
        return FrameBlock(frames, (starts >= 0) & (starts + self._fft <= self.samples))
