"""Following faces between key frames: the faces are those of a search in every frame."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from avpenet_cli.face.detect import CHUNK_FRAMES, Face, FaceDetector
from avpenet_cli.face.keyframes import KEY_SPACING, key_frames
from avpenet_cli.face.mtcnn.cascade import ImageFaces
from avpenet_cli.media.frame_image import RgbImage
from avpenet_cli.media.probe import probe
from avpenet_cli.media.video import FrameStream
from avpenet_cli.settings import DecodingSettings, FaceSettings
from tests.support.portraits import portrait_frames

Frames = list[np.ndarray]


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector(FaceSettings(), torch.device("cpu"))


@pytest.fixture(scope="module")
def portrait() -> Frames:
    """One second of one face under a moving camera: ten frames."""
    return list(portrait_frames(1.0, 240, 180, 10.0))


@pytest.fixture(scope="module")
def nobody() -> Frames:
    """Ten frames of the chest, without a face."""
    return list(portrait_frames(4.0, 240, 180, 10.0, away_s=(0.0, 4.0)))[10:20]


@pytest.fixture
def searched(detector: FaceDetector, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of images that were searched, one entry for each call."""
    counts: list[int] = []
    search = detector._cascade.detect

    def counted(images: np.ndarray) -> list[ImageFaces]:
        counts.append(len(images))
        return search(images)

    monkeypatch.setattr(detector._cascade, "detect", counted)
    return counts


def images(frames: Sequence[np.ndarray]) -> list[RgbImage]:
    return [RgbImage(np.ascontiguousarray(frame)) for frame in frames]


def overlap(a: Face, b: Face) -> float:
    shared = np.prod(np.maximum(np.minimum(a.box[2:], b.box[2:]) - np.maximum(a.box[:2], b.box[:2]), 0))
    areas = [np.prod(face.box[2:] - face.box[:2]) for face in (a, b)]
    return float(shared / (sum(areas) - shared))


def assert_same_faces(detector: FaceDetector, frames: Frames, turn_deg: int = 0) -> list[list[Face]]:
    """Following gives every face that a search in every frame gives, at the same place."""
    followed = detector.follow(images(frames), turn_deg)
    for number, (faces, expected) in enumerate(zip(followed, detector.detect(images(frames), turn_deg), strict=True)):
        assert len(faces) == len(expected), number
        for face in expected:
            nearest = max(faces, key=lambda other: overlap(other, face))
            assert overlap(nearest, face) > 0.8
            assert np.abs(nearest.eyes - face.eyes).max() < 0.06 * face.width_px
            assert nearest.confidence == pytest.approx(face.confidence, abs=0.05)
            assert nearest.turn_deg == turn_deg
    return followed


@pytest.mark.parametrize("count", range(1, 24))
def test_key_frames_include_both_ends_and_leave_no_long_gap(count: int) -> None:
    keys = key_frames(range(count))
    assert keys[0] == 0
    assert keys[-1] == count - 1
    assert max(np.diff(keys), default=0) <= KEY_SPACING


@pytest.mark.parametrize(
    ("slots", "keys"),
    [
        (range(40, 50), [0, 4, 9]),
        ([0, 1, 2, 8, 9], [0, 2, 3, 4]),
        ([0, 9], [0, 1]),
        ([3], [0]),
        ([0, 1, 2, 3, 4, 9], [0, 4, 5]),
    ],
)
def test_missing_frames_do_not_stretch_the_distance_of_key_frames(slots: Sequence[int], keys: list[int]) -> None:
    assert key_frames(slots) == keys


def test_face_is_expected_by_the_time_of_its_frame(detector: FaceDetector, portrait: Frames) -> None:
    """With frames missing in between, where a face is expected depends on when, not on which number the frame has."""
    slots = [0, 1, 3]
    frames = [portrait[slot] for slot in slots]
    wanted: list[np.ndarray] = []
    measure = detector._cascade.measure

    def noted(some: np.ndarray, squares: Sequence[np.ndarray]) -> list[ImageFaces]:
        wanted.extend(squares)
        return measure(some, squares)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detector._cascade, "measure", noted)
        detector.follow(images(frames), slots=slots)
    first, last = (detector._cascade.detect(np.ascontiguousarray(frame)[None])[0].squares for frame in frames[::2])
    np.testing.assert_allclose(wanted[0], 2 / 3 * first + 1 / 3 * last, atol=1e-3)


def test_steady_face_is_searched_in_key_frames_only(
    detector: FaceDetector, portrait: Frames, searched: list[int]
) -> None:
    followed = detector.follow(images(portrait))
    assert searched == [3]
    assert [len(faces) for faces in followed] == [1] * CHUNK_FRAMES
    boxes = np.array([faces[0].box for faces in followed])
    assert len(np.unique(boxes, axis=0)) == CHUNK_FRAMES


