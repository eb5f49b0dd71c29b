"""Video decoding: which frame fills which slot of the 0.1-s grid, which decoder is used, and odd names."""

from __future__ import annotations

import math
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from avpenet_cli.media.frame_image import whole
from avpenet_cli.media.probe import probe
from avpenet_cli.media.tools import passthrough_option
from avpenet_cli.media.video import FrameStream, parse_clock
from avpenet_cli.settings import DecodingSettings
from tests.conftest import ClipMaker
from tests.support.numbered_clips import DECORD, FFMPEG, number_on, numbered, on_screen, read, slots_of, steady


@pytest.mark.parametrize(
    ("fps", "suffix"),
    [(fps, ".mp4") for fps in ("10", "12.5", "25", "30", "30000/1001", "60")] + [(fps, ".mkv") for fps in ("25", "60")],
)
def test_constant_rate_shows_the_frame_on_screen(clips: ClipMaker, fps: str, suffix: str) -> None:
    path = clips.ffmpeg(*numbered(fps, 2), "-pix_fmt", "yuv420p", suffix=suffix)
    rate = 30000 / 1001 if "/" in fps else float(fps)
    starts_s = steady(rate, 2)
    assert slots_of(path) == on_screen(starts_s, len(starts_s) / rate)


@pytest.mark.parametrize("decoding", [FFMPEG, DECORD], ids=["ffmpeg", "decord"])
def test_slow_rate_fills_every_slot(clips: ClipMaker, decoding: DecodingSettings) -> None:
    path = clips.ffmpeg(*numbered("4", 2), "-pix_fmt", "yuv420p")
    assert slots_of(path, decoding) == on_screen(steady(4, 2), 2.0)


def assert_shown(shown: dict[int, int], starts_s: Sequence[float]) -> None:
    """Compare with `on_screen`; how long the last frame stays depends on the container and the decoder."""
    whole = on_screen(starts_s, starts_s[-1] + 0.1)
    last = max(whole)
    assert {slot for slot in shown if slot < last} <= set(whole)
    assert {slot: shown.get(slot, whole[last]) for slot in whole} == whole
    assert last - 1 <= max(shown) <= last + 1


AS_TIMED = [*passthrough_option(), "-enc_time_base", "1/1000", "-pix_fmt", "yuv420p"]
"""ffmpeg's output options that keep a filter's timestamps instead of laying the frames on a constant rate."""
JITTER_S = "N/25+0.017*sin(N)"
PAUSE_S = "N/25+if(gte(N,20),1.3,0)"
SPEEDING_S = "if(lt(N,20),N/10,2+(N-20)/30)"


@pytest.mark.parametrize("decoding", [FFMPEG, DECORD], ids=["ffmpeg", "decord"])
@pytest.mark.parametrize(
    ("rule", "starts_s"),
    [
        (JITTER_S, [n / 25 + 0.017 * math.sin(n) for n in range(50)]),
        (PAUSE_S, [n / 25 + (1.3 if n >= 20 else 0) for n in range(50)]),
        (SPEEDING_S, [n / 10 if n < 20 else 2 + (n - 20) / 30 for n in range(50)]),
    ],
    ids=["jitter", "pause", "10-then-30-fps"],
)
def test_variable_rate_keeps_presentation_times(
    clips: ClipMaker, rule: str, starts_s: list[float], decoding: DecodingSettings
) -> None:
    path = clips.ffmpeg(*numbered("25", 2), "-vf", f"settb=1/1000,setpts='({rule})/TB'", *AS_TIMED, suffix=".mkv")
    assert_shown(slots_of(path, decoding), starts_s)


@pytest.mark.parametrize(
    ("suffix", "decoding"),
    [(".mkv", FFMPEG), (".mkv", DECORD), (".mp4", FFMPEG), (".mp4", DECORD), (".ts", FFMPEG), (".mpg", FFMPEG)],
)
def test_late_video_keeps_its_start_time(clips: ClipMaker, suffix: str, decoding: DecodingSettings) -> None:
    tone = ["-f", "lavfi", "-i", "sine=d=4"]
    codec = ["-c:v", "mpeg2video", "-b:v", "8M"] if suffix in {".ts", ".mpg"} else AS_TIMED
    late = ["-itsoffset", "1.28", *numbered("25", 2), "-map", "1:v", "-map", "0:a", *codec, *passthrough_option()]
    path = clips.ffmpeg(*tone, *late, suffix=suffix)
    facts = probe(path, decoding)
    assert facts.video is not None
    assert facts.video.start_s == pytest.approx(1.28, abs=0.04)  # in some containers the audio starts before zero
    starts_s = steady(25, 2, facts.video.start_s)
    assert_shown(slots_of(path, decoding), starts_s)


@pytest.mark.parametrize("suffix", [".mpg", ".ts"])
def test_first_timestamp_of_a_stream_format_is_time_zero(clips: ClipMaker, suffix: str) -> None:
    codecs = ["-c:v", "mpeg2video", "-c:a", "mp2", "-b:v", "4M", "-bf", "2"]
    path = clips.ffmpeg(*numbered("25", 2), "-f", "lavfi", "-i", "sine=d=2", *codecs, "-shortest", suffix=suffix)
    facts = probe(path, FFMPEG)
    assert facts.start_s > 0.2
    assert facts.video is not None
    starts_s = steady(25, 2, facts.video.start_s)
    assert slots_of(path) == on_screen(starts_s, starts_s[-1] + 0.04)


