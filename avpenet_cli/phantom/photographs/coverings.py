"""Draw what covers part of a photographed face: masks, tubes with tape, nasal CPAP, a hand."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline

from avpenet_cli.phantom.face.covers import Cover
from avpenet_cli.phantom.face.renderer import Frame
from avpenet_cli.phantom.parameters.face_params import face_params
from avpenet_cli.phantom.photographs.template import Array

Float = npt.NDArray[np.float32]

_MM = 1.0 / 63.0
"""A millimetre in face units, by the mean distance between an adult's pupils (Dodgson 2004, Proc. SPIE 5291)."""


class _Drawing:
    """Solids drawn on a frame, placed in face units that move with the face.

    Args:
        colour: (height, width, 3) uint8, drawn on in place.
        opacity: (height, width) uint8, drawn on in place.
        points: (189, 2) in pixels of the frame.
        unit_px: size of a face unit.
        light: linear gain of the light.
    """

    def __init__(self, colour: Frame, opacity: Frame, points: Array, unit_px: float, light: float) -> None:
        self._colour, self._opacity, self._unit_px, self._light = colour, opacity, unit_px, light
        across = points[1] - points[0]
        right = across / np.hypot(*across)
        self._axes = unit_px * np.stack([right, [-right[1], right[0]]])
        self._start = 0.5 * (points[0] + points[1])
        self.at = (points - self._start) @ self._axes.T / unit_px**2

    def limb(self, path: Array, radius: Array | float, albedo: tuple[float, float, float]) -> None:
        """A rounded tube or finger along a smooth path (k, 2), with radii (40,) or one for all."""
        along = np.linspace(0.0, 1.0, 40)
        flat = CubicSpline(np.linspace(0.0, 1.0, len(path)), path)(along) if len(path) > 2 else _line(path, along)
        widths = np.broadcast_to(radius, 40)

        def fill(mask: Frame, to_px: Callable[[Array], Array]) -> None:
            fixed = np.round(to_px(flat) * 16).astype(int)
            for place, width in zip(fixed, widths, strict=True):
                cv2.circle(mask, place.tolist(), round(width * self._unit_px * 16), 255, -1, cv2.LINE_AA, 4)
            for a, b, width in zip(fixed[:-1], fixed[1:], widths, strict=False):
                thick = max(1, round(2 * width * self._unit_px))
                cv2.line(mask, a.tolist(), b.tolist(), 255, thick, cv2.LINE_AA, 4)

        self._solid(fill, flat, float(np.max(widths)), albedo, float(np.max(widths)))

    def sheet(self, outline: Array, albedo: tuple[float, float, float], pleats: Array | None = None) -> None:
        """A flat sheet, such as tape or a mask, with dark pleats (k, 2, 2) if any."""

        def fill(mask: Frame, to_px: Callable[[Array], Array]) -> None:
            cv2.fillPoly(mask, [np.round(to_px(outline) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)

        self._solid(fill, outline, 0.06, albedo, 0.02 if pleats is None else 0.25, pleats)

    def band(self, path: Array, width: float, albedo: tuple[float, float, float]) -> None:
        """A strip along a path (k, 2)."""
        tangent = np.gradient(path, axis=0)
        normal = np.stack([-tangent[:, 1], tangent[:, 0]], 1) / np.linalg.norm(tangent, axis=1, keepdims=True)
        self.sheet(np.concatenate([path + 0.5 * width * normal, (path - 0.5 * width * normal)[::-1]]), albedo)

    def _solid(
        self,
        fill: Callable[[Frame, Callable[[Array], Array]], None],
        path: Array,
        reach: float,
        albedo: tuple[float, float, float],
        round_units: float,
        pleats: Array | None = None,
    ) -> None:
        height, width = self._opacity.shape
        placed = path @ self._axes + self._start
        edge = (reach + 0.2) * self._unit_px
        left, top = np.clip(np.floor(placed.min(0) - edge).astype(int), 0, (width, height))
        right, bottom = np.clip(np.ceil(placed.max(0) + edge).astype(int), 0, (width, height))
        if right <= left or bottom <= top:
            return

        def to_px(points: Array) -> Array:
            return np.asarray(points @ self._axes + self._start - (left, top))

        mask = np.zeros((bottom - top, right - left), np.uint8)
        fill(mask, to_px)
        inner = np.s_[top:bottom, left:right]
        edge_px = round_units * self._unit_px
        # Without any edge in sight, the distance to it is the largest number.
        depth = np.minimum(cv2.distanceTransform((mask > 127).astype(np.uint8), cv2.DIST_L2, 3), edge_px) / edge_px
        shade = 0.62 + 0.38 * np.sin(0.5 * np.pi * depth)
        if pleats is not None:
            lines = np.zeros_like(mask)
            thick = max(1, round(0.02 * self._unit_px))
            for pleat in pleats:
                start, end = np.round(to_px(pleat) * 16).astype(int).tolist()
                cv2.line(lines, start, end, 255, thick, cv2.LINE_AA, 4)
            shade *= 1.0 - 0.25 * cv2.GaussianBlur(lines, (0, 0), max(0.5, 0.012 * self._unit_px)) / 255.0
        share = (cv2.GaussianBlur(mask, (3, 3), 0.6) / np.float32(255))[..., None]
        shadow = cv2.GaussianBlur(mask, (0, 0), 0.05 * self._unit_px) / np.float32(255)
        under = self._colour[inner].astype(np.float32) * (1.0 - 0.35 * shadow[..., None])
        code = 255.0 * np.clip(np.array(albedo, np.float32) * self._light, 0.0, 1.0) ** np.float32(1 / 2.2)
        mixed = under + share * (code * np.sqrt(shade)[..., None].astype(np.float32) - under)
        self._colour[inner] = np.clip(mixed + 0.5, 0.0, 255.0).astype(np.uint8)
        self._opacity[inner] = np.maximum(self._opacity[inner], (255.0 * share[..., 0]).astype(np.uint8))


def draw_cover(
    cover: Cover, colour: Frame, opacity: Frame, points: Array, unit_px: float, light: float, skin: Array
) -> None:
    """Draw a cover on a cut-out person, in place.

    Args:
        cover: what to draw; its depth is only suggested by shading.
        colour: (height, width, 3) uint8 RGB multiplied by opacity.
        opacity: (height, width) uint8.
        points: (189, 2) of the face, in pixels of the frame.
        unit_px: size of a face unit in the frame.
        light: linear gain of the light.
        skin: (3,) linear RGB of a bare hand.
    """
    drawing = _Drawing(colour, opacity, points, unit_px, light)
    if cover.kind == "mask":
        _mask(drawing)
    elif cover.kind == "tube":
        _tube(drawing, cover.side)
    elif cover.kind == "tape":
        _nasogastric_tube(drawing, cover.side)
    elif cover.kind == "cpap":
        _cpap(drawing)
    elif cover.kind == "hand":
        _hand(drawing, cover, (float(skin[0]), float(skin[1]), float(skin[2])))


def _line(path: Array, along: Array) -> Array:
    return np.asarray(path[0] + along[:, None] * (path[1] - path[0]))


def _half(drawing: _Drawing) -> float:
    """Half the width of the face."""
    return float(0.5 * (drawing.at[112, 0] - drawing.at[109, 0]))


def _mask(drawing: _Drawing) -> None:
    params, at, half = face_params().covers, drawing.at, _half(drawing)
    middle = float(at[55, 0])
    top, bottom = 0.30 * float(at[55, 1]), float(at[129, 1]) + 0.8 * params.mask_below_chin_mm * _MM
    wide = params.mask_half_share * half * 1.12
    sag = params.mask_sag_mm * _MM
    x = np.linspace(-1.0, 1.0, 13)
    upper = np.stack([middle + wide * x, top + sag * x**2 + 0.5 * sag * (1 - np.exp(-((x / 0.2) ** 2)))], 1)
    lower = np.stack([middle + 0.62 * wide * x, bottom - 0.10 * x**2], 1)[::-1]
    for side in (-1.0, 1.0):
        for start in (upper[-1 if side > 0 else 0], lower[0 if side > 0 else -1]):
            ear = np.array([middle + side * 1.10 * half, 0.30 if start[1] < 1.0 else 0.75])
            drawing.limb(np.stack([start, ear]), 1.0 * _MM, face_params().skin.mask_white)
    levels = top + (bottom - top) * np.array([0.35, 0.52, 0.69])
    pleats = np.array([[[middle - 0.82 * wide, y], [middle + 0.82 * wide, y]] for y in levels])
    drawing.sheet(np.concatenate([upper, lower]), face_params().skin.mask_blue, pleats)


def _tube(drawing: _Drawing, side: int) -> None:
    params, at, half = face_params().covers, drawing.at, _half(drawing)
    x = np.linspace(-1.0, 1.0, 13)
    level = 0.5 * float(at[55, 1] + at[90, 1])
    middle = float(at[90, 0])
    tape = np.stack([middle + params.tape_half_share * half * x, level - params.tape_rise_mm * _MM * x**2], 1)
    mouth = 0.5 * (at[96] + at[101])
    out = float(side) * np.array([1.0, 0.0])
    reach = 0.35 * float(at[93, 0] - at[87, 0]) * 0.5
    path = np.stack([mouth + reach * out, mouth + 0.30 * out + (0, 0.12), mouth + 0.85 * out + (0, 0.55),
                     mouth + 1.5 * out + (0, 1.7)])  # fmt: skip
    drawing.limb(path, params.tube_radius_mm * _MM, face_params().skin.tube)
    drawing.band(tape, params.tape_mm * _MM, face_params().skin.tape)


def _nasogastric_tube(drawing: _Drawing, side: int) -> None:
    params, half = face_params().covers, _half(drawing)
    x, y = drawing.at[70 if side > 0 else 65]
    path = np.array([[x, y + 0.02], [x + 0.08 * side, y + 0.10], [0.48 * half * side, y + 0.06],
                     [0.72 * half * side, y - 0.11], [0.98 * half * side, y - 0.32]])  # fmt: skip
    drawing.limb(path, params.nasogastric_radius_mm * _MM, face_params().skin.tube)
    along = CubicSpline(np.linspace(0.0, 1.0, 5), path)
    drawing.band(along(np.linspace(0.42, 0.78, 9)), params.cheek_tape_mm * _MM, face_params().skin.tape)
    drawing.band(along(np.linspace(0.08, 0.24, 5)), 0.5 * params.cheek_tape_mm * _MM, face_params().skin.tape)


def _cpap(drawing: _Drawing) -> None:
    params, half, skin = face_params().covers, _half(drawing), face_params().skin
    x, y = drawing.at[55]
    reach = params.prongs_half_mm * _MM
    for side in (-1.0, 1.0):
        strap = np.array([[x + 0.34 * half * side, y + 0.03], [x + 0.65 * half * side, y + 0.10],
                          [x + 1.0 * half * side, y + 0.12]])  # fmt: skip
        drawing.band(strap, params.strap_mm * _MM, skin.mask_white)
        across = side * np.array([0.50, 0.80, 0.90, 0.78, 0.42]) * half
        hose = np.stack(
            [np.r_[x + 0.95 * reach * side, across], np.array([y, y - 0.05, y - 0.22, -0.18, -0.70, -1.4])], 1
        )
        drawing.limb(hose, params.hose_radius_mm * _MM, skin.tube)
    drawing.limb(np.array([[x - reach, y], [x + reach, y]]), params.prongs_radius_mm * _MM, skin.tape)


def _hand(drawing: _Drawing, cover: Cover, bare: tuple[float, float, float]) -> None:
    albedo = face_params().skin.glove if cover.gloved else bare
    size = face_params().covers.hand_mm * _MM
    turn = cover.side * np.deg2rad(cover.turn_deg)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    # `Cover.at` is in half distances between the pupils, y up.
    place = 0.5 * np.array([cover.at[0], -cover.at[1]])

    def limb(start: tuple[float, float], end: tuple[float, float], thick: float, thin: float) -> None:
        path = size * np.array([start, end]) * (1.0, -1.0) @ rotation + place
        drawing.limb(path, size * np.linspace(thick, thin, 40), albedo)

    limb((0.0, -1.6), (0.0, -0.38), 0.18, 0.15)
    limb((0.0, -0.36), (0.0, 0.04), 0.17, 0.20)
    limb((-0.2 * cover.side, -0.15), (-0.40 * cover.side, 0.14), 0.065, 0.045)
    for x, length in zip((-0.15, -0.05, 0.055, 0.15), (0.36, 0.43, 0.40, 0.31), strict=True):
        limb((x, 0.1), (1.25 * x, 0.12 + length), 0.055, 0.042)
