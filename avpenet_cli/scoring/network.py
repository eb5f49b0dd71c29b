"""A loaded network ready to score: it encodes face crops and audio, and scores segments."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from avpenet_cli.audio.mel import NO_SIGNAL_PEAK
from avpenet_cli.errors import EnvironmentUnavailableError, RecordingError, SettingsError
from avpenet_cli.face.deduplicate import deduplicate_consecutive
from avpenet_cli.face.detect import FaceDetector
from avpenet_cli.model.batching import NO_MEMORY
from avpenet_cli.model.inference import mc_scores
from avpenet_cli.model.network import AudioInput, FeatureNetwork, PainNetwork
from avpenet_cli.runs.callbacks import NO_CALLBACKS, RunCallbacks
from avpenet_cli.runs.device import choose_device, choose_precision
from avpenet_cli.settings import RunSettings
from avpenet_cli.weights import WeightsEntry, load

_MAX_ENCODER_THREADS = 12
"""One thread finds about ten faces while another encodes one, so more would wait; each takes 0.1 GiB."""

_CROPS_PER_TASK = 8


class SegmentTokens(NamedTuple):
    """What the encoders made of one segment.

    Attributes:
        audio: audio tokens (Ta, Da) float32, or None where the segment has none and the weights allow it.
        faces: one row for each frame with the patient's face, (n, Dv) float32, or None where there is no face and the
            weights allow it.
        first_slot: the segment's position on the frame grid.
        places: (n,) int64, index of each face among the segment's 30 frames; None where `faces` are not of frames.
    """

    audio: np.ndarray | None
    faces: np.ndarray | None
    first_slot: int
    places: np.ndarray | None = None


class SegmentResult(NamedTuple):
    """What the network made of one segment.

    Attributes:
        score: in [0, 10].
        samples: (mc_samples,) float32, Monte Carlo dropout samples; empty unless asked for.
        embedding: (E,) float32, the representation before the head; None unless asked for.
    """

    score: float
    samples: np.ndarray
    embedding: np.ndarray | None = None


def audio_input(kind: AudioInput, mel: np.ndarray, waveform: np.ndarray) -> np.ndarray:
    """What a network's `encode_audio` takes of a segment.

    Args:
        kind: the network's `audio_input`.
        mel: (128, 300) float32 in [0, 1].
        waveform: (48000,) float32, denoised, 16 kHz.

    Returns:
        The one or the other; the waveform with a peak of 1, or zeros where there is no signal.
    """
    if kind == "spectrogram":
        return mel
    peak = float(np.max(np.abs(waveform), initial=0.0))
    return waveform / np.float32(peak) if peak >= NO_SIGNAL_PEAK else np.zeros_like(waveform)


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


def _head_of(model: PainNetwork) -> torch.nn.Module | None:
    """The module that makes a score of a segment's representation; None where there is not exactly one."""
    head = getattr(model, "head", None)
    return head if isinstance(head, torch.nn.Module) else None


