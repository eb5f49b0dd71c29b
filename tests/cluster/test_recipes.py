"""The recipes in examples/cluster: what is killed resumes, and the table is that of one run over all recordings."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, Answer, ClipMaker
from tests.support.hosts import need

RECIPES = REPOSITORY / "examples" / "cluster"
TABLES = ("scores.csv", "scores.recordings.csv")
PATIENCE_S = 500.0

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def recordings(clips: ClipMaker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive") / "recordings"
    (folder / "ward 2").mkdir(parents=True)
    shutil.copy(clips.brief(), folder / "a.mp4")
    shutil.copy(clips.brief("moan", 1.8), folder / "b.mp4")
    shutil.copy(clips.brief("moan", 2.0), folder / "ward 2" / "c.mp4")
    (folder / "d.mp4").write_bytes(b"no recording")
    return folder


@pytest.fixture(scope="module")
def whole(recordings: Path, avpenet_here: Callable[..., Answer], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an unsharded run."""
    folder = tmp_path_factory.mktemp("whole")
    options = ["--recursive", "--weights", "untrained", "--out", folder / "scores.csv", "-q"]
    assert avpenet_here("score", recordings, *options).code == 1, "one recording cannot be read"
    return folder


@pytest.fixture
def environment() -> dict[str, str]:
    """With this `avpenet` on the PATH."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def assert_same_tables(folder: Path, whole: Path) -> None:
    for name in TABLES:
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name


def test_snakemake_that_is_killed_resumes_and_merges(
    recordings: Path, whole: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    need("snakemake")
    config = [f"recordings={recordings}", "shards=2", "options=--weights untrained --device cpu --recursive"]
    command = ["snakemake", "--snakefile", str(RECIPES / "Snakefile"), "--directory", str(tmp_path), "--cores", "2"]

    def start(*more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*command, *more, "--config", *config],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(*more: str) -> str:
        with start(*more) as process:
            output, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, output
        return output

    with start() as process:
        wait_for(tmp_path / "scores.shards" / "1-of-2.csv.journal", process)
        os.killpg(process.pid, signal.SIGKILL)
    assert not (tmp_path / "scores.csv").exists()
    run("--unlock")
    run()
    assert_same_tables(tmp_path, whole)
    assert "Nothing to be done" in run()
    names = [
        name
        for name in (b"a.mp4", b"ward 2")
        for path in (tmp_path / ".snakemake").rglob("*")
        if path.is_file() and name in path.read_bytes()
    ]
    assert names == []


def jobs_of_crontab() -> dict[str, list[str]]:
    """The command lines of each server, without their times."""
    text = (RECIPES / "crontab").read_text(encoding="utf-8")
    servers: dict[str, list[str]] = {}
    for section in re.split(r"^# --- ", text, flags=re.MULTILINE)[1:]:
        server, *lines = section.splitlines()
        jobs = [line.split(maxsplit=5) for line in lines if line]
        assert all(re.fullmatch(r"[0-9*,/-]+", field) for job in jobs for field in job[:5])
        assert all("%" not in job[5] for job in jobs), "cron takes % for the end of a line"
        servers[server] = [job[5] for job in jobs]
    return servers


def on_server(server: str, job: str, environment: dict[str, str]) -> subprocess.Popen[str]:
    """Start a job as cron does, on a host of this name if this user may rename hosts."""
    command = ["sh", "-c", job]
    if (
        os.geteuid() == 0
        and subprocess.run(["unshare", "--uts", "true"], check=False, capture_output=True).returncode == 0
    ):
        name = server.replace(" ", "")
        command = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec sh -c "$1"', name, job]
    return subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    with process:
        output, _ = process.communicate(timeout=PATIENCE_S)
    return process.returncode, output


def test_three_servers_with_cron_survive_a_loss_and_take_new_recordings(
    recordings: Path, whole: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    share = tmp_path / "share"
    shutil.copytree(recordings, share / "recordings")
    late = share / "recordings" / "ward 2"
    late.rename(tmp_path / "late")
    environment |= {"PAIN": str(share), "AVPENET": "avpenet", "WEIGHTS": "untrained"}
    servers = jobs_of_crontab()
    assert [len(jobs) for jobs in servers.values()] == [2, 1, 1]
    merge = servers["server 1"][1]

    night = {server: on_server(server, jobs[0], environment) for server, jobs in servers.items()}
    wait_for(share / "scores.shards" / "2-of-3.csv.journal", night["server 2"])
    os.killpg(night["server 2"].pid, signal.SIGKILL)
    codes = {server: finish(process)[0] for server, process in night.items()}
    assert codes["server 2"] == -signal.SIGKILL
    assert sorted(codes[server] for server in ("server 1", "server 3")) in ([0, 0], [0, 1])
    code, mail = finish(on_server("server 1", merge, environment))
    assert code == 4
    assert "shard 2 of 3" in mail
    assert not (share / "scores.csv").exists()

    (tmp_path / "late").rename(late)
    night = {server: on_server(server, jobs[0], environment) for server, jobs in servers.items()}
    outputs = {server: finish(process) for server, process in night.items()}
    assert all(code in {0, 1} for code, _ in outputs.values()), outputs
    code, mail = finish(on_server("server 1", merge, environment))
    assert code == 1, "a recording cannot be read"
    assert "1 failed" in mail
    assert_same_tables(share, whole)
