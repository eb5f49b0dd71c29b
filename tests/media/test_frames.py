"""Video decoding: which frame fills which slot of the 0.1-s grid, and its orientation, shape and colours."""

from __future__ import annotations

import math
import os
import shutil
import struct
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from avpenet_cli.media.probe import Probe, probe
from avpenet_cli.media.tools import passthrough_option
from avpenet_cli.media.video import FrameStream, TimedFrame, parse_clock
from avpenet_cli.settings import MAX_HOLD_S, DecodingSettings
from tests.conftest import ClipMaker

FFMPEG = DecodingSettings()
DECORD = DecodingSettings(backend="decord")
BITS = 10
"""A numbered frame shows its number as this many bars, white for 1 and black for 0, lowest bit at the left."""
NUMBERED = "format=gray,geq=lum='255*mod(floor(N/pow(2,floor(10*X/W))),2)'"


def numbered(fps: str, seconds: float, size: str = "160x48") -> list[str]:
    """ffmpeg's input options for a video whose frames show their own number."""
    return ["-f", "lavfi", "-i", f"color=c=black:s={size}:r={fps}:d={seconds},{NUMBERED}"]


def number_on(rgb: np.ndarray) -> int:
    height, width = rgb.shape[:2]
    bar = width // BITS
    middle = rgb[height // 2 - 2 : height // 2 + 2]
    return sum(int(middle[:, i * bar + bar // 4 : i * bar + 3 * bar // 4].mean() > 128) << i for i in range(BITS))


def read(path: Path, decoding: DecodingSettings = FFMPEG) -> tuple[Probe, FrameStream, list[TimedFrame]]:
    facts = probe(path, decoding)
    stream = FrameStream(path, facts, decoding)
    return facts, stream, list(stream)


def slots_of(path: Path, decoding: DecodingSettings = FFMPEG) -> dict[int, int]:
    """The number shown in each slot, of a recording that decodes without an error or a warning."""
    _, stream, frames = read(path, decoding)
    assert (stream.decode_error, stream.decoder_warning) == ("", "")
    assert all(a.slot < b.slot for a, b in pairwise(frames))
    assert stream.slots_end == frames[-1].slot + 1
    return {frame.slot: number_on(frame.rgb) for frame in frames}


def on_screen(starts_s: Sequence[float], end_s: float) -> dict[int, int]:
    """Expected result of `slots_of` for frames that come on screen at `starts_s`, the last until `end_s`."""
    result = {}
    for slot in range(math.ceil(end_s / 0.1)):
        at_s = (slot + 0.5) * 0.1
        number = int(np.searchsorted(starts_s, at_s + 1e-6, side="right")) - 1
        if number >= 0 and at_s < end_s and at_s - starts_s[number] <= MAX_HOLD_S:
            result[slot] = number
    return result


def steady(fps: float, seconds: float, start_s: float = 0.0) -> list[float]:
    return [start_s + number / fps for number in range(round(seconds * fps))]


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
    assert frames[0].rgb.shape == (288, 360, 3)
    assert stream.decode_error == ""


def four_corners(width: int, height: int) -> np.ndarray:
    """Red, green, blue and white quarters, clockwise from the upper left."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = (255, 0, 0)
    image[: height // 2, width // 2 :] = (0, 255, 0)
    image[height // 2 :, width // 2 :] = (0, 0, 255)
    image[height // 2 :, : width // 2] = 255
    return image


CORNERS = (
    "color=red:s=96x64:r=10:d=1,drawbox=x=48:y=0:w=48:h=32:color=lime:t=fill,"
    "drawbox=x=48:y=32:w=48:h=32:color=blue:t=fill,drawbox=x=0:y=32:w=48:h=32:color=white:t=fill"
)


def corners_clip(clips: ClipMaker, *extra: str, suffix: str = ".mp4") -> Path:
    return clips.ffmpeg("-f", "lavfi", "-i", CORNERS, *extra, suffix=suffix)


def assert_looks_like(rgb: np.ndarray, expected: np.ndarray) -> None:
    """Compare images but for chroma, which codecs blur at edges."""
    assert rgb.shape == expected.shape
    assert np.median(np.abs(rgb.astype(int) - expected.astype(int))) <= 8
    for row in (0.25, 0.75):
        for column in (0.25, 0.75):
            at = (int(row * rgb.shape[0]), int(column * rgb.shape[1]))
            assert np.abs(rgb[at].astype(int) - expected[at].astype(int)).max() <= 16


TURNS = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}
"""a, b, c, d of ISO 14496-12's matrix for a clockwise turn: x' = a x + c y, y' = b x + d y, with y downwards."""


def turned_by_header(plain: Path, path: Path, clockwise_deg: int) -> Path:
    """A copy of an MP4 file whose header asks players to rotate the video."""
    whole = bytearray(plain.read_bytes())
    at = whole.index(b"tkhd") + 44
    a, b, c, d = (turn << 16 for turn in TURNS[clockwise_deg])
    whole[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(whole)
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
@pytest.mark.parametrize("clockwise_deg", [90, 180, 270])
def test_rotation_in_the_header_is_applied(clips: ClipMaker, tmp_path: Path, clockwise_deg: int, suffix: str) -> None:
    plain = corners_clip(clips, "-pix_fmt", "yuv420p", suffix=suffix)
    facts, stream, frames = read(turned_by_header(plain, tmp_path / plain.name, clockwise_deg), DECORD)
    assert stream.backend == "ffmpeg"  # decord does not turn
    expected = np.rot90(four_corners(96, 64), -(clockwise_deg // 90))
    assert facts.video is not None
    assert facts.video.rotation_deg == clockwise_deg
    assert (facts.video.height_px, facts.video.width_px) == expected.shape[:2]
    assert len(frames) == 10
    assert_looks_like(frames[5].rgb, expected)


@pytest.mark.parametrize("name, clockwise_deg", [("0", 0), ("90", 90), ("180", 180)])
def test_rotation_of_a_phone_recording_is_applied(shared: Path, name: str, clockwise_deg: int) -> None:
    facts, _, frames = read(shared / "data" / "videos" / f"decord_video_{name}.mov")
    assert facts.video is not None
    assert facts.video.rotation_deg == clockwise_deg
    _, _, upright = read(shared / "data" / "videos" / "decord_video_0.mov")
    size = upright[0].rgb.shape[:2]
    assert frames[0].rgb.shape[:2] == (size[::-1] if clockwise_deg == 90 else size)


@pytest.mark.parametrize(("aspect", "width_px"), [("2/3", 64), ("4/3", 128), ("1/1", 96), ("0/1", 96)])
def test_oblong_pixels_are_scaled_to_square(clips: ClipMaker, aspect: str, width_px: int) -> None:
    path = corners_clip(clips, "-vf", f"setsar={aspect}", "-pix_fmt", "yuv420p")
    facts, stream, frames = read(path, DECORD)
    assert stream.backend == ("decord" if width_px == 96 else "ffmpeg")
    assert facts.video is not None
    assert facts.video.width_px == width_px
    assert_looks_like(frames[0].rgb, four_corners(width_px, 64))


def test_oblong_pixels_of_a_rotated_recording_scale_the_right_side(clips: ClipMaker, tmp_path: Path) -> None:
    plain = corners_clip(clips, "-vf", "setsar=4/3", "-pix_fmt", "yuv420p")
    path = turned_by_header(plain, tmp_path / "turned.mp4", 90)
    facts, _, frames = read(path)
    assert facts.video is not None
    assert (facts.video.width_px, facts.video.height_px) == (64, 128)
    assert_looks_like(frames[0].rgb, np.rot90(four_corners(128, 64), -1))


@pytest.mark.parametrize(
    ("pixels", "codec", "suffix"),
    [
        ("yuv420p10le", "libx264", ".mp4"),
        ("yuv422p", "libx264", ".mp4"),
        ("yuv422p10le", "libx264", ".mkv"),
        ("yuv444p", "libx264", ".mp4"),
        ("yuv422p10le", "prores_ks", ".mov"),
        ("yuv420p10le", "ffv1", ".mkv"),
        ("gray", "ffv1", ".mkv"),
        ("rgb24", "ffv1", ".avi"),
        ("yuvj420p", "mjpeg", ".avi"),
        ("yuv420p", "libx265", ".mp4"),
        ("yuv420p", "mpeg4", ".avi"),
        ("yuv420p", "libvpx-vp9", ".webm"),
    ],
)
def test_uncommon_pixel_formats_keep_their_colours(clips: ClipMaker, pixels: str, codec: str, suffix: str) -> None:
    quiet = ["-x265-params", "log-level=none"] if codec == "libx265" else []
    path = corners_clip(clips, "-c:v", codec, *quiet, "-pix_fmt", pixels, "-q:v", "2", suffix=suffix)
    _, stream, frames = read(path)
    assert (stream.decode_error, stream.decoder_warning) == ("", "")
    assert [frame.slot for frame in frames] == list(range(10))
    expected = four_corners(96, 64)
    if pixels == "gray":
        expected = np.repeat((expected @ [0.299, 0.587, 0.114]).round().astype(np.uint8)[..., None], 3, 2)
    assert_looks_like(frames[4].rgb, expected)


@pytest.mark.parametrize(("first", "flag"), [("top", "tff"), ("bottom", "bff")])
def test_interlaced_frames_are_deinterlaced_in_time(clips: ClipMaker, first: str, flag: str) -> None:
    """A bar that moves 4 px from field to field."""
    bar = "color=c=black:s=480x96:r=50:d=2,format=gray,geq=lum='255*between(X-4*N,0,39)'"
    woven = ["-f", "lavfi", "-i", bar, "-vf", f"tinterlace=mode=interleave_{first},setfield={flag}"]
    path = clips.ffmpeg(*woven, "-c:v", "mpeg2video", "-flags", "+ildct+ilme", "-b:v", "20M", suffix=".mkv")
    facts, _, frames = read(path, DECORD)
    assert facts.video is not None
    assert facts.video.interlaced
    expected = on_screen(steady(25, 2), 2.0)
    assert [frame.slot for frame in frames] == list(expected)
    combed_share = 4 * 2 / 480
    for frame in frames:
        grey = frame.rgb.astype(int).mean(2)
        assert (np.abs(np.diff(grey[8:-8], axis=0)) > 64).mean() < 0.2 * combed_share, f"slot {frame.slot}"
        left = float(np.argmax(grey[48] > 128))
        assert left == pytest.approx(4 * 2 * expected[frame.slot], abs=2.5), f"slot {frame.slot}"


def cover(clips: ClipMaker, suffix: str) -> Path:
    return clips.ffmpeg("-f", "lavfi", "-i", "color=red:s=320x240", "-frames:v", "1", "-update", "1", suffix=suffix)


@pytest.mark.parametrize(
    ("cover_kind", "suffix", "maps", "marked"),
    [
        (".png", ".mp4", ("0", "1"), True),
        (".jpg", ".mp4", ("0", "1"), True),
        (".png", ".mp4", ("1", "0"), True),
        (".png", ".mp4", ("1", "0"), False),
        (".jpg", ".mp4", ("1", "0"), False),
        (".jpg", ".mkv", ("1", "0"), False),
        (".jpg", ".mov", ("0", "1"), False),
    ],
)
def test_cover_image_is_not_the_recording(
    clips: ClipMaker, cover_kind: str, suffix: str, maps: tuple[str, str], marked: bool
) -> None:
    plain = clips.ffmpeg(*numbered("25", 2), "-pix_fmt", "yuv420p")
    mapping = [word for name in maps for word in ("-map", name)]
    mark = [f"-disposition:v:{maps.index('1')}", "attached_pic"] if marked else []
    path = clips.ffmpeg(
        "-i", str(plain), "-i", str(cover(clips, cover_kind)), *mapping, "-c", "copy", *mark, suffix=suffix
    )
    assert slots_of(path) == on_screen(steady(25, 2), 2.0)


def test_cover_attached_to_matroska_is_not_the_recording(clips: ClipMaker) -> None:
    plain = clips.ffmpeg(*numbered("25", 2), "-pix_fmt", "yuv420p")
    attached = ["-attach", str(cover(clips, ".jpg")), "-metadata:s:t", "mimetype=image/jpeg"]
    path = clips.ffmpeg("-i", str(plain), "-c", "copy", *attached, suffix=".mkv")
    assert slots_of(path) == on_screen(steady(25, 2), 2.0)


def test_song_with_a_cover_has_no_video_stream(clips: ClipMaker) -> None:
    song = ["-f", "lavfi", "-i", "sine=d=1", "-i", str(cover(clips, ".png")), "-map", "0", "-map", "1", "-c:v", "copy"]
    path = clips.ffmpeg(*song, "-disposition:v:0", "attached_pic", suffix=".mp3")
    facts = probe(path, FFMPEG)
    assert facts.video is None
    assert facts.audio is not None


@pytest.mark.parametrize("sizes", [("160x48", "320x96"), ("320x96", "160x48", "480x144")])
def test_change_of_frame_size_keeps_every_frame(clips: ClipMaker, tmp_path: Path, sizes: tuple[str, ...]) -> None:
    parts = [clips.ffmpeg(*numbered("25", 2, size), "-b:v", "8M", suffix=".ts") for size in sizes]
    playlist = tmp_path / "parts.txt"
    playlist.write_text("".join(f"file '{part}'\n" for part in parts))
    path = clips.ffmpeg("-f", "concat", "-safe", "0", "-i", str(playlist), "-c", "copy", suffix=".ts")
    _, _, frames = read(path)
    width, height = map(int, sizes[0].split("x"))
    assert {frame.rgb.shape for frame in frames} == {(height, width, 3)}
    once = on_screen(steady(25, 2), 2.0)
    expected = {slot + 20 * part: number for part in range(len(sizes)) for slot, number in once.items()}
    assert {frame.slot: number_on(frame.rgb) for frame in frames} == expected


@pytest.mark.parametrize("fps", ["25", "30"])
def test_decord_and_ffmpeg_give_the_same_frames(clips: ClipMaker, fps: str) -> None:
    path = clips.ffmpeg("-f", "lavfi", "-i", f"testsrc2=s=320x240:r={fps}:d=2", "-pix_fmt", "yuv420p")
    _, ours, by_ffmpeg = read(path)
    _, theirs, by_decord = read(path, DECORD)
    assert (ours.backend, theirs.backend) == ("ffmpeg", "decord")
    assert theirs.decode_error == ""
    assert [frame.slot for frame in by_decord] == [frame.slot for frame in by_ffmpeg] == list(range(20))
    for frame, other in zip(by_ffmpeg, by_decord, strict=True):
        difference = np.abs(frame.rgb.astype(int) - other.rgb.astype(int))
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


def test_second_pass_equals_the_first(clips: ClipMaker) -> None:
    path = clips.ffmpeg(*numbered("25", 2), "-pix_fmt", "yuv420p")
    stream = FrameStream(path, probe(path, FFMPEG), FFMPEG)
    first = [(frame.slot, number_on(frame.rgb)) for frame in stream]
    assert [(frame.slot, number_on(frame.rgb)) for frame in stream] == first


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
