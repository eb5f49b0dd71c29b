"""Photographs altered to action units: on a drawn face with made-up points, and on real photographs where present."""

from __future__ import annotations

import csv
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from avpenet_cli.errors import SettingsError
from avpenet_cli.phantom.face.covers import Cover
from avpenet_cli.phantom.face.image_file import read_image
from avpenet_cli.phantom.face.people import load_faces
from avpenet_cli.phantom.face.renderer import Frame, Light, View
from avpenet_cli.phantom.head.model import Expression, Look
from avpenet_cli.phantom.make import PhantomRequest, make_phantoms
from avpenet_cli.phantom.photographs.renderer import PhotographRenderer
from avpenet_cli.phantom.photographs.source import Photographs
from avpenet_cli.phantom.photographs.template import OPPOSITE, POINTS, face_units

Array = npt.NDArray[np.float64]

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "faces_london"
NEUTRAL = Expression()
FLAT = Light(contrast=0.0)
VIEW = View(240, 240, 100.0, (0.0, -20.0), light=FLAT)
WALL = np.full((240, 240, 3), (30, 90, 40), np.uint8)
PAIN = Expression(brow_lower=1.0, orbit_tighten=1.0, nose_wrinkle=1.0, lip_raise=1.0, eyes_closed=1.0, mouth_open=0.8)

# Made up, in face units: the left half and the midline.
_LEFT = """
0 -.5 0  18 -.7 .03  19 -.62 -.04  20 -.5 -.07  21 -.38 -.04  22 -.27 .05  28 -.62 .08  29 -.5 .1  30 -.38 .08
34 -.77 -.03  35 -.66 -.1  36 -.53 -.14  37 -.39 -.12  38 -.29 -.06  44 -.56 .35  45 -.38 .28  46 -.26 .16
50 -.11 -.08  51 -.07 .06  52 -.07 .2  53 -.08 .34  54 -.11 .48  61 -.24 .47  62 -.28 .56  63 -.28 .66
64 -.19 .71  65 -.2 .64  71 -.92 -.12  72 -.83 -.28  73 -.68 -.36  74 -.49 -.35  75 -.23 -.27  76 -.23 -.18
83 -.73 -.24  84 -.5 -.24  87 -.4 1.1  88 -.24 1  89 -.11 .95  94 -.24 1.08  95 -.12 1.08  99 -.24 1.08
100 -.12 1.08  104 -.27 1.18  105 -.14 1.23  109 -1.12 .11  110 -1.1 .48  111 -1.04 .87  125 -.97 1.12
126 -.86 1.37  127 -.62 1.62  128 -.32 1.78  145 -.83 1.92  158 -.37 .71  159 -.47 .84  160 -.53 1.01
164 -.97 .34  165 -.81 .47  166 -.6 .53  170 -.09 .75  171 -.1 .89  176 -.17 1.4  179 -.08 .65  180 -.05 .7
183 -.32 2.25  55 0 .71  90 0 .97  96 0 1.08  101 0 1.08  106 0 1.24  129 0 1.83  174 0 1.51  175 0 1.65
177 0 1.36  139 0 -1.19  151 0 -1.7
"""


def made_up_points() -> Array:
    points = np.zeros((POINTS, 2))
    words = _LEFT.split()
    for point, x, y in zip(words[::3], words[1::3], words[2::3], strict=True):
        points[int(point)] = float(x), float(y)
        if int(point) in OPPOSITE:
            points[OPPOSITE[int(point)]] = -float(x), float(y)
    for first, eye in ((2, -0.5), (10, 0.5)):
        turn = np.linspace(0, 2 * np.pi, 8, endpoint=False)
        points[first : first + 8] = np.stack([eye + 0.09 * np.sin(turn), 0.02 - 0.08 * np.cos(turn)], 1)
    for arc, wide, high in ((range(134, 145), 1.08, 1.0), (range(147, 156), 1.5, 1.75)):
        turn = np.linspace(-1.35, 1.35, len(arc))
        points[list(arc)] = np.stack([wide * np.sin(turn), -0.2 - high * np.cos(turn) * 0.99], 1)
    for ear, side in (((115, 116, 117, 118, 119), -1.3), ((120, 121, 122, 123, 124), 1.3)):
        points[list(ear)] = np.stack([np.full(5, side), np.linspace(0.0, 0.87, 5)], 1)
    points[[185, 186, 187, 188]] = (-1.11, 0.3), (-1.07, 0.66), (1.11, 0.3), (1.07, 0.66)
    points[[146, 156]] = (-1.35, 1.14), (1.35, 1.14)
    return points * 60.0 + (200.0, 190.0)


