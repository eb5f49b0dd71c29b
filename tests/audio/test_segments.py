"""Cutting a recording's audio into segments in one pass."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from typing import Literal

import numpy as np
import pytest

from avpenet_cli.audio.noise import survey
from avpenet_cli.audio.segments import SegmentAudio, segments
from avpenet_cli.settings import AudioSettings

Denoise = Literal["quietest-frames", "first-frames", "noisereduce", "none"]

SETTINGS = AudioSettings()
FULL_SCALE = 0.999


def audio_of(rate_hz: int, seconds: float) -> np.ndarray:
    rng = np.random.default_rng(rate_hz)
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    gate = np.sin(2 * np.pi * 0.31 * time_s) > 0
    voice = sum(np.sin(2 * np.pi * 410 * k * time_s) / k for k in range(1, 6))
    return (0.1 * voice * gate + 0.003 * rng.standard_normal(time_s.size)).astype(np.float32)


def grid(count: int, stride_s: float = 3.0) -> list[tuple[float, float]]:
    return [(stride_s * number, 3.0) for number in range(count)]


def cut(
    audio: np.ndarray, rate_hz: int, windows: list[tuple[float, float]], settings: AudioSettings = SETTINGS
) -> list[SegmentAudio]:
    profile = survey([audio], rate_hz, settings)
    return list(segments([audio], rate_hz, windows, profile, settings, FULL_SCALE))


def assert_silent(segment: SegmentAudio) -> None:
    assert segment.mel.shape == (128, 300)
    assert not segment.mel.any()
    assert (segment.voiced, segment.level_dbfs, segment.snr_db, segment.clipped_share) == (0.0, None, None, 0.0)


@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 48_000])
def test_same_window_is_equal_at_every_stride(rate_hz: int) -> None:
    audio = audio_of(rate_hz, 10.0)
    apart = cut(audio, rate_hz, grid(3))
    overlapping = cut(audio, rate_hz, grid(8, stride_s=1.0))
    assert len(overlapping) == 8
    for number, segment in enumerate(apart):
        same_window = overlapping[3 * number]
        np.testing.assert_array_equal(segment.mel, same_window.mel)
        assert (segment.voiced, segment.level_dbfs, segment.snr_db) == (
            same_window.voiced,
            same_window.level_dbfs,
            same_window.snr_db,
        )


def test_segments_do_not_depend_on_block_lengths() -> None:
    audio = audio_of(44_100, 7.0)
    profile = survey([audio], 44_100, SETTINGS)
    whole = list(segments([audio], 44_100, grid(3), profile, SETTINGS, FULL_SCALE))
    pieces = [audio[at : at + 1_021] for at in range(0, audio.size, 1_021)]
    for segment, other in zip(whole, segments(pieces, 44_100, grid(3), profile, SETTINGS, FULL_SCALE), strict=True):
        np.testing.assert_array_equal(segment.mel, other.mel)
        assert (segment.voiced, segment.level_dbfs, segment.snr_db) == (other.voiced, other.level_dbfs, other.snr_db)


@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 48_000, 192_000])
def test_level_and_snr_of_known_signals(rate_hz: int) -> None:
    time_s = np.arange(6 * rate_hz) / rate_hz
    audio = (0.001 * np.random.default_rng(0).standard_normal(time_s.size)).astype(np.float32)
    audio[3 * rate_hz :] += (0.1 * np.sqrt(2) * np.sin(2 * np.pi * 500 * time_s[3 * rate_hz :])).astype(np.float32)
    room, tone = cut(audio, rate_hz, grid(2))
    assert room.level_dbfs == pytest.approx(-60, abs=0.2)
    assert tone.level_dbfs == pytest.approx(-20, abs=0.1)
    assert room.snr_db == pytest.approx(0, abs=2.5)
    assert tone.snr_db == pytest.approx(40, abs=2.5)
    assert tone.voiced > 0.95
    assert room.voiced == 0


def test_padding_of_the_last_window_does_not_lower_its_level() -> None:
    rate_hz = 48_000
    audio = np.full(4 * rate_hz, 0.1, np.float32) * np.where(np.arange(4 * rate_hz) % 96 < 48, 1, -1).astype(np.float32)
    audio[-rate_hz // 2 :] = 1.0
    _, last = cut(audio, rate_hz, grid(2))
    assert last.level_dbfs == pytest.approx(10 * np.log10(0.5 * 0.01 + 0.5 * 1.0), abs=0.01)
    assert last.clipped_share == pytest.approx(0.5)
    assert last.mel.shape == (128, 300)
    assert last.mel[:, 50].any()
    assert not last.mel[:, 110:].any(), "the padding is the quietest part, which min-max scales to 0"


def test_window_beyond_the_end_is_silent() -> None:
    cut_segments = cut(audio_of(16_000, 3.5), 16_000, grid(4))
    assert len(cut_segments) == 4
    assert cut_segments[1].level_dbfs is not None
    assert_silent(cut_segments[2])
    assert_silent(cut_segments[3])


def test_recording_without_samples_gives_silent_segments() -> None:
    for segment in cut(np.zeros(0, np.float32), 48_000, grid(2)):
        assert_silent(segment)


def test_no_windows_give_no_segments() -> None:
    assert cut(audio_of(16_000, 1.0), 16_000, []) == []


@pytest.mark.parametrize("denoise", ["quietest-frames", "first-frames", "noisereduce", "none"])
def test_muted_interval_after_a_loud_cry_stays_silent(denoise: Denoise) -> None:
    rate_hz = 48_000
    audio = np.concatenate([audio_of(rate_hz, 3.0), np.zeros(6 * rate_hz, np.float32)])
    loud, *muted = cut(audio, rate_hz, grid(3), AudioSettings(denoise=denoise))
    assert loud.mel.any()
    for segment in muted:
        assert_silent(segment)


def test_clipped_share_counts_samples_at_full_scale() -> None:
    audio = audio_of(48_000, 3.0)
    audio[1_000:1_144] = 1.0
    audio[2_000:2_144] = -1.2
    (segment,) = cut(audio, 48_000, grid(1))
    assert segment.clipped_share == pytest.approx(288 / 144_000)


@pytest.mark.parametrize("denoise", ["quietest-frames", "first-frames", "noisereduce", "none"])
def test_damaged_samples_do_not_reach_the_mel(denoise: Denoise) -> None:
    rate_hz = 44_100
    audio = audio_of(rate_hz, 9.0)
    audio[[0, 3 * rate_hz, 4 * rate_hz, 9 * rate_hz - 1]] = np.nan, np.inf, -np.inf, 3e38
    audio[5 * rate_hz : 6 * rate_hz] = np.nan
    cut_segments = cut(audio, rate_hz, grid(3), AudioSettings(denoise=denoise))
    assert len(cut_segments) == 3
    for segment in cut_segments:
        assert np.isfinite(segment.mel).all()
        assert 0 <= segment.mel.min() <= segment.mel.max() <= 1
        assert segment.level_dbfs is not None and -40 < segment.level_dbfs < -10
        assert segment.clipped_share == 0


def test_first_segment_needs_little_look_ahead() -> None:
    rate_hz = 48_000
    audio = audio_of(rate_hz, 30.0)
    profile = survey([audio], rate_hz, SETTINGS)
    read = 0

    def decoder() -> Iterator[np.ndarray]:
        nonlocal read
        for at in range(0, audio.size, 4_800):
            read += 1
            yield audio[at : at + 4_800]

    stream = segments(decoder(), rate_hz, grid(10), profile, SETTINGS, FULL_SCALE)
    next(stream)
    assert read <= 51, "3 s and at most about 2 s of look-ahead, in blocks of 0.1 s"
    assert len(list(stream)) == 9


@pytest.mark.parametrize(
    "windows", [[(3.0, 3.0), (0.0, 3.0)], [(-1.0, 3.0)], [(0.0, 2.0)]], ids=["backwards", "before 0", "2 s"]
)
def test_invalid_windows_are_refused(windows: list[tuple[float, float]]) -> None:
    profile = survey([], 16_000, SETTINGS)
    with pytest.raises(ValueError, match="window"):
        segments([], 16_000, windows, profile, SETTINGS, FULL_SCALE)


def test_memory_does_not_grow_with_the_recording() -> None:
    rate_hz, minute = 8_000, audio_of(8_000, 60.0)

    def half_an_hour() -> Iterator[np.ndarray]:
        for _ in range(30):
            yield from np.split(minute, 60)

    tracemalloc.start()
    try:
        profile = survey(half_an_hour(), rate_hz, SETTINGS)
        windows = grid(120, stride_s=15.0)
        count = sum(1 for _ in segments(half_an_hour(), rate_hz, windows, profile, SETTINGS, FULL_SCALE))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 120
    assert profile.samples == 30 * 60 * rate_hz
    assert peak_bytes < 8e6, "the recording is 58 MB"


def test_audio_package_imports_no_network_library() -> None:
    program = (
        "import sys, avpenet_cli.audio.segments as s; "
        "print(sorted({'torch', 'librosa', 'noisereduce', 'typer'} & set(sys.modules)))"
    )
    completed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert completed.stdout.strip() == "[]"
