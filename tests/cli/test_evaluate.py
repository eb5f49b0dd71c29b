"""`avpenet evaluate` from end to end: a store and weights in, tables, report and figure out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from avpenet_cli.dataset.record import STORE_FILE
from avpenet_cli.evaluation.outputs import FILES
from avpenet_cli.model.architecture import Architecture
from avpenet_cli.weights import find, load_network, save
from tests.conftest import Answer, ClipMaker
from tests.support.training_stores import SETTINGS, make_store
from tests.support.weight_descriptions import make_description

Avpenet = Callable[..., Answer]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("store"), subjects=20, segments=2, faces=1)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """200 MB, removed afterwards."""
    folder = tmp_path_factory.mktemp("weights")
    architecture = Architecture(may_be_missing=("face",))
    description = make_description("small", architecture=architecture, preprocessing=SETTINGS.preprocessing)
    state = dict(load_network(find("untrained")).state_dict())
    save(state, description, folder / "small.safetensors")
    yield folder / "small.safetensors"
    shutil.rmtree(folder)


@pytest.mark.slow
def test_an_evaluation_writes_everything_it_promises(
    store: Path, weights: Path, tmp_path: Path, avpenet_here: Avpenet
) -> None:
    out = tmp_path / "out"
    args = ("evaluate", store, "--weights", weights, "--out", out, "--device", "cpu")
    done = avpenet_here(*args)
    assert done.code == 0, done.err
    assert {path.name for path in out.iterdir()} - {"evaluation.json.lock"} == {*FILES, "evaluation.json.history.jsonl"}
    assert out.stat().st_mode & 0o777 == 0o700
    lines = done.out.splitlines()
    assert lines[0] == "DEMONSTRATION weights, not for patients"
    assert lines[1].startswith("small: unknown whether the subjects are unseen")
    assert any(line.strip().startswith("MAE, noise") and "5 dB" in line for line in lines)
    assert any(
        line.strip().startswith("audio alone") and "MAE difference from both modalities" in line for line in lines
    )
    assert any("face alone" in line and "not trained to do without audio" in line for line in lines)
    assert done.last_line.startswith(f"avpenet: {out}: clean MAE ")
    record = json.loads((out / "evaluation.json").read_text())
    assert record["subjects"]["familiarity"] == "unknown"
    assert [result["condition"] for result in record["conditions"]][-1] == "face_alone"
    assert record["headline"]["audio_alone"]["mae_minus_clean"] is not None
    predictions = pd.read_csv(out / "predictions.csv")
    assert len(predictions) == record["conditions"][0]["n"] == 10
    assert predictions["face_alone"].isna().all() and predictions["occlusion_mask"].notna().all()
    table = pd.read_csv(out / "conditions.csv")
    assert table["weights"].str.endswith(" demonstration").all()
    assert table.loc[table["condition"] == "face_alone", "reason"].str.startswith("not computable").all()
    tables = ("--reference", out / "ratings.csv", "--subjects", out / "subjects.csv")
    reported = avpenet_here("report", out / "scores.csv", *tables, "--out", tmp_path / "again.html")
    assert reported.code == 0, reported.err
    first, again = (json.loads(path.read_text()) for path in (out / "report.json", tmp_path / "again.json"))
    assert first["error"] == again["error"]
    assert first["error"]["accuracy"]["mae"]["ci"] == pytest.approx(record["conditions"][0]["mae_ci"], abs=1e-4)
    refused = avpenet_here(*args)
    assert refused.code == 2 and "already exists; give --overwrite to replace the evaluation" in refused.err
    replaced = avpenet_here(*args, "--overwrite", "--conditions", "none", "--quiet")
    assert replaced.code == 0 and replaced.out == ""
    assert len(json.loads((out / "evaluation.json").read_text())["conditions"]) == 1


def test_invalid_arguments_are_refused_in_one_line(
    store: Path, weights: Path, tmp_path: Path, avpenet_here: Avpenet
) -> None:
    unfinished = tmp_path / "unfinished"
    shutil.copytree(store, unfinished)
    content = json.loads((store / STORE_FILE).read_text()) | {"complete": False}
    (unfinished / STORE_FILE).write_text(json.dumps(content))
    out = tmp_path / "out"
    for args, code, words in (
        ((tmp_path, "--weights", weights), 2, "is not a segment store"),
        ((unfinished, "--weights", weights), 2, "is not finished"),
        ((store, "--weights", "untrained"), 2, "face.crop_px is 64, the weights need 224"),
        ((store, "--weights", "nobody"), 3, "nobody"),
        ((store, "--weights", weights, "--split", "tests"), 2, "there is no split tests"),
        ((store, "--weights", weights, "--conditions", "dark"), 2, "there is no dark"),
        ((store, "--weights", weights, "--device", "gpu"), 2, "no such kind of device"),
    ):
        done = avpenet_here("evaluate", *args, "--out", out)
        assert (done.code, len(done.err.splitlines())) == (code, 1), done.err
        assert words in done.err
        assert not out.exists() or not any(path.name in FILES for path in out.iterdir())


@pytest.mark.slow
def test_clean_scores_equal_those_of_score(clips: ClipMaker, tmp_path: Path, avpenet_here: Avpenet) -> None:
    """From the same recording, with and without a store; there is one subject only, and so no interval."""
    clip = clips.brief()
    (tmp_path / "ratings.csv").write_text(f"recording,start_s,end_s,value\n{clip.name},0,1.6,4\n")
    (tmp_path / "subjects.csv").write_text(f"recording,subject,site\n{clip.name},s1,north\n")
    tables = ("--ratings", tmp_path / "ratings.csv", "--subjects", tmp_path / "subjects.csv")
    store, out, cpu = tmp_path / "store", tmp_path / "out", ("--device", "cpu")
    prepared = avpenet_here("prepare", clip, *tables, "--out", store, "--split", "1,0,0", *cpu)
    assert prepared.code == 0, prepared.err
    scored = avpenet_here("score", clip, "--weights", "untrained", "--out", tmp_path / "scores.csv", *cpu)
    assert scored.code == 0, scored.err
    args = ("evaluate", store, "--weights", "untrained", "--out", out, "--conditions", "none", *cpu)
    empty = avpenet_here(*args)
    assert empty.code == 2 and "no rated segment in test" in empty.err
    done = avpenet_here(*args, "--split", "train")
    assert done.code == 0, done.err
    assert "no interval: fewer than two pairs" in done.out or "not computable: fewer than two pairs" in done.out
    by_score, by_store = (pd.read_csv(path) for path in (tmp_path / "scores.csv", out / "scores.csv"))
    # They differ by JPEG compression and half precision.
    assert by_store["score"].to_numpy() == pytest.approx(by_score["score"].to_numpy(), abs=0.05)
    others = [name for name in by_score.columns if name not in ("score", "label")]
    assert by_store[others].equals(by_score[others])
    first, again = (json.loads((f / "scores.run.json").read_text()) for f in (out, tmp_path))
    assert first["totals"] == again["totals"]
    assert first["settings"]["quality"] == again["settings"]["quality"]
