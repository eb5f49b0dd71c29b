"""How often do 95 % intervals cover the true value? Simulated studies with unequal numbers of segments.

`.venv/bin/python -m tests.stats.measure_coverage 20 2000` prints the table for 20 subjects from 2000 studies.
`test_coverage.py` checks the same studies.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable

import numpy as np
from scipy import stats

from avpenet_cli.stats.accuracy import accuracy, error_sums
from avpenet_cli.stats.agreement import percentile_limits, repeated_limits
from avpenet_cli.stats.bootstrap import SubjectBootstrap, percentile_interval
from avpenet_cli.stats.calibration import calibration_line
from avpenet_cli.stats.classes import classes
from avpenet_cli.stats.detection import Events, auroc_value, detections, recalibrated_probabilities
from avpenet_cli.stats.estimate import NO_INTERVAL, Interval
from avpenet_cli.stats.pairs import Pairs
from avpenet_cli.stats.regression import proportional_bias
from avpenet_cli.stats.reliability import icc
from avpenet_cli.stats.risk_coverage import risk_coverage

BIAS, BETWEEN_SD, WITHIN_SD = 0.3, 0.6, 0.9
HALF = 1.96 * float(np.hypot(BETWEEN_SD, WITHIN_SD))
KNOWN = {"bias": BIAS, "lower limit": BIAS - HALF, "upper limit": BIAS + HALF}
"""True values that follow from the constants above; those of the other statistics come from 20,000 subjects."""

Found = dict[str, tuple[float, Interval]]
Method = Callable[[Pairs, int], Found]


def simulated(n_subjects: int, rng: np.random.Generator) -> Pairs:
    """A study with 5 to 60 segments per subject."""
    subject = np.repeat(np.arange(n_subjects), rng.integers(5, 61, n_subjects))
    n = len(subject)
    truth = 5 + rng.normal(0, 1.5, n_subjects)[subject] + rng.normal(0, 1.5, n)
    error = BIAS + rng.normal(0, BETWEEN_SD, n_subjects)[subject] + rng.normal(0, WITHIN_SD, n)
    return Pairs(truth + error, truth, subject, n_subjects)


def closed_form(pairs: Pairs, seed: int) -> Found:
    """Intervals without resampling."""
    found = repeated_limits(pairs)
    named = {"bias": found.bias, "lower limit": found.lower, "upper limit": found.upper}
    named |= {"slope on the mean": proportional_bias(pairs).slope, "calibration slope": calibration_line(pairs).slope}
    return {name: (estimate.value, estimate.ci) for name, estimate in named.items()}


def resampled(pairs: Pairs, seed: int, replicates: int = 400) -> Found:
    """Intervals by the studentised subject bootstrap."""
    bootstrap = SubjectBootstrap(pairs.n_subjects, replicates, seed)
    both = icc(np.stack([pairs.model, pairs.reference], axis=1), pairs.subject, bootstrap)
    error = accuracy(pairs, bootstrap)
    agreed = classes(pairs, bootstrap, (3.0, 6.0))
    named = {name: getattr(error, name) for name in ("mae", "rmse", "pearson", "spearman", "ccc", "within_1")}
    named |= {"icc_a1": both.icc_a1, "icc_c1": both.icc_c1, "accuracy": agreed.accuracy}
    named |= {"kappa_quadratic": agreed.kappa_quadratic, "ac2": agreed.ac2, "macro_f1": agreed.macro_f1}
    return {name: (estimate.value, estimate.ci) for name, estimate in named.items()}


def percentiles(pairs: Pairs, seed: int, replicates: int = 400) -> Found:
    """Limits of agreement by percentiles."""
    found = percentile_limits(pairs, SubjectBootstrap(pairs.n_subjects, replicates, seed))
    return {
        "2.5th percentile": (found.lower.value, found.lower.ci),
        "97.5th percentile": (found.upper.value, found.upper.ci),
    }


def added(pairs: Pairs, seed: int, replicates: int = 400) -> Found:
    """AUROC and Brier score at the upper cut point, and the area under a risk-coverage curve."""
    quality = -np.abs(pairs.reference - 5)
    event = pairs.reference > 6
    if pairs.n_subjects > 1000:
        return _added_without_intervals(pairs, event, quality)
    bootstrap = SubjectBootstrap(pairs.n_subjects, replicates, seed)
    high = detections(pairs, bootstrap, (3.0, 6.0))[1]
    aside = risk_coverage("quality", pairs, quality, bootstrap)
    named = {"auroc": high.auroc, "brier": high.brier, "risk-coverage area": aside.area, "gain": aside.gain}
    return {name: (estimate.value, estimate.ci) for name, estimate in named.items()}


def _added_without_intervals(pairs: Pairs, event: Events, quality: np.ndarray) -> Found:
    few = SubjectBootstrap(pairs.n_subjects, 2, 1)
    probability = recalibrated_probabilities(pairs, event)
    aside = risk_coverage("quality", pairs, quality, few)
    values = {
        "auroc": auroc_value(pairs.model, event),
        "brier": float(((probability - event) ** 2).mean()),
        "risk-coverage area": aside.area.value,
        "gain": aside.gain.value,
    }
    return {name: (value, NO_INTERVAL) for name, value in values.items()}


def alternatives(pairs: Pairs, seed: int, replicates: int = 400) -> Found:
    """Methods that the program does not use: percentile intervals of the MAE; Woodruff 1952 for a percentile of d."""
    bootstrap = SubjectBootstrap(pairs.n_subjects, replicates, seed)
    sums, d, n = error_sums(pairs), pairs.difference, pairs.n_subjects
    totals = np.concatenate([weights @ sums for weights in bootstrap.weights()])
    resampled = totals[:, 6] / totals[:, 0]
    mae, value = float(np.abs(d).mean()), float(np.quantile(d, 0.025))
    up_to = pairs.per_subject((d <= value).astype(np.float64), np.ones(pairs.n))
    error = np.sqrt(n / (n - 1) * ((up_to[:, 0] - 0.025 * up_to[:, 1]) ** 2).sum()) / pairs.n / (0.025 * 0.975)
    reach = stats.t.ppf(0.975, n - 1) * error
    low, high = np.quantile(d, 1 / (1 + np.exp(-(np.log(0.025 / 0.975) + np.array([-reach, reach])))))
    return {
        "mae (percentile)": (mae, _percentile(resampled)),
        "mae (expanded percentile)": (mae, percentile_interval(resampled, n)),
        "2.5th percentile (Woodruff)": (value, (float(low), float(high))),
    }


def _percentile(values: np.ndarray) -> Interval:
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def coverage(method: Method, n_subjects: int, studies: int, seed: int) -> dict[str, float]:
    """Share of the studies whose interval covers the true value, by statistic."""
    rng = np.random.default_rng(seed)
    big = simulated(20_000, rng)
    truth = {name: KNOWN.get(name, value) for name, (value, _) in method(big, 0).items()}
    covered: Counter[str] = Counter()
    for study in range(studies):
        for name, (_, (low, high)) in method(simulated(n_subjects, rng), study).items():
            covered[name] += low <= truth[name] <= high
    return {name: covered[name] / studies for name in truth}


if __name__ == "__main__":
    for method_ in (closed_form, resampled, percentiles, added, alternatives):
        for statistic, share in coverage(method_, int(sys.argv[1]), int(sys.argv[2]), seed=1).items():
            print(f"{statistic:40} {share:.3f}")
