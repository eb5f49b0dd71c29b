"""Draw what a ward's camera does to a recording, and where its lens puts points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

from avpenet_cli.errors import SettingsError
from avpenet_cli.phantom.head.model import AgeGroup
from avpenet_cli.phantom.parameters.camera_params import LightKind, camera_params

CameraChoice = Literal["site", "ward"]
Pupils = Literal["unchanged", "dark", "bright"]
Points = npt.NDArray[np.floating]

Name = TypeVar("Name", bound=str)

_GAMMA = 2.2


@dataclass(frozen=True)
class CameraEffects:
    """What a camera and its light do to the frames of one recording; the defaults do nothing.

    Lengths in pixels are those of a frame of 640x480, or of a crop with a face of about 150 pixels' width.

    Attributes:
        light: visible light of the room, infrared light from beside the lens, low light or blue phototherapy.
        pupils: how pupils look whose places are known; they are bright or dark in infrared light.
        phototherapy_share: of the light, [0, 1].
        exposure: factor on linear light.
        saturation: factor on the difference from grey.
        white_balance: factors on linear red and blue.
        read_noise_levels: standard deviation of the noise of black, in levels of 255.
        shot_noise: variance of the noise for each level of brightness, in levels.
        grain_px: standard deviation of the blur of the noise.
        shutter_frames: exposure time in frame intervals, at least 0; 0 for no motion blur.
        focus_px: standard deviation of the blur of a soft focus; 0 for a sharp lens.
        vignetting: darkening of the frame's corners in linear light, [0, 1).
        distortion_k1: radial distortion in (-0.3, 0.3), negative for a barrel. A point at the distance r from the
            frame's centre, in halves of its diagonal, is moved to r * (1 + k1 * r^2) / (1 + k1): corners stay.
        bitrate_kbits: rate of the encoded video; None for constant quality.
        patient_roll_deg: clockwise roll of the patient in the frame, for one who lies on the side or upside down.
    """

    light: LightKind = "visible"
    pupils: Pupils = "unchanged"
    phototherapy_share: float = 0.0
    exposure: float = 1.0
    saturation: float = 1.0
    white_balance: tuple[float, float] = (1.0, 1.0)
    read_noise_levels: float = 0.0
    shot_noise: float = 0.0
    grain_px: float = 0.0
    shutter_frames: float = 0.0
    focus_px: float = 0.0
    vignetting: float = 0.0
    distortion_k1: float = 0.0
    bitrate_kbits: int | None = None
    patient_roll_deg: float = 0.0

    def __post_init__(self) -> None:
        if not -0.3 < self.distortion_k1 < 0.3:
            raise SettingsError(f"distortion_k1 must be over -0.3 and under 0.3, got {self.distortion_k1:g}")
        if not 0.0 <= self.vignetting < 1.0 or not 0.0 <= self.phototherapy_share <= 1.0:
            raise SettingsError("vignetting and phototherapy_share must be in [0, 1)")

    @property
    def infrared(self) -> bool:
        """Whether frames are monochrome, with three equal channels."""
        return self.light == "infrared"

    @property
    def position(self) -> Literal["upright", "on_side", "upside_down"]:
        """How the patient lies in the frame."""
        turn_deg = abs((self.patient_roll_deg + 180.0) % 360.0 - 180.0)
        return "upright" if turn_deg < 45.0 else "on_side" if turn_deg < 135.0 else "upside_down"

    def mixing_matrix(self) -> npt.NDArray[np.float32]:
        """Matrix from (R, G, B) to (R, G, B), or to grey for infrared light: (3, 3) or (1, 3), on sRGB levels."""
        params = camera_params()
        if self.infrared:
            mix = np.array([params.infrared.mix], np.float64)
            return np.asarray(mix / mix.sum(), np.float32)
        share = self.phototherapy_share
        blue = share * params.phototherapy.blue_mix
        matrix = (1.0 - blue) * np.eye(3) + blue * np.array([0.0, 0.0, 1.0])
        grey = np.full((3, 3), 1.0 / 3.0)
        matrix = (grey + self.saturation * (np.eye(3) - grey)) @ matrix
        lamp = 1.0 - share + share * np.array(params.phototherapy.colour)
        red, blue_gain = self.white_balance
        # A factor on linear light is about a power of it on sRGB levels.
        gain = (lamp * np.array([red, 1.0, blue_gain]) * self.exposure) ** (1.0 / _GAMMA)
        return np.asarray(gain[:, None] * matrix, np.float32)

    def tone_table(self) -> npt.NDArray[np.uint8] | None:
        """Table (256,) of grey levels in infrared light, where hair is lighter; None for other light."""
        if not self.infrared:
            return None
        level = np.arange(256.0)
        light_skin = 170.0
        lifted = level + camera_params().infrared.lift * np.maximum(light_skin - level, 0.0)
        return np.asarray(np.clip(np.round(lifted * self.exposure ** (1.0 / _GAMMA)), 0, 255), np.uint8)


NO_EFFECTS = CameraEffects()


def draw_effects(rng: np.random.Generator, age_group: AgeGroup = "neonate") -> CameraEffects:
    """Draw the camera of a recording in a ward, with the shares of `parameters/camera.toml`; it may do nothing.

    Args:
        rng: source of randomness.
        age_group: of the patient; only newborns have phototherapy.
    """
    params = camera_params()
    shares, lens, sensor = params.conditions, params.lens, params.sensor
    if rng.random() < shares.unchanged:
        return NO_EFFECTS
    light = draw_name(shares.light[age_group], rng)
    infrared = light == "infrared"
    slow = rng.random() < shares.slow_shutter[light]
    bitrate = rng.uniform(*params.compression.bitrate_kbits) if rng.random() < shares.compressed else None
    colour = np.exp(rng.normal(0.0, sensor.white_balance, 2))
    bright = rng.random() < params.infrared.bright_pupils_share
    return CameraEffects(
        light=light,
        pupils=("bright" if bright else "dark") if infrared else "unchanged",
        phototherapy_share=float(rng.uniform(*params.phototherapy.share)) if light == "phototherapy" else 0.0,
        exposure=float(rng.uniform(*sensor.exposure[light])),
        saturation=float(rng.uniform(*sensor.saturation[light])),
        white_balance=(float(colour[0]), float(colour[1])),
        read_noise_levels=float(rng.uniform(*sensor.read_levels[light])),
        shot_noise=float(rng.uniform(*sensor.shot[light])),
        grain_px=float(rng.uniform(*sensor.grain_px)),
        shutter_frames=float(rng.uniform(*(sensor.slow_shutter_frames if slow else sensor.shutter_frames))),
        focus_px=float(rng.uniform(*lens.focus_px)) if rng.random() < shares.soft else 0.0,
        vignetting=round(float(rng.uniform(*(params.infrared.vignetting if infrared else lens.vignetting))), 1),
        distortion_k1=round(float(rng.uniform(*lens.k1)), 2) if rng.random() < shares.distorted else 0.0,
        bitrate_kbits=None if bitrate is None else round(bitrate),
        patient_roll_deg=_draw_roll_deg(rng),
    )


def draw_name(shares: dict[Name, float], rng: np.random.Generator) -> Name:
    """Draw one of the names by its share; the shares add up to 1."""
    names = list(shares)
    return names[int(rng.choice(len(names), p=[shares[name] for name in names]))]


def _draw_roll_deg(rng: np.random.Generator) -> float:
    params = camera_params()
    draw, side = rng.random(), rng.choice([-1.0, 1.0])
    if draw < params.conditions.on_side:
        return float(side * rng.uniform(*params.position.on_side_deg))
    if draw < params.conditions.on_side + params.conditions.upside_down:
        return float(side * rng.uniform(*params.position.upside_down_deg))
    return 0.0


def map_points(points_px: Points, effects: CameraEffects, size_px: tuple[int, int]) -> Points:
    """Where the lens's distortion moves points of a frame.

    Args:
        points_px: (..., 2) x and y in pixels, 0 at the centre of the first pixel.
        effects: of the camera; only `distortion_k1` counts, since the patient's roll is part of the pose.
        size_px: width and height of the frame.

    Returns:
        (..., 2) of the same type.
    """
    k1 = effects.distortion_k1
    centre, radius = _centre_and_radius(size_px)
    offset = (np.asarray(points_px, np.float64) - centre) / radius
    squared = (offset * offset).sum(-1, keepdims=True)
    moved = centre + radius * offset * (1.0 + k1 * squared) / (1.0 + k1)
    return np.asarray(moved, np.asarray(points_px).dtype)


def undistorted_places(k1: float, size_px: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Where each pixel of a distorted frame lies without distortion: (height, width, 2) float32 x and y."""
    centre, radius = _centre_and_radius(size_px)
    grid = np.stack(np.meshgrid(np.arange(size_px[0]), np.arange(size_px[1])), -1)
    offset = (grid - centre) / radius
    target = np.sqrt((offset * offset).sum(-1, keepdims=True)) * (1.0 + k1)
    distance = target.copy()
    # Newton's method for distance * (1 + k1 * distance^2) = target, which increases with the distance for |k1| < 0.3.
    for _ in range(6):
        distance -= (distance * (1.0 + k1 * distance**2) - target) / (1.0 + 3.0 * k1 * distance**2)
    share = np.divide(distance * (1.0 + k1), target, out=np.full_like(target, 1.0 + k1), where=target > 0)
    return np.asarray(centre + radius * offset * share, np.float32)


def _centre_and_radius(size_px: tuple[int, int]) -> tuple[npt.NDArray[np.float64], float]:
    centre = (np.array(size_px, np.float64) - 1.0) / 2.0
    return centre, float(np.hypot(*centre))
