"""The network equals the published one: names and shapes, and outputs for the same parameters and inputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from avpenet_cli.model.architecture import Architecture
from avpenet_cli.model.inference import optimise_for_inference
from avpenet_cli.model.registry import build
from tests.support.networks import GOLDEN, published_inputs, published_names, published_network

TOLERANCE = 1e-4


def max_difference(output: torch.Tensor, expected: np.ndarray) -> float:
    """Largest difference, relative for embeddings whose values reach the tens."""
    assert output.shape == expected.shape
    return float(np.max(np.abs(output.numpy() - expected)) / max(1.0, float(np.max(np.abs(expected)))))


def test_parameter_names_and_shapes_are_those_of_the_published_checkpoints() -> None:
    with torch.device("meta"):
        network = build("avpenet", Architecture())
    assert {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()} == published_names()


@pytest.mark.parametrize("seed", [1, 2])
def test_published_outputs_are_reproduced_before_and_after_optimisation(seed: int) -> None:
    golden, inputs = np.load(GOLDEN / f"model-seed{seed}.npz"), published_inputs(seed)
    single, tokens = published_network(seed, "single"), published_network(seed, "tokens")
    with torch.inference_mode():
        for network in (single, optimise_for_inference(single, "cpu", "float32")):
            audio = network.encode_audio(inputs["mel"])
            frames = network.encode_faces(inputs["clip"].flatten(0, 1)).unflatten(0, (2, 3))
            face = frames[:, :1]
            assert max_difference(audio.mean(dim=1), golden["ea"]) < TOLERANCE
            assert max_difference(face[:, 0], golden["ev"]) < TOLERANCE
            assert max_difference(network.fuse(audio, face).fused, golden["fused"]) < TOLERANCE
            assert max_difference(network.score(audio, face), golden["score"]) < TOLERANCE
            assert max_difference(frames.mean(dim=1), golden["ev_clip"]) < TOLERANCE
            assert max_difference(network.score(audio, frames), golden["score_clip"]) < TOLERANCE

            single_tokens = tokens.score(audio.mean(dim=1, keepdim=True), face)
            assert torch.allclose(single_tokens, network.score(audio, face), rtol=0, atol=1e-6)


def test_image_pooling_and_frame_pooling_differ() -> None:
    inputs = published_inputs(1)
    with torch.inference_mode():
        by_image = published_network(1, "single", "image")(inputs["mel"], inputs["clip"])
        by_frame = published_network(1, "single", "frame")(inputs["mel"], inputs["clip"])
        mean_image = published_network(1, "single", "frame")(inputs["mel"], inputs["clip"].mean(dim=1))
    assert max_difference(by_frame, np.load(GOLDEN / "model-seed1.npz")["score_clip"]) < TOLERANCE
    assert torch.allclose(by_image, mean_image, rtol=0, atol=1e-5)
    assert not torch.allclose(by_image, by_frame, rtol=0, atol=1e-3)
