"""Tables of ratings by several raters, of whole scales or their items, as one table with the order of rating."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from avpenet_cli.errors import SettingsError
from avpenet_cli.keys import merge_spellings, shown
from avpenet_cli.phrasing import clock, plural
from avpenet_cli.study.ratings import RATING_COLUMNS, REQUIRED_CELLS, ratings_in
from avpenet_cli.study.readers import read_sheet
from avpenet_cli.study.sheets import Floats, Sheet, SourceFile, quoted

TOTAL = ""
"""Item of a rating on the whole scale."""

_DESCRIPTION = "table of ratings"
_COLUMNS = (*RATING_COLUMNS, "item", "order", "rated_at")
_REQUIRED = tuple(name for name in REQUIRED_CELLS if name != "value")
_SAME_TIME_DECIMALS = 2
_IDENTITY = ["item", "recording", "rater", "start_s", "end_s"]


@dataclass(frozen=True)
class RatedRows:
    """Ratings of all tables.

    Attributes:
        files: where they come from.
        rows: `file`, `line`, `item` (empty for a whole scale), `recording`, `start_s`, `end_s` (NaN for a rating at one
            time), `value` (0 to 10 points), `written` (on its own scale), `scale`, `rater`, `order` (place in the
            rater's order; NaN where not known), `rated_s` (seconds since 1970; NaN where not known), `rated_at` and
            `pack` as written, empty where not.
        empty: rows without a value, which were left out.
        notices: what was merged in spite of its spelling, and files that may have broken off.
    """

    files: tuple[SourceFile, ...]
    rows: pd.DataFrame
    empty: int
    notices: tuple[str, ...]


def read_rated_rows(paths: Sequence[Path]) -> RatedRows:
    """Read tables of ratings.

    Args:
        paths: at least one, in the form of `study.ratings.read_ratings`, optionally with `item`, `order` (a number) and
            `rated_at` (ISO 8601). A row without a value is left out.

    Raises:
        SettingsError: a table that cannot be used, or without any value; a rating that is there twice.
    """
    files, parts, notices, empty = [], [], [], 0
    for path in paths:
        sheet = read_sheet(path, _COLUMNS, _DESCRIPTION, _REQUIRED)
        sheet.require(
            ("recording", "value"), _DESCRIPTION, "it needs recording, time_s or start_s and end_s, and value"
        )
        filled = ~np.isnan(sheet.numbers("value"))
        empty += int((~filled).sum())
        files.append(sheet.file)
        if not filled.any():
            raise SettingsError(f"{path}: no row has a value", "fill in the sheet")
        notices += _unended(sheet)
        sheet = sheet.selected(filled)
        items = sheet.strings("item").fillna(TOTAL) if "item" in sheet.columns else pd.Series([TOTAL] * sheet.rows)
        for item in items.unique():
            part, said = _of_item(sheet.selected((items == item).to_numpy()), str(item))
            parts.append(part)
            notices += [text for text in said if text not in notices]
    rows = pd.concat(parts, ignore_index=True)
    for name in ("recording", "rater", "item"):
        spellings = merge_spellings(rows[name])
        rows[name] = rows[name].map(spellings.names).astype("str")
        if len(paths) > 1 or name == "item":
            notices += spellings.notice("the tables", name)
    _refuse_repeated(rows)
    return RatedRows(tuple(files), rows, empty, tuple(notices))


def _unended(sheet: Sheet) -> list[str]:
    """A notice where a CSV file's last line has no end: a copy that broke off there may have half of a value."""
    if not sheet.delimiter or {"\n", "\r"} & set(sheet.path.read_bytes()[-2:].decode("latin-1")):
        return []
    return [f"{sheet.path.name}: its last line has no end: check that the file is whole"]


def _of_item(sheet: Sheet, item: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    ratings = ratings_in(sheet)
    nothing = np.full(sheet.rows, np.nan)
    rated_at = sheet.strings("rated_at") if "rated_at" in sheet.columns else pd.Series([None] * sheet.rows, dtype="str")
    pack = sheet.strings("pack") if "pack" in sheet.columns else pd.Series([None] * sheet.rows, dtype="str")
    rows = ratings.rows.assign(
        file=sheet.path.name,
        item=item,
        written=sheet.numbers("value"),
        order=sheet.numbers("order") if "order" in sheet.columns else nothing,
        rated_at=rated_at.fillna(""),
        rated_s=_seconds(sheet, rated_at),
        pack=pack.fillna(""),
    )
    return rows, ratings.notices


def _seconds(sheet: Sheet, written: pd.Series[str]) -> Floats:
    """(rows,) seconds since 1970; a time without its offset from UTC is taken for UTC, which keeps the order."""
    seconds = np.full(len(written), np.nan)
    for row, text in enumerate(written):
        if isinstance(text, str):
            try:
                when = datetime.datetime.fromisoformat(text.strip())
            except ValueError:
                wrong = np.array([row])
                problem = f"rated_at is {quoted(text)}, no date and time"
                raise sheet.fault(wrong, problem, "write ISO 8601, such as 2026-03-31T14:05") from None
            if when.tzinfo is None:
                when = when.replace(tzinfo=datetime.UTC)
            seconds[row] = when.timestamp()
    return seconds


def _refuse_repeated(rows: pd.DataFrame) -> None:
    again = rows.duplicated(_IDENTITY)
    if not again.any():
        return
    row = rows[again].iloc[0]
    same = (rows[_IDENTITY].fillna(-1.0) == row[_IDENTITY].fillna(-1.0)).all(axis=1)
    first = rows[same].iloc[0]
    raise SettingsError(
        f"{row['file']}: the rating in line {row['line']}, by {shown(row['rater'])} of {shown(row['recording'])} at "
        f"{clock(float(row['start_s']))}, is also in line {first['line']} of {first['file']} "
        f"({plural(int(again.sum()), 'such rating')})",
        "keep one of them, or name the raters in a column `rater`",
    )


def target_of(rows: pd.DataFrame) -> pd.Series[str]:
    """What each rating is of: ratings of a recording with the same times, to a hundredth of a second, are of the same
    segment."""
    start_s, end_s = (rows[name].round(_SAME_TIME_DECIMALS).astype(str) for name in ("start_s", "end_s"))
    targets: pd.Series[str] = rows["recording"] + "\n" + start_s + "\n" + end_s
    return targets
