"""What networks have in common that encode audio and faces each on its own."""

from __future__ import annotations

from torch import Tensor, nn

from avpenet_cli.model.encoders import encode_in_micro_batches
from avpenet_cli.model.network import PainNetwork


class TwoEncoderNetwork(PainNetwork):
    """A network with an encoder of audio and one of faces, under the names of the authors' checkpoints.

    Attributes:
        audio_encoder: (B, 1, 128, 300) float32 in [0, 1] -> (B, 10, 512) float32.
        visual_encoder: (N, 3, 224, 224) float32, ImageNet-normalised -> (N, 512) float32.
    """

    audio_encoder: nn.Module
    visual_encoder: nn.Module

    def encoders(self) -> list[nn.Module]:
        """As `PainNetwork.encoders`."""
        return [self.audio_encoder, self.visual_encoder]

    def encode_audio(self, audio: Tensor) -> Tensor:
        """As `PainNetwork.encode_audio`; the mean over tokens of AVPENet's is the published e_a before dropout."""
        tokens: Tensor = self.audio_encoder(audio)
        return tokens

    def encode_faces(self, faces: Tensor) -> Tensor:
        """As `PainNetwork.encode_faces`; of AVPENet's encoder, the published e_v before dropout."""
        return encode_in_micro_batches(self.visual_encoder, faces, None if self.training else self.face_micro_batch)
