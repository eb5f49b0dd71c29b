"""Photographic MakeHuman heads: their files, blending of transparent layers, and persons."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from avpenet_cli.errors import SettingsError
from avpenet_cli.face.detect import FaceDetector
from avpenet_cli.media.frame_image import RgbImage
from avpenet_cli.phantom.face.covers import Cover
from avpenet_cli.phantom.face.people import FaceRenderer, FaceSource, MeshFaces, load_faces
from avpenet_cli.phantom.face.projection import encode, srgb_table
from avpenet_cli.phantom.face.renderer import View
from avpenet_cli.phantom.head.model import UNITS, AgeGroup, Expression, Look, draw_look
from avpenet_cli.phantom.head.rasterizer import find_fragments
from avpenet_cli.phantom.makehuman.assets import read_clothes, read_texture, read_wavefront
from avpenet_cli.phantom.makehuman.blending import blend, blend_order
from avpenet_cli.phantom.makehuman.faces import PhotographicFaces
from avpenet_cli.phantom.makehuman.head import TEETH
from avpenet_cli.phantom.makehuman.regions import limited_weights
from avpenet_cli.settings import FaceSettings

MESHES = Path(__file__).resolve().parents[3] / "shared" / "data" / "mesh"
with_meshes = pytest.mark.skipif(
    not (MESHES / "makehuman_skins").is_dir(), reason="the MakeHuman meshes and skins are not in the repository"
)
WALL = np.full((200, 200, 3), 150, np.uint8)
VIEW = View(width_px=200, height_px=200, face_width_px=110.0)
NEUTRAL = Expression()

QUAD = """v 0 0 0
v 1 0 0
v 1 1 0
v 0 1 0
vt 0 0
vt 1 0
vt 1 1
vt 0 1
g square
f 1/1 2/2 3/3 4/4
"""

CLOTHES = """# comment
basemesh hm08
x_scale 0 1 0.5
y_scale 0 2 1.0
z_scale 0 3 2.0
verts 0
material square.mhmat
2
 0 1 2 0.5 0.25 0.25 1.0 1.0 1.0
