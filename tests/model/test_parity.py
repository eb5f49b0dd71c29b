"""The network is the published one: same names and shapes, and the same answers to the same parameters and inputs."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from avpenet_cli.model.architecture import Architecture, Fusion, Pooling
from avpenet_cli.model.avpenet import AVPENet
from avpenet_cli.model.inference import optimise_for_inference
from avpenet_cli.model.registry import build

GOLDEN = Path(__file__).parents[1] / "golden"
TOLERANCE = 1e-4


@cache
def seeded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("seeded", GOLDEN / "seeded.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def published_state(seed: int) -> dict[str, torch.Tensor]:
    return {
        name: torch.from_numpy(np.asarray(seeded().parameter(seed, name, shape)))
        for name, shape in published_names().items()
    }


def published_names() -> dict[str, tuple[int, ...]]:
    lines = (line.split(" ", 1) for line in (GOLDEN / "names.txt").read_text().splitlines())
    return {name: tuple(int(size) for size in shape.strip("[]").split(",") if size) for name, shape in lines}


def published_network(seed: int, fusion: Fusion, pooling: Pooling = "frame") -> AVPENet:
    with torch.device("meta"):
        network = build("avpenet", Architecture(fusion=fusion, pooling=pooling))
    network.load_state_dict(published_state(seed), assign=True)
    return network.eval()


def published_inputs(seed: int) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in seeded().inputs(seed).items()}


def worst(got: torch.Tensor, wanted: np.ndarray) -> float:
    """Largest difference, relative for embeddings whose values reach the tens."""
    assert got.shape == wanted.shape
    return float(np.max(np.abs(got.numpy() - wanted)) / max(1.0, float(np.max(np.abs(wanted)))))


def test_parameter_names_and_shapes_are_the_published_checkpoints() -> None:
    with torch.device("meta"):
        network = build("avpenet", Architecture())
    assert {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()} == published_names()


@pytest.mark.parametrize("seed", [1, 2])
def test_published_answers_are_reproduced_as_built_and_as_optimised(seed: int) -> None:
    golden, inputs = np.load(GOLDEN / f"model-seed{seed}.npz"), published_inputs(seed)
    single, tokens = published_network(seed, "single"), published_network(seed, "tokens")
    with torch.inference_mode():
        for network in (single, optimise_for_inference(single, "cpu", "float32")):
            audio = network.encode_audio(inputs["mel"])
            frames = network.encode_faces(inputs["clip"].flatten(0, 1)).unflatten(0, (2, 3))
            face = frames[:, :1]
            assert worst(audio.mean(dim=1), golden["ea"]) < TOLERANCE
            assert worst(face[:, 0], golden["ev"]) < TOLERANCE
            assert worst(network.fuse(audio, face).fused, golden["fused"]) < TOLERANCE
            assert worst(network.score(audio, face), golden["score"]) < TOLERANCE
            assert worst(frames.mean(dim=1), golden["ev_clip"]) < TOLERANCE
            assert worst(network.score(audio, frames), golden["score_clip"]) < TOLERANCE

            one_a_side = tokens.score(audio.mean(dim=1, keepdim=True), face)
            assert torch.allclose(one_a_side, network.score(audio, face), rtol=0, atol=1e-6)


def test_averaged_images_and_averaged_embeddings_are_two_different_models() -> None:
    inputs = published_inputs(1)
    with torch.inference_mode():
        by_image = published_network(1, "single", "image")(inputs["mel"], inputs["clip"])
        by_frame = published_network(1, "single", "frame")(inputs["mel"], inputs["clip"])
        mean_picture = published_network(1, "single", "frame")(inputs["mel"], inputs["clip"].mean(dim=1))
    assert worst(by_frame, np.load(GOLDEN / "model-seed1.npz")["score_clip"]) < TOLERANCE
    assert torch.allclose(by_image, mean_picture, rtol=0, atol=1e-5)
    assert not torch.allclose(by_image, by_frame, rtol=0, atol=1e-3)
