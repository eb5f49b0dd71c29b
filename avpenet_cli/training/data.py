"""Segments of a store as batches for the network, a pure function of seed, epoch and segment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from avpenet_cli.audio.mel import log_mel
from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.model.network import AudioInput
from avpenet_cli.settings import FRAMES_PER_WINDOW
from avpenet_cli.training.augmentation import augment_audio, augment_faces
from avpenet_cli.training.settings import TrainSettings

# Purposes of random generators; each has a stream of its own.
ORDER, SEGMENT, MIXUP, NETWORK = range(4)


def make_rng(seed: int, purpose: int, *position: int) -> np.random.Generator:
    """The generator for one purpose at one position of a run, independent of what was drawn before."""
    return np.random.default_rng([seed, purpose, *position])


class SampleKey(NamedTuple):
    """The segment to load, by its row of the store's index, and the epoch, which seeds its augmentation."""

    epoch: int
    row: int


@dataclass(frozen=True, eq=False)
class Batch:
    """B segments.

    Attributes:
        mel: (B, 1, 128, 300) float32 in [0, 1], or (B, 48000) float32 for networks that take waveforms; (B, Ta, Da)
            float32 audio tokens where the batch is embedded.
        faces: (N, 3, side, side) uint8 RGB, the segments' faces concatenated; (N, Dv) float32 embeddings where the
            batch is embedded.
        counts: (B,) int64, number of faces of each segment; their sum is N.
        places: (N,) int64, index of each face among its segment's 30 frames.
        truth: (B,) float32, pain 0 to 10.
        rows: (B,) int64, each segment's row in the store's index.
    """

    mel: Tensor
    faces: Tensor
    counts: Tensor
    places: Tensor
    truth: Tensor
    rows: Tensor

    @property
    def embedded(self) -> bool:
        """Whether the batch contains encoder outputs."""
        return self.faces.ndim == 2

    def to(self, device: torch.device, non_blocking: bool = False) -> Batch:
        """A copy on another device; `counts`, `places` and `rows` stay on the CPU, where they are read."""
        return replace(
            self,
            mel=self.mel.to(device, non_blocking=non_blocking),
            faces=self.faces.to(device, non_blocking=non_blocking),
            truth=self.truth.to(device, non_blocking=non_blocking),
        )

    def pin_memory(self) -> Batch:
        """A copy in page-locked memory."""
        return replace(self, mel=self.mel.pin_memory(), faces=self.faces.pin_memory(), truth=self.truth.pin_memory())


