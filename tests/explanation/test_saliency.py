"""Saliency maps of the bundled network, and that every registered network gives a map or a reason."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from avpenet_cli.explanation.explained import Attention, SegmentInputs
from avpenet_cli.explanation.map_settings import MapSettings
from avpenet_cli.explanation.saliency import LANDMARKS, WAVEFORM, Tokens, blurred, faces_to_show, saliency
from avpenet_cli.explanation.scorer import SegmentNetwork
from avpenet_cli.model.registry import NETWORKS, network_entry
from avpenet_cli.settings import FaceSettings
from tests.support.explanations import ReadRecording
from tests.support.network_cases import NetworkCase, contract_network

QUICK = MapSettings(audio_steps=2, face_steps=2, faces_shown=1)


def segment_tokens(network: SegmentNetwork, inputs: SegmentInputs) -> Tokens:
    with torch.no_grad():
        return network.tokens(inputs)


def few_faces(inputs: SegmentInputs, count: int = 2) -> SegmentInputs:
    """The same segment with its first faces only, which is quicker."""
    return dataclasses.replace(inputs, crops=inputs.crops[:count], places=inputs.places[:count])


@pytest.mark.slow
def test_the_maps_add_up_to_what_the_input_adds_to_the_score(phantom: ReadRecording) -> None:
    inputs = few_faces(phantom.inputs[0])
    tokens = segment_tokens(phantom.network, inputs)
    settings = dataclasses.replace(MapSettings(), faces_shown=1)
    maps = saliency(phantom.network, inputs, tokens, Attention(), settings)
    assert maps.audio is not None and maps.faces is not None and not maps.reason
    assert maps.audio.shape == (128, 300) and maps.faces.shape == (1, *inputs.crops.shape[1:3])
    network = phantom.network
    audio = network.audio(inputs)
    assert audio is not None and maps.audio_gap is not None
    with torch.no_grad():
        silent = float(network.score(network.network.encode_audio(torch.zeros_like(audio)), *tokens[1:]))
        whole = float(network.score(*tokens))
    assert abs(maps.audio.sum() - (whole - silent)) == pytest.approx(maps.audio_gap, abs=0.01)
    assert maps.audio_gap < 0.25 * abs(whole - silent)


def test_the_faces_with_the_most_attention_are_shown(phantom: ReadRecording) -> None:
    inputs = phantom.inputs[0]
    weights = np.linspace(0, 1, len(inputs.crops), dtype=np.float32)
    weights[3] = 2
    assert faces_to_show(inputs, Attention(faces=weights), MapSettings(faces_shown=2)) == (3, len(weights) - 1)
    without = faces_to_show(inputs, Attention(), MapSettings(faces_shown=2))
    assert len(set(without)) == 2 and without == tuple(sorted(without))
    assert faces_to_show(few_faces(inputs, 1), Attention(), MapSettings()) == (0,)
    assert faces_to_show(few_faces(inputs, 0), Attention(), MapSettings()) == ()


@pytest.mark.slow
def test_a_segment_without_a_modality_has_the_map_of_the_other(phantom: ReadRecording) -> None:
    silent = dataclasses.replace(few_faces(phantom.inputs[0]), mel=None, waveform=None)
    maps = saliency(phantom.network, silent, segment_tokens(phantom.network, silent), Attention(), QUICK)
    assert maps.audio is None and maps.audio_gap is None and maps.faces is not None
    assert maps.reason == "no audio made the score"
    hidden = few_faces(phantom.inputs[0], 0)
    maps = saliency(phantom.network, hidden, segment_tokens(phantom.network, hidden), Attention(), QUICK)
    assert maps.faces is None and maps.faces_gap is None and maps.shown == () and maps.audio is not None
    assert maps.reason == "no face made the score"


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_every_network_gives_maps_or_a_reason(name: str, phantom: ReadRecording) -> None:
    entry = network_entry(name)
    model = contract_network(NetworkCase(name, name, entry.settings_class()()))
    network = SegmentNetwork(model, FaceSettings())
    inputs = few_faces(phantom.inputs[0])
    maps = saliency(network, inputs, segment_tokens(network, inputs), Attention(), QUICK)
    expected = {
        "cry-analyzer": f"{WAVEFORM}; the network takes no face",
        "deepfacelift": f"the network takes no audio; {LANDMARKS}",
        "audio-only": "the network takes no face",
        "face-only": "the network takes no audio",
    }
    assert maps.reason == expected.get(name, "")
    for modality, values in (("audio", maps.audio), ("face", maps.faces)):
        has_map = modality in entry.modalities and name not in ("cry-analyzer", "deepfacelift")
        assert (values is not None) == has_map
        assert values is None or (np.isfinite(values).all() and np.ptp(values) > 0)


def test_a_blur_keeps_the_mean_colour_and_takes_the_detail() -> None:
    images = torch.zeros((1, 3, 64, 64))
    images[..., 24:40, 24:40] = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1)
    result = blurred(images, 4.0)
    torch.testing.assert_close(result.mean(dim=(2, 3)), images.mean(dim=(2, 3)), rtol=0.01, atol=0)
    assert float(result.diff(dim=-1).abs().max()) < 0.15 * float(images.diff(dim=-1).abs().max())
    flat = torch.full((1, 3, 32, 32), 0.5)
    torch.testing.assert_close(blurred(flat, 4.0), flat)
