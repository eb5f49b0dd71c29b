"""The tables of a run, in one pass over its journal: score table, tables of recordings and of subjects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from avpenet_cli.runs.journal import StoredOutcome
from avpenet_cli.runs.manifest import Totals, file_entry, recording_entry, weights_mark
from avpenet_cli.runs.manifest_entries import RecordingEntry, TableEntry
from avpenet_cli.scoring.output_files import recordings_path, subjects_path
from avpenet_cli.scoring.recorded_at import NOWHERE, StartTimes, iso
from avpenet_cli.scoring.request import ScoreRequest
from avpenet_cli.scoring.summaries import RECORDING_COLUMNS, SUBJECT_COLUMNS, Summary, recording_row, subject_row
from avpenet_cli.tables import (
    COLUMNS,
    Column,
    Columns,
    Row,
    escape_cell,
    rounded_columns,
    segment_columns,
    write_columns,
    write_table,
)


class DerivedColumns(Protocol):
    """Columns after the others that are computed from what was scored, whenever the table is written."""

    columns: tuple[Column, ...]

    def values(self, recording: str, stated: Columns) -> Columns:
        """The columns' values in the rows of a recording.

        Args:
            stated: the other columns of these rows, rounded as the table has them.
        """


@dataclass
class WrittenTables:
    """Tables that were written, and what the manifest states about them.

    Attributes:
        table: the score table.
        summaries: the files beside it: the tables of recordings and, where the request has subjects, of subjects; the
            file of embeddings is added by who writes it.
        totals: sums over all recordings.
        entries: of the recordings with an outcome, in input order.
        known_starts: number of these whose start is known.
    """

    table: TableEntry
    summaries: list[TableEntry]
    totals: Totals
    entries: list[RecordingEntry] = field(default_factory=list)
    known_starts: int = 0

    @property
    def tables(self) -> list[TableEntry]:
        """All tables, the score table first."""
        return [self.table, *self.summaries]


def write_tables(
    request: ScoreRequest,
    out: Path,
    stored: Iterable[StoredOutcome],
    starts: StartTimes,
    subject_of: Mapping[str, str],
    reused: set[str],
    derived: Sequence[DerivedColumns] = (),
) -> WrittenTables:
    """Write a score table and, from the same pass over the journal, the tables beside it.

    Args:
        request: whose recordings these are.
        out: the score table; not the request's where the run was interrupted.
        stored: of the request's recordings; consumed one by one.
        starts: when the recordings started.
        subject_of: the recordings' subjects by their names; empty where the request has none.
        reused: keys of the recordings that an earlier run had scored.
        derived: columns after the others.

    Raises:
        EnvironmentUnavailableError, OutputError: a table cannot be written.
    """
    collected = _Collected(request, starts, subject_of, reused, derived)
    bom = request.csv_bom
    columns = (*COLUMNS, *(column for added in derived for column in added.columns))
    digest = write_columns(out, collected.segment_columns(stored), columns, byte_order_mark=bom)
    tables = [(recordings_path(out), RECORDING_COLUMNS, collected.recordings)]
    if request.subjects is not None:
        tables.append((subjects_path(out), SUBJECT_COLUMNS, collected.subject_rows()))
    escaped = sum(_is_escaped(recording.name) for recording in request.inputs.recordings)
    return WrittenTables(
        TableEntry(out.name, digest, collected.segments, escaped_names=escaped if out.suffix == ".csv" else 0),
        [
            TableEntry(
                path.name,
                write_table(path, rows, columns, byte_order_mark=bom),
                len(rows),
                escaped_names=sum(_is_escaped(str(row[columns[0].name])) for row in rows),
            )
            for path, columns, rows in tables
        ],
        collected.totals,
        collected.entries,
        collected.known_starts,
    )


@dataclass
class _Collected:
    """One pass over a run's recordings: the segments stream through it, the rest stays."""

    request: ScoreRequest
    starts: StartTimes
    subject_of: Mapping[str, str]
    reused: set[str]
    derived: Sequence[DerivedColumns]
    totals: Totals = field(default_factory=Totals)
    entries: list[RecordingEntry] = field(default_factory=list)
    recordings: list[Row] = field(default_factory=list)
    subjects: dict[str, Summary] = field(default_factory=dict)
    segments: int = 0
    known_starts: int = 0

    def segment_columns(self, stored: Iterable[StoredOutcome]) -> Iterator[Columns]:
        """The score table's rows, one recording after the other."""
        weights = self.request.weights.description
        mark = weights_mark(weights)
        with_time = not self.request.pseudonymised or self.starts.source != NOWHERE
        for item in stored:
            recording, outcome = item.recording, item.outcome
            start = None if outcome is None else self.starts.find(recording, outcome)
            self.recordings.append(recording_row(recording.name, outcome, iso(start), weights.cut_points))
            if subject := self.subject_of.get(recording.name):
                self.subjects.setdefault(subject, Summary(weights.cut_points)).add(recording.name, outcome)
            if outcome is None:
                continue
            self.totals.add(outcome)
            self.known_starts += start is not None
            file = file_entry(item.file, with_time=with_time)
            self.entries.append(recording_entry(recording, outcome, recording.key in self.reused, iso(start), file))
            self.segments += len(outcome.segments)
            times = [iso(start, segment.start_s) for segment in outcome.segments]
            columns = segment_columns(recording.name, outcome.segments, mark, times)
            if self.derived:
                stated = rounded_columns(columns, COLUMNS)
                for added in self.derived:
                    columns = {**columns, **added.values(recording.name, stated)}
            yield columns

    def subject_rows(self) -> list[Row]:
        """The rows of the table of subjects, in the order of their first recordings."""
        return [subject_row(subject, summary) for subject, summary in self.subjects.items()]


def _is_escaped(name: str) -> bool:
    """Whether a CSV file has an apostrophe before this name."""
    return escape_cell(name) != name
