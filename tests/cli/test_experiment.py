"""`avpenet experiment` from end to end: on phantoms, killed and resumed; with systems that fail; refusals."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from avpenet_cli.phantom.make import PhantomRequest, make_phantoms
from avpenet_cli.runs.history_chain import read_chain
from avpenet_cli.weights import find, verify
from tests.conftest import REPOSITORY, Answer
from tests.support.training_stores import make_store

_SMALL = """
seeds = [1, 2]
noise_snr_db = [10.0]
covers = []
robust = ["avpenet"]
[train]
cache_embeddings = true
batch_size = 4
accumulate = 1
stage_1 = {epochs = 1, encoder_rate = 0.0, fusion_rate = 1e-3}
stage_2 = {epochs = 0, encoder_rate = 1e-5, fusion_rate = 1e-4}
[systems.avpenet]
title = "AVPENet <b>"
init = "none"
[systems.cry-analyzer]
title = "needs many segments"
init = "none"
train = {network = "cry-analyzer", architecture = {min_leaf = 50}}
[systems.context]
title = "context"
base = "avpenet"
train = {network = "context"}
[systems.largest-face]
title = "needs recordings"
variant = {patient = "largest"}
"""


def _start(*args: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "avpenet_cli", "experiment", *map(str, args)],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def phantom_store(tmp_path_factory: pytest.TempPathFactory, avpenet_here: Callable[..., Answer]) -> Path:
    """A store of 20 phantoms of three sites, 6 s each."""
    folder = tmp_path_factory.mktemp("phantoms")
    make_phantoms(PhantomRequest(subjects=20, seed=77, minutes=0.1, size_px=(192, 144), fps=2.0), folder / "p", jobs=1)
    tables = ("--ratings", folder / "p/truth.csv", "--subjects", folder / "p/subjects.csv")
    prepared = avpenet_here("prepare", folder / "p", *tables, "--out", folder / "store", "-q")
    assert prepared.code == 0, prepared.err
    return folder / "store"


@pytest.mark.slow
def test_quick_preset_on_phantoms_survives_a_kill_and_compares_every_system(
    phantom_store: Path, tmp_path: Path, avpenet_here: Callable[..., Answer]
) -> None:
    out = tmp_path / "experiment of two words"
    args = (phantom_store, "--preset", "quick", "--out", out, "--device", "cpu")
    process = _start(*args)
    deadline = time.monotonic() + 300
    while len(list(out.glob("predictions/*.parquet"))) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    finished = {path: path.stat().st_mtime_ns for path in out.glob("systems/*/learnt.safetensors")}
    assert len(finished) >= 2
    refused = avpenet_here("experiment", *args)
    assert refused.code == 2
    assert "give --resume to continue it" in refused.err

    resumed = avpenet_here("experiment", *args, "--resume")
    assert resumed.code == 0, resumed.err
    assert {path: path.stat().st_mtime_ns for path in finished} == finished, "what was finished was trained again"
    assert "avpenet" in resumed.out
    result = json.loads((out / "experiment.json").read_text())
    systems = {item["system"]["name"]: item for item in result["systems"]}
    assert {item["system"]["status"] for item in systems.values()} == {"trained"}
    assert all(item["test"]["mae"]["mean"]["value"] is not None for item in systems.values())
    assert systems["avpenet"]["system"]["seeds"] == [42, 43]
    assert {row["view"] for row in result["conditions"]} == {"noise_white_10_db", "cover_mask"}
    assert {row["site"] for row in result["sites"]} == {"A", "B", "C"}
    with (out / "tables" / "systems.csv").open(newline="") as file:
        assert [row["system"] for row in csv.DictReader(file)] == list(systems)
    assert "<script" not in (out / "experiment.html").read_text()
    assert [path for path in out.rglob("*") if path.stat().st_mode & 0o077] == []
    assert [line.event for line in read_chain(out / "experiment.json").lines] == ["experiment"]
    traced = avpenet_here("verify", out / "experiment.html", "--inputs", phantom_store.parent)
    assert traced.code == 0, traced.out
    # Frozen encoders of one kind encoded the stored segments once.
    assert len(list((out / "embeddings").glob("audio-*"))) <= 4

    # A network of each kind scores a recording: what is trained here is used elsewhere.
    recording = phantom_store.parent / "p" / "P0001-01.mp4"
    for name in ("avpenet", "cry-analyzer", "context"):
        weights = out / "systems" / f"{name}-seed-42" / f"{name}.safetensors"
        verify(find(weights))
        table = tmp_path / f"{name}.csv"
        score = ("score", recording, "--weights", weights, "--out", table, "--device", "cpu")
        scored = avpenet_here(*score)
        assert scored.code == 0, scored.err
        with table.open(newline="") as file:
            scores = [float(row["score"]) for row in csv.DictReader(file)]
        assert len(scores) == 2
        assert all(0 <= score <= 10 for score in scores)
        sampled = avpenet_here(*score, "--mc-samples", "2", "--overwrite")
        assert (sampled.code, "leave out --mc-samples" in sampled.err) == (
            (0, False) if name == "avpenet" else (2, True)
        )
    kept = {path.parent.name for path in out.glob("systems/*/*.safetensors") if path.name != "learnt.safetensors"}
    assert kept == {f"{name}-seed-42" for name in systems}


@pytest.mark.slow
def test_what_fails_does_not_stop_the_rest_and_a_later_run_has_all(
    tmp_path: Path, avpenet_here: Callable[..., Answer]
) -> None:
    store = make_store(tmp_path, subjects=8, segments=3, faces=1)
    (tmp_path / "small.toml").write_text(_SMALL)
    (tmp_path / "ward").mkdir()
    soundfile.write(tmp_path / "ward" / "silence.wav", np.zeros(16_000), 16_000)
    out = tmp_path / "out"
    args: list[str | Path] = [store, "--config", tmp_path / "small.toml", "--out", out]
    args += ["--noise", tmp_path / "ward", "--device", "cpu"]

    # A noise that cannot be added costs the reference nothing but its figures under it.
    done = avpenet_here("experiment", *args, "--only", "avpenet")
    assert done.code == 1, done.err
    assert "Traceback" not in done.err
    assert "avpenet, seed 1: not evaluated under real noise at 10 dB" in done.err
    systems, result = _systems(out)
    assert {name: system["status"] for name, system in systems.items()} == {
        "avpenet": "trained",
        "cry-analyzer": "not run",
        "context": "not run",
        "largest-face": "not run",
    }
    assert systems["avpenet"]["seeds"] == [1, 2]
    computable = {row["view"]: row["mae"]["value"] is not None for row in result["conditions"]}
    assert computable == {"noise_white_10_db": True, "noise_real_10_db": False}
    assert not (out / "systems/avpenet-seed-2/avpenet.safetensors").exists()

    # What is built on it is trained later, with every seed, though the weights of the second had been removed.
    learnt = (out / "systems/avpenet-seed-2/learnt.safetensors").stat().st_mtime_ns
    again = avpenet_here("experiment", *args, "--resume")
    assert again.code == 1, again.err
    assert "largest-face is not run: it needs recordings" in again.err
    assert "2 failed: avpenet, cry-analyzer" in again.err.splitlines()[-1]
    systems, result = _systems(out)
    assert {name: (system["status"], system["seeds"]) for name, system in systems.items()} == {
        "avpenet": ("trained", [1, 2]),
        "cry-analyzer": ("failed", []),
        "context": ("trained", [1, 2]),
        "largest-face": ("not run", []),
    }
    assert "cannot learn from 12 rated training segments" in systems["cry-analyzer"]["reason"]
    assert (out / "systems/avpenet-seed-2/learnt.safetensors").stat().st_mtime_ns == learnt
    page = (out / "experiment.html").read_text()
    assert "AVPENet &lt;b&gt;" in page
    assert "cry-analyzer" in page
    assert str(tmp_path) not in page + json.dumps(result)
    predictions = pq.read_table(out / "predictions" / "avpenet-seed-1.parquet").to_pandas()
    assert predictions.groupby(["view", "split"]).size().to_dict() == {
        ("clean", "validation"): 6,
        ("clean", "test"): 6,
        ("noise_white_10_db", "test"): 6,
    }
    assert predictions["score"].between(0, 10).all()

    # Without the failing parts the same folder holds a complete experiment, of the seeds that are asked for.
    head, _, tail = _SMALL.partition("[systems.cry-analyzer]")
    rest = head.replace("seeds = [1, 2]", "seeds = [1]") + tail[tail.index("[systems.context]") :]
    (tmp_path / "small.toml").write_text(rest)
    fewer = avpenet_here("experiment", *args, "--resume", "--only", "context")
    assert fewer.code == 1, fewer.err
    systems, result = _systems(out)
    assert systems["avpenet"]["seeds"] == [1]
    assert {row["seed"] for row in result["seeds"]} == {1}

    # Another configuration, or another store, is refused, by the dry run too.
    (tmp_path / "small.toml").write_text(_SMALL.replace("fusion_rate = 1e-3", "fusion_rate = 2e-3", 1))
    for option in ("--resume", "--dry-run"):
        changed = avpenet_here("experiment", *args, option)
        assert changed.code == 2
        assert "train.stage_1.fusion_rate was 0.001, now 0.002" in changed.err
    (tmp_path / "small.toml").write_text(_SMALL)
    other = make_store(tmp_path / "other", subjects=9)
    moved = avpenet_here("experiment", other, *args[1:], "--resume")
    assert moved.code == 2
    assert "another experiment: another store" in moved.err


def _systems(out: Path) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    result: dict[str, Any] = json.loads((out / "experiment.json").read_text())
    return {item["system"]["name"]: item["system"] for item in result["systems"]}, result


def test_dry_run_writes_nothing_and_says_how_long_it_takes(tmp_path: Path, avpenet_here: Callable[..., Answer]) -> None:
    store = make_store(tmp_path, subjects=8, segments=1, faces=1)
    (tmp_path / "small.toml").write_text(_SMALL)
    before = sorted(tmp_path.iterdir())
    args: list[str | Path] = [
        "experiment",
        store,
        "--config",
        tmp_path / "small.toml",
        "--out",
        tmp_path / "out",
        "--dry-run",
    ]
    done = avpenet_here(*args, "--device", "cpu")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert [line.split()[2] for line in lines[:-1]] == ["avpenet,", "cry-analyzer,", "context,"] * 2
    assert "at most, for 6 trainings" in lines[-1]
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "give --preset or --config"),
        (("--preset", "quick", "--only", "nobody"), "there is no system nobody"),
        (("--preset", "quick", "--noise", "missing"), "--noise missing is not a folder"),
        (("--preset", "quick", "--recordings", "missing"), "missing"),
        (("--preset", "quick", "--device", "cuda:9"), "cuda"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(
    options: tuple[str, ...], message: str, tmp_path: Path, avpenet_here: Callable[..., Answer]
) -> None:
    store = make_store(tmp_path, subjects=8, segments=1, faces=1)
    done = avpenet_here("experiment", store, "--out", tmp_path / "out", *options)
    assert done.code in (2, 3)
    assert message in done.err.splitlines()[-1]
    assert "Traceback" not in done.err


def test_a_column_that_the_store_lacks_is_refused_before_anything_is_trained(
    tmp_path: Path, avpenet_here: Callable[..., Answer]
) -> None:
    store, out = make_store(tmp_path, subjects=8, segments=1, faces=1), tmp_path / "out"
    (tmp_path / "small.toml").write_text('columns = ["ward"]' + _SMALL)
    done = avpenet_here("experiment", store, "--config", tmp_path / "small.toml", "--out", out, "--device", "cpu")
    assert done.code == 2
    assert done.last_line.endswith("columns: the store has no column ward; leave columns out")
    assert not (out / "systems").exists()
