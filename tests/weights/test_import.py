"""Importing the authors' checkpoints: complete, labelled as imported, and without executing pickled code."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from avpenet_cli import checkpoints, weights
from avpenet_cli.cli.weights import app
from avpenet_cli.errors import WeightsError
from avpenet_cli.model.architecture import Architecture
from tests.support.networks import published_inputs, published_network, published_state

CONFIG: dict[str, dict[str, object]] = {
    "model": {
        "audio_encoder": "resnet34",
        "visual_encoder": "resnet50",
        "embed_dim": 512,
        "num_heads": 8,
        "dropout_audio": 0.3,
        "dropout_visual": 0.4,
        "dropout_ff": 0.3,
        "head_dropout1": 0.3,
        "head_dropout2": 0.2,
        "pretrained": True,
    },
    "training": {"epochs": 100, "lr_encoder": 1e-5},
}


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """A folder removed after the test: a checkpoint is 200 MB."""
    yield tmp_path
    shutil.rmtree(tmp_path)


def checkpoint(path: Path, prefix: str = "", config: object = CONFIG) -> Path:
    """As the authors' `scripts/train.py` writes it."""
    state = {prefix + name: tensor for name, tensor in published_state(1).items()}
    torch.save({"epoch": 3, "val_mae": 0.9, "config": config, "model_state_dict": state}, path)
    return path


@pytest.mark.parametrize("prefix", ["", "module."])
def test_imported_checkpoint_scores_as_the_published_model_on_averaged_images(scratch: Path, prefix: str) -> None:
    entry = checkpoints.import_checkpoint(checkpoint(scratch / "avpenet_best.pth", prefix), scratch / "store")
    assert entry.path == scratch / "store" / "avpenet_best.safetensors"
    description = weights.find(entry.path).description
    assert isinstance(description.architecture, Architecture)
    assert (description.status, description.architecture.fusion, description.architecture.pooling) == (
        "imported",
        "single",
        "image",
    )
    assert description.preprocessing.audio.denoise == "first-frames"
    assert description.notice
    network, inputs = weights.load_network(entry), published_inputs(1)
    with torch.inference_mode():
        scores = network(inputs["mel"], inputs["clip"])
        expected = published_network(1, "single")(inputs["mel"], inputs["clip"].mean(dim=1))
    assert torch.allclose(scores, expected, rtol=0, atol=1e-5)


def test_bare_half_precision_state_dict_is_imported_as_float32(scratch: Path) -> None:
    halved = {n: t.half() if t.is_floating_point() else t for n, t in published_state(1).items()}
    torch.save(halved, scratch / "bare.pth")
    entry = checkpoints.import_checkpoint(scratch / "bare.pth", scratch, "from-half", licence="MIT")
    assert entry.description.licence == "MIT"
    assert {tensor.dtype for tensor in weights.load_network(entry).parameters()} == {torch.float32}


def test_incomplete_checkpoint_leaves_nothing_behind(scratch: Path) -> None:
    state = dict(published_state(1))
    del state["head.fc3.bias"]
    torch.save({"model_state_dict": state}, scratch / "part.pth")
    with pytest.raises(WeightsError, match=r"part\.pth.*lacks tensor head\.fc3\.bias"):
        checkpoints.import_checkpoint(scratch / "part.pth", scratch / "store")
    assert not (scratch / "store").exists()


@pytest.mark.parametrize(("key", "value"), [("embed_dim", 256), ("num_heads", 4), ("visual_encoder", "vgg16")])
def test_other_network_sizes_are_refused_with_the_name_of_the_setting(scratch: Path, key: str, value: object) -> None:
    config = {"model": CONFIG["model"] | {key: value}}
    torch.save({"config": config, "model_state_dict": {"x": torch.zeros(1)}}, scratch / "other.pth")
    with pytest.raises(WeightsError, match=f"config has {key} = {value!r}"):
        checkpoints.import_checkpoint(scratch / "other.pth", scratch / "store")


