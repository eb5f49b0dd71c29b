"""Reading a table from CSV, Parquet, JSON lines or a DataFrame into a `Sheet`."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from avpenet_cli.errors import SettingsError
from avpenet_cli.study.sheets import Rows, Sheet, Table, csv_rows, quoted, to_numpy
from avpenet_cli.tables import SUFFIXES

_JSON_ROWS = 50_000
_PEEK_BYTES = 1 << 16
_FRAME = Path("DataFrame")
"""Stands for a file name in messages and provenance."""


def read_sheet(table: Table, known: Collection[str], description: str) -> Sheet:
    """Read a .csv, .parquet or .jsonl file, or a DataFrame.

    Args:
        table: a path, or a DataFrame, whose index is left out. A CSV file is UTF-8, with or without a byte order mark,
            separated by commas, semicolons or tabs.
        known: columns that the caller reads; a header that differs from one of them in letter case is taken for it.
        description: what the file is, for messages: `score table`.

    Raises:
        SettingsError: no such file, another suffix, not readable as what its suffix says, columns without a name or
            with the same one, rows with another number of cells than the header, or no rows.
    """
    if isinstance(table, pd.DataFrame):
        return _read_frame(table, known, description)
    path = table
    readers = {".csv": _read_csv, ".parquet": _read_parquet, ".jsonl": _read_jsonl}
    reader = readers.get(path.suffix.lower())
    if not path.is_file():
        raise SettingsError(f"{path}: no such file", f"give the {description}'s path")
    if reader is None:
        raise SettingsError(f"{path}: cannot tell the format", f"a {description} ends in one of {', '.join(SUFFIXES)}")
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        arrow, delimiter = reader(path, known, description)
    except OSError as error:
        reason = error.strerror or _one_line(error)
        raise SettingsError(f"{path} cannot be read: {reason}", "check the file") from None
    except (UnicodeError, pa.ArrowInvalid) as error:
        utf8 = "utf" in str(error).lower()
        reason = "it is not in UTF-8" if utf8 else _one_line(error)
        remedy = "save it as CSV UTF-8" if utf8 else f"check that it is a {path.suffix} file"
        raise SettingsError(f"{path} cannot be read as a {description}: {reason}", remedy) from None
    columns = _named_columns(path, arrow, known)
    kept = np.arange(arrow.num_rows)
    if delimiter and columns:
        empty = np.logical_and.reduce([to_numpy(pc.is_null(column)) for column in columns.values()])
        if empty.any():
            kept = np.flatnonzero(~empty)
            columns = {name: column.filter(pa.array(~empty)) for name, column in columns.items()}
    return _sheet(path, digest, columns, delimiter, kept, description)


def _sheet(path: Path, digest: str, columns: dict[str, Any], delimiter: str, kept: Rows, description: str) -> Sheet:
    if not kept.size:
        raise SettingsError(f"{path} is empty: a {description} without a row", "check how it was made")
    return Sheet(path, digest, columns, delimiter, kept)


def _read_frame(frame: pd.DataFrame, known: Collection[str], description: str) -> Sheet:
    """A DataFrame; its digest is that of the table written as CSV."""
    digest = hashlib.sha256(frame.to_csv(index=False).encode("utf-8", "surrogatepass")).hexdigest()
    try:
        arrow = pa.Table.from_pandas(frame.rename(columns=str), preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise SettingsError(
            f"{_FRAME} cannot be read as a {description}: {_one_line(error)}", "give each column values of one type"
        ) from None
    columns = _named_columns(_FRAME, _without_dictionaries(arrow), known)
    return _sheet(_FRAME, digest, columns, "", np.arange(arrow.num_rows), description)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _named_columns(path: Path, table: Any, known: Collection[str]) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for place, header in enumerate(table.column_names):
        column = table.column(place)
        name = header.strip()
        name = name.lower() if name.lower() in known else name
        if not name:
            # Spreadsheets write separators for columns that were once selected.
            if column.null_count < len(column):
                raise SettingsError(f"{path}: column {place + 1} has no name", "name it or take it out")
        elif name in columns:
            raise SettingsError(f"{path}: two columns are named {quoted(name)}", "rename one of them")
        else:
            columns[name] = column
    return columns


def _read_csv(path: Path, known: Collection[str], description: str) -> tuple[Any, str]:
    with path.open("rb") as file:
        # The last character read may be incomplete.
        peek = file.read(_PEEK_BYTES)
        start = peek.decode("utf-8-sig", errors="strict" if len(peek) < _PEEK_BYTES else "ignore")
    first = next((line for line in re.split(r"[\r\n]+", start) if line), "")
    if not first:
        raise SettingsError(f"{path} is empty", f"give a {description} with a header and rows")
    headers = {mark: next(csv.reader([first], delimiter=mark)) for mark in (",", ";", "\t")}
    delimiter = max(headers, key=lambda mark: sum(name.strip().lower() in known for name in headers[mark]))
    ragged: list[object] = []

    def skip(row: object) -> str:
        ragged.append(row)
        return "skip"

    table = pyarrow.csv.read_csv(
        path,
        read_options=pyarrow.csv.ReadOptions(use_threads=False),
        parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=skip),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(headers[delimiter], pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        ),
    )
    if ragged:
        width = len(headers[delimiter])
        line, cells = next(((n, len(c)) for n, c in csv_rows(path, delimiter) if len(c) != width), (0, 0))
        where = f"line {line} has {cells} cells" if line else "a row has another number of cells"
        raise SettingsError(
            f"{path}: {where}, the header {width} ({len(ragged)} such rows)", "check its separators and quotes"
        )
    if table.num_rows and path.read_bytes().count(b'"') % 2:
        last = [str(column[-1].as_py()) for column in table.columns]
        # Everything after an unclosed quote becomes one cell, and its rows would be lost without a message.
        if any("\n" in cell or "\r" in cell for cell in last):
            raise SettingsError(f"{path}: a quote is opened and not closed before the end", "check its quotes")
    return table, delimiter


def _read_parquet(path: Path, known: Collection[str], description: str) -> tuple[Any, str]:
    table = pq.read_table(path)
    return _without_dictionaries(table), ""


def _without_dictionaries(table: Any) -> Any:
    """Categories as the values they stand for."""
    plain = [column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column for column in table]
    return pa.table(plain, names=table.column_names)


def _read_jsonl(path: Path, known: Collection[str], description: str) -> tuple[Any, str]:
    parts: list[tuple[int, dict[str, Any]]] = []
    rows: list[dict[str, Any]] = []
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if not isinstance(row, dict):
                raise SettingsError(f"{path}: line {number} is not a JSON object", "write one object on each line")
            rows.append(row)
            if len(rows) == _JSON_ROWS:
                parts.append(_columnwise(rows))
                rows = []
    parts += [_columnwise(rows)] if rows else []
    # A column may have integers in one part and fractions, text or nothing in the next.
    names = list(dict.fromkeys(name for _, part in parts for name in part))
    arrays = {}
    for name in names:
        pieces = [part.get(name, pa.nulls(count)) for count, part in parts]
        kinds = {piece.type for piece in pieces if not pa.types.is_null(piece.type)}
        kind = kinds.pop() if len(kinds) == 1 else pa.string() if pa.string() in kinds else pa.float64()
        arrays[name] = pa.chunked_array([piece.cast(kind) for piece in pieces], type=kind)
    return pa.table(arrays), ""


def _columnwise(rows: list[dict[str, Any]]) -> tuple[int, dict[str, Any]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return len(rows), {name: _json_column([row.get(name) for row in rows]) for name in names}


def _json_column(values: list[Any]) -> Any:
    kinds = {type(value) for value in values if value is not None}
    with contextlib.suppress(OverflowError, pa.ArrowInvalid):
        if kinds <= {int, float}:
            return pa.array(values, pa.null() if not kinds else pa.int64() if kinds == {int} else pa.float64())
    written = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
    return pa.array(written, pa.string())
