"""Mixing channels: empty and inverted ones, and DC offsets, found in a decode of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avpenet_cli.media.audio import WaveformStream
from avpenet_cli.media.channels import ChannelStatistics, Mixdown
from avpenet_cli.media.probe import probe
from avpenet_cli.settings import DecodingSettings
from tests.conftest import ClipMaker

BLOCK = 1_600
"""0.1 s at 16 kHz."""
SECONDS = 12
RNG = np.random.default_rng(11)
TIME_S = np.arange(SECONDS * 16_000) / 16_000
GATE = (np.sin(2 * np.pi * 0.4 * TIME_S) > 0.3).astype(float)
VOICE = 0.3 * GATE * sum(np.sin(2 * np.pi * 310 * k * TIME_S) / k for k in range(1, 5))
OTHER = 0.3 * (1 - GATE) * np.sin(2 * np.pi * 523 * TIME_S)
FLOAT_PCM = ["-c:a", "pcm_f32le"]


def noise(level: float) -> np.ndarray:
    return level * RNG.standard_normal(TIME_S.size)


def decide(*channels: np.ndarray) -> Mixdown:
    statistics = ChannelStatistics()
    audio = np.stack(channels, axis=1).reshape(-1, BLOCK, len(channels))
    for batch in np.split(audio, 12):
        statistics.add(batch)
    return statistics.decide()


@pytest.mark.parametrize(
    "channels",
    [
        [VOICE],
        [VOICE, VOICE],
        [VOICE + noise(0.01), VOICE + noise(0.01)],
        [VOICE, OTHER],
        [VOICE, 0.1 * VOICE],
        [noise(0.1), noise(0.1)],
        [VOICE + noise(0.2), noise(0.2) - 0.2 * VOICE],
        [0 * VOICE, 0 * VOICE],
        [VOICE] * 6,
    ],
    ids=["mono", "dual mono", "stereo", "taking turns", "one far", "wide", "slightly opposite", "silence", "5.1"],
)
def test_ordinary_channels_are_averaged(channels: list[np.ndarray]) -> None:
    assert decide(*channels) == Mixdown()


@pytest.mark.parametrize(
    ("channels", "signs"),
    [
        ([VOICE, -VOICE], (1, -1)),
        ([VOICE + noise(0.02), 0.4 * (noise(0.02) - VOICE)], (1, -1)),
        ([VOICE + 0.4, 0.4 - VOICE], (1, -1)),
        ([VOICE, -VOICE, OTHER, -OTHER], (1, -1, 1, -1)),
        ([VOICE, VOICE, -VOICE, -VOICE], (1, 1, -1, -1)),
        ([VOICE, 0 * VOICE], (1, 0)),
        ([0 * VOICE, VOICE], (0, 1)),
        ([VOICE, noise(0.001)], (1, 0)),
        ([VOICE, np.full_like(VOICE, 0.2)], (1, 0)),
        ([0 * VOICE] * 2 + [VOICE] + [0 * VOICE] * 3, (0, 0, 1, 0, 0, 0)),
        ([VOICE, -VOICE, VOICE] + [0 * VOICE] * 13, (1, -1, 1) + (0,) * 13),
    ],
    ids=[
        "inverted", "inverted with noise", "inverted with the same offset", "pairs", "two inverted", "second dead",
        "first dead", "second hisses", "second is DC", "centre of 5.1", "3 of 16",
    ],
)  # fmt: skip
def test_empty_channels_are_left_out_and_inverted_ones_turned(
    channels: list[np.ndarray], signs: tuple[int, ...]
) -> None:
    assert decide(*channels).signs == signs


def test_partly_opposite_channels_are_turned_where_they_cancel_half_of_the_power() -> None:
    shared, own, others = noise(0.1), noise(0.1), noise(0.1)
    for weight, signs in [(0.5, ()), (1.0, (1, -1))]:
        assert decide(own + weight * shared, others - weight * shared).signs == signs


def test_a_channel_with_a_rare_voice_counts_and_a_click_does_not() -> None:
    rare, click = np.zeros_like(VOICE), np.zeros_like(VOICE)
    rare[:9_600] = 0.3 * np.sin(2 * np.pi * 400 * TIME_S[:9_600])
    click[1_000:1_020] = 0.5
    assert decide(VOICE, rare).signs == ()
    assert decide(VOICE, click).signs == (1, 0)
    # 0.6 s in two minutes are less than 1 % of the blocks.
    assert decide(np.tile(VOICE, 10), np.append(rare[:9_600], np.zeros(VOICE.size * 10 - 9_600))).signs == ()


@pytest.mark.parametrize(
    ("offset", "note"),
    [
        (np.full_like(VOICE, 0.1), "a DC offset of 10 % of full scale was removed"),
        (np.full_like(VOICE, -0.01), "a DC offset of 1 % of full scale was removed"),
        (0.1 + 0.05 * np.sin(2 * np.pi * 0.2 * TIME_S), "a DC offset of "),
        (0.1 * np.sin(2 * np.pi * 0.7 * TIME_S), "a DC offset of "),
    ],
    ids=["10 %", "-1 %", "wandering", "around 0"],
)
def test_offset_is_found(offset: np.ndarray, note: str) -> None:
    mixdown = decide(VOICE + noise(0.001) + offset)
    assert mixdown.has_offset
    assert mixdown.signs == ()
    assert mixdown.notes[0].startswith(note)


@pytest.mark.parametrize(
    "audio",
    [
        VOICE + noise(0.001) + 0.0002,
        VOICE + noise(0.1) + 0.01,
        noise(0.001) + 0.05 * np.sin(2 * np.pi * 50 * TIME_S),
        noise(0.001) + 0.05 * np.sin(2 * np.pi * 4 * TIME_S),
        0 * VOICE,
    ],
    ids=["under -70 dBFS", "under the noise", "hum", "rumble", "silence"],
)
def test_what_is_no_offset_is_left_alone(audio: np.ndarray) -> None:
    assert decide(audio) == Mixdown()


def test_damaged_samples_decide_nothing() -> None:
    damaged = VOICE.copy()
    damaged[[5, 50_000, 90_000]] = np.nan, np.inf, 3e38
    assert decide(VOICE, -damaged).signs == (1, -1)


def test_notes_name_channels_as_people_count_them() -> None:
    assert decide(VOICE, -VOICE).notes == ("channel 2 is inverted; its sign was changed",)
    assert decide(VOICE, VOICE, -VOICE, -VOICE, 0 * VOICE).notes == (
        "4 of 5 channels carry audio; the others were left out",
        "channels 3, 4 are inverted; their signs were changed",
    )


TONE = "0.3*sin(2*PI*440*t)"


def mixed(clips: ClipMaker, *channels: str, layout: str = "") -> tuple[np.ndarray, WaveformStream]:
    expected = f":c={layout}" if layout else ""
    source = f"aevalsrc='{'|'.join(channels)}':s=16000:d=1.5{expected}"
    path = clips.ffmpeg("-f", "lavfi", "-i", source, *FLOAT_PCM, suffix=".wav")
    settings = DecodingSettings()
    stream = WaveformStream(path, probe(path, settings), settings)
    return np.concatenate(list(stream)), stream


@pytest.mark.parametrize(
    ("channels", "layout", "notes"),
    [
        ([TONE, f"-{TONE}"], "stereo", 1),
        ([TONE, "0"], "stereo", 1),
        ([TONE, TONE], "stereo", 0),
        (["0", "0", TONE, "0", "0", "0"], "5.1", 1),
        ([TONE, TONE, f"-{TONE}"], "2.1", 1),
        (["0", TONE, "0", f"-{TONE}", TONE] + ["0"] * 8, "", 2),
        ([f"-{TONE}", TONE, TONE] + ["0"] * 13, "", 2),
    ],
    ids=["inverted", "dead", "dual mono", "5.1", "2.1", "13 channels", "16 channels"],
)
def test_decoded_audio_has_the_level_of_one_live_channel(
    clips: ClipMaker, channels: list[str], layout: str, notes: int
) -> None:
    samples, stream = mixed(clips, *channels, layout=layout)
    assert np.sqrt(np.mean(np.square(samples))) == pytest.approx(0.3 / np.sqrt(2), rel=1e-3)
    assert len(stream.notes) == notes


def test_a_mixdown_that_is_known_is_not_sought_again(clips: ClipMaker) -> None:
    samples, stream = mixed(clips, TONE, f"-{TONE}", layout="stereo")
    path, settings = Path(stream._path), DecodingSettings()
    again = WaveformStream(path, probe(path, settings), settings, mixdown=Mixdown())
    assert not np.concatenate(list(again)).any(), "the plain mean cancels"
    again = WaveformStream(path, probe(path, settings), settings, mixdown=stream.mixdown)
    np.testing.assert_array_equal(np.concatenate(list(again)), samples)
