"""Crop and align a face with a single warp of the source frame (Algorithm 2, steps 1 and 3)."""

from __future__ import annotations

import math

import cv2
import numpy as np

from avpenet_cli.face.detect import Face
from avpenet_cli.media.frame_image import FrameImage
from avpenet_cli.settings import FaceSettings

_MAX_TILT_DEG = 45.0
"""Eye points with a larger tilt are wrong: such a face would have been detected at another rotation."""

_MAX_REDUCTION = 2.0
"""Bilinear sampling skips source pixels above this reduction factor and aliases."""


def crop_map(face: Face, settings: FaceSettings) -> np.ndarray:
    """Affine map from crop to source: (2, 3) float64, `source = map @ [x, y, 1]`, pixel centres at integers.

    The box is enlarged by `box_margin`, the frame is rotated about the midpoint of the eyes so that they are level, and
    the content of the box fills the square, as the authors' resize does.
    """
    across, down = _upright_axes(face.turn_deg)
    box = face.box.astype(np.float64)
    centre = np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])
    extent = np.array([box[2] - box[0], box[3] - box[1]])
    width, height = (extent if face.turn_deg in (0, 180) else extent[::-1]) * (1 + settings.box_margin)
    pivot = face.eyes.astype(np.float64).mean(0) if settings.align else centre
    offset = centre - pivot
    level = _level_axis(face, across) if settings.align else across
    below = np.array([-level[1], level[0]])
    size = settings.crop_px
    step_x, step_y = level * width / size, below * height / size
    origin = pivot + level * (offset @ across) + below * (offset @ down)
    origin = origin - (step_x + step_y) * (size - 1) / 2
    # Detector coordinates count from the corner of the first pixel, the warp from its centre.
    return np.column_stack([step_x, step_y, origin - 0.5])


def align(image: FrameImage, face: Face, settings: FaceSettings) -> np.ndarray:
    """Cut the aligned crop out of a frame.

    Args:
        image: the source frame; only the part under the crop is asked for.
        face: the detected face, in pixels of the frame.
        settings: size, margin, whether to level the eyes.

    Returns:
        (crop_px, crop_px, 3) uint8 RGB; black where the crop reaches beyond the frame.
    """
    matrix = crop_map(face, settings)
    size = settings.crop_px
    steps_px = np.linalg.norm(matrix[:, :2], axis=0)
    # Averaging by the largest integer factor that does not blur the crop leaves little reduction to the warp.
    factor = max(1, math.floor(steps_px.min() + 1e-3), math.ceil(steps_px.max() / _MAX_REDUCTION - 1e-3))
    part, matrix = _part_under(matrix, image, size, factor)
    if part is None:
        return np.zeros((size, size, 3), np.uint8)
    return cv2.warpAffine(
        part,
        matrix,
        (size, size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(0, 0, 0),
    )


def _part_under(matrix: np.ndarray, image: FrameImage, size: int, factor: int) -> tuple[np.ndarray | None, np.ndarray]:
    """The part of the frame under the crop, averaged over `factor` x `factor` pixels, and the map onto it.

    None where the crop lies beside the frame. A part that is too small to be averaged is left as it is.
    """
    corners = matrix @ np.array([[0, size, 0, size], [0, 0, size, size], [1, 1, 1, 1]], np.float64)
    left, top = (int(edge) for edge in (np.floor(corners.min(1)) - 2 * factor).clip(0))
    right, bottom = (
        min(int(edge), end) for edge, end in zip(np.ceil(corners.max(1)) + 2 * factor, image.size, strict=True)
    )
    if right <= left or bottom <= top:
        return None, matrix
    if right - left < factor or bottom - top < factor:
        factor = 1
    right, bottom = left + (right - left) // factor * factor, top + (bottom - top) // factor * factor
    shifted = matrix.copy()
    shifted[:, 2] += 0.5 - np.array([left, top])
    shifted /= factor
    shifted[:, 2] -= 0.5
    return image.part(left, top, right, bottom, factor), shifted


def _upright_axes(turn_deg: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors in the source frame that point right and down in the upright image."""
    angle = math.radians(turn_deg)
    across = np.array([math.cos(angle), -math.sin(angle)])
    return across, np.array([-across[1], across[0]])


def _level_axis(face: Face, across: np.ndarray) -> np.ndarray:
    between = (face.eyes[1] - face.eyes[0]).astype(np.float64)
    length = float(np.linalg.norm(between))
    if length < 1e-6:
        return across
    direction: np.ndarray = between / length
    tilt = math.degrees(math.acos(float(np.clip(direction @ across, -1, 1))))
    return direction if tilt <= _MAX_TILT_DEG else across
