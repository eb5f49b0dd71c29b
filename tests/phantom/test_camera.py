"""Cameras of wards: what they do to frames, where points go, and that the sites' cameras do none of it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest

from avpenet_cli.errors import SettingsError
from avpenet_cli.phantom.camera.effects import NO_EFFECTS, CameraEffects, draw_effects, map_points
from avpenet_cli.phantom.camera.imaging import apply, compress_jpeg, matching_jpeg_quality
from avpenet_cli.phantom.encode import bitrate_options, write_recording
from avpenet_cli.phantom.face.covers import Cover
from avpenet_cli.phantom.face.people import FaceRenderer, built_in_faces
from avpenet_cli.phantom.face.renderer import Frame, View
from avpenet_cli.phantom.head.model import Expression, Look, draw_look
from avpenet_cli.phantom.make import scenes
from avpenet_cli.phantom.scene import Scene, draw_scene, render_frames
from avpenet_cli.phantom.subjects import draw_subject
from avpenet_cli.study.subjects import read_subjects
from tests.conftest import Answer


class PreparedFaces:
    """The built-in persons, prepared once in all tests."""

    age_groups = built_in_faces().age_groups
    _prepared: ClassVar[dict[Look, FaceRenderer]] = {}

    def renderer(self, look: Look) -> FaceRenderer:
        if look not in self._prepared:
            self._prepared[look] = built_in_faces().renderer(look)
        return self._prepared[look]


def smooth_frame(seed: int = 0, size_px: tuple[int, int] = (96, 80)) -> Frame:
    frame = np.random.default_rng(seed).integers(0, 256, (size_px[1], size_px[0], 3), dtype=np.uint8)
    return np.asarray(cv2.GaussianBlur(frame, (0, 0), 3), np.uint8)


def levels(red: int, green: int, blue: int) -> Frame:
    return np.full((80, 96, 3), (red, green, blue), np.uint8)


def applied(frame: Frame, effects: CameraEffects, seed: int = 1, motion_px: tuple[float, float] = (0, 0)) -> Frame:
    return apply(frame, effects, np.random.default_rng(seed), motion_px)


def test_effects_are_those_of_the_random_state_and_leave_the_frame_alone() -> None:
    frame = smooth_frame()
    before = frame.copy()
    for seed in range(12):
        effects = draw_effects(np.random.default_rng(seed))
        assert effects == draw_effects(np.random.default_rng(seed))
        assert np.array_equal(applied(frame, effects, 3, (4, 1)), applied(frame, effects, 3, (4, 1)))
    assert np.array_equal(frame, before)
    noisy = CameraEffects(read_noise_levels=4.0)
    assert not np.array_equal(applied(frame, noisy, 1), applied(frame, noisy, 2))
    assert np.array_equal(applied(frame, NO_EFFECTS), frame)


def test_every_condition_is_drawn_and_phototherapy_for_newborns_only() -> None:
    rng = np.random.default_rng(5)
    neonates, adults = ([draw_effects(rng, group) for _ in range(300)] for group in ("neonate", "adult"))
    assert {effects.light for effects in neonates} == {"visible", "infrared", "low_light", "phototherapy"}
    assert {effects.light for effects in adults} == {"visible", "infrared", "low_light"}
    assert {effects.position for effects in adults} == {"upright", "on_side", "upside_down"}
    assert {effects.bitrate_kbits is None for effects in adults} == {True, False}
    assert NO_EFFECTS in adults


def test_infrared_is_monochrome_and_skin_is_lighter() -> None:
    infrared = CameraEffects(light="infrared", read_noise_levels=3.0, shot_noise=0.1, distortion_k1=-0.1)
    frame = applied(smooth_frame(), infrared)
    assert np.array_equal(frame[..., 0], frame[..., 1]) and np.array_equal(frame[..., 0], frame[..., 2])
    skin = levels(120, 80, 60)
    assert applied(skin, CameraEffects(light="infrared")).mean() > cv2.cvtColor(skin, cv2.COLOR_RGB2GRAY).mean() + 20


@pytest.mark.parametrize(("pupils", "expected"), [("bright", 200), ("dark", 40)])
def test_pupils_of_open_eyes_are_drawn_in_infrared(pupils: str, expected: int) -> None:
    frame, eyes_px = levels(150, 120, 110)[:, :90].copy(), np.array([[25.0, 40.0], [65.0, 40.0]])
    cv2.circle(frame, (26, 41), 5, (30, 25, 20), -1)
    effects = CameraEffects(light="infrared", pupils="bright" if pupils == "bright" else "dark")
    shown = apply(frame, effects, np.random.default_rng(0), eyes_px=eyes_px)[..., 0].astype(int)
    plain = apply(frame, effects, np.random.default_rng(0))[..., 0].astype(int)
    # The tone table lifts black.
    assert (shown[41, 26] > expected) if pupils == "bright" else (shown[41, 26] < plain[41, 26])
    # The other eye is closed.
    assert np.array_equal(shown[30:50, 55:75], plain[30:50, 55:75])


def test_low_light_is_darker_and_its_noise_grows_with_brightness_and_changes_with_time() -> None:
    effects = CameraEffects(light="low_light", exposure=0.3, read_noise_levels=2.0, shot_noise=0.5)
    dark, light = (applied(levels(value, value, value), effects).astype(float) for value in (40, 200))
    assert light.mean() == pytest.approx(200 * 0.3 ** (1 / 2.2), abs=2)
    assert light.std() == pytest.approx(np.sqrt(4 + 0.5 * light.mean()), rel=0.1)
    assert light.std() > 1.5 * dark.std()


def test_phototherapy_is_blue() -> None:
    red, green, blue = applied(levels(180, 140, 120), CameraEffects(phototherapy_share=1.0)).reshape(-1, 3).mean(0)
    assert blue > green + 20 > red + 40


def test_motion_blur_runs_along_the_motion() -> None:
    frame = np.zeros((80, 96, 3), np.uint8)
    frame[40, 48] = 255
    blurred = applied(frame, CameraEffects(shutter_frames=1.0), motion_px=(10.0, 0.0))[..., 0] > 0
    assert np.flatnonzero(blurred.any(0)).tolist() == list(range(43, 54))
    assert np.flatnonzero(blurred.any(1)).tolist() == [40]
    bar = np.zeros((80, 96, 3), np.uint8)
    bar[:, 46:51] = 240
    long = applied(bar, CameraEffects(shutter_frames=4.0), motion_px=(8.0, 0.0))[40, :, 0].astype(float)
    assert long.sum() == pytest.approx(240 * 5, rel=0.1)
    assert (long > 20).sum() == pytest.approx(33, abs=4)
    assert (long * np.arange(96)).sum() / long.sum() == pytest.approx(48.0, abs=0.5)
    assert np.array_equal(applied(frame, CameraEffects(shutter_frames=0.2), motion_px=(1.0, 0.0)), frame)


@pytest.mark.parametrize("k1", [-0.22, 0.15])
def test_points_move_with_the_distorted_frame(k1: float) -> None:
    effects, size_px = CameraEffects(distortion_k1=k1), (200, 150)
    points = np.array([[40.0, 30.0], [99.5, 74.5], [150.0, 100.0], [60.0, 120.0]])
    for point, expected in zip(points, map_points(points, effects, size_px), strict=True):
        x, y = np.meshgrid(np.arange(200), np.arange(150))
        spot = 255 * np.exp(-((x - point[0]) ** 2 + (y - point[1]) ** 2) / 18.0)
        frame = np.repeat(np.round(spot)[..., None], 3, 2).astype(np.uint8)
        weight = applied(frame, effects)[..., 0].astype(float)
        found = np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()
        assert found == pytest.approx(expected, abs=0.4)
    assert np.abs(map_points(points, effects, size_px) - points).max() > 2.0
    corners = np.array([[0.0, 0.0], [199.0, 149.0]])
    assert map_points(corners, effects, size_px) == pytest.approx(corners)


def test_vignetting_and_soft_focus() -> None:
    frame = applied(levels(200, 200, 200), CameraEffects(vignetting=0.5))
    assert frame[40, 48, 0] >= 199
    assert frame[0, 0, 0] == pytest.approx(200 * 0.5 ** (1 / 2.2), abs=2)
    noise = np.random.default_rng(2).integers(0, 256, (80, 96, 3), dtype=np.uint8)
    assert applied(noise, CameraEffects(focus_px=1.5)).std() < 0.5 * noise.std()


def test_invalid_frames_and_settings_are_refused() -> None:
    with pytest.raises(SettingsError, match="uint8"):
        apply(np.zeros((4, 4), np.uint8), NO_EFFECTS, np.random.default_rng(0))
    with pytest.raises(SettingsError, match="distortion_k1"):
        CameraEffects(distortion_k1=-0.4)
    with pytest.raises(SettingsError, match="quality"):
        compress_jpeg(smooth_frame(), 0)


def test_jpeg_compression_loses_detail_by_quality() -> None:
    frame = smooth_frame()
    loss = [np.abs(compress_jpeg(frame, quality).astype(int) - frame).mean() for quality in (10, 95)]
    assert loss[0] > 2 * loss[1] > 0
    clean, noisy = (CameraEffects(bitrate_kbits=300, read_noise_levels=noise) for noise in (0.0, 9.0))
    assert matching_jpeg_quality(clean) == 34
    assert matching_jpeg_quality(noisy) == 8
    assert matching_jpeg_quality(NO_EFFECTS) is None


@pytest.mark.parametrize("kind", ["cpap", "tape"])
def test_ward_covers_hide_part_of_the_lower_face(kind: str) -> None:
    renderer = PreparedFaces().renderer(draw_look("neonate", np.random.default_rng(3)))
    view, background = View(160, 160, 90.0), np.full((160, 160, 3), 90, np.uint8)
    bare = renderer.frame(Expression(), view, background).astype(int)
    covered = renderer.frame(Expression(), view, background, Cover("cpap" if kind == "cpap" else "tape"))
    changed = np.abs(covered - bare).max(2) > 12
    eyes, _, mouth = np.split(renderer.landmarks_px(Expression(), view), [2, 3])
    between = slice(round(float(eyes[:, 1].mean())), round(float(mouth[:, 1].mean())) + 8)
    assert changed[between].sum() > 60
    # Eyes stay visible.
    for x, y in eyes.round().astype(int):
        assert not changed[y - 3 : y + 4, x - 6 : x + 7].any()


def ward_scene(light: str, position: str) -> Scene:
    for seed in range(100):
        scene = draw_scene(draw_subject(0, 5, "both"), 1.0, seed, (160, 120), 5.0, "ward")
        if scene.effects.light == light and scene.effects.position == position:
            return scene
    raise AssertionError(f"no scene with {light}, {position}")


def test_site_cameras_have_no_effects_and_ward_cameras_change_only_what_is_seen() -> None:
    subject = draw_subject(0, 5, "both")
    site, ward = (draw_scene(subject, 2.0, 9, (160, 120), 5.0, choice) for choice in ("site", "ward"))
    assert site.effects == NO_EFFECTS
    assert site.cover.kind in ("none", "mask", "tube", "hand")
    assert ward.effects != NO_EFFECTS
    assert np.array_equal(site.trajectory.pain, ward.trajectory.pain)
    assert np.array_equal(site.motion.units, ward.motion.units)
    assert (site.utterances, site.non_pain, site.visitor) == (ward.utterances, ward.non_pain, ward.visitor)
    # A ward's scene without its effects is the site's, to the byte.
    plain = replace(ward, effects=NO_EFFECTS, view=site.view, cover=site.cover, covered_s=site.covered_s)
    for first, second in zip(frames(plain), frames(site), strict=True):
        assert first.tobytes() == second.tobytes()
    assert frames(ward)[0].tobytes() != frames(site)[0].tobytes()


def frames(scene: Scene) -> list[Frame]:
    return list(islice(render_frames(scene, PreparedFaces()), 2))


def test_patient_on_the_side_is_rolled_and_infrared_scenes_are_monochrome() -> None:
    scene = ward_scene("infrared", "on_side")
    frame = frames(scene)[0]
    assert np.array_equal(frame[..., 0], frame[..., 2])
    renderer = PreparedFaces().renderer(scene.subject.look)
    view = replace(scene.view, roll_deg=scene.effects.patient_roll_deg)
    left, right = renderer.landmarks_px(Expression(), view)[:2]
    across, down = np.abs(right - left)
    assert down > 1.5 * across


def test_bitrate_is_kept(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    noisy = CameraEffects(light="low_light", read_noise_levels=9.0, shot_noise=0.5)
    frame = smooth_frame(1, (240, 180))
    clip = [apply(frame, noisy, rng) for _ in range(50)]
    path = tmp_path / "clip.mp4"
    write_recording(path, clip, (240, 180), 25.0, None, bitrate_options(300))
    command = ["ffprobe", "-v", "error", "-show_entries", "stream=bit_rate", "-of", "json", str(path)]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert int(found["streams"][0]["bit_rate"]) == pytest.approx(300_000, rel=0.2)


@pytest.mark.slow
def test_command_makes_ward_recordings_whose_conditions_are_in_the_tables(
    tmp_path: Path, avpenet_here: Callable[..., Answer]
) -> None:
    small = ("--size", "160x120", "--fps", "5", "--minutes", "0.1", "-q", "--jobs", 1, "--subjects", 1)
    result = avpenet_here("phantom", "make", "--out", tmp_path / "set", "--camera", "ward", *small)
    assert result.code == 0, result.err
    assert json.loads((tmp_path / "set" / "phantoms.json").read_text())["order"]["camera"] == "ward"
    table = read_subjects(tmp_path / "set" / "subjects.csv")
    assert {"light", "position"} <= set(table.columns)
    assert set(scenes(tmp_path / "set")) == {path.name for path in (tmp_path / "set").glob("*.mp4")}
    other = avpenet_here("phantom", "make", "--out", tmp_path / "set", "--camera", "site", *small)
    assert other.code == 2
    wrong = avpenet_here("phantom", "make", "--out", tmp_path / "x", "--camera", "zoo", *small)
    assert wrong.code == 2 and "use site or ward" in wrong.err
