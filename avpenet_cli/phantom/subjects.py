"""Who is recorded: subjects with a face, a voice, and a way of showing pain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from avpenet_cli.phantom.head.model import AgeGroup, Look, draw_look
from avpenet_cli.phantom.parameters.trajectory_params import trajectory_params
from avpenet_cli.phantom.parameters.voice_params import Sex
from avpenet_cli.phantom.voice.vocality import Vocality, draw_vocality

AgeGroups = Literal["neonate", "adult", "both"]

# Groups of the Monk scale's ten tones, for strata.
_TONES = ("light", "light", "light", "medium", "medium", "medium", "medium", "dark", "dark", "dark")


@dataclass(frozen=True)
class Subject:
    """One synthetic patient.

    Attributes:
        site: one of the three.
        expressiveness: share of full expression that full pain brings, 0 to 1.
        delay_s: from pain to face.
        smoothing_s: time constant of the face.
        threshold_points: by how much more pain than others it takes to show; may be negative.
        gains: by action unit, its intensity at full pain re full expression.
    """

    name: str
    age_group: AgeGroup
    sex: Sex
    site: str
    look: Look
    vocality: Vocality
    expressiveness: float
    delay_s: float
    smoothing_s: float
    threshold_points: float
    gains: dict[str, float]

    @property
    def tone_group(self) -> str:
        """Light, medium or dark skin."""
        return _TONES[self.look.skin_tone - 1]


def draw_subject(number: int, seed: int, age_groups: AgeGroups) -> Subject:
    """Subject `number` of the cast of `seed`; the same whatever the size of the cast."""
    numbers = trajectory_params()
    cast = numbers.cast
    rng = np.random.default_rng([seed, number, 0])
    newborn = rng.random() < cast.neonate_share
    if age_groups != "both":
        newborn = age_groups == "neonate"
    age_group: AgeGroup = "neonate" if newborn else "adult"
    sex: Sex = "female" if rng.random() < cast.female_share else "male"
    site = str(rng.choice(cast.sites, p=cast.neonate_sites if newborn else cast.adult_sites))
    stoic = rng.random() < cast.stoic_share
    return Subject(
        name=f"P{number + 1:04d}",
        age_group=age_group,
        sex=sex,
        site=site,
        look=draw_look(age_group, rng),
        vocality=draw_vocality(age_group, sex, rng),
        expressiveness=float(rng.uniform(*(cast.stoic_expressiveness if stoic else cast.expressiveness))),
        delay_s=float(rng.uniform(*cast.delay_s)),
        smoothing_s=float(rng.uniform(*cast.smoothing_s)),
        threshold_points=float(rng.normal(0.0, cast.asymmetry_points)),
        gains={unit: float(rng.uniform(*one.gain)) for unit, one in numbers.pain_units.items()},
    )
