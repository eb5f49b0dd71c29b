"""Values as levels, and how often each subject has each level: what ranks and orders are resampled from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from avpenet_cli.stats.pairs import Array

Indices = NDArray[np.int64]


def levels(values: Array, most: int) -> tuple[Indices, int]:
    """The level of each value in rising order, and the number of levels: all distinct values, or quantiles of them.

    Args:
        values: (n,) without NaN.
        most: with more distinct values than this, values between two of `most` quantiles share a level.
    """
    distinct, place = np.unique(values, return_inverse=True)
    if len(distinct) > most:
        edges = np.unique(np.quantile(values, np.linspace(0, 1, most + 1)[1:-1]))
        place = np.searchsorted(edges, values, side="right")
        return place.astype(np.int64), len(edges) + 1
    return place.astype(np.int64), len(distinct)


def count_table(row: Indices, column: Indices, shape: tuple[int, int], values: Array | None = None) -> Any:
    """Sparse matrix of the counts, or sums of values, of each (row, column)."""
    entries = np.ones(len(row)) if values is None else values
    return sparse.coo_array((entries, (row, column)), shape=shape).tocsr()
