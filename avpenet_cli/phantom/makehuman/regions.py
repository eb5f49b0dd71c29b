"""Regions of the skin texture, the same for everybody: the face, and the wrinkles of expressions."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from avpenet_cli.phantom.head.makehuman import MakeHumanPerson
from avpenet_cli.phantom.head.model import UNITS, Expression, Float, Index, Landmarks
from avpenet_cli.phantom.head.rasterizer import find_fragments, nearest
from avpenet_cli.phantom.makehuman.layout import SKIN_BOXES
from avpenet_cli.phantom.parameters.face_params import face_params

WRINKLE_REDUCTION = 2
"""The wrinkle maps have one pixel for so many of the atlas in each direction."""

_PX_PER_MM = 2.0
_FLAT_MM = 0.01
_HEAD_AT = SKIN_BOXES[0][1]
_HEAD_SIZE = SKIN_BOXES[0][0][2:]


class FrontView:
    """Where in the atlas the skin is that is seen from the front.

    Args:
        points_mm: (n, 3) float32 skin of the base mesh.
        faces: (m, 3) int32.
        corner_px: (m, 3, 2) pixels of the atlas of each triangle's corners.
    """

    def __init__(self, points_mm: Float, faces: Index, corner_px: Float) -> None:
        self._low = points_mm.min(0)
        size = np.ceil((points_mm.max(0) - self._low) * _PX_PER_MM).astype(int) + 2
        self._width, self._height = int(size[0]), int(size[1])
        flat = (points_mm - self._low) * np.array([_PX_PER_MM, _PX_PER_MM, 1.0], np.float32)
        flat[:, 1] = self._height - 1 - flat[:, 1]
        fragments = find_fragments(flat.astype(np.float32), faces, self._width, self._height)
        pixel, chosen = nearest(fragments, self._width * self._height)
        corners = corner_px[fragments.triangle[chosen]]
        weights = fragments.weights(chosen)[..., None]
        place = np.zeros((self._width * self._height, 2), np.float32)
        place[pixel] = corners[:, 0] + (weights * (corners[:, 1:] - corners[:, :1])).sum(1)
        self._place = place.reshape(self._height, self._width, 2)

    def px(self, points_mm: npt.ArrayLike) -> Float:
        """Frontal positions (k, 2 or 3) -> pixels of the atlas (k, 2) float32."""
        points = np.atleast_2d(np.asarray(points_mm, np.float64))
        column = np.clip((points[:, 0] - self._low[0]) * _PX_PER_MM, 0, self._width - 1).astype(int)
        row = np.clip(self._height - 1 - (points[:, 1] - self._low[1]) * _PX_PER_MM, 0, self._height - 1).astype(int)
        return np.asarray(self._place[row, column], np.float32)


@dataclass(frozen=True)
class SkinRegions:
    """Regions of the skin texture.

    Attributes:
        cheeks_px: (k, 2) int32 pixels of the atlas whose colour is that of the face.
        lips: (h, w) float32 in [0, 1] coverage by the lips' vermilion, and `lips_at` its left and top in the atlas.
        wrinkles_mm: (5, h, w) float32 height of the skin at full intensity, reduced: between the brows, on the
            forehead, around the eyes, at the root of the nose, from nose to mouth. Its edge is 0.
        wrinkles_at: left and top of the wrinkle maps in the atlas.
    """

    cheeks_px: Index
    lips: Float
    lips_at: tuple[int, int]
    wrinkles_mm: Float
    wrinkles_at: tuple[int, int]


def find_regions(person: MakeHumanPerson, front: FrontView) -> SkinRegions:
    """Find the regions by the landmarks of the base mesh."""
    marks = person.landmarks
    eye = marks.eye_x_mm
    spots = [
        (side * x * eye, y * eye) for side in (-1, 1) for x, y in ((1.0, -0.95), (1.2, -0.8), (0.5, 1.2), (0.2, 1.4))
    ]
    reach = np.stack(np.meshgrid(np.linspace(-0.12, 0.12, 9), np.linspace(-0.12, 0.12, 9)), -1).reshape(-1, 2) * eye
    cheeks = np.concatenate([front.px(np.array(spot) + reach) for spot in spots])
    wrinkles = _wrinkles(marks, front)
    deep = np.abs(wrinkles).max(0) > _FLAT_MM
    rows, columns = np.flatnonzero(deep.any(1)), np.flatnonzero(deep.any(0))
    top, left = max(int(rows[0]) - 2, 0), max(int(columns[0]) - 2, 0)
    wrinkles = wrinkles[:, top : int(rows[-1]) + 3, left : int(columns[-1]) + 3].copy()
    wrinkles[:, [0, -1]] = 0.0
    wrinkles[:, :, [0, -1]] = 0.0
    at = (_HEAD_AT[0] + left * WRINKLE_REDUCTION, _HEAD_AT[1] + top * WRINKLE_REDUCTION)
    return SkinRegions(cheeks.astype(np.int32), *_lips(marks, front), wrinkles, at)


def _lips(marks: Landmarks, front: FrontView) -> tuple[Float, tuple[int, int]]:
    """Coverage by the lips, soft at their edge, and its left and top in the atlas."""
    outline = front.px(marks.lips).astype(np.float64)
    margin = 14
    low, high = np.floor(outline.min(0)).astype(int) - margin, np.ceil(outline.max(0)).astype(int) + margin
    mask = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
    cv2.fillPoly(mask, [np.round(outline - low).astype(np.int32)], 255)
    share = np.asarray(cv2.GaussianBlur(mask, (0, 0), 4.0), np.float32) / np.float32(255)
    return share, (int(low[0]), int(low[1]))


class _Canvas:
    """Furrows drawn in the reduced texture of the head."""

    def __init__(self, front: FrontView, eye_x_mm: float) -> None:
        self._front = front
        left, right = front.px([[-eye_x_mm, 8.0], [eye_x_mm, 8.0]])
        self._px_per_mm = float(np.linalg.norm(right - left)) / (2 * eye_x_mm) / WRINKLE_REDUCTION
        self.shape = (_HEAD_SIZE[1] // WRINKLE_REDUCTION, _HEAD_SIZE[0] // WRINKLE_REDUCTION)

    def furrow(self, points_mm: npt.ArrayLike, width_mm: float, depth_mm: float) -> Float:
        """A groove with swollen edges along a line, which thins out towards both ends."""
        knots = np.asarray(points_mm, np.float64)
        along = np.linspace(0.0, len(knots) - 1.0, 40)
        path = np.stack([np.interp(along, np.arange(len(knots)), knots[:, axis]) for axis in (0, 1)], 1)
        at = (self._front.px(path) - np.array(_HEAD_AT)) / WRINKLE_REDUCTION
        at = cv2.GaussianBlur(at[:, None].astype(np.float32), (1, 9), 0, sigmaY=2.0, borderType=cv2.BORDER_REPLICATE)[
            :, 0
        ]
        mask = np.zeros(self.shape, np.float32)
        for start, end, share in zip(at[:-1], at[1:], np.sin(np.linspace(0.05, 0.95, 39) * np.pi) ** 0.6, strict=True):
            ends = [tuple(int(v) for v in np.round(point * 16)) for point in (start, end)]
            cv2.line(mask, ends[0], ends[1], float(share), 1, cv2.LINE_8, 4)
        groove = self._soft(mask, 0.35 * width_mm) - 0.55 * self._soft(mask, 0.95 * width_mm)
        return np.asarray(-depth_mm * groove, np.float32)

    def _soft(self, mask: Float, sigma_mm: float) -> Float:
        sigma = max(sigma_mm * self._px_per_mm, 0.5)
        # A line of one pixel keeps its full depth in the middle.
        return np.asarray(cv2.GaussianBlur(mask, (0, 0), sigma) * np.float32(sigma * np.sqrt(2 * np.pi)), np.float32)


def _wrinkles(marks: Landmarks, front: FrontView) -> Float:
    canvas, mm = _Canvas(front, marks.eye_x_mm), marks.eye_x_mm / face_params().adult.eye_x_mm
    knit, forehead, eye, nose, naso = (np.zeros(canvas.shape, np.float32) for _ in range(5))
    brow = float(marks.brows[:, 0, 1].mean())
    nasion_y = float(marks.nasion[1])
    for side in (-1.0, 1.0):
        top, foot = np.array([side * 6.0 * mm, brow + 11 * mm]), np.array([side * 6.0 * mm, nasion_y + 5 * mm])
        knit += canvas.furrow([top, 0.5 * (top + foot) + [side * 0.6 * mm, 0], foot], 2.6 * mm, 1.1 * mm)
        inner = np.array([side * 9.5 * mm, brow + 4 * mm])
        knit += canvas.furrow([inner, inner + np.array([side * 2.0, 6.0]) * mm], 2.2 * mm, 0.5 * mm)
    for height, half in ((15.0, 26.0), (23.0, 32.0), (31.0, 27.0)):
        x = np.linspace(-half, half, 15) * mm
        forehead += canvas.furrow(
            np.stack([x, brow + (height + 1.6 * np.cos(x / (9.0 * mm))) * mm], 1), 2.4 * mm, 0.7 * mm
        )
    for pupil, outline in zip(marks.pupils, marks.eyes, strict=True):
        side = np.sign(pupil[0])
        outer = outline[np.argmax(side * outline[:, 0])][:2]
        for rise, reach in ((8.0, 12.0), (3.0, 14.0), (-3.0, 14.0), (-9.0, 11.0)):
            start = outer + np.array([side * 4.0, 0.35 * rise]) * mm
            eye += canvas.furrow([start, outer + np.array([side * reach, rise]) * mm], 1.8 * mm, 0.75 * mm)
        lower = outline[outline[:, 1] <= pupil[1]]
        lower = lower[np.argsort(lower[:, 0])][:, :2]
        for drop, depth in ((4.5, 0.7), (8.5, 0.45)):
            eye += canvas.furrow(lower - np.array([0.0, drop * mm]), 2.2 * mm, depth * mm)
    for drop, half in ((2.0, 6.5), (5.5, 7.5), (9.0, 7.0)):
        x = np.linspace(-half, half, 7) * mm
        nose += canvas.furrow(np.stack([x, nasion_y - drop * mm - 0.02 * x**2], 1), 1.8 * mm, 0.55 * mm)
    for side in (-1.0, 1.0):
        start = np.array([side * 8.0 * mm, nasion_y - 8 * mm])
        nose += canvas.furrow([start, start + np.array([side * 5.0, -7.0]) * mm], 1.8 * mm, 0.5 * mm)
    for corner, nostril in zip(marks.lip_line[[0, -1], :2], marks.nostrils[:, :2], strict=True):
        side = np.sign(corner[0])
        wing = nostril + np.array([side * 11.5, 8.5]) * mm
        middle = 0.5 * (wing + corner) + np.array([side * 7.0, 2.0]) * mm
        foot = corner + np.array([side * 8.0, -2.0]) * mm
        naso += canvas.furrow([wing, middle, foot], 6.5 * mm, 1.7 * mm)
    return np.stack([knit, forehead, eye, nose, naso]).astype(np.float32)


def wrinkle_weights(expression: Expression, at_rest: float) -> Float:
    """Depth of each wrinkle map for an expression: (5,) float32 in [0, 1]; `at_rest` in [0, 1] without any."""
    share = face_params().furrows
    deep = [
        max(expression.brow_lower, share.from_nose_wrinkle * expression.nose_wrinkle),
        expression.brow_raise,
        max(expression.orbit_tighten, share.from_closing * expression.eyes_closed, 0.5 * expression.lip_corner_pull),
        max(expression.nose_wrinkle, 0.4 * expression.brow_lower),
        max(
            expression.nose_wrinkle,
            expression.lip_raise,
            share.from_smile * expression.lip_corner_pull,
            share.from_stretch * expression.lip_stretch,
        ),
    ]
    return np.maximum(np.array(deep, np.float32), np.float32(at_rest))


def limited_weights(expression: Expression) -> Float:
    """Weights (9,) of `UNITS`, reduced where several together would tear the mouth."""
    weights = expression.weights()
    params = face_params().photographic
    opened = weights[UNITS.index("mouth_open")]
    for unit, limit in params.with_open_mouth.items():
        weights[UNITS.index(unit)] *= 1.0 - (1.0 - limit) * opened
    return weights
