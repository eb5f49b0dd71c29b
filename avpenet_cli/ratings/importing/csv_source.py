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
    source = _source(table, chosen)
    return replace(source, rows=_filled(source))


def _table(path: Path, chosen: RatingMap | None, description: str) -> TextTable:
    if chosen is None:

        def is_header(keys: set[str]) -> bool:
            return {"recording", "value"} <= keys

        required = {"recording", "start_s", "end_s", "time_s", "value"}
        return read_text_table(path, description, is_header, "the columns recording and value", required)
    if not chosen.ratings:
        raise SettingsError(f"{path}: the map names no column of values", "add [[ratings]] with value = COLUMN")
    # What a line above the header may state is not needed in it.
    needed = [chosen.start, chosen.end, chosen.time, chosen.date]
    needed += [name for block in chosen.ratings for name in (block.value, block.scale_column, *block.where)]
    names = dict.fromkeys(name for name in needed if name)
    keys = {column_key(name) for name in names}
    return read_text_table(path, description, keys.__le__, f"the columns {', '.join(map(repr, names))}", keys)


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
    there = {name: name if name in keys else None for name in ("scale", "rater", "rated_at", "order", "pack")}
    block = replace(block, scale_column=there["scale"])
    chosen = replace(
        _OWN_NAMES,
        ratings=(block,),
        rater_column=there["rater"],
        rated_at=there["rated_at"],
        order=there["order"],
        pack=there["pack"],
    )
    if "time_s" in keys and not {"start_s", "end_s"} & keys:
        chosen = replace(chosen, time="time_s", start=None, end=None)
    elif not {"start_s", "end_s"} <= keys:
        raise SettingsError(f"{table.path}: neither start_s and end_s nor time_s", "name the columns in a map (--map)")
    return chosen


def _filled(source: Source) -> tuple[SourceRow, ...]:
    """Rows of repeating instruments with what rows of their record state that are not repeated.

    Values and times are a row's own: those of another event's ratings are not its.
    """
    chosen, record = source.chosen, column_key(source.columns[0])
    own = [chosen.start, chosen.end, chosen.time, chosen.date, *(block.value for block in chosen.ratings)]
    own_keys = {column_key(name) for name in own if name}
    by_event: dict[tuple[str, str], dict[str, str]] = {}
    by_record: dict[str, dict[str, set[str]]] = {}
    for row in source.rows:
        if row.cells.get(INSTANCE, "").strip():
            continue
        stated = {name: cell for name, cell in row.cells.items() if cell.strip() and name not in own_keys}
        by_event.setdefault((row.cells[record], row.cells.get(EVENT, "")), {}).update(stated)
        for name, cell in stated.items():
            by_record.setdefault(row.cells[record], {}).setdefault(name, set()).add(cell)
    agreed = {
        name: {column: next(iter(cells)) for column, cells in columns.items() if len(cells) == 1}
        for name, columns in by_record.items()
    }
    rows: list[SourceRow] = []
    for row in source.rows:
        if row.cells.get(INSTANCE, "").strip():
            of_record = agreed.get(row.cells[record], {})
            known = of_record | by_event.get((row.cells[record], row.cells.get(EVENT, "")), {})
            filled = {name: cell if cell.strip() else known.get(name, "") for name, cell in row.cells.items()}
            rows.append(replace(row, cells=filled))
        else:
            rows.append(row)
    return tuple(rows)
