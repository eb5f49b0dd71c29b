"""Compute the log-mel spectrogram of a segment (Algorithm 1, stages 4 and 5)."""

from __future__ import annotations

import warnings
from functools import lru_cache

import numpy as np
import scipy.fft

from avpenet_cli.audio.framing import centred_frames, hann
from avpenet_cli.errors import SettingsError
from avpenet_cli.settings import AudioSettings

NO_SIGNAL_PEAK = 1e-6
"""-120 dBFS: below it are only rounding errors that filters leave in silence."""

_MIN_SPAN = 1e-8
"""Prevents division by zero for a flat spectrogram; the authors' value."""


def log_mel(segment: np.ndarray, settings: AudioSettings, mel_frames: int | None = None) -> np.ndarray:
    """Peak-normalised log-mel spectrogram, scaled to [0, 1] over the segment.

    log(mel + log_offset) of the power spectrum, min-max scaled over all frames of the segment (one more than is kept,
    since frames are centred), then padded with zeros or trimmed to `mel_frames`.

    A segment without signal (peak under `NO_SIGNAL_PEAK`) is all zeros: amplified to full scale, its rounding errors
    would look like loud audio.

    Args:
        segment: (samples,) float32, full scale 1, at `settings.sample_rate_hz`, finite; 48000 samples for 3 s.
        mel_frames: for windows of another length than a segment's; `settings.mel_frames` by default.

    Returns:
        (mel_bands, mel_frames) = (128, 300) float32 in [0, 1].

    Raises:
        SettingsError: the mel limits do not fit the sampling rate.
    """
    mel = np.zeros((settings.mel_bands, mel_frames or settings.mel_frames), np.float32)
    bank = mel_bank(
        settings.sample_rate_hz, settings.fft_samples, settings.mel_bands, settings.mel_low_hz, settings.mel_high_hz
    )
    peak = float(np.max(np.abs(segment), initial=0.0))
    if peak < NO_SIGNAL_PEAK:
        return mel
    frames = centred_frames((segment / peak).astype(np.float32), settings.fft_samples, settings.hop_samples)
    spectra = scipy.fft.rfft(frames * hann(settings.fft_samples), axis=1)
    logs = np.log(bank @ (spectra.real**2 + spectra.imag**2).T + np.float32(settings.log_offset))
    lowest, highest = logs.min(), logs.max()
    scaled = ((logs - lowest) / (highest - lowest + _MIN_SPAN))[:, : mel.shape[1]]
    mel[:, : scaled.shape[1]] = scaled
    return mel


@lru_cache(maxsize=4)
def mel_bank(rate_hz: int, fft_samples: int, bands: int, low_hz: float, high_hz: float) -> np.ndarray:
    """Triangular filters of equal area on Slaney's mel scale (Auditory Toolbox, 1998), from librosa.

    Narrow low bands between two frequencies of the transform stay empty, as in the published front end.

    Returns:
        (bands, fft_samples // 2 + 1) float32, read-only.

    Raises:
        SettingsError: the limits are not increasing or exceed half the sampling rate.
    """
    if not low_hz < high_hz <= rate_hz / 2:
        raise SettingsError(
            f"mel_low_hz = {low_hz} and mel_high_hz = {high_hz} must increase and be at most {rate_hz / 2} Hz",
            "correct the settings",
        )
    from librosa.filters import mel

    with warnings.catch_warnings():
        # librosa warns about the empty bands, which are intended.
        warnings.simplefilter("ignore", UserWarning)
        bank: np.ndarray = mel(
            sr=rate_hz, n_fft=fft_samples, n_mels=bands, fmin=low_hz, fmax=high_hz, htk=False, norm="slaney"
        )
    bank.setflags(write=False)
    return bank
