"""What the shards of a store leave for its merge: which recordings they prepared, and which failed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from avpenet_cli.dataset.prepare import PreparedRecording, PrepareSettings
from avpenet_cli.errors import OutputError, OutputLockedError, RecordingError
from avpenet_cli.runs.lock import LockHolder, lock_holder
from avpenet_cli.settings import from_dict
from avpenet_cli.shards.shard import Shard, shard_of_output, shard_output, shards_folder
from avpenet_cli.storage import read_document

SHARD_RECORD_VERSION = 1


@dataclass(frozen=True)
class ShardRecording:
    """What became of one recording.

    Attributes:
        key: as in the plan.
        file: name of its segment file; empty if it failed.
        reason, message, remedy: of the failure; empty without one.
    """

    key: str
    file: str = ""
    reason: str = ""
    message: str = ""
    remedy: str = ""

    @classmethod
    def of(cls, item: PreparedRecording) -> ShardRecording:
        """From the outcome of a run."""
        if item.failure is not None or item.file is None:
            failure = item.failure or RecordingError("internal_error", "could not be prepared")
            return cls(item.recording.key, "", failure.code, failure.message, failure.remedy)
        return cls(item.recording.key, item.file.name)


@dataclass(frozen=True)
class ShardRecord:
    """`store.shards/03-of-16.json`: what the latest run of a shard was asked for, and what became of its recordings.

    Attributes:
        record_version: version of this format.
        number, count: of the shard.
        finished: whether that run came to its end.
        settings: of the store, in the shape of `--config`.
        ratings, subjects: absolute paths of the two tables.
        notice: what weights trained on these recordings must state.
        recordings: in the order of the inputs; none before the end.
    """

    record_version: int
    number: int
    count: int
    finished: bool
    settings: dict[str, Any]
    ratings: str
    subjects: str
    notice: str = ""
    recordings: tuple[ShardRecording, ...] = ()

    def prepare_settings(self, path: Path) -> PrepareSettings:
        """The settings; `path` of the record is for the message.

        Raises:
            SettingsError: this version of the program has no such settings.
        """
        return from_dict(PrepareSettings, self.settings, str(path))


_RECORD = TypeAdapter(ShardRecord)


def store_path(out: Path) -> Path:
    """The store's folder with a name, after which the folder of its shards is named: `.` has none."""
    return Path(os.path.abspath(out)) if out.name in {"", ".."} else out  # noqa: PTH100  (keeps links)


def shard_record_path(store: Path, shard: Shard) -> Path:
    """`store.shards/03-of-16.json`."""
    output = shard_output(store, shard)
    return output.with_name(f"{output.name}.json")


def read_shard_record(path: Path) -> ShardRecord | None:
    """The record of a shard; None where there is none.

    Raises:
        OutputError: it is damaged, cannot be read, or is of another version.
    """
    remedy = "remove it, and prepare this shard again"
    return read_document(path, _RECORD, lambda record: record.record_version == SHARD_RECORD_VERSION, remedy)


def running_shards(store: Path) -> dict[Shard, LockHolder]:
    """The shards of a store that are being prepared, in order, each with the run that does it.

    Raises:
        OutputError: the folder of the shards, or a lock in it, cannot be read.
    """
    folder = shards_folder(store)
    try:
        names = [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise OutputError(f"{folder} cannot be read: {error.strerror}", "check its permissions") from None
    shards = sorted({shard for shard in map(shard_of_output, names) if shard is not None})
    holders = {shard: lock_holder(shard_output(store, shard)) for shard in shards}
    return {shard: holder for shard, holder in holders.items() if holder is not None}


def refuse_running_shards(out: Path) -> None:
    """Raise where a shard of the store is being prepared; the caller has the store's own lock.

    Raises:
        OutputLockedError: one is.
        OutputError: as `running_shards`.
    """
    for shard, holder in running_shards(store_path(out)).items():
        raise OutputLockedError(f"shard {shard} of {out} is being prepared by {holder}", "wait for it")
