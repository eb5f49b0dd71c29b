"""Drawing a stratified sample that spreads over patients, with the probability of every segment to be drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ALLOCATION = (
    "equal numbers from every stratum, as far as it has segments; within a stratum equal numbers from every patient, "
    "as far as the patient has segments; segments of a patient at random"
)

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Draw:
    """A sample.

    Attributes:
        rows: (n,) sampled segments, rising.
        probability: (n,) with which each was drawn, given how many were drawn from its stratum.
        sampled: (strata,) segments drawn from each stratum.
    """

    rows: Counts
    probability: NDArray[np.float64]
    sampled: Counts


def fill(capacity: Counts, total: int, rng: np.random.Generator) -> tuple[Counts, NDArray[np.float64]]:
    """Deal `total` as evenly as the capacities allow; what is left of the last round goes to members by chance.

    Args:
        capacity: (m,) the most that each member can take, summing to `total` or more.

    Returns:
        (m,) numbers; (m,) their expectation over the chance of the last round.
    """
    counts = np.zeros(len(capacity), dtype=np.int64)
    left = total
    while left:
        open_ = np.flatnonzero(counts < capacity)
        step = min(left // open_.size, int((capacity - counts)[open_].min()))
        if not step:
            expected = counts.astype(np.float64)
            expected[open_] += left / open_.size
            counts[rng.permutation(open_)[:left]] += 1
            return counts, expected
        counts[open_] += step
        left -= step * open_.size
    return counts, counts.astype(np.float64)


def draw(stratum: Counts, subject: Counts, n_strata: int, n: int, rng: np.random.Generator) -> Draw:
    """Draw `n` segments.

    Args:
        stratum: (segments,) stratum of each segment, 0 to `n_strata` - 1.
        subject: (segments,) code of the patient of each.
        n_strata: some may be empty.
        n: at most the number of segments.
        rng: of every random choice.
    """
    sampled, _ = fill(np.bincount(stratum, minlength=n_strata), n, rng)
    drawn: list[Counts] = []
    probabilities: list[NDArray[np.float64]] = []
    for place in range(n_strata):
        members = np.flatnonzero(stratum == place)
        _, patient = np.unique(subject[members], return_inverse=True)
        available = np.bincount(patient)
        counts, expected = fill(available, int(sampled[place]), rng)
        for code in np.flatnonzero(counts):
            chosen = rng.choice(members[patient == code], int(counts[code]), replace=False)
            drawn.append(chosen)
            probabilities.append(np.full(len(chosen), expected[code] / available[code]))
    rows, probability = np.concatenate(drawn), np.concatenate(probabilities)
    order = np.argsort(rows)
    return Draw(rows[order], probability[order], sampled)


def deal(stratum: Counts, n_raters: int, overlap: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which rater rates which segment: a share by all raters, the rest dealt out, both spread over the strata.

    Args:
        stratum: (n,) of the sampled segments.
        n_raters: at least 1.
        overlap: share of the segments for all raters, 0 to 1.

    Returns:
        (n, n_raters) bool, at least one rater for each segment.
    """
    n = len(stratum)
    # By chance within a stratum, so that neighbours in time may meet different raters.
    order = np.lexsort((rng.random(n), stratum))
    n_common = n if n_raters == 1 else round(overlap * n)
    common = np.zeros(n, dtype=bool)
    if n_common:
        common[((np.arange(n_common) + rng.random()) * n / n_common).astype(np.int64)] = True
    given = np.zeros((n, n_raters), dtype=bool)
    given[order[common]] = True
    rest = order[~common]
    given[rest, (np.arange(rest.size) + rng.integers(n_raters)) % n_raters] = True
    return given
