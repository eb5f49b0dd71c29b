"""Folds of the skin under action units, as smooth maps of darkening and lightening."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline

from avpenet_cli.phantom.head.model import Expression
from avpenet_cli.phantom.photographs.template import Array

Float = npt.NDArray[np.float32]

LEFT, TOP, RIGHT, BOTTOM = -1.35, -1.45, 1.35, 2.05
"""Extent of the maps in face units."""
PX_PER_UNIT = 100.0
WIDTH_PX, HEIGHT_PX = round((RIGHT - LEFT) * PX_PER_UNIT), round((BOTTOM - TOP) * PX_PER_UNIT)

_KINDS = ("glabella", "forehead", "orbit", "nose_root", "nasolabial", "smile", "stretch", "chin", "under_brow")


SMILING = _KINDS.index("smile")


def depths(expression: Expression) -> Float:
    """Depth of each kind of fold under an expression: (9,) float32 in [0, 1]."""
    e = expression
    return np.array(
        [
            min(1.0, e.brow_lower + 0.25 * e.nose_wrinkle),
            e.brow_raise * (1.0 - 0.6 * e.brow_lower),
            min(1.0, e.orbit_tighten * (0.75 + 0.25 * e.eyes_closed) + 0.35 * e.lip_corner_pull),
            min(1.0, e.nose_wrinkle + 0.15 * e.brow_lower),
            min(1.0, 0.65 * e.nose_wrinkle + 0.75 * e.lip_raise),
            min(1.0, e.lip_corner_pull),
            min(1.0, e.lip_stretch + 0.35 * e.mouth_open),
            min(1.0, 0.4 * e.mouth_open + 0.2 * e.lip_raise),
            e.brow_lower,
        ],
        np.float32,
    )


@dataclass
class _Sheet:
    """Logarithmic gain on a grid in face units, to which creases are added."""

    gain: Float

    def crease(self, path: list[tuple[float, float]] | Array, width: float, depth: float, ridge: float = 0.5) -> None:
        """Add a crease: dark in its core, with light ridges on both sides, fading out at its ends.

        Args:
            path: (k, 2) in face units.
            width: standard deviation of the dark core, in face units.
            depth: darkening of the core, as a logarithm.
            ridge: lightening of the ridges relative to `depth`.
        """
        knots = np.asarray(path, np.float64)
        along = np.linspace(0.0, 1.0, len(knots))
        fine = np.linspace(0.0, 1.0, 40)
        curve = CubicSpline(along, knots)(fine) if len(knots) > 2 else knots[0] + fine[:, None] * (knots[1] - knots[0])
        reach = 5.0 * width
        low = np.floor((curve.min(0) - reach - (LEFT, TOP)) * PX_PER_UNIT).astype(int)
        high = np.ceil((curve.max(0) + reach - (LEFT, TOP)) * PX_PER_UNIT).astype(int)
        low, high = np.maximum(low, 0), np.minimum(high, (WIDTH_PX, HEIGHT_PX))
        if (high <= low).any():
            return
        x = (np.arange(low[0], high[0], dtype=np.float32) + 0.5) / PX_PER_UNIT + LEFT
        y = (np.arange(low[1], high[1], dtype=np.float32) + 0.5) / PX_PER_UNIT + TOP
        squared = (x[None, :, None] - curve[:, 0]) ** 2 + (y[:, None, None] - curve[:, 1]) ** 2
        nearest = squared.argmin(-1)
        distance = np.sqrt(np.take_along_axis(squared, nearest[..., None], -1)[..., 0])
        fade = np.sin(np.pi * np.clip(0.06 + 0.88 * fine[nearest], 0, 1)) ** 0.8
        core = np.exp(-0.5 * (distance / width) ** 2)
        side = np.exp(-0.5 * ((distance - 2.4 * width) / (1.1 * width)) ** 2)
        self.gain[low[1] : high[1], low[0] : high[0]] += depth * fade * (ridge * side - core)

    def both(self, path: list[tuple[float, float]] | Array, width: float, depth: float, ridge: float = 0.5) -> None:
        """Add a crease of the image's left half, and its mirror image."""
        knots = np.asarray(path, np.float64)
        self.crease(knots, width, depth, ridge)
        self.crease(knots * (-1.0, 1.0), width, depth, ridge)

    def spot(self, at: tuple[float, float], spread: tuple[float, float], strength: float) -> None:
        """Lighten (or darken, if negative) a soft oval."""
        x = (np.arange(WIDTH_PX, dtype=np.float32) + 0.5) / PX_PER_UNIT + LEFT
        y = (np.arange(HEIGHT_PX, dtype=np.float32) + 0.5) / PX_PER_UNIT + TOP
        across, down = ((x - at[0]) / spread[0]) ** 2, ((y - at[1]) / spread[1]) ** 2
        self.gain += np.float32(strength) * np.exp(-0.5 * down)[:, None] * np.exp(-0.5 * across)[None, :]


