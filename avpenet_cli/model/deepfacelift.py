"""The comparison system `deepfacelift`: landmarks over the segment, personal statistics, support vector regression.

The paper's comparison names "DeepFaceLIFT (landmarks, support vector regression)", and this is that. The published
DeepFaceLIFT (Liu, Peng, Shea, Rudovic and Picard 2017, PMLR 66:1-16, arXiv 1708.04670) feeds active appearance model
landmarks and age, sex and complexion into a neural network, and statistics of its outputs into a Gaussian process. Its
idea of personal features is kept, as statistics of the patient's own recording; nobody's rating enters them.

A patient's own statistics are no pain-free baseline: someone in pain throughout a recording differs little from them,
and then only the raw features and the statistics themselves can tell. A segment scored alone does not differ at all.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avpenet_cli.errors import EnvironmentUnavailableError, SettingsError, WeightsError
from avpenet_cli.model.architecture import Modality
from avpenet_cli.model.deepfacelift_settings import DeepFaceLiftSettings
from avpenet_cli.model.landmark_features import (
    STATISTICS,
    face_measures,
    n_measures,
    personal_features,
    segment_features,
)
from avpenet_cli.model.landmarks import LAYOUTS, MESH_VARIABLE, denormalised, landmark_model, mesh_digest
from avpenet_cli.model.network import FeatureNetwork, FeatureTable
from avpenet_cli.model.support_vectors import SupportVectorRegression, SvrParams, fit_svr
from avpenet_cli.settings import digest_of

MIN_SEGMENTS = 5
"""Rated segments needed to learn from."""

_LEAST_SD = 1e-6
"""Features are shares of a distance; smaller differences are rounding."""


class DeepFaceLift(FeatureNetwork):
    """Support vector regression on landmarks and a recording's own statistics.

    Args:
        architecture: the variant; one that has not learnt has no support vectors, and does not score.
    """

    modalities: ClassVar[tuple[Modality, ...]] = ("face",)
    all_frames: ClassVar[bool] = True
    architecture: DeepFaceLiftSettings

    def __init__(self, architecture: DeepFaceLiftSettings) -> None:
        super().__init__(architecture)
        self._layout = LAYOUTS[architecture.landmarks]
        n_features = STATISTICS * n_measures(self._layout)
        n_inputs = 2 * n_features + 2 * n_measures(self._layout)
        self.within_sd: Tensor
        self.input_mean: Tensor
        self.input_sd: Tensor
        self.register_buffer("within_sd", torch.ones(n_features))
        self.register_buffer("input_mean", torch.zeros(n_inputs))
        self.register_buffer("input_sd", torch.ones(n_inputs))
        self.regression = SupportVectorRegression(architecture.n_support, n_inputs, architecture.gamma or 0.0)

    def encoder_digest(self, modality: Modality) -> str:
        """Of the landmarks' model, which nothing that is learnt changes."""
        kind = self.architecture.landmarks
        return digest_of([type(self).__qualname__, kind, mesh_digest() if kind == "mesh" else ""])

    def encode_audio(self, audio: Tensor) -> Tensor:
        """No values: audio is not used. Returns (B, 1, 0)."""
        return audio.new_zeros((len(audio), 1, 0))

    def encode_faces(self, faces: Tensor) -> Tensor:
        """Landmarks of each face.

        Args:
            faces: (N, 3, 224, 224) float32, ImageNet-normalised; N may be 0.

        Returns:
            (N, 2 K + 1) float32, as `LandmarkModel.measure`; K is 5 or 65.

        Raises:
            EnvironmentUnavailableError: the landmarks' model is missing, or is not that of these weights.
        """
        if not len(faces):
            return faces.new_zeros((0, 2 * self._layout.count + 1))
        self._check_mesh()
        return landmark_model(self.architecture.landmarks, faces.device).measure(denormalised(faces.float()))

    def embed(
        self,
        audio_tokens: Tensor | None,
        face_tokens: Tensor | None,
        face_mask: Tensor | None = None,
        face_places: Tensor | None = None,
    ) -> Tensor:
        """Statistics of each segment's landmarks, (B, 5 F) float32; F is 12 or 143. Errors as `score`.

        Faces with uncertain landmarks are left out, unless all faces of the segment are uncertain.
        """
        if face_tokens is None or not face_tokens.shape[1]:
            self.allow_missing("face")
            raise ValueError("no faces: nothing to score")
        tokens = face_tokens.double()
        present = tokens.new_ones(tokens.shape[:2], dtype=torch.bool) if face_mask is None else face_mask
        if not bool(present.any(1).all()):
            self.allow_missing("face")
        certain = present & (tokens[..., -1] >= self.architecture.min_confidence)
        present = torch.where(certain.any(1, keepdim=True), certain, present)
        measures = face_measures(tokens[..., :-1].unflatten(-1, (self._layout.count, 2)), self._layout)
        return segment_features(measures, present, face_places).float()

    def score_recording(self, features: Tensor, starts_s: Tensor) -> Tensor:
        """As `FeatureNetwork.score_recording`.

        Raises:
            WeightsError: nothing was learnt yet.
        """
        if self.architecture.gamma is None:
            raise WeightsError("this deepfacelift has not learnt anything yet", "train it first")
        inputs = self._standardised(self._personal(features, starts_s))
        scores: Tensor = self.regression(inputs).clamp(0, 10).float()
        return scores

    def learn(self, table: FeatureTable, seed: int) -> Self:
        """Fit the regression to the rated segments of `table.train`, with hyperparameters chosen on its validation.

        The recordings' own statistics take all their segments, rated or not. The seed matters only where there are more
        segments than `max_segments`.

        Raises:
            SettingsError: fewer than 5 rated segments, all rated the same, or features that are not finite or not this
                network's.
        """
        learnt, chosen_on = (rows & np.isfinite(table.truth) for rows in (table.train, table.validation))
        self._check(table, learnt)
        settings = dataclasses.replace(self.architecture, penalty=None, epsilon=None, gamma=None, n_support=0)
        prepared = type(self)(settings)
        recordings = _recordings(table)
        differences = prepared._personal_of(table, recordings)[table.train, : len(prepared.within_sd)]
        prepared.within_sd.copy_(_positive(torch.from_numpy(differences).square().mean(0).sqrt()))
        personal = prepared._personal_of(table, recordings)
        rows = _drawn(np.flatnonzero(learnt), settings.max_segments, seed)
        prepared.input_mean.copy_(torch.from_numpy(personal[rows].mean(0)))
        prepared.input_sd.copy_(_positive(torch.from_numpy(personal[rows].std(0))))
        inputs = prepared._standardised(torch.from_numpy(personal)).numpy()
        validation = (inputs[chosen_on], table.truth[chosen_on]) if chosen_on.any() else None
        fitted = fit_svr(inputs[rows], table.truth[rows], validation, _grid(settings, inputs.shape[1]))
        network = type(self)(
            dataclasses.replace(
                settings,
                **dataclasses.asdict(fitted.params),
                n_support=len(fitted.dual_coefficients),
                mesh_sha256=mesh_digest() if settings.landmarks == "mesh" else None,
            )
        )
        for name, values in dict(prepared.named_buffers(recurse=False)).items():
            getattr(network, name).copy_(values)
        network.regression = fitted.module()
        return network.eval()

    def _personal(self, features: Tensor, starts_s: Tensor) -> Tensor:
        """Personal features of one recording, (S, 2 E + 2 F) float64."""
        return personal_features(features.double(), starts_s, self.within_sd.double(), self.architecture.statistics_s)

    def _personal_of(self, table: FeatureTable, recordings: list[NDArray[np.intp]]) -> NDArray[np.float64]:
        """Personal features of a table, (n, 2 E + 2 F)."""
        personal = np.empty((len(table.features), len(self.input_mean)))
        for rows in recordings:
            features, starts_s = torch.from_numpy(table.features[rows]), torch.from_numpy(table.starts_s[rows])
            personal[rows] = self._personal(features, starts_s).numpy()
        return personal

    def _standardised(self, personal: Tensor) -> Tensor:
        """What the regression takes, rounded to float32 as its support vectors are."""
        return ((personal - self.input_mean.double()) / self.input_sd.double()).float()

    def _check(self, table: FeatureTable, learnt: NDArray[np.bool_]) -> None:
        """Raise SettingsError where the table cannot be learnt from."""
        if table.features.shape[1] != len(self.within_sd):
            raise SettingsError(
                f"deepfacelift with {self.architecture.landmarks} landmarks takes {len(self.within_sd)} features of a "
                f"segment, not {table.features.shape[1]}",
                "embed the segments with the same settings",
            )
        broken = np.flatnonzero(~np.isfinite(table.features).all(1))
        if len(broken):
            raise SettingsError(
                f"deepfacelift: {len(broken)} of {len(table.features)} segments have features that are not finite, "
                f"first segment {broken[0]}",
                "embed the segments again",
            )
        if learnt.sum() < MIN_SEGMENTS:
            raise SettingsError(
                f"deepfacelift learns from at least {MIN_SEGMENTS} rated segments with faces; got {learnt.sum()}",
                "add recordings",
            )
        if np.ptp(table.truth[learnt]) == 0:
            raise SettingsError(
                f"deepfacelift has nothing to learn: all {learnt.sum()} segments are rated {table.truth[learnt][0]:g}",
                "add recordings with other ratings",
            )

    def _check_mesh(self) -> None:
        """Raise EnvironmentUnavailableError where the face mesh in use is not that of these weights."""
        expected = self.architecture.mesh_sha256
        if expected is not None and (digest := mesh_digest()) != expected:
            raise EnvironmentUnavailableError(
                f"the face mesh in {MESH_VARIABLE} has SHA-256 {digest[:12]}, but these weights were made with "
                f"{expected[:12]}",
                "set it to that version of face_landmarker.task",
            )


def _grid(settings: DeepFaceLiftSettings, n_inputs: int) -> list[SvrParams]:
    return [
        SvrParams(penalty, epsilon, gamma / n_inputs)
        for gamma, penalty, epsilon in itertools.product(settings.gammas, settings.penalties, settings.epsilons)
    ]


def _recordings(table: FeatureTable) -> list[NDArray[np.intp]]:
    """Rows of each recording, in time order."""
    order = np.lexsort((table.starts_s, table.recording))
    return np.split(order, np.flatnonzero(np.diff(table.recording[order])) + 1)


def _drawn(rows: NDArray[np.intp], count: int, seed: int) -> NDArray[np.intp]:
    """At most `count` of the rows, in their order."""
    if len(rows) <= count:
        return rows
    drawn: NDArray[np.intp] = np.sort(np.random.default_rng(seed).choice(rows, count, replace=False))
    return drawn


def _positive(sd: Tensor) -> Tensor:
    """Standard deviations by which can be divided: 1 where a feature never differs."""
    return torch.where(sd > _LEAST_SD, sd, 1.0)
