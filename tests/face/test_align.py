"""Face alignment: position, rotation, scale and anti-aliasing of the crop."""

from __future__ import annotations

import math

import numpy as np
import pytest

from avpenet_cli.face.align import align as align_image
from avpenet_cli.face.align import crop_map
from avpenet_cli.face.detect import Face
from avpenet_cli.media.frame_image import RgbImage
from avpenet_cli.settings import FaceSettings

SIZE = 224
EXACT = FaceSettings(box_margin=0.0)
TURNS = [0, 90, 180, 270]


def align(frame: np.ndarray, face: Face, settings: FaceSettings) -> np.ndarray:
    return align_image(RgbImage(frame), face, settings)


def make_face(box: list[float], eyes: list[list[float]], turn_deg: int = 0) -> Face:
    return Face(np.array(box, np.float32), np.array(eyes, np.float32), 0.99, turn_deg)


def level_face(left: float, top: float, width: float, height: float) -> Face:
    eye_y = top + 0.4 * height
    eyes = [[left + 0.3 * width, eye_y], [left + 0.7 * width, eye_y]]
    return make_face([left, top, left + width, top + height], eyes)


def turned(face: Face, turn_deg: int, width: float, height: float) -> Face:
    """The same face in a `width` x `height` frame that a clockwise rotation by `turn_deg` brings upright."""

    def move(points: np.ndarray) -> np.ndarray:
        x, y = points[:, 0], points[:, 1]
        positions = {0: (x, y), 90: (y, width - x), 180: (width - x, height - y), 270: (height - y, x)}
        return np.stack(positions[turn_deg], 1)

    corners = move(face.box.reshape(2, 2))
    return make_face([*corners.min(0), *corners.max(0)], move(face.eyes).tolist(), turn_deg)


def smooth_image(x: np.ndarray, y: np.ndarray, unit: float) -> np.ndarray:
    """An image without symmetry and fine detail, as a function of position."""
    red = 127 + 60 * np.sin(x / unit) + 50 * np.cos(y / (1.7 * unit))
    green = 127 + 80 * np.sin((x + 2 * y) / (2.1 * unit))
    blue = 127 + 40 * x / (6 * unit) - 30 * y / (6 * unit)
    return np.stack([red, green, blue], -1).clip(0, 255)


def rendered(width: int, height: int, centre: tuple[float, float], tilt_deg: float, unit: float) -> np.ndarray:
    """`smooth_image` turned clockwise about `centre`, a point counted from the frame's corner."""
    x, y = np.meshgrid(np.arange(width) + 0.5 - centre[0], np.arange(height) + 0.5 - centre[1])
    angle = math.radians(tilt_deg)
    upright = smooth_image(x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle), unit)
    return upright.round().astype(np.uint8)


def mean_difference(crop: np.ndarray, expected: np.ndarray) -> float:
    assert crop.shape == expected.shape
    return float(np.abs(crop.astype(float) - expected).mean())


def test_crop_at_native_size_copies_the_pixels() -> None:
    frame = np.random.default_rng(1).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    crop = align(frame, level_face(37, 21, SIZE, SIZE), EXACT)
    np.testing.assert_array_equal(crop, frame[21 : 21 + SIZE, 37 : 37 + SIZE])
    assert crop.dtype == np.uint8


