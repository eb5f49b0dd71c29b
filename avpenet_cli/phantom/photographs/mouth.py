"""Draw the inside of an opened mouth: dark cavity, teeth, gums and tongue."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline

from avpenet_cli.phantom.photographs.template import LOWER_LIP_INSIDE, UPPER_LIP_INSIDE, Array

Float = npt.NDArray[np.float32]

_FINE = 2
"""Subpixels along each side of a pixel."""
# Linear RGB.
_CAVITY, _TONGUE, _GUM = (0.030, 0.008, 0.007), (0.30, 0.085, 0.085), (0.36, 0.13, 0.12)
_TEETH = (0.70, 0.63, 0.53)
_TOOTH_EDGES = np.cumsum([0.0, 0.135, 0.105, 0.12, 0.11, 0.11, 0.16, 0.16])
"""From the midline back along the dental arch, in face units: incisors, canine, premolars, molars."""
_ARCH_HALF, _ARCH_DEPTH = 0.46, 0.70
"""Half axes of the dental arch seen from above, in face units."""


@dataclass(frozen=True)
class Dentition:
    """A person's teeth.

    Attributes:
        colour: linear RGB.
        upper_show, lower_show: how far the edges of the teeth reach below the line of the closed lips, and above the
            edge of the lower lip, in face units.
    """

    colour: Array
    upper_show: float
    lower_show: float


def draw_dentition(rng: np.random.Generator) -> Dentition:
    """A random person's teeth."""
    shade = np.array(_TEETH) * rng.uniform(0.8, 1.1) * np.array([1.0, 1.0, rng.uniform(0.85, 1.1)])
    return Dentition(shade, float(rng.uniform(0.005, 0.05)), float(rng.uniform(-0.06, 0.03)))


@dataclass(frozen=True)
class MouthPatch:
    """Inside of a mouth in a frame.

    Attributes:
        left, top: of the patch, in pixels of the frame.
        colour: (h, w, 3) float32 sRGB codes 0 to 255 under an even light.
        opacity: (h, w) float32 in [0, 1].
    """

    left: int
    top: int
    colour: Float
    opacity: Float


def draw_mouth(points: Array, at_rest: Array, unit_px: float, teeth: Dentition) -> MouthPatch | None:
    """Inside of the mouth between the lips, or None while they are closed.

    Args:
        points: (189, 2) in pixels of the frame, under the expression.
        at_rest: the same without any expression.
        unit_px: size of a face unit in the frame.
        teeth: of the person.
    """
    upper, lower = points[list(UPPER_LIP_INSIDE)], points[list(LOWER_LIP_INSIDE)]
    rest_gap = np.hypot(*(at_rest[101] - at_rest[96]))
    opened = float(np.hypot(*(points[101] - points[96])) - rest_gap) / unit_px
    if opened < 0.004:
        return None
    corner = np.floor(np.minimum(upper.min(0), lower.min(0)) - 3).astype(int)
    size = np.ceil(np.maximum(upper.max(0), lower.max(0)) + 4).astype(int) - corner
    width, height = int(size[0]) * _FINE, int(size[1]) * _FINE
    contour = np.concatenate([_smooth(upper), _smooth(lower)[::-1]])
    mask = np.zeros((height, width), np.uint8)
    shifted = ((contour - corner + 0.5) * _FINE - 0.5) * 16
    cv2.fillPoly(mask, [np.round(shifted).astype(np.int32)], 255, cv2.LINE_AA, 4)
    x, y = np.meshgrid((np.arange(width) + 0.5) / _FINE - 0.5, (np.arange(height) + 0.5) / _FINE - 0.5)
    colour = _inside(np.stack([x + corner[0], y + corner[1]], -1), points, at_rest, unit_px, teeth)
    small = (int(size[0]), int(size[1]))
    code = 255.0 * np.clip(colour, 0.0, 1.0) ** (1 / 2.2)
    opacity = cv2.GaussianBlur(cv2.resize(mask, small, interpolation=cv2.INTER_AREA), (3, 3), 0.7)
    return MouthPatch(
        int(corner[0]),
        int(corner[1]),
        np.asarray(cv2.resize(code.astype(np.float32), small, interpolation=cv2.INTER_AREA), np.float32),
        opacity.astype(np.float32) / 255.0 * np.float32(min(1.0, opened / 0.03)),
    )


def _smooth(points: Array) -> Array:
    along = np.concatenate([[0.0], np.cumsum(np.maximum(np.hypot(*np.diff(points, axis=0).T), 1e-3))])
    return np.asarray(CubicSpline(along, points)(np.linspace(0.0, along[-1], 40)))


