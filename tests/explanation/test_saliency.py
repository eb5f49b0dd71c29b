"""Saliency maps of the bundled network, and that every registered network gives a map or a reason."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from avpenet_cli.explanation.explained import Attention, SegmentInputs
from avpenet_cli.explanation.map_settings import MapSettings
from avpenet_cli.explanation.saliency import WAVEFORM, Tokens, blurred, faces_to_show, saliency
from avpenet_cli.explanation.scorer import SegmentNetwork
from avpenet_cli.model.registry import NETWORKS, network_entry
from avpenet_cli.settings import FaceSettings
from tests.support.explanations import ReadRecording
from tests.support.network_cases import NetworkCase, contract_network

QUICK = MapSettings(audio_cell=(64, 100), face_cells=2, faces_shown=1)


def segment_tokens(network: SegmentNetwork, inputs: SegmentInputs) -> Tokens:
    with torch.no_grad():
        return network.tokens(inputs)


def few_faces(inputs: SegmentInputs, count: int = 2) -> SegmentInputs:
    """The same segment with its first faces only, which is quicker."""
    return dataclasses.replace(inputs, crops=inputs.crops[:count], places=inputs.places[:count])


@pytest.mark.slow
def test_a_cell_has_what_the_score_loses_without_it(phantom: ReadRecording) -> None:
    inputs, network = few_faces(phantom.inputs[0]), phantom.network
    tokens = segment_tokens(network, inputs)
    maps = saliency(network, inputs, tokens, Attention(), QUICK)
    assert maps.audio is not None and maps.faces is not None and not maps.reason
    assert maps.audio.shape == (2, 3) and maps.faces.shape == (1, 2, 2)
    audio, faces = network.audio(inputs), network.faces(inputs)
    assert audio is not None and faces is not None
    without = audio.clone()
    without[..., 64:, 100:200] = 0  # high frequencies, the second of three seconds
    with torch.no_grad():
        whole, less = (
            float(network.score(network.network.encode_audio(part), *tokens[1:])) for part in (audio, without)
        )
    assert maps.audio[1, 1] == pytest.approx(whole - less, abs=1e-3)
    crop = faces[maps.shown[0] : maps.shown[0] + 1]
    lower_left = crop.clone()
    lower_left[..., 112:, :112] = blurred(crop, QUICK.face_blur * crop.shape[-1])[..., 112:, :112]
    with torch.no_grad():
        both = [network.network.encode_faces(part)[:, None].expand(-1, 2, -1) for part in (crop, lower_left)]
        whole, less = (float(network.score(tokens[0], part, tokens[2])) for part in both)
    assert maps.faces[0, 1, 0] == pytest.approx(whole - less, abs=1e-3)


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
    assert maps.audio is None and maps.faces is not None
    assert maps.reason == "no audio made the score"
    hidden = few_faces(phantom.inputs[0], 0)
    maps = saliency(phantom.network, hidden, segment_tokens(phantom.network, hidden), Attention(), QUICK)
    assert maps.faces is None and maps.shown == () and maps.audio is not None
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
        "deepfacelift": "the network takes no audio",
        "audio-only": "the network takes no face",
        "face-only": "the network takes no audio",
    }
    assert maps.reason == expected.get(name, "")
    for modality, values in (("audio", maps.audio), ("face", maps.faces)):
        has_map = modality in entry.modalities and name != "cry-analyzer"
        assert (values is not None) == has_map
        # The support vectors of an untrained network know one score only.
        varies = name != "deepfacelift"
        assert values is None or (np.isfinite(values).all() and (np.ptp(values) > 0) == varies)


def test_a_blur_keeps_the_mean_colour_and_takes_the_detail() -> None:
    images = torch.zeros((1, 3, 64, 64))
    images[..., 24:40, 24:40] = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1)
    result = blurred(images, 4.0)
    torch.testing.assert_close(result.mean(dim=(2, 3)), images.mean(dim=(2, 3)), rtol=0.01, atol=0)
    assert float(result.diff(dim=-1).abs().max()) < 0.15 * float(images.diff(dim=-1).abs().max())
    flat = torch.full((1, 3, 32, 32), 0.5)
    torch.testing.assert_close(blurred(flat, 4.0), flat)
