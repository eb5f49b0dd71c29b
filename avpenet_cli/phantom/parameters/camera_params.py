"""Parameters of the cameras of wards: `parameters/camera.toml` as dataclasses. The file has units and sources."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from avpenet_cli.phantom.parameters.voice_params import Range

_STRICT = ConfigDict(extra="forbid")
Positive = Annotated[float, Field(gt=0.0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Triple = tuple[float, float, float]
LightKind = Literal["visible", "infrared", "low_light", "phototherapy"]
WardCover = Literal["site", "cpap", "tape", "tube"]


@dataclass(frozen=True, config=_STRICT)
class ConditionParams:
    """Shares of recordings under each condition."""

    light: dict[str, dict[LightKind, Share]]
    cover: dict[str, dict[WardCover, Share]]
    unchanged: Share
    on_side: Share
    upside_down: Share
    distorted: Share
    compressed: Share
    soft: Share
    slow_shutter: dict[LightKind, Share]


@dataclass(frozen=True, config=_STRICT)
class PositionParams:
    """Roll of a patient who lies on the side or upside down in the frame."""

    on_side_deg: Range
    upside_down_deg: Range


@dataclass(frozen=True, config=_STRICT)
class LensParams:
    """Distortion, focus and vignetting."""

    k1: Range
    focus_px: Range
    vignetting: Range


@dataclass(frozen=True, config=_STRICT)
class SensorParams:
    """Exposure, noise and shutter, by light."""

    read_levels: dict[LightKind, Range]
    shot: dict[LightKind, Range]
    grain_px: Range
    exposure: dict[LightKind, Range]
    saturation: dict[LightKind, Range]
    white_balance: Share
    shutter_frames: Range
    slow_shutter_frames: Range


@dataclass(frozen=True, config=_STRICT)
class InfraredParams:
    """Skin and hair in infrared light from beside the lens."""

    mix: tuple[Share, Share, Share]
    lift: Share
    smooth_px: Positive
    smooth_share: Share
    vignetting: Range
    bright_pupils_share: Share


@dataclass(frozen=True, config=_STRICT)
class PhototherapyParams:
    """Blue light against jaundice."""

    share: Range
    colour: Triple
    blue_mix: Share


@dataclass(frozen=True, config=_STRICT)
class CompressionParams:
    """Rate of the encoded video."""

    bitrate_kbits: Range


@dataclass(frozen=True, config=_STRICT)
class CameraConditionParams:
    """`parameters/camera.toml`."""

    conditions: ConditionParams
    position: PositionParams
    lens: LensParams
    sensor: SensorParams
    infrared: InfraredParams
    phototherapy: PhototherapyParams
    compression: CompressionParams


@cache
def camera_params() -> CameraConditionParams:
    """Read the parameters of this version."""
    text = resources.files("avpenet_cli.phantom").joinpath("parameters/camera.toml").read_text("utf-8")
    return TypeAdapter(CameraConditionParams).validate_python(tomllib.loads(text))
