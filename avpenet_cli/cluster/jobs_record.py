"""Which jobs were submitted for an output: `scores.shards/jobs.json`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from avpenet_cli.errors import OutputError
from avpenet_cli.shards.shard import shards_folder
from avpenet_cli.storage import write_json

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
        OutputError: the record is damaged, cannot be read, or is of a newer version.
    """
    path = jobs_record_path(out)
    try:
        record = _RECORD.validate_json(path.read_bytes())
        if record.jobs_version != JOBS_VERSION:
            raise ValueError
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error.strerror}", "check its permissions") from None
    except ValueError:
        raise OutputError(
            f"{path} is damaged, or of another version of avpenet", "remove it; jobs that still run are in squeue"
        ) from None
    return record


def write_jobs(out: Path, record: JobsRecord) -> None:
    """Write the record, readable by its owner only; raises as `atomic_write`."""
    write_json(jobs_record_path(out), asdict(record))
