"""Noise estimation and its effect on denoising."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from avpenet_cli.audio.cleaning import clean
from avpenet_cli.audio.framing import fixed_blocks
from avpenet_cli.audio.noise import survey
from avpenet_cli.errors import RecordingError, SettingsError
from avpenet_cli.settings import AudioSettings

Denoise = Literal["quietest-frames", "first-frames", "noisereduce", "none"]

RATE_HZ = 16_000
QUIET = 0.003
"""RMS of the room noise."""


def room(seconds: float, rate_hz: int = RATE_HZ, seed: int = 0) -> np.ndarray:
    return (QUIET * np.random.default_rng(seed).standard_normal(round(seconds * rate_hz))).astype(np.float32)


def cry(seconds: float, rate_hz: int = RATE_HZ) -> np.ndarray:
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    partials = np.arange(1, 7)[:, None]
    audio: np.ndarray = 0.15 * np.sum(np.sin(2 * np.pi * 450 * partials * time_s) / partials, axis=0)
    return audio.astype(np.float32)


def crying_first() -> np.ndarray:
    audio = room(6.0)
    audio[: 2 * RATE_HZ] += cry(2.0)
    return audio


def cleaned(audio: np.ndarray, denoise: Denoise) -> np.ndarray:
    settings = AudioSettings(denoise=denoise)
    return np.concatenate(list(clean([audio], RATE_HZ, survey([audio], RATE_HZ, settings), settings)))


def rms(audio: np.ndarray) -> float:
    return float(np.sqrt(np.mean(audio.astype(np.float64) ** 2)))


def test_quietest_frames_keep_a_cry_at_the_start() -> None:
    audio = crying_first()
    assert rms(cleaned(audio, "quietest-frames")[: 2 * RATE_HZ]) > 0.9 * rms(audio[: 2 * RATE_HZ])


def test_first_frames_remove_a_cry_at_the_start() -> None:
    audio = crying_first()
    assert rms(cleaned(audio, "first-frames")[: 2 * RATE_HZ]) < 0.3 * rms(audio[: 2 * RATE_HZ])


@pytest.mark.parametrize(
    ("denoise", "kept"),
    # noisereduce smooths its mask over 500 Hz, which eats into lone harmonics.
    [("quietest-frames", 0.9), ("first-frames", 0.9), ("noisereduce", 0.4)],
)
def test_denoising_removes_noise_and_keeps_the_cry(denoise: Denoise, kept: float) -> None:
    audio = room(6.0)
    audio[3 * RATE_HZ :] += cry(3.0)
    result = cleaned(audio, denoise)
    assert rms(result[RATE_HZ // 2 : 2 * RATE_HZ]) < 0.7 * QUIET
    assert rms(result[4 * RATE_HZ :]) > kept * rms(audio[4 * RATE_HZ :])


@pytest.mark.parametrize("denoise", ["quietest-frames", "first-frames", "noisereduce", "none"])
def test_noise_floor_is_the_level_of_the_room_under_every_rule(denoise: Denoise) -> None:
    floor_dbfs = survey([crying_first()], RATE_HZ, AudioSettings(denoise=denoise)).floor_dbfs
    assert floor_dbfs == pytest.approx(20 * np.log10(QUIET), abs=1.5)


def test_muted_intervals_do_not_change_the_noise() -> None:
    unmuted = crying_first()
    muted = np.concatenate([np.zeros(30 * RATE_HZ, np.float32), unmuted, np.zeros(30 * RATE_HZ, np.float32)])
    settings = AudioSettings()
    expected = survey([unmuted], RATE_HZ, settings)
    profile = survey([muted], RATE_HZ, settings)
    assert profile.floor_dbfs == pytest.approx(expected.floor_dbfs, abs=1.0)
    np.testing.assert_allclose(profile.magnitude.mean(), expected.magnitude.mean(), rtol=0.1)


def test_level_histogram_agrees_with_sorting_all_frames() -> None:
    audio = crying_first()
    settings = AudioSettings()
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    frames = np.lib.stride_tricks.sliding_window_view(audio, 400)[120::160] * window
    power = (frames**2).mean(axis=1) / (window**2).mean()
    quietest = np.argsort(power)[: round(settings.quiet_share * len(power))]
    profile = survey([audio], RATE_HZ, settings)
    assert profile.floor_dbfs == pytest.approx(10 * np.log10(power[quietest].mean()), abs=0.3)
    exact = np.abs(np.fft.rfft(frames[quietest])).mean(axis=0)
    # The level histogram cannot tell frames of one bin apart, so the two take partly different frames.
    np.testing.assert_allclose(profile.magnitude.mean(), exact.mean(), rtol=0.03)
    assert profile.magnitude.shape == (201,)
    assert profile.magnitude.dtype == np.float32


def test_first_frames_are_the_authors_twenty() -> None:
    audio = crying_first()
    padded = np.pad(audio, 200)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    frames = np.lib.stride_tricks.sliding_window_view(padded, 400)[::160][:20]
    exact = np.abs(np.fft.rfft(frames * window)).mean(axis=0)
    for length in (100, 7_777):
        pieces = [audio[at : at + length] for at in range(0, audio.size, length)]
        magnitude = survey(pieces, RATE_HZ, AudioSettings(denoise="first-frames")).magnitude
        np.testing.assert_allclose(magnitude, exact, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("samples", [0, 1, 399, 5 * RATE_HZ])
@pytest.mark.parametrize("denoise", ["quietest-frames", "first-frames", "noisereduce", "none"])
def test_silent_or_tiny_recording_has_no_floor(samples: int, denoise: Denoise) -> None:
    settings = AudioSettings(denoise=denoise)
    silence = np.zeros(samples, np.float32)
    profile = survey([silence], RATE_HZ, settings)
    assert profile.floor_dbfs is None
    assert not profile.magnitude.any()
    assert profile.samples == samples
    assert sum(block.size for block in clean([silence], RATE_HZ, profile, settings)) == samples


def test_excerpt_for_the_gate_is_the_quietest_second() -> None:
    audio = np.concatenate([cry(3.0), room(3.0), cry(3.0), np.zeros(3 * RATE_HZ, np.float32)])
    profile = survey([audio], RATE_HZ, AudioSettings(denoise="noisereduce"))
    assert profile.excerpt.size == RATE_HZ
    assert rms(profile.excerpt) == pytest.approx(QUIET, rel=0.1)


def test_damaged_samples_do_not_change_the_noise() -> None:
    audio = room(3.0)
    expected = survey([audio], RATE_HZ, AudioSettings())
    audio[[5, 20_000, 30_000, 40_000]] = np.nan, np.inf, -np.inf, 1e30
    profile = survey([audio], RATE_HZ, AudioSettings())
    assert profile.floor_dbfs == pytest.approx(expected.floor_dbfs, abs=0.1)
    assert np.isfinite(profile.magnitude).all()


def test_fixed_blocks_keep_every_sample_in_order() -> None:
    audio = np.arange(1000, dtype=np.float32)
    pieces = [audio[:0], audio[:1], audio[1:700], audio[700:701], audio[701:], audio[:0]]
    blocks = list(fixed_blocks(pieces, 160))
    assert [block.size for block in blocks] == [160] * 6 + [40]
    np.testing.assert_array_equal(np.concatenate(blocks), audio)


def test_fixed_blocks_do_not_share_the_decoders_buffer() -> None:
    buffer = np.zeros(100, np.float32)

    def decoder() -> object:
        for value in (0.1, 0.2, 0.3):
            buffer[:] = value
            yield buffer

    blocks = list(fixed_blocks(decoder(), 100))  # type: ignore[arg-type]
    assert [float(block[0]) for block in blocks] == pytest.approx([0.1, 0.2, 0.3])


@pytest.mark.parametrize("block", [np.zeros(10, np.int16), np.zeros((10, 2), np.float32)])
def test_integers_and_stereo_are_refused(block: np.ndarray) -> None:
    with pytest.raises(TypeError, match="one-dimensional floating point"):
        survey([block], RATE_HZ, AudioSettings())


def test_rate_of_zero_is_refused() -> None:
    with pytest.raises(RecordingError, match="0 Hz"):
        survey([np.zeros(10, np.float32)], 0, AudioSettings())


def test_hop_that_leaves_gaps_is_refused() -> None:
    with pytest.raises(SettingsError, match="denoise_hop_samples = 300"):
        survey([np.zeros(10, np.float32)], RATE_HZ, AudioSettings(denoise_hop_samples=300))
