"""One segment as the explained network sees it: inputs to tokens to a score."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from avpenet_cli.explanation.explained import SegmentInputs
from avpenet_cli.model.network import FeatureNetwork, PainNetwork
from avpenet_cli.records import SegmentScore
from avpenet_cli.scoring.network import SegmentTokens, audio_input
from avpenet_cli.settings import FRAME_STEP_S, FaceSettings

SegmentScorer = Callable[[Tensor | None, Tensor | None, Tensor | None], Tensor]
"""(B, Ta, Da) audio tokens, (B, T, Dv) face tokens and (B, T) places, or None for each -> (B,) scores in [0, 10]."""


def _go_on() -> None:
    """Nothing asks to stop."""


@dataclass(frozen=True, eq=False)
class OtherSegments:
    """The segments of a recording beside which one is scored, for networks that score a recording at a time.

    Attributes:
        features: (S, E) float32, from `FeatureNetwork.embed`, of all scored segments in time order.
        starts_s: (S,) float64.
        row: which of them is the explained one; its features are replaced.
    """

    features: Tensor
    starts_s: Tensor
    row: int


@dataclass(frozen=True, eq=False)
class SegmentNetwork:
    """A network with what is fixed while the inputs of one segment vary; `score` is its `SegmentScorer`.

    `dataclasses.replace(segment_network, network=other)` scores the same segment by another network.

    Attributes:
        network: float32, in evaluation mode, not converted for inference.
        face: preprocessing of the faces, from the description of the weights.
        others: the other segments, for a `FeatureNetwork`; None for one that scores each segment independently.
        check_stop: called before each batch of variants is scored; raises to stop.
    """

    network: PainNetwork
    face: FaceSettings
    others: OtherSegments | None = None
    check_stop: Callable[[], None] = _go_on

    @property
    def device(self) -> torch.device:
        """Where the network is; the CPU for one without any parameter."""
        tensors = itertools.chain(self.network.parameters(), self.network.buffers())
        return next((tensor.device for tensor in tensors), torch.device("cpu"))

    def audio(self, inputs: SegmentInputs) -> Tensor | None:
        """What `encode_audio` takes: (1, 1, 128, 300) float32 in [0, 1], or (1, 48000) with a peak of 1; None without.

        `PainNetwork.audio_input` says which.
        """
        if inputs.mel is None or inputs.waveform is None:
            return None
        array = audio_input(self.network.audio_input, inputs.mel, inputs.waveform)
        audio = torch.from_numpy(np.ascontiguousarray(array))[None].to(self.device)
        return audio[:, None] if self.network.audio_input == "spectrogram" else audio

    def faces(self, inputs: SegmentInputs) -> Tensor | None:
        """What `encode_faces` takes: (n, 3, crop_px, crop_px) float32, normalised; None without a face."""
        if not len(inputs.crops):
            return None
        channels = (self.face.pixel_mean, self.face.pixel_std)
        mean, std = (torch.tensor(values, device=self.device).view(1, 3, 1, 1) for values in channels)
        crops = torch.from_numpy(inputs.crops).to(self.device).permute(0, 3, 1, 2)
        return (crops.float() / 255 - mean) / std

    def encode_faces(self, faces: Tensor, inputs: SegmentInputs) -> Tensor:
        """Face tokens of variants of a segment.

        Args:
            faces: (B * n, 3, crop_px, crop_px) float32, normalised; the n faces of each of B variants in turn.
            inputs: of the segment; says how many faces there are and, with pooling by image, what each counts.

        Returns:
            (B, n, Dv) float32; with pooling by image the one mean (B, 1, Dv).
        """
        encoded = self.network.encode_faces(faces)
        tokens: Tensor = encoded.unflatten(0, (-1, len(inputs.crops)))
        if inputs.counts is not None:
            share = torch.from_numpy(inputs.counts / inputs.counts.sum()).to(tokens)
            tokens = (tokens * share[:, None]).sum(dim=1, keepdim=True)
        return tokens

    def places(self, inputs: SegmentInputs) -> Tensor | None:
        """(1, n) int64, places of the faces among the 30 frames; None without a face or with pooling by image."""
        if not len(inputs.crops) or inputs.counts is not None:
            return None
        return torch.from_numpy(inputs.places)[None].to(self.device)

    def tokens(self, inputs: SegmentInputs) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Audio tokens (1, Ta, Da), face tokens (1, T, Dv) and places (1, T) of a segment: arguments of `score`."""
        audio, faces = self.audio(inputs), self.faces(inputs)
        return (
            None if audio is None else self.network.encode_audio(audio),
            None if faces is None else self.encode_faces(faces, inputs),
            self.places(inputs),
        )

    def score(self, audio: Tensor | None, faces: Tensor | None, places: Tensor | None = None) -> Tensor:
        """Scores of B variants of the segment, each beside the same other segments.

        Args:
            audio: (B, Ta, Da) float32, or None for segments without audio.
            faces: (B, T, Dv) float32, or None for segments without a face.
            places: (B, T) or (1, T) int64, or None.

        Returns:
            (B,) float32 in [0, 10].

        Raises:
            ValueError: a modality is missing that the weights were not trained without.
        """
        self.check_stop()
        if places is not None and faces is not None:
            places = places.expand(len(faces), -1)
        if self.others is None or not isinstance(self.network, FeatureNetwork):
            return self.network.score(audio, faces, None, places)
        features, starts_s, row = self.others.features, self.others.starts_s, self.others.row
        variants = self.network.embed(audio, faces, None, places)
        return torch.cat(
            [
                self.network.score_recording(torch.cat([features[:row], own[None], features[row + 1 :]]), starts_s)[
                    row : row + 1
                ]
                for own in variants
            ]
        )


@torch.no_grad()
def beside_others(
    network: SegmentNetwork, records: Sequence[SegmentScore], tokens_of: Callable[[int], SegmentTokens]
) -> Callable[[int], SegmentNetwork]:
    """A function that gives the network for each scored segment of a recording, beside the other scored ones.

    Args:
        network: without other segments.
        records: all segments of the recording, in time order.
        tokens_of: encoder outputs of a segment by its number.
    """
    model = network.network
    if not isinstance(model, FeatureNetwork):
        return lambda segment: network
    features, starts_s = [], []
    rows: dict[int, int] = {}
    for record in records:
        if record.score is not None:
            kept = tokens_of(record.segment)
            places = kept.places if kept.faces is not None else None
            audio, faces, at = (
                None if part is None else torch.tensor(part, device=network.device)[None]
                for part in (kept.audio, kept.faces, places)
            )
            rows[record.segment] = len(rows)
            features.append(model.embed(audio, faces, None, at))
            starts_s.append(kept.first_slot * FRAME_STEP_S)
    everything = torch.cat(features)
    starts = torch.tensor(starts_s, dtype=torch.float64, device=network.device)
    return lambda segment: replace(network, others=OtherSegments(everything, starts, rows[segment]))
