"""Simulated sites: patients whose segments are alike, of very different number and difficulty."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avpenet_cli.stats.pairs import Array, Pairs


@dataclass(frozen=True)
class Site:
    """How patients of a simulated site differ.

    Attributes:
        between_sd: SD of a patient's own error, points; the same in all of the patient's segments.
        within_sd: median over patients of the SD of a segment's error, points.
        spread: SD of the logarithm of a patient's SD of segments.
        most_segments: numbers of segments are log-uniform from 1 to this.
        calm: how much smaller the errors of patients with many segments are, as a power of that number; 0: not at all.
    """

    between_sd: float = 0.8
    within_sd: float = 0.8
    spread: float = 0.4
    most_segments: int = 100
    calm: float = 0.0


SITES = {
    "independent segments": Site(between_sd=0.0, within_sd=1.1, spread=0.0, most_segments=20),
    "one segment per patient": Site(most_segments=1),
    "strong correlation": Site(between_sd=1.5, within_sd=0.4, spread=0.0, most_segments=20),
    "unequal numbers": Site(most_segments=200),
    "heteroscedastic patients": Site(spread=0.9),
    "long recordings are calm": Site(most_segments=200, calm=0.35),
}


def simulate(
    site: Site, n_patients: int, rng: np.random.Generator, *, groups: int = 1
) -> tuple[Pairs, NDArray[np.int64]]:
    """Scores and ratings of whole points of patients, and the group of each patient, (n_patients,).

    Scores are shrunk and bent against the true pain; groups differ in shift and in error.
    """
    counts = np.exp(rng.uniform(0, np.log(site.most_segments), n_patients)).round().astype(np.int64)
    subject = np.repeat(np.arange(n_patients), counts)
    group = np.arange(n_patients) % groups
    truth = np.clip(rng.normal(4.5, 2.0, n_patients)[subject] + rng.normal(0, 1.2, len(subject)), 0, 10)
    calm = counts**-site.calm
    segment_sd = site.within_sd * np.exp(site.spread * rng.normal(size=n_patients)) * calm * (1 + 0.5 * group)
    own = site.between_sd * rng.normal(size=n_patients) * calm + 0.8 * group
    rating = np.clip(np.rint(truth + rng.normal(0, 0.5, len(subject))), 0, 10)
    score = 2.0 + 0.6 * truth + 0.02 * truth**2
    score = np.clip(score + own[subject] + segment_sd[subject] * rng.normal(size=len(subject)), 0, 10)
    return Pairs(score, rating, subject.astype(np.int64), n_patients), group


def segment_quantile(error: Array, coverage: float) -> float:
    """The half width that would hold if segments, not patients, were exchangeable: split conformal prediction."""
    rank = int(np.ceil(coverage * (len(error) + 1)))
    return float(np.sort(error)[rank - 1])
