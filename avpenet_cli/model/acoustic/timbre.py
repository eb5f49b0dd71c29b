"""Spectral shape of frames: mel-frequency cepstra, onset strength, centroid, rolloff, bandwidth, flatness.

Definitions are librosa's (McFee et al. 2015, SciPy Proceedings, 18), which the tests compare with. Only its mel filters
are used: importing its feature functions compiles code for half a minute on a machine that has not done so before.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.fft
import scipy.signal

from avpenet_cli.model.acoustic.frames import BIN_HZ, FFT_SAMPLES, RATE_HZ

N_MFCC = 13
_MEL_BANDS = 40
_MEL_LOW_HZ, _MEL_HIGH_HZ = 50.0, 8000.0

_SMALLEST_POWER = 1e-10
_DYNAMIC_RANGE_DB = 80.0

_DELTA_FRAMES = 9
"""Width of the regression that gives the slope of a cepstral coefficient."""

_ROLLOFF_SHARE = 0.85


@dataclass(frozen=True, eq=False)
class Shape:
    """Shape of the spectrum of each frame, all (frames,) float64.

    Attributes:
        centroid_hz: mean frequency, weighted by magnitude.
        rolloff_hz: below it lies 85 % of the magnitude.
        bandwidth_hz: standard deviation of the frequency, weighted by magnitude.
        flatness: geometric over arithmetic mean of the power, near 0 for a tone and 0.56 for white noise. Powers over
            80 dB below the highest of all frames count as 80 dB: what lies there is the rounding of 16-bit samples.
    """

    centroid_hz: np.ndarray
    rolloff_hz: np.ndarray
    bandwidth_hz: np.ndarray
    flatness: np.ndarray


def spectral_shape(powers: np.ndarray) -> Shape:
    """Shape of spectra, (frames, bins) float64 of |X|^2; NaN for a frame of zeros."""
    magnitudes = np.sqrt(powers)
    frequencies = np.arange(powers.shape[1]) * BIN_HZ
    totals = magnitudes.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        centroids = magnitudes @ frequencies / totals
        spread = magnitudes @ frequencies**2 / totals - centroids**2
    rolloffs = (np.cumsum(magnitudes, axis=1) < _ROLLOFF_SHARE * totals[:, None]).sum(axis=1) * BIN_HZ
    floored = np.maximum(powers, max(_SMALLEST_POWER, powers.max(initial=0.0) * 10 ** (-_DYNAMIC_RANGE_DB / 10)))
    flatness = np.exp(np.log(floored).mean(axis=1)) / floored.mean(axis=1)
    silent = totals == 0
    return Shape(
        centroids,
        np.where(silent, np.nan, rolloffs),
        np.sqrt(np.maximum(spread, 0.0)),
        np.where(silent, np.nan, flatness),
    )


def mel_levels_db(powers: np.ndarray) -> np.ndarray:
    """(frames, 40) float64: mel power in dB, at most 80 dB below the highest."""
    levels = 10 * np.log10(np.maximum(powers @ _mel_bank().T, _SMALLEST_POWER))
    return np.maximum(levels, levels.max(initial=-np.inf) - _DYNAMIC_RANGE_DB)


def cepstra(mel_db: np.ndarray) -> np.ndarray:
    """(frames, 13) float64: the first mel-frequency cepstral coefficients of `mel_levels_db`."""
    coefficients: np.ndarray = scipy.fft.dct(mel_db, type=2, norm="ortho", axis=1)
    return coefficients[:, :N_MFCC]


def slopes(coefficients: np.ndarray) -> np.ndarray:
    """Slope over nine frames of each coefficient, per frame, as (frames, 13) float64; NaN with fewer frames."""
    if len(coefficients) < _DELTA_FRAMES:
        return np.full(coefficients.shape, np.nan)
    deltas: np.ndarray = scipy.signal.savgol_filter(coefficients, _DELTA_FRAMES, polyorder=1, deriv=1, axis=0)
    return deltas


def onset_strengths(mel_db: np.ndarray) -> np.ndarray:
    """(frames - 1,) float64: rise of the mel level from frame to frame, falls counting as 0, mean of the bands, dB."""
    return np.maximum(np.diff(mel_db, axis=0), 0.0).mean(axis=1)


@lru_cache(maxsize=1)
def _mel_bank() -> np.ndarray:
    from librosa.filters import mel

    bank: np.ndarray = mel(sr=RATE_HZ, n_fft=FFT_SAMPLES, n_mels=_MEL_BANDS, fmin=_MEL_LOW_HZ, fmax=_MEL_HIGH_HZ)
    bank = bank.astype(np.float64)
    bank.setflags(write=False)
    return bank
