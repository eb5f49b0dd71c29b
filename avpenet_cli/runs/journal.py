"""The journal beside an output: each finished recording, safe on disk the moment it is finished.

A run that is killed goes on from here; a run that ended well is extended from here. SQLite keeps it whole through
kills and power cuts.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from avpenet_cli.errors import AvpenetError, OutputError, OutputLockedError
from avpenet_cli.inputs import Recording
from avpenet_cli.records import RecordingOutcome, Status
from avpenet_cli.storage import storage_fault

_FORMAT = "1"
_PATIENCE_S = 30.0
"""Someone may be looking into the journal with a database browser."""
_OUTCOME = TypeAdapter(RecordingOutcome)


def journal_path(output: Path) -> Path:
    """`scores.csv.journal` for `scores.csv`."""
    return output.with_name(output.name + ".journal")


class Journal:
    """Finished recordings of one output.

    Args:
        output: the score table it belongs to.
        settings: flat; what two runs must agree on to share a journal.
        replacing: a table without a journal is in order; this run is to replace it.

    Raises:
        OutputError: the journal is damaged, or belongs to a run with other weights or settings.
    """

    def __init__(self, output: Path, settings: dict[str, Any], *, replacing: bool = False) -> None:
        self._path = journal_path(output)
        self._output = output
        with self._guarded():
            # Made here with its final mode: SQLite would use the umask's.
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
            self._db = sqlite3.connect(self._path, timeout=_PATIENCE_S, isolation_level=None)
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA secure_delete = ON")
            with self._transaction():
                self._db.execute("CREATE TABLE IF NOT EXISTS run (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
                self._db.execute(
                    "CREATE TABLE IF NOT EXISTS finished (recording TEXT PRIMARY KEY, size INTEGER NOT NULL, "
                    "mtime_ns INTEGER NOT NULL, outcome TEXT NOT NULL)"
                )
                # Apart, so that a night on which the archive cannot be reached does not cost what was scored before.
                self._db.execute(
                    "CREATE TABLE IF NOT EXISTS failed (recording TEXT PRIMARY KEY, outcome TEXT NOT NULL)"
                )
            if self._db.execute("PRAGMA quick_check").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("quick_check failed")
            self._agree(settings, replacing)

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """SQLite's and the system's errors, as errors that say what to do."""
        try:
            yield
        except sqlite3.Error as error:
            if "full" in str(error) or "disk I/O" in str(error):
                raise storage_fault(self._path, OSError(28, str(error))) from None
            if "locked" in str(error):
                raise OutputLockedError(
                    f"another program holds the journal {self._path} open", "close it, then try again"
                ) from None
            if "unable to open" in str(error) or "readonly" in str(error):
                raise storage_fault(self._path, OSError(13, str(error))) from None
            raise self._damaged(str(error)) from None
        except OSError as error:
            raise storage_fault(self._path, error) from None

    def _damaged(self, detail: str) -> AvpenetError:
        return OutputError(
            f"the journal {self._path} is damaged ({detail})", "--overwrite scores everything again and makes a new one"
        )

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._db.in_transaction:  # SQLite has rolled back by itself after a full disk
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _agree(self, settings: dict[str, Any], replacing: bool) -> None:
        stored = dict(self._db.execute("SELECT name, value FROM run"))
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
        # The weights come first: they must not be among those that are only counted.
        differing = [name for name in wanted | stored if stored.get(name) != wanted.get(name)]
        if differing:
            shown = "; ".join(
                f"{name} was {stored.get(name, 'unset')}, now {wanted.get(name, 'unset')}" for name in differing[:4]
            )
            more = f" and {len(differing) - 4} more" if len(differing) > 4 else ""
            raise OutputError(
                f"{self._output} was made with other weights or settings: {shown}{more}",
                "choose another --out, or --overwrite to score everything again",
            )

    def finished(self, recording: Recording, facts: os.stat_result) -> RecordingOutcome | None:
        """What is known of a recording, unless it failed then or has changed on disk since."""
        with self._guarded():
            found = self._db.execute(
                "SELECT outcome FROM finished WHERE recording = ? AND size = ? AND mtime_ns = ?",
                (recording.key, facts.st_size, facts.st_mtime_ns),
            ).fetchone()
            if found is None:
                return None
            outcome = self._read(found[0])
            self._db.execute("DELETE FROM failed WHERE recording = ?", (recording.key,))
        return outcome

    def latest(self, recording: Recording) -> RecordingOutcome | None:
        """What this run or an earlier one last noted, whatever it was."""
        with self._guarded():
            for table in ("failed", "finished"):
                query = f"SELECT outcome FROM {table} WHERE recording = ?"
                if found := self._db.execute(query, (recording.key,)).fetchone():
                    return self._read(found[0])
        return None

    def _read(self, text: str) -> RecordingOutcome:
        try:
            return _OUTCOME.validate_json(text)
        except ValueError as error:
            raise self._damaged(f"an entry cannot be read: {type(error).__name__}") from None

    def note(self, recording: Recording, facts: os.stat_result | None, outcome: RecordingOutcome) -> None:
        """Store one recording's outcome; on disk when this returns.

        Args:
            facts: of the file before it was read; None where there was none, which only a failure may have.
        """
        text = _OUTCOME.dump_json(outcome).decode()
        with self._guarded(), self._transaction():
            self._db.execute("DELETE FROM failed WHERE recording = ?", (recording.key,))
            if outcome.status is Status.FAILED:
                self._db.execute("INSERT INTO failed VALUES (?, ?)", (recording.key, text))
                return
            assert facts is not None
            self._db.execute(
                "INSERT OR REPLACE INTO finished VALUES (?, ?, ?, ?)",
                (recording.key, facts.st_size, facts.st_mtime_ns, text),
            )

    def others(self, recordings: tuple[Recording, ...]) -> int:
        """How many recordings the journal holds that are not among these."""
        with self._guarded():
            keys = {key for (key,) in self._db.execute("SELECT recording FROM finished")}
        return len(keys - {recording.key for recording in recordings})

    def close(self) -> None:
        """Release the file."""
        self._db.close()
