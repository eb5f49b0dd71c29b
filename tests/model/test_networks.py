"""The contract of every registered network."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from avpenet_cli.errors import WeightsError
from avpenet_cli.model.architecture import Architecture
from avpenet_cli.model.avpenet import AVPENet
from avpenet_cli.model.registry import NETWORKS, build
from tests.support.networks import seeded_network

# Networks that learn from features have no gradients, and score nothing before they have learnt.
TRAINED = sorted(name for name, entry in NETWORKS.items() if not entry.on_features)


@pytest.fixture(scope="module", params=TRAINED)
def network(request: pytest.FixtureRequest) -> AVPENet:
    return seeded_network(request.param, Architecture())


@pytest.fixture(scope="module")
def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return (
        torch.rand((2, 1, 128, 300), generator=generator),
        torch.randn((2, 3, 3, 224, 224), generator=generator),
    )


def test_scores_are_one_reproducible_value_in_range_per_segment(
    network: AVPENet, inputs: tuple[torch.Tensor, torch.Tensor]
) -> None:
    with torch.inference_mode():
        scores, again = network(*inputs), network(*inputs)
    assert scores.shape == (2,)
    assert scores.dtype == torch.float32
    assert bool(((scores >= 0) & (scores <= 10)).all())
    assert torch.equal(scores, again)
    assert float(scores[0]) != float(scores[1])


def test_tokens_have_the_documented_shapes_also_without_faces(
    network: AVPENet, inputs: tuple[torch.Tensor, torch.Tensor]
) -> None:
    mel, clip = inputs
    with torch.inference_mode():
        assert network.encode_audio(mel).shape == (2, 10, 512)
        assert network.encode_faces(clip[0]).shape == (3, 512)
        assert network.encode_faces(clip[0, :0]).shape == (0, 512)


def test_gradients_reach_every_parameter(network: AVPENet, inputs: tuple[torch.Tensor, torch.Tensor]) -> None:
    network.zero_grad()
    network(inputs[0], inputs[1][:, :2]).sum().backward()
    unreached = [
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is None or not bool(parameter.grad.abs().sum() > 0)
    ]
    network.zero_grad()
    assert not unreached


@pytest.mark.parametrize("name", TRAINED)
def test_state_dict_round_trip_gives_the_same_scores(
    name: str, network: AVPENet, inputs: tuple[torch.Tensor, torch.Tensor]
) -> None:
    with torch.device("meta"):
        other = build(name, network.architecture)
    other.load_state_dict(network.state_dict(), assign=True)
    with torch.inference_mode():
        assert torch.equal(other.eval()(*inputs), network(*inputs))


def test_new_network_is_in_training_mode_with_finite_parameters() -> None:
    fresh = build("avpenet", Architecture())
    assert fresh.training
    assert all(bool(parameter.isfinite().all()) for parameter in fresh.parameters())


def test_unknown_network_is_named_in_the_error() -> None:
    with pytest.raises(WeightsError, match="no network is called 'resnet99'"):
        build("resnet99", Architecture())


def test_registry_is_read_without_importing_torch() -> None:
    code = "import avpenet_cli.model.registry, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