@pytest.mark.parametrize("turn_deg", [0, 90, 180, 270])
def test_faces_equal_those_of_a_search_in_every_frame(detector: FaceDetector, portrait: Frames, turn_deg: int) -> None:
    assert_same_faces(detector, [np.rot90(frame, turn_deg // 90) for frame in portrait], turn_deg)


def test_same_frames_give_the_same_faces(detector: FaceDetector, portrait: Frames) -> None:
    first, second = (detector.follow(images(portrait)) for _ in range(2))
    for faces, expected in zip(first, second, strict=True):
        np.testing.assert_array_equal(faces[0].box, expected[0].box)
        np.testing.assert_array_equal(faces[0].eyes, expected[0].eyes)


@pytest.mark.parametrize("cut", range(1, CHUNK_FRAMES))
def test_cut_to_another_person_at_the_same_place(detector: FaceDetector, portrait: Frames, cut: int) -> None:
    """The other person looks the other way and is larger; each frame has the face that is in it."""
    other = [cv2.resize(frame[10:160, 30:230, :], (240, 180))[:, ::-1] for frame in portrait]
    shift = 120 - detector.detect(images(other[:1]))[0][0].box[[0, 2]].mean() + 5
    moved = [np.roll(frame, round(shift), axis=1) for frame in other]
    frames = portrait[:cut] + moved[cut:]
    followed = assert_same_faces(detector, frames)
    # The frames around the cut are searched: a box between those of two people would be neither's.
    before, after = max(key for key in (0, 4, 9) if key < cut), min(key for key in (0, 4, 9) if key >= cut)
    for faces, expected in list(zip(followed, detector.detect(images(frames)), strict=True))[before : after + 1]:
        np.testing.assert_allclose(faces[0].box, expected[0].box, atol=0.01)


@pytest.mark.parametrize("cut", [2, 5, 7])
def test_cut_to_another_place(detector: FaceDetector, portrait: Frames, cut: int) -> None:
    elsewhere = [np.roll(frame, 70, axis=1) for frame in portrait]
    assert_same_faces(detector, portrait[:cut] + elsewhere[cut:])


@pytest.mark.parametrize("shift_px", [20, 45, 90])
def test_face_that_moves_away_and_back_between_key_frames(
    detector: FaceDetector, portrait: Frames, shift_px: int
) -> None:
    frames = [np.roll(frame, shift_px * (5 <= number < 8), axis=1) for number, frame in enumerate(portrait)]
    followed = assert_same_faces(detector, frames)
    assert [len(faces) for faces in followed] == [1] * CHUNK_FRAMES


@pytest.mark.parametrize("last", range(1, CHUNK_FRAMES))
def test_face_that_leaves_or_appears(detector: FaceDetector, portrait: Frames, nobody: Frames, last: int) -> None:
    assert_same_faces(detector, portrait[:last] + nobody[last:])
    assert_same_faces(detector, nobody[:last] + portrait[last:])


@pytest.mark.parametrize("first", range(1, CHUNK_FRAMES - 3))
def test_face_of_three_frames_is_not_missed(
    detector: FaceDetector, portrait: Frames, nobody: Frames, first: int
) -> None:
    """As long as a track has to be."""
    assert_same_faces(detector, nobody[:first] + portrait[first : first + 3] + nobody[first + 3 :])


@pytest.mark.parametrize("hidden", [(1, 3), (2, 6), (5, 9), (6, 7)])
def test_face_behind_a_bar_is_not_invented(detector: FaceDetector, portrait: Frames, hidden: tuple[int, int]) -> None:
    frames = [frame.copy() for frame in portrait]
    for frame in frames[slice(*hidden)]:
        frame[30:110] = 128
    followed = assert_same_faces(detector, frames)
    assert [bool(faces) for faces in followed] == [not hidden[0] <= n < hidden[1] for n in range(CHUNK_FRAMES)]


def test_several_faces_are_followed_each(detector: FaceDetector, portrait: Frames, searched: list[int]) -> None:
    def pair(frame: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
        return np.concatenate([cv2.resize(frame, (240, 180)), mirrored[:, ::-1]], 1)

    frames = [pair(frame, portrait[-1 - number]) for number, frame in enumerate(portrait)]
    followed = assert_same_faces(detector, frames)
    assert searched[0] == 3
    assert sum(searched) < 3 + 3 + CHUNK_FRAMES
    assert [len(faces) for faces in followed] == [2] * CHUNK_FRAMES


def test_second_face_that_comes_and_stays(detector: FaceDetector, portrait: Frames, nobody: Frames) -> None:
    frames = [
        np.concatenate([frame, (portrait if number >= 6 else nobody)[number]], 1)
        for number, frame in enumerate(portrait)
    ]
    followed = assert_same_faces(detector, frames)
    assert [len(faces) for faces in followed] == [1] * 6 + [2] * 4


def test_repeated_frames_have_equal_faces(detector: FaceDetector, portrait: Frames, searched: list[int]) -> None:
    """A camera at 5 fps."""
    frames = [portrait[number // 2 * 2] for number in range(CHUNK_FRAMES)]
    followed = assert_same_faces(detector, frames)
    assert searched[0] == 3
    for number in range(0, CHUNK_FRAMES, 2):
        np.testing.assert_array_equal(followed[number][0].box, followed[number + 1][0].box)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["grid_four_speakers_12s.mp4", "pyfeat_face_noface.mov"])
def test_faces_in_real_clips_equal_those_of_a_search_in_every_frame(
    detector: FaceDetector, shared: Path, name: str
) -> None:
    path = shared / "data" / "videos" / name
    frames = [frame.image for frame in FrameStream(path, probe(path, DecodingSettings()), DecodingSettings())]
    eyes = []
    for at in range(0, len(frames), CHUNK_FRAMES):
        chunk = frames[at : at + CHUNK_FRAMES]
        for faces, expected in zip(detector.follow(chunk), detector.detect(chunk), strict=True):
            assert len(faces) == len(expected)
            for face, other in zip(faces, expected, strict=True):
                eyes.append(np.abs(face.eyes - other.eyes).max() / other.width_px)
                assert overlap(face, other) > 0.8
    assert np.median(eyes) < 0.01
    assert np.percentile(eyes, 95) < 0.03
