"""Interpolate what triangles carry, and blend transparent fragments pixel by pixel."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from avpenet_cli.phantom.head.model import Float, Index

_MOST_LAYERS = 6
"""Most layers of hair that are blended at a pixel."""


def corner_rows(triangle: Index) -> Index:
    """Rows of the three corners of triangles in a table with three rows each."""
    return np.asarray(3 * triangle[:, None] + np.arange(3, dtype=np.int32), np.int32)


def interpolated(values: Float, corners: Index, weights: Float) -> Float:
    """Values (n, c) at barycentric weights (k, 2) of the second and third of the corners (k, 3): (k, c)."""
    out = np.take(values, corners[:, 0], axis=0) * (1.0 - weights[:, 0:1] - weights[:, 1:2])
    out += np.take(values, corners[:, 1], axis=0) * weights[:, 0:1]
    out += np.take(values, corners[:, 2], axis=0) * weights[:, 1:2]
    return np.asarray(out, np.float32)


def blend_order(pixel: npt.NDArray[np.integer], depth: Float, alpha: Float, pixels: int) -> npt.NDArray[np.int64]:
    """Fragments that can be seen, in the order of pixels and, at each, from far to near.

    Args:
        pixel: (q,) flat index of each.
        depth: (q,) larger is nearer.
        alpha: (q,) in [0, 1].
        pixels: number of pixels of the image.

    Returns:
        Rows (k,) of the fragments: not those that are nearly transparent or behind an opaque one.
    """
    solid = alpha > 0.97
    front = np.full(pixels, -np.inf, np.float32)
    np.maximum.at(front, pixel[solid], depth[solid])
    seen = np.flatnonzero((alpha > 0.02) & (depth >= front[pixel]))
    return seen[np.lexsort((depth[seen], pixel[seen]))]


def blend(canvas: Float, pixel: npt.NDArray[np.integer], colour: Float, alpha: Float) -> None:
    """Blend fragments, ordered by `blend_order`, over a canvas (pixels, 3), in place; of many, the nearest."""
    if not pixel.size:
        return
    last = np.flatnonzero(np.r_[pixel[1:] != pixel[:-1], True])
    count = np.diff(np.r_[-1, last])
    # Number of fragments of the same pixel that are nearer.
    before = np.repeat(last, count) - np.arange(pixel.size)
    for layer in range(min(int(count.max()), _MOST_LAYERS) - 1, -1, -1):
        own = np.flatnonzero(before == layer)
        share = alpha[own, None]
        canvas[pixel[own]] += share * (colour[own] - canvas[pixel[own]])
