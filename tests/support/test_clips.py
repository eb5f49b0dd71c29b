"""The clips that other tests rely on have the properties they are documented to have."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from avpenet_cli.errors import EnvironmentUnavailableError
from tests.conftest import ClipMaker
from tests.support.portraits import BACKGROUND_DBFS, SAMPLE_RATE_HZ, background


def _streams(path: Path) -> dict[str, dict[str, Any]]:
    probe = ["ffprobe", "-v", "error", "-show_streams", "-of", "json", str(path)]
    completed = subprocess.run(probe, capture_output=True, text=True, check=True)
    return {stream["codec_type"]: stream for stream in json.loads(completed.stdout)["streams"]}


def _frames(path: Path, at_s: tuple[float, ...], fps: float) -> list[npt.NDArray[np.uint8]]:
    width, height = (_streams(path)["video"][side] for side in ("width", "height"))
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    frames = np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3)
    return [frames[round(t * fps)] for t in at_s]


def test_face_is_in_view_except_while_away(clips: ClipMaker) -> None:
    from facenet_pytorch import MTCNN

    clip = clips.face(seconds=3.0, size="320x240", fps=10.0, audio=None, away_s=(1.0, 2.0))
    assert set(_streams(clip)) == {"video"}
    detector = MTCNN(keep_all=True, device="cpu")
    detections = [detector.detect(frame)[0] for frame in _frames(clip, (0.2, 1.5, 2.8), 10.0)]
    assert [boxes is None for boxes in detections] == [False, True, False]


def test_rotated_clip_is_the_upright_one_rotated_clockwise(clips: ClipMaker) -> None:
    upright = clips.face(seconds=1.0, size="320x240", fps=10.0)
    turned = clips.face(seconds=1.0, size="320x240", fps=10.0, rotate_deg=90)
    (before,), (after,) = _frames(upright, (0.5,), 10.0), _frames(turned, (0.5,), 10.0)
    expected = cv2.rotate(before, cv2.ROTATE_90_CLOCKWISE)
    assert after.shape == expected.shape == (320, 240, 3)
    assert np.abs(after.astype(float) - expected).mean() < 8.0
    assert "side_data_list" not in _streams(turned)["video"]


def test_same_arguments_give_the_same_file(clips: ClipMaker) -> None:
    assert clips.face(seconds=1.0, size="320x240", fps=10.0) == clips.face(seconds=1.0, size="320x240", fps=10.0)
    assert clips.face(seconds=1.0, size="320x240", fps=10.0) != clips.face(seconds=1.2, size="320x240", fps=10.0)


def test_ffmpeg_options_override_the_defaults(clips: ClipMaker) -> None:
    extra = ("-c:v", "mpeg2video", "-b:v", "1M", "-c:a", "pcm_s24le", "-ac", "2", "-ar", "44100")
    streams = _streams(clips.face(seconds=1.0, size="320x240", audio="moan", suffix=".mkv", extra=extra))
    assert streams["video"]["codec_name"] == "mpeg2video"
    assert [streams["audio"][key] for key in ("codec_name", "channels", "sample_rate")] == ["pcm_s24le", 2, "44100"]


def test_ffmpeg_failure_is_an_error(clips: ClipMaker) -> None:
    with pytest.raises(EnvironmentUnavailableError, match="no_such_codec"):
        clips.face(seconds=0.4, size="320x240", extra=("-c:v", "no_such_codec"))


def test_background_has_its_documented_level() -> None:
    audio = background(5.0, seed=3)
    assert audio.shape == (5 * SAMPLE_RATE_HZ,)
    assert 20 * np.log10(np.sqrt(np.mean(audio**2))) == pytest.approx(BACKGROUND_DBFS, abs=0.1)
