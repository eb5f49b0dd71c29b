"""Early fusion: spectrogram and faces stacked as channels over time, before any encoder, and a 3-D CNN on them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avpenet_cli.model.architecture import Modality
from avpenet_cli.model.encoders import EMBEDDING, ieee_convolutions
from avpenet_cli.model.head import RegressionHead
from avpenet_cli.model.network import PainNetwork
from avpenet_cli.model.systems.settings import EarlyFusionSettings
from avpenet_cli.model.tokens import is_present, mean_by_step, on_grid, places_of_faces, present_tokens
from avpenet_cli.settings import digest_of

SPECTROGRAM_FRAMES = 300
_GREY = (0.299, 0.587, 0.114)
"""Weights of red, green and blue (ITU-R BT.601)."""
_CHANNELS = 3
"""Face, spectrogram, and 1 where there is a face."""


class EarlyFusion(PainNetwork):
    """Four 3-D convolutions over (time, height, width), mean, one hidden layer, regression head.

    What `encode_audio` and `encode_faces` return are small images, not embeddings: there is no encoder of one modality.
    """

    architecture: EarlyFusionSettings

    def __init__(self, architecture: EarlyFusionSettings) -> None:
        super().__init__(architecture)
        width = architecture.width
        self.convolutions = nn.Sequential(
            *_convolution(_CHANNELS, width, stride=(1, 2, 2)),
            *_convolution(width, 2 * width, stride=(1, 2, 2)),
            *_convolution(2 * width, 4 * width, stride=(2, 2, 2)),
            *_convolution(4 * width, 8 * width, stride=(2, 2, 2)),
        )
        self.dropout = nn.Dropout(0.4)
        self.hidden = nn.Linear(8 * width, EMBEDDING)
        self.head = RegressionHead()

    @property
    def _columns(self) -> int:
        """Columns of the spectrogram in each time step."""
        return SPECTROGRAM_FRAMES // self.architecture.time_steps

    def encoder_digest(self, modality: Modality) -> str:
        """Of how the images are made, which nothing that is learnt changes."""
        return digest_of([type(self).__qualname__, modality, self.architecture.grid_px, self.architecture.time_steps])

    def encode_audio(self, audio: Tensor) -> Tensor:
        """Cut the spectrogram into time steps and average its mel bands down to the grid.

        Args:
            audio: (B, 1, 128, 300) float32 in [0, 1].

        Returns:
            (B, time_steps, grid_px * 300 / time_steps) float32 in [0, 1].
        """
        grid, steps = self.architecture.grid_px, self.architecture.time_steps
        small = F.adaptive_avg_pool2d(audio.float(), (grid, SPECTROGRAM_FRAMES)).squeeze(1)
        return small.unflatten(-1, (steps, self._columns)).transpose(1, 2).flatten(2)

    def encode_faces(self, faces: Tensor) -> Tensor:
        """Average each face down to a small grey image.

        Args:
            faces: (N, 3, 224, 224) float32, ImageNet-normalised.

        Returns:
            (N, grid_px * grid_px) float32.
        """
        grid = self.architecture.grid_px
        if not len(faces):
            return faces.new_zeros((0, grid * grid))
        grey = (faces * faces.new_tensor(_GREY).view(3, 1, 1)).sum(dim=1)
        return F.adaptive_avg_pool2d(grey, (grid, grid)).flatten(1)

    def score(
        self,
        audio_tokens: Tensor | None,
        face_tokens: Tensor | None,
        face_mask: Tensor | None = None,
        face_places: Tensor | None = None,
    ) -> Tensor:
        """As `PainNetwork.score`, from the small images."""
        features = self.convolutions_of(self.volume(audio_tokens, face_tokens, face_mask, face_places))
        return self.head(torch.relu(self.hidden(self.dropout(features))))

    def volume(
        self,
        audio_tokens: Tensor | None,
        face_tokens: Tensor | None,
        face_mask: Tensor | None = None,
        face_places: Tensor | None = None,
    ) -> Tensor:
        """Stack both modalities over time. Arguments and errors as `score`.

        Returns:
            (B, 3, time_steps, grid_px, grid_px) float32: face, spectrogram, and 1 where the step has a face, else 0.
        """
        grid, steps = self.architecture.grid_px, self.architecture.time_steps
        audio, face, mask, places = present_tokens(
            self,
            audio_tokens,
            face_tokens,
            face_mask,
            face_places,
            audio_dim=grid * self._columns,
            face_dim=grid * grid,
        )
        faces, has_face = mean_by_step(face, is_present(face, mask), places_of_faces(face, places), steps)
        patches = on_grid(audio, steps).unflatten(-1, (grid, self._columns))
        patches = F.interpolate(patches, size=(grid, grid), mode="bilinear", align_corners=False)
        presence = has_face.to(patches.dtype)[..., None, None].expand_as(patches)
        return torch.stack([faces.unflatten(-1, (grid, grid)), patches, presence], dim=1)

    def convolutions_of(self, volume: Tensor) -> Tensor:
        """(B, 3, time_steps, grid_px, grid_px) float32 -> (B, 8 * width) float32, means over time and space."""
        with ieee_convolutions(volume.device):
            return self.convolutions(volume).mean(dim=(2, 3, 4))


def _convolution(channels_in: int, channels_out: int, stride: tuple[int, int, int]) -> list[nn.Module]:
    """A 3x3x3 convolution, batch norm and ReLU."""
    return [
        nn.Conv3d(channels_in, channels_out, kernel_size=3, stride=stride, padding=1, bias=False),
        nn.BatchNorm3d(channels_out),
        nn.ReLU(inplace=True),
    ]
