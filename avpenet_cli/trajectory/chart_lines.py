"""Where the lines of a chart begin and end: runs of segments without a gap, ratings that follow each other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from avpenet_cli.trajectory.series import Series
from avpenet_cli.trajectory.time_axis import TimeAxis

Floats = npt.NDArray[np.float64]
# Ratings that follow each other within this, s, are joined.
_JOINED_S = 0.05


def raters_of(series: Series, axis: TimeAxis) -> dict[str, tuple[Floats, Floats, Floats]]:
    """Start, end, s, and value of each rater's ratings, in time order, without those within breaks that are cut out."""
    breaks = [piece for piece in axis.pieces if piece.cut]
    rows: dict[str, list[tuple[float, float, float]]] = {}
    for rating in series.ratings:
        if any(piece.start_s <= rating.start_s and rating.end_s <= piece.end_s for piece in breaks):
            continue
        rows.setdefault(rating.rater, []).append((rating.start_s, rating.end_s, rating.value))
    raters = {}
    for rater, own in rows.items():
        start, end, value = np.array(own, dtype=np.float64).T
        raters[rater] = (start, end, value)
    return raters


def steps(start: Floats, end: Floats, value: Floats) -> tuple[Floats, Floats]:
    """Times and values of a line with a step at each change; values that do not follow each other are not joined."""
    joined = np.append(np.abs(start[1:] - end[:-1]) < _JOINED_S, np.ones(min(start.size, 1), dtype=np.bool_))
    time = np.column_stack([start, end, end])
    values = np.column_stack([value, value, np.full(value.size, np.nan)])
    keep = np.ones(time.shape, dtype=np.bool_)
    keep[joined, 2] = False
    return time[keep], values[keep]


def runs_of(
    known: npt.NDArray[np.bool_], middle: Floats, part: npt.NDArray[np.int64], most_s: float
) -> list[npt.NDArray[np.int64]]:
    """Indices of known segments of a recording that follow each other without a gap longer than `most_s`."""
    index = np.flatnonzero(known)
    if not index.size:
        return []
    broken = (np.diff(index) > 1) | (np.diff(part[index]) != 0) | (np.diff(middle[index]) > most_s)
    return np.split(index, np.flatnonzero(broken) + 1)
