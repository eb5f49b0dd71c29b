"""The journal beside an output: every finished recording, on disk as soon as it is finished.

A killed run resumes from it, and a later run adds to it. SQLite keeps it consistent through kills and power cuts.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from avpenet_cli.errors import OutputError
from avpenet_cli.inputs import Recording
from avpenet_cli.phrasing import plural
from avpenet_cli.records import RecordingOutcome, Status
from avpenet_cli.runs.database import (
    connect_to_read,
    damaged,
    guarded,
    open_database,
    refuse_later_journal,
    transaction,
)
from avpenet_cli.runs.guard import refuse_dropping
from avpenet_cli.settings import describe_differences
from avpenet_cli.version import JOURNAL_VERSION

_FORMAT = str(JOURNAL_VERSION)
_OUTCOME = TypeAdapter(RecordingOutcome)
_READ_AT_ONCE = 16
"""Outcomes that are in memory at once; that of an hour takes up to half a megabyte."""


def journal_path(output: Path) -> Path:
    """`scores.csv.journal` for `scores.csv`."""
    return output.with_name(output.name + ".journal")


_TABLES = (
    "CREATE TABLE IF NOT EXISTS finished (recording TEXT PRIMARY KEY, size INTEGER NOT NULL, "
    "mtime_ns INTEGER NOT NULL, outcome TEXT NOT NULL)",
    # A table of its own, so that a night on which the archive is unreachable does not cost earlier scores.
    "CREATE TABLE IF NOT EXISTS failed (recording TEXT PRIMARY KEY, outcome TEXT NOT NULL)",
    # The file behind the row of the same recording in `finished` or, where `failed` is 1, in `failed`.
    "CREATE TABLE IF NOT EXISTS file (recording TEXT NOT NULL, failed INTEGER NOT NULL, size INTEGER NOT NULL, "
    "mtime_ns INTEGER NOT NULL, sha256 TEXT NOT NULL, PRIMARY KEY (recording, failed))",
    # What `finished` holds of a recording in numbers, for `avpenet status`: reading every outcome takes long.
    # `unscorable` is JSON: segments by reason. A row counts only beside one of `finished` with the same size and time.
    "CREATE TABLE IF NOT EXISTS tally (recording TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, "
    "status TEXT NOT NULL, scored INTEGER NOT NULL, unscorable TEXT NOT NULL)",
    # The latest run: facts as JSON, and its inputs. `retry` marks a recording that failed before this run and has not
    # been tried again yet; `path` is NULL under pseudonyms.
    "CREATE TABLE IF NOT EXISTS latest_run (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS input (position INTEGER PRIMARY KEY, recording TEXT NOT NULL UNIQUE, "
    "name TEXT NOT NULL, path BLOB, retry INTEGER NOT NULL)",
)


def count_unfinished(output: Path, recordings: Sequence[Recording]) -> int:
    """How many recordings an output's journal does not hold as they are now; it is neither made nor changed.

    A journal that cannot be read holds none: `Journal` says what is wrong with it.
    """
    held: dict[str, tuple[int, int]] = {}
    with contextlib.suppress(sqlite3.Error), contextlib.closing(connect_to_read(journal_path(output))) as database:
        rows = database.execute("SELECT recording, size, mtime_ns FROM finished")
        held = {key: (size, mtime_ns) for key, size, mtime_ns in rows}
    return sum(held.get(recording.key) != _size_and_time(recording.path) for recording in recordings)


def _size_and_time(path: Path) -> tuple[int, int] | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns


@dataclass(frozen=True)
class FileFacts:
    """The file of a recording as it was when it was read.

    Attributes:
        size_bytes, mtime_ns: size, and time of the last modification since 1970.
        sha256: digest, hexadecimal; empty where it was not computed.
    """

    size_bytes: int
    mtime_ns: int
    sha256: str


def _tally(
    recording: Recording, file_state: os.stat_result, outcome: RecordingOutcome
) -> tuple[str, int, int, str, int, str]:
    """A row of the table `tally`."""
    unscorable = Counter(segment.reason for segment in outcome.segments if segment.status is Status.UNSCORABLE)
    scored = len(outcome.segments) - unscorable.total()
    state = file_state.st_size, file_state.st_mtime_ns
    return recording.key, *state, outcome.status.value, scored, json.dumps(unscorable)


@dataclass(frozen=True)
class StoredOutcome:
    """A recording's most recent outcome, and the file behind it; None where there is none."""

    recording: Recording
    outcome: RecordingOutcome | None
    file: FileFacts | None


