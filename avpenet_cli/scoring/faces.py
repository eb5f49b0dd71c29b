"""The video's side of the evidence: faces found, tracked and encoded in one pass over the frames.

Who the patient is can only be said at the end, but no frame is decoded twice and none is kept. So the widest few faces
of every frame are encoded as they come, and the patient's embeddings are picked out afterwards. With one face in the
picture, which is the rule, that costs nothing extra.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from avpenet_cli.face.align import align
from avpenet_cli.face.detect import Face, TurningDetector
from avpenet_cli.face.landmarks import ShapePredictor
from avpenet_cli.face.track import Tracker, patient_tracks
from avpenet_cli.media.video import TimedFrame
from avpenet_cli.scoring.network import Network
from avpenet_cli.scoring.stopwatch import Stopwatch
from avpenet_cli.settings import FRAMES_PER_WINDOW, FaceSettings

MAX_CANDIDATES = 2
"""Faces of one frame that may be the patient: those of the weightiest tracks so far. The rest are counted, not encoded;
memory and time for a crowd stay those of two faces."""


T = TypeVar("T")
Kept_co = TypeVar("Kept_co", covariant=True)


class Pool(Protocol[Kept_co]):
    """Where a recording's crops go, and what becomes of them."""

    def add(self, slot: int, track: int, crop: np.ndarray) -> None:
        """Take one crop, (crop_px, crop_px, 3) uint8 RGB."""

    def passed(self, slot: int) -> None:
        """No crop from before `slot` will come."""

    def finish(self) -> None:
        """No crop will come."""

    def tokens(self, slots: range, tracks: Sequence[int]) -> Kept_co | None:
        """What has become of the faces of `tracks` in `slots`; None without any."""


class EmbeddingPool:
    """Pooling by frame: one embedding per face, shared by all windows that hold its frame.

    A crop that is the track's last one again, of a picture that stayed on screen, is not encoded again.
    """

    def __init__(self, network: Network, batch_size: int) -> None:
        self._network, self._batch_size = network, batch_size
        self._rows: dict[tuple[int, int], int] = {}
        self._last: dict[int, tuple[int, np.ndarray]] = {}
        self._count = 0
        self._waiting: list[np.ndarray] = []
        self._done: list[np.ndarray] = []
        self._embeddings = np.empty((0, 0), np.float32)

    def add(self, slot: int, track: int, crop: np.ndarray) -> None:
        """Queue one crop; encode when a batch is full."""
        before, crop_before = self._last.get(track, (slot, None))
        self._last[track] = slot, crop
        if crop_before is not None and np.array_equal(crop_before, crop):
            self._rows[slot, track] = self._rows[before, track]
            return
        self._rows[slot, track] = self._count
        self._count += 1
        self._waiting.append(crop)
        if len(self._waiting) >= self._batch_size:
            self._encode()

    def _encode(self) -> None:
        if self._waiting:
            self._done.append(self._network.encode_faces(self._waiting))
            self._waiting.clear()

    def passed(self, slot: int) -> None:
        """Forget the crops of tracks that have ended, or of a crowd all would be kept."""
        self._last = {track: last for track, last in self._last.items() if last[0] == slot - 1}

    def finish(self) -> None:
        """Encode what is left."""
        self._encode()
        if self._done:
            self._embeddings = np.concatenate(self._done)
            self._done.clear()

    def tokens(self, slots: range, tracks: Sequence[int]) -> np.ndarray | None:
        """Embeddings (n, 512) of the faces of `tracks` in `slots`, in time order; None without any."""
        rows = [self._rows[key] for slot in slots for track in tracks if (key := (slot, track)) in self._rows]
        return self._embeddings[rows] if rows else None


