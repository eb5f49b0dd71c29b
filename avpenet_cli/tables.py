"""The columns of the score table, and writing tables as CSV, Parquet or JSON Lines."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, cast

from avpenet_cli.errors import SettingsError
from avpenet_cli.records import SegmentScore
from avpenet_cli.storage import atomic_write

if TYPE_CHECKING:
    import pyarrow as pa

EMBEDDINGS_WEIGHTS_KEY = b"avpenet.weights"
"""In the schema metadata of a file of embeddings: the weights, as the score table's column `weights` names them."""

Value = str | int | float | None
Row = dict[str, Value]
Columns = Mapping[str, Sequence[Value]]
"""Values of some rows, by column."""


@dataclass(frozen=True)
class Column:
    """A column of a table; `decimals` applies to floats."""

    name: str
    kind: Literal["text", "integer", "float"]
    meaning: str
    decimals: int = 3


COLUMNS: tuple[Column, ...] = (
    Column("recording", "text", "path relative to the inputs' common folder, or its pseudonym"),
    Column("segment", "integer", "number of the segment in its recording, from 0"),
    Column("start_s", "float", "where the segment starts, seconds after the recording's start"),
    Column("end_s", "float", "where it ends; less than 3 s later only in a padded last segment"),
    Column(
        "recorded_at",
        "text",
        "when the segment started, ISO 8601, with the offset from UTC where that is known; empty where the time is not "
        "known (`--recorded-at`)",
    ),
    Column("score", "float", "pain, 0 to 10; empty when unscorable"),
    Column("label", "text", "`low`, `moderate` or `high` by the weights' cut points"),
    Column("status", "text", "`scored` or `unscorable`"),
    Column("reason", "text", "why there is no score: `no_video`, `no_face`, `no_audio`"),
    Column("modalities", "text", "what made the score: `audio+face`, `audio` or `face`; empty when unscorable"),
    Column("score_sd", "float", "standard deviation of the Monte Carlo dropout samples (`--mc-samples`)"),
    Column("score_lo", "float", "their 2.5th percentile"),
    Column("score_hi", "float", "their 97.5th percentile"),
    Column("face_rate", "float", "share of the segment's frames with the patient's face"),
    Column("face_confidence", "float", "mean confidence of the face detector in those"),
    Column("face_px", "float", "median width of the face, pixels of the recording", 1),
    Column("faces", "integer", "most faces on screen at once"),
    Column("voiced", "float", "share of the segment in which there is voice or another sound of its kind"),
    Column("snr_db", "float", "level over the recording's own noise floor, dB", 1),
    Column("level_dbfs", "float", "level before noise reduction, dB of full scale", 1),
    Column("flags", "text", "what to know about this segment, separated by blanks; see Flags"),
    Column(
        "weights",
        "text",
        "name of the weights, `@`, the first 12 digits of their digest and, unless they are validated, their status: "
        "`demonstration`, `untrained`, `imported` or `research`",
    ),
)

CHANGE_COLUMNS: tuple[Column, ...] = (
    Column(
        "change",
        "float",
        "score minus the mean score of the same patient's quiet minutes, points; empty without a score or a baseline",
    ),
    Column(
        "change_se",
        "float",
        "its standard error, points: change plus and minus 1.96 of it is a 95 % interval; empty where it is not known",
    ),
)
"""Columns after the others, only with `--baseline quiet`."""

CALIBRATED_COLUMNS: tuple[Column, ...] = (
    Column("calibrated", "float", "the score by the site's calibration, points; empty without a score or an answer"),
    Column("interval_lo", "float", "lower end of its interval for a segment of a new patient, points"),
    Column("interval_hi", "float", "upper end"),
    Column(
        "abstained",
        "integer",
        "1 where there is a score, but evidence too poor for the risk that the calibration keeps; 0 where it answers; "
        "empty where it does not apply",
    ),
)
"""Columns after the others, only with `--calibration`."""

SCHEMA_VERSION = 2
"""Version of the columns, stated by the manifest; where it states none, the table is of 0.1.0. Version 2 added
`recorded_at` and `modalities` and shortened `weights`."""

ESCAPED_CELL = r"^'('*[=+\-@\t\r])"
"""Regular expression of text that `escape_cell` has changed; the group and what follows it is the text."""
_ESCAPED = re.compile(ESCAPED_CELL)

_NEEDS_QUOTES = re.compile('[,"\\r\\n]')
"""A character for which a cell of a CSV file has to be in quotation marks."""
_CSV_BATCH = 500
"""Rows that are formatted together, a column at a time."""
_PARQUET_BATCH = 50_000
"""Rows of a row group."""

SUFFIXES = (".csv", ".parquet", ".jsonl")


