"""Audio and visual encoders (equations 1-8): torchvision's ResNets with the authors' parameter names."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

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


class ResNetTrunk(nn.Module):
    """The convolutional part of a torchvision ResNet, without its classifier.

    Attributes keep torchvision's names (`conv1 bn1 layer1..layer4`), which are those of the authors' checkpoints.
    """

    def __init__(self, block: type[BasicBlock | Bottleneck], channels_in: int) -> None:
        super().__init__()
        resnet = ResNet(block, [3, 4, 6, 3])
        self.conv1 = nn.Conv2d(channels_in, 64, kernel_size=7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.bn1: nn.Module = resnet.bn1
        self.relu = resnet.relu
        self.maxpool = resnet.maxpool
        self.layer1 = resnet.layer1
        self.layer2 = resnet.layer2
        self.layer3 = resnet.layer3
        self.layer4 = resnet.layer4

    def stages(self, images: Tensor) -> Tensor:
        """(N, channels_in, H, W) -> features (N, C, ceil(H / 32), ceil(W / 32)), in the dtype of the convolutions."""
        x = images.to(self.conv1.weight.dtype)
        with ieee_convolutions(x.device):
            x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
            return self.layer4(self.layer3(self.layer2(self.layer1(x))))


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

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) float32 -> same shape, each position multiplied by its weight in (0, 1)."""
        summary = torch.cat([features.amax(dim=1, keepdim=True), features.mean(dim=1, keepdim=True)], dim=1)
        return features * torch.sigmoid(self.conv(summary))


class VisualEncoder(ResNetTrunk):
    """ResNet-50, spatial attention, pooling and projection (equations 4-8), without dropout as in `AudioEncoder`."""

    def __init__(self) -> None:
        super().__init__(Bottleneck, channels_in=3)
        self.spatial_attention = SpatialAttention()
        self.projector = nn.Linear(2048, EMBEDDING)

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
