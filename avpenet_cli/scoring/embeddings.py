"""The embeddings of scored segments: kept recording by recording beside their file, which is written at a run's end.

An embedding is what the network makes of a segment just before its output head. It may identify a person, and is
patient data as the recordings are.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from avpenet_cli.errors import OutputError, SettingsError
from avpenet_cli.inputs import Recording
from avpenet_cli.records import RecordingOutcome, SegmentScore, Status
from avpenet_cli.runs.database import connect_to_read, guarded, open_database, opened_to_read, transaction
from avpenet_cli.runs.journal import journal_path
from avpenet_cli.runs.lock import lock_holder
from avpenet_cli.runs.manifest_entries import TableEntry
from avpenet_cli.settings import describe_differences
from avpenet_cli.storage import atomic_write
from avpenet_cli.tables import EMBEDDINGS_WEIGHTS_KEY
from avpenet_cli.textfiles import parse_json

if TYPE_CHECKING:
    import pyarrow as pa

_FORMAT = "1"
_PART_SEGMENTS = 2048
"""Segments in a row of the store and in a row group of the file, which bounds memory: 4 MiB of 512 values each."""
_OWNER = "embeddings of"
_OTHER_NAME = "choose another --embeddings, or move it"
_DTYPE = np.dtype("<f4")

COLUMNS = ("recording", "segment", "start_s", "embedding")
"""Columns of the file: text, int64, float64 s, and a list of float32, equally long in every row."""

_TABLES = (
    "CREATE TABLE IF NOT EXISTS run (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    # `scores` ties the embeddings to the scores of the same pass.
    "CREATE TABLE IF NOT EXISTS held (recording TEXT PRIMARY KEY, scores TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS part (recording TEXT NOT NULL, number INTEGER NOT NULL, width INTEGER NOT NULL, "
    "vectors BLOB NOT NULL, PRIMARY KEY (recording, number))",
)


def check_embeddings_path(path: Path, out: Path, *, replacing: bool = False) -> None:
    """Check that a run may write embeddings to `path` beside its score table `out`.

    Args:
        replacing: the run starts over, so that embeddings without a store may be replaced.

    Raises:
        SettingsError: another suffix or folder, or the name of another file of the run.
        OutputError: there is a file that `avpenet score` did not write.
    """
    if path.suffix != ".parquet":
        raise SettingsError(f"--embeddings {path}: not a Parquet file", "use a name that ends in .parquet")
    if path.parent.resolve() != out.parent.resolve():
        raise SettingsError(
            f"--embeddings {path}: not in the folder of {out.name}, whose manifest certifies it", "put it beside --out"
        )
    if path.name in (out.name, f"{out.stem}.partial.parquet"):
        raise SettingsError(f"--embeddings {path}: a file of scores has that name", "give another name")
    store = journal_path(path)
    owner = _owner(opened_to_read(store, lambda: lock_holder(out) is not None)) if store.exists() else ""
    if owner not in ("", out.name):
        raise OutputError(f"{store} is of another run, or damaged", _OTHER_NAME)
    if not owner and path.exists():
        if not _is_of_embeddings(path):
            raise OutputError(f"{path} exists, and avpenet score did not write it", _OTHER_NAME)
        if not replacing:
            raise OutputError(
                f"{path} exists, but not its journal, so what it holds cannot be known",
                "choose another --embeddings, or --overwrite to score everything again",
            )


def _is_of_embeddings(path: Path) -> bool:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowException):
        return False
    return tuple(schema.names) == COLUMNS and EMBEDDINGS_WEIGHTS_KEY in (schema.metadata or {})


def _owner(store: contextlib.AbstractContextManager[sqlite3.Connection]) -> str | None:
    """The score table that a store belongs to; empty where nothing is in it, as after a kill just when it was made;
    None where it is no store."""
    with contextlib.suppress(sqlite3.Error, ValueError), store as database:
        if database.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
            return ""
        row = database.execute("SELECT value FROM run WHERE name = ?", (_OWNER,)).fetchone()
        name = parse_json(row[0]) if row else None
        return name if isinstance(name, str) else None
    return None


def files_of_embeddings(out: Path) -> list[Path]:
    """Files of embeddings of this table that are there."""
    found = []
    for store in sorted(out.parent.glob("*.parquet.journal")):
        # It may be another run's, which may be writing it: it is read as it is or not at all.
        with contextlib.suppress(sqlite3.Error):
            if _owner(contextlib.closing(connect_to_read(store))) == out.name and store.with_suffix("").exists():
                found.append(store.with_suffix(""))
    return found


def count_without_embeddings(path: Path, recordings: Sequence[Recording]) -> int:
    """How many of these recordings the store of `path` does not hold; it is neither made nor changed."""
    held: set[str] = set()
    with contextlib.suppress(sqlite3.Error), contextlib.closing(connect_to_read(journal_path(path))) as database:
        held = {key for (key,) in database.execute("SELECT recording FROM held")}
    return sum(recording.key not in held for recording in recordings)


@contextlib.contextmanager
def opened_store(path: Path | None, out: Path, settings: dict[str, Any]) -> Iterator[EmbeddingStore | None]:
    """An `EmbeddingStore` that is closed afterwards; None without a path."""
    if path is None:
        yield None
        return
    with contextlib.closing(EmbeddingStore(path, out, settings)) as store:
        yield store


class EmbeddingStore:
    """The embeddings of one output's finished recordings, on disk as soon as each is finished.

    A database of its own, `FILE.parquet.journal`: at 2 KiB a segment it would slow down every use of the journal of
    scores.

    Args:
        path: the file of embeddings.
        out: the score table.
        settings: flat; two runs share a store only if these agree.

    Raises:
        OutputError: the store is damaged, or belongs to another output.
    """

    def __init__(self, path: Path, out: Path, settings: dict[str, Any]) -> None:
        self._path = journal_path(path)
        settings = {_OWNER: out.name, **settings}
        with guarded(self._path):
            self._db = open_database(self._path)
            with transaction(self._db):
                for statement in _TABLES:
                    self._db.execute(statement)
                # Together with the tables: a store without its owner would be taken for another run's.
                differences = self._compare_settings(settings)
        if differences:
            self.close()
            raise OutputError(
                f"{path} was made with other weights or settings: {differences}",
                "choose another --embeddings, or --overwrite to score everything again",
            )

    def _compare_settings(self, settings: dict[str, Any]) -> str:
        """How the settings differ from the store's; a new store takes them."""
        stored = dict(self._db.execute("SELECT name, value FROM run"))
        wanted = _stated(settings)
        if stored:
            return describe_differences(stored, wanted)
        self._db.executemany("INSERT INTO run VALUES (?, ?)", wanted.items())
        return ""

    def held(self) -> frozenset[str]:
        """Keys of the recordings whose embeddings are in the store."""
        with guarded(self._path):
            return frozenset(key for (key,) in self._db.execute("SELECT recording FROM held"))

    def holds(self, recording: Recording, outcome: RecordingOutcome) -> bool:
        """Whether the embeddings of these very scores are in the store."""
        with guarded(self._path):
            stored = self._db.execute("SELECT scores FROM held WHERE recording = ?", (recording.key,)).fetchone()
        return stored is not None and stored[0] == _digest_of_scores(outcome)

    def note(self, recording: Recording, outcome: RecordingOutcome, embeddings: npt.NDArray[np.float32]) -> None:
        """Store one recording's embeddings in place of earlier ones; they are on disk when this returns.

        Call it before the outcome goes into the journal of scores: after a kill between the two, the recording is
        scored again.

        Args:
            embeddings: (n, E), of the outcome's scored segments, in their order.
        """
        assert len(embeddings) == len(_scored_segments(outcome))
        key = recording.key
        with guarded(self._path), transaction(self._db):
            self._forget(key)
            for start in range(0, len(embeddings), _PART_SEGMENTS):
                part = np.ascontiguousarray(embeddings[start : start + _PART_SEGMENTS], _DTYPE)
                row = (key, start // _PART_SEGMENTS, part.shape[1], part.tobytes())
                self._db.execute("INSERT INTO part VALUES (?, ?, ?, ?)", row)
            self._db.execute("INSERT INTO held VALUES (?, ?)", (key, _digest_of_scores(outcome)))

    def _forget(self, key: str) -> None:
        self._db.execute("DELETE FROM held WHERE recording = ?", (key,))
        self._db.execute("DELETE FROM part WHERE recording = ?", (key,))

    def take(self, path: Path, owner: str, settings: dict[str, Any], keys: frozenset[str]) -> None:
        """Copy recordings' embeddings from another store, in place of earlier ones.

        Args:
            path: the other file of embeddings, whose store lies beside it.
            owner: name of the score table that it belongs to.
            settings: flat, that both stores must have.
            keys: of the recordings to copy, where the other store holds them.

        Raises:
            OutputError: the other store is damaged, or of another table or other settings.
        """
        other = journal_path(path)
        with guarded(other), opened_to_read(other) as source:
            stored = dict(source.execute("SELECT name, value FROM run"))
            if differences := describe_differences(stored, _stated({_OWNER: owner, **settings})):
                raise OutputError(f"{other} is of another run: {differences}", "score that shard again")
            with guarded(self._path), transaction(self._db):
                for key, scores in source.execute("SELECT recording, scores FROM held"):
                    mine = self._db.execute("SELECT scores FROM held WHERE recording = ?", (key,)).fetchone()
                    if key not in keys or mine == (scores,):
                        continue
                    self._forget(key)
                    query = "SELECT recording, number, width, vectors FROM part WHERE recording = ?"
                    self._db.executemany("INSERT INTO part VALUES (?, ?, ?, ?)", source.execute(query, (key,)))
                    self._db.execute("INSERT INTO held VALUES (?, ?)", (key, scores))

    def parts(self, recording: Recording) -> Iterator[npt.NDArray[np.float32]]:
        """A recording's embeddings in order, (n, E) a part, at most 2048 segments each."""
        with guarded(self._path):
            query = "SELECT width, vectors FROM part WHERE recording = ? ORDER BY number"
            for width, vectors in self._db.execute(query, (recording.key,)):
                yield np.frombuffer(vectors, _DTYPE).reshape(-1, width)

    def prune(self, recordings: Sequence[Recording]) -> None:
        """Forget all recordings but these."""
        dropped = self.held() - {recording.key for recording in recordings}
        with guarded(self._path), transaction(self._db):
            for key in dropped:
                self._forget(key)

    def close(self) -> None:
        """Close the database."""
        self._db.close()


def _stated(settings: Mapping[str, Any]) -> dict[str, str]:
    """Settings as a store keeps them."""
    return {"embeddings_format": _FORMAT} | {name: json.dumps(value) for name, value in settings.items()}


def _scored_segments(outcome: RecordingOutcome) -> list[SegmentScore]:
    return [segment for segment in outcome.segments if segment.status is Status.SCORED]


def _digest_of_scores(outcome: RecordingOutcome) -> str:
    """SHA-256 of starts and scores, hexadecimal."""
    facts = [[segment.segment, segment.start_s, segment.score] for segment in _scored_segments(outcome)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def write_embeddings(
    path: Path,
    store: EmbeddingStore,
    outcomes: Iterable[tuple[Recording, RecordingOutcome | None]],
    weights: str,
) -> TableEntry:
    """Write the file of embeddings: a row for every scored segment, in the order of the score table.

    Args:
        path: appears whole, readable by its owner only.
        store: holds every recording that has scored segments.
        outcomes: of the run's recordings; consumed one by one.
        weights: as the score table names them; in the file's schema metadata under
            `EMBEDDINGS_WEIGHTS_KEY`.

    Returns:
        What the manifest states of it.

    Raises:
        EnvironmentUnavailableError, OutputError: it cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = (pa.string(), pa.int64(), pa.float64(), pa.list_(pa.float32()))
    schema = pa.schema(list(zip(COLUMNS, types, strict=True)), metadata={EMBEDDINGS_WEIGHTS_KEY: weights.encode()})
    rows = 0
    with atomic_write(path) as file:
        # Not for the embeddings, whose values hardly repeat.
        with pq.ParquetWriter(file, schema, use_dictionary=["recording"]) as writer:
            for batch in _whole_batches(_batches(store, outcomes, schema)):
                writer.write_table(batch)
                rows += len(batch)
        file.flush()
        file.seek(0)
        digest = hashlib.file_digest(cast(io.BufferedRandom, file), "sha256").hexdigest()
    return TableEntry(path.name, digest, rows)


def _batches(
    store: EmbeddingStore, outcomes: Iterable[tuple[Recording, RecordingOutcome | None]], schema: pa.Schema
) -> Iterator[pa.Table]:
    """The rows of one part after the other."""
    import pyarrow as pa

    for recording, outcome in outcomes:
        segments = [] if outcome is None else _scored_segments(outcome)
        place = 0
        for part in store.parts(recording) if segments else ():
            some = segments[place : place + len(part)]
            place += len(part)
            offsets = np.arange(len(part) + 1, dtype=np.int32) * part.shape[1]
            columns = [
                pa.array([recording.name] * len(some), pa.string()),
                pa.array([segment.segment for segment in some], pa.int64()),
                pa.array([segment.start_s for segment in some], pa.float64()),
                pa.ListArray.from_arrays(pa.array(offsets), pa.array(part.ravel())),
            ]
            yield pa.Table.from_arrays(columns, schema=schema)
        if place != len(segments):
            raise OutputError(
                f"the embeddings of {recording.name} are incomplete", "--overwrite scores everything again"
            )


def _whole_batches(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Join small tables, so that short recordings do not make a row group each."""
    import pyarrow as pa

    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(map(len, waiting)) >= _PART_SEGMENTS:
            yield pa.concat_tables(waiting)
            waiting.clear()
    if waiting:
        yield pa.concat_tables(waiting)
