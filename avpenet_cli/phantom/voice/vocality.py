"""Whose voice it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avpenet_cli.errors import SettingsError
from avpenet_cli.phantom.parameters.voice_params import AgeGroup, Range, Sex, voice_params


@dataclass(frozen=True)
class Vocality:
    """A subject's voice, the same in all recordings of the subject.

    Attributes:
        age_group: "neonate" or "adult".
        sex: "female" or "male".
        f0_hz: fundamental at no pain; of an adult, the fundamental of speech.
        tract_length_mm: glottis to lips; formants go with its inverse.
        vocality: how readily pain becomes voice, 0 (never) to 1.
        breathiness: 0 (clear) to 1.
        jitter: standard deviation of the period from cycle to cycle, share.
        shimmer: standard deviation of the amplitude from cycle to cycle, share.
        vibrato_hz: rate of the tremor.
        vibrato_depth: its depth, share of f0.
        loudness_db: louder (> 0) or softer than others.
        f0_response: change of f0 with pain re others.
        breath_hz: breaths per second at rest.
    """

    age_group: AgeGroup
    sex: Sex
    f0_hz: float
    tract_length_mm: float
    vocality: float
    breathiness: float
    jitter: float
    shimmer: float
    vibrato_hz: float
    vibrato_depth: float
    loudness_db: float
    f0_response: float
    breath_hz: float


def draw_vocality(age_group: AgeGroup, sex: Sex, rng: np.random.Generator) -> Vocality:
    """A subject from the ranges of `parameters/voice.toml`, which has the sources; a few never give voice.

    Raises:
        SettingsError: an age group or a sex that is not simulated.
    """
    if age_group not in ("neonate", "adult") or sex not in ("female", "male"):
        raise SettingsError(
            f"no simulated voice for age group {age_group!r} and sex {sex!r}",
            "the groups are neonate and adult, the sexes female and male",
        )
    group = voice_params().subjects["neonate" if age_group == "neonate" else f"adult_{sex}"]

    def drawn(values: Range) -> float:
        return float(rng.uniform(*values))

    silent = rng.random() < group.silent_share
    vocality = drawn(group.vocality)
    return Vocality(
        age_group=age_group,
        sex=sex,
        f0_hz=drawn(group.f0_hz),
        tract_length_mm=drawn(group.tract_length_mm),
        vocality=0.0 if silent else vocality,
        breathiness=drawn(group.breathiness),
        jitter=drawn(group.jitter),
        shimmer=drawn(group.shimmer),
        vibrato_hz=drawn(group.vibrato_hz),
        vibrato_depth=drawn(group.vibrato_depth),
        loudness_db=drawn(group.loudness_db),
        f0_response=drawn(group.f0_response),
        breath_hz=drawn(group.breath_hz),
    )