def check_format(path: Path) -> None:
    """Check that a table can be written in the format of `path`'s suffix, and that a manifest can name it.

    Raises:
        SettingsError: the suffix is not one of `SUFFIXES`, or the name is not UTF-8.
    """
    try:
        path.name.encode()
    except UnicodeEncodeError:
        raise SettingsError(f"--out {path}: the name is not UTF-8", "choose another name") from None
    if path.suffix not in SUFFIXES:
        raise SettingsError(
            f"--out {path}: cannot tell the format", f"use a name that ends in one of {', '.join(SUFFIXES)}"
        )


def row(recording: str, segment: SegmentScore, weights: str, recorded_at: str = "") -> Row:
    """A segment as a row of the table, with floats rounded to the column's decimals.

    Args:
        recorded_at: when the segment started, ISO 8601; empty where that is not known.
    """
    columns = rounded_columns(segment_columns(recording, [segment], weights, [recorded_at]), COLUMNS)
    return {name: values[0] for name, values in columns.items()}


def segment_columns(
    recording: str, segments: Sequence[SegmentScore], weights: str, recorded_at: Sequence[str]
) -> Columns:
    """The segments of a recording as columns of the table; floats are not rounded yet.

    Args:
        recorded_at: when each segment started, ISO 8601; empty where that is not known.
    """
    qualities = [segment.quality for segment in segments]
    return {
        "recording": [recording] * len(segments),
        "segment": [segment.segment for segment in segments],
        "start_s": [segment.start_s for segment in segments],
        "end_s": [segment.end_s for segment in segments],
        "recorded_at": recorded_at,
        "score": [segment.score for segment in segments],
        "label": [segment.label for segment in segments],
        "status": [str(segment.status) for segment in segments],
        "reason": [segment.reason for segment in segments],
        "modalities": [segment.modalities for segment in segments],
        "score_sd": [segment.score_sd for segment in segments],
        "score_lo": [segment.score_lo for segment in segments],
        "score_hi": [segment.score_hi for segment in segments],
        "face_rate": [quality.face_rate for quality in qualities],
        "face_confidence": [quality.face_confidence for quality in qualities],
        "face_px": [quality.face_px for quality in qualities],
        "faces": [quality.faces for quality in qualities],
        "voiced": [quality.voiced for quality in qualities],
        "snr_db": [quality.snr_db for quality in qualities],
        "level_dbfs": [quality.level_dbfs for quality in qualities],
        "flags": [" ".join(segment.flags) if segment.flags else "" for segment in segments],
        "weights": [weights] * len(segments),
    }


def rounded(values: Row, columns: Sequence[Column]) -> Row:
    """These columns' values in their order, floats rounded to the column's decimals."""
    return {column.name: _rounded(values[column.name], column) for column in columns}


def _rounded(value: Value, column: Column) -> Value:
    return round(value, column.decimals) + 0.0 if isinstance(value, float) else value


def rounded_columns(values: Columns, columns: Sequence[Column]) -> Columns:
    """These columns of some rows, in their order, floats rounded to the column's decimals."""
    return {
        column.name: _rounded_values(values[column.name], column) if column.kind == "float" else values[column.name]
        for column in columns
    }


def _rounded_values(values: Sequence[Any], column: Column) -> list[Value]:
    return [None if value is None else round(value, column.decimals) + 0.0 for value in values]


def escape_cell(text: str) -> str:
    """Text for a cell of a CSV file: an apostrophe before what a spreadsheet would take for a formula.

    `unescape_cell` gives back the text, whatever it was.
    """
    return f"'{text}" if _ESCAPED.match(f"'{text}") else text


def unescape_cell(text: str) -> str:
    """The text that `escape_cell` made safe."""
    return text[1:] if _ESCAPED.match(text) else text


def write_table(
    path: Path, rows: Iterable[Row], columns: Sequence[Column] = COLUMNS, *, byte_order_mark: bool = False
) -> str:
    """Write rows as a table, as `write_columns` does, but without rounding: their values are as they are to be.

    Args:
        rows: consumed one by one; the table need not fit in memory.
    """
    parts = (
        {column.name: [fields[column.name] for fields in batch] for column in columns}
        for batch in _batches(rows, _CSV_BATCH)
    )
    return _write(path, parts, columns, byte_order_mark=byte_order_mark, rounding=False)


def write_columns(
    path: Path, parts: Iterable[Columns], columns: Sequence[Column] = COLUMNS, *, byte_order_mark: bool = False
) -> str:
    """Write a table atomically in the format of `path`'s suffix, readable by its owner only.

    Floats are rounded to their column's decimals. Text in CSV goes through `escape_cell`.

    Args:
        path: ends in .csv, .parquet or .jsonl.
        parts: of the table one after the other, each with all columns, of any number of rows; consumed one by one, so
            that the table need not fit in memory.
        columns: of the table, in order.
        byte_order_mark: begin a CSV file with one, by which Excel recognises UTF-8.

    Returns:
        SHA-256 of the file, hexadecimal.

    Raises:
        SettingsError: the suffix is not one of `SUFFIXES`.
        EnvironmentUnavailableError: there is no space left, or the disk failed.
        OutputError: the folder cannot be written.
    """
    return _write(path, parts, columns, byte_order_mark=byte_order_mark, rounding=True)


