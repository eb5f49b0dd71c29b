"""Audio only and face only: one of AVPENet's encoders and its head, with AVPENet's parameter names.

The head sees a normalised embedding, as AVPENet's does: those of the two encoders differ in size by a factor of 100.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from avpenet_cli.model.architecture import Modality
from avpenet_cli.model.encoders import EMBEDDING, AudioEncoder, VisualEncoder, encode_in_micro_batches
from avpenet_cli.model.fusion import token_mean
from avpenet_cli.model.head import RegressionHead
from avpenet_cli.model.network import PainNetwork
from avpenet_cli.model.systems.settings import SingleModalitySettings
from avpenet_cli.model.tokens import present_faces


class AudioOnly(PainNetwork):
    """ResNet-34 on the spectrogram, dropout 0.3, LayerNorm, regression head."""

    modalities: ClassVar[tuple[Modality, ...]] = ("audio",)

    def __init__(self, architecture: SingleModalitySettings) -> None:
        super().__init__(architecture)
        self.audio_encoder = AudioEncoder()
        self.audio_dropout = nn.Dropout(0.3)
        self.layer_norm = nn.LayerNorm(EMBEDDING)
        self.head = RegressionHead()

    def encoders(self) -> list[nn.Module]:
        """As `PainNetwork.encoders`."""
        return [self.audio_encoder]

    def encode_audio(self, audio: Tensor) -> Tensor:
        """(B, 1, 128, 300) float32 in [0, 1] -> (B, 10, 512) float32."""
        return self.audio_encoder(audio)

    def encode_faces(self, faces: Tensor) -> Tensor:
        """(N, 3, 224, 224) float32, which is not used -> (N, 0) float32."""
        return faces.new_zeros((len(faces), 0))

    def score(
        self,
        audio_tokens: Tensor | None,
        face_tokens: Tensor | None = None,
        face_mask: Tensor | None = None,
        face_places: Tensor | None = None,
    ) -> Tensor:
        """As `PainNetwork.score`; faces are ignored."""
        if audio_tokens is None:
            raise ValueError("segments without audio, which is all that this network takes: nothing to score")
        return self.head(self.layer_norm(self.audio_dropout(audio_tokens.mean(dim=1))))


class FaceOnly(PainNetwork):
    """ResNet-50 with spatial attention on each face, dropout 0.4, mean of the faces, LayerNorm, regression head."""

    modalities: ClassVar[tuple[Modality, ...]] = ("face",)

    def __init__(self, architecture: SingleModalitySettings) -> None:
        super().__init__(architecture)
        self.visual_encoder = VisualEncoder()
        self.visual_dropout = nn.Dropout(0.4)
        self.layer_norm = nn.LayerNorm(EMBEDDING)
        self.head = RegressionHead()

    def encoders(self) -> list[nn.Module]:
        """As `PainNetwork.encoders`."""
        return [self.visual_encoder]

    def encode_audio(self, audio: Tensor) -> Tensor:
        """(B, 1, 128, 300) float32, which is not used -> (B, 1, 0) float32."""
        return audio.new_zeros((len(audio), 1, 0))

    def encode_faces(self, faces: Tensor) -> Tensor:
        """(N, 3, 224, 224) float32, ImageNet-normalised -> (N, 512) float32."""
        return encode_in_micro_batches(self.visual_encoder, faces, None if self.training else self.face_micro_batch)

    def score(
        self,
        audio_tokens: Tensor | None,
        face_tokens: Tensor | None,
        face_mask: Tensor | None = None,
        face_places: Tensor | None = None,
    ) -> Tensor:
        """As `PainNetwork.score`; audio is ignored."""
        if face_tokens is None or not face_tokens.shape[1]:
            raise ValueError("segments without face, which is all that this network takes: nothing to score")
        faces, mask = present_faces(self, face_tokens, face_mask)
        return self.head(self.layer_norm(token_mean(self.visual_dropout(faces), mask)))
