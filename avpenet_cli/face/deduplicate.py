"""Pictures that are shown again: a camera with few frames a second fills several places of the grid with one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def deduplicate_consecutive(pictures: Sequence[np.ndarray]) -> tuple[list[np.ndarray], list[int]]:
    """Leave out pictures that are the one before once more.

    Returns:
        Those that are left, and for each of `pictures` which of them it is.
    """
    left: list[np.ndarray] = []
    places: list[int] = []
    for picture in pictures:
        if not left or not np.array_equal(picture, left[-1]):
            left.append(picture)
        places.append(len(left) - 1)
    return left, places
