"""A DC offset, constant or wandering, changes neither levels nor voice activity; clipping is judged as recorded."""

from __future__ import annotations

import numpy as np
import pytest

from avpenet_cli.audio.noise import survey
from avpenet_cli.audio.offset import without_offset
from avpenet_cli.audio.segments import SegmentAudio, segments
from avpenet_cli.settings import AudioSettings

RATE_HZ = 16_000
SETTINGS = AudioSettings()
TIME_S = np.arange(9 * RATE_HZ) / RATE_HZ
ROOM = 0.0005 * np.random.default_rng(8).standard_normal(TIME_S.size)
VOICE = np.where(TIME_S >= 6, 0.2 * np.sin(2 * np.pi * 420 * TIME_S), 0)
AUDIO = (ROOM + VOICE).astype(np.float32)
OFFSETS = {
    "10 %": np.full_like(TIME_S, 0.1),
    "-30 %": np.full_like(TIME_S, -0.3),
    "wandering": 0.1 + 0.05 * np.sin(2 * np.pi * 0.3 * TIME_S),
}


def cut(audio: np.ndarray, *, has_offset: bool, block: int = TIME_S.size) -> list[SegmentAudio]:
    blocks = [audio[at : at + block] for at in range(0, audio.size, block)]
    profile = survey(blocks, RATE_HZ, SETTINGS, has_offset=has_offset)
    return list(segments(blocks, RATE_HZ, [(0.0, 3.0), (3.0, 3.0), (6.0, 3.0)], profile, SETTINGS, 0.999))


@pytest.mark.parametrize("name", OFFSETS)
def test_levels_voice_and_spectrogram_are_those_without_the_offset(name: str) -> None:
    clean = cut(AUDIO, has_offset=False)
    offset = cut((AUDIO + OFFSETS[name]).astype(np.float32), has_offset=True)
    for expected, segment in zip(clean, offset, strict=True):
        assert expected.level_dbfs is not None and expected.snr_db is not None
        assert segment.level_dbfs == pytest.approx(expected.level_dbfs, abs=0.3)
        assert segment.snr_db == pytest.approx(expected.snr_db, abs=0.5)
        assert segment.voiced == pytest.approx(expected.voiced, abs=0.01)
    for expected, segment in zip(cut(AUDIO, has_offset=True), offset, strict=True):
        assert np.abs(segment.mel - expected.mel).mean() < 0.02
    assert clean[0].voiced == 0
    assert clean[2].voiced == pytest.approx(1, abs=0.02)


def test_gaps_stay_digital_silence() -> None:
    audio = (AUDIO + 0.1).astype(np.float32)
    audio[3 * RATE_HZ : 6 * RATE_HZ] = 0
    before, gap, after = cut(audio, has_offset=True)
    assert (gap.level_dbfs, gap.voiced) == (None, 0)
    assert before.level_dbfs == pytest.approx(-66, abs=0.5)
    assert after.level_dbfs == pytest.approx(-17, abs=0.5)


def test_clipping_is_counted_in_the_samples_as_recorded() -> None:
    audio = np.clip(AUDIO + 0.85, -1, 1).astype(np.float32)
    quiet, _, clipped = cut(audio, has_offset=True)
    assert quiet.clipped_share == 0
    assert clipped.clipped_share > 0.2


def test_result_does_not_depend_on_block_lengths() -> None:
    audio = (AUDIO + OFFSETS["wandering"]).astype(np.float32)
    whole, pieces = cut(audio, has_offset=True), cut(audio, has_offset=True, block=1_021)
    for segment, other in zip(whole, pieces, strict=True):
        np.testing.assert_array_equal(segment.mel, other.mel)
        assert (segment.level_dbfs, segment.snr_db, segment.voiced) == (other.level_dbfs, other.snr_db, other.voiced)


def test_filter_leaves_what_can_be_heard() -> None:
    tone = (0.3 * np.sin(2 * np.pi * 60 * TIME_S)).astype(np.float32)
    filtered = np.concatenate(list(without_offset([tone + np.float32(0.2)], RATE_HZ)))
    settled = filtered[RATE_HZ:]
    assert np.sqrt(np.mean(settled**2)) == pytest.approx(0.3 / np.sqrt(2), rel=0.02)
    assert abs(settled.mean()) < 1e-4


def test_stream_of_one_sample_has_no_offset_left() -> None:
    (filtered,) = without_offset([np.full(1, 0.1, np.float32)], RATE_HZ)
    assert abs(filtered[0]) < 1e-6
