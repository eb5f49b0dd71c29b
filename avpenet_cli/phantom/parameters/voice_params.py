"""Parameters of the simulated voices and of the sounds that are not pain, as dataclasses.

`parameters/voice.toml` and `parameters/non_pain_sounds.toml` have units and sources.
"""

from __future__ import annotations

import tomllib
from collections.abc import Container, Iterable
from functools import lru_cache
from importlib import resources
from typing import Annotated, Literal, TypeVar

import numpy as np
from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from avpenet_cli.settings import Count, Positive, Share, from_dict

AgeGroup = Literal["neonate", "adult"]
Sex = Literal["female", "male"]

SAMPLE_RATE_HZ = 48_000
"""Sampling rate of the phantoms' audio; the paper's studio recordings have it."""

PAIN_RATE_HZ = 10
"""Sampling rate of the phantoms' pain trajectories."""

PAIN_MAX = 10.0
"""Upper end of the pain scale (paper, section Data)."""

_STRICT = ConfigDict(extra="forbid")


def _in_order(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] > pair[1]:
        raise ValueError(f"the first of {pair} must not exceed the second")
    return pair


def _known(context: str, names: Iterable[str], known: Container[str]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"{context}: {name} is not defined")


Range = Annotated[tuple[float, float], AfterValidator(_in_order)]
"""Range of a uniform distribution."""

CountRange = Annotated[tuple[int, int], AfterValidator(_in_order)]
"""Range of a uniform distribution of integers, both ends included."""

AtPain = tuple[float, float]
"""Values at pain 0 and at pain 10, interpolated linearly."""

Weights = tuple[float, float, float, float]
"""Relative frequencies at the four pains of `BreathingParams.mix_pain`."""


@dataclass(frozen=True, config=_STRICT)
class SynthesisParams:
    """Synthesis of glottal source and vocal tract, and their variation between utterances."""

    control_hz: Positive
    table_points: Count
    harmonics_below_hz: Positive
    filter_window_s: Positive
    filter_fft_samples: Count
    radiation_hz: Positive
    rough_jitter: Share
    rough_subharmonic: Share
    rough_noise_db: float
    min_f0_share: Share
    breathiness_db: Range
    pulse_noise_share: Share
    f0_drift: Share
    f0_drift_hz: Positive
    utterance_f0_spread: Share
    utterance_level_spread_db: float
    lung_decay_db: float
    vocality_level_db: float
    ceiling_dbfs: Annotated[float, Field(lt=0.0)]


@dataclass(frozen=True, config=_STRICT)
class TractParams:
    """The vocal tract as a cascade of resonances."""

    speed_of_sound_mm_per_s: Positive
    reference_length_mm: Positive
    formants_below_hz: Positive
    bandwidth_min_hz: Positive
    bandwidth_share: Share


@dataclass(frozen=True, config=_STRICT)
class SubjectParams:
    """Distribution of the voices of a group."""

    f0_hz: Range
    tract_length_mm: Range
    silent_share: Share
    vocality: Range
    breathiness: Range
    jitter: Range
    shimmer: Range
    vibrato_hz: Range
    vibrato_depth: Range
    loudness_db: Range
    f0_response: Range
    breath_hz: Range


@dataclass(frozen=True, config=_STRICT)
class BreathingParams:
    """Probability that a breath becomes a vocalisation of pain, and of which kind."""

    threshold_pain: float
    urge_midpoint_pain: float
    urge_width_pain: Positive
    persistence: Share
    onset_window_s: Positive
    onset_rise_pain: Positive
    mix_pain: tuple[float, float, float, float]
    rest_cycle_share: AtPain
    pause_before_s: tuple[Range, Range]
    pause_after_s: tuple[Range, Range]
    breath_in: str
    breath_out: str
    mix: dict[str, Weights]
    onset_mix: dict[str, Weights]
    inspirations: dict[str, Weights]


@dataclass(frozen=True, config=_STRICT)
class Call:
    """A kind of voiced utterance."""

    mouth_open: AtPain
    length_s: tuple[Range, Range]
    level_dbfs: AtPain
    voicing: Share
    noise_db: AtPain
    f0_ratio: AtPain
    f0_range: AtPain
    melodies: dict[str, float]
    tilt_db_per_octave: AtPain
    roughness: AtPain
    rough_chance: AtPain
    break_chance: AtPain
    shift_chance: AtPain
    vowel_paths: tuple[tuple[str, ...], ...]
    attack_s: Positive
    release_s: Positive


