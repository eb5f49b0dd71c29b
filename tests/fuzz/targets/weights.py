"""Weights: the pair of files, and checkpoints to import."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from tests.fuzz.case_target import case_target
from tests.fuzz.cases import Case
from tests.fuzz.targets.documents import reseal_weights
from tests.fuzz.trials import Limits


def _prepare(corpus: Path) -> None:
    import torch

    from avpenet_cli.model.initialise import seeded_state
    from avpenet_cli.weights.loading import empty_network
    from avpenet_cli.weights.writing import save
    from tests.support.weight_descriptions import make_description

    folder = corpus / "pair"
    folder.mkdir()
    description = make_description("w", network=NETWORK)
    network = empty_network(description)
    save(seeded_state(network, 1), description, folder / "w.safetensors")
    imported = corpus / "checkpoint"
    imported.mkdir()
    state = {f"module.layer.{number}": torch.zeros(4, 4) for number in range(4)}
    torch.save({"model_state_dict": state, "config": {"model": {"dropout": 0.1}}}, imported / "c.pth")


NETWORK = "cry-analyzer"
"""A small one."""


def _load(folder: Path) -> None:
    from avpenet_cli.weights.finding import entry_at
    from avpenet_cli.weights.loading import load_network, verify

    entry = entry_at(folder / "w.safetensors")
    verify(entry)
    load_network(entry)


def _load_certified(folder: Path) -> None:
    """With the digest of the damaged tensors in the description: whoever alters weights can alter both."""
    path = folder / "w.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["tensors_sha256"] = hashlib.sha256((folder / "w.safetensors").read_bytes()).hexdigest()
    path.write_text(json.dumps(reseal_weights(content)), encoding="utf-8")
    _load(folder)


def _import(folder: Path) -> None:
    from avpenet_cli.checkpoints import import_checkpoint

    import_checkpoint(folder / "c.pth", folder / "out")


WEIGHTS = case_target(
    "weights",
    "tensors, descriptions and checkpoints",
    _prepare,
    [
        Case("pair", "pair", ("w.safetensors", "w.json"), _load, reseal_weights),
        Case("certified tensors", "pair", ("w.safetensors",), _load_certified, weight=3.0),
        Case("checkpoint", "checkpoint", ("c.pth",), _import, refused=True),
    ],
    limits=Limits(memory_mib=768.0),  # the first trial loads torch
    ci_trials=40,
)
