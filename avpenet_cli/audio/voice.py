"""Where a segment holds voice. Algorithm 1, stage 3."""

from __future__ import annotations

import numpy as np
import scipy.fft

from avpenet_cli.settings import AudioSettings

_LEAST_POWER = 1e-10
"""Added to every power so that an empty frequency has a logarithm; the authors' value."""

_FLAT_BAND_SHARE = 0.9
"""Resamplers begin to fall at about this share of the band, and their slope would make any noise look peaked."""


def voice_activity(segment: np.ndarray, settings: AudioSettings, native_rate_hz: int | None = None) -> np.ndarray:
    """Which frames are voiced: energy sum(x^2) > `vad_energy` and spectral flatness < `vad_flatness`.

    Flatness is the geometric over the arithmetic mean of the power spectrum (rectangular window, without 0 Hz),
    over the band that the recording can hold: an 8 kHz recording is empty above 4 kHz, and any noise in it would
    otherwise count as peaked. White noise has 0.56.

    It acts on the denoised waveform before peak normalisation, which is the order of Algorithm 1; the energy
    threshold is therefore absolute (-44 dBFS RMS for 512 samples) and a quiet room has no voice in it. Denoising
    makes what is left of loud noise peaked, so that "voiced" means "sounding" where the noise itself is over the
    threshold. It masks nothing.

    Args:
        segment: (samples,) float32, full scale 1, at `settings.sample_rate_hz`, finite.
        native_rate_hz: rate of the recording before resampling, if it was another.

    Returns:
        (frames,) bool, one per `vad_hop_samples`, whole frames only: 297 for 3 s.
    """
    if segment.size < settings.vad_frame_samples:
        return np.zeros(0, bool)
    windows = np.lib.stride_tricks.sliding_window_view(segment, settings.vad_frame_samples)
    frames = windows[:: settings.vad_hop_samples]
    voiced: np.ndarray = np.sum(np.square(frames, dtype=np.float64), axis=1) > settings.vad_energy
    if not voiced.any():
        return voiced
    rate_hz = min(native_rate_hz or settings.sample_rate_hz, settings.sample_rate_hz)
    top_bin = int(_FLAT_BAND_SHARE * rate_hz / 2 * settings.vad_frame_samples / settings.sample_rate_hz)
    spectra = scipy.fft.rfft(frames[voiced], axis=1)[:, 1 : max(1, top_bin) + 1]
    powers = (spectra.real**2 + spectra.imag**2).astype(np.float64) + _LEAST_POWER
    flatness = np.exp(np.log(powers).mean(axis=1)) / powers.mean(axis=1)
    voiced[voiced] = flatness < settings.vad_flatness
    return voiced
