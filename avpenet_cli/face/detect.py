"""Faces in frames: MTCNN on a reduced copy, upright first and turned where upright finds nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from facenet_pytorch import MTCNN
from facenet_pytorch.models.utils.detect_face import detect_face

from avpenet_cli.face.deduplicate import deduplicate_consecutive
from avpenet_cli.settings import FaceSettings

_PROBES = (1, 5, 8)
"""Frames of a chunk on which other turns are tried."""

CHUNK_FRAMES = 10
"""Frames detected together. Fixed, so that the same recording gives the same faces in any run."""

_CONVINCED = 0.9
"""Evidence in a frame that settles its turn, ..."""
_CONVINCING_FRAMES = 2
"""... if this many of the chunk's frames have it."""
_BETTER = 0.2
"""Another turn must give this much more evidence a frame than the present one, ..."""
_SURE = 0.8
"""... and at least this much, since clutter passes for a face more often when the picture is turned to look for one."""

_LEAST_CONFIDENCE = 0.9
_MAX_ROLL_DEG = 40.0
_MIN_EYE_DISTANCE = 0.3
"""MTCNN also finds faces that lie sideways, at up to 0.99, but crumples their landmarks: measured on turned clips, roll
over 40 degrees and eyes 0.13-0.33 box widths apart, against 0.43-0.50 when upright."""


