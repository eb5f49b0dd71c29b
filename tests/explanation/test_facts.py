"""Pitch, voicing, level and openings, and the reason where there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from avpenet_cli.explanation.explained import SegmentInputs
from avpenet_cli.explanation.facts import facts, openings
from avpenet_cli.model.landmarks import LAYOUTS, MESH_SUBSET
from avpenet_cli.records import Quality, SegmentScore, Status

RATE_HZ = 16_000
TIME_S = np.arange(3 * RATE_HZ) / RATE_HZ
NO_FACES = np.zeros((0, 0, 0, 3), np.uint8)


def heard(waveform: npt.NDArray[np.floating] | None) -> SegmentInputs:
    record = SegmentScore(0, 0.0, 3.0, Status.SCORED, Quality(level_dbfs=-21.5), score=4.0, modalities="audio")
    audio = None if waveform is None else waveform.astype(np.float32)
    return SegmentInputs(record, np.zeros((128, 300), np.float32), audio, NO_FACES, np.zeros(0, np.int64))


def cry(f0_hz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Harmonics that fall off, as of a voice, with a fundamental that moves."""
    phase = 2 * np.pi * np.cumsum(f0_hz) / RATE_HZ
    return np.asarray(sum(np.sin(n * phase) / n for n in range(1, 11)) / 10, np.float64)


@pytest.mark.parametrize("f0_hz", [110.0, 440.0, 1200.0])
def test_pitch_of_a_tone(f0_hz: float) -> None:
    measured = facts(heard(0.3 * np.sin(2 * np.pi * f0_hz * TIME_S)))
    assert measured.f0_hz == pytest.approx(f0_hz, rel=0.02)
    assert measured.voiced_share is not None and measured.voiced_share > 0.95
    assert measured.level_dbfs == -21.5
    assert not measured.audio_reason


def test_pitch_of_a_cry_with_pauses_and_noise() -> None:
    f0_hz = 450 + 80 * np.sin(2 * np.pi * TIME_S)
    sounding = TIME_S % 1.5 < 0.9
    noise = np.random.default_rng(0).normal(0, 0.002, len(TIME_S))
    measured = facts(heard(cry(f0_hz) * sounding + noise))
    assert measured.f0_hz == pytest.approx(np.median(f0_hz[sounding]), rel=0.03)
    assert measured.f0_range_hz == pytest.approx(np.percentile(f0_hz[sounding], [10, 90]), rel=0.03)
    assert measured.voiced_share == pytest.approx(sounding.mean(), abs=0.08)


def test_the_filling_of_a_last_segment_is_not_unvoiced() -> None:
    inputs = heard(0.3 * np.sin(2 * np.pi * 440 * TIME_S) * (TIME_S < 1.0))
    measured = facts(replace(inputs, record=replace(inputs.record, end_s=1.0)))
    assert measured.voiced_share is not None and measured.voiced_share > 0.9


@pytest.mark.parametrize(
    ("waveform", "reason"),
    [
        (None, "no audio made the score"),
        (np.zeros(3 * RATE_HZ), "the audio has no signal"),
        (np.random.default_rng(1).normal(0, 0.1, 3 * RATE_HZ), "no frame has a fundamental frequency"),
    ],
)
def test_no_pitch_has_a_reason(waveform: npt.NDArray[np.float64] | None, reason: str) -> None:
    measured = facts(heard(waveform))
    assert measured.f0_hz is None and measured.f0_range_hz is None
    assert measured.audio_reason.startswith(reason)
    assert not measured.voiced_share


def test_face_facts_say_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AVPENET_FACE_LANDMARKER", raising=False)
    assert facts(heard(None)).face_reason == "no face made the score"
    with_face = replace(heard(None), crops=np.zeros((1, 224, 224, 3), np.uint8), places=np.zeros(1, np.int64))
    measured = facts(with_face)
    assert measured.eyes is None and measured.brow is None and measured.mouth is None
    assert "set AVPENET_FACE_LANDMARKER" in measured.face_reason


def test_openings_are_distances_over_distances() -> None:
    points = np.zeros((1, LAYOUTS["mesh"].count, 2), np.float32)

    def put(x: float, y: float, *landmarks: int) -> None:
        for landmark in landmarks:
            points[0, MESH_SUBSET.index(landmark)] = x, y

    # Eyes from 0.2 to 0.4 and from 0.6 to 0.8, 0.05 open; brows 0.1 above their corners; mouth 0.3 wide, 0.15 open.
    put(0.2, 0.4, 33)
    put(0.4, 0.4, 133)
    put(0.6, 0.4, 362)
    put(0.8, 0.4, 263)
    for above, below, x in ((160, 144, 0.25), (159, 145, 0.3), (158, 153, 0.35), (385, 380, 0.65), (386, 374, 0.7)):
        put(x, 0.375, above)
        put(x, 0.425, below)
    put(0.75, 0.375, 387)
    put(0.75, 0.425, 373)
    put(0.3, 0.3, 63, 107)
    put(0.7, 0.3, 293, 336)
    put(0.35, 0.7, 61)
    put(0.65, 0.7, 291)
    for above, below, x in ((82, 87, 0.45), (13, 14, 0.5), (312, 317, 0.55)):
        put(x, 0.65, above)
        put(x, 0.8, below)
    assert openings(points)[0] == pytest.approx([0.1 / 0.4, 0.05 / 0.2, 0.15 / 0.3], rel=1e-5)
