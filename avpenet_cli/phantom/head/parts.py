"""Parts of a head's mesh, and those that all heads share: eyeballs, mouth, teeth and tongue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avpenet_cli.phantom.head.model import UNITS, Eyeballs, Float, HeadShape, Index, Landmarks
from avpenet_cli.phantom.head.texture_atlas import patch_px
from avpenet_cli.phantom.parameters.face_params import face_params

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Part:
    """A part of a mesh; the fields are those of `HeadShape`."""

    points_mm: Float
    actions_mm: Float
    faces: Index
    atlas_px: Float
    rotation_share: Float


def make_part(
    points: npt.NDArray[np.floating],
    faces: npt.NDArray[np.integer],
    atlas_px: Float,
    actions: npt.NDArray[np.floating] | None = None,
    rotation_share: npt.NDArray[np.floating] | None = None,
) -> Part:
    """Make a part; without `actions` no action unit moves it, without `rotation_share` it rotates with the head."""
    n = len(points)
    return Part(
        points_mm=np.asarray(points, np.float32),
        actions_mm=np.zeros((len(UNITS), n, 3), np.float32) if actions is None else np.asarray(actions, np.float32),
        faces=np.asarray(faces, np.int32),
        atlas_px=atlas_px,
        rotation_share=np.ones(n, np.float32) if rotation_share is None else np.asarray(rotation_share, np.float32),
    )


def join_parts(parts: Sequence[Part]) -> Part:
    """Concatenate parts, in order."""
    starts = np.cumsum([0, *(len(piece.points_mm) for piece in parts[:-1])])
    return Part(
        points_mm=np.concatenate([piece.points_mm for piece in parts]),
        actions_mm=np.concatenate([piece.actions_mm for piece in parts], axis=1),
        faces=np.concatenate([piece.faces + start for piece, start in zip(parts, starts, strict=True)]).astype(
            np.int32
        ),
        atlas_px=np.concatenate([piece.atlas_px for piece in parts]),
        rotation_share=np.concatenate([piece.rotation_share for piece in parts]),
    )


def assemble_head(
    parts: Sequence[Part], *, face_width_mm: float, landmarks: Landmarks, eyeballs: Eyeballs
) -> HeadShape:
    """Join the parts, in order, to a head; the other arguments are those of `HeadShape`."""
    mesh = join_parts(parts)
    return HeadShape(
        neutral_mm=mesh.points_mm,
        actions_mm=mesh.actions_mm,
        faces=mesh.faces,
        atlas_px=mesh.atlas_px,
        rotation_share=mesh.rotation_share,
        face_width_mm=face_width_mm,
        landmarks=landmarks,
        eyeballs=eyeballs,
    )


def grid_faces(rows: int, columns: int, closed: bool = False) -> Index:
    """Triangles of a grid of points in row order; `closed` joins the last column to the first.

    Rows that run down and columns that run to the right, seen from outside, give outward faces.
    """
    row, column = np.meshgrid(np.arange(rows - 1), np.arange(columns if closed else columns - 1), indexing="ij")
    beside = (column + 1) % columns
    a, b = row * columns + column, row * columns + beside
    c, d = a + columns, b + columns
    return np.concatenate([np.stack([a, c, b], -1), np.stack([b, c, d], -1)]).reshape(-1, 3).astype(np.int32)


def jaw_displacement(points: npt.NDArray[np.floating], share: npt.NDArray[np.floating], scale: float) -> Array:
    """Displacement of points (n, 3) at full opening, when they follow the jaw's rotation by `share` (n,)."""
    jaw = face_params().jaw
    hinge = np.array([0.0, jaw.hinge_y_mm, jaw.hinge_z_mm]) * scale
    angle = np.deg2rad(jaw.open_deg) * np.asarray(share, np.float64)
    y, z = points[:, 1] - hinge[1], points[:, 2] - hinge[2]
    turned_y = np.cos(angle) * y - np.sin(angle) * z
    turned_z = np.sin(angle) * y + np.cos(angle) * z
    return np.stack([np.zeros(len(points)), turned_y - y, turned_z - z], 1)


def eyeball(centre_mm: npt.NDArray[np.floating], radius_mm: float) -> Part:
    """The front of one eyeball; the iris is painted on its patch of the atlas."""
    rings, around = 10, 20
    polar = np.linspace(0.0, np.deg2rad(85.0), rings)
    bearing = np.linspace(0.0, 2 * np.pi, around, endpoint=False)
    out, turn = np.meshgrid(polar, bearing, indexing="ij")
    direction = np.stack([np.sin(out) * np.cos(turn), np.sin(out) * np.sin(turn), np.cos(out)], -1).reshape(-1, 3)
    share = (out / polar[-1]).ravel() * 0.5
    atlas = patch_px("eye", 0.5 + share * np.cos(turn.ravel()), 0.5 - share * np.sin(turn.ravel()))
    return make_part(centre_mm + radius_mm * direction, grid_faces(rings, around, closed=True), atlas)


