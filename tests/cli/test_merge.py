"""`avpenet merge` on shards that `avpenet score --shard` wrote."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Answer, ClipMaker
from tests.support.shard_runs import make_recordings, requested, run, run_shard
from tests.support.starter import open_starter

Avpenet = Callable[..., Answer]


@pytest.fixture(scope="module")
def archive(clips: ClipMaker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    shutil.copy(clips.brief(), folder / "a.mp4")
    shutil.copy(clips.brief("moan", 1.8), folder / "b.mp4")
    (folder / "c.mp4").write_bytes(b"no recording")
    return folder


def test_merged_shards_are_one_run(archive: Path, avpenet_here: Avpenet, tmp_path: Path) -> None:
    whole, merged = tmp_path / "whole", tmp_path / "merged"
    for folder in (whole, merged):
        folder.mkdir()
    score = ["score", archive, "--weights", "untrained", "--device", "cpu"]
    out, embeddings = merged / "scores.csv", ["--embeddings", merged / "e.parquet"]
    assert avpenet_here(*score, "--out", whole / "scores.csv", "--embeddings", whole / "e.parquet").code == 1
    codes = [avpenet_here(*score, "--out", out, *embeddings, "--shard", "1/2").code]
    answer = avpenet_here("merge", out, *embeddings)
    assert answer.code == 4
    assert "shard 2 of 2 was not started" in answer.last_line and not out.exists()
    codes.append(avpenet_here(*score, "--out", out, *embeddings, "--shard", "2/2").code)
    assert sorted(codes) == [0, 1]
    answer = avpenet_here("merge", out, *embeddings)
    assert answer.code == 1, "a recording failed"
    assert "3 recordings, 1 failed" in answer.last_line
    for name in ("scores.csv", "scores.recordings.csv", "e.parquet"):
        assert (merged / name).read_bytes() == (whole / name).read_bytes(), name
    assert avpenet_here("status", out).code == 0
    (line,) = avpenet_here("merge", out, "-q", *embeddings).err.splitlines()
    assert line.split(" merged in ")[0] == answer.last_line.split(" merged in ")[0]


def test_merge_takes_the_options_of_finishing(avpenet_here: Avpenet, tmp_path: Path) -> None:
    answer = avpenet_here("merge", tmp_path / "scores.csv")
    assert answer.code == 2
    assert "has no shards" in answer.last_line
    answer = avpenet_here("merge", tmp_path / "scores.csv", "--baseline", "loud")
    assert answer.code == 2
    assert "no such baseline" in answer.last_line
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_merge_killed_at_any_moment_is_given_again(tmp_path: Path) -> None:
    """Fifteen kills while new shards are merged into a table; each leaves the old table or the new one."""
    rng = random.Random(7)
    recordings = make_recordings(tmp_path, [f"{number}.wav" for number in range(12)])
    whole, out = tmp_path / "whole" / "scores.csv", tmp_path / "merged" / "scores.csv"
    for path in (whole, out):
        path.parent.mkdir()
    for number in (1, 2, 3):
        run_shard(requested(out, recordings[:4]), number, 3)
    run(requested(whole, recordings))
    command = ["merge", str(out), "-q"]
    with open_starter() as merge:
        assert merge(command) == 0
        old = out.read_bytes()
        assert merge(command) == 0
        for number in (1, 2, 3):
            run_shard(requested(out, recordings), number, 3)
        kept = tmp_path / "kept"
        shutil.copytree(out.parent, kept)
        started = time.monotonic()
        assert merge(command) == 0
        taken_s = time.monotonic() - started
        new = out.read_bytes()
        assert new == whole.read_bytes() != old
        killed = 0
        for _ in range(15):
            shutil.rmtree(out.parent)
            shutil.copytree(kept, out.parent)
            killed += merge(command, rng.uniform(0, 1) * taken_s) == -9
            assert out.read_bytes() in (old, new)
            assert merge(command) == 0
            assert out.read_bytes() == new
            assert (out.parent / "scores.recordings.csv").read_bytes() == (
                whole.parent / "scores.recordings.csv"
            ).read_bytes()
            left = {path.name for path in out.parent.iterdir()} - {path.name for path in kept.iterdir()}
            assert not left, "no temporary file stays"
        assert killed > 3
