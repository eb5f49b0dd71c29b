"""Apply a camera's light, lens, sensor and compression to frames, rendered or photographs."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from avpenet_cli.errors import SettingsError
from avpenet_cli.phantom.camera.effects import NO_EFFECTS, CameraEffects, Points, Pupils, undistorted_places
from avpenet_cli.phantom.parameters.camera_params import camera_params

Frame = npt.NDArray[np.uint8]

# Height and width of the precomputed noise; each frame uses a random part of it, mirrored or not.
_NOISE_SHAPE = (768, 1024)

_MAX_REACH_PX = 5

# Of a pupil in the dark (about 6 mm), relative to the distance between the eyes (about 63 mm).
_PUPIL_RADIUS_SHARE = 0.048


def apply(
    frame: Frame,
    effects: CameraEffects,
    rng: np.random.Generator,
    motion_px: tuple[float, float] = (0.0, 0.0),
    eyes_px: Points | None = None,
) -> Frame:
    """Show a frame as the camera would.

    Args:
        frame: (height, width, 3) uint8 RGB in a room's light; not modified.
        effects: of the camera. `bitrate_kbits` and `patient_roll_deg` are left to the encoder and the pose.
        rng: source of the noise; the same state gives the same frame.
        motion_px: movement of the head since the previous frame, x to the right and y down, for the motion blur.
        eyes_px: (2, 2) centres of the eyes in `frame`, for the pupils in infrared light; None where unknown.

    Returns:
        (height, width, 3) uint8 RGB, with equal channels for infrared light.

    Raises:
        SettingsError: not an 8-bit RGB frame.
    """
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise SettingsError(f"a frame must be (height, width, 3) uint8, got {frame.shape} {frame.dtype}")
    if effects == NO_EFFECTS:
        return frame.copy()
    image: Any = cv2.transform(frame, effects.mixing_matrix())
    if effects.infrared:
        image = _skin_in_infrared(image)
        if eyes_px is not None and effects.pupils != "unchanged":
            _draw_pupils(image, np.asarray(eyes_px, np.float64), effects.pupils)
    if effects.focus_px > 0:
        image = cv2.GaussianBlur(image, (0, 0), effects.focus_px)
    image = _motion_blurred(image, effects.shutter_frames * motion_px[0], effects.shutter_frames * motion_px[1])
    height, width = frame.shape[:2]
    if effects.distortion_k1:
        across, between = _distortion_maps(effects.distortion_k1, width, height)
        image = cv2.remap(image, across, between, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    if effects.vignetting > 0:
        channels = 1 if image.ndim == 2 else 3
        image = cv2.multiply(image, _falloff(effects.vignetting, width, height, channels), dtype=cv2.CV_8U)
    table = effects.tone_table()
    if table is not None:
        image = cv2.LUT(image, table)
    image = _with_noise(image, effects, rng)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if image.ndim == 2 else image, np.uint8)


def compress_jpeg(frame: Frame, quality: int) -> Frame:
    """Compress and decode a frame as JPEG, in place of a video's compression where there is a single frame.

    Args:
        frame: (height, width, 3) uint8 RGB; not modified.
        quality: 1 to 100.

    Raises:
        SettingsError: the quality is out of range.
    """
    if not 1 <= quality <= 100:
        raise SettingsError(f"JPEG quality must be 1 to 100, got {quality}")
    encoded = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def matching_jpeg_quality(effects: CameraEffects) -> int | None:
    """JPEG quality that costs a face about as much peak signal-to-noise ratio as the video's rate; None without a rate.

    Fitted to phantoms of 640x480 pixels and 25 frames per second: at 300 kbit/s about 30 for a clean sensor, 15 in
    infrared light and 8 in low light, whose noise takes up the rate.
    """
    if effects.bitrate_kbits is None:
        return None
    noise_levels = np.sqrt(effects.read_noise_levels**2 + 100.0 * effects.shot_noise)
    quality = 34.0 * np.sqrt(effects.bitrate_kbits / 300.0) / (1.0 + (noise_levels / 5.0) ** 2)
    return int(np.clip(round(float(quality)), 5, 90))


def _skin_in_infrared(grey: Frame) -> Frame:
    params = camera_params().infrared
    spread = cv2.GaussianBlur(grey, (0, 0), params.smooth_px)
    return np.asarray(cv2.addWeighted(grey, 1.0 - params.smooth_share, spread, params.smooth_share, 0.0), np.uint8)


def _draw_pupils(grey: Frame, eyes_px: Points, pupils: Pupils) -> None:
    """Draw the pupils of open eyes in `grey`: at the darkest place near an eye's centre, where the iris is."""
    radius = _PUPIL_RADIUS_SHARE * float(np.hypot(*(eyes_px[1] - eyes_px[0])))
    reach = int(np.ceil(4.0 * radius)) + 1
    for x, y in eyes_px:
        left, top = round(float(x)) - reach, round(float(y)) - reach
        if radius < 1.0 or left < 0 or top < 0:
            continue
        window = grey[top : top + 2 * reach + 1, left : left + 2 * reach + 1]
        if window.shape != (2 * reach + 1, 2 * reach + 1):
            continue
        smooth = cv2.GaussianBlur(window, (0, 0), radius)
        inner = round(2.0 * radius)
        near = smooth[reach - inner : reach + inner + 1, reach - inner : reach + inner + 1]
        row, column = np.unravel_index(int(near.argmin()), near.shape)
        # A closed eye has no dark disc.
        if float(near.min()) > 0.62 * float(np.median(window)):
            continue
        place = np.arange(-reach, reach + 1)
        distance = np.hypot(place[None, :] - (int(column) - inner), place[:, None] - (int(row) - inner))
        share = np.clip(radius + 0.5 - distance, 0.0, 1.0)
        level = 225.0 if pupils == "bright" else 8.0
        window[:] = np.round(window + share * (level - window)).astype(np.uint8)


