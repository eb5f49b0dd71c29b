"""What a network starts from: a seed, and whatever trained parameters lie on this machine."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from avpenet_cli.checkpoints import import_checkpoint
from avpenet_cli.errors import WeightsError
from avpenet_cli.model.avpenet import AVPENet
from avpenet_cli.model.initialise import seeded_state
from avpenet_cli.model.registry import build
from avpenet_cli.training.settings import TrainSettings
from avpenet_cli.weights import find, load_network, require_file

NETWORK_NAME = "avpenet"
_CLASSIFIER = "fc."


def initial_network(settings: TrainSettings, files: Sequence[Path]) -> AVPENet:
    """A network whose parameters come from the seed and then, in this order, from the files.

    Args:
        files: each a pair of weights (`.safetensors`), a checkpoint of the authors' code, or a torchvision state dict
            of ResNet-34 (the audio encoder; its three input channels are added up) or ResNet-50 (the visual encoder).

    Raises:
        WeightsError: a file that is none of these.
    """
    network = build(NETWORK_NAME, settings.architecture)
    network.load_state_dict(seeded_state(network, settings.seed))
    for file in files:
        _take(network, file)
    return network


def digest_of_files(files: Sequence[Path]) -> list[str]:
    """SHA-256 of each, hexadecimal."""
    digests = []
    for path in files:
        require_file(path, "the file to start from")
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return digests


def _take(network: AVPENet, path: Path) -> None:
    if path.suffix == ".safetensors":
        network.load_state_dict(load_network(find(path)).state_dict())
        return
    require_file(path, "the checkpoint")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # a broken or hostile file can fail in any way; what reads checkpoints says it well
        content = None
    if isinstance(content, dict) and "conv1.weight" in content and "layer4.0.conv1.weight" in content:
        _take_resnet(network, content, path)
        return
    with tempfile.TemporaryDirectory() as folder:
        entry = import_checkpoint(path, Path(folder), "initial")
        network.load_state_dict(load_network(entry).state_dict())


def _take_resnet(network: AVPENet, content: Mapping[str, Tensor], path: Path) -> None:
    """Fill one encoder's trunk from torchvision's names, which are the checkpoint's as well."""
    bottleneck = "layer1.0.conv3.weight" in content
    encoder = network.visual_encoder if bottleneck else network.audio_encoder
    trunk = {name: value.float() if value.is_floating_point() else value for name, value in content.items()}
    trunk = {name: value for name, value in trunk.items() if not name.startswith(_CLASSIFIER)}
    if not bottleneck:
        # A grey picture gives the same answer as before.
        trunk["conv1.weight"] = trunk["conv1.weight"].sum(dim=1, keepdim=True)
    own = {"spatial_attention.", "projector."}
    wanted = {name: one for name, one in encoder.state_dict().items() if not name.startswith(tuple(own))}
    wrong = [name for name, one in wanted.items() if name not in trunk or trunk[name].shape != one.shape]
    wrong += sorted(trunk.keys() - wanted.keys())
    if wrong:
        kind = "ResNet-50" if bottleneck else "ResNet-34"
        raise WeightsError(
            f"{path} is no state dict of torchvision's {kind}: {wrong[0]} does not fit",
            "give resnet34 for the audio encoder, resnet50 for the visual encoder",
        )
    encoder.load_state_dict({**encoder.state_dict(), **trunk})
