"""Simplify loaded meshes: triangulate, merge vertices by cells, and add hair or a cap."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from avpenet_cli.phantom.head.model import UNITS, Float, Index, Look
from avpenet_cli.phantom.head.parts import Array, Part, grid_faces, make_part
from avpenet_cli.phantom.head.rasterizer import rasterise
from avpenet_cli.phantom.head.surface import hairline_mm, smooth
from avpenet_cli.phantom.head.texture_atlas import patch_px
from avpenet_cli.phantom.parameters.face_params import face_params
from avpenet_cli.phantom.parameters.head_params import Recipe, Unit

_CROWN_SHARE = 0.14
"""Share of the height at the top where the skull is too flat to be described by its distance from the axis."""
_PX_PER_MM = 2.0
"""Resolution of the front view that determines what is hidden."""


def triangulate(polygons: npt.NDArray[np.integer]) -> Index:
    """Split quads (m, 4), where a triangle ends in -1, into triangles (k, 3) int32 of the same orientation."""
    quads = polygons[polygons[:, 3] >= 0]
    threes = polygons[polygons[:, 3] < 0][:, :3]
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]], threes]).astype(np.int32)


def merge_vertices(
    points_mm: Float, faces: Index, cell_mm: npt.NDArray[np.floating], displacements_mm: Float
) -> tuple[Index, Index]:
    """Simplify a mesh: of all vertices in a cell, keep the one nearest to their mean.

    Args:
        points_mm: (n, 3) float32.
        faces: (m, 3) int32; only their vertices are considered.
        cell_mm: (n,) size of each vertex's cell.
        displacements_mm: (k, n, 3); vertices that one of them separates, as lips, are not merged.

    Returns:
        (k,) int32 vertices kept, and (j, 3) int32 triangles between them, renumbered.
    """
    used = np.unique(faces)
    size = cell_mm[used, None]
    parting = [np.floor((points_mm[used] + displacement[used]) / size) for displacement in displacements_mm]
    cells = np.concatenate([np.floor(points_mm[used] / size), size, *parting], 1)
    _, cell = np.unique(cells, axis=0, return_inverse=True)
    cell = cell.ravel()
    count = np.bincount(cell)
    mean = np.stack([np.bincount(cell, points_mm[used, axis]) / count for axis in range(3)], 1)
    distance = ((points_mm[used] - mean[cell]) ** 2).sum(1)
    order = np.lexsort((distance, cell))
    kept = used[order[np.searchsorted(cell[order], np.arange(count.size))]]
    to_cell = np.full(len(points_mm), -1, np.int32)
    to_cell[used] = cell
    simplified = to_cell[faces]
    proper = (
        (simplified[:, 0] != simplified[:, 1])
        & (simplified[:, 1] != simplified[:, 2])
        & (simplified[:, 0] != simplified[:, 2])
    )
    return kept.astype(np.int32), simplified[proper]


def depth_behind_mm(points_mm: Float, skin_mm: Float, faces: Index) -> npt.NDArray[np.float32]:
    """Depth of points (k, 3) behind the skin in the front view, negative in front of it: (k,) float32."""
    low = skin_mm.min(0)
    size = np.ceil((skin_mm.max(0) - low) * _PX_PER_MM).astype(int) + 2
    flat = (skin_mm - low) * np.array([_PX_PER_MM, _PX_PER_MM, 1.0], np.float32)
    flat[:, 1] = size[1] - 1 - flat[:, 1]
    raster = rasterise(flat.astype(np.float32), faces, int(size[0]), int(size[1]))
    depth = np.full(int(size[0] * size[1]), -np.inf, np.float32)
    depth[raster.pixel] = raster.interpolate(flat[:, 2:].astype(np.float32))[:, 0]
    column = np.clip((points_mm[:, 0] - low[0]) * _PX_PER_MM, 0, size[0] - 1).astype(int)
    row = np.clip(size[1] - 1 - (points_mm[:, 1] - low[1]) * _PX_PER_MM, 0, size[1] - 1).astype(int)
    return np.asarray(depth[row * int(size[0]) + column] - (points_mm[:, 2] - low[2]), np.float32)


def layer(points_mm: Float, faces: Index, look: Look, scale: float) -> list[Part]:
    """Hair or a cap over a loaded head, following the skull's outline.

    Args:
        points_mm: (n, 3) float32 neutral skin.
        faces: (m, 3) int32.
        look: selects hair or cap.
        scale: size of the head relative to an adult's.
    """
    if look.hair == "none":
        return []
    accessories = face_params().accessories
    own = face_params().adult if look.age_group == "adult" else face_params().neonate
    factor = scale * face_params().adult.eye_x_mm / own.eye_x_mm
    rows, columns = 24, 72
    angle = np.linspace(-np.pi, np.pi, columns)
    radius = _outline(points_mm, faces)
    top = float(points_mm[:, 1].max())
    edge = hairline_mm(own, look.hair, angle) * factor
    down = np.linspace(0.0, 1.0, rows)[:, None]
    # Rows are denser towards the crown, where the skull closes like half an ellipsoid.
    y = top - down**2 * (top - edge)
    turn = np.broadcast_to(angle, y.shape)
    crown = top - _CROWN_SHARE * float(np.ptp(points_mm[:, 1]))
    over = np.clip((y.ravel() - crown) / (top - crown), 0.0, 1.0)
    out = radius(turn.ravel(), np.minimum(y.ravel(), crown)) * np.sqrt(1.0 - over**2)
    base = np.stack([out * np.sin(turn.ravel()), y.ravel(), out * np.cos(turn.ravel())], 1)
    thick = (accessories.cap_mm if look.hair == "cap" else accessories.hair_mm[0]) * scale
    lift = thick * (0.4 + 0.6 * smooth(1.0 - down, 0.0, 0.25)) * np.ones_like(y)
    outward = base - np.array([0.0, 0.3 * own.brow_y_mm * factor, 0.0])
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    patch = "cap" if look.hair == "cap" else "hair"
    atlas = patch_px(patch, turn.ravel() / (2 * np.pi) + 0.5, np.broadcast_to(down, y.shape).ravel())
    return [make_part(base + outward * lift.ravel()[:, None], grid_faces(rows, columns), atlas)]


def _outline(points_mm: Float, faces: Index) -> Callable[[Array, Array], Array]:
    """Distance of the skin from the vertical axis as a function of angle (radians) and height (mm), smoothed."""
    low, high = float(points_mm[:, 1].min()), float(points_mm[:, 1].max())
    width, height = 256, 192
    angle = np.arctan2(points_mm[:, 0], points_mm[:, 2])
    across = (angle / (2 * np.pi) + 0.5) * width
    up = (high - points_mm[:, 1]) / (high - low) * (height - 1)
    flat = np.stack([across, up, np.hypot(points_mm[:, 0], points_mm[:, 2])], 1).astype(np.float32)
    proper = np.ptp(angle[faces], axis=1) < np.pi
    raster = rasterise(flat, faces[proper], width, height)
    coverage, radius = np.zeros(width * height, np.float32), np.zeros(width * height, np.float32)
    coverage[raster.pixel] = 1.0
    radius[raster.pixel] = raster.interpolate(flat[:, 2:])[:, 0]
    weight = _spread(coverage.reshape(height, width))
    field = _spread(radius.reshape(height, width)) / np.maximum(weight, 1e-4)

    def at(turn: Array, y: Array) -> Array:
        column = np.clip((turn / (2 * np.pi) + 0.5) * width, 0, width - 1)
        row = np.clip((high - y) / (high - low) * (height - 1), 0, height - 1)
        return np.asarray(ndimage.map_coordinates(field, [row, column], order=1, mode="nearest"), np.float64)

    return at


def _spread(field: Float) -> Float:
    return np.asarray(cv2.GaussianBlur(field, (0, 0), 4.0, sigmaY=3.0, borderType=cv2.BORDER_REFLECT), np.float32)


def recipe_displacements(recipes: Mapping[Unit, Recipe], displacements: dict[str, Float]) -> Float:
    """Combine a file's blend shapes into action units: (units, n, 3)."""
    return np.stack(
        [
            sum(
                (weight * displacements[name] for name, weight in recipes[unit]),
                np.zeros_like(next(iter(displacements.values()))),
            )
            for unit in UNITS
        ]
    ).astype(np.float32)
