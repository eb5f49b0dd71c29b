"""Face detection at every orientation of the frame."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from avpenet_cli.face.align import align
from avpenet_cli.face.detect import CHUNK_FRAMES, Face, FaceDetector, RotatingDetector
from avpenet_cli.face.mtcnn.cascade import ImageFaces
from avpenet_cli.media.frame_image import RgbImage, whole
from avpenet_cli.media.probe import probe
from avpenet_cli.media.video import FrameStream
from avpenet_cli.settings import DecodingSettings, FaceSettings
from tests.support.portraits import portrait_frames

SETTINGS = FaceSettings()
TURNS = [0, 90, 180, 270]
Frames = list[np.ndarray]


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector(SETTINGS, torch.device("cpu"))


@pytest.fixture(scope="module")
def portrait() -> Frames:
    """One second of one face: ten frames."""
    return [np.ascontiguousarray(frame) for frame in portrait_frames(1.0, 240, 180, 10.0)]


@pytest.fixture(scope="module")
def nobody() -> Frames:
    """Ten frames of the chest, without a face."""
    frames = list(portrait_frames(4.0, 240, 180, 10.0, away_s=(0.0, 4.0)))
    return frames[10:20]


def images(frames: Sequence[np.ndarray]) -> list[RgbImage]:
    return [RgbImage(frame) for frame in frames]


def rotated(frames: Frames, turn_deg: int) -> Frames:
    """The frames rotated so that a clockwise rotation by `turn_deg` brings them upright."""
    return [np.ascontiguousarray(np.rot90(frame, turn_deg // 90)) for frame in frames]


def assert_same(faces: list[Face], expected: list[Face], tolerance_px: float = 1.0) -> None:
    assert len(faces) == len(expected)
    for a, b in zip(faces, expected, strict=True):
        np.testing.assert_allclose(a.box, b.box, atol=tolerance_px)
        np.testing.assert_allclose(a.eyes, b.eyes, atol=tolerance_px)
        assert a.confidence == pytest.approx(b.confidence, abs=1e-3)
        assert a.turn_deg == b.turn_deg


def turns(detections: list[list[Face]]) -> list[int | None]:
    """The rotation of each frame's widest face."""
    return [faces[0].turn_deg if faces else None for faces in detections]


def test_noise_and_darkness_have_no_face(detector: FaceDetector) -> None:
    rng = np.random.default_rng(3)
    frames = [
        np.zeros((180, 240, 3), np.uint8),
        np.full((180, 240, 3), 255, np.uint8),
        *(rng.integers(0, 256, (180, 240, 3), dtype=np.uint8) for _ in range(2)),
        cv2.resize(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8), (240, 180)),
    ]
    for turn_deg in TURNS:
        assert detector.detect(images(frames), turn_deg) == [[]] * len(frames)
    assert RotatingDetector(detector, SETTINGS).detect(images(frames)) == [[]] * len(frames)


