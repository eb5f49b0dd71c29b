"""Streamed denoising and resampling."""

from __future__ import annotations

from typing import Literal

import librosa
import numpy as np
import pytest
import soxr

from avpenet_cli.audio.cleaning import clean
from avpenet_cli.audio.noise import NoiseProfile, survey
from avpenet_cli.settings import AudioSettings

Denoise = Literal["quietest-frames", "first-frames", "noisereduce", "none"]


def audio_of(rate_hz: int, seconds: float) -> np.ndarray:
    rng = np.random.default_rng(rate_hz)
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    bursts = 0.2 * np.sin(2 * np.pi * 430 * time_s) * (np.sin(2 * np.pi * 0.7 * time_s) > 0)
    return (bursts + 0.01 * rng.standard_normal(time_s.size)).astype(np.float32)


def clean_at_once(audio: np.ndarray, rate_hz: int, profile: NoiseProfile, settings: AudioSettings) -> np.ndarray:
    """Algorithm 1, stages 1 and 2, on the whole recording by librosa's transforms."""
    spectra = librosa.stft(audio, n_fft=400, hop_length=160)
    magnitudes = np.abs(spectra)
    kept = np.maximum(
        magnitudes - settings.over_subtraction * profile.magnitude[:, None], settings.spectral_floor * magnitudes
    )
    denoised = librosa.istft(kept * np.exp(1j * np.angle(spectra)), hop_length=160, length=audio.size)
    resampled: np.ndarray = soxr.resample(denoised.astype(np.float32), rate_hz, 16_000, "HQ")
    return resampled


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100, 48_000])
def test_stream_equals_the_whole_recording(rate_hz: int) -> None:
    settings = AudioSettings(over_subtraction=1.5)
    audio = audio_of(rate_hz, 7.3)
    profile = survey([audio], rate_hz, settings)
    streamed = np.concatenate(list(clean([audio], rate_hz, profile, settings)))
    assert streamed.size == round(audio.size * 16_000 / rate_hz)
    assert streamed.dtype == np.float32
    np.testing.assert_allclose(streamed, clean_at_once(audio, rate_hz, profile, settings), rtol=0, atol=1e-4)


@pytest.mark.parametrize("denoise", ["quietest-frames", "noisereduce", "none"])
def test_result_does_not_depend_on_block_lengths(denoise: Denoise) -> None:
    rate_hz = 44_100
    settings = AudioSettings(denoise=denoise)
    audio = audio_of(rate_hz, 6.1)
    profile = survey([audio], rate_hz, settings)
    whole = np.concatenate(list(clean([audio], rate_hz, profile, settings)))
    for length in (311, 4_096, 100_000):
        pieces = [audio[at : at + length] for at in range(0, audio.size, length)]
        again = survey(pieces, rate_hz, settings)
        np.testing.assert_array_equal(again.magnitude, profile.magnitude)
        np.testing.assert_array_equal(np.concatenate(list(clean(pieces, rate_hz, again, settings))), whole)


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 22_050, 32_000, 44_100, 96_000, 192_000])
@pytest.mark.parametrize("extra", [0, 1, 77])
def test_length_follows_the_ratio_of_the_rates(rate_hz: int, extra: int) -> None:
    settings = AudioSettings(denoise="none")
    audio = audio_of(rate_hz, 1.5)[: rate_hz + extra]
    profile = survey([audio], rate_hz, settings)
    assert sum(block.size for block in clean([audio], rate_hz, profile, settings)) == round(
        audio.size * 16_000 / rate_hz
    )


@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 48_000])
def test_event_stays_at_its_time(rate_hz: int) -> None:
    settings = AudioSettings(denoise="none")
    audio = np.zeros(61 * rate_hz, np.float32)
    audio[60 * rate_hz] = 0.9
    profile = survey([audio], rate_hz, settings)
    result = np.concatenate(list(clean([audio], rate_hz, profile, settings)))
    assert int(np.argmax(np.abs(result))) == 60 * 16_000


def test_ten_kilohertz_is_filtered_out() -> None:
    settings = AudioSettings(denoise="none")
    time_s = np.arange(3 * 48_000) / 48_000
    tone = (0.5 * np.sin(2 * np.pi * 10_000 * time_s)).astype(np.float32)
    result = np.concatenate(list(clean([tone], 48_000, survey([tone], 48_000, settings), settings)))
    steady = result[4_000:-4_000]
    assert 20 * np.log10(np.sqrt(np.mean(steady**2)) / np.sqrt(np.mean(tone**2))) < -60


def test_gate_blocks_join_without_seams() -> None:
    rate_hz = 16_000
    settings = AudioSettings(denoise="noisereduce")
    audio = audio_of(rate_hz, 13.0)
    profile = survey([audio], rate_hz, settings)
    streamed = np.concatenate(list(clean([audio], rate_hz, profile, settings)))

    from noisereduce import reduce_noise

    whole = reduce_noise(
        y=audio, sr=rate_hz, stationary=True, y_noise=profile.excerpt, chunk_size=2 * audio.size, padding=1024
    )
    np.testing.assert_allclose(streamed, whole, rtol=0, atol=1e-4)


def test_gate_accepts_unusual_rates() -> None:
    settings = AudioSettings(denoise="noisereduce")
    for rate_hz in (4_000, 384_000):
        audio = audio_of(rate_hz, 2.0)
        profile = survey([audio], rate_hz, settings)
        assert sum(block.size for block in clean([audio], rate_hz, profile, settings)) == 32_000


@pytest.mark.parametrize(("rate_hz", "denoise"), [(48_000, "quietest-frames"), (16_000, "none")])
def test_noise_profile_of_other_settings_is_refused(rate_hz: int, denoise: Denoise) -> None:
    profile = survey([audio_of(16_000, 1.0)], 16_000, AudioSettings())
    with pytest.raises(ValueError, match="noise estimated by quietest-frames at 16000 Hz"):
        clean([np.zeros(10, np.float32)], rate_hz, profile, AudioSettings(denoise=denoise))
