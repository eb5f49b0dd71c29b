"""Faces in frames, whichever way up."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from avpenet_cli.face.align import align
from avpenet_cli.face.detect import CHUNK_FRAMES, Face, FaceDetector, TurningDetector
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
    """Ten frames, a second, of one face."""
    return [np.ascontiguousarray(frame) for frame in portrait_frames(1.0, 240, 180, 10.0)]


@pytest.fixture(scope="module")
def nobody() -> Frames:
    """Ten frames of the chest, without a face."""
    frames = list(portrait_frames(4.0, 240, 180, 10.0, away_s=(0.0, 4.0)))
    return frames[10:20]


def needing(frames: Frames, turn_deg: int) -> Frames:
    """The frames, lying so that a clockwise turn of `turn_deg` puts them upright."""
    return [np.ascontiguousarray(np.rot90(frame, turn_deg // 90)) for frame in frames]


def assert_same(one: list[Face], other: list[Face], tolerance_px: float = 1.0) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a.box, b.box, atol=tolerance_px)
        np.testing.assert_allclose(a.eyes, b.eyes, atol=tolerance_px)
        assert a.confidence == pytest.approx(b.confidence, abs=1e-3)
        assert a.turn_deg == b.turn_deg


def turns(found: list[list[Face]]) -> list[int | None]:
    """The turn of each frame's widest face."""
    return [faces[0].turn_deg if faces else None for faces in found]


def test_noise_or_darkness_has_a_face(detector: FaceDetector) -> None:
    rng = np.random.default_rng(3)
    frames = [
        np.zeros((180, 240, 3), np.uint8),
        np.full((180, 240, 3), 255, np.uint8),
        *(rng.integers(0, 256, (180, 240, 3), dtype=np.uint8) for _ in range(2)),
        cv2.resize(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8), (240, 180)),
    ]
    for turn_deg in TURNS:
        assert detector.detect(frames, turn_deg) == [[]] * len(frames)
    assert TurningDetector(detector, SETTINGS).detect(frames) == [[]] * len(frames)


def test_a_picture_that_stays_is_looked_at_again_or_its_faces_go_to_others(
    detector: FaceDetector, portrait: Frames, nobody: Frames
) -> None:
    """Of a camera with few frames a second, several places of the grid show one frame."""
    shown = [portrait[0], portrait[0].copy(), nobody[0], nobody[0], portrait[9], portrait[0]]
    looked_at: list[int] = []
    cascade = detector._cascade

    def counted(batch: np.ndarray) -> tuple[object, object]:
        looked_at.append(len(batch))
        return cascade(batch)

    detector._cascade = counted  # type: ignore[method-assign]
    try:
        found = detector.detect(shown)
    finally:
        detector._cascade = cascade  # type: ignore[method-assign]
    assert looked_at == [4]
    assert [len(faces) for faces in found] == [1, 1, 0, 0, 1, 1]
    for one, frame in zip(found, shown, strict=True):
        assert_same(one, detector.detect([frame])[0], 0.01)


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (23, 23), (24, 24), (25, 400), (400, 25), (3, 4000), (48, 24)])
@pytest.mark.parametrize("turn_deg", [0, 90])
def test_tiny_frame_crashes(detector: FaceDetector, size: tuple[int, int], turn_deg: int) -> None:
    frame = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    assert detector.detect([frame, frame], turn_deg) == [[], []]


def test_frame_as_small_as_the_smallest_face_crashes() -> None:
    """Rounding can leave not a single step in the detector's pyramid; facenet-pytorch then joins an empty list."""
    sides = [side for side in range(12, 1000) if side * (12.0 / side) < 12][:2]
    assert sides
    for side in sides:
        small = FaceDetector(FaceSettings(min_face_px=side), torch.device("cpu"))
        assert small.detect([np.full((side, side, 3), 90, np.uint8)]) == [[]]


def test_no_frames_crash(detector: FaceDetector) -> None:
    assert detector.detect([]) == []


def test_face_depends_on_its_neighbours(detector: FaceDetector, portrait: Frames, nobody: Frames) -> None:
    noise = np.random.default_rng(2).integers(0, 256, portrait[0].shape, dtype=np.uint8)
    mixed = [portrait[0], nobody[0], noise, portrait[4], np.zeros_like(noise), portrait[9][:, ::-1], *portrait[5:9]]
    together = detector.detect(mixed)
    assert [len(faces) for faces in together] == [1, 0, 0, 1, 0, 1, 1, 1, 1, 1]
    for frame, faces in zip(mixed, together, strict=True):
        assert_same(detector.detect([frame])[0], faces)
    assert_same(detector.detect(mixed[::-1])[0], together[-1])


def test_one_face_is_none_or_several(detector: FaceDetector, portrait: Frames) -> None:
    for faces in detector.detect(portrait):
        (face,) = faces
        assert 0.99 < face.confidence <= 1
        assert face.evidence > 0.9
        assert face.eyes[0][0] < face.eyes[1][0]
        middle = (face.box[:2] + face.box[2:]) / 2
        np.testing.assert_allclose(middle, [120, 65], atol=10)
        assert 40 < face.width_px < 90


@pytest.mark.parametrize("turn_deg", TURNS)
def test_turned_frame_gives_another_face_or_crop(detector: FaceDetector, portrait: Frames, turn_deg: int) -> None:
    upright = detector.detect(portrait[:3])
    lying = needing(portrait[:3], turn_deg)
    for frame, source, (wanted,), (face,) in zip(
        portrait, lying, upright, detector.detect(lying, turn_deg), strict=False
    ):
        assert face.turn_deg == turn_deg
        assert face.width_px == pytest.approx(wanted.width_px, abs=0.5)
        left, top, right, bottom = face.box
        assert 0 <= left < right <= source.shape[1] + 5
        assert 0 <= top < bottom <= source.shape[0] + 5
        difference = align(source, face, SETTINGS).astype(int) - align(frame, wanted, SETTINGS)
        assert np.abs(difference).mean() < 2


