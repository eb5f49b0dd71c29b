"""The log-mel of a segment and its voice activity."""

from __future__ import annotations

import warnings

import librosa
import numpy as np
import pytest

from avpenet_cli.audio.mel import log_mel, mel_bank
from avpenet_cli.audio.voice import voice_activity
from avpenet_cli.errors import SettingsError
from avpenet_cli.settings import AudioSettings

SETTINGS = AudioSettings()


def noise(samples: int, level: float = 0.1) -> np.ndarray:
    return (level * np.random.default_rng(7).standard_normal(samples)).astype(np.float32)


def harmonics(samples: int, level: float = 0.1) -> np.ndarray:
    time_s = np.arange(samples) / 16_000
    partials = np.arange(1, 9)[:, None]
    audio: np.ndarray = level * np.sum(np.sin(2 * np.pi * 450 * partials * time_s) / partials, axis=0)
    return audio.astype(np.float32)


@pytest.mark.parametrize(("bands", "low_hz", "high_hz"), [(128, 50.0, 8_000.0), (64, 0.0, 8_000.0), (40, 300.0, 900.0)])
def test_filter_bank_equals_librosa(bands: int, low_hz: float, high_hz: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # librosa warns about the empty low bands, which the published front end has too
        expected = librosa.filters.mel(sr=16_000, n_fft=400, n_mels=bands, fmin=low_hz, fmax=high_hz)
    np.testing.assert_allclose(mel_bank(16_000, 400, bands, low_hz, high_hz), expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize(("low_hz", "high_hz"), [(50.0, 9_000.0), (800.0, 700.0)])
def test_band_beyond_half_the_rate_is_refused(low_hz: float, high_hz: float) -> None:
    with pytest.raises(SettingsError, match="must increase and be at most"):
        log_mel(noise(48_000), AudioSettings(mel_low_hz=low_hz, mel_high_hz=high_hz))


@pytest.mark.parametrize("level", [1e-4, 0.01, 0.9])
def test_mel_does_not_depend_on_loudness(level: float) -> None:
    np.testing.assert_allclose(
        log_mel(noise(48_000, level), SETTINGS), log_mel(noise(48_000, 0.1), SETTINGS), atol=1e-3, rtol=0
    )


def test_mel_fills_the_range_from_0_to_1() -> None:
    mel = log_mel(harmonics(48_000), SETTINGS)
    assert mel.shape == (128, 300)
    assert mel.dtype == np.float32
    assert mel.min() == 0
    assert mel.max() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    "segment", [np.zeros(48_000), np.zeros(0), noise(48_000, 1e-8)], ids=["zeros", "empty", "rounding errors"]
)
def test_silence_stays_silent(segment: np.ndarray) -> None:
    mel = log_mel(segment.astype(np.float32), SETTINGS)
    assert mel.shape == (128, 300)
    assert not mel.any()


@pytest.mark.parametrize(("samples", "filled"), [(16_000, 101), (47_999, 300), (48_000, 300), (80_000, 300)])
def test_other_lengths_are_padded_or_trimmed(samples: int, filled: int) -> None:
    mel = log_mel(noise(samples), SETTINGS)
    assert mel.shape == (128, 300)
    assert mel[:, :filled].any(axis=0).all()
    assert not mel[:, filled:].any()


@pytest.mark.parametrize(
    ("segment", "share"),
    [
        (harmonics(48_000), 1.0),
        (harmonics(48_000, 0.001), 0.0),
        (noise(48_000), 0.0),
        (np.zeros(48_000, np.float32), 0.0),
    ],
    ids=["cry", "faint cry", "white noise", "silence"],
)
def test_only_the_cry_is_voiced(segment: np.ndarray, share: float) -> None:
    activity = voice_activity(segment, SETTINGS)
    assert activity.shape == (297,)
    assert activity.dtype == bool
    assert activity.mean() == pytest.approx(share, abs=0.05)


def test_noise_of_a_narrowband_recording_is_not_voiced() -> None:
    spectrum = np.fft.rfft(noise(48_000))
    spectrum[48_000 // 4 :] = 0
    narrowband = np.fft.irfft(spectrum).astype(np.float32)
    assert voice_activity(narrowband, SETTINGS, native_rate_hz=8_000).mean() < 0.15
    assert voice_activity(narrowband, SETTINGS).mean() > 0.95


def test_energy_is_the_sum_of_squares() -> None:
    tone = np.sin(2 * np.pi * 500 * np.arange(512) / 16_000)
    for energy, voiced in ((0.019, False), (0.021, True)):
        scaled = (tone * np.sqrt(energy / np.sum(tone**2))).astype(np.float32)
        assert voice_activity(scaled, SETTINGS).tolist() == [voiced]


def test_segment_shorter_than_a_frame_has_no_voice_activity() -> None:
    assert voice_activity(np.ones(511, np.float32), SETTINGS).shape == (0,)
