"""Patients in periods, and their ranks among the patients of a baseline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.special import ndtri

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

ALL = -1
"""In place of a level: the chart of all patients."""
FEWEST_PATIENTS = 20
"""Baseline patients that a chart needs at least."""


@dataclass(frozen=True, eq=False)
class Patients:
    """Patients in periods: a row is the mean of one patient in one period, at one level of a column such as the site.

    Attributes:
        values: (n, measures) float64, NaN where there is none.
        patient: (n,) codes.
        level: (n,) codes from 0.
        period: (n,) codes from 0.
    """

    values: Floats
    patient: Integers
    level: Integers
    period: Integers


@dataclass(frozen=True, eq=False)
class Column:
    """Charts of the levels of one column, and of all patients.

    Attributes:
        baseline: the patients that define what is usual.
        new: those who are compared with them.
        measures: for each level to chart, and for `ALL`, the measures to chart; the baseline has patients with each.
    """

    baseline: Patients
    new: Patients
    measures: dict[int, tuple[int, ...]]


def rows_at(patients: Patients, level: int) -> Mask:
    """(n,) which rows are at a level; all of them for `ALL`."""
    return np.ones(len(patients.level), dtype=np.bool_) if level == ALL else patients.level == level


def n_patients(patients: Patients, level: int, measure: int) -> int:
    """Patients at a level, or at all of them, who have a value of a measure."""
    return len(np.unique(patients.patient[rows_at(patients, level) & np.isfinite(patients.values[:, measure])]))


def is_known(baseline: Patients, level: int) -> bool:
    """Whether a level has enough baseline patients to be compared with itself; others are compared with all."""
    return level == ALL or len(np.unique(baseline.patient[baseline.level == level])) >= FEWEST_PATIENTS


def reference_rows(baseline: Patients, level: int) -> Mask:
    """(n,) the rows of the baseline that a level is compared with: its own if there are enough, otherwise all."""
    return rows_at(baseline, level if is_known(baseline, level) else ALL)


def scores_against(baseline: Patients, new: Patients, level: int, measure: int) -> Floats:
    """(n,) normal scores of the new patients at a level within its baseline; NaN elsewhere and without a value."""
    values = baseline.values[reference_rows(baseline, level), measure]
    ordered = np.sort(values[np.isfinite(values)])
    chosen = np.where(rows_at(new, level), new.values[:, measure], np.nan)
    below, not_above = (np.searchsorted(ordered, chosen, side) for side in ("left", "right"))
    scores = normal_scores((below + not_above) / 2.0, ordered.size)
    return np.where(np.isfinite(chosen), scores, np.nan)


def periods_differ(patients: Patients, measure: int) -> float:
    """p of the hypothesis that a measure is alike in all periods (Kruskal and Wallis 1952, J Am Stat Assoc 47:583).

    It rests on patients who are in one period only; NaN with fewer than two periods of two of them, or without spread.
    """
    known = np.isfinite(patients.values[:, measure])
    _, place, count = np.unique(patients.patient[known], return_inverse=True, return_counts=True)
    values, period = (item[known][count[place] == 1] for item in (patients.values[:, measure], patients.period))
    groups = [values[period == code] for code in np.unique(period)]
    groups = [group for group in groups if group.size > 1]
    if len(groups) < 2 or np.ptp(np.concatenate(groups)) == 0:
        return float("nan")
    return float(stats.kruskal(*groups).pvalue)


def normal_scores(rank: Floats, n: Floats | int) -> Floats:
    """Normal scores of ranks.

    Args:
        rank: how many of the baseline are lower, plus half of those that are equal.
        n: size of the baseline.
    """
    scores: Floats = ndtri((rank + 0.5) / (n + 1.0))
    return scores
