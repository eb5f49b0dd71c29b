"""A table as somebody saved it, CSV, Parquet or JSON lines: its cells as text or numbers, its lines for messages."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from avpenet_cli.errors import SettingsError
from avpenet_cli.tables import SUFFIXES

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_NUMBER = r"^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$"
_NAMED_LINES = 3
"""How many offending lines a message names; the rest are counted."""
_SHOWN_CHARACTERS = 40
_JSON_ROWS = 50_000
_PEEK_BYTES = 1 << 16


@dataclass(frozen=True)
class SourceFile:
    """A file the report was made from.

    Attributes:
        name: without its folder, which says something of a machine and nothing of the data.
        sha256: of its bytes, hexadecimal.
        rows: below the header; rows with nothing in them are not counted.
    """

    name: str
    sha256: str
    rows: int


@dataclass(frozen=True)
class Sheet:
    """A table of at least one row. Only an empty cell is missing: `NA` and `007` are text like any other.

    Attributes:
        columns: name to pyarrow column, in the file's order.
        delimiter: of a CSV file, else empty.
        kept: (rows,) which of the file's rows these are, from 0; the others are empty throughout.
    """

    path: Path
    sha256: str
    columns: dict[str, Any]
    delimiter: str
    kept: Rows

    @property
    def rows(self) -> int:
        """How many."""
        return self.kept.size

    @property
    def file(self) -> SourceFile:
        """For the report's provenance."""
        return SourceFile(self.path.name, self.sha256, self.rows)

    @cached_property
    def lines(self) -> Rows:
        """(rows,) line of the file in which each row begins, from 1; for Parquet, the row's number from 1."""
        if self.path.suffix.lower() == ".parquet":
            return self.kept + 1
        return _lines(self.path, self.delimiter, self.kept)

    def fault(self, wrong: npt.NDArray[Any], what: str, remedy: str) -> SettingsError:
        """The error that names the first offending lines and counts the others.

        Args:
            wrong: (rows,) bool, or the offending rows' places; at least one.
        """
        places = np.flatnonzero(wrong) if wrong.dtype == np.bool_ else wrong
        named = [str(line) for line in self.lines[places[:_NAMED_LINES]]]
        word = "row" if self.path.suffix.lower() == ".parquet" else "line"
        listed = named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"
        more = f" and {places.size - len(named)} more" if places.size > len(named) else ""
        return SettingsError(f"{self.path}: {word}{'s' * (len(named) > 1)} {listed}{more}: {what}", remedy)

    def text(self, name: str) -> Any:
        """A column as a pyarrow string column; an empty cell is null.

        Raises:
            SettingsError: the column holds lists or the like.
        """
        column = self.columns[name]
        if not pa.types.is_string(column.type):
            try:
                column = pc.cast(column, pa.string())
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                raise SettingsError(
                    f"{self.path}: column {name} holds {column.type}, not text", "save it as text"
                ) from None
        return pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)

    def strings(self, name: str) -> pd.Series[str]:
        """A column as a pandas text column; an empty cell is missing; raises as `text`."""
        return pd.Series(self.text(name).to_pandas(), name=name)

    def numbers(self, name: str) -> Floats:
        """(rows,) a column as numbers; an empty cell is NaN. In a semicolon-separated file a comma is the decimal mark.

        Raises:
            SettingsError: text or an infinite value where a number belongs, naming the lines.
        """
        column = self.columns[name]
        kind = column.type
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            numbers = _numpy(pc.cast(column, pa.float64(), safe=False))
            wrong = np.isinf(numbers)
        elif pa.types.is_null(kind):
            return np.full(self.rows, np.nan)
        else:
            column = pc.utf8_trim_whitespace(self.text(name))
            if self.delimiter == ";":
                column = pc.replace_substring(column, ",", ".")
            try:
                numbers = _numpy(pc.cast(column, pa.float64()))
                wrong = ~np.isfinite(numbers) & _numpy(pc.is_valid(column))
            except pa.ArrowInvalid:
                wrong = ~_numpy(pc.fill_null(pc.match_substring_regex(column, _NUMBER), True))
        if wrong.any():
            first = self.columns[name][int(np.flatnonzero(wrong)[0])].as_py()
            raise self.fault(wrong, f"{name} is {shown(first)}, not a number", "write a number there, with a point")
        return numbers

    def require(self, names: Iterable[str], what: str, remedy: str) -> None:
        """Are these columns there?

        Raises:
            SettingsError: naming those that are not.
        """
        missing = [name for name in names if name not in self.columns]
        if missing:
            there = ", ".join(shown(name) for name in list(self.columns)[:12])
            raise SettingsError(
                f"{self.path} is no {what}: no column {', '.join(missing)} (its columns: {there})", remedy
            )

    def filled(self, name: str) -> Any:
        """As `text`, for a column that must not have empty cells.

        Raises:
            SettingsError: it has, naming the lines.
        """
        column = self.text(name)
        empty = _numpy(pc.is_null(column))
        if empty.any():
            raise self.fault(empty, f"{name} is empty", "fill it in or take the row out")
        return column


