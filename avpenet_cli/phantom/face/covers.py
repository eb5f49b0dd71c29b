"""Objects that cover part of a face: a surgical mask, tubes with their tape, nasal CPAP, a hand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from avpenet_cli.phantom.head.model import UNITS, Float, HeadShape
from avpenet_cli.phantom.head.parts import Array, Part, grid_faces, jaw_displacement, join_parts, make_part
from avpenet_cli.phantom.head.rasterizer import rasterise
from avpenet_cli.phantom.head.surface import smooth
from avpenet_cli.phantom.head.texture_atlas import patch_px
from avpenet_cli.phantom.parameters.face_params import face_params

_PX_PER_MM = 2.0


@dataclass(frozen=True)
class Cover:
    """An object that covers part of a face.

    Attributes:
        kind: none, a surgical mask, a tube from the mouth with tape over the cheeks, a hand, nasal CPAP with straps
            and two tubes, or a nasogastric tube with tape on the cheek (`tape`).
        side: side of the image to which a tube leads and from which the hand comes, left (-1) or right (1).
        gloved: whether the hand wears a glove; otherwise it has the patient's skin colour.
        at: centre of the hand relative to the point between the eyes, x to the right and y up, in half distances
            between the pupils.
        turn_deg: rotation of the hand's fingers from upright towards its side.
    """

    kind: Literal["none", "mask", "tube", "hand", "cpap", "tape"] = "none"
    side: Literal[-1, 1] = 1
    gloved: bool = True
    at: tuple[float, float] = (0.0, -1.6)
    turn_deg: float = 30.0


class _Front:
    """Frontal depth map of the neutral face, and displacements of its skin."""

    def __init__(self, shape: HeadShape) -> None:
        points = shape.neutral_mm
        self._low = points.min(0)
        size = np.ceil((points.max(0) - self._low) * _PX_PER_MM).astype(int) + 2
        self._width, self._height = int(size[0]), int(size[1])
        flat = (points - self._low) * np.array([_PX_PER_MM, _PX_PER_MM, 1.0], np.float32)
        flat[:, 1] = self._height - 1 - flat[:, 1]
        raster = rasterise(flat.astype(np.float32), shape.faces, self._width, self._height)
        depth = np.zeros(self._width * self._height, np.float32)
        depth[raster.pixel] = raster.interpolate(points[:, 2:])[:, 0]
        self._depth = depth.reshape(self._height, self._width)
        visible = np.unique(raster.corners)
        self._visible_vertices = visible[points[visible, 2] > 0]
        self._tree = cKDTree(points[self._visible_vertices, :2])
        self._actions = shape.actions_mm

    def depth(self, x: Array, y: Array, smooth_mm: float) -> Array:
        """Depth (n,) at frontal positions (n,), after bridging hollows of about `smooth_mm`."""
        reach = 2 * round(smooth_mm * _PX_PER_MM) + 1
        field = self._depth
        if smooth_mm > 0:
            bridged = cv2.dilate(field, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
            field = np.asarray(cv2.GaussianBlur(bridged, (0, 0), smooth_mm * _PX_PER_MM), np.float32)
        column = np.clip((x - self._low[0]) * _PX_PER_MM, 0, self._width - 1).astype(int)
        row = np.clip(self._height - 1 - (y - self._low[1]) * _PX_PER_MM, 0, self._height - 1).astype(int)
        return np.asarray(field[row, column], np.float64)

    def actions(self, x: Array, y: Array) -> Array:
        """Displacements (units, n, 3) of the skin nearest to frontal positions (n,)."""
        _, near = self._tree.query(np.stack([x, y], 1), k=4)
        return np.asarray(self._actions[:, self._visible_vertices[near]].mean(2))


def with_cover(shape: HeadShape, cover: Cover) -> HeadShape:
    """Add a cover to a head. The position and rotation of a hand are applied by `place_hand`."""
    if cover.kind == "none":
        return shape
    pieces = [Part(shape.neutral_mm, shape.actions_mm, shape.faces, shape.atlas_px, shape.rotation_share)]
    if cover.kind == "mask":
        pieces += _mask(shape)
    elif cover.kind == "tube":
        pieces += _tube(shape, cover.side)
    elif cover.kind == "cpap":
        pieces += _cpap(shape)
    elif cover.kind == "tape":
        pieces += _nasogastric_tube(shape, cover.side)
    else:
        pieces.append(_hand(shape, cover))
    mesh = join_parts(pieces)
    return replace(
        shape,
        neutral_mm=mesh.points_mm,
        actions_mm=mesh.actions_mm,
        faces=mesh.faces,
        atlas_px=mesh.atlas_px,
        rotation_share=mesh.rotation_share,
    )


def place_hand(points: Float, bare: HeadShape, cover: Cover) -> Float:
    """Move the hand, the vertices after those of the bare head, to the cover's position."""
    eye_x = bare.landmarks.eye_x_mm
    turn = -cover.side * np.deg2rad(cover.turn_deg)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]], np.float32)
    out = points.copy()
    first = len(bare.neutral_mm)
    out[first:, :2] = points[first:, :2] @ rotation.T + np.array(cover.at, np.float32) * np.float32(eye_x)
    return out


