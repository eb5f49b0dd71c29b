"""Labels of times that stand in rows without overlapping each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from avpenet_cli.trajectory.chart_style import LEFT_PX, WIDTH_PX
from avpenet_cli.trajectory.marks import Label

_GAP_PX = 8.0


def in_rows(labels: Sequence[Label], rows: int, per_s: float) -> list[Label]:
    """Labels in the lowest row in which they overlap no other; in row -1 where there is no room.

    Args:
        labels: in time order.
        rows: number of rows.
        per_s: px to a second of drawn time.
    """
    free_from = [0.0] * rows
    placed = []
    for label in labels:
        x = LEFT_PX + label.time * per_s
        start, end = x - label.width / 2, x + label.width / 2
        fits = start >= 2 and end <= WIDTH_PX - 2
        row = next((row for row in range(rows) if fits and free_from[row] <= start), -1)
        if row >= 0:
            free_from[row] = end + _GAP_PX
        placed.append(replace(label, row=row))
    return placed
