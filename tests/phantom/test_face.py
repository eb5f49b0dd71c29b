"""Simulated faces: detection, action units, appearance, covers, head models and the rasteriser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from avpenet_cli.errors import SettingsError
from avpenet_cli.face.detect import FaceDetector
from avpenet_cli.media.frame_image import RgbImage
from avpenet_cli.phantom.face.covers import Cover
from avpenet_cli.phantom.face.renderer import Frame, Light, MeshRenderer, View
from avpenet_cli.phantom.face.skin import luminance, skin_albedo
from avpenet_cli.phantom.head.built_in import built_in_head
from avpenet_cli.phantom.head.loading import load_head
from avpenet_cli.phantom.head.model import UNITS, AgeGroup, Expression, HeadModel, Look, draw_look
from avpenet_cli.phantom.head.rasterizer import rasterise
from avpenet_cli.phantom.parameters.face_params import face_params
from avpenet_cli.settings import FaceSettings

MESHES = Path(__file__).resolve().parents[3] / "shared" / "data" / "mesh"
ICT = MESHES / "ict_facekit" / "ict_facekit_light.npz"
MAKEHUMAN = MESHES / "makehuman_mpfb2"
AGE_GROUPS: tuple[AgeGroup, ...] = ("neonate", "adult")
NEUTRAL = Expression()
PAIN = Expression(
    brow_lower=0.9, orbit_tighten=0.9, nose_wrinkle=0.7, lip_raise=0.6, eyes_closed=0.9, mouth_open=0.7, lip_stretch=0.4
)
WALL = np.full((480, 640, 3), 150, np.uint8)
VIEW = View(face_width_px=200.0)


def look(age_group: AgeGroup, identity: int = 1, skin_tone: int = 4) -> Look:
    return Look(age_group, identity, skin_tone, "short" if age_group == "adult" else "none", 0.1)


@pytest.fixture(scope="module", params=AGE_GROUPS)
def drawn(request: pytest.FixtureRequest) -> MeshRenderer:
    return MeshRenderer(built_in_head(), look(request.param))


def full(unit: str) -> Expression:
    return Expression(**{unit: 1.0})


def moved_at(renderer: MeshRenderer, expression: Expression) -> tuple[float, float, float]:
    """Mean difference from neutral in levels of 255: of brow and eyes, of nose and cheeks, of mouth and chin."""
    change = np.abs(renderer.frame(expression, VIEW, WALL).astype(float) - renderer.frame(NEUTRAL, VIEW, WALL)).mean(2)
    middle = change[:, 235:405]
    # The eyes are in the middle row of the frame; the face is 200 px wide.
    return float(middle[190:265].mean()), float(middle[265:305].mean()), float(middle[305:400].mean())


def open_mouth_brightness(renderer: MeshRenderer) -> tuple[float, float]:
    """Darkest part of the midline below the nose, with the mouth closed and open."""
    shut, wide = (
        cv2.GaussianBlur(renderer.frame(e, VIEW, WALL), (9, 9), 3.0)[300:400, 315:325].mean((1, 2)).min()
        for e in (NEUTRAL, Expression(mouth_open=1.0))
    )
    return float(shut), float(wide)


# --- The detector -----------------------------------------------------------------------------------------------------


def expressions(rng: np.random.Generator) -> Iterator[Expression]:
    """Neutral, pain, speech, and a smile, surprise or yawn."""
    pain, other = float(rng.random()), float(rng.random())
    yield NEUTRAL
    drive = dict(zip((f.name for f in fields(Expression)), rng.uniform(0.6, 1.0, 9) * pain, strict=True))
    yield Expression(**{**drive, "brow_raise": 0.0, "lip_corner_pull": 0.0, "lip_stretch": 0.7 * drive["lip_stretch"]})
    yield Expression(mouth_open=0.4 * other, eyes_closed=float(rng.random() < 0.3))
    yield (
        Expression(lip_corner_pull=other, orbit_tighten=0.4 * other),
        Expression(brow_raise=other, mouth_open=0.5 * other),
        Expression(mouth_open=other, eyes_closed=other),
    )[int(rng.integers(3))]


def frames_of(head: HeadModel, age_group: AgeGroup, people: int, seed: int) -> Iterator[Frame]:
    rng = np.random.default_rng(seed)
    for person in range(people):
        renderer = MeshRenderer(head, draw_look(age_group, rng, 1 + person % 10))
        for expression in expressions(rng):
            light = Light(*rng.uniform((-60, 0, 0.6, 0.1), (60, 70, 1.4, 0.8)).tolist())
            yaw, pitch, roll = rng.uniform((-15, -10, -12), (15, 10, 12)).tolist()
            view = View(
                face_width_px=float(rng.uniform(120, 260)), yaw_deg=yaw, pitch_deg=pitch, roll_deg=roll, light=light
            )
            yield renderer.frame(expression, view, np.full((480, 640, 3), rng.integers(60, 210), np.uint8))


def confidences(frames: Iterator[Frame]) -> np.ndarray:
    detector = FaceDetector(FaceSettings(), torch.device("cpu"))
    confidence = [detector.detect([RgbImage(frame)])[0] for frame in frames]
    return np.array([max((face.confidence for face in faces), default=0.0) for faces in confidence])


@pytest.mark.slow
@pytest.mark.parametrize("age_group", AGE_GROUPS)
def test_built_in_faces_are_detected(age_group: AgeGroup) -> None:
    confidence = confidences(frames_of(built_in_head(), age_group, people=8, seed=20))
    # One of the 32 frames may be below.
    assert (confidence >= 0.95).sum() >= len(confidence) - 1, np.sort(confidence)[:5]
    assert confidence.min() > 0.7


@pytest.mark.slow
@pytest.mark.skipif(not MESHES.is_dir(), reason="the meshes are not in the repository")
@pytest.mark.parametrize(("path", "age_group"), [(ICT, "adult"), (MAKEHUMAN, "adult"), (MAKEHUMAN, "neonate")])
def test_loaded_faces_are_detected(path: Path, age_group: AgeGroup) -> None:
    confidence = confidences(frames_of(load_head(path), age_group, people=3, seed=21))
    assert (confidence >= 0.95).sum() >= len(confidence) - 1, np.sort(confidence)[:5]


# --- Action units -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "region"),
    [
        ("brow_lower", 0),
        ("brow_raise", 0),
        ("eyes_closed", 0),
        ("mouth_open", 2),
        ("lip_stretch", 2),
    ],
)
def test_action_unit_moves_its_part_of_the_face(drawn: MeshRenderer, unit: str, region: int) -> None:
    moved = moved_at(drawn, full(unit))
    assert int(np.argmax(moved)) == region
    assert moved[region] > 1.5


@pytest.mark.parametrize("unit", ["orbit_tighten", "nose_wrinkle", "lip_raise", "lip_corner_pull"])
def test_action_unit_is_visible(drawn: MeshRenderer, unit: str) -> None:
    assert max(moved_at(drawn, full(unit))) > 2.0


def test_painful_face_differs_from_a_calm_one(drawn: MeshRenderer) -> None:
    calm = moved_at(drawn, Expression(eyes_closed=0.1))
    pain = moved_at(drawn, PAIN)
    assert all(p > 5.0 and p > 3.0 * c for p, c in zip(pain, calm, strict=True))


def test_stronger_expression_changes_the_face_more(drawn: MeshRenderer) -> None:
    steps = [sum(moved_at(drawn, Expression(brow_lower=s, mouth_open=s, orbit_tighten=s))) for s in (0.2, 0.5, 1.0)]
    assert steps[0] < steps[1] < steps[2]


def test_open_mouth_is_dark_inside(drawn: MeshRenderer) -> None:
    shut, wide = open_mouth_brightness(drawn)
    assert wide < 0.75 * shut


@pytest.mark.parametrize("age_group", AGE_GROUPS)
def test_closed_lids_cover_the_eyeball(age_group: AgeGroup) -> None:
    """There is skin in front of each pupil, since the lids meet, and no lid is inside the eyeball."""
    shape = built_in_head().shape(look(age_group))
    vertices = shape.vertices(Expression(eyes_closed=1.0))
    for centre, lid in zip(shape.eyeballs.centres_mm, shape.eyeballs.lids, strict=True):
        out = np.linalg.norm(vertices[lid] - centre, axis=1)
        assert out.min() >= shape.eyeballs.radius_mm - 1e-3
    points = vertices * np.array([4.0, -4.0, 1.0], np.float32) + np.array([320.0, 240.0, 0.0], np.float32)
    raster = rasterise(points.astype(np.float32), shape.faces, 640, 480)
    skin = np.zeros(640 * 480, bool)
    lids = np.concatenate(shape.eyeballs.lids)
    skin[raster.pixel] = np.isin(raster.corners, lids).all(1)
    for x, y, _ in shape.landmarks.pupils:
        column, row = int(320 + 4 * x), int(240 - 4 * y)
        assert skin.reshape(480, 640)[row - 3 : row + 4, column - 3 : column + 4].all()


def test_tightening_does_not_close_a_closed_eye_further() -> None:
    lids = UNITS.index("lids")
    assert Expression(eyes_closed=1.0, orbit_tighten=1.0).weights()[lids] == pytest.approx(1.0)
    assert 0.0 < Expression(orbit_tighten=1.0).weights()[lids] < 1.0


@pytest.mark.parametrize("age_group", AGE_GROUPS)
def test_expression_does_not_turn_triangles_over(age_group: AgeGroup) -> None:
    """Almost no triangle that faces the camera in the calm face faces away in the painful one."""
    shape = built_in_head().shape(look(age_group))
    front = {}
    for name, expression in (("calm", NEUTRAL), ("pain", PAIN)):
        a, b, c = shape.vertices(expression)[shape.faces].transpose(1, 0, 2)
        front[name] = np.cross(b - a, c - a)[:, 2]
    looking = front["calm"] > 0.3 * np.median(np.abs(front["calm"]))
    assert (front["pain"][looking] < 0).mean() < 0.03


# --- Looks ------------------------------------------------------------------------------------------------------------


def test_same_seed_renders_the_same_frame() -> None:
    first, second = (
        MeshRenderer(built_in_head(), draw_look("adult", np.random.default_rng(7))).frame(PAIN, VIEW, WALL)
        for _ in range(2)
    )
    assert first.tobytes() == second.tobytes()


def test_faces_differ_between_people() -> None:
    shapes = [built_in_head().shape(look("adult", identity)) for identity in range(6)]
    assert np.std([shape.face_width_mm for shape in shapes]) > 1.0
    assert np.std([shape.landmarks.nose_tip for shape in shapes], axis=0)[2] > 0.5


def test_newborn_has_the_proportions_of_a_newborn() -> None:
    """Eyes low in the head and a small chin: less of the face is below the eyes than in adults."""
    share = {}
    for age_group in AGE_GROUPS:
        shape = built_in_head().shape(replace(look(age_group), hair="none"))
        crown = float(shape.neutral_mm[:, 1].max())
        share[age_group] = -float(shape.landmarks.chin[1]) / (crown - float(shape.landmarks.chin[1]))
    assert share["neonate"] < share["adult"] - 0.03


def test_skin_tones_are_ordered_by_lightness() -> None:
    for age_group in AGE_GROUPS:
        light = [luminance(skin_albedo(tone, age_group)) for tone in range(1, 11)]
        assert light[0] > 5 * light[9]
        assert all(a >= b - 0.03 for a, b in pairwise(light))
        assert all(np.diff(skin_albedo(tone, age_group))[0] < 0 for tone in range(1, 11))  # redder than green


def test_light_from_one_side_lights_that_side(drawn: MeshRenderer) -> None:
    lit = [
        drawn.frame(NEUTRAL, replace(VIEW, light=Light(azimuth_deg=azimuth, contrast=0.9)), WALL).astype(float)
        for azimuth in (-60.0, 60.0)
    ]
    cheeks = [(frame[270:300, 250:280].mean(), frame[270:300, 360:390].mean()) for frame in lit]
    assert cheeks[0][0] > 1.2 * cheeks[0][1]
    assert cheeks[1][1] > 1.2 * cheeks[1][0]


def test_rotated_head_stays_complete(drawn: MeshRenderer) -> None:
    """At 35 degrees to either side the whole head is rendered."""
    shape = built_in_head().shape(look("adult"))
    assert shape.landmarks.nose_tip[2] > 0
    for yaw in (-35.0, 35.0):
        frame = drawn.frame(NEUTRAL, replace(VIEW, yaw_deg=yaw), WALL)
        covered = (frame != WALL).any(2)[150:300]
        assert covered.sum() > 150 * 130
    straight, right = (drawn.frame(NEUTRAL, replace(VIEW, yaw_deg=yaw), WALL) for yaw in (0.0, 30.0))
    assert (straight != right).any()


def test_face_has_the_requested_width(drawn: MeshRenderer) -> None:
    for width in (120.0, 260.0):
        frame = drawn.frame(NEUTRAL, replace(VIEW, face_width_px=width), WALL)
        # At the height of the cheeks; ears and hair make it a little wider.
        row = (frame[int(240 + 0.15 * width)] != 150).any(1)
        assert 0.9 * width < row.sum() < 1.45 * width


def test_landmarks_follow_face_and_view(drawn: MeshRenderer) -> None:
    middle = drawn.landmarks_px(NEUTRAL, VIEW)
    assert middle.shape == (5, 2)
    eyes, nose, mouth = middle[:2], middle[2], middle[3:]
    # The face is 200 px wide, and the point between the eyes is in the middle of the frame.
    np.testing.assert_allclose(eyes.mean(0), (320.0, 240.0), atol=3.0)
    assert 70.0 < eyes[1, 0] - eyes[0, 0] < 110.0
    assert abs(nose[0] - 320.0) < 4.0
    assert 250.0 < nose[1] < mouth[0, 1] < 350.0
    assert mouth[0, 0] < 305.0 < 335.0 < mouth[1, 0]
    wide = drawn.landmarks_px(full("lip_corner_pull"), VIEW)
    assert wide[4, 0] - wide[3, 0] > mouth[1, 0] - mouth[0, 0] + 5.0
    np.testing.assert_allclose(wide[:2], eyes)
    right = drawn.landmarks_px(NEUTRAL, replace(VIEW, yaw_deg=30.0))
    assert right[2, 0] - right[:2, 0].mean() > 15.0


def test_person_outside_the_frame_leaves_the_background(drawn: MeshRenderer) -> None:
    beside = drawn.frame(NEUTRAL, replace(VIEW, offset_px=(5000.0, 0.0)), WALL)
    assert (beside == WALL).all()
    cut = drawn.frame(NEUTRAL, replace(VIEW, offset_px=(300.0, -230.0)), WALL)
    assert cut.shape == WALL.shape
    assert (cut != WALL).any()


def test_background_is_kept_around_the_person(drawn: MeshRenderer) -> None:
    background = WALL.copy()
    frame = drawn.frame(NEUTRAL, VIEW, background)
    assert (background == WALL).all()
    assert (frame[:100, :60] == 150).all()
    with pytest.raises(SettingsError, match="640x480"):
        drawn.frame(NEUTRAL, VIEW, WALL[:100])


# --- Covers -----------------------------------------------------------------------------------------------------------


def test_mask_hides_the_mouth_only(drawn: MeshRenderer) -> None:
    masked = Cover("mask")
    masked_eyes = [drawn.frame(e, VIEW, WALL, masked).astype(float) for e in (NEUTRAL, Expression(eyes_closed=1.0))]
    assert np.abs(masked_eyes[0] - masked_eyes[1])[225:262, 235:405].mean() > 1.5
    smile = [drawn.frame(e, VIEW, WALL, masked).astype(float) for e in (NEUTRAL, Expression(lip_stretch=1.0))]
    bare = [drawn.frame(e, VIEW, WALL).astype(float) for e in (NEUTRAL, Expression(lip_stretch=1.0))]
    mouth = np.s_[300:370, 260:380]
    assert np.abs(smile[0] - smile[1])[mouth].mean() < 0.5 * np.abs(bare[0] - bare[1])[mouth].mean()


@pytest.mark.parametrize("kind", ["tube", "hand"])
def test_cover_is_visible(drawn: MeshRenderer, kind: str) -> None:
    cover = Cover("tube") if kind == "tube" else Cover("hand")
    change = (drawn.frame(NEUTRAL, VIEW, WALL, cover) != drawn.frame(NEUTRAL, VIEW, WALL)).any(2)
    assert 0.005 < change[150:400, 220:420].mean() < 0.9


def test_hand_moves_with_its_position(drawn: MeshRenderer) -> None:
    here, there = (drawn.frame(NEUTRAL, VIEW, WALL, Cover("hand", at=at)) for at in ((0.0, -1.6), (2.0, -1.0)))
    assert (here != there).any(2).mean() > 0.02


# --- Files and parameters ---------------------------------------------------------------------------------------------


def test_file_that_is_no_head_model_is_refused(tmp_path: Path) -> None:
    text, wrong, empty = tmp_path / "head.obj", tmp_path / "head.npz", tmp_path / "folder"
    text.write_text("v 0 0 0\n")
    np.savez(wrong, neutral=np.zeros((3, 3)))
    empty.mkdir()
    for path in (text, wrong, empty, tmp_path / "absent.npz"):
        with pytest.raises(SettingsError, match="ict_facekit_light"):
            load_head(path)


def test_incomplete_makehuman_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "3dobjs").mkdir()
    (tmp_path / "3dobjs" / "base.obj").write_text("g body\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    with pytest.raises(SettingsError, match="lacks the groups"):
        load_head(tmp_path)


@pytest.mark.skipif(not ICT.is_file(), reason="the meshes are not in the repository")
def test_model_of_adults_refuses_a_newborn() -> None:
    with pytest.raises(SettingsError, match="adults only"):
        load_head(ICT).shape(look("neonate"))


@pytest.mark.skipif(not MESHES.is_dir(), reason="the meshes are not in the repository")
@pytest.mark.parametrize(("path", "age_group"), [(ICT, "adult"), (MAKEHUMAN, "adult"), (MAKEHUMAN, "neonate")])
def test_loaded_head_opens_its_mouth(path: Path, age_group: AgeGroup) -> None:
    renderer = MeshRenderer(load_head(path), look(age_group))
    shut, wide = open_mouth_brightness(renderer)
    assert wide < 0.8 * shut
    eyes, _, mouth = moved_at(renderer, PAIN)
    assert eyes > 4.0
    assert mouth > 4.0


@pytest.mark.skipif(not MESHES.is_dir(), reason="the meshes are not in the repository")
@pytest.mark.parametrize("path", [ICT, MAKEHUMAN])
def test_loaded_head_is_simplified(path: Path) -> None:
    shape = load_head(path).shape(look("adult"))
    assert len(shape.faces) < 45_000
    assert 120.0 < shape.face_width_mm < 170.0


@pytest.mark.parametrize("bad", [{"brow_lower": 1.2}, {"mouth_open": -0.1}, {"eyes_closed": float("nan")}])
def test_action_unit_out_of_range_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match="between 0 and 1"):
        Expression(**bad)


def test_impossible_look_is_refused() -> None:
    with pytest.raises(SettingsError, match="skin tone 1-10"):
        Look("adult", 1, 11, "short", 0.5)


def test_every_head_model_has_parameters_for_every_action_unit() -> None:
    built_in = {field.unit for field in face_params().action} | {"lids"}
    assert built_in == set(UNITS)
    assert set(face_params().ict.units) == set(UNITS)
    assert set(face_params().makehuman.units) == set(UNITS)


# --- The z-buffer -----------------------------------------------------------------------------------------------------


def test_near_triangle_hides_a_far_one() -> None:
    square = np.array([[1, 1], [1, 9], [9, 9], [9, 1]], np.float32)
    points = np.concatenate([np.c_[square, np.full(4, z)] for z in (0.0, 5.0)]).astype(np.float32)
    points[4:, 0] -= 4.0
    faces = np.array([[4, 5, 6], [4, 6, 7], [0, 1, 2], [0, 2, 3]], np.int32)
    raster = rasterise(points, faces, 10, 10)
    depth = np.zeros(100)
    depth[raster.pixel] = raster.interpolate(points[:, 2:])[:, 0]
    image = depth.reshape(10, 10)
    assert raster.pixel.size == 8 * 9  # the near square is cut at the image's edge
    assert (image[1:9, 0:5] == 5.0).all()
    assert (image[1:9, 5:9] == 0.0).all()
    assert rasterise(points, faces[:, ::-1].copy(), 10, 10).pixel.size == 0  # seen from behind


def test_values_are_interpolated_linearly() -> None:
    points = np.array([[0, 0, 0], [0, 40, 1], [40, 0, 2]], np.float32)
    raster = rasterise(points, np.array([[0, 1, 2]], np.int32), 50, 50)
    row, column = np.divmod(raster.pixel, 50)
    place = raster.interpolate(points)
    np.testing.assert_allclose(place[:, 0], column + 0.5, atol=1e-3)
    np.testing.assert_allclose(place[:, 1], row + 0.5, atol=1e-3)
    np.testing.assert_allclose(raster.weights.sum(1), 1.0, atol=1e-6)