@dataclass(frozen=True)
class JournalPart:
    """Outcomes of another journal, to take over.

    Attributes:
        keys: of the recordings to take; others are left.
        finished: key, size and time of the file, outcome as JSON.
        failed: key, outcome as JSON.
        files: key, whether that of a failed recording, size, time, digest.
        tallies: rows of the table `tally`.
    """

    keys: frozenset[str]
    finished: Iterable[tuple[str, int, int, str]]
    failed: Iterable[tuple[str, str]]
    files: Iterable[tuple[str, int, int, int, str]]
    tallies: Iterable[tuple[str, int, int, str, int, str]] = ()


class Journal:
    """Finished recordings of one output.

    Args:
        output: the score table it belongs to.
        settings: flat; two runs share a journal only if these agree.
        replacing: accept a table without a journal, because this run replaces it.

    Raises:
        OutputError: the journal is damaged, or belongs to a run with other weights or settings.
        SettingsError: it is of a later format.
    """

    def __init__(self, output: Path, settings: dict[str, Any], *, replacing: bool = False) -> None:
        self._path = journal_path(output)
        self._output = output
        with self._guarded():
            self._db = open_database(self._path)
            with self._transaction():
                self._db.execute("CREATE TABLE IF NOT EXISTS run (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
                for statement in _TABLES:
                    self._db.execute(statement)
            if self._db.execute("PRAGMA quick_check").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("quick_check failed")
            self._check_settings(settings, replacing)

    def _guarded(self) -> contextlib.AbstractContextManager[None]:
        return guarded(self._path)

    def _transaction(self) -> contextlib.AbstractContextManager[None]:
        return transaction(self._db)

    def _check_settings(self, settings: dict[str, Any], replacing: bool) -> None:
        stored = dict(self._db.execute("SELECT name, value FROM run"))
        refuse_later_journal(self._path, stored.get("journal_format"))
        wanted = {"journal_format": _FORMAT} | {name: json.dumps(value) for name, value in settings.items()}
        if not stored:
            if self._output.exists() and not replacing:
                self.close()
                self._path.unlink()
                raise OutputError(
                    f"{self._output} exists, but not its journal, so what it holds cannot be known",
                    "choose another --out, or --overwrite",
                )
            with self._transaction():
                self._db.executemany("INSERT INTO run VALUES (?, ?)", wanted.items())
            return
        # The weights come first, so that they are named when only the first differences are.
        if differences := describe_differences(stored, wanted):
            raise OutputError(
                f"{self._output} was made with other weights or settings: {differences}",
                "choose another --out, or --overwrite to score everything again",
            )

    def finished(self, recording: Recording, file_state: os.stat_result) -> RecordingOutcome | None:
        """A recording's outcome, unless it failed or its file has changed since.

        Args:
            file_state: size and modification time of the file now.
        """
        with self._guarded():
            stored = self._db.execute(
                "SELECT outcome FROM finished WHERE recording = ? AND size = ? AND mtime_ns = ?",
                (recording.key, file_state.st_size, file_state.st_mtime_ns),
            ).fetchone()
            if stored is None:
                return None
            outcome = self._read(stored[0])
            with self._transaction():
                self._forget_failure(recording)
        return outcome

    def _forget_failure(self, recording: Recording) -> None:
        self._db.execute("DELETE FROM failed WHERE recording = ?", (recording.key,))
        self._db.execute("DELETE FROM file WHERE recording = ? AND failed", (recording.key,))

    def latest(self, recording: Recording) -> RecordingOutcome | None:
        """A recording's most recent outcome in this run or an earlier one; None where there is none."""
        with self._guarded():
            for table in ("failed", "finished"):
                query = f"SELECT outcome FROM {table} WHERE recording = ?"
                if stored := self._db.execute(query, (recording.key,)).fetchone():
                    return self._read(stored[0])
        return None

    def stored(self, recordings: Iterable[Recording]) -> Iterator[StoredOutcome]:
        """What `latest` and `file_facts` give, for one recording after the other, by one query for several."""
        remaining = iter(recordings)
        while batch := list(itertools.islice(remaining, _READ_AT_ONCE)):
            query = (
                f"WITH wanted (key) AS (VALUES {', '.join(['(?)'] * len(batch))}) "
                "SELECT key, COALESCE(failed.outcome, finished.outcome), file.size, file.mtime_ns, file.sha256 "
                "FROM wanted LEFT JOIN failed ON failed.recording = key "
                "LEFT JOIN finished ON finished.recording = key AND failed.recording IS NULL "
                "LEFT JOIN file ON file.recording = key AND file.failed = (failed.recording IS NOT NULL)"
            )
            with self._guarded():
                rows = self._db.execute(query, [recording.key for recording in batch]).fetchall()
            rows_by_key = {key: (text, facts) for key, text, *facts in rows}
            for recording in batch:
                text, facts = rows_by_key[recording.key]
                outcome = None if text is None else self._read(text)
                yield StoredOutcome(recording, outcome, None if facts[0] is None else FileFacts(*facts))

    def _read(self, text: str) -> RecordingOutcome:
        try:
            return _OUTCOME.validate_json(text)
        except ValueError as error:
            raise damaged(self._path, f"an entry cannot be read: {type(error).__name__}") from None

    def note(
        self,
        recording: Recording,
        file_state: os.stat_result | None,
        outcome: RecordingOutcome,
        sha256: str = "",
    ) -> None:
        """Store one recording's outcome; it is on disk when this returns.

        Args:
            file_state: size and time of the file before it was read; None where there is no file, which only a failed
                recording may have.
            sha256: digest of the file; empty where it was not computed.
        """
        text = _OUTCOME.dump_json(outcome).decode()
        with self._guarded(), self._transaction():
            self._forget_failure(recording)
            self._db.execute("UPDATE input SET retry = 0 WHERE recording = ?", (recording.key,))
            has_failed = outcome.status is Status.FAILED
            if file_state is not None:
                self._db.execute(
                    "INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?, ?)",
                    (recording.key, has_failed, file_state.st_size, file_state.st_mtime_ns, sha256),
                )
            if has_failed:
                self._db.execute("INSERT INTO failed VALUES (?, ?)", (recording.key, text))
                return
            assert file_state is not None
            self._db.execute(
                "INSERT OR REPLACE INTO finished VALUES (?, ?, ?, ?)",
                (recording.key, file_state.st_size, file_state.st_mtime_ns, text),
            )
            self._db.execute(
                "INSERT OR REPLACE INTO tally VALUES (?, ?, ?, ?, ?, ?)", _tally(recording, file_state, outcome)
            )

    def begin_run(self, recordings: Sequence[Recording], facts: Mapping[str, object], *, with_paths: bool) -> None:
        """Store what the run that begins is asked to do, in place of what the run before it was.

        Args:
            recordings: its inputs.
            facts: JSON values, for `avpenet status`.
            with_paths: store the recordings' paths, which pseudonymised names forbid.
        """
        with self._guarded(), self._transaction():
            self._begin_run(recordings, facts, with_paths)

    def _begin_run(self, recordings: Sequence[Recording], facts: Mapping[str, object], with_paths: bool) -> None:
        self._db.execute("DELETE FROM latest_run")
        self._db.executemany(
            "INSERT INTO latest_run VALUES (?, ?)", [(name, json.dumps(value)) for name, value in facts.items()]
        )
        self._db.execute("DELETE FROM input")
        self._db.executemany(
            "INSERT INTO input VALUES (?, ?, ?, ?, EXISTS (SELECT 1 FROM failed WHERE recording = ?))",
            [
                (number, item.key, item.name, os.fsencode(item.path) if with_paths else None, item.key)
                for number, item in enumerate(recordings)
            ],
        )

    def merge(
        self,
        recordings: Sequence[Recording],
        facts: Mapping[str, object],
        parts: Iterable[JournalPart],
        *,
        with_paths: bool,
        prune: bool,
    ) -> None:
        """Take over what other journals hold, all of it or nothing, and begin a run over all recordings.

        Args:
            recordings, facts, with_paths: as of `begin_run`.
            parts: what to take over; consumed one by one, and nothing is changed where that raises.
            prune: accept that recordings whose segments are in the journal have failed since.

        Raises:
            OutputError: such recordings, without `prune`; the journal holds some of later files than the parts do.
        """
        names = {recording.key: recording.name for recording in recordings}
        newer: list[str] = []
        with self._guarded(), self._transaction():
            modified: dict[str, int] = dict(self._db.execute("SELECT recording, mtime_ns FROM finished"))
            for part in parts:
                self._take(part, modified, newer)
            if newer:
                raise OutputError(
                    f"{self._output} holds {plural(len(newer), 'recording')} of later files than the shards scored "
                    f"(such as {names.get(newer[0], newer[0])}); it is unchanged",
                    f"score these shards again, or move {self._output.name} and what lies beside it away",
                )
            if not prune:
                failed = self.held_but_failed()
                refuse_dropping(self._output, [], [item.name for item in recordings if item.key in failed])
            self._begin_run(recordings, facts, with_paths)
            self._db.execute("UPDATE input SET retry = 0")

    def _take(self, part: JournalPart, modified: Mapping[str, int], newer: list[str]) -> None:
        """Take over one part; `newer` gets what the journal held of a file that was `modified` later, ns."""

        def finished() -> Iterator[tuple[str, int, int, str]]:
            for row in part.finished:
                if row[0] in part.keys:
                    if modified.get(row[0], row[2]) > row[2]:
                        newer.append(row[0])
                    yield row

        keys = [(key,) for key in part.keys]
        self._db.executemany("DELETE FROM failed WHERE recording = ?", keys)
        self._db.executemany("DELETE FROM file WHERE recording = ? AND failed", keys)
        # What an earlier merge took over already is not written again.
        self._db.executemany(
            "INSERT INTO finished VALUES (?, ?, ?, ?) ON CONFLICT (recording) DO UPDATE SET size = excluded.size, "
            "mtime_ns = excluded.mtime_ns, outcome = excluded.outcome WHERE size <> excluded.size "
            "OR mtime_ns <> excluded.mtime_ns OR outcome <> excluded.outcome",
            finished(),
        )
        self._db.executemany("INSERT INTO failed VALUES (?, ?)", (row for row in part.failed if row[0] in part.keys))
        self._db.executemany(
            "INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?, ?)", (row for row in part.files if row[0] in part.keys)
        )
        self._db.executemany(
            "INSERT OR REPLACE INTO tally VALUES (?, ?, ?, ?, ?, ?)",
            (row for row in part.tallies if row[0] in part.keys),
        )

    def end_run(self, finished: str) -> None:
        """Store when the run ended well; its table and manifest are in place.

        Args:
            finished: ISO 8601 with offset.
        """
        with self._guarded():
            self._db.execute("INSERT OR REPLACE INTO latest_run VALUES ('finished', ?)", (json.dumps(finished),))

    def names(self) -> dict[str, str]:
        """Names of the latest run's recordings by their keys; empty where none has begun."""
        with self._guarded():
            return dict(self._db.execute("SELECT recording, name FROM input"))

    def file_facts(self, recording: Recording) -> FileFacts | None:
        """The file behind the outcome that `latest` gives; None where that recording had none."""
        query = (
            "SELECT size, mtime_ns, sha256 FROM file WHERE recording = ?1 "
            "AND failed = EXISTS (SELECT 1 FROM failed WHERE recording = ?1)"
        )
        with self._guarded():
            row = self._db.execute(query, (recording.key,)).fetchone()
        return FileFacts(*row) if row else None

    def held(self) -> frozenset[str]:
        """Keys of the recordings whose segments are in the journal."""
        with self._guarded():
            return frozenset(key for (key,) in self._db.execute("SELECT recording FROM finished"))

    def held_but_failed(self) -> frozenset[str]:
        """Keys of the recordings that an earlier run finished and that failed when they were last read."""
        with self._guarded():
            query = "SELECT recording FROM finished JOIN failed USING (recording)"
            return frozenset(key for (key,) in self._db.execute(query))

    def prune(self, recordings: Sequence[Recording]) -> int:
        """Forget all recordings but these, and what was known of these before they failed.

        Returns:
            Number of finished recordings that were dropped.
        """
        with self._guarded(), self._transaction():
            self._db.execute("CREATE TEMP TABLE wanted (recording TEXT PRIMARY KEY)")
            self._db.executemany("INSERT INTO wanted VALUES (?)", [(recording.key,) for recording in recordings])
            dropped = self._db.execute(
                "DELETE FROM finished WHERE recording NOT IN (SELECT recording FROM wanted) "
                "OR recording IN (SELECT recording FROM failed)"
            ).rowcount
            self._db.execute("DELETE FROM tally WHERE recording NOT IN (SELECT recording FROM finished)")
            self._db.execute("DELETE FROM failed WHERE recording NOT IN (SELECT recording FROM wanted)")
            self._db.execute(
                "DELETE FROM file WHERE CASE WHEN file.failed "
                "THEN NOT EXISTS (SELECT 1 FROM failed WHERE failed.recording = file.recording) "
                "ELSE NOT EXISTS (SELECT 1 FROM finished WHERE finished.recording = file.recording) END"
            )
            self._db.execute("DROP TABLE wanted")
        return dropped

    def close(self) -> None:
        """Close the database."""
        self._db.close()
