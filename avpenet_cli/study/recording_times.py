"""When recordings began, from a table that a person keeps: the start of each, by its device's clock."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

CLOCK_YEARS = range(1900, 2200)
"""Other years are no clock's, however wrong it is."""
_YEAR_S = 365.25 * 86_400
_MAX_OFFSET_S = 100 * _YEAR_S
"""A clock without battery starts decades back."""


def read_recording_times(path: Path) -> tuple[Mapping[str, datetime], str]:
    """Read a table of recording times.

    Args:
        path: .csv, .parquet or .jsonl with `recording` and `recorded_at` (ISO 8601, date and time), optionally `device`
            and `clock_offset_s` (what the device's clock was ahead, s).

    Returns:
        Start by recording, corrected by the clock offset of its device, for rows that state one; digest of the file.

    Raises:
        SettingsError: a table that cannot be read or lacks columns, a recording twice, two offsets of a device, an
            offset over 100 years, or text that is no date with time.
    """
    import numpy as np

    from avpenet_cli.study.readers import read_sheet

    columns = ("recording", "recorded_at", "device", "clock_offset_s")
    sheet = read_sheet(path, columns, "table of recording times", columns[:1])
    sheet.require(columns[:2], "table of recording times", "give it the columns recording and recorded_at")
    recordings = sheet.filled("recording").to_pylist()
    stated = sheet.text("recorded_at").to_pylist()
    devices = sheet.text("device").to_pylist() if "device" in sheet.columns else [None] * sheet.rows
    offsets = sheet.numbers("clock_offset_s").tolist() if "clock_offset_s" in sheet.columns else [np.nan] * sheet.rows
    of_device: dict[str, float] = {}
    starts: dict[str, datetime] = {}
    for row, (device, offset) in enumerate(zip(devices, offsets, strict=True)):
        if device and not np.isnan(offset) and of_device.setdefault(device, offset) != offset:
            problem = f"clock_offset_s is {offset:g}, but {of_device[device]:g} on another row of {device}"
            raise sheet.fault(np.array([row]), problem, "a device has one clock offset")
    for row, (recording, text) in enumerate(zip(recordings, stated, strict=True)):
        if recording in starts:
            raise sheet.fault(np.array([row]), f"{recording} has a row already", "give each recording once")
        start = parse_date_time(text)
        if start is None:
            if text:
                problem = f"recorded_at is {text!r}, not a date with time in ISO 8601"
                raise sheet.fault(np.array([row]), problem, "write it like 2026-03-04T10:15:00+01:00")
            continue
        offset = of_device.get(devices[row] or "", offsets[row])
        if not abs(offset) <= _MAX_OFFSET_S and not np.isnan(offset):
            problem = f"clock_offset_s is {offset:g}, over {_MAX_OFFSET_S / _YEAR_S:.0f} years"
            raise sheet.fault(np.array([row]), problem, "give it in seconds")
        starts[recording] = start - timedelta(seconds=0.0 if np.isnan(offset) else offset)
    return starts, sheet.sha256


def parse_date_time(text: str | None) -> datetime | None:
    """A date with time in ISO 8601; None for anything else, also for a date alone or a year that is no clock's."""
    try:
        start = datetime.fromisoformat((text or "").strip())
    except ValueError:
        return None
    return start if len((text or "").strip()) > len("2026-03-04") and start.year in CLOCK_YEARS else None
