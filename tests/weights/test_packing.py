"""Weights of 8 bits a number: what comes back is what was put in, but for the rounding, and damage is seen."""

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
from tests.support.weight_descriptions import described


def test_packed_numbers_come_back_changed_by_more_than_half_a_step() -> None:
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
    again = unpack(packed)
    assert again.keys() == state.keys()
    step = state["convolution"].abs().amax(dim=(1, 2, 3), keepdim=True) / 127
    assert bool(((again["convolution"] - state["convolution"]).abs() <= 0.5001 * step).all())
    assert not again["dead"].any()
    assert unpack(state) == state


def test_packed_tensor_without_its_scale_passes_for_a_whole_one() -> None:
    header = {"w": ((4, 2), "I8"), f"w{SCALE_SUFFIX}": ((4,), "F32"), "b": ((4,), "F32")}
    assert unpacked_header(header) == {"w": ((4, 2), "F32"), "b": ((4,), "F32")}
    assert unpacked_header({"w": ((4, 2), "I8")}) == {"w": ((4, 2), "I8")}
    assert unpacked_header({"w": ((4, 2), "I8"), "w.scale": ((3,), "F32")})["w"] == ((4, 2), "I8")


@pytest.mark.slow
def test_packed_weights_are_larger_than_promised_or_score_otherwise(tmp_path: Path) -> None:
    told = described("whole")
    state = seeded_state(build("avpenet", told.architecture), 3)
    whole = weights.save(state, told, tmp_path / "whole.safetensors")
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
        before, after = (weights.load_network(one)(mel, clip) for one in (whole, packed))
    # A network that learnt nothing takes roundings further than a trained one, whose scores move by under 0.05.
    assert (before - after).abs().max() < 0.2
    assert "before packing" in packed.description.training_data
    for name in ("my weights.safetensors", "small"):
        with pytest.raises(WeightsError, match="cannot be called that"):
            weights.pack_weights(tmp_path / "whole.safetensors", tmp_path / name)
    with pytest.raises(WeightsError, match="built in"):
        weights.pack_weights("untrained", tmp_path / "none.safetensors")

    tensors = load_file(packed.path)
    del tensors[next(name for name in tensors if name.endswith(SCALE_SUFFIX))]
    save_file(tensors, packed.path)
    with pytest.raises(WeightsError, match="altered or is incomplete"):
        weights.load_network(packed)