def _mask(shape: HeadShape) -> list[Part]:
    """A mask from the bridge of the nose to below the chin, with a loop to either ear."""
    params, landmarks, front = face_params().covers, shape.landmarks, _Front(shape)
    scale = landmarks.eye_x_mm / face_params().adult.eye_x_mm
    top = landmarks.nasion[1] + params.mask_top_share * (landmarks.nose_tip[1] - landmarks.nasion[1])
    bottom = landmarks.chin[1] - params.mask_below_chin_mm * scale
    rows, columns = 22, 31
    across, down = np.meshgrid(np.linspace(-1, 1, columns), np.linspace(0, 1, rows))
    half = params.mask_half_share * 0.5 * shape.face_width_mm
    x = across * half * (1.0 - 0.40 * down**3)
    y = top + down * (bottom - top) - params.mask_sag_mm * scale * across**2 * (1.0 - down)
    z = front.depth(x.ravel(), y.ravel(), params.mask_bridge_mm * scale).reshape(x.shape) + params.mask_off_mm * scale
    lowest = float(z[: rows // 2].min(1).min())
    z = np.maximum(z, lowest)
    points = np.stack([x, y, z], -1).reshape(-1, 3)
    # Cloth does not follow the skin sideways, but is pushed forward by it.
    actions = np.maximum(front.actions(x.ravel(), y.ravel()), 0.0) * np.array([0.0, 0.0, 1.0])
    actions[UNITS.index("lids")] = 0.0
    actions[UNITS.index("mouth_open")] = jaw_displacement(points, 0.7 * smooth(down.ravel(), 0.25, 0.9), scale)
    atlas = patch_px("mask", (across * 0.5 + 0.5).ravel(), down.ravel())
    pieces = [make_part(points, grid_faces(rows, columns), atlas, actions)]
    for side in (-1.0, 1.0):
        for start in (0.12, 0.72):
            from_x, from_y = side * half * 0.98, top + start * (bottom - top)
            begin = np.array([from_x, from_y, front.depth(np.array([from_x]), np.array([from_y]), 0.0)[0]])
            ear_y = -params.ear_loop_below_mm * scale * (0.2 if start < 0.5 else 1.8)
            end = np.array([side * params.loop_out_share * 0.5 * shape.face_width_mm, ear_y, 0.0])
            along = np.linspace(0.0, 1.0, 10)[:, None]
            cord = begin + along * (end - begin) + np.sin(np.pi * along) * np.array([side * 4.0 * scale, 0.0, 0.0])
            pieces.append(_tube_along(cord, np.full(10, 0.5 * params.loop_mm * scale), "teeth"))
    return pieces


def _band(front: _Front, path: Array, width_mm: float, patch: str) -> Part:
    """A strip on the skin along a frontal path (k, 2)."""
    tangent = np.gradient(path, axis=0)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], 1) / np.linalg.norm(tangent, axis=1, keepdims=True)
    lines = [path + normal * width_mm * share for share in (0.5, 0.25, 0.0, -0.25, -0.5)]
    flat = np.stack(lines).reshape(-1, 2)
    z = front.depth(flat[:, 0], flat[:, 1], 0.0) + 0.6 + 0.03 * width_mm
    points = np.c_[flat, z]
    faces = grid_faces(5, len(path))
    # Paths run in either direction across the face.
    a, b, c = points[faces[0], :2]
    if (b[0] - a[0]) * (c[1] - a[1]) < (b[1] - a[1]) * (c[0] - a[0]):
        faces = faces[:, ::-1]
    down = np.repeat(np.linspace(0, 1, 5), len(path))
    return make_part(
        points, faces, patch_px(patch, np.full(len(points), 0.5), down), front.actions(flat[:, 0], flat[:, 1])
    )


