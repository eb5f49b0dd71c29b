"""What is left of a face: blurred eyes have no detail, landmarks and `none` have no pixel."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from avpenet_cli.explanation.faces import BAND_CELLS, EYE_BAND, blur_eyes, drawable, measure_landmarks
from tests.support.explanations import ReadRecording


@pytest.fixture(scope="module")
def crops(phantom: ReadRecording) -> npt.NDArray[np.uint8]:
    return np.concatenate([inputs.crops[::10] for inputs in phantom.inputs]).astype(np.uint8)


def detail(image: npt.NDArray[np.uint8]) -> float:
    """Energy of what a small blur takes away: edges such as those of brows, lids and pupils."""
    wide = image.astype(np.float64)
    return float(((wide - cv2.GaussianBlur(wide, (0, 0), 3)) ** 2).mean())


def test_no_detail_is_left_in_the_eye_region_and_the_rest_is_unchanged(crops: npt.NDArray[np.uint8]) -> None:
    side = crops.shape[1]
    eyes = measure_landmarks(crops, "mtcnn")[:, :4].reshape(-1, 2, 2)
    first, last = (int(np.floor(EYE_BAND[0] * side)), int(np.ceil(EYE_BAND[1] * side)))
    assert (eyes[..., 1] > EYE_BAND[0] + 0.08).all() and (eyes[..., 1] < EYE_BAND[1] - 0.08).all()
    for before, after in zip(crops, blur_eyes(crops), strict=True):
        # Inside, so that the edge of the band is not part of it.
        inner = slice(first + 8, last - 8)
        assert detail(before[inner]) > 5
        assert detail(after[inner]) < 0.02 * detail(before[inner])
        # Low eyes move the edge of the band by a few rows.
        assert np.array_equal(after[: first - 6], before[: first - 6])
        assert np.array_equal(after[last + 6 :], before[last + 6 :])


def test_eye_region_depends_on_a_few_mean_colours_only(crops: npt.NDArray[np.uint8]) -> None:
    side = crops.shape[1]
    changed = np.flatnonzero((blur_eyes(crops[:1])[0] != crops[0]).any(axis=(1, 2)))
    first, last = int(changed.min()), int(changed.max()) + 1
    assert first <= EYE_BAND[0] * side and last >= int(EYE_BAND[1] * side)
    means = cv2.resize(crops[0][first:last], BAND_CELLS, interpolation=cv2.INTER_AREA)
    rebuilt = cv2.resize(means, (side, last - first), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(blur_eyes(crops[:1])[0][first:last], rebuilt)
    assert means.size <= 36


def test_crop_without_found_eyes_is_blurred_as_a_whole() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3)).astype(np.uint8)
    assert measure_landmarks(noise, "mtcnn")[0, -1] < 0.5
    assert detail(blur_eyes(noise)[0]) < 0.001 * detail(noise[0])


def test_styles_without_pixels_have_none(crops: npt.NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AVPENET_FACE_LANDMARKER", raising=False)
    assert drawable(crops, "none") == ()
    faces = drawable(crops, "landmarks")
    assert len(faces) == len(crops)
    assert all(face.pixels is None and face.points.shape == (5, 2) and len(face.lines) == 1 for face in faces)
    assert all(face.pixels is not None and not len(face.points) for face in drawable(crops, "shown"))
    assert drawable(crops[:0, :0, :0], "blurred") == ()
