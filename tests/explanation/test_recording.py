"""What is read again of a segment is what made its score."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from avpenet_cli.explanation.scorer import beside_others
from avpenet_cli.model.architecture import MODALITIES, Architecture, NetworkSettings
from avpenet_cli.model.correction_settings import ContextSettings
from avpenet_cli.model.network import PainNetwork
from avpenet_cli.weights import find, save
from tests.support.corrected_networks import corrected_network
from tests.support.explanations import ReadRecording, read_recording
from tests.support.networks import seeded_pain_network
from tests.support.weight_descriptions import make_description

TOLERANCE = 0.002
"""Points; scores are rounded to a thousandth, and the scoring network is folded and fused."""


def test_the_inputs_that_are_read_again_give_the_score(phantom: ReadRecording) -> None:
    assert len(phantom.inputs) == len(phantom.outcome.segments) == 2
    for inputs in phantom.inputs:
        with torch.no_grad():
            audio, faces, places = phantom.network.tokens(inputs)
            score = float(phantom.network.score(audio, faces, places))
        assert score == pytest.approx(inputs.record.score, abs=TOLERANCE)
        kept = phantom.tokens(inputs.record.segment)
        assert kept.places is not None and places is not None
        assert kept.places.tolist() == places[0].tolist()
        assert audio is not None and faces is not None
        assert audio[0].numpy() == pytest.approx(kept.audio, abs=1e-3)
        assert faces[0].numpy() == pytest.approx(kept.faces, abs=1e-3)


def read_with(network: PainNetwork, name: str, settings: NetworkSettings, path: Path, folder: Path) -> ReadRecording:
    """The recording under a network's weights, which take 200 MB and are removed."""
    folder.mkdir()
    save(
        dict(network.state_dict()),
        make_description("own", network=name, architecture=settings),
        folder / "own.safetensors",
    )
    try:
        return read_recording(path, find(folder / "own.safetensors"))
    finally:
        shutil.rmtree(folder)


@pytest.mark.slow
def test_a_mean_image_gives_the_score_of_pooling_by_image(phantom: ReadRecording, tmp_path: Path) -> None:
    settings = Architecture(fusion="single", pooling="image", may_be_missing=MODALITIES)
    network = seeded_pain_network("avpenet", settings)
    result = read_with(network, "avpenet", settings, phantom.path, tmp_path / "weights")
    assert len(result.inputs) == 2
    for inputs in result.inputs:
        assert inputs.counts is not None and len(inputs.crops) == len(inputs.counts)
        with torch.no_grad():
            score = float(result.network.score(*result.network.tokens(inputs)))
        assert score == pytest.approx(inputs.record.score, abs=TOLERANCE)


@pytest.mark.slow
def test_a_network_of_recordings_gives_the_score_beside_the_other_segments(
    phantom: ReadRecording, tmp_path: Path
) -> None:
    settings = ContextSettings(may_be_missing=MODALITIES)
    result = read_with(
        corrected_network(settings, seeded=True), "context", settings, phantom.path, tmp_path / "weights"
    )
    network_of = beside_others(result.network, result.outcome.segments, result.tokens)
    for inputs in result.inputs:
        with torch.no_grad():
            tokens = result.network.tokens(inputs)
            score = float(network_of(inputs.record.segment).score(*tokens))
        assert score == pytest.approx(inputs.record.score, abs=TOLERANCE)
    with torch.no_grad():
        alone = float(result.network.score(*tokens))
    assert abs(alone - score) > TOLERANCE, "the other segment must count, or this shows nothing"