def _motion_blurred(image: Any, across_px: float, down_px: float) -> Any:
    if max(abs(across_px), abs(down_px)) < 0.5:
        return image
    reach = int(np.ceil(max(abs(across_px), abs(down_px)) / 2.0))
    if reach > _MAX_REACH_PX:
        # A long line is two halves side by side; OpenCV filters with large kernels by slow Fourier transforms.
        half = _motion_blurred(image, across_px / 2.0, down_px / 2.0)
        return cv2.addWeighted(
            _shifted(half, across_px / 4.0, down_px / 4.0),
            0.5,
            _shifted(half, -across_px / 4.0, -down_px / 4.0),
            0.5,
            0,
        )
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    begin = (round((reach - across_px / 2.0) * 16), round((reach - down_px / 2.0) * 16))
    end = (round((reach + across_px / 2.0) * 16), round((reach + down_px / 2.0) * 16))
    cv2.line(kernel, begin, end, 1.0, 1, cv2.LINE_8, 4)
    return cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)


def _shifted(image: Any, across_px: float, down_px: float) -> Any:
    matrix = np.array([[1.0, 0.0, across_px], [0.0, 1.0, down_px]], np.float32)
    size_px = (image.shape[1], image.shape[0])
    return cv2.warpAffine(image, matrix, size_px, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _with_noise(image: Any, effects: CameraEffects, rng: np.random.Generator) -> Any:
    if effects.read_noise_levels <= 0 and effects.shot_noise <= 0:
        return image
    height, width = image.shape[:2]
    field = _noise(round(effects.grain_px * 2.0) / 2.0, 1 if image.ndim == 2 else 3)
    if height > _NOISE_SHAPE[0] or width > _NOISE_SHAPE[1]:
        field = np.tile(field, (-(-height // _NOISE_SHAPE[0]), -(-width // _NOISE_SHAPE[1]), 1)[: field.ndim])
    top = int(rng.integers(field.shape[0] - height + 1))
    left = int(rng.integers(field.shape[1] - width + 1))
    sign = 1.0 if rng.random() < 0.5 else -1.0
    deviation = sign * np.sqrt(effects.read_noise_levels**2 + effects.shot_noise * np.arange(256.0))
    noise = cv2.LUT(image, deviation.astype(np.float32))
    cv2.multiply(noise, field[top : top + height, left : left + width], noise)
    return cv2.add(image, noise, dtype=cv2.CV_8U)


@lru_cache(maxsize=8)
def _noise(grain_px: float, channels: int) -> npt.NDArray[np.float32]:
    """Noise of unit variance: (768, 1024) or (768, 1024, 3) float32."""
    shape = _NOISE_SHAPE if channels == 1 else (*_NOISE_SHAPE, channels)
    field = np.random.default_rng([47, channels]).standard_normal(shape, np.float32)
    if grain_px > 0:
        field = np.asarray(cv2.GaussianBlur(field, (0, 0), grain_px), np.float32)
    return np.asarray(field / field.std(), np.float32)


@lru_cache(maxsize=32)
def _distortion_maps(k1: float, width: int, height: int) -> tuple[Any, Any]:
    """Fixed-point maps of `cv2.remap`."""
    places = undistorted_places(k1, (width, height))
    across, down = np.ascontiguousarray(places[..., 0]), np.ascontiguousarray(places[..., 1])
    return cv2.convertMaps(across, down, cv2.CV_16SC2)


@lru_cache(maxsize=16)
def _falloff(vignetting: float, width: int, height: int, channels: int) -> npt.NDArray[np.float32]:
    """Factors on sRGB levels, 1 in the middle."""
    x, y = np.linspace(-1.0, 1.0, width), np.linspace(-1.0, 1.0, height)
    squared = (x[None, :] ** 2 + y[:, None] ** 2) / 2.0
    factor = ((1.0 - vignetting * squared) ** (1.0 / 2.2)).astype(np.float32)
    return factor if channels == 1 else np.repeat(factor[:, :, None], channels, 2)