def fold_maps(points: Array, rng: np.random.Generator) -> Float:
    """Maps of the folds of a face: (9, HEIGHT_PX, WIDTH_PX) float32, logarithmic gain at full depth.

    Args:
        points: (189, 2) of the neutral face, in face units.
        rng: varies the folds between persons.
    """
    sheets = [_Sheet(np.zeros((HEIGHT_PX, WIDTH_PX), np.float32)) for _ in _KINDS]
    vary = 1.0 + 0.2 * np.clip(rng.standard_normal(len(_KINDS)), -1.5, 1.5)
    draw = (_glabella, _forehead, _orbit, _nose_root, _nasolabial, _smile, _stretch, _chin, _under_brow)
    for sheet, add in zip(sheets, draw, strict=True):
        add(sheet, points, rng)
    maps = np.stack([sheet.gain * np.float32(by) for sheet, by in zip(sheets, vary, strict=True)])
    return np.stack([cv2.GaussianBlur(one, (0, 0), 0.6) for one in maps])


def _shift(rng: np.random.Generator, size: float) -> float:
    return float(size * np.clip(rng.standard_normal(), -1.5, 1.5))


def _glabella(sheet: _Sheet, p: Array, rng: np.random.Generator) -> None:
    inner = 0.5 * (p[76, 1] + p[77, 1])
    middle = 0.5 * (p[76, 0] + p[77, 0])
    for side in (-1.0, 1.0):
        x = middle + side * (0.075 + _shift(rng, 0.012))
        top, bottom = inner - 0.16 - _shift(rng, 0.03), inner + 0.12
        path = [(x + side * 0.035, top), (x + side * 0.012, 0.5 * (top + bottom)), (x + side * 0.01, bottom)]
        sheet.crease(path, 0.022, 0.34, 0.15)
    third = middle + _shift(rng, 0.02)
    sheet.crease([(third, inner - 0.13), (third, inner + 0.04)], 0.016, 0.12)
    for side, brow in ((-1.0, p[75]), (1.0, p[78])):
        # The corrugator bulges over the inner half of the brow, with a dimple above it.
        sheet.spot((brow[0] - side * -0.02, brow[1] - 0.01), (0.09, 0.06), 0.10)
        sheet.spot((brow[0] + side * 0.13, brow[1] - 0.17), (0.08, 0.05), -0.13)


def _forehead(sheet: _Sheet, p: Array, rng: np.random.Generator) -> None:
    top, brow = p[139, 1], 0.5 * (p[74, 1] + p[79, 1])
    for level in (0.22, 0.40, 0.58):
        y = brow + level * (top - brow) + _shift(rng, 0.02)
        half = 0.62 - 0.25 * abs(level - 0.35)
        sheet.crease(
            [(-half, y + 0.05), (-0.3, y - 0.01), (0.0, y + 0.03), (0.3, y - 0.01), (half, y + 0.05)], 0.015, 0.2
        )


