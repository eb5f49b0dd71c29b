"""The AVPENet network: encoders, fusion and regression head."""

from __future__ import annotations

from torch import Tensor, nn

from avpenet_cli.model.architecture import Architecture
from avpenet_cli.model.encoders import AudioEncoder, VisualEncoder
from avpenet_cli.model.fusion import Fused, token_mean
from avpenet_cli.model.fusion_variants import MEAN_POOLED, build_fusion
from avpenet_cli.model.head import RegressionHead
from avpenet_cli.model.tokens import present_tokens
from avpenet_cli.model.two_encoders import TwoEncoderNetwork


def average_faces(clip: Tensor, face_mask: Tensor | None = None) -> Tensor:
    """Average the face crops of each segment, for networks with `pooling="image"`.

    Args:
        clip: (B, T, 3, 224, 224) float32, ImageNet-normalised.
        face_mask: (B, T) bool with at least one True per row, or None for all.

    Returns:
        (B, 1, 3, 224, 224) float32.
    """
    return token_mean(clip.flatten(2), face_mask).unflatten(-1, clip.shape[2:]).unsqueeze(1)


class AVPENet(TwoEncoderNetwork):
    """The published network, with token fusion as an option. Parameter names are those of the authors' checkpoints.

    Args:
        architecture: the variant to build.
    """

    architecture: Architecture
    audio_encoder: AudioEncoder
    visual_encoder: VisualEncoder

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        self.audio_encoder = AudioEncoder()
        self.visual_encoder = VisualEncoder()
        self.audio_dropout = nn.Dropout(0.3)
        self.visual_dropout = nn.Dropout(0.4)
        self.fusion = build_fusion(architecture.fusion)
        self.head = RegressionHead()

    def fuse(
        self,
        audio_tokens: Tensor | None,
        face_tokens: Tensor | None,
        face_mask: Tensor | None = None,
        face_places: Tensor | None = None,
    ) -> Fused:
        """Apply the encoders' dropout, then the fusion (equations 9-20). Arguments and errors as in `score`."""
        return self.fuse_present(*present_tokens(self, audio_tokens, face_tokens, face_mask, face_places))

    def fuse_present(self, audio: Tensor, face: Tensor, mask: Tensor | None, places: Tensor | None = None) -> Fused:
        """As `fuse`, for segments that have both modalities; never waits for the device.

        Args:
            audio: (B, Ta, 512) float32.
            face: (B, Tv, 512) float32; finite also where masked.
            mask: (B, Tv) bool with at least one True per row, or None for all.
            places: (B, Tv) int64, or None for 0 to Tv - 1.
        """
        if self.architecture.fusion in MEAN_POOLED:
            # The published order: dropout follows the pooling of the audio map, but precedes that of the faces.
            audio = self.audio_dropout(audio.mean(dim=1, keepdim=True))
            face, mask, places = token_mean(self.visual_dropout(face), mask).unsqueeze(1), None, None
        else:
            audio, face = self.audio_dropout(audio), self.visual_dropout(face)
        fused: Fused = self.fusion(audio, face, mask, places)
        return fused

    def score(
        self,
        audio_tokens: Tensor | None,
        face_tokens: Tensor | None,
        face_mask: Tensor | None = None,
        face_places: Tensor | None = None,
    ) -> Tensor:
        """As `PainNetwork.score`, with (B, Ta, 512) audio tokens and (B, Tv, 512) face tokens."""
        scores: Tensor = self.head(self.fuse(audio_tokens, face_tokens, face_mask, face_places).fused)
        return scores

    def forward(self, mel: Tensor, clip: Tensor, face_mask: Tensor | None = None) -> Tensor:
        """Pain score of each segment from the network inputs.

        Args:
            mel: (B, 1, 128, 300) float32 in [0, 1].
            clip: (B, T, 3, 224, 224) or (B, 3, 224, 224) float32, ImageNet-normalised.
            face_mask: (B, T) bool as in `score`; with `pooling="image"` each row needs at least one True.

        Returns:
            (B,) float32 in [0, 10].

        Raises:
            ValueError: as `score`; with `pooling="image"`, a segment without any face.
        """
        if clip.ndim == 4:
            clip = clip.unsqueeze(1)
        if self.architecture.pooling == "image":
            if face_mask is not None and not bool(face_mask.any(dim=1).all()):
                raise ValueError("a segment without any face has no mean image; remove it from the batch")
            clip, face_mask = average_faces(clip, face_mask), None
        face_tokens = self.encode_faces(clip.flatten(0, 1)).unflatten(0, clip.shape[:2])
        return self.score(self.encode_audio(mel), face_tokens, face_mask)
