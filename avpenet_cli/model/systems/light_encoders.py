"""EmotiEffNet: light encoders in place of the residual networks, and AVPENet's attention fusion over their tokens."""

from __future__ import annotations

from torch import Tensor, nn

from avpenet_cli.model.encoders import EMBEDDING, ieee_convolutions
from avpenet_cli.model.fusion import CrossModalFusion
from avpenet_cli.model.head import RegressionHead
from avpenet_cli.model.systems.settings import LightEncoderSettings
from avpenet_cli.model.tokens import present_tokens
from avpenet_cli.model.two_encoders import TwoEncoderNetwork

_FEATURES = {"mobilenet_v3_small": 576, "efficientnet_b0": 1280}
"""Channels of each backbone's last feature map, which is 32 times smaller than the input."""


_MOMENTUM = 0.1
"""Of batch norm's running statistics, torch's default, as in AVPENet's encoders."""


class LightEncoder(nn.Module):
    """The convolutional part of a light network of torchvision and a projection to 512 dimensions.

    Args:
        backbone: of `LightEncoderSettings`.
        channels_in: of the input.
    """

    def __init__(self, backbone: str, channels_in: int) -> None:
        super().__init__()
        self.features = _convolutional_part(backbone, channels_in)
        self.projector = nn.Linear(_FEATURES[backbone], EMBEDDING)

    def feature_map(self, images: Tensor) -> Tensor:
        """(N, channels_in, H, W) float32 -> (N, C, ceil(H / 32), ceil(W / 32)) float32."""
        with ieee_convolutions(images.device):
            return self.features(images).float()


class LightAudioEncoder(LightEncoder):
    """A light encoder of spectrograms."""

    def forward(self, mel: Tensor) -> Tensor:
        """(B, 1, 128, 300) float32 in [0, 1] -> (B, 10, 512) float32, one token per 0.3 s."""
        return self.projector(self.feature_map(mel).mean(dim=2).transpose(1, 2))


class LightFaceEncoder(LightEncoder):
    """A light encoder of faces."""

    def forward(self, faces: Tensor) -> Tensor:
        """(N, 3, 224, 224) float32, ImageNet-normalised -> (N, 512) float32."""
        return self.projector(self.feature_map(faces).mean(dim=(2, 3)))


class EmotiEffNet(TwoEncoderNetwork):
    """Light encoders, cross-modal attention over tokens, regression head. Needs torchvision."""

    architecture: LightEncoderSettings

    def __init__(self, architecture: LightEncoderSettings) -> None:
        super().__init__(architecture)
        self.audio_encoder = LightAudioEncoder(architecture.backbone, channels_in=1)
        self.visual_encoder = LightFaceEncoder(architecture.backbone, channels_in=3)
        self.audio_dropout = nn.Dropout(0.3)
        self.visual_dropout = nn.Dropout(0.4)
        self.fusion = CrossModalFusion()
        self.head = RegressionHead()

    def score(
        self,
        audio_tokens: Tensor | None,
        face_tokens: Tensor | None,
        face_mask: Tensor | None = None,
        face_places: Tensor | None = None,
    ) -> Tensor:
        """As `PainNetwork.score`."""
        audio, face, mask, _ = present_tokens(self, audio_tokens, face_tokens, face_mask)
        fused = self.fusion(self.audio_dropout(audio), self.visual_dropout(face), mask)
        return self.head(fused.fused)


def _convolutional_part(backbone: str, channels_in: int) -> nn.Sequential:
    """The features of a torchvision network, with a first convolution for that many channels."""
    from torchvision import models

    features: nn.Sequential = getattr(models, backbone)(weights=None).features
    for module in features.modules():
        if isinstance(module, nn.BatchNorm2d):
            # MobileNet's own 0.01 is for hundreds of thousands of steps; with it, statistics of a short training lag.
            module.momentum = _MOMENTUM
    stem = features[0]
    assert isinstance(stem, nn.Sequential)
    first = stem[0]
    assert isinstance(first, nn.Conv2d)
    if first.in_channels != channels_in:
        # MobileNet and EfficientNet begin alike, but for the number of channels.
        stem[0] = nn.Conv2d(channels_in, first.out_channels, kernel_size=3, stride=2, padding=1, bias=False)
    return features
