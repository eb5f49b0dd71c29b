"""What `context` and `own-baseline` share: a frozen AVPENet whose score a small fitted network corrects."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from avpenet_cli.model.architecture import Modality
from avpenet_cli.model.avpenet import AVPENet
from avpenet_cli.model.correction_settings import CorrectionSettings
from avpenet_cli.model.encoders import EMBEDDING
from avpenet_cli.model.head import MAX_SCORE
from avpenet_cli.model.network import FeatureNetwork, FeatureTable
from avpenet_cli.model.tokens import present_tokens

FEATURES = EMBEDDING + 3
"""Values of a segment: the fused embedding, the base's score in points, whether audio and whether a face is there."""

_SCORE = EMBEDDING
_NEAREST_TO_END = 0.01
"""Points from 0 and 10 beyond which a base score counts as no further, since its logit has no bound."""

_FARTHEST = 5.0
"""Standard deviations beyond which a feature counts as no further: a cover or loud noise must not move the score by
what was never seen in training."""

_ROWS = 256


def base_scores(features: Tensor) -> Tensor:
    """(S, 515) -> (S,): the base's scores, in [0, 10]."""
    return features[:, _SCORE]


def base_logits(features: Tensor) -> Tensor:
    """(S, 515) -> (S,): logits of a tenth of the base's scores, finite."""
    scores = base_scores(features).clamp(_NEAREST_TO_END, MAX_SCORE - _NEAREST_TO_END)
    return torch.logit(scores / MAX_SCORE)


class Standardise(nn.Module):
    """Features with mean 0 and standard deviation 1 on the training segments, cut at 5 standard deviations.

    Args:
        size: number of features.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(size))
        self.register_buffer("running_var", torch.ones(size))

    def fit(self, features: Tensor) -> None:
        """Take the statistics of these rows, (n, size); a feature that never varies keeps its scale."""
        wide = features.double()
        variance = wide.var(dim=0, unbiased=False)
        self.running_mean.copy_(wide.mean(dim=0))
        self.running_var.copy_(torch.where(variance > 1e-8, variance, 1.0))

    def forward(self, features: Tensor) -> Tensor:
        """(n, size) float32 -> (n, size) float32 in [-5, 5]."""
        standard = (features - self.running_mean) * torch.rsqrt(self.running_var)
        return standard.clamp(-_FARTHEST, _FARTHEST)


class Correction(nn.Module, ABC):
    """What is learnt: how far other segments of the recording move the logit of a segment's score.

    Attributes:
        standardise: of the features; its statistics are fitted, not learnt by gradients.
    """

    def __init__(self) -> None:
        super().__init__()
        self.standardise = Standardise(FEATURES)

    @abstractmethod
    def relations(self, features: npt.NDArray[np.float32], starts_s: npt.NDArray[np.float64]) -> tuple[Tensor, ...]:
        """What links each segment to others; depends on nothing learnt.

        Args:
            features: (S, 515) of one recording, S at least 1.
            starts_s: (S,) s, ascending.

        Returns:
            Tensors with S rows each. Rows of several recordings may stand below each other as their features do.
        """

    @abstractmethod
    def summarise(self, features: Tensor) -> Tensor:
        """Each segment for itself: (n, 515) float32 -> (n, any) float32."""

    @abstractmethod
    def forward(self, summaries: Tensor, rows: Tensor, relations: tuple[Tensor, ...]) -> Tensor:
        """The correction of some segments.

        Args:
            summaries: (n, any) float32 of all segments, from `summarise`.
            rows: (r,) int64, the segments to correct.
            relations: of these segments only, r rows each.

        Returns:
            (r,) float32, to be added to the logit.
        """

    @abstractmethod
    def initialise(self) -> None:
        """Set the parameters to where fitting starts, with torch's generator; all corrections are then 0."""


