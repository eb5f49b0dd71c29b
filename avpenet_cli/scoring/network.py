"""A loaded network ready to score: it encodes face crops and audio, and scores segments."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch

from avpenet_cli.errors import EnvironmentUnavailableError, RecordingError
from avpenet_cli.face.deduplicate import deduplicate_consecutive
from avpenet_cli.face.detect import FaceDetector
from avpenet_cli.model.batching import NO_MEMORY
from avpenet_cli.model.inference import mc_scores
from avpenet_cli.runs.callbacks import NO_CALLBACKS, RunCallbacks
from avpenet_cli.runs.device import choose_device, choose_precision
from avpenet_cli.settings import RunSettings
from avpenet_cli.weights import WeightsEntry, load

_MAX_ENCODER_THREADS = 12
"""One thread finds about ten faces while another encodes one, so more would wait; each takes 0.1 GiB."""

_CROPS_PER_TASK = 8

SegmentTokens = tuple[np.ndarray | None, np.ndarray | None, int]
"""The arguments of `Network.score`."""


def encode_in_batches(
    encode: Callable[[Sequence[np.ndarray]], np.ndarray], items: Sequence[np.ndarray], batch_size: int
) -> tuple[np.ndarray, int]:
    """Encode items batch by batch; a batch for which the GPU's memory runs out is halved and tried again.

    Args:
        encode: takes any number of consecutive items and returns one row for each.
        items: at least one array; all have one shape.
        batch_size: largest number of items to encode together.

    Returns:
        The rows of all items, (n, ...), and the batch size that fitted: `batch_size` if memory never ran out.

    Raises:
        EnvironmentUnavailableError: memory runs out for a single item.
    """
    parts: list[np.ndarray] = []
    start = 0
    while start < len(items):
        batch = items[start : start + batch_size]
        try:
            parts.append(encode(batch))
            start += len(batch)
            continue
        except torch.OutOfMemoryError as error:
            if len(batch) == 1:
                raise EnvironmentUnavailableError(*NO_MEMORY) from error
        # Only here, because the exception keeps the failed batch's tensors alive.
        torch.cuda.empty_cache()
        batch_size = len(batch) // 2
    return np.concatenate(parts), batch_size


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Compute small products on one thread: with several, their order of summation depends on the number."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Network:
    """Encoders and fusion on one device.

    Args:
        entry: the weights to load; they are verified while loading.
        run: device, precision, batch size, Monte Carlo samples, seed.
        callbacks: told when the GPU's memory ran out and the batch was halved.

    Attributes:
        precision: of the encoders; never `auto`.
        batch_size: number of faces, or of audio segments, encoded together; the setting, or what fits in the GPU's
            memory if that is less.
    """

    def __init__(self, entry: WeightsEntry, run: RunSettings, callbacks: RunCallbacks = NO_CALLBACKS) -> None:
        self.device = choose_device(run.device)
        self.precision = choose_precision(run.precision, self.device)
        self.model, self.description = load(entry, str(self.device), self.precision)
        face = self.description.preprocessing.face
        self._mean = torch.tensor(face.pixel_mean, device=self.device).view(1, 3, 1, 1)
        self._std = torch.tensor(face.pixel_std, device=self.device).view(1, 3, 1, 1)
        self._run = run
        self._callbacks = callbacks
        self.batch_size = run.batch_size

    @property
    def encoder_threads(self) -> int:
        """Threads that should encode faces beside the one that finds them; 0 if that one should do it."""
        threads = min(torch.get_num_threads(), _MAX_ENCODER_THREADS)
        return threads if threads > 1 and self.device.type == "cpu" else 0

    @property
    def crops_per_task(self) -> int:
        """Different crops that a thread should encode in one go: few, so that threads end together and stop soon."""
        return _CROPS_PER_TASK

    def face_detector(self) -> FaceDetector:
        """A face detector on the same device, with the settings of the weights."""
        return FaceDetector(self.description.preprocessing.face, self.device)

    @torch.inference_mode()
    def encode_faces(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Face crops (crop_px, crop_px, 3), uint8 or float32 in [0, 255] -> embeddings (n, 512) float32.

        Raises:
            EnvironmentUnavailableError: the GPU's memory is too small for a single crop.
        """
        distinct, positions = deduplicate_consecutive(crops)
        embeddings: np.ndarray = self._encode(self._encode_crops, distinct)[positions]
        return embeddings

    @torch.inference_mode()
    def encode_audio(self, mels: Sequence[np.ndarray]) -> np.ndarray:
        """Log-mel segments (128, 300) float32 in [0, 1] -> audio tokens (n, 10, 512) float32.

        Raises:
            EnvironmentUnavailableError: the GPU's memory is too small for a single segment.
        """
        return self._encode(self._encode_mels, mels)

    def _encode(self, encode: Callable[[Sequence[np.ndarray]], np.ndarray], items: Sequence[np.ndarray]) -> np.ndarray:
        rows, fitting = encode_in_batches(encode, items, self.batch_size)
        if fitting < self.batch_size:
            self._callbacks.warning(
                f"the GPU's memory ran out with batches of {self.batch_size}: now {fitting}; scores are the same, "
                f"and --batch-size {fitting} avoids the retry",
                batch_size=fitting,
            )
            self.batch_size = fitting
        return rows

    def _encode_crops(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        batch = torch.from_numpy(np.stack(crops)).to(self.device)
        pixels = (batch.permute(0, 3, 1, 2).float() / 255 - self._mean) / self._std
        embeddings: np.ndarray = self.model.encode_faces(pixels).float().cpu().numpy()
        return embeddings

    def _encode_mels(self, mels: Sequence[np.ndarray]) -> np.ndarray:
        batch = torch.from_numpy(np.stack(mels))[:, None].to(self.device)
        tokens: np.ndarray = self.model.encode_audio(batch).float().cpu().numpy()
        return tokens

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
        with _one_thread():
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

    def score_many(self, segments: Iterable[SegmentTokens]) -> list[tuple[float, np.ndarray]]:
        """Score segments, each on its own and as soon as it comes. Arguments of each, results and errors as `score`."""
        return [self.score(*segment) for segment in segments]