def drawn_photograph(points: Array) -> Frame:
    """A face before a grey wall: skin, hair, brows, eyes, lips and shirt in even colours."""
    image = np.full((400, 400, 3), 205, np.uint8)

    def fill(outline: Array, colour: tuple[int, int, int]) -> None:
        cv2.fillPoly(image, [np.round(outline).astype(np.int32)], colour, cv2.LINE_AA)

    cv2.ellipse(image, (200, 170), (85, 115), 0, 0, 360, (60, 40, 30), -1, cv2.LINE_AA)
    fill(np.array([[165, 270], [235, 270], [240, 340], [160, 340]]), (190, 140, 115))
    fill(np.array([[160, 330], [240, 330], [340, 360], [360, 400], [40, 400], [60, 360]]), (245, 245, 250))
    cv2.ellipse(image, (200, 195), (66, 105), 0, 0, 360, (205, 155, 130), -1, cv2.LINE_AA)
    for brow in ([71, 72, 73, 74, 75, 76, 84, 83], [82, 81, 80, 79, 78, 77, 85, 86]):
        fill(points[brow], (60, 40, 30))
    for eye, iris in (
        ([18, 19, 20, 21, 22, 30, 29, 28], range(2, 10)),
        ([23, 24, 25, 26, 27, 33, 32, 31], range(10, 18)),
    ):
        fill(points[eye], (240, 240, 240))
        fill(points[list(iris)], (40, 60, 90))
    fill(points[[87, 88, 89, 90, 91, 92, 93, 108, 107, 106, 105, 104]], (170, 80, 80))
    return image


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photographs")
    points = made_up_points()
    image = drawn_photograph(points)
    for number in (3, 5):
        for expression in ("neutral", "smiling"):
            cv2.imwrite(str(path / f"{number:03d}_{expression}.png"), image[..., ::-1])
    with (path / "faces.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "person", "expression"))
        writer.writerows((f"{n:03d}_{e}.png", f"{n:03d}", e) for n in (3, 5) for e in ("neutral", "smiling"))
    with (path / "points.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "point", "x", "y"))
        writer.writerows(
            (f"{n:03d}_neutral.png", i, f"{x:.2f}", f"{y:.2f}") for n in (3, 5) for i, (x, y) in enumerate(points)
        )
    return path


def look(identity: int = 0, skin_tone: int = 4) -> Look:
    return Look("adult", identity, skin_tone, "short", 0.1)


@pytest.fixture(scope="module")
def drawn(folder: Path) -> PhotographRenderer:
    return Photographs(folder).renderer(look())


def at(image: Frame, place: npt.ArrayLike) -> Array:
    """Mean colour of 3x3 pixels."""
    x, y = np.round(np.asarray(place)).astype(int)
    return np.asarray(image[y - 1 : y + 2, x - 1 : x + 2].reshape(-1, 3).mean(0))


def scaled(expression: Expression, by: float) -> Expression:
    return Expression(**{f.name: by * getattr(expression, f.name) for f in fields(expression)})


def test_the_face_is_where_the_view_says_and_the_background_shows_beside_it(drawn: PhotographRenderer) -> None:
    frame, marks = drawn.frame(NEUTRAL, VIEW, WALL), drawn.landmarks_px(NEUTRAL, VIEW)
    unit = 100.0 / 2.24
    assert marks[0] == pytest.approx([120 - 0.5 * unit, 100], abs=1.5)
    assert marks[1] == pytest.approx([120 + 0.5 * unit, 100], abs=1.5)
    assert at(frame, marks[0]) == pytest.approx((40, 60, 90), abs=25)
    assert at(frame, marks[2] + (0, 6)) == pytest.approx((205, 155, 130), abs=12)
    assert (frame[5:20, 5:20] == (30, 90, 40)).all()
    assert at(frame, (120, 235)) == pytest.approx((245, 245, 250), abs=12)


@pytest.mark.parametrize("unit", [f.name for f in fields(Expression)])
def test_every_unit_changes_the_face_evenly_with_its_strength(drawn: PhotographRenderer, unit: str) -> None:
    frames = [drawn.frame(Expression(**{unit: s}), VIEW, WALL).astype(float) for s in np.linspace(0, 1, 6)]
    steps = [np.abs(b - a).mean() for a, b in pairwise(frames)]
    assert min(steps) > 0.02
    assert max(steps) < 8 * min(steps), "a unit moves in a jump"
    assert np.abs(frames[-1] - frames[0])[:150, :50].max() < 3, "the unit changes what is beside the head"


def test_closed_lids_cover_the_iris_with_skin(drawn: PhotographRenderer) -> None:
    places = drawn.landmarks_px(NEUTRAL, VIEW)[:2] - (0, 2)
    closed = drawn.frame(Expression(eyes_closed=1.0), VIEW, WALL)
    for place in places:
        assert at(closed, place) == pytest.approx((205, 155, 130), abs=30)


def test_an_open_mouth_is_dark_with_teeth_above(drawn: PhotographRenderer) -> None:
    wide = replace(VIEW, face_width_px=160.0)
    closed, opened = (drawn.landmarks_px(e, wide) for e in (NEUTRAL, Expression(mouth_open=1.0)))
    frame = drawn.frame(Expression(mouth_open=1.0), wide, WALL)
    middle, line = closed[3:, 0].mean(), closed[3:, 1].mean()
    column = frame[round(line) - 6 : round(line) + 26, round(middle) - 3].astype(int)
    assert (column.max(1) < 90).any(), "no dark cavity"
    assert opened[3:, 1].min() > closed[3:, 1].max() + 3, "the corners do not follow the jaw"
    raised = drawn.frame(Expression(lip_raise=1.0), wide, WALL)
    column = raised[round(line) - 6 : round(line) + 3, round(middle) - 3].astype(int)
    assert (column.min(1) > 110).any(), "no teeth under the raised lip"


def test_pain_draws_the_brows_down_and_together(drawn: PhotographRenderer) -> None:
    def dark_rows(frame: Frame) -> float:
        forehead = frame[70:96, 85:110].astype(int).sum(2)
        return float((forehead < 250).sum(1) @ np.arange(26) / max((forehead < 250).sum(), 1))

    still, moved = drawn.frame(NEUTRAL, VIEW, WALL), drawn.frame(Expression(brow_lower=1.0), VIEW, WALL)
    assert dark_rows(moved) > dark_rows(still) + 1.5


def test_frames_of_neighbouring_strengths_differ_little(drawn: PhotographRenderer) -> None:
    frames = [drawn.frame(scaled(PAIN, s), VIEW, WALL).astype(float) for s in np.linspace(0.3, 0.4, 6)]
    steps = [np.abs(b - a).mean() for a, b in pairwise(frames)]
    assert max(steps) < 1.0
    assert max(steps) < 2.5 * min(steps)


def test_landmarks_follow_the_pose_and_a_large_turn_is_limited(drawn: PhotographRenderer) -> None:
    ahead = drawn.landmarks_px(NEUTRAL, VIEW)
    aside = drawn.landmarks_px(NEUTRAL, replace(VIEW, yaw_deg=12.0))
    assert aside[2, 0] - ahead[2, 0] > 2.0 + aside[:2, 0].mean() - ahead[:2, 0].mean()
    assert drawn.landmarks_px(NEUTRAL, replace(VIEW, yaw_deg=50.0)) == pytest.approx(aside)
    rolled = drawn.landmarks_px(NEUTRAL, replace(VIEW, roll_deg=90.0))
    assert rolled[1, 1] - rolled[0, 1] == pytest.approx(ahead[1, 0] - ahead[0, 0], abs=0.1)


def test_light_from_one_side_brightens_that_side(drawn: PhotographRenderer) -> None:
    def difference(azimuth_deg: float) -> float:
        frame = drawn.frame(NEUTRAL, replace(VIEW, light=Light(azimuth_deg, 20.0, contrast=0.8)), WALL).astype(float)
        return float(frame[105:125, 135:155].mean() - frame[105:125, 85:105].mean())

    assert difference(60.0) > 15
    assert difference(-60.0) < -15


def test_an_identity_is_one_person_and_others_differ_in_shape_and_tone(folder: Path) -> None:
    faces = Photographs(folder)
    frames = [faces.renderer(look(identity, 8)).frame(NEUTRAL, VIEW, WALL) for identity in (0, 2, 2, 4)]
    assert (frames[1] == frames[2]).all()
    assert np.abs(frames[0].astype(float) - frames[1]).mean() > 1
    assert np.abs(frames[1].astype(float) - frames[3]).mean() > 1
    cheek = (112, 118)
    assert at(frames[1], cheek).sum() < at(frames[0], cheek).sum() - 20


def test_a_mirrored_person_has_landmarks_from_left_to_right(folder: Path) -> None:
    faces, view = Photographs(folder), replace(VIEW, offset_px=(20.0, -10.0), roll_deg=20.0)
    for identity in (2, 4, 6, 8):
        marks = faces.renderer(look(identity)).landmarks_px(NEUTRAL, view)
        assert marks[:2].mean(0) == pytest.approx((140, 110), abs=4)
        assert marks[1, 0] > marks[0, 0]
        assert marks[1, 1] > marks[0, 1], "rolled to the other side"


def test_covers_hide_what_is_under_them(drawn: PhotographRenderer) -> None:
    bare = drawn.frame(PAIN, VIEW, WALL).astype(float)
    marks = drawn.landmarks_px(PAIN, VIEW)
    for kind, place in (
        ("mask", marks[3:].mean(0)),
        ("tube", marks[2] + (0, 8)),
        ("cpap", marks[2] + (0, 5)),
    ):
        covered = drawn.frame(PAIN, VIEW, WALL, Cover(kind))  # type: ignore[arg-type]
        assert np.abs(at(covered, place) - at(bare.astype(np.uint8), place)).max() > 25, kind
    hand = drawn.frame(PAIN, VIEW, WALL, Cover("hand", at=(0.0, -1.0)))
    assert (np.abs(hand - bare).max(2) > 20).sum() > 1500


def test_cover_without_an_edge_in_sight_is_drawn_evenly(drawn: PhotographRenderer) -> None:
    close = replace(VIEW, face_width_px=4000.0, offset_px=(0.0, -1500.0))
    assert (
        np.ptp(drawn.frame(NEUTRAL, close, WALL, Cover("hand", at=(0.0, -1.6)))[100:140, 100:140], axis=(0, 1)).max()
        < 20
    )


def test_a_smiling_photograph_blinks_but_does_not_grimace(folder: Path) -> None:
    smiling = Photographs(folder).smiling_renderer(look())
    still = smiling.frame(NEUTRAL, VIEW, WALL)
    assert (smiling.frame(Expression(mouth_open=1.0, brow_lower=1.0), VIEW, WALL) == still).all()
    assert (smiling.frame(Expression(eyes_closed=1.0), VIEW, WALL) != still).any()
    marks, neutral = (
        smiling.landmarks_px(NEUTRAL, VIEW),
        Photographs(folder).renderer(look()).landmarks_px(NEUTRAL, VIEW),
    )
    assert marks[:3] == pytest.approx(neutral[:3], abs=3)


def test_only_the_kept_people_are_used(folder: Path) -> None:
    assert Photographs(folder).people == (3, 5)
    assert Photographs(folder, keep=lambda number: number != 3).people == (5,)
    with pytest.raises(SettingsError, match="anybody"):
        Photographs(folder, keep=lambda number: number > 9)


def test_load_faces_takes_a_folder_of_photographs(folder: Path) -> None:
    faces = load_faces(folder)
    assert faces.age_groups == ("adult",)
    with pytest.raises(SettingsError, match="adults"):
        faces.renderer(Look("neonate", 0, 3, "none", 0.0))
    with pytest.raises(SettingsError, match="240x240"):
        faces.renderer(look()).frame(NEUTRAL, VIEW, WALL[:100])


def test_newborns_alone_from_photographs_of_adults_are_refused(folder: Path, tmp_path: Path) -> None:
    request = PhantomRequest(subjects=1, seed=1, minutes=0.1, age_groups="neonate", head_file=folder)
    with pytest.raises(SettingsError, match="has no neonates"):
        make_phantoms(request, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("points.csv", "file,point,x,y\n003_neutral.png,0,1.0,2.0\n", "all 189"),
        ("points.csv", "file,point,x,y\n003_neutral.png,400,1.0,2.0\n", "between 0 and 188"),
        ("points.csv", "file,point,x,y\n003_neutral.png,a,1.0,2.0\n", "003_neutral"),
        ("points.csv", "name,x\na,1\n", "columns"),
        ("faces.csv", "file,person,expression\n003_neutral.png,Ann,neutral\n", "Ann"),
        ("faces.csv", 'file,person,expression\n"' + 200_000 * "a" + '",3,neutral\n', "cannot be read"),
        ("003_neutral.png", "no image", "003_neutral"),
        ("003_neutral.png", "", "003_neutral"),
    ],
)
def test_malformed_folders_are_refused(folder: Path, tmp_path: Path, name: str, text: str, message: str) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / name).write_text(text)
    with pytest.raises(SettingsError, match=message):
        Photographs(tmp_path).renderer(look())


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_image_without_its_end_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"photograph{suffix}"
    rng = np.random.default_rng(1)
    cv2.imwrite(str(path), rng.integers(0, 255, (40, 60, 3)).astype(np.uint8))
    assert read_image(path, False, "").shape == (40, 60, 3)
    assert read_image(path, True, "").shape == (40, 60, 4)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(SettingsError, match="cut off"):
        read_image(path, False, "")
    with pytest.raises(SettingsError, match="No such file"):
        read_image(tmp_path / "absent.png", False, "")