class CorrectedNetwork(FeatureNetwork):
    """AVPENet with a correction of its scores by other segments of the recording. The base is never trained here.

    Args:
        architecture: settings of the correction, with those of the base.
        correction: the part that is fitted.

    Attributes:
        base: load trained parameters into it before anything else.
    """

    architecture: CorrectionSettings

    def __init__(self, architecture: CorrectionSettings, correction: Correction) -> None:
        super().__init__(architecture)
        self.base = AVPENet(architecture.base).requires_grad_(False).eval()
        self.correction = correction

    def train(self, mode: bool = True) -> Self:
        """As any module, except that the base stays in evaluation mode."""
        super().train(mode)
        self.base.eval()
        return self

    def encoders(self) -> list[nn.Module]:
        """Those of the base."""
        return self.base.encoders()

    def encoder_digest(self, modality: Modality) -> str:
        """The base's, so that their outputs are shared."""
        return self.base.encoder_digest(modality)

    def encode_audio(self, audio: Tensor) -> Tensor:
        """As `AVPENet.encode_audio`."""
        return self.base.encode_audio(audio)

    def encode_faces(self, faces: Tensor) -> Tensor:
        """As `AVPENet.encode_faces`."""
        self.base.face_micro_batch = self.face_micro_batch
        return self.base.encode_faces(faces)

    def embed(
        self,
        audio_tokens: Tensor | None,
        face_tokens: Tensor | None,
        face_mask: Tensor | None = None,
        face_places: Tensor | None = None,
    ) -> Tensor:
        """The base's fused embedding and score of each segment, and which modalities it has.

        Arguments and errors as in `PainNetwork.score`.

        Returns:
            (B, 515) float32.
        """
        tokens = present_tokens(self, audio_tokens, face_tokens, face_mask, face_places)
        fused = self.base.fuse_present(*tokens).fused
        # A missing modality is zeros, also where a batch of fixed shape gives it as such.
        present = torch.stack([part.flatten(1).any(dim=1) for part in (tokens.audio, tokens.face)], dim=1).to(fused)
        return torch.cat([fused, self.base.head(fused).unsqueeze(1), present], dim=1)

    def score_recording(self, features: Tensor, starts_s: Tensor) -> Tensor:
        """Scores of the segments of one recording.

        Segments are handled in blocks of fixed size from the first one on, which bounds memory, and where the direction
        is causal gives a segment the same score to the bit whether later segments are there or not.

        Args:
            features: (S, 515) float32, from `embed`.
            starts_s: (S,) s, ascending; gaps and any stride are allowed.

        Returns:
            (S,) float32 in [0, 10].

        Raises:
            ValueError: the shapes do not belong together, or the segments are not in the order of time.
        """
        if features.ndim != 2 or features.shape[1] != FEATURES or starts_s.shape != features.shape[:1]:
            raise ValueError(
                f"features {tuple(features.shape)} and starts {tuple(starts_s.shape)} must be (S, {FEATURES}) and (S,)"
            )
        starts = starts_s.detach().cpu().double().numpy()
        if bool((np.diff(starts) < 0).any()):
            raise ValueError("the segments of a recording must be in the order of time")
        size = len(features)
        if not size:
            return features.new_zeros(0)
        relations = self.correction.relations(features.detach().cpu().numpy(), starts)
        # The rows that fill the last block repeat the last segment's.
        fill = torch.arange(size + -size % _ROWS, device=features.device).clamp(max=size - 1)
        features, relations = features[fill], tuple(part.to(features.device)[fill] for part in relations)
        summaries = torch.cat([self.correction.summarise(block) for block in features.split(_ROWS)])
        blocks = zip(fill.split(_ROWS), *(part.split(_ROWS) for part in relations), strict=True)
        corrections = [self.correction(summaries, rows, tuple(parts)) for rows, *parts in blocks]
        scores = corrected_scores(features, torch.cat(corrections))
        return scores[:size]

    def learn(self, table: FeatureTable, seed: int) -> Self:
        """Fit the correction to rated training segments; the epoch with the least validation MAE is kept.

        The state before the first epoch, in which the scores are the base's, is one of those compared: where context
        does not help on validation, nothing is corrected. Runs on the CPU in one thread, so that a seed and a table
        give the same parameters however many threads torch may use; other versions of torch or other processors may
        differ in the last digits. torch's generators keep their state.

        Args:
            table: of the embeddings of `embed`; unrated segments serve as context.
            seed: of initial parameters, order and dropout.

        Returns:
            This network, in evaluation mode on the CPU.

        Raises:
            SettingsError: there is no rated training or validation segment.
        """
        from avpenet_cli.model.correction_fit import fit_correction

        self.cpu().eval()
        fit_correction(self.correction, table, self.architecture.learning, seed)
        return self


def corrected_scores(features: Tensor, corrections: Tensor) -> Tensor:
    """Ten times the sigmoid of the base's logit plus the correction: (n,) float32 in [0, 10].

    A segment that lacks a modality keeps the base's score: stores have none such, so nothing was learnt for it.
    """
    complete = features[:, -2:].bool().all(dim=1)
    return MAX_SCORE * torch.sigmoid(base_logits(features) + corrections * complete)
