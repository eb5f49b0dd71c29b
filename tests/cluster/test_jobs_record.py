"""The record of submitted jobs: read as it was written, refused where it cannot be relied on."""

from __future__ import annotations

from pathlib import Path

import pytest

from avpenet_cli.cluster.jobs_record import JOBS_VERSION, JobsRecord, jobs_record_path, read_jobs, write_jobs
from avpenet_cli.errors import OutputError

_RECORD = JobsRecord(JOBS_VERSION, "slurm", "2026-10-02T06:00:00+02:00", 3, "4711", "4712")


def test_record_is_read_as_written_and_refused_where_it_is_damaged(tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    assert read_jobs(out) is None
    path = jobs_record_path(out)
    path.parent.mkdir()
    write_jobs(out, _RECORD)
    assert read_jobs(out) == _RECORD
    written = path.read_text()
    for damaged in ("", written[:-20], written.replace('"jobs_version": 1', '"jobs_version": 2')):
        assert damaged != written
        path.write_text(damaged)
        with pytest.raises(OutputError, match=r"jobs\.json is damaged, or of another version"):
            read_jobs(out)
