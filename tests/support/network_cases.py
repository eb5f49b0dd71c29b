"""The networks that the contract tests check: every registered one, and variants by settings; with tokens for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from avpenet_cli.model.architecture import Architecture, Fusion, NetworkSettings
from avpenet_cli.model.network import FeatureNetwork, FeatureTable, PainNetwork
from avpenet_cli.model.registry import NETWORKS, network_entry
from avpenet_cli.model.systems.settings import EarlyFusionSettings, LightEncoderSettings
from tests.support.networks import seeded_pain_network

SEGMENTS, FACES = 3, 4
_ROWS = 48
_RECORDINGS = 8


@dataclass(frozen=True)
class NetworkCase:
    """A network and its settings.

    Attributes:
        id: of the test.
        own_tokens: encode inputs; the variants of a network's fusion take random tokens of the encoders' shape.
    """

    id: str
    name: str
    architecture: NetworkSettings
    own_tokens: bool = True


def _cases() -> list[NetworkCase]:
    registered = [NetworkCase(name, name, entry.settings_class()()) for name, entry in sorted(NETWORKS.items())]
    fusions = [
        NetworkCase(f"avpenet {fusion}", "avpenet", Architecture(fusion=fusion), own_tokens=False)
        for fusion in get_args(Fusion)
        if fusion != Architecture().fusion
    ]
    variants = [
        NetworkCase("early-fusion of 30 steps", "early-fusion", EarlyFusionSettings(time_steps=30)),
        NetworkCase("emotieffnet of efficientnet_b0", "emotieffnet", LightEncoderSettings(backbone="efficientnet_b0")),
    ]
    return registered + fusions + variants


CASES = _cases()


class Tokens(NamedTuple):
    """Arguments of `PainNetwork.score` for three segments with four faces each, some of which are masked."""

    audio: Tensor
    faces: Tensor
    mask: Tensor
    places: Tensor

    def row(self, row: int) -> Tokens:
        """One segment."""
        return Tokens(*(part[row : row + 1] for part in self))


def inputs(network: PainNetwork) -> tuple[Tensor, Tensor]:
    """Audio of three segments, as the network takes it, and four faces."""
    generator = torch.Generator().manual_seed(3)
    audio = torch.rand((SEGMENTS, 1, 128, 300), generator=generator)
    if network.audio_input == "waveform":
        audio = 2 * torch.rand((SEGMENTS, 48_000), generator=generator) - 1
    # Blotches rather than noise of single pixels, which pooling would cancel.
    coarse = torch.randn((FACES, 3, 7, 7), generator=generator)
    return audio, torch.nn.functional.interpolate(coarse, size=(224, 224), mode="bicubic")


@torch.inference_mode()
def tokens_for(case: NetworkCase, network: PainNetwork) -> Tokens:
    """Each segment has the four faces in another order, at places of its own."""
    if case.own_tokens:
        audio_input, faces_input = inputs(network)
        audio, faces = network.encode_audio(audio_input), network.encode_faces(faces_input)
    else:
        generator = torch.Generator().manual_seed(5)
        audio = 3 * torch.randn((SEGMENTS, 10, 512), generator=generator)
        faces = 3 * torch.randn((FACES, 512), generator=generator)
    orders = torch.tensor([[0, 1, 2, 3], [2, 0, 3, 1], [3, 2, 1, 0]])
    mask = torch.tensor([[True, True, True, True], [True, False, True, True], [True, True, False, False]])
    places = torch.tensor([[0, 7, 15, 29], [3, 4, 20, 28], [11, 14, 0, 0]])
    return Tokens(audio, faces[orders], mask, places)


def contract_network(case: NetworkCase) -> PainNetwork:
    """The network of a case, with seeded parameters; one that learns from features has learnt from a small table."""
    network = seeded_pain_network(case.name, case.architecture)
    return network.learn(_table(case, network), seed=1) if isinstance(network, FeatureNetwork) else network


@torch.inference_mode()
def _table(case: NetworkCase, network: FeatureNetwork) -> FeatureTable:
    """The features of the case's tokens with noise: eight recordings of six segments, of as many subjects."""
    taken = network_entry(case.name).modalities
    audio, faces, mask, places = tokens_for(case, network)
    if "face" in taken:
        embedded = network.embed(audio if "audio" in taken else None, faces, mask, places)
    else:
        embedded = network.embed(audio, None)
    rng = np.random.default_rng(11)
    features = embedded.numpy()[rng.integers(SEGMENTS, size=_ROWS)]
    noisy = features * (1 + 0.1 * rng.standard_normal(features.shape))
    recording = np.repeat(np.arange(_RECORDINGS), _ROWS // _RECORDINGS)
    validation = recording >= _RECORDINGS - 2
    return FeatureTable(
        features=noisy.astype(np.float32),
        starts_s=np.tile(3.0 * np.arange(_ROWS // _RECORDINGS), _RECORDINGS),
        recording=recording,
        subject=recording,
        truth=rng.uniform(0, 10, _ROWS),
        train=~validation,
        validation=validation,
    )
