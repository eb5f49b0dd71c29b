"""Displacements with Gaussian falloff, for what a loaded head's targets lack."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from avpenet_cli.phantom.head.model import UNITS, Float, Landmarks
from avpenet_cli.phantom.parameters.face_params import face_params
from avpenet_cli.phantom.parameters.head_params import ActionField


def gaussian_displacements(fields: Iterable[ActionField], skin_mm: Float, landmarks: Landmarks) -> Float:
    """Displacement of the front of the skin (n, 3) by action units at full intensity: (9, n, 3) float32.

    A field's anchor is `eye` or `brow_inner`; lengths are those of an adult's head and scale with it.
    """
    scale = landmarks.eye_x_mm / face_params().adult.eye_x_mm
    anchors = {"eye": landmarks.pupils, "brow_inner": landmarks.brows[:, 0]}
    out = np.zeros((len(UNITS), *skin_mm.shape), np.float32)
    # Fades out towards the ears.
    front = np.clip(skin_mm[:, 2] / (0.6 * float(landmarks.pupils[:, 2].mean())) - 0.5, 0.0, 1.0)
    for field in fields:
        for side, anchor in zip((-1.0, 1.0), anchors[field.from_], strict=True):
            across = (skin_mm[:, 0] - anchor[0]) / scale - side * field.offset_mm[0]
            up = (skin_mm[:, 1] - anchor[1]) / scale - field.offset_mm[1]
            share = front * np.exp(-0.5 * ((across / field.spread_mm[0]) ** 2 + (up / field.spread_mm[1]) ** 2))
            towards = np.array(field.displacement_mm) * np.array([side, 1.0, 1.0]) * scale
            out[UNITS.index(field.unit)] += (share[:, None] * towards).astype(np.float32)
    return out
