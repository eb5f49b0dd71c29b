"""CryAnalyzer, a comparison system of the paper: acoustic features and a random forest.

The paper names the features (f0, harmonics, jitter, shimmer, MFCC, energy, onset, burst length) and the forest, but no
sizes; those in `CryAnalyzerSettings` are ours.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from avpenet_cli.errors import SettingsError
from avpenet_cli.model.acoustic.features import N_FEATURES, feature_row
from avpenet_cli.model.architecture import Modality
from avpenet_cli.model.cry_analyzer_settings import CryAnalyzerSettings
from avpenet_cli.model.forest import RegressionForest
from avpenet_cli.model.network import AudioInput, FeatureNetwork, FeatureTable

_MAX_FEATURES = 1 / 3
"""Share of the features among which a tree chooses at each node (Breiman 2001, Machine Learning 45:5, regression)."""


class CryAnalyzer(FeatureNetwork):
    """A forest on the acoustic features of a segment, which scores it independently of other segments.

    A feature that does not exist in a segment (NaN) is replaced by its median in the training data. Before `learn`,
    every score is 0.

    Args:
        architecture: sizes of the forest.
    """

    modalities: ClassVar[tuple[Modality, ...]] = ("audio",)
    audio_input: ClassVar[AudioInput] = "waveform"
    medians: Tensor

    def __init__(self, architecture: CryAnalyzerSettings) -> None:
        super().__init__(architecture)
        self.settings = architecture
        self.register_buffer("medians", torch.zeros(N_FEATURES))
        self.forest = RegressionForest(
            architecture.n_trees, architecture.n_nodes or architecture.n_trees, architecture.max_depth
        )

    def encode_audio(self, audio: Tensor) -> Tensor:
        """Acoustic features of each segment, computed on the CPU.

        Args:
            audio: (B, samples) float32, 16 kHz, denoised, finite.

        Returns:
            (B, 1, F) float32 on the device of `audio`, in the order of `FEATURES`; NaN where a feature does not exist.
        """
        rows = [feature_row(waveform) for waveform in audio.detach().cpu().numpy()]
        return torch.from_numpy(np.array(rows, np.float32).reshape(-1, 1, N_FEATURES)).to(audio.device)

    def encode_faces(self, faces: Tensor) -> Tensor:
        """(N, 1) zeros: faces are not looked at."""
        return faces.new_zeros((len(faces), 1))

    def encoder_digest(self, modality: Modality) -> str:
        """The same for every forest, since the features do not depend on what it learnt."""
        identity = f"{type(self).__qualname__} {modality} {self.settings.feature_set}"
        return hashlib.sha256(identity.encode()).hexdigest()

    def embed(
        self,
        audio_tokens: Tensor | None,
        face_tokens: Tensor | None,
        face_mask: Tensor | None = None,
        face_places: Tensor | None = None,
    ) -> Tensor:
        """(B, F) float32: the features as `encode_audio` gives them; arguments as `FeatureNetwork.embed`."""
        if audio_tokens is None:
            raise ValueError("segments without audio, but cry-analyzer takes nothing else")
        return audio_tokens.squeeze(1)

    def score_recording(self, features: Tensor, starts_s: Tensor) -> Tensor:
        """Pain score of each segment from its own features; `starts_s` is not looked at.

        Args:
            features: (S, F) float32, NaN where a feature does not exist.
            starts_s: (S,) float64.

        Returns:
            (S,) float32 in [0, 10].
        """
        present = torch.where(features.isnan(), self.medians, features)
        scores: Tensor = self.forest(present)
        return scores.clamp(0.0, 10.0)

    def learn(self, table: FeatureTable, seed: int) -> Self:
        """Fit medians and forest to the rated training rows. Fixed sizes: nothing is chosen on the validation rows.

        Where the truth is constant, or no feature tells the segments apart (all are silent), every score is the mean
        truth.

        Raises:
            SettingsError: fewer rows than two leaves hold.
        """
        from sklearn.ensemble import RandomForestRegressor

        settings = self.settings
        rows = table.train & np.isfinite(table.truth)
        needed = 2 * settings.min_leaf
        if rows.sum() < needed:
            raise SettingsError(
                f"cry-analyzer cannot learn from {rows.sum()} rated training segments; it needs at least {needed}",
                "add recordings, or lower min_leaf",
            )
        features = table.features[rows]
        medians = _medians(features)
        regressor = RandomForestRegressor(
            n_estimators=settings.n_trees,
            min_samples_leaf=settings.min_leaf,
            max_depth=settings.max_depth,
            max_features=_MAX_FEATURES,
            random_state=seed,
        )
        regressor.fit(np.where(np.isnan(features), medians, features), table.truth[rows])
        fitted = RegressionForest.from_sklearn(regressor)
        learnt = type(self)(dataclasses.replace(settings, n_nodes=fitted.value.numel()))
        learnt.forest.load_state_dict(fitted.state_dict())
        learnt.medians.copy_(torch.from_numpy(medians))
        return learnt.eval()


def _medians(features: np.ndarray) -> np.ndarray:
    """(F,) float32: median of each column without its NaN; 0 for a column without any number, which tells nothing."""
    medians = np.zeros(features.shape[1], np.float32)
    known = ~np.isnan(features).all(axis=0)
    medians[known] = np.nanmedian(features[:, known], axis=0)
    return medians
