"""Measure what docs/explanation say of samples for raters: `python -m tests.ratings.measure_sampling`.

Weighted estimates of a sample stratified by score, against the bias of the archive that it was drawn from and that of
all patients; and how often the drift of raters is reported where there is none.
"""

from __future__ import annotations

import numpy as np

from avpenet_cli.ratings.drift import drifts
from avpenet_cli.ratings.sampling_draw import draw
from avpenet_cli.report.sample import weighted_errors
from avpenet_cli.stats.bootstrap import Resampling
from avpenet_cli.stats.classes import class_of
from avpenet_cli.stats.pairs import Pairs
from tests.ratings.test_agreement import drifting

_ARCHIVES = 300
_TABLES = 400


def measure_weights(patients: int, n: int) -> str:
    """Bias and coverage of the weighted bias, over archives of 40 segments of each patient, most of them low."""
    intervals, truths, weighted, plain = [], [], [], []
    for seed in range(_ARCHIVES):
        rng = np.random.default_rng(seed)
        subject = np.repeat(np.arange(patients), 40)
        score = np.clip(rng.gamma(1.2, 2.0, subject.size) + rng.normal(0, 1, patients)[subject], 0, 10)
        # Scores of much pain are too low.
        reference = np.clip(score * 1.2 + rng.normal(0, 0.6, patients)[subject] + rng.normal(0, 1, subject.size), 0, 10)
        truth = float(np.mean(score - reference))
        drawn = draw(class_of(score, (3.0, 6.0)), subject, 3, n, rng)
        pairs = Pairs.of(score[drawn.rows], reference[drawn.rows], subject[drawn.rows])
        bias, _ = weighted_errors(pairs, 1 / drawn.probability, Resampling(500))
        intervals.append(bias.ci)
        truths.append(truth)
        weighted.append(bias.value - truth)
        plain.append(float(pairs.difference.mean()) - truth)
    low, high = np.array(intervals).T
    shares = [100 * float(np.mean((low <= value) & (value <= high))) for value in (np.array(truths), np.mean(truths))]
    return (
        f"{patients} patients, {n} of {patients * 40} segments: bias of the sample less that of the archive "
        f"{np.mean(plain):+.2f}, weighted {np.mean(weighted):+.3f} points; of {_ARCHIVES} intervals {shares[0]:.0f} % "
        f"hold the archive's bias, {shares[1]:.0f} % that of all patients"
    )


def measure_drift() -> str:
    """False alarms and power of the drift of three raters, 60 segments of 20 patients."""
    alarms = np.mean([min(row.p_holm for row in drifts(drifting(0.0, seed))) < 0.05 for seed in range(_TABLES)])
    found = np.mean([drifts(drifting(2.0, seed))[0].p_holm < 0.05 for seed in range(_TABLES, 2 * _TABLES)])
    return (
        f"drift: reported in {100 * alarms:.1f} % of {_TABLES} tables without any, in {100 * found:.0f} % with 2 points"
    )


if __name__ == "__main__":
    print(measure_weights(20, 120))
    print(measure_weights(60, 200))
    print(measure_drift())
