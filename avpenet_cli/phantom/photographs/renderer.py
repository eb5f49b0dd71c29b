"""Render frames of a photographed person from expression, pose and light."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from avpenet_cli.phantom.face.covers import Cover
from avpenet_cli.phantom.face.projection import check_background
from avpenet_cli.phantom.face.renderer import NO_COVER, Frame, View
from avpenet_cli.phantom.head.model import Expression, Float
from avpenet_cli.phantom.photographs import folds, light, template
from avpenet_cli.phantom.photographs.coverings import draw_cover
from avpenet_cli.phantom.photographs.eyelids import EyePatch, draw_lids
from avpenet_cli.phantom.photographs.mouth import MouthPatch, draw_mouth
from avpenet_cli.phantom.photographs.person import Person
from avpenet_cli.phantom.photographs.template import Array
from avpenet_cli.phantom.photographs.warp import fit_thin_plate

_MAX_TURN_DEG = 12.0
"""Beyond it, a turned photograph is no face."""
_RING = (-2.1, -2.2, 2.1, 2.9)
"""Rectangle in face units (left, top, right, bottom) within which the head moves over the shoulders."""
_STEP = 0.07
"""Spacing at which the warp is computed, in face units; bicubic in between."""
_GAMMA = 1.0 / 2.2


@dataclass(frozen=True)
class _Placed:
    """A person in a frame.

    Attributes:
        points: (189, 2) in pixels of the frame.
        at_rest: the same without the expression.
        ring: (n, 2) points around the head that no expression moves, in pixels of the frame.
        to_body: (2, 3) affine map from pixels of the frame to face units, exact on the ring.
        unit_px: size of a face unit.
    """

    points: Array
    at_rest: Array
    ring: Array
    to_body: Array
    unit_px: float


class PhotographRenderer:
    """Renders a photographed person. Preparation is expensive; a frame is not.

    The head turns by at most 12 degrees of yaw and pitch, a larger view is rendered as 12. The photograph's own soft
    light stays; the view's is added to it. Of a smiling photograph only the eyes and brows move.

    Args:
        person: cut out of a photograph.
    """

    def __init__(self, person: Person) -> None:
        self._person = person
        self._normals = light.typical_normals()

    def frame(self, expression: Expression, view: View, background: Frame, cover: Cover = NO_COVER) -> Frame:
        """Render one frame: (height, width, 3) uint8 RGB; see `FaceRenderer`."""
        check_background(background, view)
        if self._person.mirrored:
            view, cover = _mirrored(view), _mirrored_cover(cover)
            background = np.ascontiguousarray(background[:, ::-1])
        expression = self._shown(expression)
        placed = self._placed(expression, view)
        out = self._composed(expression, view, background, placed, cover)
        return np.ascontiguousarray(out[:, ::-1]) if self._person.mirrored else out

    def landmarks_px(self, expression: Expression, view: View) -> Float:
        """Where the landmarks of a face detector are: (5, 2) float32; see `FaceRenderer`."""
        mirrored = self._person.mirrored
        points = self._placed(self._shown(expression), _mirrored(view) if mirrored else view).points
        eyes = [points[list((*above, *below[1:-1]))].mean(0) for above, below in _EYES]
        tip = 0.3 * (points[54] + points[60]) + 0.4 * points[55]
        marks = np.stack([*eyes, tip, *points[list(template.MOUTH_CORNERS)]]).astype(np.float32)
        if mirrored:
            marks = marks[[1, 0, 2, 4, 3]]
            marks[:, 0] = view.width_px - 1 - marks[:, 0]
        return marks

    def _shown(self, expression: Expression) -> Expression:
        if not self._person.smiling:
            return expression
        return Expression(brow_raise=expression.brow_raise, eyes_closed=expression.eyes_closed)

    def _placed(self, expression: Expression, view: View) -> _Placed:
        person = self._person
        unit_px = view.face_width_px / person.face_width
        yaw, pitch = np.deg2rad(np.clip([view.yaw_deg, view.pitch_deg], -_MAX_TURN_DEG, _MAX_TURN_DEG))
        roll = np.deg2rad(view.roll_deg)
        turn = unit_px * np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
        middle = np.array([view.width_px, view.height_px]) / 2 + view.offset_px
        rotated = np.array([np.cos(yaw), np.cos(pitch)])
        lean = np.array([np.sin(yaw), np.sin(pitch)])
        turned = person.points * rotated + person.depth[:, None] * lean
        moved = turned + template.displacement(expression, person.brow_share) * rotated
        # The shoulders do not turn, and lie as far behind the eyes as the axis of the neck.
        behind = -float(template.depth(np.zeros(2))) * lean
        to_frame = np.concatenate([turn, (middle + turn @ behind)[:, None]], 1)
        inverse = cv2.invertAffineTransform(to_frame)
        ring = _ring() @ turn.T + to_frame[:, 2]
        return _Placed(
            moved @ turn.T + middle, turned @ turn.T + middle, ring, np.asarray(inverse, np.float64), unit_px
        )

    def _composed(self, expression: Expression, view: View, background: Frame, placed: _Placed, cover: Cover) -> Frame:
        person = self._person
        to_photo = _chained(person.from_face, placed.to_body)
        map_x, map_y = _affine_maps(to_photo, view.width_px, view.height_px)
        box = _box(placed.ring, view)
        tint = (view.light.intensity * np.array(view.light.colour, np.float32)) ** np.float32(_GAMMA)
        gain = None
        if box is not None:
            left, top, right, bottom = box
            self._bend(map_x, map_y, box, placed, to_photo)
            inner = np.s_[top:bottom, left:right]
            darker = np.zeros((bottom - top, right - left), np.float32)
            for patch in draw_lids(expression, placed.points, placed.unit_px):
                _close(map_x[inner], map_y[inner], darker, _clipped(patch, box))
            gain = np.exp(darker + self._shaded(expression, view, map_x[inner], map_y[inner]))
        shot = self._shot(map_x, map_y, placed.unit_px)
        colour = np.asarray(cv2.cvtColor(shot, cv2.COLOR_RGBA2RGB), np.uint8)
        opacity = np.ascontiguousarray(shot[..., 3])
        if box is not None and gain is not None:
            lit = cv2.merge([gain, gain, gain])
            colour[inner] = cv2.multiply(np.ascontiguousarray(colour[inner]), lit, dtype=cv2.CV_8U)
        if not person.smiling:
            mouth = draw_mouth(placed.points, placed.at_rest, placed.unit_px, person.teeth)
            if mouth is not None:
                _add_mouth(colour, mouth, 1.0 if gain is None else float(gain.mean()))
        if cover.kind != "none":
            brightness = 1.0 if gain is None else float(gain.mean()) ** (1.0 / _GAMMA)
            draw_cover(cover, colour, opacity, placed.points, placed.unit_px, brightness, person.skin)
        if (tint != 1.0).any():
            colour = np.asarray(cv2.LUT(colour, _scaled_codes(tint)), np.uint8)
        behind = cv2.multiply(background, cv2.cvtColor(255 - opacity, cv2.COLOR_GRAY2RGB), scale=1 / 255)
        return np.asarray(cv2.add(colour, behind), np.uint8)

    def _shot(self, map_x: Float, map_y: Float, unit_px: float) -> Frame:
        """The photograph at the given positions, (h, w, 4), from the level that fits the frame's resolution."""
        levels = self._person.levels
        level = int(np.clip(np.log2(max(self._photo_unit_px / unit_px, 1.0)) + 0.3, 0, len(levels) - 1))
        if level:
            shrink = np.float32(0.5**level)
            map_x, map_y = (map_x + 0.5) * shrink - 0.5, (map_y + 0.5) * shrink - 0.5
        return np.asarray(
            cv2.remap(levels[level], map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8
        )

    @property
    def _photo_unit_px(self) -> float:
        return float(np.hypot(*self._person.from_face[:, 0]))

    def _bend(
        self, map_x: Float, map_y: Float, box: tuple[int, int, int, int], placed: _Placed, to_photo: Array
    ) -> None:
        """Add to the affine maps, within the box, what the head's pose, shape and expression change."""
        person, (left, top, right, bottom) = self._person, box
        used = _KNOTS
        knots = np.concatenate([placed.points[used], placed.ring])
        straight = placed.points[used] @ to_photo[:, :2].T + to_photo[:, 2]
        change = np.concatenate([person.points_px[used] - straight, np.zeros_like(placed.ring)])
        centre = 0.5 * np.array([left + right, top + bottom])
        spline = fit_thin_plate((knots - centre) / placed.unit_px, change)
        step = max(2, round(_STEP * placed.unit_px))
        columns, rows = -(-(right - left) // step), -(-(bottom - top) // step)
        x = left + (np.arange(columns) + 0.5) * step - 0.5
        y = top + (np.arange(rows) + 0.5) * step - 0.5
        grid = np.stack(np.meshgrid(x, y), -1)
        body = grid @ placed.to_body[:, :2].T + placed.to_body[:, 2]
        inside = np.minimum(body - _RING[:2], np.array(_RING[2:]) - body).min(-1)
        values = spline((grid.reshape(-1, 2) - centre) / placed.unit_px).reshape(rows, columns, 2)
        values *= np.clip(inside / 0.25, 0.0, 1.0)[..., None].astype(np.float32)
        wide = cv2.resize(values, (columns * step, rows * step), interpolation=cv2.INTER_CUBIC)
        map_x[top:bottom, left:right] += wide[: bottom - top, : right - left, 0]
        map_y[top:bottom, left:right] += wide[: bottom - top, : right - left, 1]

    def _shaded(self, expression: Expression, view: View, map_x: Float, map_y: Float) -> Float:
        """Logarithmic gain of sRGB codes by folds and light, at positions in the photograph."""
        to_face = cv2.invertAffineTransform(self._person.from_face).astype(np.float32)
        face_x = to_face[0, 0] * map_x + to_face[0, 1] * map_y + to_face[0, 2]
        face_y = to_face[1, 0] * map_x + to_face[1, 1] * map_y + to_face[1, 2]
        weights = folds.depths(expression)
        if self._person.smiling:
            weights[folds.SMILING] = 0.0
        used = np.flatnonzero(weights)
        total = np.zeros(face_x.shape, np.float32)
        if used.size:
            sheet = np.tensordot(weights[used], self._person.folds[used], 1)
            total += _sampled(sheet, face_x, face_y, (folds.LEFT, folds.TOP), folds.PX_PER_UNIT)
        lit = np.log(light.shading(self._normals, view.light)) * np.float32(_GAMMA)
        total += _sampled(lit, face_x, face_y, (light.LEFT, light.TOP), light.PX_PER_UNIT, cv2.BORDER_REPLICATE)
        return total


_KNOTS = np.setdiff1d(
    np.arange(template.POINTS),
    (*template.IRIS, *template.LID_CREASES, 116, 118, 119, 121, 123, 124, 185, 186, 187, 188),
)
"""Points that bend the skin: not those that lids cover or that lie close to others."""
_EYES = ((template.EYE_LEFT, template.UNDER_LEFT), (template.EYE_RIGHT, template.UNDER_RIGHT))


def _mirrored(view: View) -> View:
    return replace(
        view,
        offset_px=(-view.offset_px[0], view.offset_px[1]),
        yaw_deg=-view.yaw_deg,
        roll_deg=-view.roll_deg,
        light=replace(view.light, azimuth_deg=-view.light.azimuth_deg),
    )


def _mirrored_cover(cover: Cover) -> Cover:
    return replace(cover, side=-1 if cover.side == 1 else 1, at=(-cover.at[0], cover.at[1]))


def _ring() -> Array:
    left, top, right, bottom = _RING
    x, y = np.linspace(left, right, 7), np.linspace(top, bottom, 8)
    return np.concatenate(
        [
            np.stack([x, np.full(7, top)], 1),
            np.stack([x, np.full(7, bottom)], 1),
            np.stack([np.full(6, left), y[1:-1]], 1),
            np.stack([np.full(6, right), y[1:-1]], 1),
            # The jaw does not pull the shoulders up.
            np.array([[-1.5, 2.3], [-1.0, 2.4], [-0.4, 2.65], [0.4, 2.65], [1.0, 2.4], [1.5, 2.3]]),
        ]
    )


def _chained(outer: Array, inner: Array) -> Array:
    return np.concatenate([outer[:, :2] @ inner[:, :2], (outer[:, :2] @ inner[:, 2] + outer[:, 2])[:, None]], 1)


def _affine_maps(affine: Array, width: int, height: int) -> tuple[Float, Float]:
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    a = affine.astype(np.float32)
    return a[0, 0] * x + (a[0, 1] * y + a[0, 2]), a[1, 0] * x + (a[1, 1] * y + a[1, 2])


def _box(ring: Array, view: View) -> tuple[int, int, int, int] | None:
    low, high = np.floor(ring.min(0)).astype(int), np.ceil(ring.max(0)).astype(int)
    left, top = max(0, int(low[0])), max(0, int(low[1]))
    right, bottom = min(view.width_px, int(high[0])), min(view.height_px, int(high[1]))
    return (left, top, right, bottom) if right > left and bottom > top else None


def _clipped(patch: EyePatch, box: tuple[int, int, int, int]) -> EyePatch:
    """The patch relative to the box, and only what is in it."""
    left, top = patch.left - box[0], patch.top - box[1]
    x0, y0 = max(0, -left), max(0, -top)
    x1, y1 = max(0, box[2] - box[0] - left), max(0, box[3] - box[1] - top)
    inner = np.s_[y0:y1, x0:x1]
    start = (np.float32(box[0]), np.float32(box[1]))
    return EyePatch(
        left + x0, top + y0, patch.from_x[inner] - start[0], patch.from_y[inner] - start[1], patch.gain[inner]
    )


def _close(map_x: Float, map_y: Float, darker: Float, patch: EyePatch) -> None:
    height, width = patch.gain.shape
    if not height or not width:
        return
    inner = np.s_[patch.top : patch.top + height, patch.left : patch.left + width]
    reach = np.s_[max(0, int(patch.from_y.min()) - 1) : max(0, int(patch.from_y.max())) + 3]
    for each in (map_x, map_y):
        source = np.ascontiguousarray(each[reach])
        down = patch.from_y - np.float32(reach.start)
        each[inner] = cv2.remap(source, patch.from_x, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    darker[inner] += patch.gain


def _sampled(
    sheet: Float, face_x: Float, face_y: Float, start: tuple[float, float], px: float, border: int = cv2.BORDER_CONSTANT
) -> Float:
    """Values of a map at positions in face units."""
    x, y = (
        (face_x - np.float32(start[0])) * np.float32(px) - 0.5,
        (face_y - np.float32(start[1])) * np.float32(px) - 0.5,
    )
    return np.asarray(cv2.remap(sheet, x, y, cv2.INTER_LINEAR, borderMode=border), np.float32)


def _add_mouth(colour: Frame, mouth: MouthPatch, gain: float) -> None:
    height, width = mouth.opacity.shape
    x0, y0 = max(0, -mouth.left), max(0, -mouth.top)
    x1, y1 = min(width, colour.shape[1] - mouth.left), min(height, colour.shape[0] - mouth.top)
    if x1 <= x0 or y1 <= y0:
        return
    part = np.s_[y0:y1, x0:x1]
    inner = np.s_[mouth.top + y0 : mouth.top + y1, mouth.left + x0 : mouth.left + x1]
    share = mouth.opacity[part][..., None]
    under = colour[inner].astype(np.float32)
    mixed = under + share * (mouth.colour[part] * np.float32(gain) - under)
    colour[inner] = np.clip(mixed + 0.5, 0.0, 255.0).astype(np.uint8)


def _scaled_codes(tint: Float) -> Frame:
    codes = np.arange(256, dtype=np.float32)[None, :, None] * tint
    return np.asarray(np.minimum(codes + 0.5, 255.0), np.uint8)
