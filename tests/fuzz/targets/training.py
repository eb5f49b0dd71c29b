"""What training and experiments read of an earlier run: checkpoints, the folders of a training and an experiment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.fuzz.case_target import case_target
from tests.fuzz.cases import Case
from tests.fuzz.trials import Limits, command

if TYPE_CHECKING:
    from torch import Tensor

    from avpenet_cli.experiment.identity import ExperimentIdentity

_SETTINGS = """
network = "early-fusion"
batch_size = 2
accumulate = 1
stage_1 = {epochs = 1, encoder_rate = 0.0, fusion_rate = 1e-3}
stage_2 = {epochs = 0, encoder_rate = 1e-4, fusion_rate = 1e-3}
"""
_FOLDER = "w.train"
_SYSTEMS, _SUBJECTS = ("avpenet", "context"), 18


def _prepare(corpus: Path) -> None:
    import torch

    from tests.support.training_stores import make_store

    study = corpus / "training"
    make_store(study, subjects=8, segments=1, faces=1)
    (study / "train.toml").write_text(_SETTINGS, encoding="utf-8")
    _train(study)
    for path in study.glob("w.*"):  # a run that was killed before it wrote the weights
        if path.is_file():
            path.unlink()
    content = torch.load(study / _FOLDER / "last.ckpt", weights_only=True)
    tensors: dict[str, Tensor] = {}
    (study / "checkpoint.json").write_text(json.dumps(_plain(content, tensors)), encoding="utf-8")
    torch.save(tensors, study / "tensors.pt")
    _prepare_experiment(corpus / "experiment")


def _plain(value: Any, tensors: dict[str, Tensor]) -> Any:
    """A checkpoint as JSON, with its tensors apart."""
    import torch

    if isinstance(value, torch.Tensor):
        tensors[str(len(tensors))] = value
        return {"tensor": str(len(tensors) - 1)}
    if isinstance(value, tuple):
        return {"tuple": [_plain(part, tensors) for part in value]}
    if isinstance(value, list):
        return [_plain(part, tensors) for part in value]
    if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
        return {"items": [[key, _plain(part, tensors)] for key, part in value.items()]}
    if isinstance(value, dict):
        return {key: _plain(part, tensors) for key, part in value.items()}
    return value


def _restored(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """What `_plain` was given; what is damaged stays as it is."""
    match value:
        case {"tensor": str(name)} if name in tensors:
            return tensors[name]
        case {"tuple": list(parts)}:
            return tuple(_restored(part, tensors) for part in parts)
        case {"items": list(parts)} if all(
            isinstance(part, list) and len(part) == 2 and isinstance(part[0], str | int) for part in parts
        ):
            return {key: _restored(part, tensors) for key, part in parts}
        case dict():
            return {key: _restored(part, tensors) for key, part in value.items()}
        case list():
            return [_restored(part, tensors) for part in value]
    return value


def _train(folder: Path, *options: str) -> str:
    arguments: tuple[str | Path, ...] = (
        "--config",
        folder / "train.toml",
        "--device",
        "cpu",
        "--demonstration",
        *options,
    )
    return command("train", folder / "store", "--out", folder / "w.safetensors", *arguments)


def _resume(folder: Path) -> str:
    return _train(folder, "--resume")


def _resume_certified(folder: Path) -> str:
    """With a checkpoint that torch can load, whatever it holds."""
    import torch

    try:
        content = json.loads((folder / "checkpoint.json").read_text(encoding="utf-8"))
        restored = _restored(content, torch.load(folder / "tensors.pt", weights_only=True))
    except (ValueError, RecursionError):  # the damage is not one of a checkpoint
        return "exit 0"
    torch.save(restored, folder / _FOLDER / "last.ckpt")
    return _resume(folder)


def _prepare_experiment(folder: Path) -> None:
    from avpenet_cli.experiment.identity import RUN_FILE
    from avpenet_cli.settings import to_dict
    from tests.experiment.experiments import Experiment, make_index, system

    predictions = folder / "predictions"
    predictions.mkdir(parents=True)
    made = Experiment(predictions, make_index(_SUBJECTS))
    for name in _SYSTEMS:
        made.add(system(name))
    (folder / RUN_FILE).write_text(json.dumps(to_dict(_identity())), encoding="utf-8")


def _identity() -> ExperimentIdentity:
    from avpenet_cli.experiment.identity import RUN_VERSION, ExperimentIdentity

    return ExperimentIdentity(RUN_VERSION, "0" * 64, "", "1" * 64, {"train.seed": "1"}, {"avpenet": {"base": ""}})


def _resume_experiment(folder: Path) -> None:
    from avpenet_cli.experiment.identity import begin_or_resume

    begin_or_resume(folder, _identity())


def _analyse(folder: Path) -> None:
    from tests.experiment.experiments import Experiment, make_index, system

    systems = [system(name) for name in _SYSTEMS]
    Experiment(folder / "predictions", make_index(_SUBJECTS), systems).analyse()


TRAINING = case_target(
    "training",
    "checkpoints and folders of trainings that resume, and of experiments",
    _prepare,
    [
        Case("checkpoint", "training", (f"{_FOLDER}/last.ckpt",), _resume),
        Case("certified checkpoint", "training", ("checkpoint.json",), _resume_certified, weight=3.0),
        Case("training folder", "training", (f"{_FOLDER}/*.json", f"{_FOLDER}/*.safetensors"), _resume, weight=2.0),
        Case("experiment", "experiment", ("*.json",), _resume_experiment),
        Case("predictions", "experiment", ("predictions/*.parquet",), _analyse),
    ],
    # The first trial loads torch and lightning, and a child has its parent's memory until it is another program.
    limits=Limits(memory_mib=768.0, child_mib=1536.0),
    ci_trials=12,
)
