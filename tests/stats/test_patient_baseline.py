"""Changes against a patient's quiet minutes: their standard errors, and what is refused.

`python -m tests.stats.test_patient_baseline` prints the coverage of the intervals that the documentation states.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import t as student_t

from avpenet_cli.stats.patient_baseline import (
    Floats,
    Fluctuations,
    PatientScores,
    changes,
    covered_s,
    fit_fluctuations,
    in_quiet_stretches,
)

_RISE = 4.0
_LOUD_S = 60.0


@dataclass(frozen=True)
class Design:
    """Simulated patients: a level of their own, quiet minutes, then a minute with 4 points more.

    Attributes:
        stride_s: from one segment of 3 s to the next, s.
        quiet_s: length of the quiet minutes in each recording, s.
        recordings: of each patient.
        between: variance from one recording to another, points^2.
        without_quiet: one more recording has no quiet minutes; only its segments are looked at.
        noise, slow: SD of the input's noise and of fluctuations with `decay_s`, points; of a patient 0.6 to 1.5 times.
    """

    stride_s: float
    quiet_s: float
    recordings: int = 1
    between: float = 0.0
    noise: float = 0.85
    slow: float = 0.35
    decay_s: float = 8.0
    without_quiet: bool = False


def simulated(design: Design, rng: np.random.Generator) -> tuple[PatientScores, Floats]:
    """A patient, and the true change of each segment, points."""
    scale, level = rng.uniform(0.6, 1.5), rng.normal(4.0, 0.55)
    n = int((design.quiet_s + _LOUD_S - 3.0) / design.stride_s + 1e-9) + 1
    start_s = np.arange(n) * design.stride_s
    first = np.rint(start_s * 10).astype(np.int64)
    kept = np.exp(-design.stride_s / design.decay_s)
    parts = []
    recordings = design.recordings + design.without_quiet
    for _ in range(recordings):
        sums = np.concatenate([[0.0], np.cumsum(rng.normal(0.0, np.sqrt(30.0), first[-1] + 30))])
        white = (sums[first + 30] - sums[first]) / 30
        slow = rng.normal(size=n)
        for place in range(1, n):
            slow[place] = kept * slow[place - 1] + np.sqrt(1 - kept**2) * slow[place]
        error = scale * (design.noise * white + design.slow * slow)
        parts.append(level + error + rng.normal(0.0, np.sqrt(design.between)))
    recording = np.repeat(np.arange(recordings), n)
    quiet = np.tile(start_s + 3.0 <= design.quiet_s, recordings) & (recording < design.recordings)
    true_change = np.where(quiet, 0.0, _RISE)
    starts = np.tile(start_s, recordings)
    return PatientScores(recording, starts, starts + 3.0, np.concatenate(parts) + true_change, quiet), true_change


def outcomes(design: Design, patients: int, tables: int) -> Iterator[tuple[Floats, Floats]]:
    """(errors of the changes outside the quiet minutes, their standard errors) of each patient with a baseline."""
    rng = np.random.default_rng(1)
    for _ in range(tables):
        table = [simulated(design, rng) for _ in range(patients)]
        fluctuations = fit_fluctuations([patient for patient, _ in table])
        assert fluctuations is not None
        for patient, true_change in table:
            result = changes(patient, fluctuations)
            looked_at = patient.recording >= design.recordings if design.without_quiet else ~patient.quiet
            yield (result.change - true_change)[looked_at], result.se[looked_at]


def coverage(design: Design, patients: int, tables: int) -> float:
    """Share of the true changes within 1.96 standard errors, each patient with equal weight."""
    return float(np.mean([np.mean(np.abs(e) <= 1.96 * se) for e, se in outcomes(design, patients, tables)]))


@pytest.mark.parametrize(
    ("design", "patients"),
    [
        (Design(3.0, 30.0), 1),
        (Design(1.0, 30.0), 4),
        (Design(3.0, 120.0), 12),
        (Design(1.0, 90.0, slow=0.9, noise=0.5, decay_s=15.0), 4),
        (Design(3.0, 45.0, recordings=2, between=0.25), 12),
    ],
)
def test_intervals_cover_the_true_change(design: Design, patients: int) -> None:
    assert 0.93 <= coverage(design, patients, 36 // patients) <= 0.985


def test_intervals_from_few_recordings_cover_the_change_in_another() -> None:
    """Five quiet recordings beyond the first say little about their variance: taken as known, 0.90 are covered."""
    design = Design(3.0, 30.0, recordings=2, between=9.0, without_quiet=True)
    assert 0.935 <= coverage(design, 5, 120) <= 0.985


def test_overlap_gives_no_more_certainty_than_there_is() -> None:
    apart, overlapping = (
        np.median([np.median(se) for _, se in outcomes(Design(stride_s, 60.0), 12, 3)]) for stride_s in (3.0, 1.0)
    )
    assert overlapping == pytest.approx(apart, rel=0.1)


def test_independent_scores_have_the_textbooks_standard_error() -> None:
    rng = np.random.default_rng(2)
    n, loud = 4000, 50
    start_s = np.arange(0.0, 3.0 * (n + loud), 3.0)
    patient = PatientScores(
        np.zeros(n + loud, np.int64), start_s, start_s + 3.0, rng.normal(3.0, 0.8, n + loud), start_s < n * 3.0
    )
    fluctuations = fit_fluctuations([patient])
    assert fluctuations is not None
    result = changes(patient, fluctuations)
    assert result.baseline == patient.score[:n].mean()
    assert result.se[-1] == pytest.approx(0.8 * np.sqrt(1 + 1 / n), rel=0.05)


def test_standard_error_is_that_of_the_contrast() -> None:
    start_s = np.array([0.0, 1.0, 2.0, 5.0, 9.0, 12.0, 15.0, 18.0, 21.0, 24.0, 27.0, 30.0, 33.0])
    recording = np.zeros(len(start_s), np.int64)
    recording[-3:] = 1
    quiet = np.ones(len(start_s), np.bool_)
    quiet[[5, -1]] = False
    patient = PatientScores(recording, start_s, start_s + 3.0, np.linspace(1.0, 4.0, len(start_s)), quiet)
    fitted = Fluctuations(0.5, (0.2, 0.0, 0.3, 0.0, 0.0), (3.0, 6.0, 12.0, 24.0, 48.0), 3.0, 0.4, 0.06, 1e9)
    lag_s = np.abs(start_s[:, None] - start_s)
    same = (recording[:, None] == recording).astype(np.float64)
    weights = np.eye(len(start_s)) - quiet / quiet.sum()
    covariance = same * fitted.covariance(lag_s)

    def contrast(covariance: Floats) -> Floats:
        return np.diag(weights @ covariance @ weights.T)

    squares = expected = df = 0.0
    for number in (0, 1):
        rows = quiet & (recording == number)
        of_mean = covariance[np.ix_(rows, rows)].mean()
        squares += ((patient.score[rows] - patient.score[rows].mean()) ** 2).sum()
        expected += rows.sum() * (fitted.variance - of_mean)
        df += fitted.variance / of_mean - 1
    # How much the patient fluctuates is drawn to all patients as by ten independent segments.
    within = contrast(covariance) * (10 + df * squares / expected) / (10 + df)
    added = contrast(same)
    of_sum = (within + 0.4 * added) ** 2 / (within**2 / (10 + df) + added**2 * 0.06 / 2)
    se = np.sqrt(within + 0.4 * added) * student_t.ppf(0.975, of_sum) / 1.959964
    assert changes(patient, fitted).se == pytest.approx(se, rel=1e-6)


def test_change_from_one_recording_to_another_needs_their_variance() -> None:
    rng = np.random.default_rng(3)
    patients = [simulated(Design(3.0, 60.0, recordings=2, between=1.0), rng)[0] for _ in range(4)]
    fluctuations = fit_fluctuations(patients)
    assert fluctuations is not None and fluctuations.between_recordings is None
    assert np.isnan(changes(patients[0], fluctuations).se).all()
    one = patients[0]
    first_only = PatientScores(one.recording, one.start_s, one.end_s, one.score, one.quiet & (one.recording == 0))
    se = changes(first_only, fluctuations).se
    assert np.isfinite(se[one.recording == 0]).all() and np.isnan(se[one.recording == 1]).all()


def test_quiet_minutes_are_unbroken_and_long_enough() -> None:
    start_s = np.array([0.0, 3.0, 6.0, 9.0, 12.0, 15.0, 18.0, 24.0, 27.0, 30.0, 33.0, 36.0, 0.0, 3.0])
    recording = np.array([0] * 12 + [1] * 2)
    candidate = np.ones(len(start_s), np.bool_)
    candidate[5] = False
    quiet = in_quiet_stretches(recording, start_s, start_s + 3.0, candidate)
    assert quiet.tolist() == [True] * 5 + [False] * 2 + [True] * 5 + [False] * 2
    assert covered_s(recording[quiet], start_s[quiet], start_s[quiet] + 3.0) == 30.0
    overlapping = np.arange(0.0, 13.0)
    everything, same = np.ones(13, np.bool_), np.zeros(13, np.int64)
    assert in_quiet_stretches(same, overlapping, overlapping + 3.0, everything).all()
    assert not in_quiet_stretches(same[:12], overlapping[:12], overlapping[:12] + 3.0, everything[:12]).any()
    assert covered_s(same, overlapping, overlapping + 3.0) == 15.0


def test_scores_that_never_change_have_a_change_of_nothing() -> None:
    start_s = np.arange(0.0, 36.0, 3.0)
    patient = PatientScores(np.zeros(12, np.int64), start_s, start_s + 3.0, np.full(12, 5.0), np.ones(12, np.bool_))
    fluctuations = fit_fluctuations([patient])
    assert fluctuations is not None
    result = changes(patient, fluctuations)
    assert (result.change == 0).all() and (result.se > 0).all() and (result.se < 0.01).all()
    assert fit_fluctuations([]) is None


if __name__ == "__main__":
    for design in (
        Design(3.0, 30.0),
        Design(1.0, 30.0),
        Design(3.0, 120.0),
        Design(1.0, 120.0),
        Design(1.0, 300.0, slow=0.9, noise=0.5, decay_s=30.0),
        Design(3.0, 60.0, recordings=2, between=0.25),
        Design(3.0, 60.0, recordings=2, between=9.0, without_quiet=True),
    ):
        for patients in (1, 3, 12) if design.recordings == 1 else (5, 11, 24):
            tables = 240 // patients if design.recordings == 1 else 120
            print(design, patients, f"{coverage(design, patients, tables):.3f}")
