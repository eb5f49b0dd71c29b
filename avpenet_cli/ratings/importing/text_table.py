"""Tables of text whose header may have other lines above it, as rating programs write them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
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


def read_text_table(path: Path, description: str, is_header: Callable[[set[str]], bool], needed: str) -> TextTable:
    """Read a CSV or TSV file.

    Args:
        path: UTF-8 or UTF-16, separated by commas, semicolons or tabs.
        description: what the file is, for messages: `BORIS export`.
        is_header: whether a row with these `column_key`s is the header.
        needed: what the header needs, for messages.

    Raises:
        SettingsError: a file that cannot be read or decoded, is no text, is empty or has no such header; a row with
            fewer or more cells than the header; an unclosed quote.
    """
    try:
        content = read_csv_text(path, (), description)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {reason(error)}", "check the file") from None
    if content.text.count('"') % 2:
        raise SettingsError(f"{path}: a quote is opened and not closed before the end", "check that the file is whole")
    separators = dict.fromkeys((content.delimiter, *SEPARATORS))
    for delimiter in separators:
        rows = list(_rows(content.text, delimiter, content.skipped, _LINES_ABOVE))
        for place, (line, cells) in enumerate(rows):
            if is_header({column_key(cell) for cell in cells if cell.strip()}):
                below = (row for row in _rows(content.text, delimiter, content.skipped) if row[0] > line)
                stated = {column_key(c[0]): c[1].strip() for _, c in rows[:place] if len(c) > 1 and c[0].strip()}
                ends = content.text.endswith(("\n", "\r"))
                return _table(path, line, cells, below, stated, delimiter, ends=ends)
    first = next(_rows(content.text, content.delimiter, content.skipped), (0, []))[1]
    there = ", ".join(repr(tidy(cell)[:40]) for cell in first[:8])
    raise SettingsError(f"{path} is not a {description}: no row has {needed} (its first row: {there})", _REMEDY)


_REMEDY = "check the file and --from, or name the columns in a map (--map)"


def _rows(text: str, delimiter: str, skipped: int, most: int | None = None) -> Iterator[tuple[int, list[str]]]:
    """Line of the file and cells of each row that is not empty."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    before = 0
    try:
        for cells in reader:
            line, before = before + 1 + skipped, reader.line_num
            if most is not None and before > most:
                return
            if any(cell.strip() for cell in cells):
                yield line, cells
    except csv.Error:
        # A cell longer than the reader accepts, after a quote that is not closed.
        return


def _table(
    path: Path,
    header_line: int,
    header: Sequence[str],
    below: Iterator[tuple[int, list[str]]],
    stated: Mapping[str, str],
    delimiter: str,
    *,
    ends: bool,
) -> TextTable:
    keys = [column_key(name) for name in header]
    twice = next((name for place, name in enumerate(keys) if name and name in keys[:place]), None)
    if twice is not None:
        raise SettingsError(f"{path}: line {header_line}: two columns are named {twice!r}", "rename one of them")
    rows: list[tuple[int, dict[str, str]]] = []
    for line, cells in below:
        if all(set(cell.strip()) <= _RULE for cell in cells):
            continue
        if len(cells) < len(header) or any(cell.strip() for cell in cells[len(header) :]):
            problem = f"line {line} has {plural(len(cells), 'cell')}, the header {len(header)}"
            raise SettingsError(f"{path}: {problem}", "check that the file is whole, and its separators and quotes")
        rows.append((line, {key: unescape_cell(cell) for key, cell in zip(keys, cells, strict=False) if key}))
    if not rows:
        raise SettingsError(f"{path} is empty: no row below its header", "check how it was made")
    notices = () if ends else (f"{path.name}: its last line has no end: check that the file is whole",)
    return TextTable(path, tuple(map(tidy, header)), tuple(rows), stated, delimiter, notices)
