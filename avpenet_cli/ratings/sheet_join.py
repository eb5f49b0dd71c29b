"""The filled-in sheets of several raters as one table of ratings, which `avpenet report --reference` reads."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from avpenet_cli.errors import SettingsError
from avpenet_cli.ratings.agreement_tables import RatedRows, read_rated_rows
from avpenet_cli.ratings.columns import rating_columns
from avpenet_cli.ratings.outputs import check_outputs
from avpenet_cli.runs.history import ReadFile, locked_history
from avpenet_cli.tables import Row, check_format, write_table


@dataclass(frozen=True)
class JoinedSheets:
    """What was joined.

    Attributes:
        ratings: number of rows written.
        by_rater: of each rater.
        empty: rows without a value, which were left out.
        notices: what was merged in spite of its spelling.
    """

    ratings: int
    by_rater: dict[str, int]
    empty: int
    notices: tuple[str, ...]


def join_sheets(
    paths: Sequence[Path], out: Path, *, csv_bom: bool = False, overwrite: bool = False, command: str = ""
) -> JoinedSheets:
    """Write one table of the rows that have a value.

    Args:
        paths: sheets or tables of ratings, at least one.
        out: .csv, .parquet or .jsonl.
        csv_bom: begin a CSV file with a byte order mark.
        overwrite: replace an existing file.
        command: for the history, without folders; empty from the library.

    Raises:
        SettingsError: a table that cannot be used, both forms of time, a rating twice, or `out` is one of the tables.
        OutputError, EnvironmentUnavailableError: the file exists or cannot be written.
    """
    check_format(out)
    check_outputs([out], paths, overwrite=overwrite)
    started = datetime.now(UTC)
    table = read_rated_rows(paths)
    at_once = table.rows["end_s"].isna()
    if at_once.any() and not at_once.all():
        raise SettingsError(
            "some tables have time_s, others start_s and end_s", "join those of the same form into a table of their own"
        )
    stated = [name for name in ("item", "rated_at", "pack") if table.rows[name].ne("").any()]
    stated += ["order"] if table.rows["order"].notna().any() else []
    columns = rating_columns(stated, at_once=bool(at_once.all()))
    read = [ReadFile("ratings", file.name, file.sha256) for file in table.files]
    with locked_history(out) as history:
        write_table(out, _rows(table), columns, byte_order_mark=csv_bom)
        history.append("ratings join", written=[out], read=read, command=command, started=started)
    counts = table.rows["rater"].value_counts(sort=False)
    by_rater = dict(zip(map(str, counts.index), map(int, counts), strict=True))
    return JoinedSheets(len(table.rows), by_rater, table.empty, table.notices)


def _rows(table: RatedRows) -> Iterator[Row]:
    for row in table.rows.to_dict("records"):
        yield {
            "recording": row["recording"],
            "time_s": row["start_s"],
            "start_s": row["start_s"],
            "end_s": row["end_s"],
            "item": row["item"],
            "value": row["written"],
            "scale": row["scale"],
            "rater": row["rater"],
            "order": None if math.isnan(row["order"]) else int(row["order"]),
            "rated_at": row["rated_at"],
            "pack": row["pack"],
        }
