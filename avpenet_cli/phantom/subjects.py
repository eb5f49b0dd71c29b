"""Draw synthetic subjects: face, voice and pain expression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from avpenet_cli.phantom.head.model import AgeGroup, Look, draw_look
from avpenet_cli.phantom.parameters.trajectory_params import trajectory_params
from avpenet_cli.phantom.parameters.voice_params import Sex
from avpenet_cli.phantom.voice.vocality import Vocality, draw_vocality

AgeGroups = Literal["neonate", "adult", "both"]

# Skin tone group of each of the Monk scale's ten tones.
_TONES = ("light", "light", "light", "medium", "medium", "medium", "medium", "dark", "dark", "dark")


@dataclass(frozen=True)
class Subject:
    """One synthetic patient.

    Attributes:
        name: P0001 and so on.
        age_group, sex: as in `subjects.csv`.
        site: name of the simulated site.
        look: appearance.
        vocality: voice.
        expressiveness: share of the full expression at maximal pain, [0, 1].
        delay_s: delay of the facial expression after the pain.
        smoothing_s: time constant of the facial expression.
        threshold_points: offset of the pain at which expression begins, points; may be negative.
        gains: by action unit, its intensity at maximal pain relative to full expression.
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
        """`light`, `medium` or `dark` skin."""
        return _TONES[self.look.skin_tone - 1]


def draw_subject(number: int, seed: int, age_groups: AgeGroups) -> Subject:
    """Draw subject `number` of `seed`, independently of the number of subjects."""
    params = trajectory_params()
    population = params.population
    rng = np.random.default_rng([seed, number, 0])
    newborn = rng.random() < population.neonate_share
    if age_groups != "both":
        newborn = age_groups == "neonate"
    age_group: AgeGroup = "neonate" if newborn else "adult"
    sex: Sex = "female" if rng.random() < population.female_share else "male"
    site = str(rng.choice(population.sites, p=population.neonate_sites if newborn else population.adult_sites))
    stoic = rng.random() < population.stoic_share
    return Subject(
        name=f"P{number + 1:04d}",
        age_group=age_group,
        sex=sex,
        site=site,
        look=draw_look(age_group, rng),
        vocality=draw_vocality(age_group, sex, rng),
        expressiveness=float(rng.uniform(*(population.stoic_expressiveness if stoic else population.expressiveness))),
        delay_s=float(rng.uniform(*population.delay_s)),
        smoothing_s=float(rng.uniform(*population.smoothing_s)),
        threshold_points=float(rng.normal(0.0, population.asymmetry_points)),
        gains={unit: float(rng.uniform(*response.gain)) for unit, response in params.pain_units.items()},
    )
