"""Light on a photographed face, by the depth of a typical face."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from avpenet_cli.phantom.face.projection import Light, light_direction
from avpenet_cli.phantom.photographs.template import depth

Float = npt.NDArray[np.float32]

LEFT, TOP, RIGHT, BOTTOM = -2.2, -2.2, 2.2, 2.8
"""Extent of the map of normals in face units."""
PX_PER_UNIT = 24.0


def typical_normals() -> Float:
    """Unit normals of a typical face: (h, w, 3) float32, x to the image's right, y down, z towards the camera."""
    x = (np.arange(round((RIGHT - LEFT) * PX_PER_UNIT)) + 0.5) / PX_PER_UNIT + LEFT
    y = (np.arange(round((BOTTOM - TOP) * PX_PER_UNIT)) + 0.5) / PX_PER_UNIT + TOP
    z = cv2.GaussianBlur(depth(np.stack(np.meshgrid(x, y), -1)), (0, 0), 0.06 * PX_PER_UNIT)
    by_y, by_x = np.gradient(z, 1.0 / PX_PER_UNIT)
    normal = np.stack([-by_x, -by_y, np.ones_like(z)], -1)
    return np.asarray(normal / np.linalg.norm(normal, axis=-1, keepdims=True), np.float32)


def shading(normals: Float, light: Light) -> Float:
    """Linear gain of light relative to the even light of the studio: (h, w) float32 for (h, w, 3) normals."""
    direction = light_direction(light) * np.array([1.0, -1.0, 1.0], np.float32)
    direct = np.maximum((normals @ direction + 0.35) / 1.35, 0.0)
    front = (float(direction[2]) + 0.35) / 1.35
    gain = 1.0 + light.contrast * (direct / max(front, 0.35) - 1.0)
    return np.asarray(np.clip(gain, 0.2, 1.8), np.float32)
