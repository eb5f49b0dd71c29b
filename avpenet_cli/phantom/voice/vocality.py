"""Draw the voice of a subject."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avpenet_cli.errors import SettingsError
from avpenet_cli.phantom.parameters.voice_params import AgeGroup, Range, Sex, voice_params


@dataclass(frozen=True)
class Vocality:
    """Voice of a subject, the same in all recordings of the subject.

    Attributes:
        age_group: `neonate` or `adult`.
        sex: `female` or `male`.
        f0_hz: fundamental frequency without pain; for an adult, that of speech.
        tract_length_mm: glottis to lips; formants are inversely proportional.
        vocality: tendency to vocalise pain, 0 (never) to 1.
        breathiness: 0 (clear) to 1.
        jitter: standard deviation of the period from cycle to cycle, share.
        shimmer: standard deviation of the amplitude from cycle to cycle, share.
        vibrato_hz: rate of the tremor.
        vibrato_depth: its depth, share of f0.
        loudness_db: loudness relative to other subjects.
        f0_response: change of f0 with pain relative to other subjects.
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
    """Draw a voice from the ranges of `parameters/voice.toml`; a few subjects never vocalise.

    Raises:
        SettingsError: the age group or sex is not simulated.
    """
    if age_group not in ("neonate", "adult") or sex not in ("female", "male"):
        raise SettingsError(
            f"no simulated voice for age group {age_group!r} and sex {sex!r}",
            "use neonate or adult, and female or male",
        )
    group = voice_params().subjects["neonate" if age_group == "neonate" else f"adult_{sex}"]

    def draw(values: Range) -> float:
        return float(rng.uniform(*values))

    silent = rng.random() < group.silent_share
    vocality = draw(group.vocality)
    return Vocality(
        age_group=age_group,
        sex=sex,
        f0_hz=draw(group.f0_hz),
        tract_length_mm=draw(group.tract_length_mm),
        vocality=0.0 if silent else vocality,
        breathiness=draw(group.breathiness),
        jitter=draw(group.jitter),
        shimmer=draw(group.shimmer),
        vibrato_hz=draw(group.vibrato_hz),
        vibrato_depth=draw(group.vibrato_depth),
        loudness_db=draw(group.loudness_db),
        f0_response=draw(group.f0_response),
        breath_hz=draw(group.breath_hz),
    )
