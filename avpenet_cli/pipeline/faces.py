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
from avpenet_cli.face.detect import Face, RotatingDetector
from avpenet_cli.face.landmarks import ShapePredictor
from avpenet_cli.face.track import Tracker, patient_tracks
from avpenet_cli.media.video import TimedFrame
from avpenet_cli.pipeline.timer import StageTimer
from avpenet_cli.settings import FaceSettings

MAX_CANDIDATES = 2
"""Faces of one frame that may be the patient: those of the weightiest tracks so far. The rest are counted, not encoded;
memory and time for a crowd stay those of two faces."""


T = TypeVar("T")
Kept_co = TypeVar("Kept_co", covariant=True)


class Pool(Protocol[Kept_co]):
    """Where a recording's crops go, and what becomes of them."""

    def add(self, slot: int, track: int, crop: np.ndarray) -> None:
        """Take one crop, (crop_px, crop_px, 3) uint8 RGB."""

    def flush_before(self, slot: int) -> None:
        """No crop from before `slot` will come."""

    def finish(self) -> None:
        """No crop will come."""

    def features(self, slots: range, tracks: Sequence[int]) -> Kept_co | None:
        """What has become of the faces of `tracks` in `slots`; None without any."""


@dataclass(frozen=True)
class FaceEvidence(Generic[T]):
    """What one segment's frames show.

    Attributes:
        video_coverage: share of the segment's time in which the video stream had a picture.
        rate: share of the segment's frames with the patient's face.
        confidence, width_px: mean and median over those; None without one.
        max_faces: most lasting faces on screen at once.
        non_patient_visible: somebody else was seen while the patient was not.
        rotated: the patient's face was found in a turned picture.
        features: what the pool made of them, such as (n, 512) embeddings for the network; None without one.
    """

    video_coverage: float
    rate: float
    confidence: float | None
    width_px: float | None
    max_faces: int
    non_patient_visible: bool
    rotated: bool
    features: T | None


class FaceCollector(Generic[T]):
    """Takes a recording's frames chunk by chunk, then answers for any segment.

    Args:
        detector: remembers which way up the recording is.
        landmarks: finds the eyes better than the detector does, where the weights were trained so; else None.
        settings: crop and alignment, from the weights' description.
        pool: where the crops go.
        timer: stage timings.
    """

    def __init__(
        self,
        detector: RotatingDetector,
        landmarks: ShapePredictor | None,
        settings: FaceSettings,
        pool: Pool[T],
        timer: StageTimer,
    ) -> None:
        self._detector, self._landmarks, self._settings = detector, landmarks, settings
        self._pool, self._timer = pool, timer
        self._tracker = Tracker()
        self._shown: set[int] = set()
        self._encoded: set[tuple[int, int]] = set()
        self._patient: dict[int, Face] = {}
        self._patient_numbers: list[int] = []
        self._count_at: defaultdict[int, int] = defaultdict(int)

    def add(self, chunk: Sequence[TimedFrame]) -> None:
        """Detect, track, crop and encode consecutive frames."""
        with self._timer.stage("detect"):
            found = self._detector.detect([frame.rgb for frame in chunk])
        for frame, faces in zip(chunk, found, strict=True):
            self._shown.add(frame.slot)
            tracks = self._tracker.update(frame.slot, faces)
            candidates = sorted(zip(faces, tracks, strict=True), key=lambda pair: -pair[1].weight)[:MAX_CANDIDATES]
            for face, track in candidates:
                self._encoded.add((frame.slot, track.number))
                with self._timer.stage("crop"):
                    placed = self._landmarks.refine(frame.rgb, face) if self._landmarks else face
                    crop = align(frame.rgb, placed, self._settings)
                with self._timer.stage("encode_faces"):
                    self._pool.add(frame.slot, track.number, crop)
        with self._timer.stage("encode_faces"):
            self._pool.flush_before(chunk[-1].slot + 1)

    def finish(self) -> None:
        """The last frame has been added: say who the patient is."""
        with self._timer.stage("encode_faces"):
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
        features = self._pool.features(slots, self._patient_numbers)
        return FaceEvidence(
            video_coverage=sum(slot in self._shown for slot in slots) / len(slots),
            rate=len(seen) / len(slots),
            confidence=float(np.mean([face.confidence for face in seen])) if seen else None,
            width_px=float(np.median([face.width_px for face in seen])) if seen else None,
            max_faces=max((self._count_at[slot] for slot in slots if slot in self._count_at), default=0),
            non_patient_visible=any(slot in self._count_at and slot not in self._patient for slot in slots),
            rotated=any(face.turn_deg != self._settings.rotations_deg[0] for face in seen),
            features=features,
        )
