"""CSV files of ratings by a map, and REDCap's flat export."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from avpenet_cli.errors import SettingsError
from avpenet_cli.ratings.importing.rating_map import RatingColumns, RatingMap
from avpenet_cli.ratings.importing.source import Source, SourceRow, column_key
from avpenet_cli.ratings.importing.text_table import TextTable, read_text_table

INSTRUMENT, INSTANCE, EVENT = "redcap_repeat_instrument", "redcap_repeat_instance", "redcap_event_name"
_LABELS = ("Repeat Instrument", "Event Name")
_OWN_NAMES = RatingMap(recording="recording", start="start_s", end="end_s", ratings=(RatingColumns(value="value"),))
"""Columns of a table of ratings, which a file may have already."""


def read_csv_source(path: Path, chosen: RatingMap | None) -> Source:
    """Read a CSV file of ratings by a map; without one, a file that has the columns of a table of ratings.

    Raises:
        SettingsError: as `read_text_table`; a column that the map names is missing, or the map lacks a setting.
    """
    return _source(_table(path, chosen, "CSV file of ratings"), chosen)


def read_redcap_source(path: Path, chosen: RatingMap | None) -> Source:
    """Read REDCap's flat export (raw data, one row for each record, event and repeat instance).

    A row of a repeating instrument has only that instrument's fields. Its other cells are filled from the row of the
    same record and event that is not repeated or, if there is none, from the record's other rows that are not, where
    these agree: so a recording that is stated once for a record holds for all its ratings.

    Raises:
        SettingsError: as `read_csv_source`; an export of labels.
    """
    table = _table(path, chosen, "REDCap export")
    labels = [name for name in _LABELS if name in table.columns]
    if labels:
        raise SettingsError(
            f"{path} is a REDCap export of labels (column {labels[0]!r})", "export it as CSV / raw data"
        )
    return _source(replace(table, rows=_filled(table)), chosen)


def _table(path: Path, chosen: RatingMap | None, description: str) -> TextTable:
    if chosen is None:

        def is_header(keys: set[str]) -> bool:
            return {"recording", "value"} <= keys

        return read_text_table(path, description, is_header, "the columns recording and value")
    if not chosen.ratings:
        raise SettingsError(f"{path}: the map names no column of values", "add [[ratings]] with value = COLUMN")
    # What a line above the header may state is not needed in it.
    needed = [chosen.start, chosen.end, chosen.time, chosen.date]
    needed += [name for block in chosen.ratings for name in (block.value, block.scale_column, *block.where)]
    names = dict.fromkeys(name for name in needed if name)
    keys = {column_key(name) for name in names}
    return read_text_table(path, description, keys.__le__, f"the columns {', '.join(map(repr, names))}")


def _source(table: TextTable, chosen: RatingMap | None) -> Source:
    if chosen is None:
        chosen = _own_names(table)
    rows = tuple(SourceRow(f"line {line}", cells) for line, cells in table.rows)
    source = Source(table.path, rows, table.columns, chosen, table.stated, table.decimal_comma, table.notices)
    if not (chosen.recording or chosen.recording_name):
        raise SettingsError(f"{table.path}: the map names no recording", "add recording = COLUMN, or recording_name")
    if not (chosen.time or chosen.start or chosen.end):
        raise SettingsError(f"{table.path}: the map names no time", "add start and end, or time")
    if (chosen.start is None) != (chosen.end is None) and chosen.length_s is None:
        raise SettingsError(f"{table.path}: the map names a start or an end only", "add the other one, or length_s")
    source.require(chosen.recording)
    source.require_columns()
    return source


def _own_names(table: TextTable) -> RatingMap:
    keys = {column_key(name) for name in table.columns}
    (block,) = _OWN_NAMES.ratings
    there = {name: name if name in keys else None for name in ("scale", "rater", "rated_at", "pack")}
    block = replace(block, scale_column=there["scale"])
    chosen = replace(
        _OWN_NAMES,
        ratings=(block,),
        rater_column=there["rater"],
        rated_at=there["rated_at"],
        pack=there["pack"],
    )
    if "time_s" in keys and not {"start_s", "end_s"} & keys:
        chosen = replace(chosen, time="time_s", start=None, end=None)
    elif not {"start_s", "end_s"} <= keys:
        raise SettingsError(f"{table.path}: neither start_s and end_s nor time_s", "name the columns in a map (--map)")
    return chosen


def _filled(table: TextTable) -> tuple[tuple[int, dict[str, str]], ...]:
    """Rows of repeating instruments with what rows of their record state that are not repeated."""
    record = column_key(table.columns[0])
    by_event: dict[tuple[str, str], dict[str, str]] = {}
    by_record: dict[str, dict[str, set[str]]] = {}
    for _, cells in table.rows:
        if cells.get(INSTANCE, "").strip():
            continue
        stated = {name: cell for name, cell in cells.items() if cell.strip()}
        by_event.setdefault((cells[record], cells.get(EVENT, "")), {}).update(stated)
        for name, cell in stated.items():
            by_record.setdefault(cells[record], {}).setdefault(name, set()).add(cell)
    rows: list[tuple[int, dict[str, str]]] = []
    for line, cells in table.rows:
        if cells.get(INSTANCE, "").strip():
            agreed = {n: next(iter(found)) for n, found in by_record.get(cells[record], {}).items() if len(found) == 1}
            known = agreed | by_event.get((cells[record], cells.get(EVENT, "")), {})
            rows.append((line, {name: cell if cell.strip() else known.get(name, "") for name, cell in cells.items()}))
        else:
            rows.append((line, cells))
    return tuple(rows)
