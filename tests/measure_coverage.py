"""How often do 95 % intervals hold the truth? Simulated studies with unequal numbers of segments.

`.venv/bin/python -m tests.measure_coverage 20 2000` prints the table of CHANGELOG for 20 subjects from 2000 studies.
`test_report_coverage.py` holds the same studies to it.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable

import numpy as np
from scipy import stats

from avpenet_cli.report.accuracy import accuracy, error_sums
from avpenet_cli.report.agreement import nonparametric_limits, repeated_limits
from avpenet_cli.report.bootstrap import SubjectBootstrap
from avpenet_cli.report.classes import classes
from avpenet_cli.report.estimate import Interval
from avpenet_cli.report.pairs import Pairs
from avpenet_cli.report.regression import calibration, proportional_bias
from avpenet_cli.report.reliability import icc

BIAS, BETWEEN_SD, WITHIN_SD = 0.3, 0.6, 0.9
HALF = 1.96 * float(np.hypot(BETWEEN_SD, WITHIN_SD))
KNOWN = {"bias": BIAS, "lower limit": BIAS - HALF, "upper limit": BIAS + HALF}
"""What follows from the numbers above; the truth of the rest is that of a study of 20,000 subjects."""

Found = dict[str, tuple[float, Interval]]
Method = Callable[[Pairs, int], Found]


def simulated(n_subjects: int, rng: np.random.Generator) -> Pairs:
    """5 to 60 segments a subject."""
    subject = np.repeat(np.arange(n_subjects), rng.integers(5, 61, n_subjects))
    n = len(subject)
    truth = 5 + rng.normal(0, 1.5, n_subjects)[subject] + rng.normal(0, 1.5, n)
    error = BIAS + rng.normal(0, BETWEEN_SD, n_subjects)[subject] + rng.normal(0, WITHIN_SD, n)
    return Pairs(truth + error, truth, subject, n_subjects)


def closed_form(pairs: Pairs, seed: int) -> Found:
    """Intervals that resample nothing."""
    found = repeated_limits(pairs)
    low, high = nonparametric_limits(pairs)
    named = {"bias": found.bias, "lower limit": found.lower, "upper limit": found.upper}
    named |= {"2.5th percentile": low, "97.5th percentile": high}
    named |= {"slope on the mean": proportional_bias(pairs).slope, "calibration slope": calibration(pairs).slope}
    return {name: (one.value, one.ci) for name, one in named.items()}


def resampled(pairs: Pairs, seed: int, replicates: int = 400) -> Found:
    """Intervals by the studentised subject bootstrap."""
    bootstrap = SubjectBootstrap(pairs.n_subjects, replicates, seed)
    both = icc(np.stack([pairs.model, pairs.reference], axis=1), pairs.subject, bootstrap)
    error = accuracy(pairs, bootstrap)
    agreed = classes(pairs, bootstrap, (3.0, 6.0))
    named = {name: getattr(error, name) for name in ("mae", "rmse", "pearson", "spearman", "ccc", "within_1")}
    named |= {"icc_a1": both.icc_a1, "icc_c1": both.icc_c1, "accuracy": agreed.accuracy}
    named |= {"kappa_quadratic": agreed.kappa_quadratic, "ac2": agreed.ac2, "macro_f1": agreed.macro_f1}
    return {name: (one.value, one.ci) for name, one in named.items()}


def rejected(pairs: Pairs, seed: int, replicates: int = 400) -> Found:
    """What was tried and is not used: percentile intervals of the same resamples."""
    bootstrap = SubjectBootstrap(pairs.n_subjects, replicates, seed)
    sums = error_sums(pairs)
    d = pairs.difference
    order = np.argsort(d)
    mae, low = [], []
    for weights in bootstrap.weights():
        totals = weights @ sums
        mae.append(totals[:, 6] / totals[:, 0])
        if pairs.n_subjects <= 1000:
            drawn = np.cumsum(weights[:, pairs.subject[order]], axis=1)
            low.append(d[order][(drawn < 0.025 * drawn[:, -1:]).sum(axis=1)])
    found: Found = {"mae (percentile)": (float(np.abs(d).mean()), _plain_percentile(np.concatenate(mae)))}
    found["mae (expanded percentile)"] = (
        found["mae (percentile)"][0],
        expanded_percentile(np.concatenate(mae), pairs.n_subjects),
    )
    resamples = np.concatenate(low) if low else np.full(2, np.nan)
    found["2.5th percentile (expanded percentile)"] = (
        float(np.quantile(d, 0.025)),
        expanded_percentile(resamples, pairs.n_subjects),
    )
    return found


def expanded_percentile(resampled: np.ndarray, n_subjects: int) -> Interval:
    """Wider percentiles for few subjects (Hesterberg 2015, The American Statistician 69:371)."""
    t = stats.t.ppf(0.975, n_subjects - 1)
    tail = stats.norm.cdf(-np.sqrt(n_subjects / (n_subjects - 1)) * t)
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return float(low), float(high)


def _plain_percentile(values: np.ndarray) -> Interval:
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def coverage(method: Method, n_subjects: int, studies: int, seed: int) -> dict[str, float]:
    """Share of the studies whose interval holds the truth, by statistic."""
    rng = np.random.default_rng(seed)
    big = simulated(20_000, rng)
    truth = {name: KNOWN.get(name, value) for name, (value, _) in method(big, 0).items()}
    held: Counter[str] = Counter()
    for study in range(studies):
        for name, (_, (low, high)) in method(simulated(n_subjects, rng), study).items():
            held[name] += low <= truth[name] <= high
    return {name: held[name] / studies for name in truth}


if __name__ == "__main__":
    for tried in (closed_form, resampled, rejected):
        for statistic, share in coverage(tried, int(sys.argv[1]), int(sys.argv[2]), seed=1).items():
            print(f"{statistic:40} {share:.3f}")
