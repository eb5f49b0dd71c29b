"""Noise and covers of a variant, as the program reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from avpenet_cli.evaluation.conditions import COVERS, Cover, cover_faces
from avpenet_cli.experiment.alteration import RecordingAlteration, VariantSettings, sounding_power
from avpenet_cli.experiment.noise import NoiseFolder
from avpenet_cli.face.align import align
from avpenet_cli.face.detect import Face
from avpenet_cli.media.frame_image import RgbImage, whole
from avpenet_cli.media.video import TimedFrame
from avpenet_cli.settings import FaceSettings


def _blocks(audio: np.ndarray, length: int) -> Callable[[], Iterator[np.ndarray]]:
    return lambda: (audio[start : start + length] for start in range(0, len(audio), length))


@pytest.mark.parametrize("kind", ["white", "hall"])
def test_noise_relates_to_where_the_recording_is_not_silent(kind: str, tmp_path: Path) -> None:
    rate_hz, rng = 44_100, np.random.default_rng(1)
    audio = np.zeros(6 * rate_hz, np.float32)
    audio[: 2 * rate_hz] = 0.2 * rng.standard_normal(2 * rate_hz)
    audio += 0.01  # a DC offset is no sound
    (tmp_path / "hall").mkdir()
    soundfile.write(tmp_path / "hall" / "hum.wav", np.sin(np.arange(16_000) / 9), 16_000)
    folder = NoiseFolder.open(tmp_path / "hall")
    first, second = tmp_path / "1.mp4", tmp_path / "2.mp4"
    names = {first: "1.mp4", second: "2.mp4"}
    alteration = RecordingAlteration(
        VariantSettings(noise_snr_db=10.0, noise=kind), FaceSettings(), -60.0, names, folder
    )

    def added(path: Path, length: int) -> np.ndarray:
        return np.concatenate(list(alteration.alter_audio(path, _blocks(audio, length), rate_hz))) - audio

    noise = added(first, 65_536)
    ratio_db = 10 * np.log10(np.var(audio[: 2 * rate_hz]) / np.mean(noise**2))
    assert ratio_db == pytest.approx(10.0, abs=0.2)
    # The survey and the segments read it in separate decodes; other recordings have other noise.
    np.testing.assert_array_equal(added(first, 10_007), noise)
    assert (added(second, 65_536) != noise).mean() > 0.9
    assert sounding_power(_blocks(0 * audio, 4096)(), rate_hz, -60.0) is None


def test_a_silent_recording_gets_no_noise(tmp_path: Path) -> None:
    path, audio = tmp_path / "1.mp4", np.zeros(48_000, np.float32)
    alteration = RecordingAlteration(VariantSettings(noise_snr_db=0.0), FaceSettings(), -60.0, {path: "1.mp4"})
    blocks = list(alteration.alter_audio(path, _blocks(audio, 4096), 48_000))
    np.testing.assert_array_equal(np.concatenate(blocks), audio)


@pytest.mark.parametrize("cover", COVERS)
def test_a_cover_in_the_frame_is_that_of_the_aligned_crop(cover: Cover, tmp_path: Path) -> None:
    """Here of a tilted face that was found in a rotated frame, partly beyond its edge."""
    path, settings = tmp_path / "1.mp4", FaceSettings()
    frame = RgbImage(np.full((300, 400, 3), 90, np.uint8))
    face = Face(np.array([20, 40, 220, 280], np.float32), np.array([[120, 190], [112, 110]], np.float32), 0.99, 270)
    alteration = RecordingAlteration(VariantSettings(cover=cover), settings, -60.0, {path: "1.mp4"})
    frames = [TimedFrame(slot, frame) for slot in (5, 6, 40)]
    altered = alteration.alter_frames(path, frames, {5: face})
    assert altered[2] is frames[2]  # longer than a second after the face was seen
    np.testing.assert_array_equal(whole(altered[0].image), whole(altered[1].image))
    assert (whole(frame) == 90).all()
    crop = align(altered[0].image, face, settings)
    expected = cover_faces(align(frame, face, settings)[None], cover, settings.box_margin, np.random.default_rng(0))[0]
    if cover == "random":
        changed = (crop != align(frame, face, settings)).any(axis=2)
        assert changed.mean() == pytest.approx(0.5, abs=0.1)
    else:
        assert (np.abs(crop.astype(int) - expected).max(axis=2) > 30).mean() < 0.03