def _orbit(sheet: _Sheet, p: Array, rng: np.random.Generator) -> None:
    for corner, side, under in ((p[18], -1.0, p[[28, 29, 30]]), (p[27], 1.0, p[[33, 32, 31]])):
        for turn in (-34, -8, 16, 42):
            angle = np.deg2rad(turn + _shift(rng, 5.0))
            start, length = 0.09, 0.22 + _shift(rng, 0.03)
            reach = np.array([start, start + 0.5 * length, start + length])
            bend = np.array([0.0, 0.01, 0.035])
            sheet.crease(
                np.stack([corner[0] + side * reach * np.cos(angle), corner[1] + reach * np.sin(angle) + bend], 1),
                0.013, 0.15, 0.35,
            )  # fmt: skip
        # The lower lid bulges, with folds below it that run towards the cheek.
        lid = np.stack([under[:, 0], under[:, 1] + 0.075], 1)
        sheet.crease(np.stack([under[:, 0] - side * 0.01, under[:, 1] + 0.085], 1), 0.018, 0.30, 0.6)
        sheet.crease(lid + np.array([side * 0.03, 0.085]), 0.016, 0.16, 0.5)
        sheet.spot((0.5 * (lid[0, 0] + lid[2, 0]), float(lid[1, 1]) + 0.30), (0.20, 0.10), 0.08)


def _nose_root(sheet: _Sheet, p: Array, rng: np.random.Generator) -> None:
    x = 0.5 * (p[51, 0] + p[57, 0])
    for y, half, depth in ((-0.10, 0.10, 0.13), (-0.01, 0.12, 0.16), (0.08, 0.11, 0.10)):
        level = y + _shift(rng, 0.012)
        sheet.crease([(x - half, level + 0.03), (x, level), (x + half, level + 0.03)], 0.016, depth, 0.25)
    for side in (-1.0, 1.0):
        # "Bunny lines" that run down the sides of the bridge.
        for start, depth in ((0.06, 0.16), (0.15, 0.15), (0.24, 0.10)):
            at = start + _shift(rng, 0.01)
            path = [(x + side * 0.07, at), (x + side * 0.14, at + 0.05), (x + side * 0.21, at + 0.13)]
            sheet.crease(path, 0.016, 0.9 * depth, 0.2)


def _nasolabial(sheet: _Sheet, p: Array, rng: np.random.Generator) -> None:
    for wing, upper, middle, lower, side in (
        (p[62], p[158], p[159], p[160], -1.0),
        (p[67], p[161], p[162], p[163], 1.0),
    ):
        path = np.stack([(wing[0] + side * 0.035, wing[1] - 0.04), upper, middle, lower])
        path[1:, 0] -= side * 0.03
        sheet.crease(path, 0.022, 0.24, 0.2)
        sheet.spot((upper[0] + side * 0.20, float(upper[1]) - 0.08), (0.13, 0.12), 0.08)
        sheet.spot((upper[0] - side * 0.05, float(middle[1]) - 0.04), (0.07, 0.10), -0.10)


def _smile(sheet: _Sheet, p: Array, rng: np.random.Generator) -> None:
    for upper, middle, lower, corner, side in (
        (p[158], p[159], p[160], p[87], -1.0),
        (p[161], p[162], p[163], p[93], 1.0),
    ):
        sheet.crease(np.stack([upper, middle, lower, lower + np.array([side * 0.02, 0.14])]), 0.022, 0.20, 0.12)
        sheet.spot((upper[0] + side * 0.22, float(upper[1]) - 0.12), (0.16, 0.13), 0.06)
        sheet.spot((corner[0] + side * 0.05, float(corner[1])), (0.04, 0.05), -0.18)


def _stretch(sheet: _Sheet, p: Array, rng: np.random.Generator) -> None:
    for corner, side in ((p[87], -1.0), (p[93], 1.0)):
        x, y = corner
        path = [(x + side * 0.09, y - 0.14), (x + side * 0.13, y + 0.02), (x + side * 0.09, y + 0.22)]
        sheet.crease(path, 0.022, 0.20, 0.12)


def _chin(sheet: _Sheet, p: Array, rng: np.random.Generator) -> None:
    under = p[106]
    sheet.crease([(-0.2, under[1] + 0.09), (under[0], under[1] + 0.06), (0.2, under[1] + 0.09)], 0.028, 0.28, 0.3)


def _under_brow(sheet: _Sheet, p: Array, rng: np.random.Generator) -> None:
    for eye, side in ((p[20], -1.0), (p[25], 1.0)):
        # The lowered brow shades the inner corner of the orbit.
        sheet.spot((eye[0] - side * 0.20, float(eye[1]) - 0.05), (0.10, 0.08), -0.30)
        sheet.spot((eye[0], float(eye[1]) - 0.08), (0.20, 0.05), -0.16)
