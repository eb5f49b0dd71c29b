"""Layout of a head's texture atlas: the unrolled face, and small patches below it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float32]

WIDTH_PX = 512
FACE_HEIGHT_PX = 512
HEIGHT_PX = 592

_HALF_ANGLE_RAD = np.deg2rad(115.0)
_TOP = 4.0
_BOTTOM = -4.2
"""Range of heights in half distances between the pupils, so that the face of every age group fills its atlas."""

PATCHES: dict[str, tuple[int, int, int, int]] = {
    "eye": (0, 512, 80, 80),
    "hair": (80, 512, 128, 80),
    "cloth": (208, 512, 128, 80),
    "cap": (336, 512, 80, 80),
    "mask": (416, 512, 64, 80),
    "mouth": (480, 512, 16, 16),
    "teeth": (496, 512, 16, 16),
    "gum": (480, 528, 16, 16),
    "tongue": (496, 528, 16, 16),
    "hand": (480, 544, 16, 16),
    "glove": (496, 544, 16, 16),
    "tape": (480, 560, 16, 16),
    "tube": (480, 576, 16, 16),
    "body": (496, 576, 16, 16),
}
"""Left, top, width and height of each patch in the atlas."""

_INSET_PX = 2.0


def face_px(points_mm: Float, eye_x_mm: float) -> Float:
    """Map positions on a head (n, 3) to x and y (n, 2) float32 in the atlas's unrolled face."""
    angle = np.arctan2(points_mm[:, 0], points_mm[:, 2])
    x = (angle / _HALF_ANGLE_RAD * 0.5 + 0.5) * (WIDTH_PX - 1)
    y = (_TOP - points_mm[:, 1] / eye_x_mm) / (_TOP - _BOTTOM) * (FACE_HEIGHT_PX - 1)
    limit = np.array([WIDTH_PX - 1, FACE_HEIGHT_PX - _INSET_PX], np.float32)
    return np.clip(np.stack([x, y], 1).astype(np.float32), 0.0, limit)


def patch_px(name: str, across: npt.NDArray[np.floating], down: npt.NDArray[np.floating]) -> Float:
    """Map shares of a patch's width and height, each (n,) in [0, 1], to x and y (n, 2) float32 in the atlas."""
    left, top, width, height = PATCHES[name]
    x = left + _INSET_PX + np.asarray(across) * (width - 1 - 2 * _INSET_PX)
    y = top + _INSET_PX + np.asarray(down) * (height - 1 - 2 * _INSET_PX)
    return np.stack(np.broadcast_arrays(x, y), 1).astype(np.float32)


def px_per_mm(eye_x_mm: float) -> float:
    """Vertical resolution of the unrolled face."""
    return (FACE_HEIGHT_PX - 1) / ((_TOP - _BOTTOM) * eye_x_mm)
