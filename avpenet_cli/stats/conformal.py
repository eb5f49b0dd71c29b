"""Intervals for new patients by conformal prediction, with the patient as the unit.

Segments of a patient are alike, so that the errors of a new patient's segments cannot be exchanged with those of
other patients' segments; whole patients can. In hierarchical conformal prediction (Lee, Barber and Willett 2023,
arXiv:2306.06342; for the idea Dunn, Wasserman and Ramdas 2018, arXiv:1809.07441) each of K patients has the same mass
1 / (K + 1), shared by that patient's errors, and the new patient's mass lies at infinity. For a segment of a new
patient who comes from where these came from, the interval covers the rating with at least the stated probability,
whatever the errors' distribution, the numbers of segments and the correlation within patients. It is a statement
about patients on average: of one patient's segments all may be covered, or none. With errors from cross-fitting, in
place of a separate sample, it holds as far as leaving out a tenth of the patients hardly moves the curve (Barber et
al. 2021, Ann Stat 49:486); simulations are in docs/explanation/statistics.md.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from avpenet_cli.stats.pairs import Array


def conformal_half_width(error: Array, subject: NDArray[np.int64], n_subjects: int, coverage: float) -> float:
    """Half the width of the interval around a prediction for a segment of a new patient.

    Args:
        error: (n,) absolute errors of predictions that were made without the segment's patient.
        subject: (n,) 0 to n_subjects - 1; each occurs.
        n_subjects: number of patients.
        coverage: over 0, under 1.

    Returns:
        The smallest of the errors that reaches the coverage; infinity with fewer patients than `fewest_subjects`.
    """
    mass = 1.0 / ((n_subjects + 1) * np.bincount(subject, minlength=n_subjects)[subject])
    order = np.argsort(error, kind="stable")
    reached = np.cumsum(mass[order])
    # Sums of fractions: without a tolerance, 18 patients of 20 could miss 0.9 x 20 by a rounding error.
    place = int(np.searchsorted(reached, coverage - 1e-9))
    return float(error[order[place]]) if place < len(error) else math.inf


def fewest_subjects(coverage: float) -> int:
    """The smallest number of patients whose intervals are finite: K / (K + 1) has to reach the coverage."""
    return math.ceil(coverage / (1.0 - coverage) - 1e-9)


def expected_coverage_at_most(coverage: float, n_subjects: int) -> float:
    """The largest coverage to be expected for new patients, a share, where errors are continuous.

    It is reached where segments of a patient are no more alike than those of different ones; the more alike they are,
    the nearer the coverage is to the one that was asked for.
    """
    return min(1.0, coverage * (1.0 + 1.0 / n_subjects))
