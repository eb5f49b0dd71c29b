"""A chart's numbers for its script, in a data block of the page: browsers never run it."""

from __future__ import annotations

import json
from datetime import UTC
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from avpenet_cli.phrasing import printable
from avpenet_cli.trajectory.analysed import Trajectory
from avpenet_cli.trajectory.chart_style import gap_name
from avpenet_cli.trajectory.marks import Chart
from avpenet_cli.trajectory.time_axis import STEPS_S, TICK_PX, TimeAxis

PER_POINT = 100
"""Whole numbers in a point of the scale, and in a quality of 1."""
PER_SECOND = 10
# What HTML or JavaScript could take for something else than text.
_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def data_block(trajectory: Trajectory, axis: TimeAxis, chart: Chart) -> Markup:
    """JSON for a `<script type="application/json">`, with `<`, `>` and `&` as escapes.

    Scores, levels and quality are hundredths, their intervals distances below and above them; times of segments are the
    first and the steps from each to the next, tenths of a second.
    """
    return Markup(json.dumps(_data(trajectory, axis, chart), separators=(",", ":")).translate(_ESCAPES))


def _data(trajectory: Trajectory, axis: TimeAxis, chart: Chart) -> dict[str, Any]:
    series, level = trajectory.series, trajectory.level
    ratings: dict[str, list[tuple[float, float, float]]] = {}
    for rating in series.ratings:
        span = (round(rating.start_s, 2), round(rating.end_s, 2), rating.value)
        ratings.setdefault(printable(rating.rater), []).append(span)
    middle = np.round(series.middle_s * PER_SECOND).astype(np.int64)
    # Read as if it were UTC, so that the script shows the time of day of the recording, not of the reader.
    zero = None if axis.clock is None else axis.clock.replace(tzinfo=UTC).timestamp() * 1000
    return {
        "left": chart.left,
        "right": chart.right,
        "top": chart.top,
        "bottom": chart.bottom,
        "length": axis.length_s,
        "pieces": [[piece.start_s, piece.end_s, piece.drawn_s, piece.length_s, piece.cut] for piece in axis.pieces],
        "clock": zero,
        "days": axis.several_days,
        "steps": STEPS_S,
        "tick": TICK_PX,
        "reach": max(series.stride_s, series.window_s) / 2,
        "middle": np.diff(middle, prepend=0).tolist(),
        "score": _whole(series.score),
        "scoreLow": _whole(series.score - series.low),
        "scoreHigh": _whole(series.high - series.score),
        "level": _whole(np.where(np.isfinite(series.score), level.mean, np.nan)),
        "levelLow": _whole(level.mean - level.low),
        "levelHigh": _whole(level.high - level.mean),
        "quality": _whole(series.quality),
        "recordings": [
            [part.offset_s, part.offset_s + part.length_s, printable(part.recording)] for part in series.parts
        ],
        "ratings": list(ratings.items()),
        "states": [[state.start_s, state.end_s, state.kind] for state in trajectory.states],
        "gaps": [[gap.start_s, gap.end_s, gap_name(gap.kind)] for gap in trajectory.gaps],
        "alerts": [[alert.start_s, alert.end_s, printable(alert.text or alert.rule)] for alert in trajectory.alerts],
        "events": [[event.time_s, printable(event.label)] for event in series.events],
    }


def _whole(values: npt.NDArray[np.float64]) -> list[int | None]:
    known = np.isfinite(values)
    whole = np.round(np.where(known, values, 0) * PER_POINT).astype(np.int64).tolist()
    return [value if there else None for value, there in zip(whole, known.tolist(), strict=True)]