def test_points_of_a_photograph_in_another_resolution_are_refused(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    for path in tmp_path.glob("*_neutral.png"):
        cv2.imwrite(str(path), cv2.resize(read_image(path, False, ""), (200, 200)))
    with pytest.raises(SettingsError, match="outside the photograph of 200x200"):
        Photographs(tmp_path).renderer(look())


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason=f"needs the photographs in {REAL}")
def test_real_photographs_grimace_and_smile() -> None:
    faces = Photographs(REAL, keep=lambda number: number in (1, 61))
    for identity in (0, 3):
        renderer, smiling = faces.renderer(look(identity)), faces.smiling_renderer(look(identity))
        still, pain = renderer.frame(NEUTRAL, VIEW, WALL), renderer.frame(PAIN, VIEW, WALL)
        marks = renderer.landmarks_px(PAIN, VIEW)
        change = np.abs(pain.astype(float) - still).mean(2)
        left, right = int(marks[0, 0]) - 12, int(marks[1, 0]) + 12
        assert change[int(marks[0, 1]) - 12 : int(marks[3, 1]) + 15, left:right].mean() > 8
        assert change[:, :10].max() < 3
        assert np.abs(smiling.frame(NEUTRAL, VIEW, WALL).astype(float) - still).mean() > 0.5


def test_face_units_put_the_pupils_half_a_unit_from_the_origin() -> None:
    points = made_up_points()
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    units, to_px = face_units(points @ turn.T)
    assert units[:2] == pytest.approx(np.array([[-0.5, 0.0], [0.5, 0.0]]))
    assert units @ to_px[:, :2].T + to_px[:, 2] == pytest.approx(points @ turn.T)
