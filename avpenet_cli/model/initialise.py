"""Initialise a network reproducibly on every machine and under every version of torch and numpy.

The only source of randomness is `PCG64.random_raw`, the one stream that numpy guarantees to keep; torch's global
generator is not used. The built-in `untrained` weights come from here. Importing this module imports no torch.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

SCHEME = "pcg64-raw he-uniform 1"
"""Part of the digest of the untrained weights; change it whenever a constant below changes."""

_RESIDUAL_GAIN = 0.5
"""Gain of the last normalisation of a residual block: without trained statistics, gains of 1 would double the variance
in each of the sixteen blocks."""


def seeded_state(network: nn.Module, seed: int, names: Collection[str] | None = None) -> dict[str, Tensor]:
    """Seeded state dict for a network: He-uniform weights, gains of 1, neutral biases and statistics.

    Args:
        network: on any device, including `meta`; only its names and shapes are read.
        seed: of the random streams; each tensor has its own stream, derived from its name.
        names: of the tensors to make; all by default.

    Returns:
        Mapping of name to float32 tensor on the CPU (`num_batches_tracked`: int64 zero).
    """
    last_norms = {
        f"{name}.{last}.weight"
        for name, module in network.named_modules()
        for last in [_last_norm(module)]
        if last is not None
    }
    return {
        name: _tensor(name, tuple(tensor.shape), tensor.dtype, seed, _RESIDUAL_GAIN if name in last_norms else 1.0)
        for name, tensor in network.state_dict().items()
        if names is None or name in names
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
    half_width = 0.02 * 3.0**0.5 if len(shape) == 1 else (6.0 / np.prod(shape[1:])) ** 0.5
    # In place: new arrays of this size cost more than what is computed.
    raw >>= np.uint64(40)
    uniform = raw.astype(np.float32)
    uniform *= np.float32(2.0**-23)
    uniform -= np.float32(1.0)
    uniform *= np.float32(half_width)
    return torch.from_numpy(uniform.reshape(shape))
