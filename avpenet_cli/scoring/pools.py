"""Pools of a recording's face crops: one embedding per frame, or one per window of averaged crops."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

import numpy as np

from avpenet_cli.scoring.encoder_threads import EncoderThreads
from avpenet_cli.settings import FRAMES_PER_WINDOW


class EmbeddingPool:
    """Pooling by frame: one embedding per face, shared by all windows that contain its frame.

    Args:
        encoder: encodes the crops; a crop that repeats the one before it is encoded only once.
        batch_size: crops collected before they are encoded.
    """

    def __init__(self, encoder: EncoderThreads, batch_size: int) -> None:
        self._encoder, self._batch_size = encoder, batch_size
        self._rows: dict[tuple[int, int], int] = {}
        self._waiting: list[tuple[int, int, np.ndarray]] = []
        self._tasks: list[Future[np.ndarray]] = []
        self._count = 0
        self._embeddings: list[np.ndarray] = []

    def add(self, slot: int, track: int, crop: np.ndarray) -> None:
        """Queue one crop, (crop_px, crop_px, 3) uint8 RGB; encode when a batch is full."""
        self._waiting.append((slot, track, crop))
        if len(self._waiting) >= self._batch_size:
            self._encode()

    def _encode(self) -> None:
        if not self._waiting:
            return
        # Track by track, so that crops of a frame that stays on screen follow one another.
        self._waiting.sort(key=lambda waiting: waiting[1])
        for slot, track, _ in self._waiting:
            self._rows[slot, track] = self._count
            self._count += 1
        self._tasks += self._encoder.submit([crop for _, _, crop in self._waiting])
        self._waiting.clear()

    def flush_before(self, slot: int) -> None:
        """Do nothing: no crop has to wait for a later one."""

    def finish(self) -> None:
        """Encode what is left."""
        self._encode()
        if self._tasks:
            self._embeddings = self._encoder.results(self._tasks)
            self._tasks.clear()

    def features(self, slots: range, tracks: Sequence[int]) -> np.ndarray | None:
        """Embeddings (n, 512) float32 of the faces of `tracks` in `slots`, in time order; None if there are none."""
        rows = [self._rows[key] for slot in slots for track in tracks if (key := (slot, track)) in self._rows]
        return np.stack([self._embeddings[row] for row in rows]) if rows else None


class ImagePool:
    """Pooling by image, as in the authors' `PainEstimator`: the crops of a window are averaged, then encoded once.

    If a window contains two tracks of the patient, their embeddings are averaged by number of frames.

    Args:
        encoder: encodes the mean crops.
        batch_size: mean crops collected before they are encoded.
        stride_frames: steps of the frame grid from one window to the next.
    """

    def __init__(self, encoder: EncoderThreads, batch_size: int, stride_frames: int) -> None:
        self._encoder, self._batch_size, self._stride = encoder, batch_size, stride_frames
        self._sums: dict[tuple[int, int], tuple[np.ndarray, int]] = {}
        self._waiting: list[tuple[tuple[int, int], np.ndarray, int]] = []
        self._encoding: list[tuple[tuple[int, int], int]] = []
        self._tasks: list[Future[np.ndarray]] = []
        self._done: dict[tuple[int, int], tuple[np.ndarray, int]] = {}

    def add(self, slot: int, track: int, crop: np.ndarray) -> None:
        """Add one crop to every window that contains its slot."""
        last = slot // self._stride
        first = max(0, -(-(slot - FRAMES_PER_WINDOW + 1) // self._stride))
        for window in range(first, last + 1):
            total, count = self._sums.get((window, track), (np.zeros(crop.shape, np.float32), 0))
            total += crop
            self._sums[window, track] = (total, count + 1)

    def flush_before(self, slot: int) -> None:
        """Close the windows that end at or before `slot`."""
        for key in [k for k in self._sums if k[0] * self._stride + FRAMES_PER_WINDOW <= slot]:
            total, count = self._sums.pop(key)
            self._waiting.append((key, total / count, count))
        if len(self._waiting) >= self._batch_size:
            self._encode()

    def _encode(self) -> None:
        if self._waiting:
            self._tasks += self._encoder.submit([image for _, image, _ in self._waiting])
            self._encoding += [(key, count) for key, _, count in self._waiting]
            self._waiting.clear()

    def finish(self) -> None:
        """Close and encode what is left."""
        self.flush_before(1 << 60)
        self._encode()
        if self._tasks:
            for (key, count), embedding in zip(self._encoding, self._encoder.results(self._tasks), strict=True):
                self._done[key] = (embedding, count)
            self._tasks.clear()
            self._encoding.clear()

    def features(self, slots: range, tracks: Sequence[int]) -> np.ndarray | None:
        """The window's one embedding (1, 512), or None without a face."""
        encoded = [self._done[key] for track in tracks if (key := (slots.start // self._stride, track)) in self._done]
        if not encoded:
            return None
        weights = np.array([count for _, count in encoded], np.float32)
        mean: np.ndarray = np.average([embedding for embedding, _ in encoded], axis=0, weights=weights)
        return mean[None].astype(np.float32)
