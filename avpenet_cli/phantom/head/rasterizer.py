"""Rasterise triangles with a z-buffer in numpy.

Heads have some ten thousand triangles of a few pixels each. For those a vectorised z-buffer is as fast as software
OpenGL, and it gives the same bytes on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float32]
Index = npt.NDArray[np.int32]

_MIN_AREA_PX2 = 1e-4
"""Twice the area below which a triangle is skipped as degenerate."""


@dataclass(frozen=True)
class Raster:
    """The visible triangle of each covered pixel.

    Attributes:
        pixel: (p,) int64 flat index of each covered pixel in the (height, width) image, unique and ascending.
        corners: (p, 3) int32 vertices of the visible triangle.
        weights: (p, 3) float32 barycentric coordinates, which sum to 1.
    """

    pixel: npt.NDArray[np.int64]
    corners: Index
    weights: Float

    def interpolate(self, values: Float) -> Float:
        """Per-vertex values (n, c) float32 -> per covered pixel (p, c) float32."""
        out = np.take(values, self.corners[:, 0], axis=0) * self.weights[:, 0:1]
        out += np.take(values, self.corners[:, 1], axis=0) * self.weights[:, 1:2]
        out += np.take(values, self.corners[:, 2], axis=0) * self.weights[:, 2:3]
        return out


@dataclass(frozen=True)
class Fragments:
    """Every pixel of every triangle, hidden or not.

    Attributes:
        pixel: (q,) int32 flat index in the (height, width) image, in no order.
        triangle: (q,) int32 row of `faces`.
        depth: (q,) float32.
    """

    pixel: Index
    triangle: Index
    depth: Float
    _width_px: int
    _planes: Float
    _plane: Index

    def weights(self, chosen: npt.NDArray[np.integer] | slice = slice(None)) -> Float:
        """Barycentric coordinates of the second and the third corner at some fragments (k,), or all: (k, 2) float32."""
        row, column = np.divmod(self.pixel[chosen], np.int32(self._width_px))
        return _at(self._planes[:2], self._plane[chosen], row, column).T


def rasterise(points: Float, faces: Index, width_px: int, height_px: int) -> Raster:
    """Find the nearest front-facing triangle at every pixel centre.

    Args:
        points: (n, 3) float32 x to the right and y down in pixels, z towards the viewer in any unit.
        faces: (m, 3) int32, counter-clockwise seen from outside (with y up).
        width_px, height_px: size of the image.

    Returns:
        The covered pixels; of two equally near triangles, the later one.
    """
    fragments = find_fragments(points, faces, width_px, height_px)
    pixel, chosen = nearest(fragments, width_px * height_px)
    weights = np.empty((pixel.size, 3), np.float32)
    weights[:, 1:] = fragments.weights(chosen)
    weights[:, 0] = 1.0 - weights[:, 1] - weights[:, 2]
    return Raster(pixel, np.take(faces, fragments.triangle[chosen], axis=0), weights)


def nearest(fragments: Fragments, pixels: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """The nearest fragment of each covered pixel: flat indices (p,), ascending, and rows of the fragments (p,)."""
    depth = np.full(pixels, -np.inf, np.float32)
    np.maximum.at(depth, fragments.pixel, fragments.depth)
    winner = np.full(pixels, -1, np.int32)
    visible = np.flatnonzero(fragments.depth == depth[fragments.pixel])
    winner[fragments.pixel[visible]] = visible
    pixel = np.flatnonzero(winner >= 0)
    return pixel, winner[pixel]


def find_fragments(
    points: Float, faces: Index, width_px: int, height_px: int, two_sided: bool = False, slack_px: float = 0.0
) -> Fragments:
    """Find all pixels of triangles.

    Args:
        points, faces, width_px, height_px: as in `rasterise`.
        two_sided: whether to find triangles that face away, too.
        slack_px: how far outside a triangle's edge a pixel centre may lie, so that rounding leaves no cracks.
    """
    x, y, z = (np.take(np.ascontiguousarray(points[:, axis]), faces.T) for axis in range(3))
    area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
    # y points down in the image, so counter-clockwise triangles have a negative area.
    kept = np.flatnonzero(np.abs(area) > _MIN_AREA_PX2 if two_sided else area < -_MIN_AREA_PX2)
    x, y, z, area = x[:, kept], y[:, kept], z[:, kept], area[kept]
    top = np.maximum(np.ceil(_min_of_three(y) - 0.5), 0).astype(np.int32)
    bottom = np.minimum(np.floor(-_min_of_three(-y) - 0.5), height_px - 1).astype(np.int32)
    plane = _planes(x, y, z, area)
    triangle, row = _expand(top, np.maximum(bottom - top + 1, 0))
    triangle, row, column = _spans(plane, triangle, row, width_px, slack_px)
    depth = _at(plane[2:], triangle, row, column)[0]
    return Fragments(row * width_px + column, kept.astype(np.int32)[triangle], depth, width_px, plane, triangle)


def _at(planes: Float, which: Index, row: Index, column: Index) -> Float:
    """Planes (k, 3 terms, triangles) at pixels (q,) of the triangles `which` (q,): (k, q) float32."""
    value = np.take(planes, which, axis=2)
    return np.asarray(value[:, 0] * column.astype(np.float32) + value[:, 1] * row.astype(np.float32) + value[:, 2])


def _planes(x: Float, y: Float, z: Float, area: Float) -> Float:
    """Weights of corners 1 and 2, and depth, as planes a * column + b * row + c: (3 planes, 3 terms, triangles)."""
    plane = np.empty((3, 3, area.size), np.float32)
    plane[0, 0], plane[0, 1] = (y[2] - y[0]) / area, (x[0] - x[2]) / area
    plane[1, 0], plane[1, 1] = (y[0] - y[1]) / area, (x[1] - x[0]) / area
    # The centre of a pixel is half a pixel from its index.
    plane[:2, 2] = -plane[:2, 0] * (x[0] - 0.5) - plane[:2, 1] * (y[0] - 0.5)
    plane[2] = plane[0] * (z[1] - z[0]) + plane[1] * (z[2] - z[0])
    plane[2, 2] += z[0]
    return plane


def _spans(plane: Float, triangle: Index, row: Index, width_px: int, slack_px: float) -> tuple[Index, Index, Index]:
    """Pixels of triangle rows: triangle, row and column of each."""
    slope, level = np.empty((3, triangle.size), np.float32), np.empty((3, triangle.size), np.float32)
    rows = row.astype(np.float32)
    for corner in range(2):
        slope[corner] = plane[corner, 0][triangle]
        level[corner] = plane[corner, 1][triangle] * rows + plane[corner, 2][triangle]
    slope[2] = -slope[0] - slope[1]
    level[2] = 1.0 - level[0] - level[1]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        crossing = -level / slope
    start = -_min_of_three(-np.where(slope > 0, crossing, -np.inf))
    end = _min_of_three(np.where(slope < 0, crossing, np.inf))
    if slack_px:
        start, end = start - np.float32(slack_px), end + np.float32(slack_px)
    # A horizontal edge has the whole row on one side.
    outside = ((slope == 0) & (level < 0)).any(0)
    first = np.ceil(np.clip(start, 0, width_px)).astype(np.int32)
    last = np.floor(np.clip(end, -1, width_px - 1)).astype(np.int32)
    count = np.where(outside, 0, np.maximum(last - first + 1, 0))
    which, column = _expand(first, count)
    return triangle[which], row[which], column


def _min_of_three(three: Float) -> Float:
    # Faster than a reduction over such a short axis.
    return np.asarray(np.minimum(np.minimum(three[0], three[1]), three[2]))


def _expand(first: Index, count: Index) -> tuple[Index, Index]:
    """Expand runs first, first + 1, ... of the given counts to the run and value of each element."""
    which = np.repeat(np.arange(count.size, dtype=np.int32), count)
    start = (np.cumsum(count) - count - first).astype(np.int32)
    return which, np.arange(which.size, dtype=np.int32) - start[which]
