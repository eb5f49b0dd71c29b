"""`avpenet experiment` from end to end: on phantoms, killed and resumed; with systems that fail; refusals."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from avpenet_cli.phantom.make import PhantomRequest, make_phantoms
from avpenet_cli.weights import find, verify
from tests.conftest import REPOSITORY, RunAvpenet
from tests.support.training_stores import make_store

_SMALL = """
seeds = [1]
noise_snr_db = []
covers = []
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
def phantom_store(tmp_path_factory: pytest.TempPathFactory, run_avpenet: RunAvpenet) -> Path:
    """A store of 30 phantoms of three sites, 6 s each."""
    folder = tmp_path_factory.mktemp("phantoms")
    make_phantoms(PhantomRequest(subjects=30, seed=77, minutes=0.1, size_px=(192, 144), fps=2.0), folder / "p", jobs=2)
    tables = ("--ratings", folder / "p/truth.csv", "--subjects", folder / "p/subjects.csv")
    prepared = run_avpenet(["prepare", folder / "p", *tables, "--out", folder / "store", "-q"])
    assert prepared.returncode == 0, prepared.stderr
    return folder / "store"


@pytest.mark.slow
def test_quick_preset_on_phantoms_survives_a_kill_and_compares_every_system(
    phantom_store: Path, tmp_path: Path, run_avpenet: RunAvpenet
) -> None:
    out = tmp_path / "experiment of two words"
    args = (phantom_store, "--preset", "quick", "--out", out, "--device", "cpu")
    process = _start(*args)
    deadline = time.monotonic() + 300
    while len(list(out.glob("predictions/*.parquet"))) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    finished = {path: path.stat().st_mtime_ns for path in out.glob("predictions/*.parquet")}
    assert len(finished) >= 2
    refused = run_avpenet(["experiment", *args])
    assert refused.returncode == 2
    assert "give --resume to continue it" in refused.stderr

    resumed = _start(*args, "--resume")
    stdout, stderr = resumed.communicate(timeout=600)
    assert resumed.returncode == 0, stderr
    assert {path: path.stat().st_mtime_ns for path in finished} == finished, "what was finished was trained again"
    assert "avpenet" in stdout
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
    # Frozen encoders of one kind encoded the stored segments once.
    assert len(list((out / "embeddings").glob("audio-*"))) <= 4

    # A network of each kind scores a recording: what is trained here is used elsewhere.
    recording = phantom_store.parent / "p" / "P0001-01.mp4"
    for name in ("avpenet", "cry-analyzer", "context"):
        weights = out / "systems" / f"{name}-seed-42" / f"{name}.safetensors"
        verify(find(weights))
        table = tmp_path / f"{name}.csv"
        scored = run_avpenet(["score", recording, "--weights", weights, "--out", table, "--device", "cpu"])
        assert scored.returncode == 0, scored.stderr
        with table.open(newline="") as file:
            scores = [float(row["score"]) for row in csv.DictReader(file)]
        assert len(scores) == 2
        assert all(0 <= score <= 10 for score in scores)
        sampled = run_avpenet(
            ["score", recording, "--weights", weights, "--out", table, "--mc-samples", "2", "--overwrite"]
        )
        assert (sampled.returncode, "leave out --mc-samples" in sampled.stderr) == (
            (0, False) if name == "avpenet" else (2, True)
        )
    assert not list((out / "systems").glob("*-seed-43*/*.safetensors"))


@pytest.mark.slow
def test_a_system_that_fails_does_not_stop_the_others(tmp_path: Path, run_avpenet: RunAvpenet) -> None:
    store = make_store(tmp_path, subjects=8, segments=3, faces=1)
    (tmp_path / "small.toml").write_text(_SMALL)
    out = tmp_path / "out"
    args: list[str | Path] = ["experiment", store, "--config", tmp_path / "small.toml", "--out", out, "--device", "cpu"]
    done = run_avpenet([*args])
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "largest-face is not run: it needs recordings" in done.stderr
    assert "1 failed: cry-analyzer" in done.stderr.splitlines()[-1]
    systems = {
        item["system"]["name"]: item["system"] for item in json.loads((out / "experiment.json").read_text())["systems"]
    }
    assert {name: system["status"] for name, system in systems.items()} == {
        "avpenet": "trained",
        "cry-analyzer": "failed",
        "context": "trained",
        "largest-face": "not run",
    }
    assert "cannot learn from 12 rated training segments" in systems["cry-analyzer"]["reason"]
    page = (out / "experiment.html").read_text()
    assert "AVPENet &lt;b&gt;" in page
    assert "cry-analyzer" in page
    predictions = pq.read_table(out / "predictions" / "avpenet-seed-1.parquet").to_pandas()
    assert set(predictions["split"]) == {"validation", "test"}
    assert predictions["score"].between(0, 10).all()

    # Nothing is trained again; another configuration, or another store, is refused.
    before = (out / "predictions" / "avpenet-seed-1.parquet").stat().st_mtime_ns
    again = run_avpenet([*args, "--resume", "--only", "context"])
    assert again.returncode == 0, again.stderr
    assert (out / "predictions" / "avpenet-seed-1.parquet").stat().st_mtime_ns == before
    (tmp_path / "small.toml").write_text(_SMALL.replace("fusion_rate = 1e-3", "fusion_rate = 2e-3", 1))
    changed = run_avpenet([*args, "--resume"])
    assert changed.returncode == 2
    assert "train.stage_1.fusion_rate was 0.001, now 0.002" in changed.stderr
    (tmp_path / "small.toml").write_text(_SMALL)
    other = make_store(tmp_path / "other", subjects=9)
    moved = run_avpenet(["experiment", other, *args[2:], "--resume"])
    assert moved.returncode == 2
    assert "another experiment: another store" in moved.stderr


def test_dry_run_writes_nothing_and_says_how_long_it_takes(tmp_path: Path, run_avpenet: RunAvpenet) -> None:
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
    done = run_avpenet([*args, "--device", "cpu"])
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[2] for line in lines[:-1]] == ["avpenet,", "cry-analyzer,", "context,"]
    assert "at most, for 3 trainings" in lines[-1]
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
    options: tuple[str, ...], message: str, tmp_path: Path, run_avpenet: RunAvpenet
) -> None:
    store = make_store(tmp_path, subjects=8, segments=1, faces=1)
    done = run_avpenet(["experiment", store, "--out", tmp_path / "out", *options])
    assert done.returncode in (2, 3)
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