@contextlib.contextmanager
def _head_input(model: PainNetwork | None) -> Iterator[list[torch.Tensor]]:
    """Take what reaches the model's head, (1, E), in the very pass that scores; nothing without a model."""
    taken: list[torch.Tensor] = []
    head = None if model is None else _head_of(model)
    if head is None:
        yield taken
        return
    handle = head.register_forward_pre_hook(lambda _, arguments: taken.append(arguments[0]))
    try:
        yield taken
    finally:
        handle.remove()


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
        with_embeddings: give each segment's embedding with its score, which is the same to the bit.

    Attributes:
        precision: of the encoders; never `auto`.
        with_embeddings: as it was given.
        batch_size: number of faces, or of audio segments, encoded together; the setting, or what fits in the GPU's
            memory if that is less.
    """

    def __init__(
        self,
        entry: WeightsEntry,
        run: RunSettings,
        callbacks: RunCallbacks = NO_CALLBACKS,
        *,
        with_embeddings: bool = False,
    ) -> None:
        self.device = choose_device(run.device)
        self.precision = choose_precision(run.precision, self.device)
        self.model, self.description = load(entry, str(self.device), self.precision)
        face = self.description.preprocessing.face
        self._mean = torch.tensor(face.pixel_mean, device=self.device).view(1, 3, 1, 1)
        self._std = torch.tensor(face.pixel_std, device=self.device).view(1, 3, 1, 1)
        if run.mc_samples and (
            self.by_recording or not any(isinstance(m, torch.nn.Dropout) for m in self.model.modules())
        ):
            raise SettingsError(
                f"scores of the weights {entry.name} have no interval by Monte Carlo dropout: the network "
                f"{self.description.network} computes them from features that it does not sample",
                "leave out --mc-samples",
            )
        if with_embeddings and not (self.by_recording or _head_of(self.model) is not None):
            raise SettingsError(
                f"the weights {entry.name} give no embeddings: the network {self.description.network} has no "
                "representation of a segment before one output head",
                "leave out --embeddings, or give other --weights",
            )
        self.with_embeddings = with_embeddings
        self._run = run
        self._callbacks = callbacks
        self.batch_size = run.batch_size

    @property
    def by_recording(self) -> bool:
        """Whether a segment's score depends on the others of its recording: use `embed`, then `score_recording`."""
        return isinstance(self.model, FeatureNetwork)

    def audio_input(self, mel: np.ndarray, waveform: np.ndarray) -> np.ndarray:
        """What `encode_audio` takes of a segment.

        Args:
            mel: (128, 300) float32 in [0, 1].
            waveform: (48000,) float32, denoised, 16 kHz.

        Returns:
            As the function `audio_input`.
        """
        return audio_input(self.model.audio_input, mel, waveform)

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
    def encode_audio(self, inputs: Sequence[np.ndarray]) -> np.ndarray:
        """Audio of segments, from `audio_input` -> audio tokens (n, Ta, Da) float32; AVPENet's are (n, 10, 512).

        Raises:
            EnvironmentUnavailableError: the GPU's memory is too small for a single segment.
        """
        return self._encode(self._encode_inputs, inputs)

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

    def _encode_inputs(self, inputs: Sequence[np.ndarray]) -> np.ndarray:
        batch = torch.from_numpy(np.stack(inputs)).to(self.device)
        if self.model.audio_input == "spectrogram":
            batch = batch[:, None]
        tokens: np.ndarray = self.model.encode_audio(batch).float().cpu().numpy()
        return tokens

    @torch.inference_mode()
    def score(
        self,
        audio: np.ndarray | None,
        faces: np.ndarray | None,
        first_slot: int,
        places: np.ndarray | None = None,
    ) -> SegmentResult:
        """Score one segment on its own, so that its score cannot depend on its neighbours.

        Args:
            audio, faces, first_slot, places: as in `SegmentTokens`. The position is part of the Monte Carlo seed, so
                that the same segment has the same interval at every stride.

        Raises:
            RecordingError: the network's output is not a finite number.
        """
        tokens = self._tensors(SegmentTokens(audio, faces, first_slot, places))
        with _one_thread():
            with _head_input(self.model if self.with_embeddings else None) as taken:
                score = _finite(float(self.model.score(*tokens)[0]))
            embedding = taken[0].float().cpu().numpy()[0].copy() if taken else None
            if not self._run.mc_samples:
                return SegmentResult(score, np.empty(0, np.float32), embedding)
            audio_tokens, face_tokens, mask, face_places = tokens
            seed = self._run.seed + first_slot
            samples = mc_scores(self.model, audio_tokens, face_tokens, mask, self._run.mc_samples, seed, face_places)
            return SegmentResult(score, samples.float().cpu().numpy(), embedding)

    def score_many(self, segments: Iterable[SegmentTokens]) -> list[SegmentResult]:
        """Score segments, each on its own and as soon as it comes. Results and errors as `score`."""
        return [self.score(*segment) for segment in segments]

    @torch.inference_mode()
    def embed(self, segments: Iterable[SegmentTokens]) -> np.ndarray:
        """Features of segments for `score_recording`, each computed on its own: (n, E) float32."""
        assert isinstance(self.model, FeatureNetwork)
        with _one_thread():
            rows = [self.model.embed(*self._tensors(segment)).float().cpu().numpy() for segment in segments]
        return np.concatenate(rows) if rows else np.empty((0, 0), np.float32)

    @torch.inference_mode()
    def score_recording(self, features: np.ndarray, starts_s: Sequence[float]) -> list[float]:
        """Scores of a recording's scorable segments, in [0, 10].

        Args:
            features: (S, E) float32, from `embed`, in time order.
            starts_s: (S,) s, ascending.

        Raises:
            RecordingError: the network's output is not a finite number.
        """
        assert isinstance(self.model, FeatureNetwork)
        if not len(features):
            return []
        rows = torch.from_numpy(features).to(self.device)
        starts = torch.tensor(starts_s, dtype=torch.float64, device=self.device)
        with _one_thread():
            return [_finite(score) for score in self.model.score_recording(rows, starts).tolist()]

    def _tensors(
        self, segment: SegmentTokens
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, None, torch.Tensor | None]:
        """The arguments of `PainNetwork.score` for one segment."""
        audio, faces, places = (
            None if array is None else torch.from_numpy(np.ascontiguousarray(array))[None].to(self.device)
            for array in (segment.audio, segment.faces, segment.places if segment.faces is not None else None)
        )
        return audio, faces, None, places


def _finite(score: float) -> float:
    if not math.isfinite(score):
        raise RecordingError("not_a_number", "the network's output is not a number", "check the weights and report it")
    return score
