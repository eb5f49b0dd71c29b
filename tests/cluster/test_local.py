"""Shards side by side on this machine: stopped and resumed, and the table is that of one run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from avpenet_cli.runs.lock import output_lock
from avpenet_cli.shards.shard import Shard, shard_output, shards_folder
from tests.conftest import REPOSITORY, Answer, ClipMaker

Avpenet = Callable[..., Answer]


@pytest.fixture
def archive(clips: ClipMaker, tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    folder.mkdir()
    for number, seconds in enumerate([1.8, 1.6]):
        shutil.copy(clips.brief("cry", seconds), folder / f"{number}.mp4")
    (folder / "broken.mp4").write_bytes(b"no recording at all")
    return folder


@pytest.mark.slow
def test_interrupted_shards_all_end_and_resume_to_the_table_of_one_run(
    archive: Path, tmp_path: Path, avpenet_here: Avpenet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    out, expected = tmp_path / "scores.csv", tmp_path / "expected.csv"
    score = ["score", str(archive), "--weights", "untrained"]
    command = ["submit", "--engine", "local", "--array", "2", "--jobs", "2", "--", *score, "--out", str(out)]
    process = subprocess.Popen(
        [sys.executable, "-m", "avpenet_cli", *command],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    logs = shards_folder(out) / "jobs"
    while len([log for log in logs.glob("*.log") if log.stat().st_size]) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 130, err
    assert "interrupted" in err.splitlines()[-1]
    assert _processes_naming(out) == []

    # One shard is taken by somebody else: the other is finished, and nothing is merged.
    with output_lock(shard_output(out, Shard(1, 2))):
        answer = avpenet_here(*command)
    assert answer.code == 75
    assert "scores.csv is not finished: shard 1 of 2" in answer.last_line
    assert not out.exists()
    assert avpenet_here(*command).code == 1
    assert avpenet_here(*score, "--out", expected).code == 1
    assert out.read_bytes() == expected.read_bytes()
    assert {path.stat().st_mode & 0o777 for path in logs.iterdir()} == {0o600}
    assert logs.stat().st_mode & 0o777 == 0o700


@pytest.mark.slow
def test_pseudonymised_shards_leave_no_name_or_path(
    archive: Path, tmp_path: Path, avpenet_here: Avpenet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    secret = tmp_path / "Erika Mustermann"
    archive.rename(secret)
    key = tmp_path / "key"
    key.write_bytes(os.urandom(32))
    key.chmod(0o600)
    out = tmp_path / "out" / "scores.csv"
    out.parent.mkdir()
    score = ["score", str(secret), "--weights", "untrained", "--pseudonymise", str(key), "--out", str(out)]
    answer = avpenet_here("submit", "--engine", "local", "--array", "1", "--", *score)
    assert answer.code == 1, answer.err
    for path in out.parent.rglob("*"):
        assert path.is_dir() or b"Erika" not in path.read_bytes(), path


def _processes_naming(out: Path) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
        except OSError:
            continue
        if os.fsencode(out) in command:
            found.append(entry.name)
    return found
