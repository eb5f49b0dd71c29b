"""The AVPENet network: encoders, fusion and regression head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from avpenet_cli.model.architecture import Architecture
from avpenet_cli.model.encoders import EMBEDDING, AudioEncoder, VisualEncoder
from avpenet_cli.model.fusion import CrossModalFusion, Fused, token_mean
from avpenet_cli.model.head import RegressionHead
from avpenet_cli.model.network import PainNetwork


def average_faces(clip: Tensor, face_mask: Tensor | None = None) -> Tensor:
    """Average the face crops of each segment, for networks with `pooling="image"`.

    Args:
        clip: (B, T, 3, 224, 224) float32, ImageNet-normalised.
        face_mask: (B, T) bool with at least one True per row, or None for all.

    Returns:
        (B, 1, 3, 224, 224) float32.
    """
    return token_mean(clip.flatten(2), face_mask).unflatten(-1, clip.shape[2:]).unsqueeze(1)


class AVPENet(PainNetwork):
    """The published network, with token fusion as an option. Parameter names are those of the authors' checkpoints.

    Args:
        architecture: the variant to build.
    """

    architecture: Architecture

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        self.audio_encoder = AudioEncoder()
        self.visual_encoder = VisualEncoder()
        self.audio_dropout = nn.Dropout(0.3)
        self.visual_dropout = nn.Dropout(0.4)
        self.fusion = CrossModalFusion()
        self.head = RegressionHead()

    def encoders(self) -> list[nn.Module]:
        """As `PainNetwork.encoders`."""
        return [self.audio_encoder, self.visual_encoder]

    def encode_audio(self, audio: Tensor) -> Tensor:
        """Encode each segment's audio as tokens; their mean is the published e_a before dropout.

        Args:
            audio: (B, 1, 128, 300) float32 in [0, 1].

        Returns:
            (B, 10, 512) float32.
        """
        tokens: Tensor = self.audio_encoder(audio)
        return tokens

    def encode_faces(self, faces: Tensor) -> Tensor:
        """Encode each face as one embedding, the published e_v before dropout.

        Args:
            faces: (N, 3, 224, 224) float32, ImageNet-normalised; N may be 0.

        Returns:
            (N, 512) float32.
        """
        if not len(faces):
            return faces.new_zeros((0, EMBEDDING))
        if self.training or self.face_micro_batch is None:
            embeddings: Tensor = self.visual_encoder(faces)
            return embeddings
        return torch.cat([self.visual_encoder(part) for part in faces.split(self.face_micro_batch)])

    def fuse(self, audio_tokens: Tensor | None, face_tokens: Tensor | None, face_mask: Tensor | None = None) -> Fused:
        """Apply the encoders' dropout, then the fusion (equations 9-20). Arguments and errors as in `score`."""
        return self.fuse_present(*self._present(audio_tokens, face_tokens, face_mask))

    def fuse_present(self, audio: Tensor, face: Tensor, mask: Tensor | None) -> Fused:
        """As `fuse`, for segments that have both modalities; never waits for the device.

        Args:
            audio: (B, Ta, 512) float32.
            face: (B, Tv, 512) float32.
            mask: (B, Tv) bool with at least one True per row, or None for all.
        """
        if self.architecture.fusion == "single":
            # The published order: dropout follows the pooling of the audio map, but precedes that of the faces.
            audio = self.audio_dropout(audio.mean(dim=1, keepdim=True))
            face, mask = token_mean(self.visual_dropout(face), mask).unsqueeze(1), None
        else:
            audio, face = self.audio_dropout(audio), self.visual_dropout(face)
        fused: Fused = self.fusion(audio, face, mask)
        return fused

    def score(
        self,
        audio_tokens: Tensor | None,
        face_tokens: Tensor | None,
        face_mask: Tensor | None = None,
        face_places: Tensor | None = None,
    ) -> Tensor:
        """As `PainNetwork.score`, with (B, Ta, 512) audio tokens and (B, Tv, 512) face tokens."""
        scores: Tensor = self.head(self.fuse(audio_tokens, face_tokens, face_mask).fused)
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

    def _present(
        self, audio: Tensor | None, face: Tensor | None, face_mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Both token sequences and a mask with at least one True per row; a missing modality is one token of zeros."""
        if audio is None and face is None:
            raise ValueError("neither audio nor face tokens: nothing to score")
        if audio is None:
            self.allow_missing("audio")
            assert face is not None
            return face.new_zeros((len(face), 1, EMBEDDING)), *self._present_faces(face, face_mask)
        if face is None or not face.shape[1]:
            self.allow_missing("face")
            return audio, audio.new_zeros((len(audio), 1, EMBEDDING)), None
        return audio, *self._present_faces(face, face_mask)

    def _present_faces(self, face: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if mask is None:
            return face, None
        faceless = ~mask.any(dim=1)
        if not bool(faceless.any()):
            return face, mask
        self.allow_missing("face")
        mask = mask.clone()
        mask[faceless, 0] = True
        return torch.where(faceless[:, None, None], 0.0, face), mask
