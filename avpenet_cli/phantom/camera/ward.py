"""A patient before the camera of a ward: position, light, what is on the face, and the pillow."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from avpenet_cli.phantom.camera.effects import CameraEffects, draw_name
from avpenet_cli.phantom.face.renderer import Frame, View
from avpenet_cli.phantom.head.model import AgeGroup
from avpenet_cli.phantom.parameters.camera_params import WardCover, camera_params

# From between the eyes to the middle of the face, in widths of the face.
_MIDDLE_SHARE = 0.35

# From the axis of the head's rotation to the face's surface, in widths of the face.
_DEPTH_SHARE = 0.55


def draw_ward_cover(rng: np.random.Generator, age_group: AgeGroup) -> WardCover:
    """Draw what a patient in a ward has on the face; `site` for what the site's recordings have."""
    return draw_name(camera_params().conditions.cover[age_group], rng)


def ward_view(view: View, effects: CameraEffects, rng: np.random.Generator) -> View:
    """The view of the patient under a ward's camera.

    The middle of the face stays in place while the patient rolls about it, and infrared light comes from beside the
    lens. The roll itself is added to that of each frame.
    """
    roll = np.deg2rad(effects.patient_roll_deg)
    reach = _MIDDLE_SHARE * view.face_width_px
    offset_px = (
        view.offset_px[0] + reach * float(np.sin(roll)),
        view.offset_px[1] + reach * float(1.0 - np.cos(roll)),
    )
    light = view.light
    if effects.infrared:
        light = replace(
            light,
            azimuth_deg=float(rng.uniform(-12.0, 12.0)),
            elevation_deg=float(rng.uniform(-5.0, 15.0)),
            contrast=float(rng.uniform(0.6, 0.9)),
            intensity=float(rng.uniform(0.9, 1.2)),
            colour=(1.0, 1.0, 1.0),
        )
    return replace(view, offset_px=offset_px, light=light)


def head_motion_px(before: View | None, now: View) -> tuple[float, float]:
    """How far the face moved between two frames, x to the right and y down; 0 for the first frame."""
    if before is None:
        return 0.0, 0.0
    depth = _DEPTH_SHARE * now.face_width_px
    yaw, pitch = np.deg2rad(now.yaw_deg - before.yaw_deg), np.deg2rad(now.pitch_deg - before.pitch_deg)
    roll = np.deg2rad(now.roll_deg)
    across, down = depth * yaw, depth * pitch
    # Yaw and pitch turn about the head's own axes.
    turned = (np.cos(roll) * across - np.sin(roll) * down, np.sin(roll) * across + np.cos(roll) * down)
    return (
        float(now.offset_px[0] - before.offset_px[0] + turned[0]),
        float(now.offset_px[1] - before.offset_px[1] + turned[1]),
    )


def draw_pillow(background: Frame, view: View, effects: CameraEffects, rng: np.random.Generator) -> None:
    """Draw a pillow under the patient's head into `background` (height, width, 3) uint8 RGB."""
    size = view.face_width_px
    # From the middle of the face up to the top of the head.
    up = np.deg2rad(effects.patient_roll_deg)
    middle = (
        view.width_px / 2 + view.offset_px[0] + 0.3 * size * float(np.sin(up)),
        view.height_px / 2 + view.offset_px[1] - 0.3 * size * float(np.cos(up)),
    )
    box = (middle, (3.2 * size, 2.2 * size), effects.patient_roll_deg + float(rng.normal(0.0, 8.0)))
    corners = cv2.boxPoints(box).astype(np.int32)
    mask = np.zeros(background.shape[:2], np.float32)
    cv2.fillConvexPoly(mask, corners, 1.0)
    soft = 0.10 * size
    mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), soft), np.float32)
    # Rounded corners, and a shadow along the edge.
    mask = np.clip((mask - 0.45) * 6.0, 0.0, 1.0)
    folds = cv2.resize(
        rng.normal(0.0, 9.0, (5, 7)).astype(np.float32), (view.width_px, view.height_px), interpolation=cv2.INTER_CUBIC
    )
    cloth = rng.uniform(150.0, 225.0) * min(1.15, view.light.intensity) + folds
    shaded = np.asarray(cv2.GaussianBlur(mask, (0, 0), soft), np.float32)
    tint = np.array(view.light.colour, np.float32) * np.array([1.0, 1.0, rng.uniform(0.92, 1.05)], np.float32)
    pillow = (cloth * (0.72 + 0.28 * shaded))[:, :, None] * tint
    mixed = background + mask[:, :, None] * (pillow - background)
    background[:] = np.clip(mixed, 0.0, 255.0).astype(np.uint8)
