"""Crop and align a face with a single warp of the source frame (Algorithm 2, steps 1 and 3)."""

from __future__ import annotations

import math

import cv2
import numpy as np

from avpenet_cli.face.detect import Face
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


def align(frame: np.ndarray, face: Face, settings: FaceSettings) -> np.ndarray:
    """Cut the aligned crop out of a frame.

    Args:
        frame: (height, width, 3) uint8 RGB.
        face: the detected face, in pixels of `frame`.
        settings: size, margin, whether to level the eyes.

    Returns:
        (crop_px, crop_px, 3) uint8 RGB; black where the crop reaches beyond the frame.
    """
    matrix = crop_map(face, settings)
    size = settings.crop_px
    steps_px = np.linalg.norm(matrix[:, :2], axis=0)
    # Averaging by the largest integer factor that does not blur the crop leaves little reduction to the warp.
    factor = max(math.floor(steps_px.min() + 1e-3), math.ceil(steps_px.max() / _MAX_REDUCTION - 1e-3))
    if factor > 1:
        frame, matrix = _reduced(frame, matrix, size, factor)
    return cv2.warpAffine(
        frame,
        matrix,
        (size, size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(0, 0, 0),
    )


def _reduced(frame: np.ndarray, matrix: np.ndarray, size: int, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """The part of the frame under the crop, averaged over `factor` x `factor` pixels, and the map onto it."""
    corners = matrix @ np.array([[0, size, 0, size], [0, 0, size, size], [1, 1, 1, 1]], np.float64)
    height, width = frame.shape[:2]
    left, top = (np.floor(corners.min(1)) - 2 * factor).astype(int).clip(0)
    right, bottom = (np.ceil(corners.max(1)) + 2 * factor).astype(int)
    right, bottom = min(right, width), min(bottom, height)
    if right - left < factor or bottom - top < factor:
        return frame, matrix
    right, bottom = left + (right - left) // factor * factor, top + (bottom - top) // factor * factor
    part = frame[top:bottom, left:right]
    reduced = cv2.resize(part, ((right - left) // factor, (bottom - top) // factor), interpolation=cv2.INTER_AREA)
    shifted = matrix.copy()
    shifted[:, 2] += 0.5 - np.array([left, top])
    shifted /= factor
    shifted[:, 2] -= 0.5
    return reduced, shifted


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
