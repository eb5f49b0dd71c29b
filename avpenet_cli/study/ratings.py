"""What people brought: human ratings on any scale, whose recordings they are, what happened in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from avpenet_cli.errors import SettingsError
from avpenet_cli.study.sheets import Floats, Sheet, SourceFile, read_sheet, shown

SCALES: dict[str, float] = {"NRS": 10.0, "NIPS": 7.0, "CPOT": 8.0, "FLACC": 10.0, "VAS": 100.0}
"""Highest value of each scale known by name; all start at 0."""
DEFAULT_SCALE = "NRS"
ONE_RATER = "rater"
"""Who rated, where the file does not say."""
NOT_STATED = "(not stated)"
"""Level of a subject's column left empty."""

_HIGHEST = 10.0
_RATING_COLUMNS = ("recording", "time_s", "start_s", "end_s", "value", "scale", "rater")
_NAMED_SCALE = re.compile(r"([^:]*[^:\s])\s*:\s*([0-9]+(?:\.[0-9]+)?)")
_SCALES_REMEDY = f"use {', '.join(SCALES)}, or `name:max` such as BPS:12 for a scale from 0 to 12"


@dataclass(frozen=True)
class Ratings:
    """Human ratings, brought to 0 to 10.

    Attributes:
        rows: one per rating, in the file's order: `line` (of the file; the row's number for Parquet), `recording`,
            `start_s`, `end_s` (NaN for a rating of one moment), `value` (0 to 10), `rater`, `scale`.
        scales: in order of appearance, upper case, `NAME:MAX` where the file gave the end of the scale.
        raters: in order of appearance.
    """

    file: SourceFile
    rows: pd.DataFrame
    scales: tuple[str, ...]
    raters: tuple[str, ...]


@dataclass(frozen=True)
class Subjects:
    """Whose recordings they are.

    Attributes:
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
    """What happened in the recordings.

    Attributes:
        rows: `recording`, `time_s`, `label`, in the file's order.
    """

    file: SourceFile
    rows: pd.DataFrame


def read_ratings(path: Path) -> Ratings:
    """Read ratings and rescale each linearly from its scale, 0 to its highest value, to 0 to 10 (NIPS: x 10/7).

    Args:
        path: .csv, .parquet or .jsonl with `recording`, then `time_s` or `start_s` and `end_s`, `value`, and as one
            likes `scale` (NRS where it is not said) and `rater` (one rater where it is not said).

    Raises:
        SettingsError: a file that cannot be read, lacks columns or has both forms of time; a row with something
            missing, text for a number, an unknown scale, a value outside its scale, a negative time or an end not
            after its start; two rows of one rater for the same time.
    """
    sheet = read_sheet(path, _RATING_COLUMNS, "table of ratings")
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
        raise sheet.fault(np.isnan(value), "value is empty", "fill it in or take the row out")
    wrong = ~((value >= 0.0) & (value <= highest))
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        what = f"value {value[at]:g} is outside its scale, {scale[at]} from 0 to {highest[at]:g}"
        raise sheet.fault(wrong, what, "mend the value, or name its scale in a column `scale`")
    one = pd.Series([ONE_RATER] * sheet.rows, dtype="str")
    rows = pd.DataFrame(
        {
            "line": sheet.lines,
            "recording": recording,
            "start_s": start_s,
            "end_s": end_s,
            # The product first, so that the end of a scale is 10 and not a hair beside it.
            "value": value * _HIGHEST / highest,
            "rater": _raters(sheet) if "rater" in sheet.columns else one,
            "scale": scale,
        }
    )
    again = rows.duplicated(["recording", "rater", "start_s", "end_s"]).to_numpy()
    if again.any():
        raise sheet.fault(
            again,
            "the same recording, rater and time as an earlier row",
            "keep one of them, or name who rated in a column `rater`",
        )
    return Ratings(sheet.file, rows, tuple(map(str, rows["scale"].unique())), tuple(map(str, rows["rater"].unique())))


def _raters(sheet: Sheet) -> pd.Series[str]:
    """Names without the blanks around them, which nobody sees."""
    return sheet.strings("rater").str.strip().replace("", ONE_RATER).fillna(ONE_RATER)


def _times(sheet: Sheet) -> tuple[Floats, Floats]:
    """Start and end of each rating in seconds; the end is NaN where a rating is of one moment."""
    point = "time_s" in sheet.columns
    interval: list[str] = [name for name in ("start_s", "end_s") if name in sheet.columns]
    if point == bool(interval) or len(interval) == 1:
        found = ", ".join(["time_s"] * point + interval) or "neither"
        raise SettingsError(
            f"{sheet.path}: ratings have either time_s or both start_s and end_s; found {found}",
            "give one form of time; a rating of one moment may be written with start_s and end_s around it",
        )
    start_s = sheet.numbers("time_s" if point else "start_s")
    name = "time_s" if point else "start_s"
    if not (start_s >= 0.0).all():
        raise sheet.fault(~(start_s >= 0.0), f"{name} is empty or negative", "seconds after the recording's start")
    if point:
        return start_s, np.full(sheet.rows, np.nan)
    end_s = sheet.numbers("end_s")
    if not (end_s > start_s).all():
        raise sheet.fault(~(end_s > start_s), "end_s is empty or not after start_s", "mend the times")
    return start_s, end_s


def _scales(sheet: Sheet) -> tuple[pd.Series[str], Floats]:
    """Name and highest value of each rating's scale."""
    if "scale" not in sheet.columns:
        return pd.Series([DEFAULT_SCALE] * sheet.rows, dtype="str"), np.full(sheet.rows, SCALES[DEFAULT_SCALE])
    given = sheet.strings("scale").fillna(DEFAULT_SCALE)
    known: dict[str, tuple[str, float]] = {}
    for name in map(str, given.unique()):
        plain = name.strip().upper() or DEFAULT_SCALE
        named = _NAMED_SCALE.fullmatch(plain)
        highest = float(named[2]) if named else SCALES.get(plain, 0.0)
        if not 0.0 < highest < np.inf:
            raise sheet.fault((given == name).to_numpy(), f"unknown scale {shown(name)}", _SCALES_REMEDY)
        # `NIPS:7` and `nips` are the same scale; `VAS:10` is not the VAS of 100 mm.
        same = named is not None and SCALES.get(named[1]) == highest
        known[name] = (named[1] if named and same else f"{named[1]}:{highest:g}" if named else plain, highest)
    scale = given.map({name: its for name, (its, _) in known.items()})
    highest_of = given.map({name: end for name, (_, end) in known.items()})
    return scale.astype("str"), np.asarray(highest_of, dtype=np.float64)


