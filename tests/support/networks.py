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
    network.load_state_dict(seeded_state(network, 7), assign=True)
    return network.eval()


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
