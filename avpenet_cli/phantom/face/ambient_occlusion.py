"""Compute ambient occlusion, which darkens eye sockets, nostrils and the mouth."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import sparse

from avpenet_cli.phantom.head.model import Float, HeadShape, Index
from avpenet_cli.phantom.head.rasterizer import rasterise
from avpenet_cli.phantom.parameters.face_params import face_params


def vertex_incidence(faces: Index, vertices: int) -> sparse.csr_array:
    """Which vertices each triangle (m, 3) has: (vertices, m) sparse float32, 1 where it has the vertex."""
    ones, triangle = np.ones(faces.size, np.float32), np.repeat(np.arange(len(faces)), 3)
    return sparse.csr_array((ones, (faces.ravel(), triangle)), shape=(vertices, len(faces)))


def vertex_normals(points: Float, faces: Index, incidence: sparse.csr_array) -> Float:
    """Area-weighted unit normals of the vertices.

    Args:
        points: (n, 3) float32.
        faces: (m, 3) int32 counter-clockwise seen from outside.
        incidence: (n, m) sparse float32, 1 where a face has the vertex.

    Returns:
        (n, 3) float32.
    """
    a = np.take(points, faces[:, 0], axis=0)
    b, c = np.take(points, faces[:, 1], axis=0) - a, np.take(points, faces[:, 2], axis=0) - a
    normal = np.stack(
        [
            b[:, 1] * c[:, 2] - b[:, 2] * c[:, 1],
            b[:, 2] * c[:, 0] - b[:, 0] * c[:, 2],
            b[:, 0] * c[:, 1] - b[:, 1] * c[:, 0],
        ],
        1,
    )
    summed = incidence @ normal
    return np.asarray(summed / np.maximum(np.sqrt((summed * summed).sum(1, keepdims=True)), 1e-9), np.float32)


def ambient_visibility(shape: HeadShape, incidence: sparse.csr_array) -> Float:
    """Visibility of the surroundings from each vertex of the neutral head: (n,) float32 in [0, 1].

    The head is rasterised from many directions, and each vertex sums those from which it is visible, weighted by the
    cosine (ambient occlusion; Landis 2002, SIGGRAPH course 16).
    """
    params, points = face_params().light, shape.neutral_mm
    normals = vertex_normals(points, shape.faces, incidence)
    visibility, possible = np.zeros(len(points)), np.full(len(points), 1e-6)
    for direction, visible in directional_visibility(points, shape.faces, points[shape.rotation_share > 0.5]):
        weight = np.maximum(normals @ direction, 0.0)
        possible += weight
        visibility += weight * visible
    share = (visibility / possible).astype(np.float32)
    faces_each = np.maximum(incidence @ np.full(len(shape.faces), 3.0, np.float32), 1.0)
    for _ in range(params.occlusion_smoothing):
        # Average over neighbours, since the directions are few and their rasters coarse.
        share = incidence @ (incidence.T @ share) / faces_each
    darkened = share**params.occlusion_power
    return np.asarray(params.occlusion_floor + (1.0 - params.occlusion_floor) * darkened, np.float32)


def directional_visibility(points: Float, faces: Index, head: Float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Which vertices see out in each of evenly distributed directions.

    Args:
        points: (n, 3) float32.
        faces: (m, 3) int32, which hide what is behind them from either side.
        head: (k, 3) float32 points between which the occlusion matters.

    Yields:
        Unit vector (3,), and (n,) bool.
    """
    params = face_params().light
    index = np.arange(params.occlusion_directions) + 0.5
    # Fibonacci sphere: evenly distributed directions.
    polar, azimuth = np.arccos(1 - 2 * index / params.occlusion_directions), np.pi * (1 + 5**0.5) * index
    directions = np.stack([np.sin(polar) * np.cos(azimuth), np.cos(polar), np.sin(polar) * np.sin(azimuth)], 1)
    both_sides = np.concatenate([faces, faces[:, ::-1]])
    centred = points - 0.5 * (head.min(0) + head.max(0))
    scale = (params.occlusion_px - 4) / float(np.linalg.norm(np.ptp(head, axis=0)))
    for direction in directions:
        yield direction, _visible(centred, both_sides, direction, scale)


def _visible(centred: Float, faces: Index, direction: np.ndarray, scale: float) -> np.ndarray:
    """Which vertices are visible from `direction`: (n,) bool."""
    size = face_params().light.occlusion_px
    right = np.cross([0.0, 1.0, 0.0] if abs(direction[1]) < 0.9 else [1.0, 0.0, 0.0], direction)
    right /= np.linalg.norm(right)
    flat = np.stack([centred @ right, -(centred @ np.cross(direction, right)), centred @ direction], 1).astype(
        np.float32
    )
    flat[:, :2] = flat[:, :2] * np.float32(scale) + np.float32(size / 2)
    raster = rasterise(flat, faces, size, size)
    depth = np.full(size * size, -np.inf, np.float32)
    depth[raster.pixel] = raster.interpolate(flat[:, 2:])[:, 0]
    at = np.clip(flat[:, :2], 0, size - 1).astype(int)
    return np.asarray(flat[:, 2] >= depth[at[:, 1] * size + at[:, 0]] - face_params().light.occlusion_bias_mm)
