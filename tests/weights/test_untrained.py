"""The built-in untrained weights: the same on every machine, and always with their notice."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from avpenet_cli import weights
from avpenet_cli.model.architecture import Architecture

FIRST_HEAD_WEIGHT = 0.10696891695261002
FIRST_LAYER_SUM = -1.2598962369329456
"""Values of the seeded scheme; if they change, `initialise.SCHEME` must change."""

_PRINT_SCORES = """
import sys, torch
from avpenet_cli import weights
torch.manual_seed(int(sys.argv[1])); torch.rand(7)
entry = weights.find("untrained")
model, description = weights.load(entry)
mel = torch.linspace(0, 1, 128 * 300).reshape(1, 1, 128, 300)
clip = torch.linspace(-2, 2, 3 * 224 * 224).reshape(1, 3, 224, 224)
print(entry.digest, round(float(model(mel, clip)), 5))
"""


def test_digest_and_scores_are_the_same_in_every_process() -> None:
    outputs = {
        subprocess.run(
            [sys.executable, "-c", _PRINT_SCORES, seed],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert next(iter(outputs)).startswith(weights.untrained_entry().digest)


def test_initialisation_has_its_known_values() -> None:
    state = weights.load_network(weights.find("untrained")).state_dict()
    assert float(state["head.fc1.weight"][0, 0]) == pytest.approx(FIRST_HEAD_WEIGHT, abs=1e-9)
    assert float(state["visual_encoder.conv1.weight"].double().sum()) == pytest.approx(FIRST_LAYER_SUM, abs=1e-6)


def test_loading_leaves_the_global_generator_alone() -> None:
    state = torch.get_rng_state()
    weights.load_network(weights.find("untrained"))
    assert torch.equal(torch.get_rng_state(), state)


def test_notice_says_that_the_scores_mean_nothing() -> None:
    description = weights.find("untrained").description
    assert description.status == "untrained"
    assert description.notice == "UNTRAINED weights: these scores mean nothing and must not be used"
    assert isinstance(description.architecture, Architecture)
    assert description.architecture.fusion == "tokens"
    assert description.modalities_needed == ("audio", "face")


def test_cut_points_are_inclusive_at_their_upper_end() -> None:
    label = weights.untrained_entry().description.label
    assert [label(score) for score in (0.0, 3.0, 3.001, 6.0, 6.001, 10.0)] == [
        "low", "low", "moderate", "moderate", "high", "high",
    ]  # fmt: skip