def _tube(shape: HeadShape, side: int) -> list[Part]:
    """A tube from the mouth to one side, held by tape from cheek to cheek over the upper lip."""
    params, landmarks, front = face_params().covers, shape.landmarks, _Front(shape)
    scale = landmarks.eye_x_mm / face_params().adult.eye_x_mm
    lip_y = 0.5 * float(landmarks.nose_tip[1] + landmarks.lip_line[:, 1].mean()) - 1.5 * scale
    across = np.linspace(-1.0, 1.0, 27)
    path = np.stack([across * params.tape_half_share * 0.5 * shape.face_width_mm, np.full(27, lip_y)], 1)
    path[:, 1] += params.tape_rise_mm * scale * across**2
    tape = _band(front, path, params.tape_mm * scale, "tape")

    mouth = landmarks.lip_line.mean(0).astype(np.float64)
    reach = np.array([0.35 * side * (landmarks.lip_line[-1, 0] - mouth[0]), 0.0, 0.0]).astype(np.float64)
    knots = np.array(
        [
            mouth + reach + np.array([0.0, 1.0, -14.0]) * scale,
            mouth + reach + np.array([0.0, 0.0, 10.0]) * scale,
            mouth + 2.0 * reach + np.array([8.0 * side, -6.0, 22.0]) * scale,
            mouth + np.array([48.0 * side, -34.0, 2.0]) * scale,
            mouth + np.array([88.0 * side, -90.0, -30.0]) * scale,
        ]
    )
    share = np.linspace(0.0, len(knots) - 1.0, 24)
    centre = np.stack([np.interp(share, np.arange(len(knots)), knots[:, axis]) for axis in range(3)], 1)
    centre = ndimage.gaussian_filter1d(centre, 1.2, axis=0, mode="nearest")
    return [tape, _tube_along(centre, np.full(24, params.tube_radius_mm * scale), "tube")]


def _nasogastric_tube(shape: HeadShape, side: int) -> list[Part]:
    """A thin tube from a nostril over the cheek, held by tape on the cheek."""
    params, landmarks, front = face_params().covers, shape.landmarks, _Front(shape)
    scale = landmarks.eye_x_mm / face_params().adult.eye_x_mm
    nostril = landmarks.nostrils[int(side > 0)].astype(np.float64)
    half = 0.5 * shape.face_width_mm
    knots = np.array(
        [
            [nostril[0], nostril[1] - 1.0 * scale],
            [nostril[0] + 5.0 * side * scale, nostril[1] - 6.0 * scale],
            [side * 0.48 * half, nostril[1] - 4.0 * scale],
            [side * 0.72 * half, nostril[1] + 7.0 * scale],
            [side * 0.98 * half, nostril[1] + 20.0 * scale],
        ]
    )
    flat = _through(knots, 30)
    path = flat[(np.abs(flat[:, 0]) > 0.38 * half) & (np.abs(flat[:, 0]) < params.cheek_tape_to_share * half)]
    radius = params.nasogastric_radius_mm * scale
    return [
        _on_skin(front, flat, radius, "tube"),
        _band(front, path, params.cheek_tape_mm * scale, "tape"),
    ]


def _cpap(shape: HeadShape) -> list[Part]:
    """Nasal CPAP: a piece under the nose, a tube from either end up to the forehead, and a strap over either cheek."""
    params, landmarks, front = face_params().covers, shape.landmarks, _Front(shape)
    scale = landmarks.eye_x_mm / face_params().adult.eye_x_mm
    nostril = landmarks.nostrils.mean(0).astype(np.float64)
    half = 0.5 * shape.face_width_mm
    reach, radius = params.prongs_half_mm * scale, params.prongs_radius_mm * scale
    middle = np.array([0.0, nostril[1] - 0.5 * radius, float(landmarks.nose_tip[2])])
    across = np.linspace(-1.0, 1.0, 17)
    bow = np.c_[across * reach, np.zeros(17), -6.0 * scale * across**2]
    thick = radius * np.sqrt(np.maximum(1.0 - np.abs(across) ** 6, 0.05))
    pieces = [_tube_along(middle + bow, thick, "tape")]
    for side in (-1.0, 1.0):
        end = middle + np.array([side * reach * 0.95, 0.0, -6.0 * scale])
        cheek_y = nostril[1] + 0.30 * landmarks.eye_x_mm
        knots = np.array(
            [
                [end[0], end[1]],
                [side * 0.50 * half, end[1] + 3.0 * scale],
                [side * 0.78 * half, cheek_y],
                [side * 0.88 * half, 0.35 * landmarks.eye_x_mm],
                [side * 0.78 * half, 1.3 * landmarks.eye_x_mm],
                [side * 0.42 * half, 2.7 * landmarks.eye_x_mm],
            ]
        )
        flat = _through(knots, 32)
        hose = params.hose_radius_mm * scale
        pieces.append(_on_skin(front, flat, hose, "tube", start_z_mm=float(end[2])))
        straps = np.array([[side * 0.34 * half, end[1] - 2.0 * scale], [side * 0.80 * half, end[1] - 6.0 * scale]])
        pieces.append(_band(front, _through(straps, 16), params.strap_mm * scale, "mask"))
    return pieces