class MaliciousObject:
    """Unpickling this runs a command."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


@pytest.mark.parametrize("form", ["zip", "legacy", "bare pickle"])
def test_malicious_pickle_is_refused_and_not_executed(scratch: Path, form: str) -> None:
    evidence = scratch / "executed"
    content = {"model_state_dict": {"x": torch.zeros(1)}, "config": MaliciousObject(f"touch {evidence}")}
    path = scratch / "evil.pth"
    if form == "bare pickle":
        path.write_bytes(pickle.dumps(MaliciousObject(f"touch {evidence}")))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(WeightsError, match=r"evil\.pth has more than tensors") as caught:
        checkpoints.import_checkpoint(path, scratch / "store")
    assert "source you trust" in caught.value.remedy
    assert not evidence.exists()
    with path.open("rb") as file:  # the payload is present: an unsafe reader would have run it
        data = zipfile.ZipFile(file).read("evil/data.pkl") if form == "zip" else file.read()
    assert b"touch" in data


@pytest.mark.parametrize("kind", ["empty", "text", "truncated", "tensor", "no tensors", "not there"])
def test_file_that_is_no_checkpoint_gives_a_clear_error(scratch: Path, kind: str) -> None:
    path = scratch / "odd.pth"
    whole = io.BytesIO()
    torch.save({"model_state_dict": {"x": torch.zeros(1000)}}, whole)
    if kind == "tensor":
        torch.save(torch.zeros(3), path)
    elif kind == "no tensors":
        torch.save({"model_state_dict": {"x": 3}}, path)
    elif kind != "not there":
        path.write_bytes({"empty": b"", "text": b"hello there", "truncated": whole.getvalue()[:700]}[kind])
    with pytest.raises(WeightsError, match=r"odd\.pth"):
        checkpoints.import_checkpoint(path, scratch / "store")


@pytest.mark.parametrize("name", ["", "../escape", "with space", "untrained", "-dash"])
def test_invalid_and_reserved_names_are_refused(scratch: Path, name: str) -> None:
    with pytest.raises(WeightsError):
        checkpoints.import_checkpoint(checkpoint(scratch / "c.pth"), scratch / "store", name)


def test_checkpoint_in_place_of_weights_says_to_import_it(scratch: Path) -> None:
    with pytest.raises(WeightsError, match="training checkpoint") as caught:
        weights.find(scratch / "avpenet_best.pth")
    assert "avpenet weights import" in caught.value.remedy


def test_commands_import_list_show_verify_and_install(scratch: Path) -> None:
    checkpoint(scratch / "authors.pth")
    environment = {"COLUMNS": "200", weights.FOLDER_VARIABLE: str(scratch / "store")}

    def avpenet(*arguments: str) -> str:
        result = CliRunner().invoke(app, arguments, env=environment, catch_exceptions=False)
        assert result.exit_code == 0
        return result.stdout

    output = avpenet("import", str(scratch / "authors.pth"), "--folder", str(scratch / "elsewhere"))
    path = scratch / "elsewhere" / "authors.safetensors"
    assert f"--weights {path}" in output
    output = avpenet("install", str(path))
    assert "--weights authors" in output
    assert "IMPORTED" in output
    listing = avpenet("list")
    assert "untrained" in listing
    assert "authors" in listing
    assert "IMPORTED" in avpenet("show", "authors")
    description = json.loads(avpenet("show", "authors", "--json"))
    assert description["digest"] in output
    assert "authors: intact" in avpenet("verify")
    with path.open("ab") as file:
        file.write(b"x")
    with pytest.raises(WeightsError, match="not usable"):
        avpenet("verify", str(path))


def test_listing_and_showing_do_not_import_torch() -> None:
    program = (
        "import sys; from avpenet_cli.cli.weights import app\n"
        "for line in (['list'], ['show', 'untrained']): app(line, standalone_mode=False)\n"
        "sys.exit('torch' in sys.modules)"
    )
    completed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert completed.returncode == 0, completed.stderr
    assert "UNTRAINED" in completed.stdout
