"""The detector's cascade: the faces are facenet-pytorch's, and those of an image do not depend on its neighbours."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from avpenet_cli.face.mtcnn.cascade import Cascade, ImageFaces
from avpenet_cli.face.mtcnn.images import ImageBatch, _CpuImages, _DeviceImages
from avpenet_cli.face.mtcnn.suppression import keep_best
from avpenet_cli.media.probe import probe
from avpenet_cli.media.video import FrameStream
from avpenet_cli.settings import DecodingSettings, FaceSettings
from tests.support.portraits import portrait_frames

SETTINGS = FaceSettings()
CPU = torch.device("cpu")
CLIPS = ("intel_classroom.gif", "grid_four_speakers_12s.mp4", "pyfeat_face_noface.mov", "intel_asl_yes.mkv")


@pytest.fixture(scope="module")
def cascade() -> Cascade:
    return Cascade(CPU, SETTINGS.min_face_px, SETTINGS.stage_thresholds, SETTINGS.pyramid_factor)


@pytest.fixture(scope="module")
def portraits() -> np.ndarray:
    """Portraits of several sizes in one image, a cut, a dark image and noise."""
    frames = np.stack(list(portrait_frames(1.0, 240, 180, 8.0)))
    large = np.stack([cv2.resize(frame, (360, 270), interpolation=cv2.INTER_CUBIC) for frame in frames])
    images = np.zeros((len(frames), 270, 600, 3), np.uint8)
    images[:, :, 240:] = large
    images[:6, :180, :240] = frames[:6]
    images[3] = images[3, :, ::-1]
    images[4] = 0
    images[5] = np.random.default_rng(5).integers(0, 256, images[5].shape, dtype=np.uint8)
    return images


def by_facenet_pytorch(images: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Boxes with confidence (k, 5) and landmarks (k, 5, 2) of each image."""
    from facenet_pytorch import MTCNN
    from facenet_pytorch.models.utils.detect_face import detect_face

    mtcnn = MTCNN(keep_all=True, device="cpu").eval()
    networks = (mtcnn.pnet, mtcnn.rnet, mtcnn.onet)
    with torch.inference_mode():
        boxes, points = detect_face(
            images,
            SETTINGS.min_face_px,
            *networks,
            list(SETTINGS.stage_thresholds),
            SETTINGS.pyramid_factor,
            CPU,
        )
    # It returns arrays of objects, of which the shape depends on the number of faces.
    return [(np.array(b, np.float32), np.array(p, np.float32)) for b, p in zip(boxes, points, strict=True)]


def assert_equal_faces(faces: ImageFaces, boxes: np.ndarray, points: np.ndarray) -> None:
    assert len(faces.boxes) == len(boxes)
    if len(boxes):
        # Equally confident faces have no order.
        ours, theirs = np.argsort(faces.boxes[:, 0]), np.argsort(boxes[:, 0])
        np.testing.assert_allclose(faces.boxes[ours], boxes[theirs, :4], atol=0.01)
        np.testing.assert_allclose(faces.landmarks[ours], points[theirs], atol=0.01)
        np.testing.assert_allclose(faces.confidence[ours], boxes[theirs, 4], atol=1e-4)


def reduced_frames(path: Path, every: int) -> Iterator[np.ndarray]:
    for number, frame in enumerate(FrameStream(path, probe(path, DecodingSettings()), DecodingSettings())):
        if number % every == 0:
            width, height = frame.image.size
            scale = min(1.0, SETTINGS.detect_long_side_px / max(height, width))
            yield frame.image.reduced((round(width * scale), round(height * scale)))


def test_faces_are_those_of_facenet_pytorch(cascade: Cascade, portraits: np.ndarray) -> None:
    expected = by_facenet_pytorch(portraits)
    assert [len(boxes) for boxes, _ in expected] == [2, 2, 2, 2, 0, 0, 1, 1]
    for faces, (boxes, points) in zip(cascade.detect(portraits), expected, strict=True):
        assert_equal_faces(faces, boxes, points)


@pytest.mark.slow
@pytest.mark.parametrize("name", CLIPS)
def test_faces_in_real_clips_are_those_of_facenet_pytorch(cascade: Cascade, shared: Path, name: str) -> None:
    images = np.stack(list(reduced_frames(shared / "data" / "videos" / name, every=4)))
    expected = by_facenet_pytorch(images)
    assert sum(len(boxes) for boxes, _ in expected) > 5
    for faces, (boxes, points) in zip(cascade.detect(images), expected, strict=True):
        assert_equal_faces(faces, boxes, points)


def test_passes_of_any_length_give_the_same_faces(cascade: Cascade, portraits: np.ndarray) -> None:
    short = Cascade(CPU, SETTINGS.min_face_px, SETTINGS.stage_thresholds, SETTINGS.pyramid_factor, images_at_once=3)
    for faces, expected in zip(short.detect(portraits), cascade.detect(portraits), strict=True):
        np.testing.assert_allclose(faces.boxes, expected.boxes, atol=1e-3)


