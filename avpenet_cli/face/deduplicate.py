"""Remove consecutive identical frames: a camera below 10 fps fills several slots of the 10-Hz grid with one frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def deduplicate_consecutive(images: Sequence[np.ndarray]) -> tuple[list[np.ndarray], list[int]]:
    """Drop every image that equals the image before it.

    Args:
        images: arrays of any shape and dtype, in time order.

    Returns:
        The distinct images in order, and for each of `images` its index among them, so that results for the distinct
        images expand with `[results[index] for index in indices]`.
    """
    distinct: list[np.ndarray] = []
    indices: list[int] = []
    for image in images:
        if not distinct or not np.array_equal(image, distinct[-1]):
            distinct.append(image)
        indices.append(len(distinct) - 1)
    return distinct, indices
