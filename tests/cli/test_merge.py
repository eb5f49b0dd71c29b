"""`avpenet merge` on shards that `avpenet score --shard` wrote."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Answer, ClipMaker

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
    assert answer.code == 1
    assert "shard 2 of 2 was not started" in answer.last_line and not out.exists()
    codes.append(avpenet_here(*score, "--out", out, *embeddings, "--shard", "2/2").code)
    assert sorted(codes) == [0, 1]
    answer = avpenet_here("merge", out, *embeddings)
    assert answer.code == 1, "a recording failed"
    assert "3 recordings, 1 failed" in answer.last_line
    for name in ("scores.csv", "scores.recordings.csv", "e.parquet"):
        assert (merged / name).read_bytes() == (whole / name).read_bytes(), name
    assert avpenet_here("status", out).code == 0
    assert avpenet_here("merge", out, "-q", *embeddings).err == answer.err.splitlines(keepends=True)[-1]


def test_merge_takes_the_options_of_finishing(avpenet_here: Avpenet, tmp_path: Path) -> None:
    answer = avpenet_here("merge", tmp_path / "scores.csv")
    assert answer.code == 2
    assert "has no shards" in answer.last_line
    answer = avpenet_here("merge", tmp_path / "scores.csv", "--baseline", "loud")
    assert answer.code == 2
    assert "no such baseline" in answer.last_line
    assert not list(tmp_path.iterdir())
