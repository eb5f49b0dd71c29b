"""Tables of text whose header may have other lines above it, as rating programs write them."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from avpenet_cli.errors import SettingsError, reason
from avpenet_cli.keys import tidy
from avpenet_cli.phrasing import plural
from avpenet_cli.ratings.importing.source import column_key
from avpenet_cli.study.csv_text import SEPARATORS, read_csv_text
from avpenet_cli.tables import unescape_cell

_LINES_ABOVE = 60
"""Lines among which the header is looked for."""
_RULE = frozenset("%-=")
"""Cells of these only are a line that a program drew under its header."""


@dataclass(frozen=True)
class TextTable:
    """A table as it was written.

    Attributes:
        path: of the file.
        columns: names as written, without white space around them.
        rows: line of the file in which each row starts, and its cells by `column_key`.
        stated: by `column_key` of its label, what each line above the header states.
        delimiter: between cells.
        notices: what a person should know about the file.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[int, dict[str, str]], ...]
    stated: Mapping[str, str]
    delimiter: str
    notices: tuple[str, ...]

    @property
    def decimal_comma(self) -> bool:
        """Whether a comma may be the decimal mark."""
        return self.delimiter != ","


def read_text_table(
    path: Path, description: str, is_header: Callable[[set[str]], bool], needed: str, required: Collection[str]
) -> TextTable:
    """Read a CSV or TSV file.

    Args:
        path: UTF-8 or UTF-16, separated by commas, semicolons or tabs.
        description: what the file is, for messages: `BORIS export`.
        is_header: whether a row with these `column_key`s is the header.
        needed: what the header needs, for messages.
        required: `column_key`s of cells that every row must have; spreadsheets leave out empty ones at a row's end.

    Raises:
        SettingsError: a file that cannot be read or decoded, is no text, is empty or has no such header; a row that
            lacks a required cell, is cut off, or has more cells than the header; an unclosed quote.
    """
    try:
        content = read_csv_text(path, (), description)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {reason(error)}", "check the file") from None
    separators = dict.fromkeys((content.delimiter, *SEPARATORS))
    for delimiter in separators:
        rows: list[tuple[int, list[str]]] = []
        with contextlib.suppress(csv.Error):
            rows += _rows(content.text, delimiter, content.skipped, _LINES_ABOVE)
        for place, (line, cells) in enumerate(rows):
            if is_header({column_key(cell) for cell in cells if cell.strip()}):
                below = [row for row in _all_rows(path, content.text, delimiter, content.skipped) if row[0] > line]
                stated = {column_key(c[0]): c[1].strip() for _, c in rows[:place] if len(c) > 1 and c[0].strip()}
                ends = content.text.endswith(("\n", "\r"))
                return _table(path, (line, cells), below, stated, delimiter, required, ends=ends)
    there = ", ".join(repr(tidy(cell)[:40]) for cell in content.header[:8])
    raise SettingsError(f"{path} is not a {description}: no row has {needed} (its first row: {there})", _REMEDY)


_REMEDY = "check the file and --from, or name the columns in a map (--map)"


def _rows(text: str, delimiter: str, skipped: int, most: int | None = None) -> Iterator[tuple[int, list[str]]]:
    """Line of the file and cells of each row that is not empty.

    Raises:
        csv.Error: a cell is longer than the reader accepts.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    before = 0
    for cells in reader:
        line, before = before + 1 + skipped, reader.line_num
        if most is not None and before > most:
            return
        if any(cell.strip() for cell in cells):
            yield line, cells


def _all_rows(path: Path, text: str, delimiter: str, skipped: int) -> list[tuple[int, list[str]]]:
    """As `_rows`.

    Raises:
        SettingsError: a quote stays open: what follows it would be one cell, and its rows would be lost.
    """
    open_quote = SettingsError(
        f"{path}: a quote is opened and not closed before the end", "check that the file is whole"
    )
    try:
        rows = list(_rows(text, delimiter, skipped))
    except csv.Error:
        raise open_quote from None
    last_cells, last_line = rows[-1][1], text.splitlines()[-1]
    spans_lines = any("\n" in cell or "\r" in cell for cell in last_cells)
    if text.count('"') % 2 and (spans_lines or last_line.count('"') % 2):
        raise open_quote
    return rows


def _table(
    path: Path,
    header: tuple[int, Sequence[str]],
    below: Sequence[tuple[int, list[str]]],
    stated: Mapping[str, str],
    delimiter: str,
    required: Collection[str],
    *,
    ends: bool,
) -> TextTable:
    header_line, names = header
    keys = [column_key(name) for name in names]
    twice = next((name for place, name in enumerate(keys) if name and name in keys[:place]), None)
    if twice is not None:
        raise SettingsError(f"{path}: line {header_line}: two columns are named {twice!r}", "rename one of them")
    fewest = max((place + 1 for place, key in enumerate(keys) if key in required), default=0)
    rows: list[tuple[int, dict[str, str]]] = []
    for number, (line, cells) in enumerate(below, 1):
        if all(set(cell.strip()) <= _RULE for cell in cells):
            continue
        is_cut = number == len(below) and not ends and len(cells) < len(keys)
        if len(cells) < fewest or is_cut or any(cell.strip() for cell in cells[len(keys) :]):
            problem = f"line {line} has {plural(len(cells), 'cell')}, the header {len(keys)}"
            raise SettingsError(f"{path}: {problem}", "check that the file is whole, and its separators and quotes")
        padded = cells + [""] * (len(keys) - len(cells))
        rows.append((line, {key: unescape_cell(cell) for key, cell in zip(keys, padded, strict=False) if key}))
    if not rows:
        raise SettingsError(f"{path} is empty: no row below its header", "check how it was made")
    notices = () if ends else (f"{path.name}: its last line has no end: check that the file is whole",)
    return TextTable(path, tuple(map(tidy, names)), tuple(rows), stated, delimiter, notices)
