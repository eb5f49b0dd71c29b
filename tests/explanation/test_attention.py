"""Attention is the network's own, and where there is none, a reason says why."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from avpenet_cli.explanation.attention import CONSTANT, attention
from avpenet_cli.explanation.explained import SegmentInputs
from avpenet_cli.explanation.scorer import SegmentNetwork
from avpenet_cli.model.architecture import Architecture, Fusion
from avpenet_cli.model.avpenet import AVPENet
from avpenet_cli.model.registry import NETWORKS
from avpenet_cli.records import Quality, SegmentScore, Status
from avpenet_cli.settings import FaceSettings
from tests.support.explanations import ReadRecording
from tests.support.network_cases import NetworkCase, contract_network
from tests.support.networks import seeded_network

FACES = 3


@pytest.fixture(scope="module")
def inputs() -> SegmentInputs:
    """Audio and three faces of smooth noise."""
    rng = np.random.default_rng(4)
    record = SegmentScore(0, 0.0, 3.0, Status.SCORED, Quality(), score=5.0, modalities="audio+face")
    coarse = rng.integers(0, 256, (FACES, 7, 7, 3), dtype=np.uint8)
    crops = coarse.repeat(32, axis=1).repeat(32, axis=2)
    waveform = rng.uniform(-1, 1, 48_000).astype(np.float32)
    mel = rng.uniform(0, 1, (128, 300)).astype(np.float32)
    return SegmentInputs(record, mel, waveform, crops, np.array([2, 11, 25]))


def only(inputs: SegmentInputs, modalities: tuple[str, ...]) -> SegmentInputs:
    """What scoring gives a network that takes no more."""
    if "audio" not in modalities:
        inputs = dataclasses.replace(inputs, mel=None, waveform=None)
    if "face" not in modalities:
        inputs = dataclasses.replace(inputs, crops=inputs.crops[:0], places=inputs.places[:0])
    return inputs


def test_it_is_what_the_fusion_computes(phantom: ReadRecording) -> None:
    inputs, network = phantom.inputs[0], phantom.network
    result = attention(network, inputs)
    assert (result.reason, result.spatial_reason) == ("", "")
    assert isinstance(network.network, AVPENet)
    with torch.no_grad():
        audio, faces, places = network.tokens(inputs)
        fused = network.network.fuse(audio, faces, None, places)
    assert fused.face_to_audio is not None and fused.audio_to_face is not None
    assert result.audio == pytest.approx(fused.face_to_audio.mean(dim=(0, 1, 2)).numpy(), abs=1e-5)
    assert result.faces == pytest.approx(fused.audio_to_face.mean(dim=(0, 1, 2)).numpy(), abs=1e-5)
    assert result.spatial is not None and result.spatial.shape == (len(inputs.crops), 7, 7)
    assert 0 <= result.spatial.min() < result.spatial.max() <= 1


def test_it_leaves_the_network_as_it_was(phantom: ReadRecording) -> None:
    network = phantom.network.network
    hooks = sum(len(module._forward_hooks) for module in network.modules())
    attention(phantom.network, phantom.inputs[0])
    assert sum(len(module._forward_hooks) for module in network.modules()) == hooks == 0
    assert network.face_micro_batch is None


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_every_network_gives_attention_or_a_reason(name: str, inputs: SegmentInputs) -> None:
    entry = NETWORKS[name]
    network = SegmentNetwork(contract_network(NetworkCase(name, name, entry.settings_class()())), FaceSettings())
    result = attention(network, only(inputs, entry.modalities))
    for weights, reason in ((result.audio, result.reason), (result.faces, result.reason)):
        assert bool(reason) == (weights is None)
    assert bool(result.spatial_reason) == (result.spatial is None)
    between = name in {"avpenet", "emotieffnet", "context", "own-baseline"}
    assert (result.audio is not None) == between
    if result.audio is not None and result.faces is not None:
        assert (result.audio.shape, result.faces.shape) == ((10,), (FACES,))
        assert result.audio.sum() == pytest.approx(1, abs=1e-5) and result.faces.sum() == pytest.approx(1, abs=1e-5)
    assert (result.spatial is not None) == (name in {"avpenet", "face-only", "late-fusion", "context", "own-baseline"})


@pytest.mark.parametrize(
    ("fusion", "has_audio", "has_faces", "reason"),
    [
        ("single", False, False, CONSTANT),
        ("audio-queries", False, True, "faces do not attend to audio"),
        ("face-queries", True, False, "audio does not attend to faces"),
        ("transformer", True, True, ""),
        ("bilstm", False, False, "no attention between audio and faces"),
    ],
)
def test_each_fusion_has_what_it_can_have(
    fusion: Fusion, has_audio: bool, has_faces: bool, reason: str, inputs: SegmentInputs
) -> None:
    network = SegmentNetwork(seeded_network("avpenet", Architecture(fusion=fusion)), FaceSettings())
    result = attention(network, inputs)
    assert (result.audio is not None, result.faces is not None) == (has_audio, has_faces)
    assert reason in result.reason if reason else not result.reason
    assert result.spatial is not None
    for weights in (result.audio, result.faces):
        assert weights is None or (weights.sum() == pytest.approx(1, abs=1e-5) and float(np.ptp(weights)) > 0)


def test_what_cannot_vary_is_not_drawn(phantom: ReadRecording) -> None:
    inputs = phantom.inputs[0]
    one = dataclasses.replace(inputs, crops=inputs.crops[:1], places=inputs.places[:1])
    result = attention(phantom.network, one)
    assert result.audio is not None and result.faces is None
    assert result.reason == "one face: attention over faces cannot vary"
    heard = attention(phantom.network, only(inputs, ("audio",)))
    assert heard.audio is heard.faces is heard.spatial is None
    assert heard.reason.startswith("only audio made this score")
    assert heard.spatial_reason == "no face made this score"
    seen = attention(phantom.network, only(one, ("face",)))
    assert seen.audio is seen.faces is None and seen.spatial is not None
    assert seen.reason.startswith("only the face made this score")
