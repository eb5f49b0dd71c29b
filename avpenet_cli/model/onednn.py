"""Convolutions fused with what follows them, by the oneDNN operations of torch that its compiler uses on a CPU.

Weights are stored in the order in which the kernels read them, and ReLU and the addition of the shortcut happen while
a convolution's output is still in the cache. Unlike torch's own convolutions, in float32 these give the same bits
whatever the number of images in a batch and of threads.

The operations belong to torch's internals; `is_available` says where they exist, and without them the plain modules do
the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from avpenet_cli.model.encoders import BasicBlock, Bottleneck, ResNetTrunk
from avpenet_cli.settings import Precision

Size = tuple[int, int, int, int]
"""(N, C, H, W)."""

_OTHER_SIZES = 2
"""Sizes of images, beside that which is expected, for which weights are kept in order, 0.1 GB each for an encoder: that
of a segment, and that of a shorter one at a recording's end."""


def is_available(device: torch.device, precision: Precision = "float32") -> bool:
    """Whether the operations exist in this torch and for this device: x86 CPUs, bfloat16 only with AVX-512."""
    return (
        device.type == "cpu"
        and torch.backends.mkldnn.is_available()
        and torch.backends.cpu.get_cpu_capability().startswith("AVX")
        and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
        and hasattr(torch.ops.mkldnn, "_convolution_pointwise_")
        and hasattr(torch.ops.aten, "mkldnn_reorder_conv2d_weight")
        and (precision != "bfloat16" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()))
        and (precision != "int8" or hasattr(torch.ops.onednn, "qconv2d_pointwise"))
    )


def geometry(convolution: nn.Conv2d) -> tuple[list[int], list[int], list[int], int]:
    """Stride, padding, dilation and groups of a convolution, as its operations take them."""
    assert isinstance(convolution.padding, tuple)
    return list(convolution.stride), list(convolution.padding), list(convolution.dilation), convolution.groups


def output_size(convolution: nn.Conv2d, input_size: Size) -> Size:
    """Size of a convolution's output, (N, C, H, W); without dilation."""
    stride, padding, _, _ = geometry(convolution)
    height, width = (
        (size + 2 * pad - kernel) // step + 1
        for size, pad, kernel, step in zip(input_size[2:], padding, convolution.kernel_size, stride, strict=True)
    )
    return input_size[0], convolution.out_channels, height, width


class FusedConvolution(nn.Module):
    """A convolution with bias, then ReLU or the addition of another tensor and ReLU. Inference only.

    Args:
        convolution: with bias, on the CPU, float32 or bfloat16.
        relu: apply ReLU in `forward`.
        input_size: (N, C, H, W) of most of its inputs.

    Attributes:
        weight: in the order that oneDNN chooses for `input_size`, and only it reads; neither a parameter nor a buffer.
        other_weights: the same in the order for images of other sizes, (H, W), that it was last given.
        output_size: (N, C, H, W) for `input_size`.
    """

    def __init__(self, convolution: nn.Conv2d, relu: bool, input_size: Size) -> None:
        super().__init__()
        stride, padding, dilation, groups = geometry(convolution)
        self._geometry = (padding, stride, dilation, groups)
        self._activation = "relu" if relu else "none"
        self._input_size = input_size
        self.weight = self._in_order_for(convolution.weight.detach().contiguous(), input_size)
        self.other_weights: dict[tuple[int, int], Tensor] = {}
        assert convolution.bias is not None
        self._bias = convolution.bias.detach()
        self.output_size = output_size(convolution, input_size)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W'), both channels last."""
        out: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, self._weight_for(x), self._bias, *self._geometry, self._activation, [], ""
        )
        return out

    def add_relu(self, x: Tensor, other: Tensor) -> Tensor:
        """ReLU of the convolution of `x` plus `other`, which is overwritten with the result."""
        out: Tensor = torch.ops.mkldnn._convolution_pointwise_.binary(
            other, x, self._weight_for(x), self._bias, *self._geometry, "add", 1.0, "relu", [], ""
        )
        return out

    def _weight_for(self, x: Tensor) -> Tensor:
        """The weights in the order for images of this size, which gives the same bits as any other.

        In the order for another size oneDNN may put them in order anew for each batch, which takes many times as long
        as the convolution.
        """
        height, width = x.shape[2:]
        if (height, width) == self._input_size[2:]:
            return self.weight
        weight = self.other_weights.get((height, width))
        if weight is None:
            weight = self._in_order_for(self.weight.to_dense(), (*self._input_size[:2], height, width))
            # Replaced as a whole, for other threads may be reading it.
            kept = list(self.other_weights.items())[1 - _OTHER_SIZES :]
            self.other_weights = {**dict(kept), (height, width): weight}
        return weight

    def _in_order_for(self, plain: Tensor, input_size: Size) -> Tensor:
        order: Tensor = torch.ops.aten.mkldnn_reorder_conv2d_weight(
            plain.to_mkldnn(), *self._geometry, list(input_size)
        )
        return order


class FusedBlock(nn.Module):
    """A residual block of fused convolutions. Its input is overwritten where the shortcut has no projection.

    Args:
        block: with folded batch norm.
        input_size: (N, C, H, W), as for `FusedConvolution`.
    """

    def __init__(self, block: BasicBlock | Bottleneck, input_size: Size) -> None:
        super().__init__()
        names = [name for name in ("conv1", "conv2", "conv3") if hasattr(block, name)]
        size = input_size
        inner: list[FusedConvolution] = []
        for name in names:
            inner.append(FusedConvolution(getattr(block, name), name != names[-1], size))
            size = inner[-1].output_size
        self.last = inner.pop()
        self.inner = nn.Sequential(*inner)
        projection = block.downsample
        assert projection is None or isinstance(projection, nn.Conv2d)
        self.projection = None if projection is None else FusedConvolution(projection, False, input_size)
        self.output_size = size

    def forward(self, x: Tensor) -> Tensor:
        """As the block, channels last."""
        x = x.contiguous(memory_format=torch.channels_last)  # what one channel gives may come in another order
        hidden = self.inner(x)
        return self.last.add_relu(hidden, x if self.projection is None else self.projection(x))


def fuse(trunk: ResNetTrunk, input_size: Size) -> None:
    """Replace the convolutions of a trunk with folded batch norm, in place.

    Args:
        trunk: on the CPU.
        input_size: (N, C, H, W) of most of its inputs.
    """
    replace_convolutions(trunk, input_size, FusedBlock)


class _Block(Protocol):
    output_size: Size


def replace_convolutions(
    trunk: ResNetTrunk, input_size: Size, kind: Callable[[BasicBlock | Bottleneck, Size], _Block]
) -> None:
    """Replace the first convolution of a trunk by a fused one, and its blocks by those of `kind`, in place."""
    first = FusedConvolution(trunk.conv1, True, input_size)
    trunk.conv1, trunk.relu = first, nn.Identity()  # type: ignore[assignment]
    number, channels, height, width = first.output_size
    size = (number, channels, (height + 1) // 2, (width + 1) // 2)  # after the max pooling
    for stage in (trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4):
        for index, block in enumerate(stage):
            assert isinstance(block, BasicBlock | Bottleneck)
            replacement = kind(block, size)
            assert isinstance(replacement, nn.Module)
            stage[index] = replacement
            size = replacement.output_size
