"""Detect, track and crop faces in one pass over a recording's frames.

The patient is known only when the last frame has been seen, but no frame is decoded twice and none is kept. So the
crops of a few candidates in every frame go to the pool as they come, and the patient's are selected afterwards. With
one face in the image, the usual case, nothing is computed unnecessarily.
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
from avpenet_cli.face.track import Track, Tracker, patient_tracks
from avpenet_cli.media.video import TimedFrame
from avpenet_cli.pipeline.timer import StageTimer
from avpenet_cli.settings import FaceSettings

MAX_CANDIDATES = 2
"""Faces of one frame that may be the patient's: those whose tracks have the most face width so far. Others are counted,
not encoded, so that many visitors take no more memory and time than one."""


T = TypeVar("T")
Kept_co = TypeVar("Kept_co", covariant=True)


class Pool(Protocol[Kept_co]):
    """Takes a recording's face crops and turns them into features of segments."""

    def add(self, slot: int, track: int, crop: np.ndarray) -> None:
        """Take one crop, (crop_px, crop_px, 3) uint8 RGB.

        Args:
            slot: position of its frame on the frame grid.
            track: number of its face track.
        """

    def flush_before(self, slot: int) -> None:
        """Process everything that is complete: no crop from before `slot` will follow."""

    def finish(self) -> None:
        """Process what is left: no further crop will follow."""

    def features(self, slots: range, tracks: Sequence[int]) -> Kept_co | None:
        """Features of the faces of `tracks` in `slots`; None where there is none."""


class NoPool:
    """A pool that keeps nothing: for reads that need only the positions of faces."""

    def add(self, slot: int, track: int, crop: np.ndarray) -> None:
        """Do nothing."""

    def flush_before(self, slot: int) -> None:
        """Do nothing."""

    def finish(self) -> None:
        """Do nothing."""

    def features(self, slots: range, tracks: Sequence[int]) -> None:
        """None: there are none."""


@dataclass(frozen=True)
class FaceEvidence(Generic[T]):
    """Faces in one segment's frames.

    Attributes:
        video_coverage: share of the segment's frame positions for which the video stream has a frame, [0, 1].
        rate: share of the segment's frame positions with the patient's face, [0, 1].
        confidence: mean detector confidence of those faces, [0, 1]; None without one.
        width_px: median width of those faces in pixels of the source frame; None without one.
        max_faces: largest number of persistent faces in one frame.
        non_patient_visible: another face was visible while the patient's was not.
        rotated: the patient's face was found in a rotated frame.
        places: index among the segment's frame positions of each encoded face of the patient, in time order.
        features: the pool's features of the patient's faces, such as (n, 512) embeddings; None without one.
    """

    video_coverage: float
    rate: float
    confidence: float | None
    width_px: float | None
    max_faces: int
    non_patient_visible: bool
    rotated: bool
    places: tuple[int, ...]
    features: T | None


class FaceCollector(Generic[T]):
    """Collects a recording's faces chunk by chunk, then gives the evidence for any segment.

    Args:
        detector: remembers which way up the recording is.
        landmarks: 68-point predictor for weights trained with it; else None, and the detector's eye points are used.
        settings: crop and alignment, from the weights' description.
        pool: receives the crops.
        timer: adds up the stages `detect` and `crop`.
        reduction: pixels of the recording for one of a frame, along a side.
        takes_largest: the largest face of each frame is the patient's, as in Algorithm 2 of the paper, instead of the
            largest persistent one.
    """

    def __init__(
        self,
        detector: RotatingDetector,
        landmarks: ShapePredictor | None,
        settings: FaceSettings,
        pool: Pool[T],
        timer: StageTimer,
        reduction: float = 1.0,
        *,
        takes_largest: bool = False,
    ) -> None:
        self._reduction, self._takes_largest = reduction, takes_largest
        self._detector, self._landmarks, self._settings = detector, landmarks, settings
        self._pool, self._timer = pool, timer
        self._tracker = Tracker()
        self._slots_with_frame: set[int] = set()
        self._encoded: set[tuple[int, int]] = set()
        self._patient: dict[int, Face] = {}
        self._patient_numbers: list[int] = []
        self._count_at: defaultdict[int, int] = defaultdict(int)

    def add(self, chunk: Sequence[TimedFrame]) -> None:
        """Detect, track and crop the faces of consecutive frames, and hand the crops to the pool."""
        with self._timer.stage("detect"):
            detections = self._detector.detect([frame.image for frame in chunk], [frame.slot for frame in chunk])
        for frame, faces in zip(chunk, detections, strict=True):
            self._slots_with_frame.add(frame.slot)
            tracks = self._tracker.update(frame.slot, faces)
            for face, track in self._candidates(list(zip(faces, tracks, strict=True))):
                self._encoded.add((frame.slot, track.number))
                with self._timer.stage("crop"):
                    placed = self._landmarks.refine(frame.image, face) if self._landmarks else face
                    crop = align(frame.image, placed, self._settings)
                self._pool.add(frame.slot, track.number, crop)
        self._pool.flush_before(chunk[-1].slot + 1)

    def _candidates(self, faces: list[tuple[Face, Track]]) -> list[tuple[Face, Track]]:
        """The faces of one frame that may be the patient's."""
        if self._takes_largest:
            return [max(faces, key=lambda pair: pair[0].width_px)] if faces else []
        return sorted(faces, key=lambda pair: -pair[1].weight)[:MAX_CANDIDATES]

    def finish(self) -> None:
        """Decide which tracks are the patient's, once the last frame has been added."""
        self._pool.finish()
        persistent = self._tracker.lasting()
        for track in persistent:
            for slot in track.slots:
                self._count_at[slot] += 1
        chosen = self._tracker.tracks if self._takes_largest else patient_tracks(persistent)
        self._patient_numbers = [track.number for track in chosen]
        # Only encoded faces are evidence: a face that was merely detected does not contribute to any score.
        self._patient = {
            slot: face
            for track in chosen
            for slot, face in zip(track.slots, track.faces, strict=True)
            if (slot, track.number) in self._encoded
        }

    @property
    def patient_faces(self) -> dict[int, Face]:
        """The patient's face by slot of the frame grid, once `finish` has been called."""
        return self._patient

    @property
    def patient_tracks(self) -> int:
        """Number of tracks that were joined as the patient's."""
        return len(self._patient_numbers)

    @property
    def orientation_deg(self) -> int | None:
        """Clockwise rotation under which the patient's face was found most often; None without a patient."""
        rotations = [face.turn_deg for face in self._patient.values()]
        return max(sorted(set(rotations)), key=rotations.count) if rotations else None

    def evidence(self, slots: range) -> FaceEvidence[T]:
        """Evidence from the frames in `slots`."""
        faces = [self._patient[slot] for slot in slots if slot in self._patient]
        features = self._pool.features(slots, self._patient_numbers)
        return FaceEvidence(
            video_coverage=sum(slot in self._slots_with_frame for slot in slots) / len(slots),
            rate=len(faces) / len(slots),
            confidence=float(np.mean([face.confidence for face in faces])) if faces else None,
            width_px=self._reduction * float(np.median([face.width_px for face in faces])) if faces else None,
            max_faces=max((self._count_at[slot] for slot in slots if slot in self._count_at), default=0),
            non_patient_visible=any(slot in self._count_at and slot not in self._patient for slot in slots),
            rotated=any(face.turn_deg != self._settings.rotations_deg[0] for face in faces),
            places=tuple(
                slot - slots.start
                for slot in slots
                for track in self._patient_numbers
                if (slot, track) in self._encoded
            ),
            features=features,
        )
