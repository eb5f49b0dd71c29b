"""REDCap's files for a rater: the data dictionary of the instrument, and the records to import.

Columns of a data dictionary as REDCap exports it: Harris et al. 2009, J Biomed Inform 42:377; REDCap help, "Data
dictionary".
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from avpenet_cli.study.scales import Scale
from avpenet_cli.tables import Column, Row, write_table

DICTIONARY_FILE = "redcap-dictionary.csv"
IMPORT_FILE = "redcap-import.csv"
FORM = "rating"

_HEADINGS = (
    "Variable / Field Name",
    "Form Name",
    "Section Header",
    "Field Type",
    "Field Label",
    "Choices, Calculations, OR Slider Labels",
    "Field Note",
    "Text Validation Type OR Show Slider Number",
    "Text Validation Min",
    "Text Validation Max",
    "Identifier?",
    "Branching Logic (Show field only if...)",
    "Required Field?",
    "Custom Alignment",
    "Question Number (surveys only)",
    "Matrix Group Name",
    "Matrix Ranking?",
    "Field Annotation",
)
_DICTIONARY = tuple(Column(name, "text", "") for name in _HEADINGS)
_READ_ONLY = "@READONLY"
_IMPORTED = (
    Column("record_id", "text", "one record for each segment of a rater"),
    Column("order", "integer", ""),
    Column("recording", "text", ""),
    Column("start_s", "float", ""),
    Column("end_s", "float", ""),
    Column("value", "text", ""),
    Column("scale", "text", ""),
    Column("rater", "text", ""),
    Column("rated_at", "text", ""),
    Column("comment", "text", ""),
    Column("pack", "text", ""),
)


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
    write_table(folder / DICTIONARY_FILE, _dictionary(scale), _DICTIONARY)
    digits = max(3, len(str(len(rows))))
    records: list[Row] = [row | {"record_id": f"{rater}-{row['order']:0{digits}}"} for row in rows]
    write_table(folder / IMPORT_FILE, records, _IMPORTED)


def _dictionary(scale: Scale) -> list[Row]:
    label = f"Rating, {scale.label}, {scale.lowest:g} to {scale.highest:g}"
    return [
        _field("record_id", "Record"),
        _field("order", "Place in your order", "integer", note=_READ_ONLY),
        _field("recording", "Recording", note=_READ_ONLY),
        _field("start_s", "Starts at, seconds", "number", note=_READ_ONLY),
        _field("end_s", "Ends at, seconds", "number", note=_READ_ONLY),
        _field("value", label, "number", (f"{scale.lowest:g}", f"{scale.highest:g}")),
        _field("scale", "Scale", note=_READ_ONLY),
        _field("rater", "Rater", note=_READ_ONLY),
        _field("rated_at", "Rated at", "datetime_ymd", note="@NOW"),
        _field("comment", "Comment", kind="notes"),
        _field("pack", "Pack", note=_READ_ONLY),
    ]


def _field(
    name: str, label: str, validation: str = "", span: tuple[str, str] = ("", ""), *, note: str = "", kind: str = "text"
) -> Row:
    # REDCap imports what stands in the cells: `escape_cell` leaves texts that begin with @ a leading apostrophe, which
    # REDCap would not take for an action tag, hence the blank that it ignores.
    values = dict.fromkeys(_HEADINGS, "") | {
        "Variable / Field Name": name,
        "Form Name": FORM,
        "Field Type": kind,
        "Field Label": label,
        "Text Validation Type OR Show Slider Number": validation,
        "Text Validation Min": span[0],
        "Text Validation Max": span[1],
        "Field Annotation": f" {note}" if note else "",
    }
    return {name: value or None for name, value in values.items()}
