"""8-bit quantised weights: rounding error, size, scores and detection of damage."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from avpenet_cli import weights
from avpenet_cli.errors import WeightsError
from avpenet_cli.model.initialise import seeded_state
from avpenet_cli.model.registry import build
from avpenet_cli.weights.packing import SCALE_SUFFIX, pack, unpack, unpacked_header
from tests.support.weight_descriptions import make_description


def test_quantised_parameters_differ_by_at_most_half_a_step() -> None:
    rng = torch.Generator().manual_seed(1)
    state = {
        "convolution": torch.randn((5, 3, 3, 3), generator=rng) * torch.logspace(-3, 2, 5).view(-1, 1, 1, 1),
        "dead": torch.zeros((2, 4)),
        "bias": torch.randn(5, generator=rng),
        "count": torch.tensor(7),
    }
    packed = pack(state)
    assert packed["convolution"].dtype == torch.int8
    assert packed["convolution"].abs().amax(dim=(1, 2, 3)).tolist() == [127] * 5
    assert packed["bias"] is state["bias"]
    expanded = unpack(packed)
    assert expanded.keys() == state.keys()
    step = state["convolution"].abs().amax(dim=(1, 2, 3), keepdim=True) / 127
    assert bool(((expanded["convolution"] - state["convolution"]).abs() <= 0.5001 * step).all())
    assert not expanded["dead"].any()
    assert unpack(state) == state


def test_quantised_tensor_without_its_scale_is_not_expanded() -> None:
    header = {"w": ((4, 2), "I8"), f"w{SCALE_SUFFIX}": ((4,), "F32"), "b": ((4,), "F32")}
    assert unpacked_header(header) == {"w": ((4, 2), "F32"), "b": ((4,), "F32")}
    assert unpacked_header({"w": ((4, 2), "I8")}) == {"w": ((4, 2), "I8")}
    assert unpacked_header({"w": ((4, 2), "I8"), "w.scale": ((3,), "F32")})["w"] == ((4, 2), "I8")


@pytest.mark.slow
def test_quantised_weights_are_small_and_score_nearly_the_same(tmp_path: Path) -> None:
    description = make_description("whole")
    state = seeded_state(build("avpenet", description.architecture), 3)
    whole = weights.save(state, description, tmp_path / "whole.safetensors")
    packed = weights.pack_weights(tmp_path / "whole.safetensors", tmp_path / "small.safetensors")
    assert packed.path is not None
    assert packed.path.stat().st_size < 60e6
    assert packed.path.stat().st_mode & 0o777 == 0o600
    assert packed.digest != whole.digest
    assert whole.digest in packed.description.created_with
    weights.verify(packed)
    rng = torch.Generator().manual_seed(2)
    mel, clip = torch.rand((2, 1, 128, 300), generator=rng), torch.randn((2, 2, 3, 64, 64), generator=rng)
    with torch.inference_mode():
        before, after = (weights.load_network(entry)(mel, clip) for entry in (whole, packed))
    # Rounding changes the scores of an untrained network more than those of a trained one, which change by under 0.05.
    assert (before - after).abs().max() < 0.2
    assert "before quantisation" in packed.description.training_data
    for name in ("my weights.safetensors", "small"):
        with pytest.raises(WeightsError, match="not a valid name for weights"):
            weights.pack_weights(tmp_path / "whole.safetensors", tmp_path / name)
    with pytest.raises(WeightsError, match="built in"):
        weights.pack_weights("untrained", tmp_path / "none.safetensors")

    tensors = load_file(packed.path)
    del tensors[next(name for name in tensors if name.endswith(SCALE_SUFFIX))]
    save_file(tensors, packed.path)
    with pytest.raises(WeightsError, match="altered or is incomplete"):
        weights.load_network(packed)
