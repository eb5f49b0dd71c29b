"""Checkpoints of the authors' code -> weights of this program, without ever executing a pickle."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avpenet_cli.errors import WeightsError
from avpenet_cli.model.architecture import Architecture
from avpenet_cli.settings import AudioSettings, Preprocessing
from avpenet_cli.version import __version__
from avpenet_cli.weights import WeightsDescription, WeightsEntry, may_be_called, require_file, save, store_folder

if TYPE_CHECKING:
    from torch import Tensor

AUTHORS_PREPROCESSING = Preprocessing(audio=AudioSettings(denoise="first-frames"))
"""Noise from the first 20 STFT frames, as the authors' code has it; faces aligned as the article has it."""

_AUTHORS_CONFIG: dict[str, object] = {
    "audio_encoder": "resnet34",
    "visual_encoder": "resnet50",
    "embed_dim": 512,
    "num_heads": 8,
    "dropout_audio": 0.3,
    "dropout_visual": 0.4,
    "dropout_ff": 0.3,
    "dropout_attn": 0.0,
    "head_hidden1": 256,
    "head_hidden2": 128,
    "head_dropout1": 0.3,
    "head_dropout2": 0.2,
}
"""The keys of the authors' model configuration, with the one value of each that this network has."""


def import_checkpoint(
    checkpoint: Path,
    out_dir: Path | None = None,
    name: str | None = None,
    *,
    preprocessing: Preprocessing = AUTHORS_PREPROCESSING,
    training_data: str = "not stated by the checkpoint",
    licence: str = "not stated by the checkpoint",
    overwrite: bool = False,
) -> WeightsEntry:
    """Convert a checkpoint of the authors' code (or a bare state dict of their network) into a pair of files.

    The file is read with `weights_only`: nothing in it is ever executed. The result averages images before the
    encoder and fuses single tokens, as the authors' training and `PainEstimator` do.

    Args:
        checkpoint: `.pth` as `scripts/train.py` writes it: `model_state_dict`, `config`, perhaps DDP's `module.`
            before every name.
        out_dir: where to put the pair; the user's store by default.
        name: of the new weights; the checkpoint's stem by default.
        preprocessing: what this checkpoint was trained to see, if not the authors' way.
        training_data: for the description.
        licence: for the description.
        overwrite: replace weights of that name.

    Raises:
        WeightsError: not a checkpoint, not safe to read, of other sizes than this network, or not all of its tensors.
        EnvironmentUnavailableError: the folder cannot be written.
    """
    wanted = checkpoint.stem if name is None else name
    if not may_be_called(wanted):
        raise WeightsError(
            f"weights cannot be called {wanted!r}", "choose a name (--name) of letters, digits, dots, dashes"
        )
    content, source_sha256 = _read_checkpoint(checkpoint)
    state = content.get("model_state_dict", content)
    if not isinstance(state, dict) or not state:
        raise WeightsError(f"{checkpoint}: model_state_dict holds no tensors", "give a whole checkpoint")
    if "model_state_dict" in content:
        _check_authors_config(content.get("config"), checkpoint)
    description = WeightsDescription(
        name=wanted,
        status="imported",
        intended_use="Research on recorded procedures, by people who know how this checkpoint was trained.",
        not_intended_use="Clinical decisions; populations it was not validated on.",
        training_data=training_data,
        licence=licence,
        created_with=f"avpenet {__version__}, imported from a checkpoint with SHA-256 {source_sha256}",
        architecture=Architecture(fusion="single", pooling="image"),
        preprocessing=preprocessing,
        notice="IMPORTED weights: their accuracy was not checked with this program; not for clinical decisions",
    )
    folder = store_folder() if out_dir is None else out_dir
    tensors = _plain_tensors(state, checkpoint)
    try:
        return save(tensors, description, folder / f"{wanted}.safetensors", overwrite)
    except WeightsError as error:
        raise WeightsError(f"{checkpoint}: {error.message}", error.remedy) from None


def _read_checkpoint(path: Path) -> tuple[dict[str, Any], str]:
    import torch

    require_file(path, "the checkpoint")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a hostile or broken file can make the reader fail in any way
        first_line = str(error).strip().split("\n", 1)[0]
        unsafe = "nsupported" in str(error) or "weights_only" in str(error).lower()
        problem = "holds more than tensors and plain values and was not read" if unsafe else "is not a whole checkpoint"
        raise WeightsError(
            f"{path} {problem} ({type(error).__name__}: {first_line[:160]})",
            "get a checkpoint that holds only `model_state_dict` and `config`, from a source you trust",
        ) from None
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds a {type(content).__name__}, not a checkpoint", "give a state dict")
    return content, digest


def _check_authors_config(config: object, path: Path) -> None:
    if config is None:
        return
    model = config.get("model", config) if isinstance(config, dict) else config
    if not isinstance(model, dict):
        raise WeightsError(f"{path}: config is not a table of settings", "give a checkpoint of the authors' code")
    for key, supported in _AUTHORS_CONFIG.items():
        if key in model and model[key] != supported:
            raise WeightsError(
                f"{path}: config has {key} = {model[key]!r}; this network has {supported!r} only",
                "these weights belong to another network",
            )


def _plain_tensors(state: Mapping[Any, Any], path: Path) -> dict[str, Tensor]:
    """Names without DDP's prefix; floating point as float32."""
    import torch

    prefixed = all(str(name).startswith("module.") for name in state)
    tensors: dict[str, Tensor] = {}
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise WeightsError(
                f"{path}: {name!r} is a {type(value).__name__}, not a tensor of a network",
                "give a checkpoint with `model_state_dict`, or a bare state dict",
            )
        tensors[name.removeprefix("module.") if prefixed else name] = (
            value.float() if value.is_floating_point() else value
        )
    return tensors
