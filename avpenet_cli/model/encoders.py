"""Audio and visual encoders (equations 1-8): ResNet-34 and ResNet-50 with the authors' parameter names.

The residual networks are those of torchvision, whose import takes seconds, written here without its options.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

EMBEDDING = 512
"""Embedding dimension d of the paper."""


@contextlib.contextmanager
def ieee_convolutions(device: torch.device) -> Iterator[None]:
    """Compute float32 convolutions in float32 on a GPU: cuDNN's default is TF32, with a mantissa of 10 bits."""
    if device.type != "cuda":
        yield
        return
    cudnn = torch.backends.cudnn
    with cudnn.flags(
        enabled=cudnn.enabled, benchmark=cudnn.benchmark, deterministic=cudnn.deterministic, allow_tf32=False
    ):
        yield


def encode_in_micro_batches(encoder: nn.Module, faces: Tensor, size: int | None) -> Tensor:
    """Encode faces some at a time, which affects speed and memory, not results.

    Args:
        encoder: (n, 3, 224, 224) float32 -> (n, 512) float32, for n of at least 1.
        faces: (N, 3, 224, 224) float32; N may be 0.
        size: number of faces at a time; None for all at once.

    Returns:
        (N, 512) float32.
    """
    if not len(faces):
        return faces.new_zeros((0, EMBEDDING))
    return encoder(faces) if size is None else torch.cat([encoder(part) for part in faces.split(size)])


def deduplicate_consecutive(images: Tensor) -> tuple[Tensor, Tensor]:
    """Images without those that equal the one before: at a low frame rate one frame fills several positions.

    As `torch.unique_consecutive(images, return_inverse=True, dim=0)`, which on a GPU compares two images in one thread,
    pixel after pixel.

    Args:
        images: (N, ...); N may be 0.

    Returns:
        (n, ...), n at most N, and (N,) int64, for each image the index of its equal among them.
    """
    is_new = torch.ones(len(images), dtype=torch.bool, device=images.device)
    is_new[1:] = (images[1:] != images[:-1]).flatten(1).any(dim=1)
    return images[is_new], is_new.cumsum(0) - 1


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut, the residual block of ResNet-34 (He et al. 2016, figure 5).

    Args:
        channels_in: of the input.
        width: channels of both convolutions.
        stride: of the first convolution.
    """

    expansion = 1
    """Channels of the output per channel of `width`."""

    def __init__(self, channels_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, width, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1: nn.Module = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False)
        self.bn2: nn.Module = nn.BatchNorm2d(width)
        self.downsample = _shortcut(channels_in, width * self.expansion, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels_in, H, W) -> (N, width, ceil(H / stride), ceil(W / stride))."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += x if self.downsample is None else self.downsample(x)
        result: Tensor = self.relu(out)
        return result


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with a shortcut, the residual block of ResNet-50, with the stride in the 3x3.

    Args:
        channels_in: of the input.
        width: channels of the first two convolutions; the output has four times as many.
        stride: of the 3x3 convolution.
    """

    expansion = 4
    """Channels of the output per channel of `width`."""

    def __init__(self, channels_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, width, kernel_size=1, bias=False)
        self.bn1: nn.Module = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn2: nn.Module = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * self.expansion, kernel_size=1, bias=False)
        self.bn3: nn.Module = nn.BatchNorm2d(width * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(channels_in, width * self.expansion, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels_in, H, W) -> (N, 4 * width, ceil(H / stride), ceil(W / stride))."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += x if self.downsample is None else self.downsample(x)
        result: Tensor = self.relu(out)
        return result


def _shortcut(channels_in: int, channels_out: int, stride: int) -> nn.Module | None:
    """A projection where the shapes of input and output differ, else None."""
    if stride == 1 and channels_in == channels_out:
        return None
    projection = nn.Conv2d(channels_in, channels_out, kernel_size=1, stride=stride, bias=False)
    return nn.Sequential(projection, nn.BatchNorm2d(channels_out))


class ResNetTrunk(nn.Module):
    """The convolutional part of a ResNet with 3, 4, 6 and 3 blocks, without its classifier.

    Attributes have torchvision's names (`conv1 bn1 layer1..layer4`), which are those of the authors' checkpoints.
    """

    def __init__(self, block: type[BasicBlock | Bottleneck], channels_in: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1: nn.Module = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = _stage(block, 64, width=64, blocks=3, stride=1)
        self.layer2 = _stage(block, 64 * block.expansion, width=128, blocks=4, stride=2)
        self.layer3 = _stage(block, 128 * block.expansion, width=256, blocks=6, stride=2)
        self.layer4 = _stage(block, 256 * block.expansion, width=512, blocks=3, stride=2)

    def stages(self, images: Tensor) -> Tensor:
        """(N, channels_in, H, W) -> features (N, C, ceil(H / 32), ceil(W / 32)), in the dtype of the convolutions."""
        x = images.to(self.conv1.weight.dtype)
        with ieee_convolutions(x.device):
            x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
            return self.layer4(self.layer3(self.layer2(self.layer1(x))))


def _stage(
    block: type[BasicBlock | Bottleneck], channels_in: int, *, width: int, blocks: int, stride: int
) -> nn.Sequential:
    """Blocks of one width, of which the first has the stride."""
    others = [block(width * block.expansion, width, stride=1) for _ in range(blocks - 1)]
    return nn.Sequential(block(channels_in, width, stride), *others)


class AudioEncoder(ResNetTrunk):
    """ResNet-34 on one channel (equations 1-3), without the dropout, which `AVPENet.fuse` applies."""

    def __init__(self) -> None:
        super().__init__(BasicBlock, channels_in=1)

    def forward(self, mel: Tensor) -> Tensor:
        """Average the stage-4 map over frequency into audio tokens; their mean is the published e_a.

        Args:
            mel: (B, 1, 128, 300) float32 in [0, 1].

        Returns:
            (B, 10, 512) float32, one token per 0.3 s.
        """
        return self.stages(mel).float().mean(dim=2).transpose(1, 2)


class SpatialAttention(nn.Module):
    """Weights each position of a feature map by a 7x7 convolution of its channel maximum and mean (equations 4-7)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size=7, padding=3, bias=False)
        self.sigmoid: nn.Module = nn.Sigmoid()

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) float32 -> same shape, each position multiplied by its weight in (0, 1)."""
        summary = torch.cat([features.amax(dim=1, keepdim=True), features.mean(dim=1, keepdim=True)], dim=1)
        weighted: Tensor = features * self.sigmoid(self.conv(summary))
        return weighted


class VisualEncoder(ResNetTrunk):
    """ResNet-50, spatial attention, pooling and projection (equations 4-8), without dropout as in `AudioEncoder`."""

    def __init__(self) -> None:
        super().__init__(Bottleneck, channels_in=3)
        self.spatial_attention = SpatialAttention()
        self.projector: nn.Module = nn.Linear(2048, EMBEDDING)

    def forward(self, faces: Tensor) -> Tensor:
        """Encode each face as one embedding.

        Args:
            faces: (N, 3, 224, 224) float32, ImageNet-normalised.

        Returns:
            (N, 512) float32.
        """
        features = self.spatial_attention(self.stages(faces).float())
        embeddings: Tensor = self.projector(features.mean(dim=(2, 3)))
        return embeddings