def read_sheet(path: Path, known: Collection[str], what: str) -> Sheet:
    """Read a .csv, .parquet or .jsonl file.

    Args:
        path: a CSV file is UTF-8, with or without a byte order mark, separated by commas, semicolons or tabs.
        known: columns the reader knows; a header that spells one in other case is taken for it.
        what: the file is, for messages: `score table`.

    Raises:
        SettingsError: no such file, another suffix, not readable as what its suffix says, columns without a name or
            with the same one, rows of another length than the header, or no rows.
    """
    readers = {".csv": _read_csv, ".parquet": _read_parquet, ".jsonl": _read_jsonl}
    reader = readers.get(path.suffix.lower())
    if not path.is_file():
        raise SettingsError(f"{path}: no such file", f"give the {what}'s path")
    if reader is None:
        raise SettingsError(f"{path}: cannot tell the format", f"a {what} ends in one of {', '.join(SUFFIXES)}")
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        table, delimiter = reader(path, known, what)
    except OSError as error:
        reason = error.strerror or _one_line(error)
        raise SettingsError(f"{path} cannot be read: {reason}", "check the file") from None
    except (UnicodeError, pa.ArrowInvalid) as error:
        utf8 = "utf" in str(error).lower()
        reason = "it is not in UTF-8" if utf8 else _one_line(error)
        remedy = "save it as CSV UTF-8" if utf8 else f"check that it is a {path.suffix} file"
        raise SettingsError(f"{path} cannot be read as a {what}: {reason}", remedy) from None
    columns = _named_columns(path, table, known)
    kept = np.arange(table.num_rows)
    if delimiter and columns:
        empty = np.logical_and.reduce([_numpy(pc.is_null(column)) for column in columns.values()])
        if empty.any():
            kept = np.flatnonzero(~empty)
            columns = {name: column.filter(pa.array(~empty)) for name, column in columns.items()}
    if not kept.size:
        raise SettingsError(f"{path} is empty: a {what} without a row", "check how it was made")
    return Sheet(path, digest, columns, delimiter, kept)


def shown(value: object) -> str:
    """A value as a message quotes it: on one line, not too long."""
    text = value if isinstance(value, str) else str(value)
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _numpy(column: Any) -> npt.NDArray[Any]:
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return np.asarray(array.to_numpy(zero_copy_only=False))


def _named_columns(path: Path, table: Any, known: Collection[str]) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for place, header in enumerate(table.column_names):
        column = table.column(place)
        name = header.strip()
        name = name.lower() if name.lower() in known else name
        if not name:
            # A spreadsheet writes separators for columns somebody once clicked on.
            if column.null_count < len(column):
                raise SettingsError(f"{path}: column {place + 1} has no name", "name it or take it out")
        elif name in columns:
            raise SettingsError(f"{path}: two columns are named {shown(name)}", "rename one of them")
        else:
            columns[name] = column
    return columns


def _read_csv(path: Path, known: Collection[str], what: str) -> tuple[Any, str]:
    with path.open("rb") as file:
        # A character may be cut in two at the end of what was read.
        peek = file.read(_PEEK_BYTES)
        start = peek.decode("utf-8-sig", errors="strict" if len(peek) < _PEEK_BYTES else "ignore")
    first = next((line for line in re.split(r"[\r\n]+", start) if line), "")
    if not first:
        raise SettingsError(f"{path} is empty", f"give a {what} with a header and rows")
    headers = {mark: next(csv.reader([first], delimiter=mark)) for mark in (",", ";", "\t")}
    delimiter = max(headers, key=lambda mark: sum(name.strip().lower() in known for name in headers[mark]))
    ragged: list[object] = []

    def note(row: object) -> str:
        ragged.append(row)
        return "skip"

    table = pyarrow.csv.read_csv(
        path,
        read_options=pyarrow.csv.ReadOptions(use_threads=False),
        parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=note),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(headers[delimiter], pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        ),
    )
    if ragged:
        width = len(headers[delimiter])
        line, cells = next(((n, len(c)) for n, c in _csv_rows(path, delimiter) if len(c) != width), (0, 0))
        where = f"line {line} has {cells} cells" if line else "a row has another number of cells"
        raise SettingsError(
            f"{path}: {where}, the header {width} ({len(ragged)} such rows)", "check its separators and quotes"
        )
    if table.num_rows and path.read_bytes().count(b'"') % 2:
        last = [str(column[-1].as_py()) for column in table.columns]
        # Whatever follows a quote that nobody closed becomes one cell, and its rows would be lost in silence.
        if any("\n" in cell or "\r" in cell for cell in last):
            raise SettingsError(f"{path}: a quote is opened and not closed before the end", "check its quotes")
    return table, delimiter


def _csv_rows(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Each row below the header, and the line in which it begins; lines with nothing on them are passed over.

    Ends at a cell longer than Python's reader takes, as behind a quote that nobody closed.
    """
    with path.open(encoding="utf-8-sig", newline="") as file, contextlib.suppress(csv.Error):
        reader = csv.reader(file, delimiter=delimiter)
        before, header = 0, True
        for cells in reader:
            line, before = before + 1, reader.line_num
            if cells and not header:
                yield line, cells
            header = header and not cells


def _lines(path: Path, delimiter: str, kept: Rows) -> Rows:
    header = 1 if delimiter else 0
    data = path.read_bytes()
    ends = data.count(b"\n") + (not data.endswith(b"\n"))
    if ends == header + int(kept[-1]) + 1:
        return kept + header + 1
    if delimiter:
        numbers = [line for line, _ in _csv_rows(path, delimiter)]
    else:
        numbers = [number for number, line in enumerate(io.BytesIO(data), 1) if line.strip()]
    return np.array(numbers, dtype=np.int64)[kept] if len(numbers) > kept[-1] else kept + header + 1


def _read_parquet(path: Path, known: Collection[str], what: str) -> tuple[Any, str]:
    table = pq.read_table(path)
    plain = [column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column for column in table]
    return pa.table(plain, names=table.column_names), ""


def _read_jsonl(path: Path, known: Collection[str], what: str) -> tuple[Any, str]:
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
                raise SettingsError(f"{path}: line {number} is no JSON object", "write one object on each line")
            rows.append(row)
            if len(rows) == _JSON_ROWS:
                parts.append(_columnwise(rows))
                rows = []
    parts += [_columnwise(rows)] if rows else []
    # A column may hold whole numbers in one part and fractions, text or nothing in the next.
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
