"""Shards on a real SLURM: a node is lost in mid-run, a job is preempted, one fails, one meets its time limit."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from avpenet_cli.runs.lock import output_lock
from avpenet_cli.shards.shard import Shard, shard_output, shards_folder
from tests.conftest import Answer, ClipMaker
from tests.support.slurm_cluster import SlurmCluster, need_slurm

Avpenet = Callable[..., Answer]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmCluster]:
    need_slurm()
    # A short path, because a socket's may have no more than 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="slurm"))
    cluster = SlurmCluster(folder)
    try:
        cluster.start()
        for name, value in cluster.environment.items():
            monkeypatch.setenv(name, value)
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)  # processes that were killed may be ending


@pytest.fixture
def archive(clips: ClipMaker, tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    folder.mkdir()
    for number, seconds in enumerate([2.0, 1.9, 1.8, 1.7, 1.6, 1.5]):
        shutil.copy(clips.face(seconds, "160x120", 10.0), folder / f"{number}.mp4")
    (folder / "broken.mp4").write_bytes(b"no recording at all")
    return folder


@pytest.mark.slow
def test_shards_that_are_lost_preempted_and_refused_end_with_the_table_of_one_run(
    archive: Path, cluster: SlurmCluster, tmp_path: Path, avpenet_here: Avpenet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    out, expected = tmp_path / "sharded" / "scores.csv", tmp_path / "one run" / "scores.csv"
    out.parent.mkdir()
    expected.parent.mkdir()
    options = ["--weights", "untrained", "--csv-bom"]
    submit = ["submit", "--engine", "slurm", "--array", "3", "--time", "30", "--cpus", "1", "--mem", "500M"]
    command = [*submit, "--", "score", str(archive), "--out", str(out), *options]
    refused = shard_output(out, Shard(3, 3))
    shards_folder(out).mkdir(mode=0o700)

    with output_lock(refused):
        answer = avpenet_here(*command)
        assert answer.code == 0, answer.err
        jobs = json.loads((shards_folder(out) / "jobs.json").read_text())
        array, merge = jobs["array_job"], jobs["merge_job"]
        assert f"scancel {array} {merge}" in answer.out
        again = avpenet_here(*command)
        assert again.code == 75
        assert f"scancel {array} {merge}" in again.err

        strikes: dict[int, Callable[[], object]] = {
            1: lambda: cluster.run("scancel", "--signal=USR2", f"{array}_1"),  # as SLURM does before the time limit
            0: lambda: cluster.lose_node(cluster.jobs()[f"{array}_0"]["BatchHost"]),
        }

        def are_struck() -> bool:
            # Each as soon as it scores: on a busy machine one may have finished before the other begins.
            for task in [task for task in strikes if _is_scoring(out, array, task)]:
                strikes.pop(task)()
            return not strikes

        cluster.wait_for(are_struck, "both shards to score")
        assert avpenet_here("score", archive, "--out", expected, *options).code == 1
        _wait_for_end(cluster, merge)
    ended = cluster.jobs()
    assert [ended[f"{array}_{task}"]["JobState"] for task in range(3)] == ["COMPLETED", "COMPLETED", "FAILED"]
    assert [ended[f"{array}_{task}"]["Restarts"] for task in range(3)] == ["1", "1", "0"]
    assert ended[f"{array}_2"]["ExitCode"] == "75:0"
    assert ended[merge]["JobState"] == "FAILED"
    assert "shard 3 of 3" in _log(out, merge)
    assert not out.exists()
    for task in (0, 1):
        assert "scored by an earlier run" in _log(out, f"{array}_{task}")

    answer = avpenet_here(*command)
    assert answer.code == 0, answer.err
    jobs = json.loads((shards_folder(out) / "jobs.json").read_text())
    array, merge = jobs["array_job"], jobs["merge_job"]
    cluster.wait_for(lambda: _is_scoring(out, array, 2), "the third shard to score")
    cluster.run("scancel", "--signal=TERM", f"{array}_2")  # as preemption with a time of grace begins
    _wait_for_end(cluster, merge)
    ended = cluster.jobs()
    assert [ended[job]["JobState"] for job in (f"{array}_2", merge)] == ["COMPLETED", "COMPLETED"], _log(out, merge)
    assert [ended[f"{array}_{task}"]["Restarts"] for task in range(3)] == ["0", "0", "1"]
    assert "scored by an earlier run" in _log(out, f"{array}_2")

    for table in ("scores.csv", "scores.recordings.csv"):
        assert (out.parent / table).read_bytes() == (expected.parent / table).read_bytes()
    for path in shards_folder(out).rglob("*"):
        assert path.is_symlink() or path.stat().st_mode & 0o077 == 0, path


def _is_scoring(out: Path, array: str, task: int) -> bool:
    """Whether a shard has scored one recording, and is busy with the next."""
    log = _log(out, f"{array}_{task}")
    return ".mp4: " in log and "failed;" not in log


def _log(out: Path, job: str) -> str:
    path = shards_folder(out) / "jobs" / f"{job}_0_log.out"
    return path.read_text() if path.exists() else ""


def _wait_for_end(cluster: SlurmCluster, job: str) -> None:
    def has_ended() -> bool:
        state = cluster.release_requeued()[job]["JobState"]
        return state in {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"}

    # Each look starts a process, and it takes minutes.
    cluster.wait_for(has_ended, f"job {job} to end", poll_s=2.0)
