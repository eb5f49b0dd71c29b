"""A loaded network ready to score: it encodes face crops and audio, and scores segments."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from avpenet_cli.errors import RecordingError
from avpenet_cli.face.deduplicate import deduplicate_consecutive
from avpenet_cli.model.inference import mc_scores
from avpenet_cli.runs.device import choose_device
from avpenet_cli.settings import RunSettings
from avpenet_cli.weights import WeightsEntry, load


class Network:
    """Encoders and fusion on one device.

    Args:
        entry: the weights to load; they are verified while loading.
        run: device, precision, batch size, Monte Carlo samples, seed.
    """

    def __init__(self, entry: WeightsEntry, run: RunSettings) -> None:
        self.device = choose_device(run.device)
        self.model, self.description = load(entry, str(self.device), run.precision)
        face = self.description.preprocessing.face
        self._mean = torch.tensor(face.pixel_mean, device=self.device).view(1, 3, 1, 1)
        self._std = torch.tensor(face.pixel_std, device=self.device).view(1, 3, 1, 1)
        self._run = run
        self._batch = run.batch_size

    @torch.inference_mode()
    def encode_faces(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Face crops (crop_px, crop_px, 3), uint8 or float32 in [0, 255] -> embeddings (n, 512) float32."""
        distinct, positions = deduplicate_consecutive(crops)
        parts = []
        for start in range(0, len(distinct), self._batch):
            batch = torch.from_numpy(np.stack(distinct[start : start + self._batch])).to(self.device)
            pixels = (batch.permute(0, 3, 1, 2).float() / 255 - self._mean) / self._std
            parts.append(self.model.encode_faces(pixels).float().cpu().numpy())
        embeddings: np.ndarray = np.concatenate(parts)[positions]
        return embeddings

    @torch.inference_mode()
    def encode_audio(self, mels: Sequence[np.ndarray]) -> np.ndarray:
        """Log-mel segments (128, 300) float32 in [0, 1] -> audio tokens (n, 10, 512) float32."""
        parts = []
        for start in range(0, len(mels), self._batch):
            batch = torch.from_numpy(np.stack(mels[start : start + self._batch]))[:, None].to(self.device)
            parts.append(self.model.encode_audio(batch).float().cpu().numpy())
        return np.concatenate(parts)

    @torch.inference_mode()
    def score(self, audio: np.ndarray | None, faces: np.ndarray | None, first_slot: int) -> tuple[float, np.ndarray]:
        """Score one segment on its own, so that its score cannot depend on its neighbours.

        Args:
            audio: audio tokens (10, 512), or None where the segment has none and the weights allow it.
            faces: one embedding per frame with the patient's face, (n, 512), or None where there is no face and the
                weights allow it.
            first_slot: the segment's position on the frame grid; part of the Monte Carlo seed, so that the same segment
                has the same interval at every stride.

        Returns:
            The score in [0, 10], and the Monte Carlo dropout samples (mc_samples,), empty unless asked for.

        Raises:
            RecordingError: the network's output is not a finite number.
        """
        audio_tokens = None if audio is None else torch.from_numpy(audio)[None].to(self.device)
        face_tokens = None if faces is None else torch.from_numpy(faces)[None].to(self.device)
        score = float(self.model.score(audio_tokens, face_tokens, None)[0])
        if not math.isfinite(score):
            raise RecordingError(
                "not_a_number", "the network's output is not a number", "check the weights and report it"
            )
        if not self._run.mc_samples:
            return score, np.empty(0, np.float32)
        samples = mc_scores(
            self.model, audio_tokens, face_tokens, None, self._run.mc_samples, self._run.seed + first_slot
        )
        return score, samples.float().cpu().numpy()