class ImagePool:
    """Pooling by image, as the authors' `PainEstimator` has it: the crops of a window are averaged, then encoded once.

    Should one window hold two tracks of the patient, their embeddings are averaged by number of frames.
    """

    def __init__(self, network: Network, batch_size: int, stride_frames: int) -> None:
        self._network, self._batch_size, self._stride = network, batch_size, stride_frames
        self._sums: dict[tuple[int, int], tuple[np.ndarray, int]] = {}
        self._waiting: list[tuple[tuple[int, int], np.ndarray, int]] = []
        self._done: dict[tuple[int, int], tuple[np.ndarray, int]] = {}

    def add(self, slot: int, track: int, crop: np.ndarray) -> None:
        """Add one crop to every window that holds its slot."""
        last = slot // self._stride
        first = max(0, -(-(slot - FRAMES_PER_WINDOW + 1) // self._stride))
        for window in range(first, last + 1):
            total, count = self._sums.get((window, track), (np.zeros(crop.shape, np.float32), 0))
            total += crop
            self._sums[window, track] = (total, count + 1)

    def passed(self, slot: int) -> None:
        """Close the windows that end at or before `slot`."""
        for key in [k for k in self._sums if k[0] * self._stride + FRAMES_PER_WINDOW <= slot]:
            total, count = self._sums.pop(key)
            self._waiting.append((key, total / count, count))
        if len(self._waiting) >= self._batch_size:
            self._encode()

    def _encode(self) -> None:
        if self._waiting:
            embeddings = self._network.encode_faces([image for _, image, _ in self._waiting])
            for (key, _, count), embedding in zip(self._waiting, embeddings, strict=True):
                self._done[key] = (embedding, count)
            self._waiting.clear()

    def finish(self) -> None:
        """Close and encode what is left."""
        self.passed(1 << 60)
        self._encode()

    def tokens(self, slots: range, tracks: Sequence[int]) -> np.ndarray | None:
        """The window's one embedding (1, 512), or None without a face."""
        found = [self._done[key] for track in tracks if (key := (slots.start // self._stride, track)) in self._done]
        if not found:
            return None
        weights = np.array([count for _, count in found], np.float32)
        mean: np.ndarray = np.average([embedding for embedding, _ in found], axis=0, weights=weights)
        return mean[None].astype(np.float32)


@dataclass(frozen=True)
class FaceEvidence(Generic[T]):
    """What one segment's frames show.

    Attributes:
        shown: share of the segment's time in which the video stream had a picture.
        rate: share of the segment's frames with the patient's face.
        confidence, width_px: mean and median over those; None without one.
        most: most lasting faces on screen at once.
        stranger: somebody else was seen while the patient was not.
        turned: the patient's face was found in a turned picture.
        tokens: what the pool made of them, such as (n, 512) embeddings for the network; None without one.
    """

    shown: float
    rate: float
    confidence: float | None
    width_px: float | None
    most: int
    stranger: bool
    turned: bool
    tokens: T | None


class FaceCollector(Generic[T]):
    """Takes a recording's frames chunk by chunk, then answers for any segment.

    Args:
        detector: remembers which way up the recording is.
        landmarks: finds the eyes better than the detector does, where the weights were trained so; else None.
        settings: crop and alignment, from the weights' description.
        pool: where the crops go.
        watch: stage timings.
    """

    def __init__(
        self,
        detector: TurningDetector,
        landmarks: ShapePredictor | None,
        settings: FaceSettings,
        pool: Pool[T],
        watch: Stopwatch,
    ) -> None:
        self._detector, self._landmarks, self._settings = detector, landmarks, settings
        self._pool, self._watch = pool, watch
        self._tracker = Tracker()
        self._shown: set[int] = set()
        self._encoded: set[tuple[int, int]] = set()
        self._patient: dict[int, Face] = {}
        self._patient_numbers: list[int] = []
        self._count_at: defaultdict[int, int] = defaultdict(int)

    def add(self, chunk: Sequence[TimedFrame]) -> None:
        """Detect, track, crop and encode consecutive frames."""
        with self._watch.stage("detect"):
            found = self._detector.detect([frame.rgb for frame in chunk])
        for frame, faces in zip(chunk, found, strict=True):
            self._shown.add(frame.slot)
            tracks = self._tracker.update(frame.slot, faces)
            candidates = sorted(zip(faces, tracks, strict=True), key=lambda pair: -pair[1].weight)[:MAX_CANDIDATES]
            for face, track in candidates:
                self._encoded.add((frame.slot, track.number))
                with self._watch.stage("crop"):
                    placed = self._landmarks.refine(frame.rgb, face) if self._landmarks else face
                    crop = align(frame.rgb, placed, self._settings)
                with self._watch.stage("encode_faces"):
                    self._pool.add(frame.slot, track.number, crop)
        with self._watch.stage("encode_faces"):
            self._pool.passed(chunk[-1].slot + 1)

    def finish(self) -> None:
        """The last frame has been added: say who the patient is."""
        with self._watch.stage("encode_faces"):
            self._pool.finish()
        lasting = self._tracker.lasting()
        for track in lasting:
            for slot in track.slots:
                self._count_at[slot] += 1
        chosen = patient_tracks(lasting)
        self._patient_numbers = [track.number for track in chosen]
        # Only faces that were encoded are evidence: a face that was merely seen stands behind no number.
        self._patient = {
            slot: face
            for track in chosen
            for slot, face in zip(track.slots, track.faces, strict=True)
            if (slot, track.number) in self._encoded
        }

    @property
    def patient_tracks(self) -> int:
        """How many tracks were joined as the patient's."""
        return len(self._patient_numbers)

    @property
    def orientation_deg(self) -> int | None:
        """The turn under which the patient's face was found most often; None without a patient."""
        turns = [face.turn_deg for face in self._patient.values()]
        return max(sorted(set(turns)), key=turns.count) if turns else None

    def evidence(self, slots: range) -> FaceEvidence[T]:
        """What the frames in `slots` show."""
        seen = [self._patient[slot] for slot in slots if slot in self._patient]
        tokens = self._pool.tokens(slots, self._patient_numbers)
        return FaceEvidence(
            shown=sum(slot in self._shown for slot in slots) / len(slots),
            rate=len(seen) / len(slots),
            confidence=float(np.mean([face.confidence for face in seen])) if seen else None,
            width_px=float(np.median([face.width_px for face in seen])) if seen else None,
            most=max((self._count_at[slot] for slot in slots if slot in self._count_at), default=0),
            stranger=any(slot in self._count_at and slot not in self._patient for slot in slots),
            turned=any(face.turn_deg != self._settings.rotations_deg[0] for face in seen),
            tokens=tokens,
        )
