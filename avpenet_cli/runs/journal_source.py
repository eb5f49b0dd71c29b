"""Another output's journal, to copy from: as it was at one moment, and never changed."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from avpenet_cli.runs.database import guarded, opened_to_read, refuse_later_journal
from avpenet_cli.runs.journal import journal_path
from avpenet_cli.textfiles import parse_json


@dataclass(frozen=True)
class SourceInput:
    """An input of the run that wrote the journal last.

    Attributes:
        name: its name or pseudonym.
        path: absolute; None under pseudonyms.
        waits: it failed in an earlier run, and that run has not come to it yet.
    """

    name: str
    path: Path | None
    waits: bool


class JournalSource:
    """One snapshot of an output's journal; from `opened_source`.

    Attributes:
        settings: flat, as JSON, of the runs that share the journal.
        run: facts of the latest run; `finished` is among them where it ended well.
    """

    def __init__(self, path: Path, database: sqlite3.Connection) -> None:
        self._path, self._db = path, database
        with guarded(path):
            database.execute("BEGIN")
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
            self._has_begun = {"run", "finished", "failed", "file", "tally", "latest_run", "input"} <= tables
            self.settings: dict[str, str] = dict(self._begun_rows("SELECT name, value FROM run"))
            refuse_later_journal(path, self.settings.pop("journal_format", None))
            try:
                self.run: dict[str, Any] = {
                    name: parse_json(value) for name, value in self._begun_rows("SELECT name, value FROM latest_run")
                }
            except ValueError:
                raise sqlite3.DatabaseError("an entry cannot be read") from None

    @cached_property
    def inputs(self) -> dict[str, SourceInput]:
        """Inputs of the latest run by their keys, in order."""
        return {
            key: SourceInput(name, None if stored is None else Path(os.fsdecode(stored)), bool(retry))
            for key, name, stored, retry in self._begun_rows(
                "SELECT recording, name, path, retry FROM input ORDER BY position"
            )
        }

    @cached_property
    def finished(self) -> frozenset[str]:
        """Keys of the recordings with segments."""
        return frozenset(key for (key,) in self._begun_rows("SELECT recording FROM finished"))

    @cached_property
    def failed(self) -> frozenset[str]:
        """Keys of the recordings that failed when they were last read."""
        return frozenset(key for (key,) in self._begun_rows("SELECT recording FROM failed"))

    def check_intact(self) -> None:
        """Read all of it.

        Raises:
            OutputError: it is damaged.
        """
        with guarded(self._path):
            if self._db.execute("PRAGMA quick_check").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("quick_check failed")

    def finished_rows(self) -> Iterator[tuple[str, int, int, str]]:
        """Key, size and time of the file, outcome as JSON, of every finished recording."""
        yield from self._rows("SELECT recording, size, mtime_ns, outcome FROM finished")

    def failed_rows(self) -> Iterator[tuple[str, str]]:
        """Key and outcome as JSON of every recording that failed when it was last read."""
        yield from self._rows("SELECT recording, outcome FROM failed")

    def file_rows(self) -> Iterator[tuple[str, int, int, int, str]]:
        """Key, whether it is that of a failed recording, size, time and digest of every file."""
        yield from self._rows("SELECT recording, failed, size, mtime_ns, sha256 FROM file")

    def tally_rows(self) -> Iterator[tuple[str, int, int, str, int, str]]:
        """Key, size and time of the file, status, scored segments, and unscorable ones by reason as JSON."""
        yield from self._rows("SELECT recording, size, mtime_ns, status, scored, unscorable FROM tally")

    def _begun_rows(self, query: str) -> Iterator[tuple[Any, ...]]:
        """Rows of a journal that a run has begun, else none."""
        return self._rows(query) if self._has_begun else iter(())

    def _rows(self, query: str) -> Iterator[tuple[Any, ...]]:
        with guarded(self._path):
            yield from self._db.execute(query)


@contextlib.contextmanager
def opened_source(output: Path) -> Iterator[JournalSource]:
    """The journal of an output, for as long as the block lasts.

    A run that writes goes on; where a killed run left a transaction half done, SQLite rolls that back first.

    Raises:
        OutputError: it is damaged or cannot be read.
        OutputLockedError: another program holds it open.
    """
    path = journal_path(output)
    with contextlib.ExitStack() as stack:
        with guarded(path):
            database = stack.enter_context(opened_to_read(path))
        yield JournalSource(path, database)
