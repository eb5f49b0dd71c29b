"""What may be drawn of a face: its pixels, its pixels without the eyes, its landmarks, or nothing.

A face identifies a patient. Figures draw what this module gives and nothing else of a crop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from avpenet_cli.errors import EnvironmentUnavailableError

if TYPE_CHECKING:
    from avpenet_cli.model.landmarks import LandmarkKind

FaceStyle = Literal["shown", "blurred", "landmarks", "none"]
"""How faces are drawn: as they are, with the eye region blurred, as landmarks without pixels, or not at all."""

Pixels = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float32]

EYE_BAND = (0.25, 0.60)
"""First and last row of the eye region as shares of an aligned crop's side. The box of the detector and levelled eyes
put the eyes' centres at 0.36 to 0.47 on faces seen from the front; the band reaches from the brows to the nose."""

BAND_CELLS = (6, 2)
"""Columns and rows of mean colours that are left of the eye region: too few to show brows, lids or eyes."""

_EYE_MARGIN = 0.14
"""The band reaches at least this far above and below measured eyes, as a share of the crop's side."""

_LEAST_CONFIDENCE = 0.5
"""Below this confidence of the landmark model its points are not used."""

# Of the 65 points of the mesh: brows, lids, bridge of the nose, nostrils, lips, jaw; whether the line is closed.
_MESH_LINES: tuple[tuple[tuple[int, ...], bool], ...] = (
    (tuple(range(5)), False),
    (tuple(range(5, 10)), False),
    (tuple(range(10, 18)), True),
    (tuple(range(18, 26)), True),
    ((26, 27, 28, 29), False),
    ((32, 30, 29, 31, 33), False),
    (tuple(range(34, 46)), True),
    (tuple(range(46, 54)), True),
    (tuple(range(54, 61)), False),
)
_MOUTH_CORNERS = (3, 4)


@dataclass(frozen=True, eq=False)
class DrawableFace:
    """What may be drawn of one face.

    Attributes:
        pixels: (S, S, 3) uint8 RGB; None in a style that shows none.
        points: (K, 2) float32, x and y as shares of the side from the upper left corner; empty where not asked for, and
            where the landmark model is not confident.
        lines: (k, 2) each, in the same units: outlines through landmarks.
    """

    pixels: Pixels | None
    points: Points
    lines: tuple[Points, ...] = ()


def drawable(crops: Pixels, style: FaceStyle) -> tuple[DrawableFace, ...]:
    """What the style leaves of each face.

    Args:
        crops: (n, S, S, 3) uint8 RGB, aligned as `face.align` does.
        style: how faces are drawn.

    Returns:
        One for each crop; nothing with the style `none`.
    """
    if style == "none" or not len(crops):
        return ()
    no_points = np.zeros((0, 2), np.float32)
    if style == "shown":
        return tuple(DrawableFace(crop, no_points) for crop in crops)
    if style == "blurred":
        return tuple(DrawableFace(crop, no_points) for crop in blur_eyes(crops))
    kind = _best_kind()
    faces = []
    for points, confidence in _measure(crops, kind):
        known = points if confidence >= _LEAST_CONFIDENCE else no_points
        faces.append(DrawableFace(None, known, _outlines(known, kind)))
    return tuple(faces)


def blur_eyes(crops: Pixels) -> Pixels:
    """Blur the eye region of aligned faces over their whole width.

    `BAND_CELLS` mean colours are left of it, with smooth transitions. Where the eyes were not found on a crop, the
    whole crop is treated so.

    Args:
        crops: (n, S, S, 3) uint8 RGB.

    Returns:
        The same shape; rows outside the band are unchanged.
    """
    import cv2

    blurred = crops.copy()
    for image, (points, confidence) in zip(blurred, _measure(crops, "mtcnn"), strict=True):
        side = image.shape[0]
        first, last = _band(points[:2]) if confidence >= _LEAST_CONFIDENCE else (0.0, 1.0)
        rows = slice(int(first * side), max(int(np.ceil(last * side)), int(first * side) + BAND_CELLS[1]))
        band = image[rows]
        means = cv2.resize(band, BAND_CELLS, interpolation=cv2.INTER_AREA)
        image[rows] = cv2.resize(means, (side, len(band)), interpolation=cv2.INTER_LINEAR)
    return blurred


def _band(eyes: Points) -> tuple[float, float]:
    """First and last row to blur, as shares of the side: `EYE_BAND`, and what the measured eyes need beyond it."""
    first = min(EYE_BAND[0], float(eyes[:, 1].min()) - _EYE_MARGIN)
    last = max(EYE_BAND[1], float(eyes[:, 1].max()) + _EYE_MARGIN)
    return max(first, 0.0), min(last, 1.0)


def _best_kind() -> LandmarkKind:
    """The face mesh where its library and file are there, else MTCNN's five points."""
    import torch

    from avpenet_cli.model.landmarks import landmark_model

    try:
        landmark_model("mesh", torch.device("cpu"))
    except EnvironmentUnavailableError:
        return "mtcnn"
    return "mesh"


def _measure(crops: Pixels, kind: LandmarkKind) -> list[tuple[Points, float]]:
    """Landmarks of each crop, (K, 2) as shares of the side, and the model's confidence."""
    rows = measure_landmarks(crops, kind)
    return [(row[:-1].reshape(-1, 2), float(row[-1])) for row in rows]


def measure_landmarks(crops: Pixels | Points, kind: LandmarkKind) -> npt.NDArray[np.float32]:
    """Landmarks of aligned crops.

    Args:
        crops: (n, S, S, 3) RGB, uint8, or float32 in [0, 255].
        kind: of the model.

    Returns:
        (n, 2 K + 1) float32 as `LandmarkModel.measure`.

    Raises:
        EnvironmentUnavailableError: a library or the model's file is missing.
    """
    import torch

    from avpenet_cli.model.landmarks import landmark_model

    model = landmark_model(kind, torch.device("cpu"))
    measured = model.measure(torch.from_numpy(np.ascontiguousarray(crops)).permute(0, 3, 1, 2).float())
    return measured.numpy()


def _outlines(points: Points, kind: LandmarkKind) -> tuple[Points, ...]:
    if not len(points):
        return ()
    if kind == "mtcnn":
        return (points[list(_MOUTH_CORNERS)],)
    return tuple(points[[*line, *line[: int(closed)]]] for line, closed in _MESH_LINES)
