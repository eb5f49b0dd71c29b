"""Networks with seeded parameters, and the published network's parameters and inputs for parity tests."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch

from avpenet_cli.model.architecture import Architecture, Fusion, NetworkSettings, Pooling
from avpenet_cli.model.avpenet import AVPENet
from avpenet_cli.model.initialise import seeded_state
from avpenet_cli.model.network import PainNetwork
from avpenet_cli.model.registry import build
from tests.golden import seeded

GOLDEN = Path(__file__).parents[1] / "golden"
"""Outputs of the published model and front end for the inputs and parameters of `golden/seeded.py`."""


def seeded_pain_network(name: str, architecture: NetworkSettings) -> PainNetwork:
    """A registered network with seeded parameters, in evaluation mode; nothing is learnt from features."""
    with torch.device("meta"):
        network = build(name, architecture)
    encoders = {key: tensor for key, tensor in network.state_dict().items() if key.startswith(_ENCODERS)}
    key = tuple((name, tensor.shape) for name, tensor in encoders.items())
    if key not in _encoder_states:
        _encoder_states[key] = seeded_state(network, 7, encoders.keys())
    state = {name: tensor.clone() for name, tensor in _encoder_states[key].items()}
    state |= seeded_state(network, 7, network.state_dict().keys() - state.keys())
    network.load_state_dict(state, assign=True)
    return network.eval()


_ENCODERS = ("audio_encoder.", "visual_encoder.")
_encoder_states: dict[tuple[tuple[str, torch.Size], ...], dict[str, torch.Tensor]] = {}
"""Of encoders that many networks have: drawing their parameters takes a second."""


def seeded_network(name: str, architecture: Architecture) -> AVPENet:
    """As `seeded_pain_network`, for variants of AVPENet."""
    network = seeded_pain_network(name, architecture)
    assert isinstance(network, AVPENet)
    return network


def published_names() -> dict[str, tuple[int, ...]]:
    """Parameter names and shapes of the authors' checkpoints."""
    lines = (line.split(" ", 1) for line in (GOLDEN / "names.txt").read_text().splitlines())
    return {name: tuple(int(size) for size in shape.strip("[]").split(",") if size) for name, shape in lines}


@cache
def published_state(seed: int) -> dict[str, torch.Tensor]:
    """State dict under the published names, with the parameters that the golden outputs were computed with."""
    return {
        name: torch.from_numpy(np.asarray(seeded.parameter(seed, name, shape)))
        for name, shape in published_names().items()
    }


def published_network(seed: int, fusion: Fusion, pooling: Pooling = "frame") -> AVPENet:
    """The network with `published_state`, in evaluation mode."""
    with torch.device("meta"):
        network = build("avpenet", Architecture(fusion=fusion, pooling=pooling))
    assert isinstance(network, AVPENet)
    network.load_state_dict(published_state(seed), assign=True)
    return network.eval()


def published_inputs(seed: int) -> dict[str, torch.Tensor]:
    """`mel`, `face` and `clip` that the golden outputs were computed from."""
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in seeded.inputs(seed).items()}
