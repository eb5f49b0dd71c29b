"""Initial parameters of a network: from a seed, and from files of trained parameters."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from avpenet_cli.checkpoints import import_checkpoint
from avpenet_cli.errors import WeightsError
from avpenet_cli.model.encoders import ResNetTrunk
from avpenet_cli.model.initialise import seeded_state
from avpenet_cli.model.network import PainNetwork
from avpenet_cli.model.registry import build
from avpenet_cli.runs.temporary import temporary_folder
from avpenet_cli.training.settings import TrainSettings
from avpenet_cli.weights import find, load_network, require_file

_FILE_SUFFIXES = {".safetensors", ".pth", ".pt"}
_ENCODERS = {"audio_encoder", "visual_encoder"}
_CLASSIFIER = "fc."
_ADDED_LAYERS = ("spatial_attention.", "projector.")
"""Layers that the encoders have but torchvision's networks do not."""


def initial_network(settings: TrainSettings, files: Sequence[Path]) -> PainNetwork:
    """A network whose parameters are initialised from the seed and then loaded from the files, in this order.

    Args:
        files: each either weights (`.safetensors`), a checkpoint of the authors' code, or a torchvision state dict of
            ResNet-34 (the audio encoder; its three input channels are summed) or ResNet-50 (the visual encoder). Of
            weights of another network, or with `init_parts` `encoders`, the encoders that both have are loaded; a
            network that is built on another one takes all of that.

    Raises:
        WeightsError: a file that is none of these, or damaged, or that has nothing for this network.
    """
    with torch.device("meta"):
        network = build(settings.network, settings.architecture)
    state: dict[str, Tensor] = {}
    for file in files:
        state |= _parameters_of(network, file, encoders_only=settings.init_parts == "encoders")
    # Only what no file has: drawing 46 million values takes longer than everything else here.
    seeded = seeded_state(network, settings.seed, network.state_dict().keys() - state.keys())
    network.load_state_dict(seeded | state, assign=True)
    return network


def locate_initial_file(name_or_path: str | Path) -> Path:
    """The file to start from: a path as it is, else that of the installed weights of this name.

    Raises:
        WeightsError: neither a file nor installed weights.
    """
    path = Path(name_or_path)
    if path.is_file() or len(path.parts) != 1 or path.suffix in _FILE_SUFFIXES:
        return path
    located = find(str(path)).path
    if located is None:
        raise WeightsError(f"the weights {path} have no file to start from", "leave out --init to start from a seed")
    return located


def digest_of_files(files: Sequence[Path]) -> list[str]:
    """SHA-256 of each file, hexadecimal."""
    digests = []
    for path in files:
        require_file(path, "the file to start from")
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return digests


def _parameters_of(network: PainNetwork, path: Path, *, encoders_only: bool) -> dict[str, Tensor]:
    """Those of the network's parameters that a file has, by the network's names; float32 on the CPU."""
    if path.suffix == ".safetensors":
        return _of_weights(network, load_network(find(path)), path, encoders_only=encoders_only)
    require_file(path, "the checkpoint")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # a broken or hostile file can fail in any way; `import_checkpoint` reports it
        content = None
    if isinstance(content, dict) and "conv1.weight" in content and "layer4.0.conv1.weight" in content:
        return _of_resnet(network, content, path)
    with temporary_folder("weights") as folder:
        entry = import_checkpoint(path, folder, "initial")
        return _of_weights(network, load_network(entry), path, encoders_only=encoders_only)


def _of_weights(network: PainNetwork, source: PainNetwork, path: Path, *, encoders_only: bool) -> dict[str, Tensor]:
    state = source.state_dict()
    base = getattr(network, "base", None)
    if isinstance(base, PainNetwork):
        if (type(base), base.architecture) != (type(source), source.architecture):
            raise WeightsError(
                f"{path}: {source.architecture} are not the settings of the network that is built on it",
                f"set architecture.base to these, or give weights with {base.architecture}",
            )
        return {f"base.{name}": tensor for name, tensor in state.items()}
    expected = network.state_dict()
    same = {name: tensor.shape for name, tensor in state.items()} == {name: t.shape for name, t in expected.items()}
    if encoders_only or not same:
        state = {name: tensor for name, tensor in state.items() if name.split(".")[0] in _ENCODERS and name in expected}
        wrong = next((name for name, tensor in state.items() if expected[name].shape != tensor.shape), None)
        if wrong or not state:
            raise WeightsError(
                f"{path} has no encoder that this network has", "leave out --init, or give weights of a related network"
            )
    return state


def _of_resnet(network: PainNetwork, content: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """One encoder's trunk from a torchvision state dict, which has the same names."""
    bottleneck = "layer1.0.conv3.weight" in content
    prefix = "visual_encoder" if bottleneck else "audio_encoder"
    encoder = getattr(network, prefix, None)
    if not isinstance(encoder, ResNetTrunk):
        raise WeightsError(f"{path}: this network has no encoder of that kind", "leave out --init")
    trunk = {name: value.float() if value.is_floating_point() else value for name, value in content.items()}
    trunk = {name: value for name, value in trunk.items() if not name.startswith(_CLASSIFIER)}
    if not bottleneck:
        # For a grey image the sum over channels gives the same result.
        trunk["conv1.weight"] = trunk["conv1.weight"].sum(dim=1, keepdim=True)
    expected = {name: value for name, value in encoder.state_dict().items() if not name.startswith(_ADDED_LAYERS)}
    wrong = [name for name, value in expected.items() if name not in trunk or trunk[name].shape != value.shape]
    wrong += sorted(trunk.keys() - expected.keys())
    if wrong:
        kind = "ResNet-50" if bottleneck else "ResNet-34"
        raise WeightsError(
            f"{path} is not a state dict of torchvision's {kind}: {wrong[0]} does not match",
            "give resnet34 for the audio encoder, resnet50 for the visual encoder",
        )
    return {f"{prefix}.{name}": value for name, value in trunk.items()}