def test_timestamps_that_start_over_continue_the_recording(clips: ClipMaker, tmp_path: Path) -> None:
    part = clips.ffmpeg(*numbered("25", 2), "-b:v", "4M", suffix=".ts")
    path = tmp_path / "twice.ts"
    path.write_bytes(part.read_bytes() * 2)
    once = on_screen(steady(25, 2), 2.0)
    assert slots_of(path) == once | {slot + 20: number for slot, number in once.items()}


def test_real_program_stream_starts_where_its_first_frame_does(shared: Path) -> None:
    _, stream, frames = read(shared / "data" / "videos" / "grid_bbaf2n.mpg")
    assert [frame.slot for frame in frames] == list(range(30))
    assert frames[0].image.size == (360, 288)
    assert stream.decode_error == ""


@pytest.mark.parametrize("fps", ["25", "30"])
def test_decord_and_ffmpeg_give_the_same_frames(clips: ClipMaker, fps: str) -> None:
    path = clips.ffmpeg("-f", "lavfi", "-i", f"testsrc2=s=320x240:r={fps}:d=2", "-pix_fmt", "yuv420p")
    _, ours, by_ffmpeg = read(path)
    _, theirs, by_decord = read(path, DECORD)
    assert (ours.backend, theirs.backend) == ("ffmpeg", "decord")
    assert theirs.decode_error == ""
    assert [frame.slot for frame in by_decord] == [frame.slot for frame in by_ffmpeg] == list(range(20))
    for frame, other in zip(by_ffmpeg, by_decord, strict=True):
        difference = np.abs(whole(frame.image).astype(int) - whole(other.image).astype(int))
        assert difference.mean() < 1.5, f"slot {frame.slot}"


def test_auto_is_ffmpeg(clips: ClipMaker) -> None:
    path = clips.ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=2", "-pix_fmt", "yuv420p")
    backend: Literal["auto"] = "auto"
    assert read(path, DecodingSettings(backend=backend))[1].backend == "ffmpeg"


def test_decord_is_not_used_for_files_it_misreads(clips: ClipMaker) -> None:
    path = clips.ffmpeg(*numbered("25", 2), "-c:v", "mpeg2video", "-b:v", "4M", suffix=".mpg")
    _, stream, frames = read(path, DECORD)
    assert stream.backend == "ffmpeg"
    assert len(frames) == 20


def test_missing_decord_is_not_asked_for_frames(clips: ClipMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle without it, and machines without a wheel; a recording must not lose its video for that."""
    path = clips.ffmpeg(*numbered("25", 2), "-pix_fmt", "yuv420p")
    assert read(path, DECORD)[1].backend == "decord"
    monkeypatch.setitem(sys.modules, "decord", None)  # as Python says that it is not installed
    _, stream, frames = read(path, DECORD)
    assert (stream.backend, stream.decode_error, len(frames)) == ("ffmpeg", "", 20)


def test_second_pass_equals_the_first(clips: ClipMaker) -> None:
    path = clips.ffmpeg(*numbered("25", 2), "-pix_fmt", "yuv420p")
    stream = FrameStream(path, probe(path, FFMPEG), FFMPEG)
    first = [(frame.slot, number_on(whole(frame.image))) for frame in stream]
    assert [(frame.slot, number_on(whole(frame.image))) for frame in stream] == first


@pytest.mark.parametrize(
    "name",
    [
        "-dash.mp4", "it's.mp4", 'quo"te.mp4', "new\nline.mp4", "Zoë Müller 猫.mp4", "a%03d.mp4", "a:b.mp4", "a b .mp4",
        "file:x.mp4", "[0]:v,;=.mp4", "back\\slash.mp4", "$(touch x).mp4", "*.mp4",
    ],
)  # fmt: skip
def test_odd_names_are_read_as_files(
    clips: ClipMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    plain = clips.ffmpeg(*numbered("25", 1), "-f", "lavfi", "-i", "sine=d=1", "-pix_fmt", "yuv420p")
    monkeypatch.chdir(tmp_path)
    shutil.copy(plain, tmp_path / name)
    assert slots_of(Path(name)) == on_screen(steady(25, 1), 1.0)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", [b"-new\nline's.mp4", b"caf\xe9.mp4"])
@pytest.mark.parametrize("decoding", [FFMPEG, DECORD], ids=["ffmpeg", "decord"])
def test_name_that_is_not_utf8_is_read(
    clips: ClipMaker, tmp_path: Path, name: bytes, decoding: DecodingSettings
) -> None:
    path = tmp_path / os.fsdecode(name)
    shutil.copy(clips.ffmpeg(*numbered("25", 1), "-pix_fmt", "yuv420p"), path)
    assert slots_of(path, decoding) == on_screen(steady(25, 1), 1.0)


def test_header_line_is_no_frame() -> None:
    assert parse_clock("#tb 0: 1/10\n") is None
    assert parse_clock("0,          7,          7,        1,      12, 0x0a2b\n") == (0, 7)


@pytest.mark.parametrize("decoding", [FFMPEG, DECORD], ids=["ffmpeg", "decord"])
def test_frozen_video_has_no_frames(clips: ClipMaker, decoding: DecodingSettings) -> None:
    pause = "settb=1/1000,setpts='(N/25+if(gte(N,25),6,0))/TB'"
    path = clips.ffmpeg(*numbered("25", 2), "-vf", pause, *AS_TIMED, suffix=".mkv")
    _, stream, frames = read(path, decoding)
    assert stream.slots_end in (79, 80, 81)
    # The last frame before the pause came on at 0.96 s, the first after it at 7 s.
    assert [frame.slot for frame in frames if 10 <= frame.slot < 70] == list(range(10, 20))
