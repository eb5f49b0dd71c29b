"""The contract of every registered network, and of the variants of AVPENet's fusion."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from avpenet_cli.errors import WeightsError
from avpenet_cli.model.architecture import Architecture, Modality, NetworkSettings
from avpenet_cli.model.inference import optimise_for_inference
from avpenet_cli.model.network import FeatureNetwork, PainNetwork
from avpenet_cli.model.registry import NETWORKS, build, network_entry, settings_of
from avpenet_cli.settings import to_dict
from avpenet_cli.weights import find, load_network, save
from tests.support.network_cases import (
    CASES,
    FACES,
    SEGMENTS,
    NetworkCase,
    Tokens,
    contract_network,
    inputs,
    tokens_for,
)
from tests.support.weight_descriptions import make_description

TOLERANCE = 1e-5
ONE_KEY = ("W_Q.weight", "W_K.weight")
"""Without effect in the published model, whose attention has one key."""


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.id)
def case(request: pytest.FixtureRequest) -> NetworkCase:
    chosen: NetworkCase = request.param
    return chosen


@pytest.fixture(scope="module")
def network(case: NetworkCase) -> PainNetwork:
    return contract_network(case)


@pytest.fixture(scope="module")
def tokens(case: NetworkCase, network: PainNetwork) -> Tokens:
    return tokens_for(case, network)


def score(network: PainNetwork, tokens: Tokens) -> Tensor:
    """Scores with no more than the modalities that the network takes, as scoring and training give them."""
    audio = tokens.audio if "audio" in network.modalities else None
    with torch.inference_mode():
        if "face" in network.modalities:
            return network.score(audio, tokens.faces, tokens.mask, tokens.places)
        return network.score(audio, None)


@contextmanager
def may_be_missing(network: PainNetwork, modality: Modality) -> Iterator[None]:
    before: NetworkSettings = network.architecture
    network.architecture = replace(before, may_be_missing=(modality,))
    yield
    network.architecture = before


def assert_close(scores: Tensor, others: Tensor, tolerance: float = TOLERANCE) -> None:
    torch.testing.assert_close(scores, others, rtol=0, atol=tolerance)


def test_scores_are_one_reproducible_value_in_range_per_segment(network: PainNetwork, tokens: Tokens) -> None:
    scores = score(network, tokens)
    assert scores.shape == (SEGMENTS,)
    assert scores.dtype == torch.float32
    assert bool(((scores >= 0) & (scores <= 10)).all())
    assert torch.equal(scores, score(network, tokens))
    assert len(set(scores.tolist())) == SEGMENTS


def test_the_score_is_the_mean_of_the_predictions(network: PainNetwork, tokens: Tokens) -> None:
    audio = tokens.audio if "audio" in network.modalities else None
    faces = tokens[1:] if "face" in network.modalities else (None,)
    with torch.inference_mode():
        predictions = network.predictions(audio, *faces)
    assert predictions.shape[1:] == (SEGMENTS,)
    assert_close(predictions.mean(dim=0), score(network, tokens))


def test_scores_do_not_depend_on_the_other_segments_of_the_batch(network: PainNetwork, tokens: Tokens) -> None:
    alone = torch.cat([score(network, tokens.row(row)) for row in range(SEGMENTS)])
    assert_close(score(network, tokens), alone)


def test_masked_faces_have_no_effect_even_when_they_are_nan(network: PainNetwork, tokens: Tokens) -> None:
    garbage = tokens.faces.masked_fill(~tokens.mask[..., None], torch.nan)
    masked = score(network, tokens._replace(faces=garbage, places=tokens.places.masked_fill(~tokens.mask, 17)))
    for row, kept in enumerate(tokens.mask):
        only = Tokens(*(part[:, kept] if number else part for number, part in enumerate(tokens.row(row))))
        assert_close(masked[row : row + 1], score(network, only))


def test_the_order_of_faces_is_that_of_their_places(network: PainNetwork, tokens: Tokens) -> None:
    order = torch.tensor([2, 0, 3, 1])
    shuffled = Tokens(tokens.audio, *(part[:, order] for part in tokens[1:]))
    assert_close(score(network, tokens), score(network, shuffled))
    consecutive = torch.arange(FACES).expand(SEGMENTS, FACES)
    if "face" in network.modalities:
        with torch.inference_mode():
            audio = tokens.audio if "audio" in network.modalities else None
            by_default = network.score(audio, tokens.faces, tokens.mask)
        assert_close(score(network, tokens._replace(places=consecutive)), by_default)


def test_what_the_network_takes_may_not_be_missing(network: PainNetwork, tokens: Tokens) -> None:
    audio = tokens.audio if "audio" in network.modalities else None
    if "audio" in network.modalities:
        with pytest.raises(ValueError, match=r"without audio|nothing to score"):
            network.score(None, tokens.faces, tokens.mask, tokens.places)
    if "face" in network.modalities:
        with pytest.raises(ValueError, match=r"without face|nothing to score"):
            network.score(audio, None)
        with pytest.raises(ValueError, match="without face"):
            network.score(audio, tokens.faces, tokens.mask & torch.tensor([[True], [False], [True]]), tokens.places)
    with pytest.raises(ValueError, match=r"nothing to score|without"):
        network.score(None, None)


def test_a_missing_modality_is_allowed_by_the_settings_and_never_both(network: PainNetwork, tokens: Tokens) -> None:
    if len(network.modalities) < 2:
        pytest.skip("one modality, which may not be missing")
    silent = tokens._replace(audio=torch.zeros_like(tokens.audio))
    with may_be_missing(network, "audio"), torch.inference_mode():
        without_audio = network.score(None, *tokens[1:])
        assert bool(((without_audio >= 0) & (without_audio <= 10)).all())
        # What modality dropout in training and batches of a fixed shape give.
        assert_close(without_audio, score(network, silent))
        with pytest.raises(ValueError, match="nothing to score"):
            network.score(None, None)
    hidden = tokens.mask & torch.tensor([[True], [False], [True]])
    with may_be_missing(network, "face"), torch.inference_mode():
        without_faces = network.score(tokens.audio, None)
        assert_close(network.score(tokens.audio, tokens.faces, hidden, tokens.places)[1], without_faces[1])
        assert_close(network.score(tokens.audio, tokens.faces, hidden, tokens.places)[0], score(network, tokens)[0])
        first = torch.tensor([[True, False, False, False]]).expand(SEGMENTS, FACES)
        zeros = torch.zeros_like(tokens.faces)
        assert_close(network.score(tokens.audio, zeros, first, tokens.places), without_faces)


def test_no_face_at_all_is_encoded_as_no_rows(network: PainNetwork, tokens: Tokens) -> None:
    with torch.inference_mode():
        assert network.encode_faces(torch.zeros((0, 3, 224, 224))).shape == (0, tokens.faces.shape[-1])


@pytest.mark.slow
def test_gradients_reach_every_parameter(case: NetworkCase, network: PainNetwork, tokens: Tokens) -> None:
    if isinstance(network, FeatureNetwork):
        pytest.skip("learns from features, without gradients through its encoders")
    audio, faces = tokens.audio.clone(), tokens.faces[:1].clone()
    encoders = {id(parameter) for encoder in network.encoders() for parameter in encoder.parameters()}
    if case.own_tokens:
        audio_input, faces_input = inputs(network)
        audio, faces = network.encode_audio(audio_input[:1]), network.encode_faces(faces_input)[None]
        encoders = set()
    network.zero_grad()
    network.predictions(audio[:1], faces, None, tokens.places[:1]).sum().backward()
    unreached = [
        name
        for name, parameter in network.named_parameters()
        if id(parameter) not in encoders
        and parameter.requires_grad
        and (parameter.grad is None or not bool(parameter.grad.abs().sum() > 0))
    ]
    network.zero_grad()
    if case.architecture == Architecture(fusion="single"):
        assert unreached
        assert all(name.endswith(ONE_KEY) for name in unreached)
    else:
        assert not unreached


@pytest.mark.slow
def test_weights_on_disk_are_the_same_network(
    case: NetworkCase, network: PainNetwork, tokens: Tokens, tmp_path: Path
) -> None:
    description = make_description(
        "stored", network=case.name, architecture=network.architecture, modalities=network.modalities
    )
    path = tmp_path / "stored.safetensors"
    save(network.state_dict(), description, path)
    entry = find(path)
    assert entry.description.architecture == network.architecture
    stored = load_network(entry)
    assert type(stored) is type(network)
    assert torch.equal(score(stored, tokens), score(network, tokens))
    if not case.own_tokens:
        return  # the encoders are those of AVPENet
    fast = optimise_for_inference(stored, "cpu", "float32")
    audio_input, faces_input = inputs(network)
    with torch.inference_mode():
        embedded = fast.encode_faces(faces_input)
        orders = torch.tensor([[0, 1, 2, 3], [2, 0, 3, 1], [3, 2, 1, 0]])
        optimised = score(fast, tokens._replace(audio=fast.encode_audio(audio_input), faces=embedded[orders]))
    assert_close(optimised, score(network, tokens), tolerance=1e-3)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_modalities_and_settings_are_those_of_the_registry(name: str) -> None:
    entry = network_entry(name)
    assert entry.network_class().modalities == entry.modalities
    assert issubclass(entry.network_class(), FeatureNetwork) == entry.on_features
    default = entry.settings_class()()
    assert settings_of(name, to_dict(default)) == default
    with pytest.raises(ValueError, match="nonsense"):
        settings_of(name, {"nonsense": 1})


@pytest.mark.parametrize("name", ["avpenet", "audio-only", "early-fusion"])
def test_new_network_is_in_training_mode_with_finite_parameters(name: str) -> None:
    fresh = build(name, network_entry(name).settings_class()())
    assert fresh.training
    assert all(bool(parameter.isfinite().all()) for parameter in fresh.parameters())


def test_unknown_network_is_named_in_the_error() -> None:
    with pytest.raises(WeightsError, match="no network is called 'resnet99'"):
        build("resnet99", Architecture())


def test_settings_of_another_network_are_refused() -> None:
    with pytest.raises(TypeError, match="late-fusion takes LateFusionSettings, not Architecture"):
        build("late-fusion", Architecture())


def test_the_only_modality_may_not_be_missing() -> None:
    with pytest.raises(ValueError, match="has one modality"):
        settings_of("audio-only", {"may_be_missing": ["audio"]})


def test_registry_and_settings_are_read_without_importing_torch() -> None:
    code = (
        "from avpenet_cli.model.registry import NETWORKS; import sys\n"
        "for entry in NETWORKS.values(): entry.settings_class()\n"
        "sys.exit(', '.join({'torch', 'torchvision', 'librosa', 'sklearn'} & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