def read_subjects(path: Path) -> Subjects:
    """Read whose recordings they are, and what to stratify by.

    Args:
        path: .csv, .parquet or .jsonl with `recording`, `subject` and any other columns.

    Raises:
        SettingsError: a file that cannot be read or lacks columns, an empty recording or subject, or a recording with
            two rows that differ.
    """
    sheet = read_sheet(path, ("recording", "subject"), "table of subjects")
    sheet.require(("recording", "subject"), "table of subjects", "it needs recording and subject")
    for name in ("recording", "subject"):
        sheet.filled(name)
    columns = tuple(name for name in sheet.columns if name not in ("recording", "subject"))
    whole = pd.DataFrame({name: sheet.strings(name) for name in sheet.columns})
    whole[list(columns)] = whole[list(columns)].fillna(NOT_STATED)
    first = ~whole.duplicated().to_numpy()
    again = first & whole.duplicated("recording").to_numpy()
    if again.any():
        recording = shown(whole["recording"].iloc[int(np.flatnonzero(again)[0])])
        raise sheet.fault(
            again, f"recording {recording} has an earlier row that differs", "keep one row for each recording"
        )
    table = whole[first].set_index("recording")
    subject_of = dict(zip(map(str, table.index), map(str, table["subject"]), strict=True))
    return Subjects(sheet.file, subject_of, columns, table[list(columns)])


def read_events(path: Path) -> Events:
    """Read what happened when.

    Args:
        path: .csv, .parquet or .jsonl with `recording`, `time_s` and `label`.

    Raises:
        SettingsError: a file that cannot be read or lacks columns, an empty cell, or a time that is no number or
            negative.
    """
    sheet = read_sheet(path, ("recording", "time_s", "label"), "table of events")
    sheet.require(("recording", "time_s", "label"), "table of events", "it needs recording, time_s and label")
    recording, label = (sheet.filled(name).to_pandas() for name in ("recording", "label"))
    time_s = sheet.numbers("time_s")
    if not (time_s >= 0.0).all():
        raise sheet.fault(~(time_s >= 0.0), "time_s is empty or negative", "seconds after the recording's start")
    return Events(sheet.file, pd.DataFrame({"recording": recording, "time_s": time_s, "label": label}))
