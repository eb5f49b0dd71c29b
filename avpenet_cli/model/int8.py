"""Convolutions in 8-bit integers on a CPU, by the oneDNN operations that torch has for quantised networks.

Weights have one scale per output channel; weights that are stored in 8 bits keep their values. Activations have seven
bits, because a CPU without VNNI adds two products in 16 bits, and 2 x 127 x 127 is the most that fits; so no sum is cut
off and all CPUs give the same. They have one scale per tensor, from its largest value, so images go through one at a
time: no calibration is needed, and an embedding does not depend on its neighbours. Sums over residual blocks, the first
convolution, and all that follows the convolutions stay float32.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from avpenet_cli.model import onednn
from avpenet_cli.model.encoders import BasicBlock, Bottleneck, ResNetTrunk

_LEVELS = 127
_WEIGHT_LEVELS = 127


def _quantise(x: Tensor) -> tuple[Tensor, float]:
    """Values of at least 0 as uint8 and their scale."""
    scale = float(x.amax()) / _LEVELS or 1.0
    return torch.quantize_per_tensor(x, scale, 0, torch.quint8).int_repr(), scale


class Int8Convolution(nn.Module):
    """A convolution of uint8 with int8 and a float32 result. Inference only.

    Args:
        convolution: with bias, on the CPU, float32.
        relu: apply ReLU in `forward`.
        input_size: (1, C, H, W).

    Attributes:
        output_size: (1, C, H, W).
    """

    def __init__(self, convolution: nn.Conv2d, relu: bool, input_size: onednn.Size) -> None:
        super().__init__()
        weight, bias = convolution.weight.detach().contiguous(), convolution.bias
        assert bias is not None
        self._geometry = onednn.geometry(convolution)
        self._relu = "relu" if relu else "none"
        self._bias = bias.detach()
        self._scale = weight.abs().amax(dim=(1, 2, 3)) / _WEIGHT_LEVELS
        self._scale = torch.where(self._scale > 0, self._scale, 1.0)
        levels = (weight / self._scale.view(-1, 1, 1, 1)).round().to(torch.int8)
        self._zero = torch.zeros(len(weight), dtype=torch.int32)
        self._weight: Tensor = torch.ops.onednn.qconv_prepack(
            levels, self._scale, 1.0, 0, *self._geometry, list(input_size)
        )
        self.output_size = onednn.output_size(convolution, input_size)

    def forward(self, x: Tensor, scale: float) -> Tensor:
        """(1, C, H, W) uint8 and its scale -> (1, C', H', W') float32."""
        out: Tensor = torch.ops.onednn.qconv2d_pointwise(
            x, scale, 0, self._weight, self._scale, self._zero, self._bias, *self._geometry,
            1.0, 0, torch.float32, self._relu, [], "",
        )  # fmt: skip
        return out

    def add_relu(self, x: Tensor, scale: float, other: Tensor) -> Tensor:
        """ReLU of the convolution of `x` plus `other`, float32, which is overwritten with the result."""
        out: Tensor = torch.ops.onednn.qconv2d_pointwise.binary(
            x, scale, 0, self._weight, self._scale, self._zero, other, self._bias, *self._geometry,
            1.0, 0, torch.float32, 1.0, 0, "sum", 1.0, "relu", [], "",
        )  # fmt: skip
        return out


class Int8Block(nn.Module):
    """A residual block of 8-bit convolutions. Its input is overwritten where the shortcut has no projection.

    Args:
        block: with folded batch norm.
        input_size: (1, C, H, W).
    """

    def __init__(self, block: BasicBlock | Bottleneck, input_size: onednn.Size) -> None:
        super().__init__()
        names = [name for name in ("conv1", "conv2", "conv3") if hasattr(block, name)]
        self.output_size = input_size
        self._inner: list[Int8Convolution] = []
        for name in names:
            self._inner.append(Int8Convolution(getattr(block, name), name != names[-1], self.output_size))
            self.output_size = self._inner[-1].output_size
        self._last = self._inner.pop()
        projection = block.downsample
        assert projection is None or isinstance(projection, nn.Conv2d)
        self._projection = None if projection is None else Int8Convolution(projection, False, input_size)

    def forward(self, x: Tensor) -> Tensor:
        """As the block, (1, C, H, W) float32 of at least 0."""
        x = x.contiguous(memory_format=torch.channels_last)
        levels, scale = _quantise(x)
        shortcut = x if self._projection is None else self._projection(levels, scale)
        for convolution in self._inner:
            levels, scale = _quantise(convolution(levels, scale))
        return self._last.add_relu(levels, scale, shortcut)


def quantise(trunk: ResNetTrunk, input_size: onednn.Size) -> None:
    """Replace the blocks of a trunk with folded batch norm, in place; it then takes one image at a time.

    Args:
        trunk: on the CPU, float32.
        input_size: (1, C, H, W).
    """
    onednn.replace_convolutions(trunk, input_size, Int8Block)
