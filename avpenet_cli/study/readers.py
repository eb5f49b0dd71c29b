"""Reading a table from CSV, Parquet, JSON lines or a DataFrame into a `Sheet`."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from avpenet_cli.errors import SettingsError
from avpenet_cli.phrasing import plural
from avpenet_cli.study.csv_text import CsvText, normalise_header, read_csv_text
from avpenet_cli.study.sheets import Rows, Sheet, Table, quoted, to_numpy
from avpenet_cli.tables import SUFFIXES
from avpenet_cli.textfiles import decode_text, parse_json

_JSON_ROWS = 50_000
_FRAME = Path("DataFrame")
"""Stands for a file name in messages and provenance."""


def read_sheet(
    table: Table, known: Collection[str], description: str, required: Collection[str] | None = None
) -> Sheet:
    """Read a .csv, .parquet or .jsonl file, or a DataFrame.

    Args:
        table: a path, or a DataFrame, whose index is left out. Text is UTF-8 or UTF-16. A CSV file is separated by
            commas, semicolons or tabs, or as its first line `sep=;` says.
        known: columns that the caller reads; a header that differs from one of them in letter case or white space is
            taken for it.
        description: what the file is, for messages: `score table`.
        required: columns whose cell must be there in every row of a CSV file; spreadsheets leave out empty cells at a
            row's end. None: all columns.

    Raises:
        SettingsError: no such file, a folder, another suffix, not readable as what its suffix says, columns without a
            name or with the same one, rows with another number of cells than the header, or no rows.
    """
    if isinstance(table, pd.DataFrame):
        return _read_frame(table, known, description)
    path = table
    refuse_missing(path, description)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise SettingsError(f"{path}: cannot tell the format", f"a {description} ends in one of {', '.join(SUFFIXES)}")
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if suffix == ".csv":
            return _read_csv(path, digest, known, description, required)
        if suffix == ".jsonl":
            arrow, lines = _read_jsonl(path)
            columns = _named_columns(path, arrow, known)
            return _sheet(path, digest, columns, "", np.arange(arrow.num_rows), description, lines)
        arrow = pq.read_table(path)
        arrow.validate(full=True)  # text that is no UTF-8 would fail where it is first used
        arrow = _without_dictionaries(arrow)
        columns = _named_columns(path, arrow, known)
        return _sheet(path, digest, columns, "", np.arange(arrow.num_rows), description, None)
    except OSError as error:
        reason = error.strerror or _one_line(error)
        raise SettingsError(f"{path} cannot be read: {reason}", "check the file") from None
    except (UnicodeError, pa.ArrowException) as error:
        raise SettingsError(
            f"{path} cannot be read as a {description}: {_one_line(error)}", f"check that it is a {suffix} file"
        ) from None


def refuse_missing(path: Path, description: str) -> None:
    """Raise if there is no file to read.

    Args:
        path: of the file.
        description: what it is, for messages: `score table`.

    Raises:
        SettingsError: nothing has that name, or something that is no file, such as a folder.
    """
    if not path.is_file():
        problem = " is a folder" if path.is_dir() else " is no regular file" if path.exists() else ": no such file"
        raise SettingsError(f"{path}{problem}", f"give the path of a {description}")


def _sheet(
    path: Path,
    digest: str,
    columns: dict[str, Any],
    delimiter: str,
    kept: Rows,
    description: str,
    lines: Callable[[], Rows] | None,
) -> Sheet:
    if not kept.size:
        raise SettingsError(f"{path} is empty: a {description} without a row", "check how it was made")
    return Sheet(path, digest, columns, delimiter, kept, lines)


def _read_frame(frame: pd.DataFrame, known: Collection[str], description: str) -> Sheet:
    """A DataFrame; its digest is that of the table written as CSV."""
    digest = hashlib.sha256(frame.to_csv(index=False).encode("utf-8", "surrogatepass")).hexdigest()
    try:
        arrow = pa.Table.from_pandas(frame.rename(columns=str), preserve_index=False)
    except pa.ArrowException as error:
        raise SettingsError(
            f"{_FRAME} cannot be read as a {description}: {_one_line(error)}", "give each column values of one type"
        ) from None
    columns = _named_columns(_FRAME, _without_dictionaries(arrow), known)
    return _sheet(_FRAME, digest, columns, "", np.arange(arrow.num_rows), description, None)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _named_columns(path: Path, table: Any, known: Collection[str]) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for place, header in enumerate(table.column_names):
        column = table.column(place)
        name = normalise_header(header, known)
        if not name:
            # Spreadsheets write separators for columns that were once selected.
            if column.null_count < len(column):
                raise SettingsError(
                    f"{path}: column {place + 1} has no name",
                    "name it or take it out; the first line has the columns' names, with no title above it",
                )
        elif name in columns:
            raise SettingsError(f"{path}: two columns are named {quoted(name)}", "rename one of them")
        else:
            columns[name] = column
    return columns


def _read_csv(
    path: Path, digest: str, known: Collection[str], description: str, required: Collection[str] | None
) -> Sheet:
    content = read_csv_text(path, known, description)
    ragged: list[object] = []

    def skip(row: object) -> str:
        ragged.append(row)
        return "skip"

    table = pyarrow.csv.read_csv(
        # Without a line end, a header alone would be an error of the reader.
        pa.BufferReader(content.text.encode() + b"\n"),
        read_options=pyarrow.csv.ReadOptions(use_threads=False),
        parse_options=pyarrow.csv.ParseOptions(
            delimiter=content.delimiter, newlines_in_values=True, invalid_row_handler=skip
        ),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(content.header, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        ),
    )
    _check_quotes(path, content, table)
    if ragged:
        table = _padded(path, content, known, required, table.num_rows + len(ragged))
    columns = _named_columns(path, table, known)
    kept = np.arange(table.num_rows)
    if columns:
        empty = np.logical_and.reduce([to_numpy(pc.is_null(column)) for column in columns.values()])
        if empty.any():
            kept = np.flatnonzero(~empty)
            columns = {name: column.filter(pa.array(~empty)) for name, column in columns.items()}

    def lines() -> Rows:
        # Read again, so that the text of a large table does not stay in memory for messages that are rarely needed.
        return read_csv_text(path, known, description).lines()

    return _sheet(path, digest, columns, content.delimiter, kept, description, lines)


def _check_quotes(path: Path, content: CsvText, table: Any) -> None:
    """Everything after an unclosed quote becomes one cell, and its rows would be lost without a message."""
    if table.num_rows and content.text.count('"') % 2:
        last = [str(column[-1].as_py()) for column in table.columns]
        if any("\n" in cell or "\r" in cell for cell in last):
            raise SettingsError(f"{path}: a quote is opened and not closed before the end", "check its quotes")


def _padded(path: Path, content: CsvText, known: Collection[str], required: Collection[str] | None, n_rows: int) -> Any:
    """A table of `n_rows` of different lengths, where what is missing or too much is empty cells at a row's end.

    Raises:
        SettingsError: a row lacks a required cell, or has a cell too much that is not empty; the last one is cut off.
    """
    header = content.header
    names = [normalise_header(name, known) for name in header]
    fewest = max((place + 1 for place, name in enumerate(names) if required is None or name in required), default=0)
    rows: list[list[str]] = []
    wrong: list[tuple[int, int]] = []
    line, cells = 0, header
    for line, cells in content.rows():
        blank = not any(cell.strip() for cell in cells)
        if not blank and (len(cells) < fewest or any(cell.strip() for cell in cells[len(header) :])):
            wrong.append((line, len(cells)))
        rows.append([""] * len(header) if blank else (cells + [""] * len(header))[: len(header)])
    if wrong or len(rows) != n_rows:
        line, count = wrong[0] if wrong else (0, 0)
        where = f"line {line} has {plural(count, 'cell')}" if line else "a row has another number of cells"
        raise SettingsError(
            f"{path}: {where}, the header {len(header)} ({plural(max(len(wrong), 1), 'such row')})",
            "check its separators and quotes",
        )
    # A copy that broke off: the last row may lack its rater or scale, and would get another one.
    if len(cells) < len(header) and not content.text.endswith(("\n", "\r")):
        problem = f"line {line}, the last, has {plural(len(cells), 'cell')}, the header {len(header)}, and no end"
        raise SettingsError(f"{path}: {problem}", "check that the file is whole; end its last line if it is")
    columns = [pa.array([cell or None for cell in column], pa.string()) for column in zip(*rows, strict=True)]
    return pa.table(columns, names=header)


def _without_dictionaries(table: Any) -> Any:
    """Categories as the values they stand for."""
    plain = [column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column for column in table]
    return pa.table(plain, names=table.column_names)


def _read_jsonl(path: Path) -> tuple[Any, Callable[[], Rows]]:
    """The table, and a function that gives the line of each row."""
    parts: list[tuple[int, dict[str, Any]]] = []
    rows: list[dict[str, Any]] = []
    numbers: list[int] = []
    for number, line in enumerate(io.StringIO(decode_text(path.read_bytes(), str(path)).text, newline=None), 1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise SettingsError(f"{path}: line {number} is not a JSON object", "write one object on each line")
        rows.append(row)
        numbers.append(number)
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
    lines = np.array(numbers, dtype=np.int64)
    return pa.table(arrays), lambda: lines


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
