"""A face -> its aligned crop, by one warp straight from the source frame (Algorithm 2, steps 1 and 3)."""

from __future__ import annotations

import math

import cv2
import numpy as np

from avpenet_cli.face.detect import Face
from avpenet_cli.settings import FaceSettings

_MAX_TILT_DEG = 45.0
"""Eye points that say the head is tilted further are wrong: such a face would have been found under another turn."""

_MAX_REDUCTION = 2.0
"""Bilinear sampling skips source pixels when it reduces by more than this, and begins to alias before."""


def crop_map(face: Face, settings: FaceSettings) -> np.ndarray:
    """The affine map from crop to source: (2, 3) float64, `source = map @ [x, y, 1]`, pixel centres at integers.

    The box is made larger by `box_margin`, the picture is turned about the midpoint of the eyes so that they are level,
    and what then lies in the box fills the square, as the authors' resize does.
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
    """The aligned crop.

    Args:
        frame: (height, width, 3) uint8 RGB.
        face: where it is.
        settings: size, margin, whether to level the eyes.

    Returns:
        (crop_px, crop_px, 3) uint8 RGB; black where the crop reaches beyond the frame.
    """
    matrix = crop_map(face, settings)
    size = settings.crop_px
    steps_px = np.linalg.norm(matrix[:, :2], axis=0)
    # All whole steps by averaging, so that little is left for the warp, and none that would blur the crop.
    by = max(math.floor(steps_px.min() + 1e-3), math.ceil(steps_px.max() / _MAX_REDUCTION - 1e-3))
    if by > 1:
        frame, matrix = _reduced(frame, matrix, size, by)
    return cv2.warpAffine(
        frame,
        matrix,
        (size, size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(0, 0, 0),
    )


def _reduced(frame: np.ndarray, matrix: np.ndarray, size: int, by: int) -> tuple[np.ndarray, np.ndarray]:
    """The part of the frame under the crop, averaged over `by` x `by` pixels, and the map onto it."""
    corners = matrix @ np.array([[0, size, 0, size], [0, 0, size, size], [1, 1, 1, 1]], np.float64)
    height, width = frame.shape[:2]
    left, top = (np.floor(corners.min(1)) - 2 * by).astype(int).clip(0)
    right, bottom = (np.ceil(corners.max(1)) + 2 * by).astype(int)
    right, bottom = min(right, width), min(bottom, height)
    if right - left < by or bottom - top < by:
        return frame, matrix
    right, bottom = left + (right - left) // by * by, top + (bottom - top) // by * by
    part = frame[top:bottom, left:right]
    small = cv2.resize(part, ((right - left) // by, (bottom - top) // by), interpolation=cv2.INTER_AREA)
    moved = matrix.copy()
    moved[:, 2] += 0.5 - np.array([left, top])
    moved /= by
    moved[:, 2] -= 0.5
    return small, moved


def _upright_axes(turn_deg: int) -> tuple[np.ndarray, np.ndarray]:
    """Directions in the source frame that point right and down in the upright picture."""
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