@pytest.mark.parametrize("scale", [2, 5])
def test_large_frame_moves_the_face(detector: FaceDetector, portrait: Frames, scale: int) -> None:
    (small,) = detector.detect(portrait[:1])[0]
    large = cv2.resize(portrait[0], None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    (face,) = detector.detect([large])[0]
    np.testing.assert_allclose(face.box / scale, small.box, atol=0.1 * small.width_px)
    np.testing.assert_allclose(face.eyes / scale, small.eyes, atol=0.05 * small.width_px)


def test_widest_face_is_not_first(detector: FaceDetector, portrait: Frames) -> None:
    large = cv2.resize(portrait[0], (360, 270))
    frame = np.zeros((270, 600, 3), np.uint8)
    frame[:180, :240] = portrait[0]
    frame[:, 240:] = large
    faces = detector.detect([frame])[0]
    assert len(faces) == 2
    assert faces[0].width_px > 1.2 * faces[1].width_px
    assert faces[0].box[0] > 240 > faces[1].box[2]


def test_uncertain_face_is_a_face(portrait: Frames) -> None:
    strict = FaceDetector(FaceSettings(min_confidence=1.0), torch.device("cpu"))
    dim = [cv2.GaussianBlur(frame, (0, 0), 2.0) for frame in portrait[:3]]
    for faces in strict.detect(dim):
        assert all(face.confidence == 1.0 for face in faces)


def test_same_frames_give_other_faces(detector: FaceDetector, portrait: Frames) -> None:
    first, second = detector.detect(portrait), detector.detect(portrait)
    for one, other in zip(first, second, strict=True):
        assert_same(one, other, 0.0)


@pytest.mark.parametrize("turn_deg", TURNS)
def test_lying_face_is_not_found(detector: FaceDetector, portrait: Frames, turn_deg: int) -> None:
    found = TurningDetector(detector, SETTINGS).detect(needing(portrait, turn_deg))
    assert turns(found) == [turn_deg] * CHUNK_FRAMES
    upright = detector.detect(portrait)
    for faces, wanted in zip(found, upright, strict=True):
        assert faces[0].width_px == pytest.approx(wanted[0].width_px, abs=0.5)


def test_camera_that_is_turned_midway_loses_the_face(detector: FaceDetector, portrait: Frames) -> None:
    turning = TurningDetector(detector, SETTINGS)
    for turn_deg in (0, 270, 90, 180, 0):
        assert turns(turning.detect(needing(portrait, turn_deg))) == [turn_deg] * CHUNK_FRAMES


def test_turn_within_a_chunk_loses_all_of_it(detector: FaceDetector, portrait: Frames) -> None:
    turning = TurningDetector(detector, SETTINGS)
    half = CHUNK_FRAMES // 2
    found = turning.detect(portrait[:half] + [frame.copy() for frame in needing(portrait, 180)[half:]])
    assert turns(found)[:half] == [0] * half
    assert turns(turning.detect(needing(portrait, 180))) == [180] * CHUNK_FRAMES


def test_turn_is_forgotten_while_nobody_is_there(detector: FaceDetector, portrait: Frames, nobody: Frames) -> None:
    turning = TurningDetector(detector, SETTINGS)
    lying, empty = needing(portrait, 90), needing(nobody, 90)
    assert turns(turning.detect(lying)) == [90] * CHUNK_FRAMES
    assert turns(turning.detect(empty)) == [None] * CHUNK_FRAMES
    assert turns(turning.detect(empty[:7] + lying[7:])) == [None] * 7 + [90] * 3
    assert turns(turning.detect(lying)) == [90] * CHUNK_FRAMES


def test_face_none_face_is_found_lying(detector: FaceDetector, portrait: Frames, nobody: Frames) -> None:
    turning = TurningDetector(detector, SETTINGS)
    for frames, turn in ((portrait, 0), (nobody, None), (portrait, 0)):
        assert turns(turning.detect(frames)) == [turn] * CHUNK_FRAMES


@pytest.mark.parametrize("length", [1, 2, 4])
def test_last_chunk_is_too_short_to_be_turned(detector: FaceDetector, portrait: Frames, length: int) -> None:
    found = TurningDetector(detector, SETTINGS).detect(needing(portrait[:length], 180))
    assert turns(found) == [180] * length


def test_turns_that_are_switched_off_are_tried(detector: FaceDetector, portrait: Frames) -> None:
    only_upright = TurningDetector(detector, FaceSettings(rotations_deg=(0,)))
    assert set(turns(only_upright.detect(needing(portrait, 180)))) <= {None, 0}


def test_real_recording_of_one_face_is_turned(shared: Path) -> None:
    path = shared / "data" / "videos" / "pyfeat_face_noface.mov"
    frames = [frame.rgb for frame in FrameStream(path, probe(path, DecodingSettings()), DecodingSettings())]
    turning = TurningDetector(FaceDetector(SETTINGS, torch.device("cpu")), SETTINGS)
    found = [faces for at in range(0, len(frames), CHUNK_FRAMES) for faces in turning.detect(frames[at : at + 10])]
    assert turns(found)[:22] == [0] * 22
    assert sum(bool(faces) for faces in found[26:]) <= 2
