"""The text of a CSV file: its encoding, separator, header and rows, as spreadsheets and programs write them."""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avpenet_cli.errors import SettingsError
from avpenet_cli.keys import tidy
from avpenet_cli.study.sheets import Rows
from avpenet_cli.textfiles import decode_text

SEPARATORS = (",", ";", "\t")
_SEPARATOR_LINE = re.compile(r'"?sep=([,;\t|])"?[,;\t| ]*(?:\r?\n|\Z)', re.IGNORECASE)
"""First line by which Excel is told the separator."""
_BLANK_LINE = re.compile(r'[,;\t| "]*\r?\n')
_MOST_HEADER_CHARACTERS = 1 << 20
_ARCHIVES = {
    b"PK\x03\x04": "a ZIP archive, such as an .xlsx workbook",
    b"\xd0\xcf\x11\xe0": "an .xls workbook",
    b"\x1f\x8b": "compressed with gzip",
    b"PAR1": "Parquet",
    b"%PDF": "a PDF document",
}


@dataclass(frozen=True)
class CsvText:
    """A CSV file from its header on.

    Attributes:
        text: without the byte order mark, a `sep=` line, and blank lines above the header.
        delimiter: between cells.
        header: names as written, for the caller to normalise.
        skipped: number of lines above the header.
    """

    text: str
    delimiter: str
    header: list[str]
    skipped: int

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield each row below the header with the line of the file in which it starts, without empty lines.

        Ends at a cell longer than Python's reader accepts, for example after an unclosed quote.
        """
        reader = csv.reader(io.StringIO(self.text, newline=""), delimiter=self.delimiter)
        before, header = 0, True
        with contextlib.suppress(csv.Error):
            for cells in reader:
                line, before = before + 1, reader.line_num
                if cells and not header:
                    yield line + self.skipped, cells
                header = header and not cells

    def lines(self) -> Rows:
        """(rows,) line of the file in which each row starts, from 1."""
        return np.array([line for line, _ in self.rows()], dtype=np.int64)


def normalise_header(name: str, known: Collection[str]) -> str:
    """A column's name without white space and characters that are not drawn; as in `known` where it differs from one of
    those only in letter case or in blanks or dashes for underscores."""
    name = tidy(name)
    code = re.sub(r"[\s-]+", "_", name).lower()
    return code if code in known else name


def read_csv_text(path: Path, known: Collection[str], description: str) -> CsvText:
    """Read and decode a CSV file, and find its separator and header.

    Args:
        known: columns that the caller reads; the separator is the one that gives most of them.
        description: what the file is, for messages: `score table`.

    Raises:
        SettingsError: an encoding that cannot be read, a file that is no text, or one that is empty.
        OSError: the file cannot be read.
    """
    raw = path.read_bytes()
    for signature, kind in _ARCHIVES.items():
        if raw.startswith(signature):
            raise SettingsError(f"{path} cannot be read as a {description}: it is {kind}", "save it as CSV UTF-8")
    # Old DOS programs end a text file so.
    text = decode_text(raw, str(path)).text.removesuffix("\x1a")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise SettingsError(f"{path}: line {line} has a NUL character: no text, or damaged", "save it as CSV UTF-8")
    if "\n" not in text:
        # Old spreadsheets for the Mac end lines so.
        text = text.replace("\r", "\n")
    stated = _SEPARATOR_LINE.match(text)
    start, skipped = (stated.end(), 1) if stated else (0, 0)
    while blank := _BLANK_LINE.match(text, start):
        start, skipped = blank.end(), skipped + 1
    text = text[start:]
    if not text.strip():
        raise SettingsError(f"{path} is empty", f"give a {description} with a header and rows")
    # The stated one comes first, and others after it: a program that converts separators may leave the line as it is.
    separators = (stated[1], *SEPARATORS) if stated else SEPARATORS
    headers = {mark: _header(text, mark) for mark in separators}

    def suitability(mark: str) -> tuple[int, bool, int]:
        names = [normalise_header(name, known) for name in headers[mark]]
        return sum(name in known for name in names), bool(stated) and mark == separators[0], len(names)

    delimiter = max(headers, key=suitability)
    return CsvText(text, delimiter, headers[delimiter], skipped)


def _header(text: str, delimiter: str) -> list[str]:
    with contextlib.suppress(csv.Error):
        return next(csv.reader(io.StringIO(text[:_MOST_HEADER_CHARACTERS], newline=""), delimiter=delimiter), [])
    return []
