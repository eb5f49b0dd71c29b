"""Tables that people provide: human ratings on any scale, subjects of recordings, events."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from avpenet_cli.errors import SettingsError
from avpenet_cli.study.readers import read_sheet
from avpenet_cli.study.sheets import Floats, Sheet, SourceFile, Table, quoted

SCALES: dict[str, float] = {"NRS": 10.0, "NIPS": 7.0, "CPOT": 8.0, "FLACC": 10.0, "VAS": 100.0}
"""Highest value of each scale known by name; all start at 0."""
DEFAULT_SCALE = "NRS"
DEFAULT_RATER = "rater"
"""Name of the rater where the file does not give one."""
NOT_STATED = "(not stated)"
"""Level of an empty cell in the table of subjects."""

_HIGHEST = 10.0
_RATING_COLUMNS = ("recording", "time_s", "start_s", "end_s", "value", "scale", "rater")
_NAMED_SCALE = re.compile(r"([^:]*[^:\s])\s*:\s*([0-9]+(?:\.[0-9]+)?)")
_SCALES_REMEDY = f"use {', '.join(SCALES)}, or `name:max` such as BPS:12 for a scale from 0 to 12"


@dataclass(frozen=True)
class Ratings:
    """Human ratings, rescaled to 0 to 10 points.

    Attributes:
        file: where they come from.
        rows: one per rating, in the file's order: `line` (of the file; for Parquet the row), `recording`, `start_s`,
            `end_s` (NaN for a rating at one time), `value` (0 to 10), `rater`, `scale`.
        scales: in order of appearance, upper case, `NAME:MAX` where the file gave the end of the scale.
        raters: in order of appearance.
    """

    file: SourceFile
    rows: pd.DataFrame
    scales: tuple[str, ...]
    raters: tuple[str, ...]


@dataclass(frozen=True)
class Subjects:
    """Subjects of the recordings.

    Attributes:
        file: where they come from.
        subject_of: recording to subject.
        columns: the other columns, to stratify by.
        table: those columns as text, indexed by recording; an empty cell is `(not stated)`.
    """

    file: SourceFile
    subject_of: dict[str, str]
    columns: tuple[str, ...]
    table: pd.DataFrame


@dataclass(frozen=True)
class Events:
    """Events in the recordings.

    Attributes:
        file: where they come from.
        rows: `recording`, `time_s`, `label`, in the file's order.
    """

    file: SourceFile
    rows: pd.DataFrame


def read_ratings(source: Table) -> Ratings:
    """Read ratings and rescale each linearly from its scale, 0 to its highest value, to 0 to 10 (NIPS: x 10/7).

    Args:
        source: .csv, .parquet or .jsonl, or a DataFrame, with `recording`, then `time_s` or `start_s` and `end_s`,
            `value`, and optionally `scale` (default NRS) and `rater` (default: a single rater).

    Raises:
        SettingsError: a table that cannot be read, lacks columns or has both forms of time; a row with a missing
            value, text for a number, an unknown scale, a value outside its scale, a negative time or an end not after
            its start; two rows of a rater for the same time.
    """
    sheet = read_sheet(source, _RATING_COLUMNS, "table of ratings")
    sheet.require(
        ("recording", "value"),
        "table of ratings",
        "it needs recording, time_s or start_s and end_s, and value",
    )
    recording = sheet.filled("recording").to_pandas()
    start_s, end_s = _times(sheet)
    scale, highest = _scales(sheet)
    value = sheet.numbers("value")
    if np.isnan(value).any():
        raise sheet.fault(np.isnan(value), "value is empty", "fill it in or remove the row")
    wrong = ~((value >= 0.0) & (value <= highest))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        problem = f"value {value[row]:g} is outside its scale, {scale[row]} from 0 to {highest[row]:g}"
        raise sheet.fault(wrong, problem, "fix the value, or name its scale in a column `scale`")
    single = pd.Series([DEFAULT_RATER] * sheet.rows, dtype="str")
    rows = pd.DataFrame(
        {
            "line": sheet.lines,
            "recording": recording,
            "start_s": start_s,
            "end_s": end_s,
            # Multiplied first, so that the highest value of a scale becomes exactly 10.
            "value": value * _HIGHEST / highest,
            "rater": _raters(sheet) if "rater" in sheet.columns else single,
            "scale": scale,
        }
    )
    repeated = rows.duplicated(["recording", "rater", "start_s", "end_s"]).to_numpy()
    if repeated.any():
        raise sheet.fault(
            repeated,
            "the same recording, rater and time as an earlier row",
            "keep one of them, or name the raters in a column `rater`",
        )
    return Ratings(sheet.file, rows, tuple(map(str, rows["scale"].unique())), tuple(map(str, rows["rater"].unique())))


def _raters(sheet: Sheet) -> pd.Series[str]:
    """Names without surrounding blanks, which are invisible in a spreadsheet."""
    return sheet.strings("rater").str.strip().replace("", DEFAULT_RATER).fillna(DEFAULT_RATER)


def _times(sheet: Sheet) -> tuple[Floats, Floats]:
    """Start and end of each rating in seconds; the end is NaN where ratings are given at one time."""
    point = "time_s" in sheet.columns
    interval: list[str] = [name for name in ("start_s", "end_s") if name in sheet.columns]
    if point == bool(interval) or len(interval) == 1:
        present = ", ".join(["time_s"] * point + interval) or "neither"
        raise SettingsError(
            f"{sheet.path}: ratings have either time_s or both start_s and end_s; found {present}",
            "give one form of time; a rating at one time may be written with start_s and end_s around it",
        )
    start_s = sheet.numbers("time_s" if point else "start_s")
    name = "time_s" if point else "start_s"
    if not (start_s >= 0.0).all():
        raise sheet.fault(~(start_s >= 0.0), f"{name} is empty or negative", "seconds after the recording's start")
    if point:
        return start_s, np.full(sheet.rows, np.nan)
    end_s = sheet.numbers("end_s")
    if not (end_s > start_s).all():
        raise sheet.fault(~(end_s > start_s), "end_s is empty or not after start_s", "fix the times")
    return start_s, end_s


def _scales(sheet: Sheet) -> tuple[pd.Series[str], Floats]:
    """Name and highest value of each rating's scale."""
    if "scale" not in sheet.columns:
        return pd.Series([DEFAULT_SCALE] * sheet.rows, dtype="str"), np.full(sheet.rows, SCALES[DEFAULT_SCALE])
    names = sheet.strings("scale").fillna(DEFAULT_SCALE)
    known: dict[str, tuple[str, float]] = {}
    for name in map(str, names.unique()):
        upper = name.strip().upper() or DEFAULT_SCALE
        with_max = _NAMED_SCALE.fullmatch(upper)
        highest = float(with_max[2]) if with_max else SCALES.get(upper, 0.0)
        if not 0.0 < highest < np.inf:
            raise sheet.fault((names == name).to_numpy(), f"unknown scale {quoted(name)}", _SCALES_REMEDY)
        # `NIPS:7` and `nips` are the same scale; `VAS:10` is not the VAS of 100 mm.
        standard = with_max is not None and SCALES.get(with_max[1]) == highest
        label = upper
        if with_max:
            label = with_max[1] if standard else f"{with_max[1]}:{highest:g}"
        known[name] = (label, highest)
    scale = names.map({name: label for name, (label, _) in known.items()})
    highest_of = names.map({name: maximum for name, (_, maximum) in known.items()})
    return scale.astype("str"), np.asarray(highest_of, dtype=np.float64)