@pytest.mark.parametrize("turn_deg", TURNS)
def test_rotated_crop_at_native_size_copies_the_pixels(turn_deg: int) -> None:
    frame = np.random.default_rng(1).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    face = turned(level_face(37, 21, SIZE, SIZE), turn_deg, 400, 300)
    source = np.ascontiguousarray(np.rot90(frame, turn_deg // 90))
    np.testing.assert_array_equal(align(source, face, EXACT), frame[21 : 21 + SIZE, 37 : 37 + SIZE])
    assert face.width_px == SIZE


@pytest.mark.parametrize("turn_deg", TURNS)
@pytest.mark.parametrize("scale", [0.4, 1.3, 3.1])
def test_rotated_copies_give_the_same_crop(turn_deg: int, scale: float) -> None:
    width, height = round(400 * scale), round(300 * scale)
    frame = rendered(width, height, (width / 2, height / 2), 0.0, 20 * scale)
    left, top, eye_y = 60.3 * scale, 40.7 * scale, 120.0 * scale
    eyes = [[120 * scale, eye_y], [190 * scale, eye_y + 12 * scale]]
    face = make_face([left, top, left + 180 * scale, top + 210 * scale], eyes)
    upright = align(frame, face, FaceSettings())
    source = np.ascontiguousarray(np.rot90(frame, turn_deg // 90))
    assert mean_difference(align(source, turned(face, turn_deg, width, height), FaceSettings()), upright) < 0.5


@pytest.mark.parametrize("tilt_deg", [-40, -15, 0, 8, 30, 44])
@pytest.mark.parametrize("turn_deg", TURNS)
def test_eyes_are_level_in_the_crop(tilt_deg: float, turn_deg: int) -> None:
    angle = math.radians(tilt_deg)
    reach = 40 * np.array([math.cos(angle), math.sin(angle)])
    middle = np.array([210.0, 140.0])
    face = make_face([120, 60, 290, 270], [(middle - reach).tolist(), (middle + reach).tolist()])
    matrix = crop_map(turned(face, turn_deg, 400, 300), FaceSettings())
    to_crop = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    eyes = turned(face, turn_deg, 400, 300).eyes - 0.5
    (left_x, left_y), (right_x, right_y) = (to_crop @ np.column_stack([eyes, [1, 1]]).T)[:2].T
    assert left_y == pytest.approx(right_y, abs=1e-3)
    assert left_x < right_x
    assert np.linalg.det(matrix[:, :2]) > 0, "mirrored"


@pytest.mark.parametrize("tilt_deg", [-35.0, -12.0, 20.0])
@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_tilted_face_is_rotated_upright_in_place(tilt_deg: float, scale: float) -> None:
    width, height, pivot = round(640 * scale), round(480 * scale), (311.5 * scale, 233.25 * scale)
    unit = 25 * scale
    frame = rendered(width, height, pivot, tilt_deg, unit)
    angle = math.radians(tilt_deg)
    reach = 35 * scale * np.array([math.cos(angle), math.sin(angle)])
    box = [pivot[0] - 90 * scale, pivot[1] - 80 * scale, pivot[0] + 90 * scale, pivot[1] + 120 * scale]
    face = make_face(box, [(pivot - reach).tolist(), (pivot + reach).tolist()])
    crop = align(frame, face, EXACT)
    places = (np.arange(SIZE) + 0.5) / SIZE
    x, y = np.meshgrid((places * 180 - 90) * scale, (places * 200 - 80) * scale)
    assert mean_difference(crop, smooth_image(x, y, unit)) < 1.0


def test_implausible_eye_points_leave_the_crop_unrotated() -> None:
    for eyes in ([[100.0, 100.0], [110.0, 180.0]], [[150.0, 120.0], [100.0, 120.0]], [[120.0, 120.0], [120.0, 120.0]]):
        matrix = crop_map(make_face([60, 60, 260, 260], eyes), FaceSettings())
        assert matrix[0, 0] > 0
        assert (matrix[0, 1], matrix[1, 0]) == (pytest.approx(0), pytest.approx(0))


def test_switched_off_alignment_crops_the_box() -> None:
    tilted = make_face([60, 60, 260, 260], [[110, 110], [190, 150]])
    matrix = crop_map(tilted, FaceSettings(align=False, box_margin=0.0))
    step = 200 / SIZE
    np.testing.assert_allclose(matrix, [[step, 0, 60 - 0.5 + step / 2], [0, step, 60 - 0.5 + step / 2]], atol=1e-9)


def test_margin_enlarges_the_box_about_its_centre() -> None:
    matrix = crop_map(level_face(100, 80, 200, 240), FaceSettings())
    np.testing.assert_allclose(matrix @ [-0.5, -0.5, 1], [100 - 20 - 0.5, 80 - 24 - 0.5], atol=1e-3)
    np.testing.assert_allclose(matrix @ [223.5, 223.5, 1], [300 + 20 - 0.5, 320 + 24 - 0.5], atol=1e-3)


@pytest.mark.parametrize("period_px", [1, 2])
@pytest.mark.parametrize("turn_deg", [0, 90])
def test_reduced_checkerboard_becomes_uniform_grey(period_px: int, turn_deg: int) -> None:
    side = 4 * SIZE
    y, x = np.indices((side + 40, side + 60)) // period_px
    frame = np.repeat((255 * ((x + y) % 2)).astype(np.uint8)[..., None], 3, 2)
    face = turned(level_face(17, 13, side, side), turn_deg, side + 60, side + 40)
    crop = align(np.ascontiguousarray(np.rot90(frame, turn_deg // 90)), face, EXACT)
    assert np.abs(crop.astype(int) - 127).max() <= 16
    assert crop.mean() == pytest.approx(127.5, abs=1)


def test_reduced_and_tilted_stripes_become_grey() -> None:
    x = np.indices((1000, 1100))[1]
    frame = np.repeat((255 * (x % 2)).astype(np.uint8)[..., None], 3, 2)
    crop = align(frame, make_face([150, 100, 950, 900], [[400, 380], [700, 480]]), EXACT)
    inside = crop[60:-60, 60:-60].astype(int)
    assert np.abs(inside - 127).max() <= 45  # three pixels hold one stripe more of one colour than of the other


@pytest.mark.parametrize("scale", [1, 4])
def test_area_beyond_the_frame_is_black(scale: int) -> None:
    frame = np.full((300 * scale, 400 * scale, 3), 200, np.uint8)
    crop = align(frame, level_face(-112 * scale, 56 * scale, SIZE * scale, SIZE * scale), EXACT)
    assert not crop[:, :110].any()
    assert (crop[:, 114:] == 200).all()
    below = align(frame, level_face(50 * scale, 188 * scale, SIZE * scale, SIZE * scale), EXACT)
    assert (below[:110] == 200).all()
    assert not below[114:].any()


@pytest.mark.parametrize("place", [(-900, 50), (50, -900), (900, 50), (50, 900), (-3000, -3000)])
@pytest.mark.parametrize("side", [30, 800])
def test_face_outside_the_frame_gives_a_black_crop(place: tuple[int, int], side: int) -> None:
    frame = np.full((300, 400, 3), 200, np.uint8)
    crop = align(frame, level_face(*place, side, side), FaceSettings())
    assert crop.shape == (SIZE, SIZE, 3)
    assert not crop.any()


def test_degenerate_box_gives_a_crop_of_the_usual_size() -> None:
    frame = np.full((30, 40, 3), 200, np.uint8)
    for box in ([5.0, 5.0, 5.0, 5.0], [5.0, 5.0, 6.0, 25.0], [-1.0, -1.0, 41.0, 31.0]):
        assert align(frame, make_face(box, [[5, 5], [5, 5]]), FaceSettings()).shape == (SIZE, SIZE, 3)


def test_crop_has_the_size_in_the_settings() -> None:
    frame = np.zeros((300, 400, 3), np.uint8)
    assert align(frame, level_face(10, 10, 90, 90), FaceSettings(crop_px=112)).shape == (112, 112, 3)


def test_frame_is_not_modified() -> None:
    frame = np.random.default_rng(2).integers(0, 256, (900, 1200, 3), dtype=np.uint8)
    frame.setflags(write=False)
    align(frame, level_face(10, 10, 800, 800), FaceSettings())


def test_width_of_a_sideways_face_is_its_box_height() -> None:
    box = [10.0, 20.0, 110.0, 160.0]
    assert [make_face(box, [[0, 0], [1, 0]], turn).width_px for turn in TURNS] == [100, 140, 100, 140]
