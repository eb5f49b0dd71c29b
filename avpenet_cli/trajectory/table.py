"""Trajectories as a table: a row for every segment, with the level, the state, ratings and events at its time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from avpenet_cli.scoring.recorded_at import iso
from avpenet_cli.study.pairing import HOLD_S, overlapping, row_medians
from avpenet_cli.tables import Column, Row, rounded, write_table
from avpenet_cli.trajectory.analysed import Trajectory
from avpenet_cli.trajectory.series import Event, Series

Floats = npt.NDArray[np.float64]

TRAJECTORY_COLUMNS: tuple[Column, ...] = (
    Column("series", "text", "the patient (`--subjects`), or the recording"),
    Column("recording", "text", "as in the score table"),
    Column("start_s", "float", "where the segment starts, seconds after the series' start"),
    Column("end_s", "float", "where it ends"),
    Column("recording_start_s", "float", "where the segment starts, seconds after its recording's start"),
    Column(
        "recorded_at",
        "text",
        "when it starts, in the time zone of the series' first recording; empty where the time is not known",
    ),
    Column("score", "float", "pain, 0 to 10; empty when unscorable"),
    Column("score_lo", "float", "2.5th percentile of the Monte Carlo dropout samples; empty without"),
    Column("score_hi", "float", "their 97.5th percentile"),
    Column("level", "float", "smoothed level of pain at the middle of the segment, points; empty where there is none"),
    Column("level_lo", "float", "lower end of its 95 % interval"),
    Column("level_hi", "float", "upper end of it"),
    Column("state", "text", "`stable`, `rising`, `falling`, `unstable` or `indeterminate`; empty without a level"),
    Column("reason", "text", "why there is no score, as in the score table, or `unscorable` where that does not say"),
    Column(
        "quality",
        "float",
        "of the evidence, 0 to 1: the lowest of `face_rate` and `face_confidence` where a face made the score, and 0.5 "
        "where audio made it and has the flag `audio_gap`, `clipped` or `damaged`; 0 without a score, empty where the "
        "score table has none of this",
    ),
    Column(
        "rating",
        "float",
        "median over raters of the ratings that apply to the segment, 0 to 10: those that overlap it by at least half "
        f"of the shorter of the two; a rating at one time applies for {HOLD_S:g} s",
    ),
    Column("event", "text", "events since the segment's start and before the next one's, separated by `; `"),
)
"""Columns of the table of trajectories."""


def write_trajectories(path: Path, trajectories: Iterable[Trajectory], *, byte_order_mark: bool = False) -> str:
    """Write the table, trajectory by trajectory, so that not all of them need to fit into memory.

    Returns:
        SHA-256 of the file, hexadecimal.

    Raises:
        EnvironmentUnavailableError, OutputError: it cannot be written.
    """
    rows = (row for trajectory in trajectories for row in trajectory_rows(trajectory))
    return write_table(path, rows, TRAJECTORY_COLUMNS, byte_order_mark=byte_order_mark)


def trajectory_rows(trajectory: Trajectory) -> Iterator[Row]:
    """A row of `TRAJECTORY_COLUMNS` for each segment, in time order."""
    series, level = trajectory.series, trajectory.level
    start = datetime.fromisoformat(series.clock) if series.clock else None
    states = _states(trajectory)
    events = _events(series.events, series.start_s)
    numbers: dict[str, Floats] = {
        "start_s": series.start_s,
        "end_s": series.end_s,
        "score": series.score,
        "score_lo": series.low,
        "score_hi": series.high,
        "level": level.mean,
        "level_lo": level.low,
        "level_hi": level.high,
        "quality": series.quality,
        "rating": ratings_of(series),
    }
    lists = {
        name: [None if math.isnan(value) else value for value in array.tolist()] for name, array in numbers.items()
    }
    for place, (start_s, part) in enumerate(zip(series.start_s.tolist(), series.part.tolist(), strict=True)):
        values: Row = {name: column[place] for name, column in lists.items()}
        values |= {
            "series": series.name,
            "recording": series.parts[part].recording,
            "recording_start_s": start_s - series.parts[part].offset_s,
            "recorded_at": iso(start, start_s),
            "state": states[place],
            "reason": series.reason[place],
            "event": events[place],
        }
        yield rounded(values, TRAJECTORY_COLUMNS)


def ratings_of(series: Series) -> Floats:
    """(n,) rating of each segment, points; NaN without: the median over raters of the median of each one's ratings."""
    raters = list(dict.fromkeys(rating.rater for rating in series.ratings))
    values = np.full((series.start_s.size, len(raters)), np.nan)
    for column, rater in enumerate(raters):
        own = [rating for rating in series.ratings if rating.rater == rater]
        from_s, to_s, points = np.array([(item.start_s, item.end_s, item.value) for item in own]).T
        to_s = np.where(to_s <= from_s, from_s + HOLD_S, to_s)
        segment, rating = overlapping(series.start_s, series.end_s, from_s, to_s)
        for place in np.unique(segment):
            values[place, column] = np.median(points[rating[segment == place]])
    return row_medians(values)[0]


def _states(trajectory: Trajectory) -> list[str]:
    """The state in the middle of each segment; empty where there is none, and where there is no level."""
    spans, middle_s = trajectory.states, trajectory.series.middle_s
    starts_s = np.array([span.start_s for span in spans])
    places = np.searchsorted(starts_s, middle_s, side="right") - 1
    known = np.isfinite(trajectory.level.mean)
    return [
        spans[place].kind if place >= 0 and middle <= spans[place].end_s and has_level else ""
        for place, middle, has_level in zip(places.tolist(), middle_s.tolist(), known.tolist(), strict=True)
    ]


def _events(events: tuple[Event, ...], start_s: Floats) -> list[str]:
    """The labels of the events of each segment; those before the first segment belong to it."""
    labels: list[list[str]] = [[] for _ in range(start_s.size)]
    for event in events:
        place = max(int(np.searchsorted(start_s, event.time_s, side="right")) - 1, 0)
        if labels:
            labels[place].append(event.label)
    return ["; ".join(own) for own in labels]
