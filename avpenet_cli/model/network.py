"""What every network offers to scoring and training; and networks that learn from features of segments."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from avpenet_cli.model.architecture import MODALITIES, Modality, NetworkSettings

AudioInput = Literal["spectrogram", "waveform"]


class PainNetwork(nn.Module):
    """A network that scores segments: encoders, whose outputs are computed once, and what is done with them.

    Attributes:
        architecture: the variant; part of the weights' description.
        modalities: inputs of the network.
        audio_input: what `encode_audio` takes.
        all_frames: whether scores depend on how many of a segment's faces there are, so that it must be trained on all
            of them, as it is scored.
        face_micro_batch: number of faces that `encode_faces` takes at a time in evaluation mode; None for all at once.
            Affects speed and memory, not results.
    """

    modalities: ClassVar[tuple[Modality, ...]] = MODALITIES
    audio_input: ClassVar[AudioInput] = "spectrogram"
    all_frames: ClassVar[bool] = False

    def __init__(self, architecture: NetworkSettings) -> None:
        super().__init__()
        self.architecture: NetworkSettings = architecture
        self.face_micro_batch: int | None = None

    @abstractmethod
    def encode_audio(self, audio: Tensor) -> Tensor:
        """Encode each segment's audio.

        Args:
            audio: (B, 1, 128, 300) float32 in [0, 1], spectrograms; or, with `audio_input` `waveform`, (B, samples)
                float32 at 16 kHz, denoised, peak 1.

        Returns:
            (B, Ta, Da) float32, tokens in time order.
        """

    @abstractmethod
    def encode_faces(self, faces: Tensor) -> Tensor:
        """Encode each face.

        Args:
            faces: (N, 3, 224, 224) float32, ImageNet-normalised; N may be 0.

        Returns:
            (N, Dv) float32.
        """

    @abstractmethod
    def score(
        self,
        audio_tokens: Tensor | None,
        face_tokens: Tensor | None,
        face_mask: Tensor | None = None,
        face_places: Tensor | None = None,
    ) -> Tensor:
        """Pain score of each segment from the encoder outputs.

        Args:
            audio_tokens: (B, Ta, Da) float32, or None when no segment has audio.
            face_tokens: (B, T, Dv) float32, T at most 30, or None when no segment has a face.
            face_mask: (B, T) bool, True where there is a face; None for everywhere. Masked tokens have no effect. A row
                without any face is a segment without that modality.
            face_places: (B, T) int64, index of each face among the segment's 30 frames; None for 0 to T - 1. Networks
                to which the order of faces means nothing ignore it.

        Returns:
            (B,) float32 in [0, 10].

        Raises:
            ValueError: a modality is missing that `architecture.may_be_missing` does not list, or both are missing.
        """

    def predictions(
        self,
        audio_tokens: Tensor | None,
        face_tokens: Tensor | None,
        face_mask: Tensor | None = None,
        face_places: Tensor | None = None,
    ) -> Tensor:
        """What the loss is taken of: the score, or several predictions that are trained apart and make up the score.

        Returns:
            (K, B) float32 in [0, 10].
        """
        return self.score(audio_tokens, face_tokens, face_mask, face_places).unsqueeze(0)

    def encoders(self) -> list[nn.Module]:
        """The parts that are trained with the encoders' learning rate, and frozen where that is 0."""
        return []

    def encoder_digest(self, modality: Modality) -> str:
        """Digest that two networks share whose encoder of this modality gives the same outputs, hexadecimal.

        Networks whose encoders are called `audio_encoder` and `visual_encoder` share outputs if these parts are equal.
        """
        name = "audio_encoder" if modality == "audio" else "visual_encoder"
        part = getattr(self, name, None)
        digest = hashlib.sha256()
        if isinstance(part, nn.Module):
            digest.update(f"{type(part).__qualname__} {self.architecture.pools_images}".encode())
        else:
            part = self
            digest.update(f"{type(self).__qualname__} {modality} {self.architecture}".encode())
        for key, tensor in sorted(part.state_dict().items()):
            digest.update(key.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def allow_missing(self, modality: Modality) -> None:
        """Raise ValueError where the weights were not trained on segments without this modality."""
        if modality not in self.architecture.may_be_missing:
            raise ValueError(f"segments without {modality}, but these weights were not trained without it")


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """Features of segments to learn from.

    Attributes:
        features: (n, E) float32, from `FeatureNetwork.embed`.
        starts_s: (n,) float64, start of each segment in its recording, s.
        recording: (n,) int64; the segments of a recording follow one another in time order.
        subject: (n,) int64.
        truth: (n,) float64, pain 0 to 10; NaN where unrated.
        train, validation: (n,) bool, rows to learn from and to choose on; no subject is in both.
    """

    features: NDArray[np.float32]
    starts_s: NDArray[np.float64]
    recording: NDArray[np.int64]
    subject: NDArray[np.int64]
    truth: NDArray[np.float64]
    train: NDArray[np.bool_]
    validation: NDArray[np.bool_]


class FeatureNetwork(PainNetwork):
    """A network whose encoders are not trained with it: what is learnt takes one row of features for each segment.

    It may look at the other segments of a recording, so it scores a recording at a time.
    """

    @abstractmethod
    def embed(
        self,
        audio_tokens: Tensor | None,
        face_tokens: Tensor | None,
        face_mask: Tensor | None = None,
        face_places: Tensor | None = None,
    ) -> Tensor:
        """Features of each segment, independent of other segments. Arguments and errors as `score`.

        Returns:
            (B, E) float32; the same E for all.
        """

    @abstractmethod
    def score_recording(self, features: Tensor, starts_s: Tensor) -> Tensor:
        """Pain scores of the segments of one recording.

        Args:
            features: (S, E) float32, of its scorable segments, in time order.
            starts_s: (S,) float64, ascending; there may be gaps, and segments may overlap.

        Returns:
            (S,) float32 in [0, 10].
        """

    @abstractmethod
    def learn(self, table: FeatureTable, seed: int) -> Self:
        """Learn from a table; the same table and seed give the same parameters.

        Returns:
            The fitted network, in evaluation mode on the CPU; another object where sizes depend on the data.

        Raises:
            SettingsError: the table is too small, or cannot be learnt from; says what is needed.
        """

    def score(
        self,
        audio_tokens: Tensor | None,
        face_tokens: Tensor | None,
        face_mask: Tensor | None = None,
        face_places: Tensor | None = None,
    ) -> Tensor:
        """As `PainNetwork.score`, each segment as a recording of its own."""
        features = self.embed(audio_tokens, face_tokens, face_mask, face_places)
        start = torch.zeros(1, dtype=torch.float64, device=features.device)
        return torch.cat([self.score_recording(row[None], start) for row in features])