def _through(knots: Array, count: int) -> Array:
    """A smooth path (count, 2) through frontal knots (k, 2)."""
    share = np.linspace(0.0, len(knots) - 1.0, count)
    path = np.stack([np.interp(share, np.arange(len(knots)), knots[:, axis]) for axis in range(2)], 1)
    return np.asarray(ndimage.gaussian_filter1d(path, 0.05 * count, axis=0, mode="nearest"))


def _on_skin(front: _Front, flat: Array, radius_mm: float, patch: str, start_z_mm: float | None = None) -> Part:
    """A round tube that lies on the skin along a frontal path (k, 2); its first quarter comes down from a depth."""
    z = front.depth(flat[:, 0], flat[:, 1], 2.0 * radius_mm) + 0.7 * radius_mm
    if start_z_mm is not None:
        share = np.clip(np.linspace(0.0, 4.0, len(z)), 0.0, 1.0)
        z = np.maximum(z, start_z_mm + share * (z - start_z_mm))
    z = ndimage.gaussian_filter1d(z, 1.5, mode="nearest")
    return _tube_along(np.c_[flat, z], np.full(len(z), radius_mm), patch)


def _tube_along(centre: Array, radius: Array, patch: str) -> Part:
    """A round tube along a path (k, 3)."""
    tangent = np.gradient(centre, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    beside = np.cross(tangent, np.array([0.13, 0.21, 0.97]))
    beside /= np.linalg.norm(beside, axis=1, keepdims=True)
    above = np.cross(tangent, beside)
    turn = np.linspace(0.0, 2 * np.pi, 10, endpoint=False)
    ring = np.cos(turn)[None, :, None] * beside[:, None] + np.sin(turn)[None, :, None] * above[:, None]
    points = (centre[:, None] + radius[:, None, None] * ring).reshape(-1, 3)
    n = len(points)
    faces = grid_faces(len(centre), 10, closed=True)[:, ::-1]
    return make_part(points, faces, patch_px(patch, np.full(n, 0.5), np.tile(0.5 + 0.5 * np.cos(turn), len(centre))))


def _hand(shape: HeadShape, cover: Cover) -> Part:
    """Back of a hand with four fingers upright and a thumb, centred at the origin in front of the nose."""
    params, landmarks = face_params().covers, shape.landmarks
    size = params.hand_mm
    patch = "glove" if cover.gloved else "hand"
    front_mm = float(landmarks.nose_tip[2]) + params.hand_off_mm
    pieces = [_tube_along(*_limb((0.0, -0.42), (0.0, 0.16), 0.20, 0.25, size, front_mm), patch)]
    for x, length in zip((-0.17, -0.055, 0.06, 0.17), (0.36, 0.43, 0.40, 0.31), strict=True):
        pieces.append(
            _tube_along(*_limb((x, 0.1), (1.25 * x, 0.16 + length), 0.062, 0.045, size, front_mm + 6.0), patch)
        )
    thumb = float(cover.side)
    pieces.append(
        _tube_along(*_limb((-0.2 * thumb, -0.15), (-0.44 * thumb, 0.16), 0.075, 0.05, size, front_mm + 4.0), patch)
    )
    pieces.append(_tube_along(*_limb((0.0, -1.6), (0.0, -0.38), 0.20, 0.16, size, front_mm - 4.0), patch))
    mesh = join_parts(pieces)
    # A hand is flatter than the round limbs it is built from.
    mesh.points_mm[:, 2] = front_mm + params.hand_flat_share * (mesh.points_mm[:, 2] - front_mm)
    return replace(mesh, rotation_share=np.full(len(mesh.points_mm), params.hand_rotation_share, np.float32))


def _limb(
    start: tuple[float, float], end: tuple[float, float], thick: float, thin: float, size_mm: float, z_mm: float
) -> tuple[Array, npt.NDArray[np.float64]]:
    """Centre line (20, 3) and radii (20,) of a rounded limb between two positions, in shares of the hand's size."""
    share = np.linspace(0.0, 1.0, 20)
    flat = np.array(start) + share[:, None] * (np.array(end) - np.array(start))
    cap = np.sqrt(1.0 - np.clip((np.abs(share - 0.5) * 2 - 0.7) / 0.3, 0.0, 1.0) ** 2)
    radius = (thick + share * (thin - thick)) * np.maximum(cap, 0.03)
    return np.c_[flat * size_mm, np.full(20, z_mm)], radius * size_mm
