"""Camera and light: where a rotated head lies in the frame, and how light becomes a frame's values."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from avpenet_cli.errors import SettingsError
from avpenet_cli.phantom.head.model import Float
from avpenet_cli.phantom.parameters.face_params import face_params

Frame = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Light:
    """A light source and the ambient light of the room.

    Attributes:
        azimuth_deg: of the source, from the camera towards the image's right, -90 to 90.
        elevation_deg: of the source over the camera, -90 to 90.
        intensity: exposure relative to a well-lit room, 0.3 to 2.
        contrast: 0 for ambient light only, 1 for almost none.
        colour: linear (R, G, B) of the light, around 1.
    """

    azimuth_deg: float = -25.0
    elevation_deg: float = 40.0
    intensity: float = 1.0
    contrast: float = 0.5
    colour: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class View:
    """Camera, head pose and light.

    Attributes:
        width_px, height_px: size of the frame.
        face_width_px: frontal width of the face.
        offset_px: of the point between the eyes from the frame's centre, x to the right and y down.
        yaw_deg: rotation of the head towards the image's right, -60 to 60.
        pitch_deg: rotation with the chin down, -45 to 45.
        roll_deg: clockwise tilt of the head in the image.
        light: illumination.
    """

    width_px: int = 640
    height_px: int = 480
    face_width_px: float = 180.0
    offset_px: tuple[float, float] = (0.0, 0.0)
    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    roll_deg: float = 0.0
    light: Light = field(default_factory=Light)


def check_background(background: Frame, view: View) -> None:
    """Raise SettingsError where the background (height, width, 3) has not the view's size."""
    if background.shape != (view.height_px, view.width_px, 3):
        actual, expected = background.shape[1::-1], (view.width_px, view.height_px)
        raise SettingsError(f"a background of {actual[0]}x{actual[1]} px for a view of {expected[0]}x{expected[1]} px")


def light_direction(light: Light) -> Float:
    """Unit vector towards the source in the camera's axes: (3,) float32."""
    azimuth, elevation = np.deg2rad(light.azimuth_deg), np.deg2rad(light.elevation_deg)
    return np.array(
        [np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)], np.float32
    )


def rotation(yaw_deg: float, pitch_deg: float, roll_deg: float) -> Float:
    """Rotation of the head by the angles of a view: (3, 3) float32."""
    yaw, pitch, roll = np.deg2rad([yaw_deg, pitch_deg, -roll_deg])
    about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    about_z = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x, np.float32)


def rotated(points: Float, rotation_share: Float, view: View) -> Float:
    """Rotate the head; vertices follow yaw and pitch by their `rotation_share`, and roll fully."""
    full = points @ rotation(view.yaw_deg, view.pitch_deg, view.roll_deg).T
    rest = points @ rotation(0.0, 0.0, view.roll_deg).T
    return np.asarray(rest + rotation_share[:, None] * (full - rest), np.float32)


def projected(points: Float, face_width_mm: float, view: View) -> Float:
    """Perspective projection: (n, 3) x right and y down in pixels, depth in mm."""
    away = face_params().light.camera_face_widths * face_width_mm
    scale = view.face_width_px / face_width_mm * away / (away - points[:, 2])
    middle = np.array([view.width_px / 2 + view.offset_px[0], view.height_px / 2 + view.offset_px[1]])
    return np.stack([middle[0] + points[:, 0] * scale, middle[1] - points[:, 1] * scale, points[:, 2]], 1).astype(
        np.float32
    )


def bounds(points: Float, view: View) -> tuple[int, int, int, int]:
    """Part of the frame that projected points (n, 3) can cover: left, top, right and bottom; empty if right <= left."""
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    left, top = (max(0, int(value) - 2) for value in low)
    return left, top, min(view.width_px, int(high[0]) + 3), min(view.height_px, int(high[1]) + 3)


def blurred(image: Frame) -> Frame:
    """The image as lens and demosaicing soften it."""
    return np.asarray(cv2.GaussianBlur(image, (3, 3), face_params().light.blur_px), np.uint8)


def encode(colour: Float, table: npt.NDArray[np.uint8]) -> Frame:
    """Linear light (n, 3) -> sRGB codes by `srgb_table`; light beyond either end of the table has the end's code."""
    return np.asarray(table[np.clip(colour * 2048.0, 0.0, 4095.0).astype(np.int32)], np.uint8)


def srgb_table() -> npt.NDArray[np.uint8]:
    """Lookup table from linear light in steps of 1/2048 up to 2 to sRGB code, with a shoulder instead of clipping."""
    value = np.arange(4096) / 2048.0
    knee = 0.7
    value = np.where(value > knee, knee + (1 - knee) * (1 - np.exp(-(value - knee) / (1 - knee))), value)
    encoded = np.where(value <= 0.0031308, value * 12.92, 1.055 * value ** (1 / 2.4) - 0.055)
    return np.round(np.clip(encoded, 0, 1) * 255).astype(np.uint8)