def test_fixed_shapes_give_the_same_faces_whatever_else_is_in_the_batch(
    cascade: Cascade, portraits: np.ndarray
) -> None:
    """As on a GPU: to the bit between batches, and the faces of the cascade that takes batches as they come."""
    fixed = Cascade(CPU, SETTINGS.min_face_px, SETTINGS.stage_thresholds, SETTINGS.pyramid_factor, 8, fixed_shapes=True)
    together, alone = fixed.detect(portraits), [fixed.detect(image[None])[0] for image in portraits]
    for faces, by_itself, plain in zip(together, alone, cascade.detect(portraits), strict=True):
        for name, values in vars(faces).items():
            np.testing.assert_array_equal(values, vars(by_itself)[name])
            np.testing.assert_allclose(values, vars(plain)[name], atol=1e-2)


def test_last_network_alone_repeats_its_answer(cascade: Cascade, portraits: np.ndarray) -> None:
    detected = cascade.detect(portraits)
    again = cascade.measure(portraits, [faces.squares for faces in detected])
    for faces, expected in zip(again, detected, strict=True):
        np.testing.assert_allclose(faces.boxes, expected.boxes, atol=1e-3)
        np.testing.assert_allclose(faces.landmarks, expected.landmarks, atol=1e-3)
        np.testing.assert_allclose(faces.confidence, expected.confidence, atol=1e-5)


def test_square_outside_the_image_has_no_confidence(cascade: Cascade, portraits: np.ndarray) -> None:
    inside = cascade.detect(portraits[:1])[0].squares[:1]
    outside = np.array([[700, 10, 760, 70], [-90, -90, -10, -10], [10, 10, 10, 10]], np.float32)
    answer = cascade.measure(portraits[:1], [np.concatenate([outside[:1], inside, outside[1:]])])[0]
    assert answer.confidence[1] > 0.99
    assert (answer.confidence[[0, 2]] == 0).all()
    empty = cascade.measure(portraits[:2], [outside, np.empty((0, 4), np.float32)])
    assert [len(faces.boxes) for faces in empty] == [3, 0]


@pytest.mark.parametrize("make", [_CpuImages, _DeviceImages])
def test_parts_are_averaged_over_areas(make: Callable[[np.ndarray, torch.device], ImageBatch]) -> None:
    rng = np.random.default_rng(7)
    images = rng.integers(0, 256, (3, 61, 83, 3), dtype=np.uint8)
    areas = torch.tensor([[0, 0, 83, 61], [5, 7, 6, 8], [10, 20, 40, 55], [60, 0, 83, 61], [0, 1, 49, 50]])
    owners = torch.tensor([2, 0, 1, 1, 0])
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    batch = make(images, CPU)
    for side in (24, 48):
        parts = batch.parts(owners, areas, side)
        for part, owner, (left, top, right, bottom) in zip(parts, owners, areas.tolist(), strict=True):
            whole = pixels[owner, :, top:bottom, left:right][None]
            expected = (torch.nn.functional.interpolate(whole, (side, side), mode="area")[0] - 127.5) / 128
            torch.testing.assert_close(part, expected, atol=1e-5, rtol=0)
    for level, size in zip(batch.resized([(31, 42), (12, 17)], 1, 3), [(31, 42), (12, 17)], strict=True):
        expected = (torch.nn.functional.interpolate(pixels[1:], size, mode="area") - 127.5) / 128
        torch.testing.assert_close(level, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("seed", range(4))
def test_suppression_is_greedy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = 400
    corner = rng.integers(0, 80, (count, 2))
    boxes = np.concatenate([corner, corner + rng.integers(10, 60, (count, 2))], 1).astype(np.float32)
    scores = rng.permutation(count).astype(np.float32)
    images, labels = rng.integers(0, 5, count), rng.integers(0, 2, count)
    kept: list[int] = []
    for index in np.lexsort((-scores, images)):
        rivals = [k for k in kept if images[k] == images[index] and labels[k] == labels[index]]
        if all(overlap(boxes[k], boxes[index]) <= 0.5 for k in rivals):
            kept.append(int(index))
    arguments = (torch.from_numpy(boxes), torch.from_numpy(scores), torch.from_numpy(images), 5, 0.5)
    assert keep_best(*arguments, labels=torch.from_numpy(labels)).tolist() == kept


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    shared = np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0))
    return float(shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared))


def test_detection_loads_neither_facenet_pytorch_nor_torchvision() -> None:
    """Their imports take over a second of CPU time."""
    code = (
        "import sys, numpy, torch\n"
        "from avpenet_cli.face.detect import FaceDetector\n"
        "from avpenet_cli.media.frame_image import RgbImage\n"
        "from avpenet_cli.settings import FaceSettings\n"
        "FaceDetector(FaceSettings(), torch.device('cpu')).detect([RgbImage(numpy.zeros((64, 64, 3), numpy.uint8))])\n"
        "print(sorted({'facenet_pytorch', 'torchvision', 'torch._dynamo'} & set(sys.modules)))\n"
    )
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert completed.stdout.strip() == "[]"