class Item(NamedTuple):
    """One segment of a batch: arrays as in `Batch`, without its first dimension."""

    mel: np.ndarray
    faces: np.ndarray
    places: np.ndarray
    truth: float
    row: int


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Encoder outputs of segments.

    Attributes:
        rows: (n,) int64, ascending, of the store's index.
        audio: (n, Ta, Da) float16 or float32; (n, 0, 0) for networks that do not take audio.
        faces: (sum of counts, Dv) float16 or float32, the segments' embeddings concatenated.
        places: (sum of counts,) int64, index of each face among its segment's 30 frames.
        starts: (n + 1,) int64, index of each segment's first face.
    """

    rows: np.ndarray
    audio: np.ndarray
    faces: np.ndarray
    places: np.ndarray
    starts: np.ndarray

    def item(self, row: int, truth: float) -> Item:
        """One segment of a batch. Raises KeyError for a row that was not encoded."""
        number = int(np.searchsorted(self.rows, row))
        if number == len(self.rows) or self.rows[number] != row:
            raise KeyError(row)
        own = slice(self.starts[number], self.starts[number + 1])
        audio, faces = self.audio[number].astype(np.float32), self.faces[own].astype(np.float32)
        return Item(audio, faces, self.places[own], truth, row)


class SegmentDataset(Dataset[Item]):
    """Loads segments by `SampleKey`.

    Args:
        store: pickled and sent to the loading processes.
        settings: the settings of the run.
        augmented: for training; otherwise spectrogram and faces are those of `avpenet score`.
        frames: largest number of faces per segment; random ones when augmented, else evenly spaced.
        audio_input: what the network takes. Waveforms are not augmented.
        embeddings: used in the epochs that train on them.
    """

    def __init__(
        self,
        store: SegmentStore,
        settings: TrainSettings,
        augmented: bool,
        frames: int,
        embeddings: Embeddings | None = None,
        audio_input: AudioInput = "spectrogram",
    ) -> None:
        self._store, self._settings, self._embeddings = store, settings, embeddings
        self._augmented, self._frames, self._audio_input = augmented, frames, audio_input
        self._audio = store.preprocessing.audio
        self._crops = store.index["crops"].to_numpy()
        self._references = store.index["reference"].to_numpy(dtype=np.float64)

    def __getitem__(self, key: SampleKey) -> Item:
        if self._embeddings is not None and self._settings.embedded_at(key.epoch):
            return self._embeddings.item(key.row, float(self._references[key.row]))
        rng = make_rng(self._settings.seed, SEGMENT, key.epoch, key.row)
        # Where every frame has a face, crops that are not selected need not be decoded.
        in_full = self._store.frames_per_window
        complete = int(self._crops[key.row]) == in_full
        selected = self._select(in_full, rng) if complete else None
        segment = self._store.segment(key.row, selected)
        chosen = slice(None) if complete else self._select(len(segment.faces), rng)
        faces, places = _resize(segment.faces[chosen], self._settings.face_px), segment.frame_indices[chosen]
        if in_full != FRAMES_PER_WINDOW:  # networks know the places of a segment's usual length
            places = places * FRAMES_PER_WINDOW // in_full
        audio = segment.spectrogram[None]
        if self._audio_input == "waveform":
            audio = segment.waveform
        elif self._augmented:
            waveform = augment_audio(segment.waveform, self._settings.audio, rng)
            if waveform is not segment.waveform:
                audio = log_mel(waveform, self._audio)[None]
        if self._augmented:
            faces = augment_faces(faces, self._settings.face, rng)
        return Item(audio, faces.transpose(0, 3, 1, 2), places, segment.reference, key.row)

    def _select(self, count: int, rng: np.random.Generator) -> list[int]:
        """Indices of the frames to use, of `count`, ascending."""
        if count <= self._frames:
            return list(range(count))
        if self._augmented:
            return sorted(rng.choice(count, self._frames, replace=False).tolist())
        return [int((number + 0.5) * count / self._frames) for number in range(self._frames)]


def _resize(faces: np.ndarray, side_px: int | None) -> np.ndarray:
    if side_px is None or not len(faces):
        return faces if side_px is None else np.empty((0, side_px, side_px, 3), np.uint8)
    return np.stack([cv2.resize(face, (side_px, side_px), interpolation=cv2.INTER_AREA) for face in faces])


def collate(items: Sequence[Item]) -> Batch:
    """Join items into a batch."""
    return Batch(
        mel=torch.from_numpy(np.stack([item.mel for item in items])),
        faces=torch.from_numpy(np.concatenate([item.faces for item in items])),
        counts=torch.tensor([len(item.faces) for item in items], dtype=torch.int64),
        places=torch.from_numpy(np.concatenate([item.places for item in items]).astype(np.int64)),
        truth=torch.tensor([item.truth for item in items], dtype=torch.float32),
        rows=torch.tensor([item.row for item in items], dtype=torch.int64),
    )


class EpochSampler(Sampler[SampleKey]):
    """Sample keys of one process for one epoch; Lightning sets the epoch with `set_epoch`.

    Args:
        rows: the rows of all segments.
        seed: seed of the order; None keeps the order of `rows`.
        rank, world: index of this process and number of processes. With a seed every process gets the same number of
            segments, which leaves up to world - 1 segments out of an epoch, different ones each time.
    """

    def __init__(self, rows: np.ndarray, seed: int | None, rank: int = 0, world: int = 1) -> None:
        self._rows, self._seed, self._rank, self._world = rows, seed, rank, world
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration, counted from 0."""
        self._epoch = epoch

    def __len__(self) -> int:
        even = len(self._rows) // self._world
        extra = self._seed is None and self._rank < len(self._rows) % self._world
        return even + int(extra)

    def __iter__(self) -> Iterator[SampleKey]:
        rows = self._rows
        if self._seed is not None:
            rows = rows[make_rng(self._seed, ORDER, self._epoch).permutation(len(rows))]
        own = rows[self._rank :: self._world][: len(self)]
        return iter([SampleKey(self._epoch, int(row)) for row in own])
