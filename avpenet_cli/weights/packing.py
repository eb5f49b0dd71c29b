"""Weights in a quarter of the space: 8 bits a number, with a scale for each output channel, expanded when loaded.

Symmetric per-channel quantisation of the parameters only (Krishnamoorthi 2018, arXiv 1806.08342, section 2.4); what
the network computes with is float32 as ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Header = dict[str, tuple[tuple[int, ...], str]]

SCALE_SUFFIX = ".scale"
_LARGEST = 127
_PACKED, _WHOLE = "I8", "F32"


def pack(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every float tensor of two dimensions or more as int8, and beside it `NAME.scale`, (outputs,) float32.

    A number is off by at most half its channel's scale: 1/254 of the channel's largest.
    """
    import torch

    packed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if not tensor.is_floating_point() or tensor.ndim < 2:
            packed[name] = tensor
            continue
        largest = tensor.detach().abs().flatten(1).amax(dim=1)
        scale = torch.where(largest > 0, largest / _LARGEST, 1.0).float()
        packed[name] = (tensor / _along_outputs(scale, tensor)).round().clamp(-_LARGEST, _LARGEST).to(torch.int8)
        packed[name + SCALE_SUFFIX] = scale
    return packed


def unpack(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `pack` was given, as float32; a state that was never packed comes back as it is."""
    import torch

    packed = {name for name, tensor in state.items() if tensor.dtype == torch.int8}
    scales = {name + SCALE_SUFFIX for name in packed}
    return {
        name: tensor.float() * _along_outputs(state[name + SCALE_SUFFIX], tensor) if name in packed else tensor
        for name, tensor in state.items()
        if name not in scales
    }


def unpacked_header(header: Header) -> Header:
    """Names, shapes and safetensors types as they will be once expanded.

    A tensor of 8 bits whose scale is missing or of another shape stays as it is, for the caller to refuse.
    """
    found = dict(header)
    for name, (shape, kind) in header.items():
        if kind == _PACKED and header.get(name + SCALE_SUFFIX) == (shape[:1], _WHOLE):
            found[name] = (shape, _WHOLE)
            del found[name + SCALE_SUFFIX]
    return found


def _along_outputs(scale: Tensor, tensor: Tensor) -> Tensor:
    return scale.view(-1, *[1] * (tensor.ndim - 1))
