"""Quantise weights to 8 bits for storage, and expand them to float32 for loading.

Symmetric quantisation of the parameters with one scale per output channel (Krishnamoorthi 2018, arXiv 1806.08342,
section 2.4). The network computes in float32; only the file is smaller, by a factor of four.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Header = dict[str, tuple[tuple[int, ...], str]]

SCALE_SUFFIX = ".scale"
_MAX_LEVEL = 127
_QUANTISED, _EXPANDED = "I8", "F32"


def pack(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Quantise every float tensor of two or more dimensions to int8, with `NAME.scale`, (outputs,) float32, beside it.

    The error of a parameter is at most half the scale of its channel, 1/254 of the channel's largest magnitude.
    """
    import torch

    packed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if not tensor.is_floating_point() or tensor.ndim < 2:
            packed[name] = tensor
            continue
        largest = tensor.detach().abs().flatten(1).amax(dim=1)
        scale = torch.where(largest > 0, largest / _MAX_LEVEL, 1.0).float()
        packed[name] = (tensor / _along_outputs(scale, tensor)).round().clamp(-_MAX_LEVEL, _MAX_LEVEL).to(torch.int8)
        packed[name + SCALE_SUFFIX] = scale
    return packed


def unpack(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Invert `pack`, as float32; a state dict without quantised tensors is returned unchanged."""
    import torch

    packed = {name for name, tensor in state.items() if tensor.dtype == torch.int8}
    scales = {name + SCALE_SUFFIX for name in packed}
    return {
        name: tensor.float().mul_(_along_outputs(state[name + SCALE_SUFFIX], tensor)) if name in packed else tensor
        for name, tensor in state.items()
        if name not in scales
    }


def unpacked_header(header: Header) -> Header:
    """Names, shapes and safetensors types after expansion.

    An 8-bit tensor whose scale is missing or has another shape is left unchanged, for the caller to refuse.
    """
    expanded = dict(header)
    for name, (shape, kind) in header.items():
        if kind == _QUANTISED and header.get(name + SCALE_SUFFIX) == (shape[:1], _EXPANDED):
            expanded[name] = (shape, _EXPANDED)
            del expanded[name + SCALE_SUFFIX]
    return expanded


def _along_outputs(scale: Tensor, tensor: Tensor) -> Tensor:
    return scale.view(-1, *[1] * (tensor.ndim - 1))
