"""Faces of consecutive images: the whole cascade on key frames, its last network alone in between.

Where the faces of two key frames correspond, the squares that the last network looked at are interpolated for the
images in between, and it looks there: confidence, box and landmarks are measured in every image, only the search is
left out. Any doubt brings the search back: key frames that disagree, a cut between them, low confidence, a box off its
path.

Against the whole cascade on every frame, eyes differ by 0.6 % of the face's width (median; 1.7 % for one face in
twenty) in clips with one speaker, which is less than the cascade's own jitter from frame to frame. What can be missed
is a further face that is visible, or detectable, only between two key frames, and so for less than 0.5 s.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
from scipy.optimize import linear_sum_assignment

from avpenet_cli.face.mtcnn.cascade import FaceCascade, ImageFaces

KEY_SPACING = 5
"""Largest distance of key frames, in slots of the frame grid."""
_MAX_UNSEARCHED = 2
"""Frames in a row that may go unsearched where no face is expected. The tracker drops faces of under 3 frames."""

_MIN_CONFIDENCE = 0.95
"""Without a search a face needs this much confidence. Faces that are followed well have 0.97 and more; between 0.9 and
0.95 eyes were off by up to a tenth of the face's width."""
_SAME_FACE_OVERLAP = 0.5
"""Boxes of one face in two key frames share more than this part of the area that either covers."""
_ON_PATH_OVERLAP = 0.6
"""So do a face's box in between and the box expected there."""
_CUT_LEVELS = 12.0
"""From one image to the next, pixels change by less than this on average, of 255 grey levels, unless there is a cut: 1
to 4 in clips of speakers, 25 and more at cuts. Boxes between those of two people are off by 3 % of their width."""
_PIXEL_STEP = 8
"""Every how many pixels, across and down, images are compared."""
_APART_OVERLAP = 0.3
"""Boxes of different faces share less than this; else both may have found the same face."""


def key_frames(slots: Sequence[int]) -> list[int]:
    """Which frames are key frames: the first, the last, and those nearest to the middle of spans that are too long.

    Args:
        slots: of the frames on the grid, increasing; frames may be missing.

    Returns:
        Indices into `slots`, increasing. Key frames are at most `KEY_SPACING` slots apart, unless nothing is between.
    """

    def split(first: int, last: int) -> list[int]:
        if slots[last] - slots[first] <= KEY_SPACING or last - first < 2:
            return [first]
        middle = (slots[first] + slots[last]) / 2
        nearest = min(range(first + 1, last), key=lambda index: abs(slots[index] - middle))
        return split(first, nearest) + split(nearest, last)

    last = len(slots) - 1
    return [*split(0, last), last] if last else [0]


def detect_consecutive(
    cascade: FaceCascade, images: np.ndarray, positions: Sequence[int], keys: Iterable[int], min_confidence: float
) -> list[ImageFaces]:
    """Find the faces of consecutive images.

    Args:
        cascade: finds faces.
        images: (n, height, width, 3) uint8 RGB, in time order.
        positions: slot of each image on the frame grid; increasing.
        keys: indices of the key frames, the first and the last image's among them.
        min_confidence: faces below this confidence will be dropped.

    Returns:
        The faces of each image.
    """
    detections: dict[int, ImageFaces] = {}
    needed = max(_MIN_CONFIDENCE, min_confidence)

    def search(indices: Iterable[int]) -> None:
        missing = sorted(set(indices) - detections.keys())
        if missing:
            detections.update(zip(missing, cascade.detect(images[missing]), strict=True))

    keys = sorted(set(keys))
    search(keys)
    expected: dict[int, ImageFaces] = {}
    doubtful: list[int] = []
    empty: list[tuple[int, range]] = []
    for first, last in pairwise(keys):
        between = range(first + 1, last)
        before, after = detections[first], detections[last]
        if not between:
            continue
        if not len(before.boxes) and not len(after.boxes):
            if positions[last] - positions[first] - 1 > _MAX_UNSEARCHED:
                empty.append((between[len(between) // 2], between))
            continue
        after_in_order = _in_order_of(before, after)
        confident = min(before.confidence.min(initial=1), after.confidence.min(initial=1)) >= needed
        if after_in_order is None or not confident or _has_cut(images[first : last + 1]):
            doubtful.extend(between)
            continue
        for index in between:
            share = (positions[index] - positions[first]) / (positions[last] - positions[first])
            expected[index] = _interpolated(before, after_in_order, share)
    if expected:
        answers = cascade.measure(images[list(expected)], [faces.squares for faces in expected.values()])
        for (index, expectation), answer in zip(expected.items(), answers, strict=True):
            if _confirmed(expectation, answer, needed):
                detections[index] = answer
            else:
                doubtful.append(index)
    search([*doubtful, *(middle for middle, _ in empty)])
    search(index for middle, between in empty if len(detections[middle].boxes) for index in between)
    return [detections.get(index, _NO_FACES) for index in range(len(images))]


_NO_FACES = ImageFaces(*(np.empty((0, *shape), np.float32) for shape in ((4,), (), (5, 2), (4,))))


def _has_cut(images: np.ndarray) -> bool:
    few = images[:, ::_PIXEL_STEP, ::_PIXEL_STEP].astype(np.int16)
    return bool((np.abs(np.diff(few, axis=0)).mean((1, 2, 3)) > _CUT_LEVELS).any())


def _in_order_of(faces: ImageFaces, others: ImageFaces) -> ImageFaces | None:
    """`others` in the order of the faces that they correspond to; None unless all correspond, one to one."""
    if len(faces.boxes) != len(others.boxes):
        return None
    overlaps = _overlaps(faces.boxes, others.boxes)
    rows, columns = linear_sum_assignment(-overlaps)
    return others.select(columns) if (overlaps[rows, columns] > _SAME_FACE_OVERLAP).all() else None


def _interpolated(before: ImageFaces, after: ImageFaces, share: float) -> ImageFaces:
    return ImageFaces(
        *(
            ((1 - share) * start + share * end).astype(np.float32)
            for start, end in zip(vars(before).values(), vars(after).values(), strict=True)
        )
    )


def _confirmed(expected: ImageFaces, answer: ImageFaces, min_confidence: float) -> bool:
    """Every face is where it was expected, and none was found twice."""
    to_expected, to_each_other = _overlaps(answer.boxes, expected.boxes), _overlaps(answer.boxes, answer.boxes)
    apart = to_each_other[~np.eye(len(answer.boxes), dtype=bool)]
    return bool(
        (answer.confidence >= min_confidence).all()
        and (to_expected.diagonal() > _ON_PATH_OVERLAP).all()
        and (apart < _APART_OVERLAP).all()
    )


def _overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Shared area of each box with each other one, as a share of the area that either covers."""
    corner = np.maximum(boxes[:, None, :2], others[:, :2])
    end = np.minimum(boxes[:, None, 2:], others[:, 2:])
    shared = np.maximum(end - corner, 0).prod(2)
    area, other_area = (np.prod(some[:, 2:] - some[:, :2], axis=1) for some in (boxes, others))
    return np.asarray(shared / np.maximum(area[:, None] + other_area - shared, 1e-6))