"""

# --- Files ------------------------------------------------------------------------------------------------------------


def test_wavefront_polygons_become_triangles_with_texture_coordinates(tmp_path: Path) -> None:
    path = tmp_path / "square.obj"
    path.write_text(QUAD)
    mesh = read_wavefront(path)
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert mesh.uv[1].tolist() == [[0, 0], [1, 1], [0, 1]]
    assert mesh.groups.tolist() == ["square", "square"]
    for text in (QUAD.replace("/4", ""), QUAD.replace("4/4", "9/4"), QUAD.replace("v 1 1 0", "v 1 one 0")):
        path.write_text(text)
        with pytest.raises(SettingsError, match="textured mesh"):
            read_wavefront(path)


def test_clothes_follow_the_body_and_scale_with_it(tmp_path: Path) -> None:
    path = tmp_path / "square.mhclo"
    path.write_text(CLOTHES)
    clothes = read_clothes(path)
    body = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 4]], np.float32)
    # The body is twice as wide, as high and as deep as that at which the offsets are 1.
    np.testing.assert_allclose(clothes.fit(body), np.array([[0.0, 2.0, 0.0], [2.25, 2.5, 2.0]]))
    np.testing.assert_allclose(clothes.fit(2 * body), 2 * clothes.fit(body))
    # An expression moves them with the skin, whose scale it does not change.
    moves = np.zeros((9, 4, 3), np.float32)
    moves[3, 1] = (0.0, 1.0, 0.0)
    np.testing.assert_allclose(clothes.follow(moves)[3], np.array([[0.0, 0.0, 0.0], [0.0, 0.25, 0.0]]))
    assert not clothes.follow(moves)[[0, 8]].any()
    path.write_text(CLOTHES.replace("y_scale 0 2 1.0\n", ""))
    with pytest.raises(SettingsError, match="clothes file"):
        read_clothes(path)


def test_missing_texture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        read_texture(tmp_path / "absent.png", 512)


def test_light_beyond_the_table_has_the_code_of_its_end() -> None:
    codes = encode(np.array([[-0.5, 0.0, 0.5], [1.9995, 2.5, 1e6]], np.float32), srgb_table())
    assert codes[0, 0] == codes[0, 1] == 0
    assert codes[1, 0] == codes[1, 1] == codes[1, 2]


# --- Transparent layers -----------------------------------------------------------------------------------------------


def test_transparent_layers_are_blended_from_far_to_near() -> None:
    pixel = np.array([1, 0, 1, 1, 0], np.int32)
    depth = np.array([3.0, 1.0, 1.0, 2.0, 5.0], np.float32)
    alpha = np.array([0.5, 0.5, 0.5, 0.0, 0.25], np.float32)
    colour = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [1, 0, 0]], np.float32)
    order = blend_order(pixel, depth, alpha, 3)
    assert order.tolist() == [1, 4, 2, 0]  # the fourth is transparent
    canvas = np.full((3, 3), 0.5, np.float32)
    blend(canvas, pixel[order], colour[order], alpha[order])
    behind = 0.5 * np.array([0.5, 0.5, 0.5]) + 0.5 * colour[1]
    np.testing.assert_allclose(canvas[0], 0.75 * behind + 0.25 * colour[4], atol=1e-6)
    behind = 0.5 * np.array([0.5, 0.5, 0.5]) + 0.5 * colour[2]
    np.testing.assert_allclose(canvas[1], 0.5 * behind + 0.5 * colour[0], atol=1e-6)
    np.testing.assert_allclose(canvas[2], 0.5)


def test_what_an_opaque_strand_hides_is_not_blended() -> None:
    pixel, depth = np.zeros(3, np.int32), np.array([1.0, 2.0, 3.0], np.float32)
    order = blend_order(pixel, depth, np.array([0.5, 1.0, 0.5], np.float32), 1)
    assert order.tolist() == [1, 2]


def test_both_sides_of_a_strand_are_found() -> None:
    points = np.array([[0, 0, 0], [0, 8, 0], [8, 0, 0]], np.float32)
    front, back = np.array([[0, 1, 2]], np.int32), np.array([[0, 2, 1]], np.int32)
    assert find_fragments(points, front, 10, 10).pixel.size > 0
    assert find_fragments(points, back, 10, 10).pixel.size == 0
    both = [find_fragments(points, faces, 10, 10, two_sided=True) for faces in (front, back)]
    assert sorted(both[0].pixel.tolist()) == sorted(both[1].pixel.tolist())


def test_shared_edge_through_pixel_centres_leaves_no_crack() -> None:
    points = np.array([[2.5, -1.3, 0], [2.5, 9.7, 0], [-4.1, 4.0, 0], [8.3, 4.9, 0]], np.float32)
    faces = np.array([[0, 2, 1], [0, 1, 3]], np.int32)
    fragments = find_fragments(points, faces, 6, 8, slack_px=0.02)
    column = fragments.pixel[fragments.pixel % 6 == 2]
    assert set(column // 6) == set(range(8))


# --- Expressions ------------------------------------------------------------------------------------------------------


def test_open_mouth_limits_what_would_tear_it_without_a_step() -> None:
    alone = limited_weights(Expression(lip_raise=1.0))
    assert alone[UNITS.index("lip_raise")] == 1.0
    before = 1.0
    for opened in (0.25, 0.5, 0.75, 1.0):
        raised = float(limited_weights(Expression(lip_raise=1.0, mouth_open=opened))[UNITS.index("lip_raise")])
        assert before - 0.2 < raised < before
        before = raised
    grown = [limited_weights(Expression(*[share] * 9)) for share in (0.2, 0.4, 0.6, 0.8, 1.0)]
    assert (np.diff(grown, axis=0) > 0).all()  # a stronger expression is stronger in every unit


# --- Persons ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def faces() -> FaceSource:
    return load_faces(MESHES)


@pytest.fixture(scope="module", params=("neonate", "adult"))
def renderer(request: pytest.FixtureRequest, faces: FaceSource) -> FaceRenderer:
    return faces.renderer(look(request.param))


def look(age_group: AgeGroup, tone: int = 4) -> Look:
    return Look(age_group, 1, tone, "short" if age_group == "adult" else "none", 0.3)


@with_meshes
def test_skins_are_found_beside_the_meshes(faces: FaceSource, tmp_path: Path) -> None:
    assert isinstance(faces, PhotographicFaces)
    assert isinstance(load_faces(MESHES / "makehuman_mpfb2"), MeshFaces)  # without skins
    one = tmp_path / "one"
    one.mkdir()
    for folder in ("makehuman_mpfb2", "makehuman_skins"):
        for part in (MESHES / folder).iterdir():
            (one / part.name).symlink_to(part)
    assert isinstance(load_faces(one), PhotographicFaces)
    with pytest.raises(SettingsError, match="no head model"):
        load_faces(tmp_path / "none")


@with_meshes
def test_incomplete_folders_are_refused(tmp_path: Path) -> None:
    one = tmp_path / "one"
    one.mkdir()
    for folder in ("makehuman_mpfb2", "makehuman_skins"):
        for part in (MESHES / folder).iterdir():
            if part.name not in ("hair", "tongue", "targets"):
                (one / part.name).symlink_to(part)
    with pytest.raises(SettingsError, match="lacks hair/, tongue/"):
        load_faces(one)
    (one / "skins").unlink()
    targets = one / "targets" / "mouth"
    targets.mkdir(parents=True)
    name = "mouth-upperlip-volume-incr.target.gz"
    (targets / name).write_bytes((MESHES / "makehuman_mpfb2" / "targets" / "mouth" / name).read_bytes()[:-9])
    head = load_faces(one)
    assert isinstance(head, MeshFaces)
    with pytest.raises(SettingsError, match="cannot be read"):
        head.renderer(look("adult"))


@with_meshes
@pytest.mark.parametrize("unit", [field.name for field in fields(Expression)])
def test_unit_changes_the_face(renderer: FaceRenderer, unit: str) -> None:
    neutral, half, full = (
        renderer.frame(Expression(**{unit: share}), VIEW, WALL).astype(int) for share in (0.0, 0.5, 1.0)
    )
    middle = np.s_[50:190, 40:160]
    small, large = (float(np.abs(image - neutral)[middle].mean()) for image in (half, full))
    assert 0.15 < small < large


@with_meshes
def test_same_look_gives_the_same_bytes(faces: FaceSource) -> None:
    first, again = faces.renderer(look("neonate")), faces.renderer(look("neonate"))
    first.frame(Expression(mouth_open=1.0), VIEW, WALL, Cover("mask"))
    np.testing.assert_array_equal(first.frame(NEUTRAL, VIEW, WALL), again.frame(NEUTRAL, VIEW, WALL))


@with_meshes
def test_landmarks_are_where_the_features_are(renderer: FaceRenderer) -> None:
    marks = renderer.landmarks_px(NEUTRAL, VIEW)
    np.testing.assert_allclose(marks[:2].mean(0), (100.0, 100.0), atol=2.0)
    assert marks[0, 0] < marks[3, 0] < marks[4, 0] < marks[1, 0]
    assert marks[0, 1] < marks[2, 1] < marks[3, 1]
    image = renderer.frame(NEUTRAL, VIEW, WALL).astype(float).mean(2)
    for x, y in marks[:2].round().astype(int):
        # An eye is darker than the cheek below it.
        assert image[y - 2 : y + 3, x - 3 : x + 4].mean() < 0.8 * image[y + 20 : y + 26, x - 3 : x + 4].mean()
    wide = renderer.landmarks_px(Expression(lip_corner_pull=1.0), VIEW)
    assert np.ptp(wide[3:, 0]) > np.ptp(marks[3:, 0]) + 1.0


@with_meshes
@pytest.mark.slow
def test_tones_differ_from_light_to_dark(faces: FaceSource) -> None:
    cheeks = []
    for tone in (3, 9):
        drawn = faces.renderer(look("adult", tone))
        x, y = drawn.landmarks_px(NEUTRAL, VIEW)[2].round().astype(int)
        cheeks.append(float(drawn.frame(NEUTRAL, VIEW, WALL)[y - 4 : y + 4, x + 16 : x + 26].mean()))
    assert cheeks[1] < 0.8 * cheeks[0]


@with_meshes
def test_newborn_has_no_teeth(faces: FaceSource) -> None:
    assert isinstance(faces, PhotographicFaces)
    baby, adult = (faces.head(look(age_group)) for age_group in ("neonate", "adult"))
    assert (baby.material == TEETH).sum() < 500 < (adult.material == TEETH).sum()  # the tongue alone


@with_meshes
@pytest.mark.parametrize("kind", ["mask", "tube", "hand", "cpap", "tape"])
def test_cover_hides_part_of_the_face(renderer: FaceRenderer, kind: str) -> None:
    bare, covered = (renderer.frame(NEUTRAL, VIEW, WALL, Cover(k)) for k in ("none", kind))  # type: ignore[arg-type]
    assert 0.005 < (np.abs(bare.astype(int) - covered) > 20).any(2).mean() < 0.9


@with_meshes
def test_drawn_looks_use_every_skin_and_both_ends_of_age(faces: FaceSource) -> None:
    assert isinstance(faces, PhotographicFaces)
    rng = np.random.default_rng(4)
    looks = [draw_look("adult", rng) for _ in range(120)]
    drawn = [faces.describe(own) for own in looks]
    assert {skin for skin, _, _ in drawn} == {path.stem for path in (MESHES / "makehuman_skins" / "skins").iterdir()}
    assert sum(old > 0.6 for _, _, old in drawn) > 10
    assert len({hair for _, hair, _ in drawn}) >= 5


@with_meshes
@pytest.mark.slow
@pytest.mark.parametrize("age_group", ["neonate", "adult"])
def test_photographic_faces_are_detected(faces: FaceSource, age_group: AgeGroup) -> None:
    rng = np.random.default_rng(22)
    detector, confidence = FaceDetector(FaceSettings(), torch.device("cpu")), []
    for tone in (2, 8):
        drawn = faces.renderer(draw_look(age_group, rng, tone))
        for strength in (0.0, 0.5, 1.0):
            drive = dict.fromkeys(
                ("brow_lower", "orbit_tighten", "nose_wrinkle", "eyes_closed", "mouth_open"), strength
            )
            view = replace(VIEW, yaw_deg=float(rng.uniform(-20, 20)))
            image = RgbImage(drawn.frame(Expression(**drive), view, WALL))
            found = detector.detect([image])[0]
            confidence.append(max((face.confidence for face in found), default=0.0))
    assert min(confidence) > 0.95, confidence


@with_meshes
def test_frame_outside_the_view_is_the_background(renderer: FaceRenderer) -> None:
    away = replace(VIEW, offset_px=(5000.0, 0.0))
    np.testing.assert_array_equal(renderer.frame(NEUTRAL, away, WALL), WALL)
