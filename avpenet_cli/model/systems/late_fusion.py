"""Late fusion: the mean of an audio network's and a face network's predictions, which are trained apart."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from avpenet_cli.model.encoders import EMBEDDING, AudioEncoder, VisualEncoder
from avpenet_cli.model.fusion import token_mean
from avpenet_cli.model.head import RegressionHead
from avpenet_cli.model.systems.settings import LateFusionSettings
from avpenet_cli.model.tokens import is_present, present_tokens
from avpenet_cli.model.two_encoders import TwoEncoderNetwork


class LateFusion(TwoEncoderNetwork):
    """Audio only and face only side by side, with AVPENet's encoders under its parameter names, and two heads."""

    def __init__(self, architecture: LateFusionSettings) -> None:
        super().__init__(architecture)
        self.audio_encoder = AudioEncoder()
        self.visual_encoder = VisualEncoder()
        self.audio_dropout = nn.Dropout(0.3)
        self.visual_dropout = nn.Dropout(0.4)
        self.audio_norm = nn.LayerNorm(EMBEDDING)
        self.face_norm = nn.LayerNorm(EMBEDDING)
        self.audio_head = RegressionHead()
        self.face_head = RegressionHead()

    def score(
        self,
        audio_tokens: Tensor | None,
        face_tokens: Tensor | None,
        face_mask: Tensor | None = None,
        face_places: Tensor | None = None,
    ) -> Tensor:
        """As `PainNetwork.score`: the mean of `predictions`."""
        return self.predictions(audio_tokens, face_tokens, face_mask, face_places).mean(dim=0)

    def predictions(
        self,
        audio_tokens: Tensor | None,
        face_tokens: Tensor | None,
        face_mask: Tensor | None = None,
        face_places: Tensor | None = None,
    ) -> Tensor:
        """The predictions from audio and from the face. Where a modality is missing, both are the other one's.

        Returns:
            (2, B) float32 in [0, 10].
        """
        audio, face, mask, _ = present_tokens(
            self, audio_tokens, face_tokens, face_mask, audio_dim=EMBEDDING, face_dim=EMBEDDING
        )
        from_audio = self.audio_head(self.audio_norm(self.audio_dropout(audio.mean(dim=1))))
        from_face = self.face_head(self.face_norm(token_mean(self.visual_dropout(face), mask)))
        optional = self.architecture.may_be_missing
        by_audio = is_present(audio, None).any(dim=1) if "audio" in optional else torch.ones_like(from_audio).bool()
        by_face = is_present(face, mask).any(dim=1) if "face" in optional else torch.ones_like(from_face).bool()
        return torch.stack([torch.where(by_audio, from_audio, from_face), torch.where(by_face, from_face, from_audio)])
