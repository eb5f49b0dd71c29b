"""The files that a run of `score`, or a merge, writes beside its table, and rules for replacing them."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from pathlib import Path

from avpenet_cli.errors import OutputError
from avpenet_cli.runs.journal import journal_path
from avpenet_cli.runs.manifest import manifest_path, read_table_name
from avpenet_cli.scoring.summaries import RECORDING_COLUMNS, SUBJECT_COLUMNS
from avpenet_cli.storage import storage_fault, temporary_prefix
from avpenet_cli.tables import Column

_OTHER_NAME = "choose another --out"


def recordings_path(table: Path) -> Path:
    """`scores.recordings.csv` for `scores.csv`."""
    return table.with_suffix(".recordings.csv")


def subjects_path(table: Path) -> Path:
    """`scores.subjects.csv` for `scores.csv`."""
    return table.with_suffix(".subjects.csv")


def partial_path(table: Path) -> Path:
    """`scores.partial.csv` for `scores.csv`: what an interrupted run had finished."""
    return table.with_name(f"{table.stem}.partial{table.suffix}")


def tables_of(table: Path) -> tuple[Path, ...]:
    """A score table and the tables beside it."""
    return table, recordings_path(table), subjects_path(table)


def check_manifest_owner(out: Path) -> None:
    """Raise where `scores.csv` and `scores.parquet` would share a manifest, which can certify only one of them."""
    path = manifest_path(out)
    owner = read_table_name(path)
    if owner is not None and owner != out.name:
        raise OutputError(f"{path} belongs to {owner}", "choose an --out whose name differs in more than its suffix")


def refuse_replacing_others(table: Path, *, with_subjects: bool) -> None:
    """Check that no file that a run writes beside its score table is another program's, or another run's output.

    Args:
        with_subjects: the run writes tables of subjects, too.

    Raises:
        OutputError: one is.
    """
    for score_table in (table, partial_path(table)):
        for path in tables_of(score_table):
            if path != table and journal_path(path).exists():
                raise OutputError(f"{path} is the output of another run, which this one would replace", _OTHER_NAME)
        written = [(recordings_path(score_table), RECORDING_COLUMNS)]
        written += [(subjects_path(score_table), SUBJECT_COLUMNS)] if with_subjects else []
        for path, columns in written:
            if not begins_with(path, columns):
                raise OutputError(f"{path} exists, and avpenet score did not write it", f"{_OTHER_NAME}, or move it")


def begins_with(path: Path, columns: Sequence[Column]) -> bool:
    """Whether a file is absent, or a CSV table that begins with the first three of these columns."""
    header = ",".join(column.name for column in columns[:3]).encode()
    try:
        with path.open("rb") as file:
            return file.read(len(codecs.BOM_UTF8) + len(header)).removeprefix(codecs.BOM_UTF8).startswith(header)
    except FileNotFoundError:
        return True
    except OSError as error:
        raise storage_fault(path, error) from None


def remove_leftovers(out: Path, embeddings: Path | None, *, journal_too: bool = False) -> None:
    """Remove the temporary files of killed runs; an old table and manifest stay until new ones replace them."""
    written = [manifest_path(out), *tables_of(out), *tables_of(partial_path(out))]
    written += [] if embeddings is None else [embeddings]
    prefixes = tuple(map(temporary_prefix, written))
    try:
        leftovers = [p for p in out.parent.iterdir() if p.name.startswith(prefixes) and p.suffix == ".tmp"]
        if journal_too:
            leftovers += [journal_path(out), *tables_of(partial_path(out))]
            leftovers += [] if embeddings is None else [journal_path(embeddings)]
        for path in leftovers:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise storage_fault(out, error) from None
