"""Killed at twenty moments and started again each time, a run ends with the file of an unbroken one."""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, ClipMaker
from tests.support.processes import ffmpegs_with

KILLS = 20
SEED = 5

# Loads the libraries once and forks for each command: a kill while they are loaded puts nothing at risk, and twenty
# times four seconds would be spent on it.
_STARTER = """
import json, os, sys
import avpenet_cli.runs.manifest, avpenet_cli.scoring.scorer, librosa.filters
from avpenet_cli.cli import main
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        sys.argv = ["avpenet", *json.loads(line)]
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        main()
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Starter:
    """Runs commands one after another, each in a process of its own that may be killed."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def __call__(self, args: list[str], kill_after_s: float | None = None) -> int:
        """Exit status, negative when killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(args).encode() + b"\n")
        pid = int(self._process.stdout.readline())
        if kill_after_s is not None and not select.select([self._process.stdout], [], [], kill_after_s)[0]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return int(self._process.stdout.readline())


@pytest.fixture
def starter() -> Iterator[Starter]:
    with subprocess.Popen(
        [sys.executable, "-c", _STARTER],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
    ) as process:
        try:
            yield Starter(process)
        finally:
            process.kill()


@pytest.fixture
def archive(clips: ClipMaker, tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    folder.mkdir()
    for number, (seconds, audio) in enumerate([(1.6, "cry"), (1.8, "moan"), (1.6, "silence")]):
        shutil.copy(clips.brief(audio, seconds), folder / f"{number}.mp4")
    (folder / "broken.mp4").write_bytes(b"no recording at all")
    return folder


@pytest.mark.slow
def test_killed_runs_end_with_the_file_of_an_unbroken_one(archive: Path, starter: Starter, tmp_path: Path) -> None:
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    unbroken.mkdir()
    broken.mkdir()

    def command(folder: Path) -> list[str]:
        files = ["--out", str(folder / "scores.csv"), "--embeddings", str(folder / "embeddings.parquet")]
        return ["score", str(archive), "--weights", "untrained", *files]

    starter(["score", "none", "--out", "none"])  # waits until the starter is ready
    started = time.monotonic()
    assert starter(command(unbroken)) == 1
    whole_s = time.monotonic() - started
    out = broken / "scores.csv"
    moments = random.Random(SEED)
    killed = 0
    for _ in range(5 * KILLS):
        # A run that ends before it is killed leaves nothing to kill; the next one starts over.
        over = ["--overwrite"] if out.exists() else []
        status = starter([*command(broken), *over], kill_after_s=moments.uniform(0.0, 0.6) * whole_s)
        assert status in {-signal.SIGKILL, 1}
        killed += status == -signal.SIGKILL
        if killed == KILLS:
            break
    assert killed == KILLS
    assert starter(command(broken)) == 1
    for name in ("scores.csv", "embeddings.parquet"):
        assert (broken / name).read_bytes() == (unbroken / name).read_bytes()
    assert len(out.read_bytes().splitlines()) == 4
    assert {path.name for path in broken.iterdir()} == {
        "scores.csv",
        "scores.csv.history.jsonl",
        "scores.csv.journal",
        "scores.csv.lock",
        "scores.recordings.csv",
        "scores.run.json",
        "embeddings.parquet",
        "embeddings.parquet.journal",
    }
    assert sorted(path.name for path in archive.iterdir()) == ["0.mp4", "1.mp4", "2.mp4", "broken.mp4"]
    assert ffmpegs_with(archive) == []
