"""The audio survey beside the video: the same evidence, the same errors, and nothing left running."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from avpenet_cli.errors import Interrupted, SettingsError
from avpenet_cli.pipeline.evidence import FrontEnd, RecordingEvidence
from avpenet_cli.pipeline.timer import StageTimer
from avpenet_cli.runs.callbacks import RunCallbacks
from avpenet_cli.settings import AudioSettings, Preprocessing, RunSettings
from tests.conftest import ClipMaker


class NoFaces:
    """A pool that keeps nothing."""

    def add(self, slot: int, track: int, crop: np.ndarray) -> None:
        pass

    def flush_before(self, slot: int) -> None:
        pass

    def finish(self) -> None:
        pass

    def features(self, slots: range, tracks: Sequence[int]) -> None:
        return None


@pytest.fixture
def clip(clips: ClipMaker) -> Path:
    noise = "anoisesrc=d=6:sample_rate=44100:seed=3:amplitude=0.1"
    return clips.ffmpeg("-f", "lavfi", "-i", "testsrc2=s=160x120:r=25:d=6", "-f", "lavfi", "-i", noise, suffix=".mkv")


def front_end(
    *, beside: bool, callbacks: RunCallbacks | None = None, preprocessing: Preprocessing | None = None
) -> FrontEnd:
    return FrontEnd(
        preprocessing or Preprocessing(),
        RunSettings(),
        (),
        torch.device("cpu"),
        callbacks or RunCallbacks(),
        audio_beside_video=beside,
    )


def assert_nothing_runs() -> None:
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("audio")] == []


def test_evidence_is_the_same_to_the_bit(clip: Path) -> None:
    timer = StageTimer()
    after: RecordingEvidence[None] = front_end(beside=False).read(clip, NoFaces(), timer)
    beside: RecordingEvidence[None] = front_end(beside=True).read(clip, NoFaces(), timer)
    assert after.audio is not None
    assert beside.audio is not None
    assert after.profile is not None
    assert beside.profile is not None
    for field in dataclasses.fields(after.profile):
        np.testing.assert_array_equal(getattr(after.profile, field.name), getattr(beside.profile, field.name))
    assert (after.audio.present, after.audio.mixdown) == (beside.audio.present, beside.audio.mixdown)
    assert (after.plan, after.flags, after.length_s) == (beside.plan, beside.flags, beside.length_s)
    assert {"audio", "wait_for_frames", "detect"} <= set(timer.seconds)
    assert_nothing_runs()


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("allowed", [0, 1, 4])
def test_stop_request_ends_both(clip: Path, beside: bool, allowed: int) -> None:
    class Stopping(RunCallbacks):
        asked = 0

        def should_stop(self) -> bool:
            self.asked += 1
            return self.asked > allowed

    with pytest.raises(Interrupted):
        front_end(beside=beside, callbacks=Stopping()).read(clip, NoFaces(), StageTimer())
    assert_nothing_runs()


@pytest.mark.parametrize("beside", [False, True])
def test_failure_in_the_video_ends_the_audio(clip: Path, beside: bool) -> None:
    class Failing(RunCallbacks):
        def progress(self, done: float, total: float, lane: int = 0) -> None:
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        front_end(beside=beside, callbacks=Failing()).read(clip, NoFaces(), StageTimer())
    assert_nothing_runs()


def test_long_audio_is_given_up_where_the_video_fails(clips: ClipMaker) -> None:
    noise = "anoisesrc=d=900:sample_rate=8000:seed=3:amplitude=0.1"
    video = "testsrc2=s=160x120:r=25:d=3"
    clip = clips.ffmpeg("-f", "lavfi", "-i", video, "-f", "lavfi", "-i", noise, "-c:a", "pcm_s16le", suffix=".mkv")
    seconds = {}

    class Failing(RunCallbacks):
        def progress(self, done: float, total: float, lane: int = 0) -> None:
            raise OSError("the disk is full")

    for callbacks in (Failing(), RunCallbacks()):
        timer = StageTimer()
        with contextlib.suppress(OSError):
            front_end(beside=True, callbacks=callbacks).read(clip, NoFaces(), timer)
        seconds[type(callbacks)] = timer.cpu_seconds["audio"]
    assert seconds[Failing] < seconds[RunCallbacks] / 2


@pytest.mark.parametrize("beside", [False, True])
def test_failure_in_the_audio_is_raised(clip: Path, beside: bool) -> None:
    impossible = Preprocessing(audio=AudioSettings(denoise_fft_samples=100, denoise_hop_samples=100))
    with pytest.raises(SettingsError, match="hop"):
        front_end(beside=beside, preprocessing=impossible).read(clip, NoFaces(), StageTimer())
    assert_nothing_runs()