@dataclass(frozen=True, config=_STRICT)
class Breath:
    """A kind of unvoiced utterance."""

    mouth_open: AtPain
    length_s: tuple[Range, Range]
    level_dbfs: AtPain
    vowel_paths: tuple[tuple[str, ...], ...]
    attack_s: Positive
    release_s: Positive
    highpass_hz: Annotated[float, Field(ge=0.0)] = 0.0


@dataclass(frozen=True, config=_STRICT)
class EventParams:
    """Events within an utterance: roughness, voice breaks and register shifts."""

    rough_share: Range
    rough_edge_s: Positive
    break_s: Range
    break_floor: Share
    shift_s: Range
    shift_ratio: Range
    shift_edge_s: Positive


@dataclass(frozen=True, config=_STRICT)
class VoiceParams:
    """`parameters/voice.toml`."""

    synthesis: SynthesisParams
    tract: TractParams
    vowels: dict[str, tuple[float, float, float]]
    melodies: dict[str, tuple[float, ...]]
    subjects: dict[str, SubjectParams]
    breathing: dict[AgeGroup, BreathingParams]
    calls: dict[str, Call]
    breaths: dict[str, Breath]
    events: EventParams

    def __post_init__(self) -> None:
        recipes: dict[str, Call | Breath] = {**self.calls, **self.breaths}
        for name, kind in recipes.items():
            _known(f"vowels of {name}", (vowel for path in kind.vowel_paths for vowel in path), self.vowels)
        for name, call in self.calls.items():
            _known(f"melodies of {name}", call.melodies, self.melodies)
        for group, breathing in self.breathing.items():
            kinds = (breathing.breath_in, breathing.breath_out)
            mixed = (*kinds, *breathing.mix, *breathing.onset_mix, *breathing.inspirations)
            _known(f"utterances of a {group}", mixed, recipes)


@dataclass(frozen=True, config=_STRICT)
class TalkParams:
    """Phrases of meaningless syllables."""

    phrase_s: Range
    syllable_s: Range
    closure_share: Share
    fricative_chance: Share
    fricative_db: float
    level_dbfs: Range
    f0_accent: Share
    f0_declination: Share
    noise_db: float
    tilt_db_per_octave: float
    vowels: tuple[str, ...]
    closed: str
    closure_floor: Share
    mouth_open: Share
    edge_s: Positive


@dataclass(frozen=True, config=_STRICT)
class RowParams:
    """A sound repeated several times."""

    times: CountRange
    interval_s: Range
    step_db: float = 0.0
    """Level change from one repetition to the next."""


@dataclass(frozen=True, config=_STRICT)
class NonPainSoundParams:
    """`parameters/non_pain_sounds.toml`."""

    rates_per_minute: dict[AgeGroup, dict[str, float]]
    talk: TalkParams
    rows: dict[str, RowParams]
    cough_voice_delay_share: Share
    calls: dict[str, Call]
    breaths: dict[str, Breath]


ParamsT = TypeVar("ParamsT")


def at_pain(values: AtPain, pain: float | np.ndarray) -> np.ndarray:
    """Interpolate `values` at pain 0 and 10 linearly. Pain of any shape in [0, 10] -> float64 of that shape."""
    return values[0] + (values[1] - values[0]) * np.asarray(pain, np.float64) / PAIN_MAX


@lru_cache(maxsize=1)
def voice_params() -> VoiceParams:
    """Read the parameters of the voices.

    Raises:
        SettingsError: a parameter is missing, unknown or out of range; the message names it.
    """
    return read_params(VoiceParams, "voice.toml")


@lru_cache(maxsize=1)
def non_pain_sound_params() -> NonPainSoundParams:
    """Read the parameters of sounds that are not pain.

    Raises:
        SettingsError: as `voice_params`.
    """
    return read_params(NonPainSoundParams, "non_pain_sounds.toml")


def read_params(kind: type[ParamsT], file_name: str) -> ParamsT:
    """Read a file of `avpenet_cli/phantom/parameters` as its dataclass.

    Raises:
        SettingsError: a parameter is missing, unknown or out of range; the message names it.
    """
    text = (resources.files("avpenet_cli.phantom") / "parameters" / file_name).read_text(encoding="utf-8")
    return from_dict(kind, tomllib.loads(text), f"avpenet_cli/phantom/parameters/{file_name}")
