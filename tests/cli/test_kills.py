"""Killed at twenty moments and started again each time, a run ends with the file of an unbroken one."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ClipMaker
from tests.support.processes import ffmpegs_with
from tests.support.starter import Starter, open_starter

KILLS = 20
SEED = 5


@pytest.fixture
def starter() -> Iterator[Starter]:
    with open_starter() as starter:
        yield starter


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