def eye_socket(edge: Part) -> Part:
    """Surface between lids and eyeball; `edge` runs counter-clockwise along the lids."""
    n = len(edge.points_mm)
    depth = float(np.ptp(edge.points_mm[:, 0])) * 0.25
    back = edge.points_mm - np.array([0.0, 0.0, depth], np.float32)
    points = np.concatenate([edge.points_mm, back, back.mean(0, keepdims=True)])
    middle = edge.actions_mm.mean(1, keepdims=True)
    ring = np.arange(n)
    fan = np.stack([n + ring, n + np.roll(ring, -1), np.full(n, 2 * n)], 1)
    faces = np.concatenate([grid_faces(2, n, closed=True)[:, ::-1], fan])
    actions = np.concatenate([edge.actions_mm, edge.actions_mm, middle], axis=1)
    return make_part(points, faces, patch_px("body", np.full(2 * n + 1, 0.5), np.full(2 * n + 1, 0.5)), actions)


def mouth_bag(edge: Part, mouth_y_mm: float, scale: float) -> Part:
    """The dark inside of the mouth behind the inner edge of the lips.

    Args:
        edge: the inner edge, counter-clockwise seen from the front; its faces are ignored.
        mouth_y_mm: height of the closed mouth.
        scale: size of the head relative to an adult's.
    """
    n = len(edge.points_mm)
    points, actions = [edge.points_mm], [edge.actions_mm]
    for back, narrow in ((4.0, 0.97), (14.0, 0.9), (30.0, 0.6)):
        ring = edge.points_mm * np.array([narrow, 1.0, 1.0], np.float32)
        ring[:, 2] -= back * scale
        ring[:, 1] = mouth_y_mm + (ring[:, 1] - mouth_y_mm) * narrow
        points.append(ring)
        actions.append(edge.actions_mm * np.float32(narrow))
    middle = points[-1].mean(0, keepdims=True)
    points.append(middle)
    actions.append(actions[-1].mean(1, keepdims=True))
    faces = grid_faces(4, n, closed=True)
    last = 3 * n + np.arange(n)
    lid = np.stack([last, np.roll(last, -1), np.full(n, 4 * n)], 1)
    # The edge runs counter-clockwise, so a grid of ever deeper rings faces inwards, where the camera looks.
    every = np.concatenate([faces[:, ::-1], lid])
    depth = np.concatenate([np.full(n, 0.0), np.full(n, 0.35), np.full(n, 0.75), np.ones(n + 1)])
    return make_part(
        np.concatenate(points),
        every,
        patch_px("mouth", np.full(4 * n + 1, 0.5), depth),
        np.concatenate(actions, axis=1),
    )


def teeth(
    patch: str,
    span_mm: tuple[float, float],
    front_mm: float,
    half_width_mm: float,
    jaw_scale: float,
    ceiling: Callable[[Array, Array], Array],
) -> Part:
    """An arch of teeth or gum.

    Args:
        patch: its patch of the atlas.
        span_mm: height of its upper and its lower edge.
        front_mm: how far forward it reaches.
        half_width_mm: half its width.
        jaw_scale: if above 0, it follows the jaw of a head of that size.
        ceiling: frontal x and y -> the largest z allowed.
    """
    across = np.linspace(-1.0, 1.0, 15)
    down = np.array([0.0, 0.5, 1.0])
    row, column = np.meshgrid(down, across, indexing="ij")
    x = column * half_width_mm
    # A dental arch is near a parabola half as deep as it is wide.
    z = front_mm - column**2 * half_width_mm * 0.75
    y = span_mm[0] + row * (span_mm[1] - span_mm[0])
    z = np.minimum(z, ceiling(x.ravel(), y.ravel()).reshape(z.shape))
    points = np.stack([x, y, z], -1).reshape(-1, 3)
    actions = np.zeros((len(UNITS), len(points), 3))
    if jaw_scale > 0:
        actions[UNITS.index("mouth_open")] = jaw_displacement(points, np.ones(len(points)), jaw_scale)
    atlas = patch_px(patch, (column * 0.5 + 0.5).ravel(), row.ravel())
    return make_part(points, grid_faces(3, 15), atlas, actions)


def tongue(
    middle_mm: npt.NDArray[np.floating],
    half_size_mm: tuple[float, float, float],
    scale: float,
    ceiling: Callable[[Array, Array], Array],
) -> Part:
    """The back of the tongue, which follows the jaw; `scale` and `ceiling` as in `teeth`."""
    out, turn = np.meshgrid(
        np.linspace(0.0, np.pi / 2, 6), np.linspace(0, 2 * np.pi, 14, endpoint=False), indexing="ij"
    )
    direction = np.stack([np.sin(out) * np.cos(turn), np.sin(out) * np.sin(turn), np.cos(out)], -1).reshape(-1, 3)
    points = middle_mm + direction * np.array(half_size_mm)
    points[:, 2] = np.minimum(points[:, 2], ceiling(points[:, 0], points[:, 1]))
    actions = np.zeros((len(UNITS), len(points), 3))
    actions[UNITS.index("mouth_open")] = jaw_displacement(points, np.full(len(points), 0.92), scale)
    atlas = patch_px("tongue", np.full(len(points), 0.5), 0.5 - 0.5 * direction[:, 1])
    return make_part(points, grid_faces(6, 14, closed=True), atlas, actions)