def test_repeated_frames_are_processed_once_and_keep_their_faces(
    detector: FaceDetector, portrait: Frames, nobody: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A camera below 10 fps fills several slots of the grid with one frame."""
    frames = [portrait[0], portrait[0].copy(), nobody[0], nobody[0], portrait[9], portrait[0]]
    batch_sizes: list[int] = []
    detect = detector._cascade.detect

    def counted(images: np.ndarray) -> list[ImageFaces]:
        batch_sizes.append(len(images))
        return detect(images)

    monkeypatch.setattr(detector._cascade, "detect", counted)
    detections = detector.detect(images(frames))
    monkeypatch.undo()
    assert batch_sizes == [4]
    assert [len(faces) for faces in detections] == [1, 1, 0, 0, 1, 1]
    for faces, frame in zip(detections, frames, strict=True):
        assert_same(faces, detector.detect(images([frame]))[0], 0.01)


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (23, 23), (24, 24), (25, 400), (400, 25), (3, 4000), (48, 24)])
@pytest.mark.parametrize("turn_deg", [0, 90])
def test_tiny_frame_has_no_face(detector: FaceDetector, size: tuple[int, int], turn_deg: int) -> None:
    frame = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    assert detector.detect(images([frame, frame]), turn_deg) == [[], []]


def test_frame_as_small_as_the_smallest_face_has_no_face() -> None:
    """Rounding can leave the detector's pyramid without any level."""
    sides = [side for side in range(12, 1000) if side * (12.0 / side) < 12][:2]
    assert sides
    for side in sides:
        small = FaceDetector(FaceSettings(min_face_px=side), torch.device("cpu"))
        assert small.detect(images([np.full((side, side, 3), 90, np.uint8)])) == [[]]


def test_no_frames_give_no_detections(detector: FaceDetector) -> None:
    assert detector.detect([]) == []


def test_detections_do_not_depend_on_the_other_frames_of_the_batch(
    detector: FaceDetector, portrait: Frames, nobody: Frames
) -> None:
    noise = np.random.default_rng(2).integers(0, 256, portrait[0].shape, dtype=np.uint8)
    mixed = [portrait[0], nobody[0], noise, portrait[4], np.zeros_like(noise), portrait[9][:, ::-1], *portrait[5:9]]
    together = detector.detect(images(mixed))
    assert [len(faces) for faces in together] == [1, 0, 0, 1, 0, 1, 1, 1, 1, 1]
    for frame, faces in zip(mixed, together, strict=True):
        assert_same(detector.detect(images([frame]))[0], faces)
    assert_same(detector.detect(images(mixed[::-1]))[0], together[-1])


def test_one_face_is_detected_once(detector: FaceDetector, portrait: Frames) -> None:
    for faces in detector.detect(images(portrait)):
        (face,) = faces
        assert 0.99 < face.confidence <= 1
        assert face.evidence > 0.9
        assert face.eyes[0][0] < face.eyes[1][0]
        middle = (face.box[:2] + face.box[2:]) / 2
        np.testing.assert_allclose(middle, [120, 65], atol=10)
        assert 40 < face.width_px < 90


@pytest.mark.parametrize("turn_deg", TURNS)
def test_turned_frame_gives_another_face_or_crop(detector: FaceDetector, portrait: Frames, turn_deg: int) -> None:
    upright = detector.detect(images(portrait[:3]))
    sideways = rotated(portrait[:3], turn_deg)
    for frame, source, (expected,), (face,) in zip(
        portrait, sideways, upright, detector.detect(images(sideways), turn_deg), strict=False
    ):
        assert face.turn_deg == turn_deg
        assert face.width_px == pytest.approx(expected.width_px, abs=0.5)
        left, top, right, bottom = face.box
        assert 0 <= left < right <= source.shape[1] + 5
        assert 0 <= top < bottom <= source.shape[0] + 5
        difference = align(RgbImage(source), face, SETTINGS).astype(int) - align(RgbImage(frame), expected, SETTINGS)
        assert np.abs(difference).mean() < 2


@pytest.mark.parametrize("scale", [2, 5])
def test_face_position_scales_with_the_frame(detector: FaceDetector, portrait: Frames, scale: int) -> None:
    (small,) = detector.detect(images(portrait[:1]))[0]
    large = cv2.resize(portrait[0], None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    (face,) = detector.detect(images([large]))[0]
    np.testing.assert_allclose(face.box / scale, small.box, atol=0.1 * small.width_px)
    np.testing.assert_allclose(face.eyes / scale, small.eyes, atol=0.05 * small.width_px)


def test_widest_face_comes_first(detector: FaceDetector, portrait: Frames) -> None:
    large = cv2.resize(portrait[0], (360, 270))
    frame = np.zeros((270, 600, 3), np.uint8)
    frame[:180, :240] = portrait[0]
    frame[:, 240:] = large
    faces = detector.detect(images([frame]))[0]
    assert len(faces) == 2
    assert faces[0].width_px > 1.2 * faces[1].width_px
    assert faces[0].box[0] > 240 > faces[1].box[2]


def test_faces_below_the_confidence_threshold_are_dropped(portrait: Frames) -> None:
    strict = FaceDetector(FaceSettings(min_confidence=1.0), torch.device("cpu"))
    dim = [cv2.GaussianBlur(frame, (0, 0), 2.0) for frame in portrait[:3]]
    for faces in strict.detect(images(dim)):
        assert all(face.confidence == 1.0 for face in faces)


def test_same_frames_give_the_same_faces(detector: FaceDetector, portrait: Frames) -> None:
    first, second = detector.detect(images(portrait)), detector.detect(images(portrait))
    for faces, expected in zip(first, second, strict=True):
        assert_same(faces, expected, 0.0)


@pytest.mark.parametrize("turn_deg", TURNS)
def test_sideways_face_is_found_at_every_rotation(detector: FaceDetector, portrait: Frames, turn_deg: int) -> None:
    detections = RotatingDetector(detector, SETTINGS).detect(images(rotated(portrait, turn_deg)))
    assert turns(detections) == [turn_deg] * CHUNK_FRAMES
    upright = detector.follow(images(portrait))
    for faces, expected in zip(detections, upright, strict=True):
        assert faces[0].width_px == pytest.approx(expected[0].width_px, abs=0.5)


def test_camera_turned_midway_keeps_the_face(detector: FaceDetector, portrait: Frames) -> None:
    rotating = RotatingDetector(detector, SETTINGS)
    for turn_deg in (0, 270, 90, 180, 0):
        assert turns(rotating.detect(images(rotated(portrait, turn_deg)))) == [turn_deg] * CHUNK_FRAMES


def test_turn_within_a_chunk_keeps_the_first_half(detector: FaceDetector, portrait: Frames) -> None:
    rotating = RotatingDetector(detector, SETTINGS)
    half = CHUNK_FRAMES // 2
    detections = rotating.detect(images(portrait[:half] + [frame.copy() for frame in rotated(portrait, 180)[half:]]))
    assert turns(detections)[:half] == [0] * half
    assert turns(rotating.detect(images(rotated(portrait, 180)))) == [180] * CHUNK_FRAMES


def test_rotation_is_kept_while_no_face_is_visible(detector: FaceDetector, portrait: Frames, nobody: Frames) -> None:
    rotating = RotatingDetector(detector, SETTINGS)
    sideways, empty = rotated(portrait, 90), rotated(nobody, 90)
    assert turns(rotating.detect(images(sideways))) == [90] * CHUNK_FRAMES
    assert turns(rotating.detect(images(empty))) == [None] * CHUNK_FRAMES
    assert turns(rotating.detect(images(empty[:7] + sideways[7:]))) == [None] * 7 + [90] * 3
    assert turns(rotating.detect(images(sideways))) == [90] * CHUNK_FRAMES


def test_face_that_returns_is_found_upright(detector: FaceDetector, portrait: Frames, nobody: Frames) -> None:
    rotating = RotatingDetector(detector, SETTINGS)
    for frames, turn in ((portrait, 0), (nobody, None), (portrait, 0)):
        assert turns(rotating.detect(images(frames))) == [turn] * CHUNK_FRAMES


@pytest.mark.parametrize("length", [1, 2, 4])
def test_short_last_chunk_is_rotated(detector: FaceDetector, portrait: Frames, length: int) -> None:
    detections = RotatingDetector(detector, SETTINGS).detect(images(rotated(portrait[:length], 180)))
    assert turns(detections) == [180] * length


def test_disabled_rotations_are_not_tried(detector: FaceDetector, portrait: Frames) -> None:
    only_upright = RotatingDetector(detector, FaceSettings(rotations_deg=(0,)))
    assert set(turns(only_upright.detect(images(rotated(portrait, 180))))) <= {None, 0}


def test_real_recording_of_one_face_stays_upright(shared: Path) -> None:
    path = shared / "data" / "videos" / "pyfeat_face_noface.mov"
    frames = [whole(frame.image) for frame in FrameStream(path, probe(path, DecodingSettings()), DecodingSettings())]
    rotating = RotatingDetector(FaceDetector(SETTINGS, torch.device("cpu")), SETTINGS)
    detections = [
        faces for at in range(0, len(frames), CHUNK_FRAMES) for faces in rotating.detect(images(frames[at : at + 10]))
    ]
    assert turns(detections)[:22] == [0] * 22
    assert sum(bool(faces) for faces in detections[26:]) <= 2