@dataclass(frozen=True)
class Face:
    """One face in one frame, in pixels of the source frame.

    Attributes:
        box: (4,) float32 left, top, right, bottom.
        eyes: (2, 2) float32, the eye on the left of the upright picture first; x, y.
        confidence: the detector's, [0, 1].
        turn_deg: clockwise turn of the frame under which the face was found.
        evidence: how much says that it stands upright under that turn, [0, 1].
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


class FaceDetector:
    """MTCNN of facenet-pytorch (its weights come in the package).

    Args:
        settings: sizes and thresholds.
        device: where the three networks run.
    """

    def __init__(self, settings: FaceSettings, device: torch.device) -> None:
        self._settings = settings
        self._device = device
        self._mtcnn = MTCNN(
            keep_all=True,
            min_face_size=settings.min_face_px,
            thresholds=list(settings.stage_thresholds),
            factor=settings.pyramid_factor,
            device=device,
        ).eval()
        for network in (self._mtcnn.pnet, self._mtcnn.rnet, self._mtcnn.onet):
            # 1.6 times as fast on a CPU; the faces move by under 1e-4 px.
            network.to(memory_format=torch.channels_last)

    def detect(self, frames: Sequence[np.ndarray], turn_deg: int = 0) -> list[list[Face]]:
        """Faces of each frame, all frames of one size. What is on screen for several frames is looked at once.

        Args:
            frames: (height, width, 3) uint8 RGB each.
            turn_deg: clockwise turn before looking: 0, 90, 180 or 270.

        Returns:
            One list per frame, widest face first; empty where there is none.
        """
        different, places = deduplicate_consecutive(frames)
        found = self._detect(different, turn_deg)
        return [found[place] for place in places]

    def _detect(self, frames: Sequence[np.ndarray], turn_deg: int) -> list[list[Face]]:
        if not frames:
            return []
        height, width = frames[0].shape[:2]
        scale = min(1.0, self._settings.detect_long_side_px / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        if min(size) < self._settings.min_face_px:
            return [[] for _ in frames]
        small = [cv2.resize(f, size, interpolation=cv2.INTER_AREA) if scale < 1 else f for f in frames]
        batch = np.stack([np.rot90(f, -turn_deg // 90) for f in small])
        boxes, points = self._cascade(batch)
        ratio = np.array([width / size[0], height / size[1]], np.float32)
        found = []
        for some_boxes, some_points in zip(boxes, points, strict=True):
            faces = [
                _in_source(box, landmarks, turn_deg, size, ratio)
                for box, landmarks in zip(some_boxes, some_points, strict=True)
                if box[4] >= self._settings.min_confidence
            ]
            found.append(sorted(faces, key=lambda face: -face.width_px))
        return found

    def _cascade(self, batch: np.ndarray) -> tuple[Any, Any]:
        nets = self._mtcnn
        try:
            with torch.inference_mode():
                boxes, points = detect_face(
                    batch,
                    nets.min_face_size,
                    nets.pnet,
                    nets.rnet,
                    nets.onet,
                    nets.thresholds,
                    nets.factor,
                    self._device,
                )
        except (RuntimeError, ValueError) as error:
            # facenet-pytorch 2.5.3 concatenates an empty list when no step of its pyramid fits into the picture, and
            # when every candidate lies outside it. Which of the two errors that is depends on torch's version.
            if "non-empty" not in str(error):
                raise
            boxes = [np.empty((0, 5), np.float32) for _ in batch]
            points = [np.empty((0, 5, 2), np.float32) for _ in batch]
        return boxes, points


class TurningDetector:
    """Detection that remembers which way up the recording is.

    A chunk is looked at under the turn that worked last. Where that does not convince in at least two of its ten
    frames, the other turns are tried on three frames, and one that gives clearly more evidence is taken.
    """

    def __init__(self, detector: FaceDetector, settings: FaceSettings) -> None:
        self._detector = detector
        self._turns = settings.rotations_deg
        self._turn = settings.rotations_deg[0] if settings.rotations_deg else 0

    def detect(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        """Faces of one chunk of consecutive frames; see `FaceDetector.detect`."""
        found = self._detector.detect(frames, self._turn)
        if sum(_evidence(faces) >= _CONVINCED for faces in found) >= min(_CONVINCING_FRAMES, len(frames)):
            return found
        at = [i for i in _PROBES if i < len(frames)] or [0]
        best, best_turn = sum(_evidence(found[i]) for i in at) / len(at) + _BETTER, self._turn
        for turn in self._turns:
            if turn == self._turn:
                continue
            tried = self._detector.detect([frames[i] for i in at], turn)
            evidence = sum(map(_evidence, tried)) / len(at)
            if evidence >= max(best, _SURE):
                best, best_turn = evidence, turn
        if best_turn == self._turn:
            return found
        self._turn = best_turn
        return self._detector.detect(frames, best_turn)


def _evidence(faces: Sequence[Face]) -> float:
    return max((face.evidence for face in faces), default=0.0)


def _upright_evidence(landmarks: np.ndarray, box: np.ndarray) -> float:
    """Confidence above 0.9, scaled to [0, 1]; nothing where the landmarks are those of a face that lies sideways."""
    eyes, mouth = landmarks[:2], landmarks[3:5].mean(0)
    down = mouth - eyes.mean(0)
    roll_deg = abs(math.degrees(math.atan2(-down[0], down[1])))
    eye_distance = float(np.linalg.norm(eyes[1] - eyes[0])) / max(float(box[2] - box[0]), 1.0)
    if roll_deg > _MAX_ROLL_DEG or eye_distance < _MIN_EYE_DISTANCE:
        return 0.0
    return max(0.0, (float(box[4]) - _LEAST_CONFIDENCE) / (1 - _LEAST_CONFIDENCE))


def _in_source(box: np.ndarray, landmarks: np.ndarray, turn_deg: int, size: tuple[int, int], ratio: np.ndarray) -> Face:
    """From the turned, reduced copy back to the source; `size` is the copy's (width, height) before turning."""
    corners = _turn_back(np.array([[box[0], box[1]], [box[2], box[3]]], np.float32), turn_deg, size) * ratio
    return Face(
        box=np.concatenate([corners.min(0), corners.max(0)]).astype(np.float32),
        eyes=(_turn_back(np.asarray(landmarks[:2], np.float32), turn_deg, size) * ratio).astype(np.float32),
        confidence=float(box[4]),
        turn_deg=turn_deg,
        evidence=_upright_evidence(landmarks, box),
    )


def _turn_back(points: np.ndarray, turn_deg: int, size: tuple[int, int]) -> np.ndarray:
    """Points (n, 2) of the picture after a clockwise turn -> of the picture before it."""
    width, height = size
    x, y = points[:, 0], points[:, 1]
    if turn_deg == 90:
        return np.stack([y, height - x], 1)
    if turn_deg == 180:
        return np.stack([width - x, height - y], 1)
    if turn_deg == 270:
        return np.stack([width - y, x], 1)
    return points
