"""Which jobs were submitted for an output: `scores.shards/jobs.json`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from avpenet_cli.shards.shard import shards_folder
from avpenet_cli.storage import read_document, write_json

JOBS_VERSION = 1


@dataclass(frozen=True)
class JobsRecord:
    """The jobs that were submitted last.

    Attributes:
        jobs_version: version of this format.
        engine: the batch system.
        submitted: when, ISO 8601 with offset.
        shards: number of shards; task `i` of the array, from 0, is shard `i` + 1.
        array_job: id of the array job whose tasks are the shards.
        merge_job: id of the job that merges them.
    """

    jobs_version: int
    engine: Literal["slurm"]
    submitted: str
    shards: int
    array_job: str
    merge_job: str


_RECORD = TypeAdapter(JobsRecord)


def jobs_record_path(out: Path) -> Path:
    """Where the record of an output's jobs lies."""
    return shards_folder(out) / "jobs.json"


def read_jobs(out: Path) -> JobsRecord | None:
    """The jobs that were submitted last for an output; None where there are none.

    Raises:
        OutputError: the record is damaged, cannot be read, or is of another version.
    """
    remedy = "remove it; jobs that still run are in squeue"
    return read_document(jobs_record_path(out), _RECORD, lambda record: record.jobs_version == JOBS_VERSION, remedy)


def write_jobs(out: Path, record: JobsRecord) -> None:
    """Write the record, readable by its owner only; raises as `atomic_write`."""
    write_json(jobs_record_path(out), asdict(record))
