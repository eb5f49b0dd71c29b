"""Detect voice activity in a segment (Algorithm 1, stage 3)."""

from __future__ import annotations

import numpy as np
import scipy.fft

from avpenet_cli.settings import AudioSettings

_POWER_OFFSET = 1e-10
"""Added to every power so that its logarithm exists; the authors' value."""

_FLAT_BAND_SHARE = 0.9
"""Resampling filters roll off above about this share of the band, which would make any noise look peaked."""


def voice_activity(segment: np.ndarray, settings: AudioSettings, native_rate_hz: int | None = None) -> np.ndarray:
    """Find voiced frames: energy sum(x^2) > `vad_energy` and spectral flatness < `vad_flatness`.

    Flatness is the geometric over the arithmetic mean of the power spectrum (rectangular window, without 0 Hz), over
    the band of the recording: an 8 kHz recording is empty above 4 kHz, and any noise in it would otherwise count as
    peaked. White noise has 0.56.

    The input is the denoised waveform before peak normalisation, in the order of Algorithm 1. The energy threshold is
    therefore absolute (-44 dBFS RMS for 512 samples), and a quiet room has no voiced frames. Denoising makes residual
    loud noise peaked, so that noise above the threshold counts as voiced. The result masks nothing.

    Args:
        segment: (samples,) float32, full scale 1, at `settings.sample_rate_hz`, finite.
        native_rate_hz: sampling rate of the recording before resampling; None for `settings.sample_rate_hz`.

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
    powers = (spectra.real**2 + spectra.imag**2).astype(np.float64) + _POWER_OFFSET
    flatness = np.exp(np.log(powers).mean(axis=1)) / powers.mean(axis=1)
    voiced[voiced] = flatness < settings.vad_flatness
    return voiced
