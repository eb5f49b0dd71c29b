"""Track the fundamental frequency (f0) and the harmonics-to-noise ratio by autocorrelation.

The method and its constants are those of Boersma, "Accurate short-term analysis of the fundamental frequency and the
harmonics-to-noise ratio of a sampled sound", IFA Proceedings 17 (1993), 97-110, the default of Praat.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.fft

from avpenet_cli.model.acoustic.frames import (
    F0_CEILING_HZ,
    F0_FLOOR_HZ,
    FFT_SAMPLES,
    RATE_HZ,
    Frames,
    hann_window,
)

_SILENCE = 0.03
"""Frames whose peak is under this share of the waveform's are probably unvoiced."""

_VOICING = 0.45
_OCTAVE_COST = 0.01
_OCTAVE_JUMP_COST = 0.35
_VOICED_UNVOICED_COST = 0.14
"""Costs per 10 ms, the hop of the frames."""

_CANDIDATES = 14
"""Voiced candidates of a frame."""

_OVERSAMPLING = 2
"""The autocorrelation is interpolated, since the shortest period has only 13 samples."""

_MAX_STRENGTH = 1 - 1e-6
"""60 dB: above it, the ratio would measure rounding errors."""


@dataclass(frozen=True, eq=False)
class Pitch:
    """The pitch track of a waveform.

    Attributes:
        f0_hz: (frames,) float64, NaN where a frame is unvoiced.
        strength: (frames,) float64, normalised autocorrelation at the period, in (0, 1); NaN where unvoiced.
    """

    f0_hz: np.ndarray
    strength: np.ndarray

    @property
    def voiced(self) -> np.ndarray:
        """(frames,) bool."""
        return np.isfinite(self.f0_hz)

    @property
    def hnr_db(self) -> np.ndarray:
        """(frames,) float64: 10 log10(r / (1 - r)), r being the strength (Boersma 1993, equation 4)."""
        return 10 * np.log10(self.strength / (1 - self.strength))


def track_pitch(frames: Frames, peak: float) -> Pitch:
    """The cheapest path through the candidates of all frames.

    Args:
        frames: of the waveform.
        peak: the largest magnitude of the waveform, over 0.
    """
    if not len(frames.samples):
        return Pitch(np.zeros(0), np.zeros(0))
    f0_hz, strength = _candidates(_normalised_autocorrelation(frames))
    with np.errstate(invalid="ignore"):
        voiced_value = strength - _OCTAVE_COST * np.log2(F0_FLOOR_HZ / f0_hz)
    local_peaks = np.abs(frames.samples).max(axis=1) / peak
    unvoiced_value = _VOICING + np.maximum(0.0, 2 - local_peaks * (1 + _VOICING) / _SILENCE)
    # The last candidate of each frame is "unvoiced".
    values = np.column_stack([np.where(np.isnan(f0_hz), -np.inf, voiced_value), unvoiced_value])
    octaves = np.column_stack([np.log2(f0_hz), np.full(len(f0_hz), np.nan)])
    path = _best_path(values, octaves)
    rows = np.arange(len(path))
    unvoiced = np.full((len(path), 1), np.nan)
    return Pitch(np.hstack([f0_hz, unvoiced])[rows, path], np.hstack([strength, unvoiced])[rows, path])


def _normalised_autocorrelation(frames: Frames) -> np.ndarray:
    """(frames, lags) float64 at lags of 1 / (_OVERSAMPLING * RATE_HZ), from 0; 1 at lag 0, 0 for a frame of zeros."""
    correlation = scipy.fft.irfft(frames.powers, FFT_SAMPLES * _OVERSAMPLING, axis=1)[:, : _lags()]
    energy = correlation[:, :1]
    scaled = np.divide(correlation, energy, out=np.zeros_like(correlation), where=energy > 0)
    return scaled / _window_autocorrelation()


def _lags() -> int:
    return _OVERSAMPLING * round(RATE_HZ / F0_FLOOR_HZ) + 2


@lru_cache(maxsize=1)
def _window_autocorrelation() -> np.ndarray:
    spectrum = scipy.fft.rfft(hann_window(), FFT_SAMPLES)
    correlation = scipy.fft.irfft(np.abs(spectrum) ** 2, FFT_SAMPLES * _OVERSAMPLING)[: _lags()]
    return correlation / correlation[0]


def _candidates(correlation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The strongest maxima of each frame's autocorrelation, refined by a parabola.

    Returns:
        f0 in Hz and strength, each (frames, _CANDIDATES) float64, NaN beyond a frame's maxima.
    """
    lowest_lag = _OVERSAMPLING * RATE_HZ / F0_CEILING_HZ
    middle = correlation[:, 1:-1]
    is_maximum = (middle > correlation[:, :-2]) & (middle >= correlation[:, 2:]) & (middle > _VOICING / 2)
    is_maximum[:, : int(lowest_lag) - 1] = False
    rows, columns = np.nonzero(is_maximum)
    before, at, after = (correlation[rows, columns + shift] for shift in (0, 1, 2))
    slope, curvature = (after - before) / 2, 2 * at - before - after
    f0_hz = _OVERSAMPLING * RATE_HZ / (columns + 1 + slope / curvature)
    strength = at + slope**2 / (2 * curvature)
    # Noise in short frames can exceed 1; reflected as by Boersma.
    strength = np.minimum(np.where(strength > 1, 1 / strength, strength), _MAX_STRENGTH)
    order = np.lexsort((-(strength - _OCTAVE_COST * np.log2(F0_FLOOR_HZ / f0_hz)), rows))
    rows, f0_hz, strength = rows[order], f0_hz[order], strength[order]
    rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
    kept = (rank < _CANDIDATES) & (f0_hz <= F0_CEILING_HZ) & (f0_hz >= F0_FLOOR_HZ)
    table = np.full((2, len(correlation), _CANDIDATES), np.nan)
    table[:, rows[kept], rank[kept]] = f0_hz[kept], strength[kept]
    return table[0], table[1]


def _best_path(values: np.ndarray, octaves: np.ndarray) -> np.ndarray:
    """Viterbi search.

    Args:
        values: (frames, candidates) float64, what each candidate is worth; -inf for none.
        octaves: (frames, candidates) float64, log2 of f0 in Hz; NaN where unvoiced.

    Returns:
        (frames,) int64, the candidate of each frame.
    """
    costs = _OCTAVE_JUMP_COST * np.abs(octaves[1:, None, :] - octaves[:-1, :, None])
    unvoiced = np.isnan(octaves)
    costs[unvoiced[1:, None, :] != unvoiced[:-1, :, None]] = _VOICED_UNVOICED_COST
    costs[unvoiced[1:, None, :] & unvoiced[:-1, :, None]] = 0.0
    total = values[0]
    came_from = np.zeros((len(values), values.shape[1]), np.int64)
    columns = np.arange(values.shape[1])
    for frame, cost in enumerate(costs, start=1):
        worth = total[:, None] - cost
        came_from[frame] = worth.argmax(axis=0)
        total = worth[came_from[frame], columns] + values[frame]
    path = np.zeros(len(values), np.int64)
    path[-1] = total.argmax()
    for frame in range(len(values) - 1, 0, -1):
        path[frame - 1] = came_from[frame, path[frame]]
    return path
