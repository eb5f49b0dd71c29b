"""Parameters of pain trajectories, subjects, behaviour and cameras: `parameters/trajectory.toml` as dataclasses."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import Annotated

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from avpenet_cli.phantom.parameters.voice_params import Range

_STRICT = ConfigDict(extra="forbid")
Positive = Annotated[float, Field(gt=0.0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
PerGroup = dict[str, float]


@dataclass(frozen=True, config=_STRICT)
class TrajectoryParams:
    """Pain over a recording."""

    pain_free_share: Share
    sustained_share: Share
    baseline_pain: Range
    sustained_pain: Range
    peak_pain: Range
    plateau_share: Range
    rise_s: Range
    settle_s: Range
    decline_s: Range
    procedure_at: Range
    analgesic_at: Range
    analgesic_chance: Share
    repositioning_at: Range
    repositioning_chance: Share
    repositioning_pain: Range
    repositioning_s: Range
    drift_points: float
    drift_s: Positive


@dataclass(frozen=True, config=_STRICT)
class PopulationParams:
    """Distribution of the subjects."""

    neonate_share: Share
    female_share: Share
    sites: tuple[str, ...]
    neonate_sites: tuple[Share, ...]
    adult_sites: tuple[Share, ...]
    expressiveness: Range
    stoic_share: Share
    stoic_expressiveness: Range
    delay_s: Range
    smoothing_s: Range
    asymmetry_points: float
    cover: dict[str, Share]
    hand_per_minute: float
    hand_s: Range
    second_person_share: Share
    second_person_s: Range
    second_person_size: Range


@dataclass(frozen=True, config=_STRICT)
class PainUnit:
    """Response of one action unit to pain; `from_pain` is `from` in the file."""

    from_pain: Annotated[float, Field(alias="from")]
    gain: Range
    curve: Positive


@dataclass(frozen=True, config=_STRICT)
class RandomDriftParams:
    """Random drift about 0: standard deviation and correlation time."""

    spread: float
    time_s: Positive


@dataclass(frozen=True, config=_STRICT)
class BehaviourParams:
    """Facial behaviour that is not pain."""

    blink_per_minute: PerGroup
    blink_s: Range
    smile_per_minute: PerGroup
    smile_s: Range
    surprise_per_minute: PerGroup
    surprise_s: Range
    yawn_per_minute: PerGroup
    yawn_s: Range
    grimace_per_minute: PerGroup
    grimace_s: Range
    sleepy_share: PerGroup
    syllable_hz: Positive
    talk_open: Share


@dataclass(frozen=True, config=_STRICT)
class HeadMotionParams:
    """Head motion: standard deviation and correlation time of each angle, and turns."""

    yaw_deg: tuple[float, float]
    pitch_deg: tuple[float, float]
    roll_deg: tuple[float, float]
    sway_share: tuple[float, float]
    pain_factor: Positive
    turn_per_minute: float
    turn_deg: Range
    turn_s: Range
    lying_roll_deg: PerGroup
    max_deg: tuple[float, float, float]


@dataclass(frozen=True, config=_STRICT)
class CameraParams:
    """Camera and light of a site."""

    size_px: tuple[int, int]
    fps: Positive
    face_share: Range
    noise_levels: Range
    contrast: Range
    intensity: Range
    warmth: Range


@dataclass(frozen=True, config=_STRICT)
class SimulationParams:
    """`parameters/trajectory.toml`."""

    trajectory: TrajectoryParams
    population: PopulationParams
    pain_units: dict[str, PainUnit]
    unit_noise: RandomDriftParams
    behaviour: BehaviourParams
    head: HeadMotionParams
    cameras: dict[str, CameraParams]


@cache
def trajectory_params() -> SimulationParams:
    """Read the parameters of this version."""
    text = resources.files("avpenet_cli.phantom").joinpath("parameters/trajectory.toml").read_text(encoding="utf-8")
    return TypeAdapter(SimulationParams).validate_python(tomllib.loads(text))
