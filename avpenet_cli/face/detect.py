"""Detect faces with MTCNN on a reduced copy of each frame, rotated where the upright copy shows none."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from avpenet_cli.face.deduplicate import deduplicate_consecutive
from avpenet_cli.face.keyframes import detect_consecutive, key_frames
from avpenet_cli.face.mtcnn.cascade import Cascade, FaceCascade, ImageFaces
from avpenet_cli.media.frame_image import FrameImage
from avpenet_cli.settings import FaceSettings

CHUNK_FRAMES = 10
"""Frames per detection batch. Fixed, so that a recording gives the same faces in every run."""

_SETTLED_EVIDENCE = 0.9
"""Evidence per frame that confirms the current rotation, ..."""
_SETTLED_FRAMES = 2
"""... if this many frames of the chunk reach it."""
_MIN_EVIDENCE_GAIN = 0.2
"""Another rotation must give this much more evidence per frame than the current one, ..."""
_MIN_SWITCH_EVIDENCE = 0.8
"""... and at least this much: false alarms are more frequent on rotated frames."""

_ZERO_EVIDENCE_CONFIDENCE = 0.9
_MAX_ROLL_DEG = 40.0
_MIN_EYE_DISTANCE = 0.3
"""MTCNN also detects faces that lie sideways, with confidence up to 0.99, but distorts their landmarks: on rotated
clips they have a roll over 40 degrees and eyes 0.13-0.33 box widths apart, against 0.43-0.50 when upright."""


@dataclass(frozen=True)
class Face:
    """One face in one frame, in pixels of the source frame.

    Attributes:
        box: (4,) float32 left, top, right, bottom.
        eyes: (2, 2) float32, the eye on the left of the upright image first; x, y.
        confidence: the detector's, [0, 1].
        turn_deg: clockwise rotation of the frame at which the face was detected.
        evidence: how likely the face is upright at that rotation, [0, 1].
    """

    box: np.ndarray
    eyes: np.ndarray
    confidence: float
    turn_deg: int
    evidence: float = 1.0

    @property
    def width_px(self) -> float:
        """Width of the box as the upright face has it."""
        across = (3, 1) if self.turn_deg in (90, 270) else (2, 0)
        return float(self.box[across[0]] - self.box[across[1]])


def new_cascade(settings: FaceSettings, device: torch.device, *, fixed_shapes: bool | None = None) -> Cascade:
    """MTCNN with the sizes and thresholds of the settings; `fixed_shapes` as in `Cascade`."""
    thresholds, factor = settings.stage_thresholds, settings.pyramid_factor
    return Cascade(device, settings.min_face_px, thresholds, factor, fixed_shapes=fixed_shapes)


class FaceDetector:
    """MTCNN on frames of any size and orientation.

    Args:
        settings: sizes and thresholds.
        device: of the three networks.
        cascade: finds the faces, where several detectors share one; else this one has its own.
    """

    def __init__(self, settings: FaceSettings, device: torch.device, cascade: FaceCascade | None = None) -> None:
        self._settings = settings
        self._cascade: FaceCascade = cascade or new_cascade(settings, device)

    def detect(self, frames: Sequence[FrameImage], turn_deg: int = 0) -> list[list[Face]]:
        """Search each frame for faces. Consecutive identical frames are processed once.

        Args:
            frames: all of one size.
            turn_deg: clockwise rotation before detection: 0, 90, 180 or 270.

        Returns:
            One list per frame, widest face first; empty where there is none.
        """
        return self._detect(frames, turn_deg, lambda images, _: self._cascade.detect(images))

    def follow(
        self, frames: Sequence[FrameImage], turn_deg: int = 0, slots: Sequence[int] | None = None
    ) -> list[list[Face]]:
        """Find the faces of consecutive frames, with a search in key frames and where their faces do not correspond.

        Arguments and result as in `detect`; see `avpenet_cli.face.keyframes` for what differs.

        Args:
            slots: of the frames on the grid, increasing; one after the other by default.
        """
        frame_slots = range(len(frames)) if slots is None else slots

        def follow(images: np.ndarray, indices: list[int]) -> list[ImageFaces]:
            positions = [frame_slots[indices.index(image)] for image in range(len(images))]
            keys = [indices[frame] for frame in key_frames(frame_slots)]
            return detect_consecutive(self._cascade, images, positions, keys, self._settings.min_confidence)

        return self._detect(frames, turn_deg, follow)

    def _detect(
        self,
        frames: Sequence[FrameImage],
        turn_deg: int,
        find: Callable[[np.ndarray, list[int]], list[ImageFaces]],
    ) -> list[list[Face]]:
        """Call `find` with the distinct images at the detector's size, and the image of each frame."""
        if not frames:
            return []
        width, height = frames[0].size
        scale = min(1.0, self._settings.detect_long_side_px / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        if min(size) < self._settings.min_face_px:
            return [[] for _ in frames]
        # Frames that are equal at the detector's size have the same faces.
        distinct, indices = deduplicate_consecutive([frame.reduced(size) for frame in frames])
        faces_found = find(np.stack([np.rot90(image, -turn_deg // 90) for image in distinct]), indices)
        ratio = np.array([width / size[0], height / size[1]], np.float32)
        faces_per_image = [self._faces(image_faces, turn_deg, size, ratio) for image_faces in faces_found]
        return [faces_per_image[index] for index in indices]

    def _faces(self, detections: ImageFaces, turn_deg: int, size: tuple[int, int], ratio: np.ndarray) -> list[Face]:
        faces = [
            _in_source(box, confidence, landmarks, turn_deg, size, ratio)
            for box, confidence, landmarks in zip(
                detections.boxes, detections.confidence.tolist(), detections.landmarks, strict=True
            )
            if confidence >= self._settings.min_confidence
        ]
        return sorted(faces, key=lambda face: -face.width_px)


class RotatingDetector:
    """Face detection that keeps track of the recording's orientation.

    A chunk is processed at the last successful rotation. Unless at least two of its ten frames confirm that rotation,
    the others are tried on its key frames, and one with clearly more evidence replaces it.
    """

    def __init__(self, detector: FaceDetector, settings: FaceSettings) -> None:
        self._detector = detector
        self._turns = settings.rotations_deg
        self._turn = settings.rotations_deg[0] if settings.rotations_deg else 0

    def detect(self, frames: Sequence[FrameImage], slots: Sequence[int] | None = None) -> list[list[Face]]:
        """Find the faces of one chunk of consecutive frames; arguments and result as in `FaceDetector.follow`."""
        faces_per_frame = self._detector.follow(frames, self._turn, slots)
        if sum(_evidence(faces) >= _SETTLED_EVIDENCE for faces in faces_per_frame) >= min(_SETTLED_FRAMES, len(frames)):
            return faces_per_frame
        probes = key_frames(range(len(frames)) if slots is None else slots)
        current = sum(_evidence(faces_per_frame[probe]) for probe in probes)
        best = max(current + _MIN_EVIDENCE_GAIN * len(probes), _MIN_SWITCH_EVIDENCE * len(probes))
        best_turn = self._turn
        for turn in self._turns:
            if turn == self._turn:
                continue
            evidence = self._evidence_at(turn, [frames[probe] for probe in probes], best)
            if evidence >= best:
                best, best_turn = evidence, turn
        if best_turn == self._turn:
            return faces_per_frame
        self._turn = best_turn
        return self._detector.follow(frames, best_turn, slots)

    def _evidence_at(self, turn: int, frames: Sequence[FrameImage], needed: float) -> float:
        """Evidence at a rotation, summed over frames; stops where it can no longer reach what is needed."""
        evidence = 0.0
        for number, frame in enumerate(frames):
            if evidence + len(frames) - number < needed:
                break
            evidence += _evidence(self._detector.detect([frame], turn)[0])
        return evidence


def _evidence(faces: Sequence[Face]) -> float:
    return max((face.evidence for face in faces), default=0.0)


def _upright_evidence(box: np.ndarray, confidence: float, landmarks: np.ndarray) -> float:
    """Confidence above 0.9, scaled to [0, 1]; 0 where the landmarks are those of a face that lies sideways."""
    eyes, mouth = landmarks[:2], landmarks[3:5].mean(0)
    down = mouth - eyes.mean(0)
    roll_deg = abs(math.degrees(math.atan2(-down[0], down[1])))
    eye_distance = float(np.linalg.norm(eyes[1] - eyes[0])) / max(float(box[2] - box[0]), 1.0)
    if roll_deg > _MAX_ROLL_DEG or eye_distance < _MIN_EYE_DISTANCE:
        return 0.0
    return max(0.0, (confidence - _ZERO_EVIDENCE_CONFIDENCE) / (1 - _ZERO_EVIDENCE_CONFIDENCE))


def _in_source(
    box: np.ndarray,
    confidence: float,
    landmarks: np.ndarray,
    turn_deg: int,
    size: tuple[int, int],
    ratio: np.ndarray,
) -> Face:
    """Map a face from the rotated, reduced copy to the source; `size` is the copy's (width, height) before rotation."""
    corners = _turn_back(np.array([[box[0], box[1]], [box[2], box[3]]], np.float32), turn_deg, size) * ratio
    return Face(
        box=np.concatenate([corners.min(0), corners.max(0)]).astype(np.float32),
        eyes=(_turn_back(np.asarray(landmarks[:2], np.float32), turn_deg, size) * ratio).astype(np.float32),
        confidence=confidence,
        turn_deg=turn_deg,
        evidence=_upright_evidence(box, confidence, landmarks),
    )


def _turn_back(points: np.ndarray, turn_deg: int, size: tuple[int, int]) -> np.ndarray:
    """Map points (n, 2) of an image rotated clockwise by `turn_deg` to the image before rotation."""
    width, height = size
    x, y = points[:, 0], points[:, 1]
    if turn_deg == 90:
        return np.stack([y, height - x], 1)
    if turn_deg == 180:
        return np.stack([width - x, height - y], 1)
    if turn_deg == 270:
        return np.stack([width - y, x], 1)
    return points
