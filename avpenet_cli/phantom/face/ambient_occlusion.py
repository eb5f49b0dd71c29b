"""How much of the room each place of a head can see: what makes sockets, nostrils and the mouth dark."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from avpenet_cli.phantom.head.model import Float, HeadShape, Index
from avpenet_cli.phantom.head.rasterizer import rasterise
from avpenet_cli.phantom.parameters.face_params import face_params


def vertex_normals(points: Float, faces: Index, around: sparse.csr_array) -> Float:
    """Unit normals of every vertex, weighted by its triangles' areas.

    Args:
        points: (n, 3) float32.
        faces: (m, 3) int32 counter-clockwise seen from outside.
        around: (n, m) sparse float32, 1 where a face has the vertex.

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
    summed = around @ normal
    return np.asarray(summed / np.maximum(np.sqrt((summed * summed).sum(1, keepdims=True)), 1e-9), np.float32)


def open_to_room(shape: HeadShape, around: sparse.csr_array) -> Float:
    """Share of the room that each vertex of the neutral head sees: (n,) float32 in [0, 1].

    From each of many directions the head is drawn as that direction's light would see it (Landis 2002, SIGGRAPH
    course 16, ambient occlusion), and each vertex counts those from which it is not hidden, by the cosine.
    """
    numbers, points = face_params().light, shape.neutral_mm
    normals = vertex_normals(points, shape.faces, around)
    index = np.arange(numbers.occlusion_directions) + 0.5
    # Fibonacci's sphere: directions evenly spread.
    polar, turn = np.arccos(1 - 2 * index / numbers.occlusion_directions), np.pi * (1 + 5**0.5) * index
    ways = np.stack([np.sin(polar) * np.cos(turn), np.cos(polar), np.sin(polar) * np.sin(turn)], 1)
    both_sides = np.concatenate([shape.faces, shape.faces[:, ::-1]])
    head = points[shape.follows > 0.5]
    centred = points - 0.5 * (head.min(0) + head.max(0))
    scale = (numbers.occlusion_px - 4) / float(np.linalg.norm(np.ptp(head, axis=0)))
    seen, possible = np.zeros(len(points)), np.full(len(points), 1e-6)
    for way in ways:
        weight = np.maximum(normals @ way, 0.0)
        possible += weight
        seen += weight * _unhidden(centred, both_sides, way, scale)
    share = (seen / possible).astype(np.float32)
    faces_each = np.maximum(around @ np.full(len(shape.faces), 3.0, np.float32), 1.0)
    for _ in range(numbers.occlusion_smoothing):
        # Means over the neighbours: directions are few and their pictures coarse.
        share = around @ (around.T @ share) / faces_each
    deep = share**numbers.occlusion_power
    return np.asarray(numbers.occlusion_floor + (1.0 - numbers.occlusion_floor) * deep, np.float32)


def _unhidden(centred: Float, faces: Index, way: np.ndarray, scale: float) -> np.ndarray:
    """Which vertices nothing hides from direction `way`: (n,) bool."""
    size = face_params().light.occlusion_px
    right = np.cross([0.0, 1.0, 0.0] if abs(way[1]) < 0.9 else [1.0, 0.0, 0.0], way)
    right /= np.linalg.norm(right)
    flat = np.stack([centred @ right, -(centred @ np.cross(way, right)), centred @ way], 1).astype(np.float32)
    flat[:, :2] = flat[:, :2] * np.float32(scale) + np.float32(size / 2)
    raster = rasterise(flat, faces, size, size)
    depth = np.full(size * size, -np.inf, np.float32)
    depth[raster.pixel] = raster.interpolate(flat[:, 2:])[:, 0]
    at = np.clip(flat[:, :2], 0, size - 1).astype(int)
    return np.asarray(flat[:, 2] >= depth[at[:, 1] * size + at[:, 0]] - face_params().light.occlusion_bias_mm)
