"""Alerts as a table: a row for each, in the order of the series and of the times when they were raised."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

import numpy as np

from avpenet_cli.scoring.recorded_at import iso
from avpenet_cli.tables import Column, Row, rounded, write_table
from avpenet_cli.trajectory.analysed import Alert, Level, Trajectory
from avpenet_cli.trajectory.series import Series

_EPSILON = 1e-6

ALERT_COLUMNS: tuple[Column, ...] = (
    Column("series", "text", "the patient (`--subjects`), or the recording"),
    Column("recording", "text", "the recording in which it was raised, as in the score table"),
    Column("rule", "text", "name of the rule"),
    Column(
        "start_s",
        "float",
        "when what the rule describes began, seconds after the series' start: the first segment; for a rise, the "
        "lowest one before it; the event",
    ),
    Column("end_s", "float", "end of the last segment that meets the rule"),
    Column("raised_s", "float", "when it could have been known: the rule was met by the scores until then"),
    Column("recording_raised_s", "float", "the same, seconds after the recording's start"),
    Column("raised_at", "text", "the same, ISO 8601; empty where the time of the recording is not known"),
    Column("highest", "float", "highest smoothed level from `start_s` to `end_s`, points; empty without"),
    Column("text", "text", "text of the rule"),
)
"""Columns of the table of alerts."""


def write_alerts(path: Path, trajectories: Iterable[Trajectory], *, byte_order_mark: bool = False) -> str:
    """Write the alerts of trajectories, one after the other; a table without rows where there are none.

    Returns:
        SHA-256 of the file, hexadecimal.

    Raises:
        SettingsError: the suffix is not that of a table.
        EnvironmentUnavailableError, OutputError: it cannot be written.
    """
    rows = (row for trajectory in trajectories for row in alert_rows(trajectory))
    return write_table(path, rows, ALERT_COLUMNS, byte_order_mark=byte_order_mark)


def alert_rows(trajectory: Trajectory) -> Iterator[Row]:
    """A row of `ALERT_COLUMNS` for each alert."""
    series = trajectory.series
    start = datetime.fromisoformat(series.clock) if series.clock else None
    for alert in trajectory.alerts:
        part = series.parts[part_of(series, alert)]
        values: Row = {
            "series": series.name,
            "recording": part.recording,
            "rule": alert.rule,
            "start_s": alert.start_s,
            "end_s": alert.end_s,
            "raised_s": alert.raised_s,
            "recording_raised_s": alert.raised_s - part.offset_s,
            "raised_at": iso(start, alert.raised_s),
            "highest": highest(series, trajectory.level, alert),
            "text": alert.text,
        }
        yield rounded(values, ALERT_COLUMNS)


def part_of(series: Series, alert: Alert) -> int:
    """Index of the recording of an alert; across recordings, of the last one that had begun when it was raised."""
    if alert.part is not None:
        return alert.part
    started = [n for n, part in enumerate(series.parts) if part.offset_s < alert.raised_s - _EPSILON]
    return started[-1] if started else 0


def highest(series: Series, level: Level, alert: Alert) -> float | None:
    """Highest smoothed level in the middle of a segment during an alert, points; None without."""
    during = (series.middle_s >= alert.start_s - _EPSILON) & (series.middle_s <= alert.end_s + _EPSILON)
    values = level.mean[during]
    return float(np.nanmax(values)) if np.isfinite(values).any() else None
