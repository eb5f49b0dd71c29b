"""Mel filters as librosa makes them (McFee et al. 2015, SciPy Proceedings, 18), whose import takes a second or two."""

from __future__ import annotations

import numpy as np

_HZ_PER_MEL = 200.0 / 3
_LOG_FROM_HZ = 1000.0
_LOG_FROM_MEL = _LOG_FROM_HZ / _HZ_PER_MEL
_LOG_STEP = np.log(6.4) / 27.0
"""Slaney's scale (Auditory Toolbox, 1998): linear below 1 kHz, logarithmic above."""


def mel_filters(rate_hz: int, fft_samples: int, bands: int, low_hz: float, high_hz: float) -> np.ndarray:
    """Triangular filters of equal area, whose corners are evenly spaced on Slaney's mel scale.

    Equal to `librosa.filters.mel` to the bit, because scores depend on them. A band between two frequencies of the
    transform stays empty.

    Args:
        low_hz: at which the lowest filter begins, below `high_hz`, at which the highest ends.

    Returns:
        (bands, fft_samples // 2 + 1) float32.
    """
    frequencies_hz = np.fft.rfftfreq(fft_samples, 1.0 / rate_hz)
    corners_hz = _hz(np.linspace(_mels(low_hz), _mels(high_hz), bands + 2))
    widths_hz = np.diff(corners_hz)
    ramps_hz = np.subtract.outer(corners_hz, frequencies_hz)
    rising = -ramps_hz[:-2] / widths_hz[:-1, np.newaxis]
    falling = ramps_hz[2:] / widths_hz[1:, np.newaxis]
    filters: np.ndarray = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    filters *= (2.0 / (corners_hz[2:] - corners_hz[:-2]))[:, np.newaxis]
    return filters


def _mels(frequency_hz: float) -> float:
    if frequency_hz < _LOG_FROM_HZ:
        return frequency_hz / _HZ_PER_MEL
    return float(_LOG_FROM_MEL + np.log(frequency_hz / _LOG_FROM_HZ) / _LOG_STEP)


def _hz(mels: np.ndarray) -> np.ndarray:
    hz = _HZ_PER_MEL * mels
    above = mels >= _LOG_FROM_MEL
    hz[above] = _LOG_FROM_HZ * np.exp(_LOG_STEP * (mels[above] - _LOG_FROM_MEL))
    return hz
