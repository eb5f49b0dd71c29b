"""The files of a run, written from its journal: score table, tables of recordings and subjects, manifest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from avpenet_cli.errors import SettingsError
from avpenet_cli.phrasing import plural
from avpenet_cli.records import Status
from avpenet_cli.runs.callbacks import RunCallbacks
from avpenet_cli.runs.history import History, HistoryHead, Outcome, ReadFile, locked_history
from avpenet_cli.runs.host import HostFacts
from avpenet_cli.runs.journal import Journal, StoredOutcome
from avpenet_cli.runs.manifest import (
    Manifest,
    Totals,
    manifest_path,
    read_derived,
    weights_mark,
    write_manifest,
)
from avpenet_cli.runs.manifest_entries import RecordedAtEntry, ShardEntry, Timing
from avpenet_cli.runs.outputs import refuse_overwriting
from avpenet_cli.scoring.embeddings import EmbeddingStore, files_of_embeddings, write_embeddings
from avpenet_cli.scoring.output_files import begins_with, partial_path, subjects_path, tables_of
from avpenet_cli.scoring.patient_change import PatientChanges, patient_changes
from avpenet_cli.scoring.recorded_at import NOWHERE, start_times
from avpenet_cli.scoring.request import ScoreRequest
from avpenet_cli.scoring.score_tables import DerivedColumns, WrittenTables, write_tables
from avpenet_cli.scoring.summaries import SUBJECT_COLUMNS
from avpenet_cli.storage import storage_fault
from avpenet_cli.tables import CALIBRATED_COLUMNS, CHANGE_COLUMNS

if TYPE_CHECKING:
    from avpenet_cli.scoring.calibrated import Calibration
    from avpenet_cli.study.subjects import Subjects


@dataclass(frozen=True)
class RunFacts:
    """What a run knows at its end beside its journal.

    Attributes:
        device: the device that scored.
        reused: keys of the recordings that an earlier run had scored.
        started: when the run began, with offset.
        merged: of the shards whose outcomes these are; None where the run itself scored.
    """

    device: str
    reused: set[str]
    started: datetime
    merged: MergedShards | None = None


@dataclass(frozen=True)
class MergedShards:
    """What a merge states of the runs that scored.

    Attributes:
        entries: of the shards that scored something, in order.
        read: their manifests, for the history.
        host, software: of the first of them.
    """

    entries: list[ShardEntry]
    read: list[ReadFile]
    host: HostFacts
    software: dict[str, str]


class Results:
    """Writes the files of one request.

    Args:
        request: its `recorded_at`, `subjects` and `calibration` are read here, before anything is scored.

    Attributes:
        totals: sums over all recordings, once the tables are written.

    Raises:
        SettingsError: the times, the subjects or the calibration cannot be read or used, or a table would be replaced
            that the run reads.
    """

    def __init__(self, request: ScoreRequest) -> None:
        self.totals = Totals()
        self._request = request
        names = [recording.name for recording in request.collection.recordings]
        self.starts = start_times(
            request.recorded_at, request.settings.decoding, pseudonymised=request.pseudonymised, names=names
        )
        times = Path(request.recorded_at) if self.starts.source.startswith("table ") and request.recorded_at else None
        written = tables_of(request.out) + (() if request.embeddings is None else (request.embeddings,))
        refuse_overwriting(written, [times, request.subjects, request.calibration])
        self._notices = self.starts.notices
        asked = {"baseline": request.baseline, "calibration": request.calibration}
        self._dropped = [name for name in read_derived(manifest_path(request.out)) if asked[name] is None]
        self._subject_of: Mapping[str, str] = {}
        self._read = [] if times is None else [self._read_entry("recording times", times, self.starts.sha256)]
        subjects: Subjects | None = None
        if request.subjects is not None:
            from avpenet_cli.study.subjects import read_subjects

            subjects = read_subjects(request.subjects).matched_to(names)
            self._subject_of = subjects.subject_of
            self._read.append(self._read_entry("subjects", request.subjects, subjects.file.sha256))
            self._notices += subjects.notices
            if not any(recording.name in self._subject_of for recording in request.inputs.recordings):
                raise SettingsError(
                    f"--subjects {request.subjects}: names none of the recordings",
                    "name them as the score table does, e.g. as --dry-run lists them",
                )

        self._calibration: Calibration | None = None
        if request.calibration is not None:
            from avpenet_cli.scoring.calibrated import read_calibration

            self._calibration = read_calibration(
                request.calibration,
                request.weights.description,
                request.settings.mc_samples,
                subjects,
                pseudonymised=request.pseudonymised,
            )
            self._read.append(self._read_entry("calibration", request.calibration, self._calibration.sha256))

    def write(
        self, journal: Journal, facts: RunFacts, callbacks: RunCallbacks, store: EmbeddingStore | None = None
    ) -> str:
        """Write all tables, then the manifest that certifies them; remove what an interrupted run left.

        Args:
            store: holds the embeddings of every recording, where the request asks for them.

        Returns:
            When the tables were written, ISO 8601 with offset.

        Raises:
            EnvironmentUnavailableError, OutputError: a file cannot be written.
            OutputLockedError: another program has the history for too long.
        """
        out = self._request.out
        with locked_history(out) as history:
            written, finished = self._write(journal, facts, callbacks, history.head, store)
            merged = facts.merged
            self._append(
                history,
                [*written, manifest_path(out)],
                facts.started,
                event="merge" if merged else "score",
                read=merged.read if merged else (),
            )
        return finished

    def _write(
        self,
        journal: Journal,
        facts: RunFacts,
        callbacks: RunCallbacks,
        head: HistoryHead,
        store: EmbeddingStore | None,
    ) -> tuple[list[Path], str]:
        """Write tables and manifest; the tables, and when that was, ISO 8601 with offset."""
        request = self._request
        changes = self._patient_changes(journal)
        calibrated = self._calibration.start() if self._calibration else None
        derived: list[DerivedColumns] = [columns for columns in (changes, calibrated) if columns is not None]
        written = self._write_tables(request.out, journal.stored(request.inputs.recordings), facts.reused, derived)
        self.totals = written.totals
        if request.embeddings is not None and store is not None:
            outcomes = ((item.recording, item.outcome) for item in journal.stored(request.inputs.recordings))
            mark = weights_mark(request.weights.description)
            written.summaries.append(write_embeddings(request.embeddings, store, outcomes, mark))
        unknown = len(written.entries) - written.known_starts
        if unknown and request.recorded_at not in (None, NOWHERE):
            callbacks.warning(
                f"{plural(unknown, 'recording')} without recorded_at: not known from {self.starts.source}"
            )
        self._report_names(written, callbacks)
        for notice in (*(changes.notices if changes else ()), *(calibrated.notices() if calibrated else ())):
            callbacks.info(notice)
        for name in self._dropped:
            columns = CHANGE_COLUMNS if name == "baseline" else CALIBRATED_COLUMNS
            callbacks.warning(
                f"{request.out.name} lost {', '.join(column.name for column in columns)}, which an earlier run wrote: "
                f"give --{name} again to keep them"
            )
        left = subjects_path(request.out)
        if request.subjects is None and left.exists() and begins_with(left, SUBJECT_COLUMNS):
            callbacks.warning(f"{left.name} is of an earlier run: give --subjects to renew it, or remove it")
        for embeddings in files_of_embeddings(request.out):
            if request.embeddings is None:
                callbacks.warning(
                    f"{embeddings.name} is of an earlier run: give --embeddings to renew it, or remove it"
                )
        manifest = Manifest.of(
            request.settings,
            request.weights.description,
            device=facts.device,
            table=written.table,
            totals=written.totals.entry(),
            timing=Timing.between(facts.started, datetime.now().astimezone()),
            recordings=written.entries,
            recorded_at=RecordedAtEntry(self.starts.source, written.known_starts, unknown),
            summaries=written.summaries,
            baseline=changes.entry if changes else None,
            calibration=calibrated.entry() if calibrated else None,
            command=request.command,
            left_aside=request.inputs.left_aside,
            history=head,
            host=facts.merged.host if facts.merged else None,
            software=facts.merged.software if facts.merged else None,
            shards=facts.merged.entries if facts.merged else None,
        )
        write_manifest(manifest_path(request.out), manifest)
        self.remove_partial()
        return [request.out.with_name(table.file) for table in written.tables], manifest.timing.finished

    def _append(
        self,
        history: History,
        written: Sequence[Path],
        started: datetime,
        outcome: Outcome = "finished",
        *,
        event: str = "score",
        read: Sequence[ReadFile] = (),
    ) -> None:
        command = self._request.command
        read = [*self._read, *read]
        history.append(event, written=written, read=read, command=command, started=started, outcome=outcome)

    def _read_entry(self, content: str, path: Path, sha256: str) -> ReadFile:
        # Under pseudonyms no name stays that somebody gave to a file.
        return ReadFile(content, "" if self._request.pseudonymised else path.name, sha256)

    def _patient_changes(self, journal: Journal) -> PatientChanges | None:
        """Every score against the patient's baseline, where that was asked for."""
        if self._request.baseline is None:
            return None
        stored = journal.stored(self._request.inputs.recordings)
        scored = ((item.recording.name, item.outcome) for item in stored if item.outcome is not None)
        return patient_changes(scored, None if self._request.subjects is None else self._subject_of)

    def _report_names(self, written: WrittenTables, callbacks: RunCallbacks) -> None:
        request = self._request
        for notice in self._notices:
            callbacks.warning(notice)
        if request.subjects is not None:
            without = sum(recording.name not in self._subject_of for recording in request.inputs.recordings)
            if without:
                callbacks.warning(f"{plural(without, 'recording')} without a subject in {request.subjects.name}")
        if escaped := sum(table.escaped_names for table in written.summaries):
            callbacks.info(
                f"{plural(escaped, 'name')} with = + - @ or a tab in front: CSV files have an apostrophe "
                "before it, so that spreadsheets do not take it for a formula"
            )

    def write_partial(
        self, journal: Journal, seen: set[str], started: datetime, outcome: Outcome = "interrupted"
    ) -> Path | None:
        """Write the tables of what an unfinished run has finished, beside the tables of the last complete run.

        Args:
            seen: keys of the recordings that this run has reached.
            started: when the run began, with offset.
            outcome: of the run, for the history.

        Returns:
            The partial score table; None where no recording is finished.

        Raises:
            EnvironmentUnavailableError, OutputError: a file cannot be written.
        """

        def finished() -> Iterator[StoredOutcome]:
            for item in journal.stored(self._request.inputs.recordings):
                # A recording that failed in an earlier run is tried again.
                has_failed = item.outcome is not None and item.outcome.status is Status.FAILED
                yield replace(item, outcome=None) if has_failed and item.recording.key not in seen else item

        self.remove_partial()
        path = partial_path(self._request.out)
        # Of a part of a patient's minutes a baseline would be another one: these tables have what was scored, no more.
        with locked_history(self._request.out) as history:
            written = self._write_tables(path, finished(), set(), [])
            if written.entries:
                self._append(history, [path.with_name(table.file) for table in written.tables], started, outcome)
                return path
        self.remove_partial()
        return None

    def remove_partial(self) -> None:
        """Remove the tables of an interrupted run.

        Raises:
            EnvironmentUnavailableError, OutputError: one cannot be removed.
        """
        for path in tables_of(partial_path(self._request.out)):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise storage_fault(path, error) from None

    def _write_tables(
        self, out: Path, stored: Iterable[StoredOutcome], reused: set[str], derived: Sequence[DerivedColumns]
    ) -> WrittenTables:
        return write_tables(self._request, out, stored, self.starts, self._subject_of, reused, derived)
