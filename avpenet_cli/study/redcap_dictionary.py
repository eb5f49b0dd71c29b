"""Rows of a data dictionary in the columns in which REDCap exports and imports one (Harris et al. 2009, J Biomed Inform
42:377; REDCap help, "Data dictionary")."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from avpenet_cli.tables import Column, Row, write_table

HEADINGS = (
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
_COLUMNS = tuple(Column(heading, "text", "") for heading in HEADINGS)


def dictionary_row(
    form: str,
    name: str,
    label: str,
    *,
    kind: str = "text",
    validation: str = "",
    span: tuple[str, str] = ("", ""),
    note: str = "",
    identifier: bool = False,
    action_tag: str = "",
) -> Row:
    """A field.

    Args:
        form: instrument that it is part of.
        name: of the variable.
        label: that people read.
        kind: REDCap's type of field, such as `text` and `notes`.
        validation: REDCap's type of validation, such as `number`; empty without one.
        span: smallest and largest value; empty without a limit.
        note: stands under the field.
        identifier: whether it tells who the patient is.
        action_tag: such as `@READONLY`; empty without one.
    """
    # REDCap imports what stands in the cells: `escape_cell` gives texts that begin with @ a leading apostrophe, which
    # REDCap would not take for an action tag, hence the blank that it ignores.
    values = {
        "Variable / Field Name": name,
        "Form Name": form,
        "Field Type": kind,
        "Field Label": label,
        "Field Note": note,
        "Text Validation Type OR Show Slider Number": validation,
        "Text Validation Min": span[0],
        "Text Validation Max": span[1],
        "Identifier?": "y" if identifier else "",
        "Field Annotation": f" {action_tag}" if action_tag else "",
    }
    return {heading: values.get(heading) or None for heading in HEADINGS}


def write_dictionary(path: Path, rows: Iterable[Row]) -> None:
    """Write a data dictionary; raises as `tables.write_table`."""
    write_table(path, rows, _COLUMNS)
