"""A table as it was read: columns as text or numbers, and line numbers for messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from avpenet_cli.errors import SettingsError
from avpenet_cli.keys import normalise_key
from avpenet_cli.tables import ESCAPED_CELL

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Table = Path | pd.DataFrame
"""A table in a file or in memory."""

_NUMBER = r"^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$"
_NAMED_LINES = 3
"""Offending lines that a message names; the rest are counted."""
_QUOTED_CHARACTERS = 40
_DECIMAL_COMMA = (";", "\t")
"""Separators beside which a comma is the decimal mark."""


@dataclass(frozen=True)
class SourceFile:
    """A file the report was made from.

    Attributes:
        name: without its folder, which describes a machine and not the data.
        sha256: of its bytes, hexadecimal.
        rows: below the header; rows with nothing in them are not counted.
    """

    name: str
    sha256: str
    rows: int


@dataclass(frozen=True)
class Sheet:
    """A table of at least one row. Only an empty cell is missing: `NA` and `007` are ordinary text.

    Attributes:
        path: of the file; `DataFrame` for a table in memory.
        sha256: of the file's bytes, hexadecimal; of a table in memory, of its CSV form.
        columns: name to pyarrow column, in the file's order.
        delimiter: of a CSV file; otherwise empty.
        kept: (rows,) indices of these rows in the file, from 0; the file's other rows are empty.
        find_lines: returns the line of the file in which each of its rows starts, from 1, the empty ones included; None
            where rows have no lines, as in Parquet.
    """

    path: Path
    sha256: str
    columns: dict[str, Any]
    delimiter: str
    kept: Rows
    find_lines: Callable[[], Rows] | None = None

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.kept.size

    @property
    def file(self) -> SourceFile:
        """Name, digest and number of rows, for the report's provenance."""
        return SourceFile(self.path.name, self.sha256, self.rows)

    @cached_property
    def lines(self) -> Rows:
        """(rows,) line of the file in which each row starts, from 1; for Parquet and DataFrames, the row from 1."""
        if self.find_lines is None:
            return self.kept + 1
        lines = self.find_lines()
        return lines[self.kept] if lines.size > self.kept[-1] else self.kept + 1

    def selected(self, chosen: npt.NDArray[np.bool_]) -> Sheet:
        """The rows, (rows,) bool, that are chosen, which keep their line numbers."""
        mask = pa.array(chosen)
        columns = {name: column.filter(mask) for name, column in self.columns.items()}
        return replace(self, columns=columns, kept=self.kept[chosen])

    def fault(self, wrong: npt.NDArray[Any], problem: str, remedy: str) -> SettingsError:
        """An error that names the first offending lines and counts the others.

        Args:
            wrong: (rows,) bool, or the indices of the offending rows; at least one.
            problem: what is wrong with them.
            remedy: what to do about it.
        """
        places = np.flatnonzero(wrong) if wrong.dtype == np.bool_ else wrong
        named = [str(line) for line in self.lines[places[:_NAMED_LINES]]]
        word = "row" if self.find_lines is None else "line"
        listed = [*named, f"{places.size - len(named)} more"] if places.size > len(named) else named
        lines = listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} and {listed[-1]}"
        return SettingsError(f"{self.path}: {word}{'s' * (len(named) > 1)} {lines}: {problem}", remedy)

    def text(self, name: str) -> Any:
        """A column as a pyarrow string column; a cell that is empty or blank is null.

        Raises:
            SettingsError: the column has values that are not text, such as lists.
        """
        column = self.columns[name]
        if not pa.types.is_string(column.type):
            try:
                column = pc.cast(column, pa.string())
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                raise SettingsError(
                    f"{self.path}: column {name} has {column.type}, not text", "save it as text"
                ) from None
        if self.delimiter:
            # What `tables.escape_cell` put before text that a spreadsheet would take for a formula.
            column = pc.replace_substring_regex(column, ESCAPED_CELL, r"\1")
        empty = pc.equal(pc.utf8_trim_whitespace(column), "")
        return pc.if_else(empty, pa.scalar(None, pa.string()), column)

    def strings(self, name: str) -> pd.Series[str]:
        """A column as a pandas text column; an empty cell is missing; raises as `text`."""
        return pd.Series(self.text(name).to_pandas(), name=name)

    def numbers(self, name: str) -> Floats:
        """(rows,) float64, a column as numbers; NaN in empty cells. Between semicolons or tabs, commas are decimal.

        Raises:
            SettingsError: text or an infinite value where a number belongs, naming the lines.
        """
        column = self.columns[name]
        kind = column.type
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            numbers = to_numpy(pc.cast(column, pa.float64(), safe=False))
            wrong = np.isinf(numbers)
        elif pa.types.is_null(kind):
            return np.full(self.rows, np.nan)
        else:
            column = pc.utf8_trim_whitespace(self.text(name))
            if self.delimiter in _DECIMAL_COMMA:
                column = pc.replace_substring(column, ",", ".")
            try:
                numbers = to_numpy(pc.cast(column, pa.float64()))
                wrong = ~np.isfinite(numbers) & to_numpy(pc.is_valid(column))
            except pa.ArrowInvalid:
                wrong = ~to_numpy(pc.fill_null(pc.match_substring_regex(column, _NUMBER), True))
        if wrong.any():
            first = self.columns[name][int(np.flatnonzero(wrong)[0])].as_py()
            raise self.fault(wrong, f"{name} is {quoted(first)}, not a number", "write a number there, with a point")
        return numbers

    def require(self, names: Iterable[str], description: str, remedy: str) -> None:
        """Check that these columns exist.

        Raises:
            SettingsError: columns are missing.
        """
        missing = [name for name in names if name not in self.columns]
        if missing:
            there = ", ".join(quoted(name) for name in list(self.columns)[:12])
            raise SettingsError(
                f"{self.path} is not a {description}: no column {', '.join(missing)} (its columns: {there})", remedy
            )

    def filled(self, name: str) -> Any:
        """As `text`, for a column without empty cells.

        Raises:
            SettingsError: a cell is empty; the message names the lines.
        """
        column = self.text(name)
        invisible = [value for value in column.unique().to_pylist() if value is not None and not normalise_key(value)]
        empty = to_numpy(pc.or_(pc.is_null(column), pc.is_in(column, pa.array(invisible, pa.string()))))
        if empty.any():
            raise self.fault(empty, f"{name} is empty", "fill it in or remove the row")
        return column


def quoted(value: object) -> str:
    """A value in quotes for a message: on one line, at most 40 characters."""
    text = value if isinstance(value, str) else str(value)
    return repr(text if len(text) <= _QUOTED_CHARACTERS else text[: _QUOTED_CHARACTERS - 1] + "…")


def to_numpy(column: Any) -> npt.NDArray[Any]:
    """A pyarrow array, chunked or not, as a NumPy array."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return np.asarray(array.to_numpy(zero_copy_only=False))
