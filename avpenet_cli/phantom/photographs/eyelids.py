"""Draw the lids over the eyes from the skin above and below them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avpenet_cli.phantom.head.model import Expression
from avpenet_cli.phantom.photographs.template import BROW_BOTTOM, EYE_LEFT, EYE_RIGHT, UNDER_LEFT, UNDER_RIGHT, Array

Float = npt.NDArray[np.float32]

_MEET = 0.72
"""Where the lids meet, from the upper margin at rest (0) to the lower one (1)."""
_LASH = 0.055
"""Strip of the margin with the lashes, which moves without stretching, in face units; less under a lowered brow."""


@dataclass(frozen=True)
class EyePatch:
    """Part of a frame with an eye.

    Attributes:
        left, top: of the patch, in pixels of the frame.
        from_x, from_y: (h, w) float32 position at which each pixel of the patch would be were the lids at rest.
        gain: (h, w) float32 logarithmic darkening: lash line and shadow of the lid.
    """

    left: int
    top: int
    from_x: Float
    from_y: Float
    gain: Float


def closing(expression: Expression) -> tuple[float, float]:
    """Share of the way to their meeting that the upper and the lower lid have gone, each in [0, 1]."""
    e = expression
    upper = 1.0 - (1.0 - e.eyes_closed) * (1.0 - 0.30 * e.orbit_tighten) * (1.0 - 0.12 * e.lip_corner_pull)
    lower = 1.0 - (1.0 - e.eyes_closed) * (1.0 - 0.75 * e.orbit_tighten) * (1.0 - 0.40 * e.lip_corner_pull)
    return upper, lower


def draw_lids(expression: Expression, points: Array, unit_px: float) -> list[EyePatch]:
    """Lids of both eyes.

    Args:
        expression: action units.
        points: (189, 2) in pixels of the frame, under the expression.
        unit_px: size of a face unit in the frame.
    """
    upper, lower = closing(expression)
    if upper <= 0.0 and lower <= 0.0:
        return []
    eyes = zip((EYE_LEFT, EYE_RIGHT), (UNDER_LEFT, UNDER_RIGHT), BROW_BOTTOM, strict=True)
    return [
        _eye(points[list(above)], points[list(below)], points[brow], (upper, lower), unit_px)
        for above, below, brow in eyes
    ]


def _eye(above: Array, below: Array, brow: Array, closed: tuple[float, float], unit_px: float) -> EyePatch:
    start, across = above[0], above[-1] - above[0]
    length = float(np.hypot(*across))
    right = across / length
    down = np.array([-right[1], right[0]])
    room = 0.26 * unit_px
    corners = np.concatenate([above, below])
    left, top = np.floor(corners.min(0) - (0.05 * unit_px, room)).astype(int)
    end_x, end_y = np.ceil(corners.max(0) + np.array([0.05 * unit_px, room])).astype(int)
    x, y = np.meshgrid(np.arange(left, end_x, dtype=np.float64), np.arange(top, end_y, dtype=np.float64))
    t = ((x - start[0]) * right[0] + (y - start[1]) * right[1]) / length
    v = (x - start[0]) * down[0] + (y - start[1]) * down[1]
    inside = np.clip(t, 0.0, 1.0)

    def curve(points: Array) -> Array:
        along = np.maximum.accumulate((points - start) @ right / length + 1e-6 * np.arange(len(points)))
        quartic = np.linalg.solve(np.vander(along), (points - start) @ down)
        return np.asarray(np.polyval(quartic, inside))

    rest_upper, rest_lower = curve(above), curve(below)
    gap = np.maximum(rest_lower - rest_upper, 0.0)
    margin_upper = rest_upper + closed[0] * _MEET * gap
    margin_lower = rest_lower - closed[1] * (1.0 - _MEET) * gap
    # Skin gives way from just below the brow on.
    brow_gap = float(-((brow - start) @ down)) + float(rest_upper.min())
    strip = float(np.clip(0.95 * brow_gap, 0.05 * unit_px, 0.19 * unit_px))
    above_r, below_r = margin_upper - v, v - margin_lower
    lash = min(_LASH * unit_px, 0.3 * strip)
    from_v = v.copy()
    on_upper, on_lower = above_r > 0.0, (below_r > 0.0) & (above_r <= 0.0)
    from_upper = rest_upper - _unstretched(above_r, strip + margin_upper - rest_upper, strip, lash)
    under = 0.14 * unit_px
    from_lower = rest_lower + _unstretched(below_r, under + rest_lower - margin_lower, under, lash)
    from_v = np.where(on_upper, from_upper, np.where(on_lower, from_lower, v))
    shift = from_v - v
    taper = np.clip(np.minimum(t, 1.0 - t) / 0.04, 0.0, 1.0)
    gain = _shade(margin_upper - v, margin_lower - v, inside, closed, unit_px) * np.clip(gap / (0.03 * unit_px), 0, 1)
    return EyePatch(
        int(left),
        int(top),
        (x + shift * taper * down[0]).astype(np.float32),
        (y + shift * taper * down[1]).astype(np.float32),
        (gain * taper).astype(np.float32),
    )


def _unstretched(r: Array, stretched: Array, rest: float, lash: float) -> Array:
    """Distance from the margin at rest of skin that is at distance r from the moved margin."""
    beyond = lash + (r - lash) * (rest - lash) / np.maximum(stretched - lash, 1e-6)
    moved = np.where(r < lash, r, beyond)
    return np.where(r < stretched, moved, r - stretched + rest)


def _shade(above_r: Array, below_r: Array, t: Array, closed: tuple[float, float], unit_px: float) -> Array:
    """Logarithmic gain of the lash line at the upper margin, the shadow under it and the rounding of the lid.

    Args:
        above_r: distance above the upper margin, negative below it.
        below_r: distance above the lower margin.
        t: from 0 to 1 along the eye.
        closed: of the upper and the lower lid.
        unit_px: size of a face unit.
    """
    ends = np.sin(np.pi * np.clip(0.08 + 0.84 * t, 0, 1))
    line = np.exp(-0.5 * (above_r / (0.016 * unit_px)) ** 2)
    lashes = np.where(above_r < 0, np.exp(above_r / (0.045 * unit_px)), 0.0)
    between = (above_r <= 0) & (below_r > 0)
    shadow = np.where(between, np.exp(above_r / (0.05 * unit_px)), 0.0)
    rounded = np.where(above_r > 0, np.exp(-0.5 * ((above_r - 0.09 * unit_px) / (0.045 * unit_px)) ** 2), 0.0)
    full = closed[0]
    return np.asarray(full * ends * (0.10 * rounded - 0.95 * line - 0.30 * lashes) - 0.6 * full * (1 - full) * shadow)
