"""Video decoding: rotation, shape and colours of frames, and cover images."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from avpenet_cli.media.frame_image import whole
from avpenet_cli.media.probe import MAX_DECODED_PIXELS, probe
from avpenet_cli.records import Flag
from tests.conftest import ClipMaker
from tests.support.numbered_clips import DECORD, FFMPEG, number_on, numbered, on_screen, read, slots_of, steady


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
    assert_looks_like(whole(frames[5].image), expected)


@pytest.mark.parametrize("name, clockwise_deg", [("0", 0), ("90", 90), ("180", 180)])
def test_rotation_of_a_phone_recording_is_applied(shared: Path, name: str, clockwise_deg: int) -> None:
    facts, _, frames = read(shared / "data" / "videos" / f"decord_video_{name}.mov")
    assert facts.video is not None
    assert facts.video.rotation_deg == clockwise_deg
    _, _, upright = read(shared / "data" / "videos" / "decord_video_0.mov")
    size = upright[0].image.size
    assert frames[0].image.size == (size[::-1] if clockwise_deg == 90 else size)


@pytest.mark.parametrize(("aspect", "width_px"), [("2/3", 64), ("4/3", 128), ("1/1", 96), ("0/1", 96)])
def test_oblong_pixels_are_scaled_to_square(clips: ClipMaker, aspect: str, width_px: int) -> None:
    path = corners_clip(clips, "-vf", f"setsar={aspect}", "-pix_fmt", "yuv420p")
    facts, stream, frames = read(path, DECORD)
    assert stream.backend == ("decord" if width_px == 96 else "ffmpeg")
    assert facts.video is not None
    assert facts.video.width_px == width_px
    assert_looks_like(whole(frames[0].image), four_corners(width_px, 64))


def test_oblong_pixels_of_a_rotated_recording_scale_the_right_side(clips: ClipMaker, tmp_path: Path) -> None:
    plain = corners_clip(clips, "-vf", "setsar=4/3", "-pix_fmt", "yuv420p")
    path = turned_by_header(plain, tmp_path / "turned.mp4", 90)
    facts, _, frames = read(path)
    assert facts.video is not None
    assert (facts.video.width_px, facts.video.height_px) == (64, 128)
    assert_looks_like(whole(frames[0].image), np.rot90(four_corners(128, 64), -1))


@pytest.mark.parametrize(("aspect", "suffix"), [("100", ".mp4"), ("1/5", ".mp4"), ("5", ".mkv")])
def test_implausible_pixel_aspect_is_taken_as_square(clips: ClipMaker, aspect: str, suffix: str) -> None:
    facts, stream, frames = read(corners_clip(clips, "-vf", f"setsar={aspect}", "-pix_fmt", "yuv420p", suffix=suffix))
    assert facts.flags == (Flag.PIXEL_ASPECT,)
    assert facts.problems == ("the header states an impossible pixel aspect; pixels are taken as square",)
    assert stream.decode_error == ""
    assert_looks_like(whole(frames[4].image), four_corners(96, 64))


@pytest.mark.parametrize("broadcast", ["64/45", "12/11", "8/9", "4/3", "1/2"])
def test_pixel_aspects_of_broadcast_formats_are_plausible(clips: ClipMaker, broadcast: str) -> None:
    facts = probe(corners_clip(clips, "-vf", f"setsar={broadcast}", "-frames:v", "1", "-pix_fmt", "yuv420p"), FFMPEG)
    assert facts.flags == ()
    assert facts.video is not None
    assert facts.video.width_px == round(96 * Fraction(broadcast))


@pytest.mark.parametrize(("size", "aspect"), [("8192x4096", "1"), ("6000x2000", "4")])
def test_large_frames_are_reduced_as_they_are_decoded(clips: ClipMaker, size: str, aspect: str) -> None:
    large = ["-f", "lavfi", "-i", f"color=red:s={size}:r=10:d=0.1,setsar={aspect}", "-c:v", "mjpeg"]
    facts, stream, (frame,) = read(clips.ffmpeg(*large, suffix=".mkv"))
    assert facts.video is not None
    width_px, height_px = (int(side) for side in size.split("x"))
    assert frame.image.size[0] * frame.image.size[1] <= MAX_DECODED_PIXELS
    assert frame.image.size[1] * facts.video.reduction == pytest.approx(height_px, abs=2)
    assert frame.image.size[0] * facts.video.reduction == pytest.approx(width_px * int(aspect), abs=2)
    assert stream.decode_error == ""


@pytest.mark.parametrize("size", ["3840x2160", "4096x4096"])
def test_ordinary_frames_keep_their_size(clips: ClipMaker, size: str) -> None:
    large = ["-f", "lavfi", "-i", f"color=red:s={size}:r=10:d=0.1", "-c:v", "mjpeg"]
    video = probe(clips.ffmpeg(*large, suffix=".mkv"), FFMPEG).video
    assert video is not None
    assert (f"{video.width_px}x{video.height_px}", video.reduction) == (size, 1.0)


def test_display_size_beyond_what_ffmpeg_reads_is_ignored(clips: ClipMaker, tmp_path: Path) -> None:
    """255 pixels wide for each one stored: ffmpeg takes the width as negative and decodes nothing."""
    content = bytearray(corners_clip(clips, "-pix_fmt", "yuv420p").read_bytes())
    at = content.index(b"tkhd") - 4
    at += int.from_bytes(content[at : at + 4], "big") - 8
    content[at : at + 4] = struct.pack(">I", (96 * 255 + 32768) << 16)
    content = content.replace(b"pasp", b"free")
    path = tmp_path / "stretched.mp4"
    path.write_bytes(content)
    facts, stream, frames = read(path)
    assert facts.flags == (Flag.PIXEL_ASPECT,)
    assert stream.decode_error == ""
    assert [frame.slot for frame in frames] == list(range(10))
    assert_looks_like(whole(frames[4].image), four_corners(96, 64))


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
    assert_looks_like(whole(frames[4].image), expected)


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
        grey = whole(frame.image).astype(int).mean(2)
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
    assert {frame.image.size for frame in frames} == {(width, height)}
    once = on_screen(steady(25, 2), 2.0)
    expected = {slot + 20 * part: number for part in range(len(sizes)) for slot, number in once.items()}
    assert {frame.slot: number_on(whole(frame.image)) for frame in frames} == expected