def read_subjects(source: Table) -> Subjects:
    """Read the subjects of the recordings, and columns to stratify by.

    Args:
        source: .csv, .parquet or .jsonl, or a DataFrame, with `recording`, `subject` and any other columns.

    Raises:
        SettingsError: a table that cannot be read or lacks columns, an empty recording or subject, or a recording with
            two rows that differ.
    """
    sheet = read_sheet(source, ("recording", "subject"), "table of subjects")
    sheet.require(("recording", "subject"), "table of subjects", "it needs recording and subject")
    for name in ("recording", "subject"):
        sheet.filled(name)
    columns = tuple(name for name in sheet.columns if name not in ("recording", "subject"))
    whole = pd.DataFrame({name: sheet.strings(name) for name in sheet.columns})
    whole[list(columns)] = whole[list(columns)].fillna(NOT_STATED)
    first = ~whole.duplicated().to_numpy()
    conflicting = first & whole.duplicated("recording").to_numpy()
    if conflicting.any():
        recording = quoted(whole["recording"].iloc[int(np.flatnonzero(conflicting)[0])])
        raise sheet.fault(
            conflicting, f"recording {recording} has an earlier row that differs", "keep one row for each recording"
        )
    table = whole[first].set_index("recording")
    subject_of = dict(zip(map(str, table.index), map(str, table["subject"]), strict=True))
    return Subjects(sheet.file, subject_of, columns, table[list(columns)])


def read_events(source: Table) -> Events:
    """Read events.

    Args:
        source: .csv, .parquet or .jsonl, or a DataFrame, with `recording`, `time_s` and `label`.

    Raises:
        SettingsError: a table that cannot be read or lacks columns, an empty cell, or a time that is negative or not a
            number.
    """
    sheet = read_sheet(source, ("recording", "time_s", "label"), "table of events")
    sheet.require(("recording", "time_s", "label"), "table of events", "it needs recording, time_s and label")
    recording, label = (sheet.filled(name).to_pandas() for name in ("recording", "label"))
    time_s = sheet.numbers("time_s")
    if not (time_s >= 0.0).all():
        raise sheet.fault(~(time_s >= 0.0), "time_s is empty or negative", "seconds after the recording's start")
    return Events(sheet.file, pd.DataFrame({"recording": recording, "time_s": time_s, "label": label}))
