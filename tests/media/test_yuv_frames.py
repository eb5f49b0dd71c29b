"""Frames kept as YUV have the colours that ffmpeg's own conversion to RGB gives."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from avpenet_cli.media.frame_image import FrameImage, RgbImage, whole
from avpenet_cli.media.probe import probe
from avpenet_cli.media.video import FrameStream
from avpenet_cli.media.yuv_image import YuvImage
from avpenet_cli.settings import DecodingSettings
from tests.conftest import ClipMaker

PATCH_PX = 32
COLUMNS, ROWS = 10, 6
ROUNDING = 3
"""ffmpeg's conversion rounds each of up to three terms down."""


def frames_of(path: Path, *, as_rgb: bool = False, threads: int = 0) -> list[FrameImage]:
    decoding = DecodingSettings(threads=threads)
    facts = probe(path, decoding)
    assert facts.video is not None
    if as_rgb:
        facts = dataclasses.replace(facts, video=dataclasses.replace(facts.video, pixel_format="rgb24"))
    stream = FrameStream(path, facts, decoding)
    images = [frame.image for frame in stream]
    assert stream.decode_error == ""
    return images


def difference(image: FrameImage, expected: FrameImage) -> np.ndarray:
    result: np.ndarray = whole(image).astype(int) - whole(expected)
    return result


@pytest.fixture
def patches(tmp_path: Path) -> tuple[list[str], np.ndarray]:
    """ffmpeg's input options for one second of flat patches, and the patches' colours."""
    colours = np.random.default_rng(7).integers(0, 256, (ROWS, COLUMNS, 3), dtype=np.uint8)
    colours[0, :6] = [[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255], [128, 128, 128]]
    frame = colours.repeat(PATCH_PX, 0).repeat(PATCH_PX, 1)
    path = tmp_path / "patches.rgb"
    path.write_bytes(frame.tobytes() * 10)
    size = f"{COLUMNS * PATCH_PX}x{ROWS * PATCH_PX}"
    return ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", "10", "-i", str(path)], colours


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("space", ["", "bt709", "smpte170m", "bt470bg", "fcc", "smpte240m", "bt2020nc"])
def test_colours_follow_the_stated_matrix_and_range(
    clips: ClipMaker, patches: tuple[list[str], np.ndarray], space: str, full_range: bool
) -> None:
    source, colours = patches
    matrix = {"": "bt601", "bt470bg": "bt601", "bt2020nc": "bt2020"}.get(space, space)
    scale = f"scale=out_color_matrix={matrix}:out_range={'pc' if full_range else 'tv'},format=yuv420p"
    tags = [*(["-colorspace", space] if space else []), "-color_range", "pc" if full_range else "tv"]
    path = clips.ffmpeg(*source, "-vf", scale, *tags, "-crf", "1", suffix=".mkv")
    images = frames_of(path)
    assert len(images) == 10
    assert isinstance(images[5], YuvImage)
    middle = whole(images[5])[PATCH_PX // 2 :: PATCH_PX, PATCH_PX // 2 :: PATCH_PX].astype(int)
    assert np.abs(middle - colours).max() <= ROUNDING
    assert np.abs(difference(images[5], frames_of(path, as_rgb=True)[5])).max() <= ROUNDING


@pytest.mark.parametrize("name", ["grid_bbaf2n.mpg", "pyfeat_single_face.mp4", "pyfeat_face_noface.mov"])
def test_real_frames_agree_with_ffmpegs_conversion(shared: Path, name: str) -> None:
    path = shared / "data" / "videos" / name
    as_yuv, as_rgb = frames_of(path), frames_of(path, as_rgb=True)
    for image, expected in zip(as_yuv[::10], as_rgb[::10], strict=True):
        assert isinstance(image, YuvImage)
        assert isinstance(expected, RgbImage)
        assert np.abs(difference(image, expected)).max() <= ROUNDING
        width, height = image.size
        small = image.reduced((width // 3, height // 3)).astype(int) - expected.reduced((width // 3, height // 3))
        assert np.abs(small).mean() < 1.5


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_parts_are_cut_from_the_whole_frame(clips: ClipMaker, factor: int) -> None:
    path = clips.ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:r=10:d=1", "-pix_fmt", "yuv420p")
    image = frames_of(path)[3]
    complete = RgbImage(whole(image))
    for left, top in ((0, 0), (1, 0), (7, 13), (20, 31)):
        part = image.part(left, top, left + 60 * factor, top + 66 * factor, factor)
        expected = complete.part(left, top, left + 60 * factor, top + 66 * factor, factor)
        assert part.shape == (66, 60, 3)
        # Codes beyond the range of RGB are cut off before or after the averaging.
        assert np.abs(part.astype(int) - expected).mean() < (0.01 if factor == 1 else 2.0)
    assert image.reduced(image.size).shape == (240, 320, 3)
    for size in ((160, 120), (200, 150), (319, 239), (1, 1)):
        reduced = image.reduced(size)
        assert reduced.shape == (size[1], size[0], 3)
        assert np.abs(reduced.astype(int) - complete.reduced(size)).mean() < 2.0


@pytest.mark.parametrize(
    "output",
    [
        ["-pix_fmt", "yuv444p"],
        ["-pix_fmt", "yuv422p"],
        ["-pix_fmt", "yuv420p10le"],
        ["-pix_fmt", "yuv420p", "-vf", "scale=321:241", "-c:v", "ffv1"],
        ["-pix_fmt", "yuv420p", "-vf", "setsar=3/2"],
        ["-c:v", "png"],
        ["-pix_fmt", "yuv420p", "-c:v", "libvpx-vp9", "-color_range", "pc"],
    ],
)
def test_other_layouts_and_scaled_frames_come_as_rgb(clips: ClipMaker, output: list[str]) -> None:
    path = clips.ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:r=10:d=1", *output, suffix=".mkv")
    images = frames_of(path)
    assert len(images) == 10
    assert all(isinstance(image, RgbImage) for image in images)


@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg2video"])
def test_frames_do_not_depend_on_the_number_of_threads(clips: ClipMaker, codec: str) -> None:
    path = clips.ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=1", "-pix_fmt", "yuv420p", "-c:v", codec)
    expected = frames_of(path)
    for threads in (1, 3):
        images = frames_of(path, threads=threads)
        assert len(images) == len(expected) == 10
        assert all(np.array_equal(whole(a), whole(b)) for a, b in zip(images, expected, strict=True))
