"""`avpenet train` from end to end: from a store to weights that the other commands accept."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from avpenet_cli.runs.history_chain import read_chain
from avpenet_cli.weights import find, verify
from tests.conftest import REPOSITORY, Answer, ClipMaker
from tests.support.training_stores import CROP_PX, make_store

_CONFIG = """
batch_size = 2
accumulate = 1
licence = "CC0"
training_data = "No music was used."
stage_1 = {epochs = 1, encoder_rate = 0.0, fusion_rate = 1e-3}
stage_2 = {epochs = 0, encoder_rate = 1e-4, fusion_rate = 1e-3}
"""


def _train(*args: object) -> subprocess.CompletedProcess[str]:
    """In a process of its own, to whose output the libraries would add."""
    return subprocess.run(
        [sys.executable, "-m", "avpenet_cli", "train", *map(str, args)],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("store"), subjects=8, segments=1, faces=1)


@pytest.mark.slow
def test_other_commands_accept_the_weights(
    store: Path, clips: ClipMaker, tmp_path: Path, avpenet_here: Callable[..., Answer]
) -> None:
    (tmp_path / "train.toml").write_text(_CONFIG)
    out = tmp_path / "mine.safetensors"
    args = (store, "--out", out, "--config", tmp_path / "train.toml", "--device", "cpu", "--demonstration")
    done = _train(*args)
    assert done.returncode == 0, done.stderr
    assert "epoch   1/1 stage 1 loss" in done.stderr
    assert "Lightning" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"avpenet: {out}: epoch 1 of 1; MAE validation ")
    assert done.stdout == ""
    entry = find(out)
    verify(entry)
    description = entry.description
    assert description.status == "demonstration"
    assert "not for patients" in description.notice
    assert description.licence == "CC0"
    assert description.preprocessing.face.crop_px == CROP_PX
    assert "validation: 2 segments of 2 subjects, MAE " in description.training_data
    assert "test: 2 segments of 2 subjects, MAE " in description.training_data
    assert description.training_data.endswith("No music was used.")
    assert "No music" not in description.created_with
    assert "stage_2.epochs = 0" in description.created_with
    record = json.loads((tmp_path / "mine.train" / "training_record.json").read_text())
    assert record["store"]["sha256"] in description.training_data
    assert record["software"]["lightning"]
    verified = avpenet_here("weights", "verify", out)
    assert verified.code == 0, verified.err
    scored = avpenet_here("score", clips.brief(), "--weights", out, "--out", tmp_path / "s.csv", "--device", "cpu")
    assert scored.code == 0, scored.err
    assert (tmp_path / "s.csv").read_text().rstrip().endswith(" demonstration")
    again = avpenet_here("train", *args)
    assert again.code == 2
    assert "already exists" in again.err
    digest = entry.digest
    resumed = avpenet_here("train", *args, "--resume")
    assert resumed.code == 0, resumed.err
    assert find(out).digest == digest
    history = read_chain(out)
    assert ([line.event for line in history.lines], history.problems) == (["train", "train"], ())
    traced = avpenet_here("verify", out, "--inputs", store.parent)
    assert traced.code == 0, traced.out
    assert "segment store store.json: intact" in traced.out


@pytest.mark.slow
def test_invalid_arguments_are_refused_in_one_line(
    store: Path, tmp_path: Path, avpenet_here: Callable[..., Answer]
) -> None:
    for name in ("site.json", "site.json.history.jsonl"):  # a calibration
        (tmp_path / name).write_text("{}\n")
    for args, words in (
        ((store, "--out", tmp_path / "w.pth"), "not a name for weights"),
        ((tmp_path, "--out", tmp_path / "w.safetensors"), "is not a segment store"),
        ((store, "--out", tmp_path / "site.safetensors"), "site.json is another output, with a history of its own"),
    ):
        done = avpenet_here("train", *args)
        assert done.code == 2
        assert words in done.err
        assert len(done.err.splitlines()) == 1
