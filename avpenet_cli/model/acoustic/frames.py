"""Short-time frames of a waveform and their power spectra, which all features of a segment share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.fft

RATE_HZ = 16_000
"""Sampling rate of every waveform in this package."""

F0_FLOOR_HZ = 75.0
F0_CEILING_HZ = 1200.0
"""From the lowest adult voice (75 Hz) over the basic infant cry (250 to 700 Hz) into the range of hyperphonation, the
high cry of pain that begins at about 1000 Hz (LaGasse, Neal and Lester 2005, Ment Retard Dev Disabil Res Rev 11:83)."""

HOP_SAMPLES = 160
HOP_S = HOP_SAMPLES / RATE_HZ

FRAME_SAMPLES = round(3 * RATE_HZ / F0_FLOOR_HZ)
"""40 ms: three periods of the lowest voice, as the autocorrelation of Boersma (1993) needs."""

FFT_SAMPLES = 1024
"""The next power of two above one frame and its longest lag, so that the autocorrelation does not wrap around."""

BIN_HZ = RATE_HZ / FFT_SAMPLES


@dataclass(frozen=True, eq=False)
class Frames:
    """The whole frames of a waveform, one every 10 ms.

    Attributes:
        samples: (frames, FRAME_SAMPLES) float64, each less its own mean.
        powers: (frames, FFT_SAMPLES // 2 + 1) float64, |X|^2 of the Hann-windowed frames.
        times_s: (frames,) float64, the middle of each frame from the waveform's start, s.
        duration_s: of the waveform, s.
    """

    samples: np.ndarray
    powers: np.ndarray
    times_s: np.ndarray
    duration_s: float


def short_time_frames(waveform: np.ndarray) -> Frames:
    """Cut a waveform into frames; one shorter than a frame has none.

    Args:
        waveform: (samples,) float64, 16 kHz.
    """
    duration_s = waveform.size / RATE_HZ
    if waveform.size < FRAME_SAMPLES:
        empty = np.zeros((0, FRAME_SAMPLES))
        return Frames(empty, np.zeros((0, FFT_SAMPLES // 2 + 1)), np.zeros(0), duration_s)
    frames = np.lib.stride_tricks.sliding_window_view(waveform, FRAME_SAMPLES)[::HOP_SAMPLES]
    centred = frames - frames.mean(axis=1, keepdims=True)
    spectra = scipy.fft.rfft(centred * hann_window(), FFT_SAMPLES, axis=1)
    times_s = (np.arange(len(frames)) * HOP_SAMPLES + FRAME_SAMPLES / 2) / RATE_HZ
    return Frames(centred, spectra.real**2 + spectra.imag**2, times_s, duration_s)


@lru_cache(maxsize=1)
def hann_window() -> np.ndarray:
    """Hann window of one frame, (FRAME_SAMPLES,) float64, symmetric, read-only."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(FRAME_SAMPLES) + 0.5) / FRAME_SAMPLES)
    window.setflags(write=False)
    return window


def runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """(start, stop) of each run of True in (frames,) bool."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]
