"""Synthetic voices whose periods, amplitudes, bursts and spectra are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.signal

from avpenet_cli.model.acoustic.frames import RATE_HZ

_OVERSAMPLING = 8
"""Pulses lie on a grid eight times as fine as the samples."""

_RESONANCES = ((1.0, 1500.0, 1100.0), (0.7, 2000.0, 2600.0))
"""Amplitude, decay per second and frequency in Hz of the sound of one pulse."""


@dataclass(frozen=True, eq=False)
class PulseTrain:
    """A voice of known pulses.

    Attributes:
        waveform: (samples,) float64, peak 1.
        jitter: local and rap, shares of the mean period.
        shimmer: local and apq3, shares of the mean amplitude.
    """

    waveform: np.ndarray
    jitter: tuple[float, float]
    shimmer: tuple[float, float]


def pulse_train(
    f0_hz: float, jitter: float = 0.0, shimmer: float = 0.0, snr_db: float | None = None, seconds: float = 3.0
) -> PulseTrain:
    """Pulses through two resonances; periods and amplitudes vary normally with the given relative deviation."""
    rng = np.random.default_rng(1)
    periods = (1 + jitter * rng.standard_normal(int(seconds * f0_hz))) / f0_hz
    positions = np.rint(np.cumsum(periods) * RATE_HZ * _OVERSAMPLING).astype(int)
    length = round(seconds * RATE_HZ) * _OVERSAMPLING
    positions = positions[positions < length - RATE_HZ * _OVERSAMPLING // 100]
    amplitudes = 1 + shimmer * rng.standard_normal(positions.size)
    pulses = np.zeros(length)
    pulses[positions] = amplitudes
    time_s = np.arange(RATE_HZ * _OVERSAMPLING // 100) / (RATE_HZ * _OVERSAMPLING)
    pulse = np.zeros(time_s.size)
    for weight, decay, frequency_hz in _RESONANCES:
        pulse += weight * np.exp(-decay * time_s) * np.sin(2 * np.pi * frequency_hz * time_s)
    waveform = scipy.signal.resample_poly(scipy.signal.fftconvolve(pulses, pulse)[:length], 1, _OVERSAMPLING)
    if snr_db is not None:
        noise = rng.standard_normal(waveform.size)
        waveform = waveform + noise * np.sqrt(np.mean(waveform**2) / 10 ** (snr_db / 10))
    return PulseTrain(
        waveform / np.abs(waveform).max(),
        _variation(np.diff(positions).astype(np.float64)),
        _variation(amplitudes),
    )


def _variation(values: np.ndarray) -> tuple[float, float]:
    triples = np.lib.stride_tricks.sliding_window_view(values, 3)
    local = np.abs(np.diff(values)).mean()
    average = np.abs(triples[:, 1] - triples.mean(axis=1)).mean()
    return float(local / values.mean()), float(average / values.mean())


def harmonic_tone(f0_hz: np.ndarray | float, amplitudes: tuple[float, ...], seconds: float = 3.0) -> np.ndarray:
    """(samples,) float64: a sum of harmonics of the given amplitudes, f0 constant or given for each sample."""
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(f0_hz, round(seconds * RATE_HZ))) / RATE_HZ
    tone = np.zeros(phase.size)
    for number, amplitude in enumerate(amplitudes, start=1):
        tone += amplitude * np.sin(number * phase)
    return tone


def white_noise(seconds: float = 3.0, seed: int = 1) -> np.ndarray:
    """(samples,) float64, standard normal."""
    return np.random.default_rng(seed).standard_normal(round(seconds * RATE_HZ))
