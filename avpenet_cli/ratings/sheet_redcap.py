"""REDCap's files for a rater: the data dictionary of the instrument, and the records to import."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from avpenet_cli.ratings.columns import SHEET_COLUMNS
from avpenet_cli.study.redcap_dictionary import dictionary_row, write_dictionary
from avpenet_cli.study.scales import Scale
from avpenet_cli.tables import Column, Row, write_table

DICTIONARY_FILE = "redcap-dictionary.csv"
IMPORT_FILE = "redcap-import.csv"
FORM = "rating"

_READ_ONLY = "@READONLY"
_RECORDS = (Column("record_id", "text", "one record for each segment of a rater"), *SHEET_COLUMNS)


def write_redcap(folder: Path, rater: str, rows: Sequence[Row], scale: Scale) -> None:
    """Write the data dictionary and the import file.

    Args:
        folder: exists.
        rater: name of the rater, which starts the records' names.
        rows: of the rating sheet.
        scale: whose range the field of the rating has.

    Raises:
        OutputError, EnvironmentUnavailableError: a file cannot be written.
    """
    write_dictionary(folder / DICTIONARY_FILE, _dictionary(scale))
    digits = max(3, len(str(len(rows))))
    records: list[Row] = [row | {"record_id": f"{rater}-{row['order']:0{digits}}"} for row in rows]
    write_table(folder / IMPORT_FILE, records, _RECORDS)


def _dictionary(scale: Scale) -> list[Row]:
    label = f"Rating, {scale.label}, {scale.lowest:g} to {scale.highest:g}"
    field = partial(dictionary_row, FORM)
    return [
        field("record_id", "Record"),
        field("order", "Place in your order", validation="integer", action_tag=_READ_ONLY),
        field("recording", "Recording", action_tag=_READ_ONLY),
        field("start_s", "Starts at, seconds", validation="number", action_tag=_READ_ONLY),
        field("end_s", "Ends at, seconds", validation="number", action_tag=_READ_ONLY),
        field("value", label, validation="number", span=(f"{scale.lowest:g}", f"{scale.highest:g}")),
        field("scale", "Scale", action_tag=_READ_ONLY),
        field("rater", "Rater", action_tag=_READ_ONLY),
        field("rated_at", "Rated at", validation="datetime_ymd", action_tag="@NOW"),
        field("comment", "Comment", kind="notes"),
        field("pack", "Pack", action_tag=_READ_ONLY),
    ]
