"""Seeded parameters that are the same on every machine and under every version of torch and numpy.

Only `PCG64.random_raw` is drawn from, the one stream that numpy promises never to change, and nothing of torch's
global generator is touched. The built-in `untrained` weights are made of this. Importing this imports no torch.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

SCHEME = "pcg64-raw he-uniform 1"
"""Named in the digest of the untrained weights; change it whenever a number below changes."""

_RESIDUAL_GAIN = 0.5
"""Gain of the last normalisation of a residual block: without statistics from training, gains of 1 would double the
variance sixteen times over."""


def seeded_state(network: nn.Module, seed: int) -> dict[str, Tensor]:
    """A state dict for the network: He-uniform weights, gains 1, biases and statistics neutral.

    Args:
        network: on any device, `meta` included; only its names and shapes are read.
        seed: of the draw; each tensor has a stream of its own, named by its name.

    Returns:
        name -> float32 tensor on the CPU (`num_batches_tracked`: int64 zero).
    """
    last_norms = {
        f"{name}.{last}.weight"
        for name, module in network.named_modules()
        for last in [_last_norm(module)]
        if last is not None
    }
    return {
        name: _tensor(name, tuple(like.shape), like.dtype, seed, _RESIDUAL_GAIN if name in last_norms else 1.0)
        for name, like in network.state_dict().items()
    }


def _last_norm(module: nn.Module) -> str | None:
    """`bn3` in a bottleneck, `bn2` in a basic block, None elsewhere."""
    children = dict(module.named_children())
    return next((name for name in ("bn3", "bn2") if name in children), None)


def _tensor(name: str, shape: tuple[int, ...], dtype: torch.dtype, seed: int, gain: float) -> Tensor:
    import torch

    if not dtype.is_floating_point:
        return torch.zeros(shape, dtype=dtype)
    if name.endswith(("bias", "running_mean")):
        return torch.zeros(shape)
    if name.endswith("running_var"):
        return torch.ones(shape)
    if len(shape) == 1 and name.endswith("weight"):
        return torch.full(shape, gain)
    raw = np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(name.encode())])).random_raw(int(np.prod(shape)))
    uniform = (raw >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1.0)
    half_width = 0.02 * 3.0**0.5 if len(shape) == 1 else (6.0 / np.prod(shape[1:])) ** 0.5
    return torch.from_numpy((uniform * np.float32(half_width)).reshape(shape))
