"""`avpenet submit`: what is refused before anything runs, what the jobs are, and a run on this machine."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Answer

Avpenet = Callable[..., Answer]
OUT = "no/such/t.csv"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--engine", "cloud", "--", "score", "a.mp4", "--out", OUT], "--engine cloud: no such engine"),
        (["--engine", "local", "--", "report", OUT], "submit report: cannot be divided"),
        (["--engine", "local", "--", "score", "a.mp4", "--out", OUT, "--nonsense"], "No such option: --nonsense"),
        (["--engine", "local", "--", "score", "a.mp4", "--out", OUT, "--stride", "three"], "--stride"),
        (["--engine", "local", "--", "score", "a.mp4"], "--out is missing"),
        (["--engine", "local", "--", "score", "a.mp4", "--out", "t.txt"], "cannot tell the format"),
        (["--engine", "local", "--", "score", "a.mp4", "--out", OUT, "--overwrite"], "--overwrite cannot be submitted"),
        (["--engine", "local", "--", "score", "a.mp4", "--out", OUT, "--shard", "1/2"], "--shard cannot be submitted"),
        (["--engine", "local", "--", "score", "--files-from", "-", "--out", OUT], "--files-from - cannot"),
        (
            ["--engine", "local", "--gres", "gpu:1", "--", "score", "a.mp4", "--out", OUT],
            "--gres is for --engine slurm",
        ),
        (["--engine", "local", "--array", "10001", "--", "score", "a.mp4", "--out", OUT], "too many shards"),
        (["--engine", "local", "--", "score", "a.mp4", "--out", OUT], "its folder does not exist"),
        (
            ["--engine", "local", "--", "score", "a.mp4", "--out", OUT, "--subjects", "none.csv"],
            "none.csv: no such file",
        ),
        (["--engine", "slurm", "--time", "soon", "--", "score", "a.mp4", "--out", OUT], "--time soon: no time limit"),
        (
            ["--engine", "slurm", "--", "score", "a.mp4", "--out", OUT, "--pseudonymise", "key"],
            "would keep the recordings' paths",
        ),
    ],
)
def test_wrong_commands_get_one_line_before_anything_runs(args: list[str], words: str, avpenet_here: Avpenet) -> None:
    answer = avpenet_here("submit", *args)
    assert answer.code == 2
    (line,) = answer.err.splitlines()
    assert words in line
    assert answer.out == ""


def test_weights_that_are_not_there_are_missed_before_anything_runs(avpenet_here: Avpenet, tmp_path: Path) -> None:
    command = ["score", "a.mp4", "--out", str(tmp_path / "s.csv"), "--weights", "no-such-weights"]
    answer = avpenet_here("submit", "--engine", "local", "--", *command)
    assert answer.code == 3
    assert "no-such-weights" in answer.last_line
    assert not list(tmp_path.iterdir())


def test_dry_run_prints_the_commands_of_the_jobs(avpenet_here: Avpenet, tmp_path: Path) -> None:
    out, embeddings = str(tmp_path / "s.csv"), str(tmp_path / "e.parquet")
    command = ["score", "b c", "--out", out, "--csv-bom", "--no-digests", "--embeddings", embeddings, "--", "-odd name"]
    answer = avpenet_here("submit", "--engine", "local", "--array", "2", "--dry-run", "--", *command)
    assert answer.code == 0, answer.err
    first, second, merge = (shlex.split(line) for line in answer.out.splitlines())
    assert first[:2] == ["avpenet", "score"]
    assert first[-4:] == ["1/2", "--", "b c", "-odd name"]
    assert second[-4:] == ["2/2", "--", "b c", "-odd name"]
    assert {f"--out={out}", f"--embeddings={embeddings}"} <= set(first)
    assert "--no-digests" in first
    assert "--csv-bom" not in first
    assert merge[:2] == ["avpenet", "merge"]
    assert merge[-1] == out
    assert not list(tmp_path.iterdir())


def test_shards_of_a_store_and_their_merge_get_its_tables(avpenet_here: Avpenet, tmp_path: Path) -> None:
    tables = ["--ratings=r.csv", "--subjects=s.csv"]
    command = ["prepare", "a b", *tables, "--out", str(tmp_path / "store"), "--stride", "1", "--prune"]
    answer = avpenet_here("submit", "--engine", "local", "--array", "2", "--dry-run", "--", *command)
    assert answer.code == 0, answer.err
    first, _, merge = (shlex.split(line) for line in answer.out.splitlines())
    assert first[:2] == ["avpenet", "prepare"]
    assert {*tables, "--stride=1.0", "--prune"} <= set(first)
    assert first[-4:] == ["--shard", "1/2", "--", "a b"]
    assert merge == ["avpenet", "merge", *tables, "--prune", "--", str(tmp_path / "store")]