def _inside(at: Array, points: Array, at_rest: Array, unit_px: float, teeth: Dentition) -> Array:
    """Linear RGB (h, w, 3) of the inside of the mouth at positions (h, w, 2) of the frame."""
    across = points[1] - points[0]
    right = across / np.hypot(*across)
    down = np.array([-right[1], right[0]])
    middle = 0.5 * (at_rest[96] + at_rest[101])
    x, y = (at - middle) @ right / unit_px, (at - middle) @ down / unit_px
    upper_lip, lower_lip = (
        _edge(points, UPPER_LIP_INSIDE, x, middle, right, down, unit_px),
        _edge(points, LOWER_LIP_INSIDE, x, middle, right, down, unit_px),
    )
    jaw = float((points[174] - at_rest[174]) @ down) / unit_px
    # Light from outside reaches the front of the mouth, and the lips shade what is close behind them.
    opening = np.maximum(lower_lip - upper_lip, 1e-3)
    level = np.clip((y - upper_lip) / opening, 0.0, 1.0)
    shade = (1.0 - np.exp(-np.maximum(y - upper_lip, 0.0) / 0.05)) * 0.75 + 0.25
    shade = shade * np.exp(-((x / 0.42) ** 4)) * min(1.0, 0.55 + 2.0 * float(np.clip(opening.max(), 0, 1)))
    colour = np.ones((*x.shape, 3)) * np.array(_CAVITY)
    tongue_top = jaw - 0.05 - 0.09 * np.sqrt(np.clip(1.0 - (x / 0.34) ** 2, 0.0, 1.0)) * np.clip(jaw / 0.2, 0.0, 1.0)
    tongue = np.clip((y - tongue_top) / 0.09, 0.0, 1.0) * np.clip((0.36 - np.abs(x)) / 0.12, 0.0, 1.0)
    groove = 1.0 - 0.25 * np.exp(-((x / 0.03) ** 2))
    lit = (0.15 + 0.85 * level**1.5) * groove
    colour = _over(colour, np.array(_TONGUE) * (lit * 0.8)[..., None], tongue)
    upper_edge, lower_edge = teeth.upper_show, jaw + 0.02 - teeth.lower_show
    for edge, sign, reach, dim in ((lower_edge, -1.0, 0.95, 0.55), (upper_edge, 1.0, 1.0, 1.0)):
        tooth, gum, tone = _teeth(x, y, edge, sign, reach)
        colour = _over(colour, np.array(_GUM) * (shade * dim)[..., None], gum)
        colour = _over(colour, teeth.colour * (shade * tone * dim)[..., None], tooth)
    return colour


def _teeth(x: Array, y: Array, edge: float, sign: float, reach: float) -> tuple[Array, Array, Array]:
    """Opacity of a row of teeth and of its gum, and the teeth's shading.

    Args:
        x, y: positions in face units from the middle of the closed lips.
        edge: y of the biting edges.
        sign: 1 for the upper row, above its edges, and -1 for the lower.
        reach: width relative to the upper row.
    """
    share = np.clip(np.abs(x) / (_ARCH_HALF * reach), 0.0, 0.999)
    # Length along an ellipse, by series in the angle; close enough for the width of teeth.
    angle = np.arcsin(share)
    along = _ARCH_HALF * angle * (1.0 + 0.35 * (_ARCH_DEPTH / _ARCH_HALF - 1.0) * (angle / 1.571) ** 2)
    index = np.clip(np.searchsorted(_TOOTH_EDGES, along, side="right") - 1, 0, len(_TOOTH_EDGES) - 2)
    width = np.diff(_TOOTH_EDGES)[index]
    local = 2.0 * (along - _TOOTH_EDGES[index]) / width - 1.0
    lift = 0.02 * np.abs(local) ** 5 + 0.10 * share**2
    biting = sign * (edge - y) - lift
    length = 0.16 - 0.05 * share
    gum_line = length - 0.025 * np.abs(local) ** 2
    soft = 0.012
    row = np.clip(biting / soft + 0.5, 0.0, 1.0) * (share < 0.99)
    tooth = row * np.clip((gum_line - biting) / (2 * soft) + 0.5, 0.0, 1.0)
    gap = np.exp(-(((1.0 - np.abs(local)) * width / 0.010) ** 2))
    tone = (1.0 - 0.35 * gap) * (1.0 - 0.70 * share**2) * (0.92 + 0.08 * np.cos(local * 1.6))
    return tooth, row, tone


def _over(under: Array, colour: Array, opacity: Array) -> Array:
    return np.asarray(under + opacity[..., None] * (colour - under))


def _edge(
    points: Array, names: tuple[int, ...], x: Array, middle: Array, right: Array, down: Array, unit_px: float
) -> Array:
    knots = points[list(names)] - middle
    return np.interp(x, knots @ right / unit_px, knots @ down / unit_px)