def _write(
    path: Path, parts: Iterable[Columns], columns: Sequence[Column], *, byte_order_mark: bool, rounding: bool
) -> str:
    check_format(path)
    if rounding and path.suffix != ".csv":  # where formatting rounds
        parts = (rounded_columns(part, columns) for part in parts)
    writers: dict[str, Callable[[IO[bytes], Iterable[Columns], Sequence[Column]], None]] = {
        ".csv": partial(_write_csv, byte_order_mark=byte_order_mark, rounding=rounding),
        ".jsonl": _write_jsonl,
        ".parquet": _write_parquet,
    }
    with atomic_write(path) as file:
        writers[path.suffix](file, parts, columns)
        file.flush()
        file.seek(0)
        digest = hashlib.file_digest(cast(io.BufferedRandom, file), "sha256").hexdigest()
    return digest


def _write_csv(
    file: IO[bytes], parts: Iterable[Columns], columns: Sequence[Column], *, byte_order_mark: bool, rounding: bool
) -> None:
    # Headings of tables for other programs may have commas in them.
    file.write(("\ufeff" * byte_order_mark + _quoted([[column.name] for column in columns])).encode())
    for values in _regrouped(parts, columns, _CSV_BATCH):
        cells, plain = [], len(columns) > 1
        for column, of_column in zip(columns, values, strict=True):
            if column.kind == "text":
                # Most texts repeat.
                texts = {value: "" if value is None else escape_cell(str(value)) for value in set(of_column)}
                plain = plain and not any(map(_NEEDS_QUOTES.search, texts.values()))
                cells.append([texts[value] for value in of_column])
            else:
                cells.append(_numbers_as_text(of_column, column, rounding))
        lines = "".join([",".join(line) + "\n" for line in zip(*cells, strict=True)]) if plain else _quoted(cells)
        file.write(lines.encode())


def _numbers_as_text(values: Sequence[Value], column: Column, rounding: bool) -> list[str]:
    if column.kind == "integer":
        return ["" if value is None else str(value) for value in values]
    form = f"%.{column.decimals}f"
    if not rounding:
        return ["" if value is None else form % value for value in values]
    distinct = set(values)
    if 2 * len(distinct) < len(values):  # shares of a few frames and places of segments repeat
        texts = {value: "" if value is None else form % value for value in distinct}
        cells = [texts[value] for value in values]
    else:
        cells = ["" if value is None else form % value for value in values]
    below_zero, zero = form % -0.0, form % 0.0  # rounding makes the one the other
    return [zero if cell == below_zero else cell for cell in cells] if below_zero in cells else cells


def _quoted(cells: Sequence[Sequence[str]]) -> str:
    """The lines of cells, of which any may need quotation marks.

    Args:
        cells: by column.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    # Python before 3.13 does not quote a carriage return, which readers take for the end of the row.
    quoting_all = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for line in zip(*cells, strict=True):
        (quoting_all if any("\r" in cell for cell in line) else writer).writerow(line)
    return text.getvalue()


def _write_jsonl(file: IO[bytes], parts: Iterable[Columns], columns: Sequence[Column]) -> None:
    names = [column.name for column in columns]
    for part in parts:
        for values in zip(*(part[name] for name in names), strict=True):
            file.write(json.dumps(dict(zip(names, values, strict=True)), ensure_ascii=False).encode() + b"\n")


def _write_parquet(file: IO[bytes], parts: Iterable[Columns], columns: Sequence[Column]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds: dict[str, pa.DataType] = {"text": pa.string(), "integer": pa.int64(), "float": pa.float64()}
    schema = pa.schema([(column.name, kinds[column.kind]) for column in columns])
    with pq.ParquetWriter(file, schema) as writer:
        for values in _regrouped(parts, columns, _PARQUET_BATCH):
            writer.write_table(pa.table(values, schema=schema))


def _regrouped(parts: Iterable[Columns], columns: Sequence[Column], size: int) -> Iterator[list[list[Value]]]:
    """The parts' values by column, so many rows at a time."""
    values: list[list[Value]] = [[] for _ in columns]
    for part in parts:
        for collected, column in zip(values, columns, strict=True):
            collected.extend(part[column.name])
        while len(values[0]) >= size:
            yield [collected[:size] for collected in values]
            values = [collected[size:] for collected in values]
    if values[0]:
        yield values


def _batches(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    rows = iter(rows)
    while batch := list(itertools.islice(rows, size)):
        yield batch
