"""The subject bootstrap, computed from sums per subject.

Every statistic of the report except quantiles and ranks is a smooth function of sums over segments. A resample of
subjects is therefore a weighted sum of the subjects' sums, and its cost does not grow with the number of segments.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from scipy import stats

from avpenet_cli.stats.estimate import NO_INTERVAL, Estimate, Interval
from avpenet_cli.stats.pairs import Array

Scale = Literal["identity", "log", "fisher", "logit"]
Statistic = Callable[[Array], Array]

LEVEL = 0.95
FEWEST_SUBJECTS = 5
"""With fewer subjects there are too few different resamples for an interval."""
# Points: no error exceeds the length of the scale.
_LARGEST_ERROR = 10.0
# Share of the resamples in which a statistic may be undefined.
_MOST_UNDEFINED = 0.05
_CHUNK = 250
_MANY_SUBJECTS = 2000


@dataclass(frozen=True)
class Resampling:
    """Number of resamples and seed; the same number of subjects always gets the same resamples."""

    replicates: int = 2000
    seed: int = 42

    def of(self, n_subjects: int) -> SubjectBootstrap:
        """The bootstrap for `n_subjects` subjects."""
        return _bootstrap(n_subjects, self.replicates, self.seed)


@lru_cache(maxsize=4)
def _bootstrap(n_subjects: int, replicates: int, seed: int) -> SubjectBootstrap:
    return SubjectBootstrap(n_subjects, replicates, seed)


class SubjectBootstrap:
    """Studentised bootstrap (bootstrap-t; Efron and Tibshirani 1993, chapter 12.5) with the subject as the unit.

    The error is studentised on a scale where its spread hardly depends on the value. Its standard error comes from the
    delete-one-subject jackknife, in the resamples from the jackknife's linear approximation. Percentile intervals are
    too narrow at 20 subjects (docs/explanation/benchmarks.md has the coverage of both).

    Args:
        n_subjects: number of rows of the sums that `estimate` takes.
        replicates: number of resamples.
        seed: for the random draws.
    """

    def __init__(self, n_subjects: int, replicates: int, seed: int) -> None:
        self.n_subjects = n_subjects
        rng = np.random.default_rng(seed)
        self._counts = np.empty((replicates if n_subjects > 1 else 0, n_subjects), dtype=np.uint16)
        for row in self._counts:
            row[:] = np.bincount(rng.integers(0, n_subjects, n_subjects), minlength=n_subjects)

    def weights(self) -> Iterator[Array]:
        """Yield how often each subject was drawn, in chunks of (up to 250 resamples, n_subjects) float64."""
        for first in range(0, len(self._counts), _CHUNK):
            yield self._counts[first : first + _CHUNK].astype(np.float64)

    def weights_for_ranks(self) -> Iterator[Array]:
        """The same for statistics that sums do not give; the first 500 where there are over 2,000 subjects.

        Their cost grows with the number of segments, and the quantiles of so many subjects need fewer resamples.
        """
        chunks = self.weights()
        return itertools.islice(chunks, 500 // _CHUNK) if self.n_subjects > _MANY_SUBJECTS else chunks

    def estimate(self, statistic: Statistic, sums: Array, scales: Sequence[Scale], n: int) -> list[Estimate]:
        """Values and intervals of statistics of the same sums.

        Args:
            statistic: maps sums (..., k) to (..., m); homogeneous of degree 0 in the sums, NaN where undefined.
            sums: (n_subjects, k) float64.
            scales: for each of the m statistics, the scale to studentise on: identity, log (positive numbers), fisher
                (-1 to 1), logit (0 to 1).
            n: sample size to state in the estimates.

        Returns:
            m estimates.
        """

        def scaled(totals: Array) -> Array:
            return _to_scale(statistic(totals), scales)

        with np.errstate(all="ignore"):
            value = statistic(sums.sum(axis=0))
            if self.n_subjects < FEWEST_SUBJECTS:
                why = "one subject" if self.n_subjects < 2 else f"fewer than {FEWEST_SUBJECTS} subjects"
                return [Estimate(float(item), NO_INTERVAL, n, f"{why}: too few to resample") for item in value]
            centre = scaled(sums.sum(axis=0))
            spread = _jackknife(scaled, sums)
            errors = np.concatenate(
                [self._studentised(scaled, drawn @ sums, drawn, sums, centre) for drawn in self.weights()]
            )
        estimates = []
        for place, scale in enumerate(scales):
            ci, reason = studentised_interval(centre[place], spread[place], errors[:, place], scale)
            estimates.append(Estimate(float(value[place]), ci, n, reason))
        return estimates

    def _studentised(self, scaled: Statistic, totals: Array, drawn: Array, sums: Array, centre: Array) -> Array:
        gradient = _gradient(scaled, totals)
        # Sum over subjects of drawn * (gradient . sums)^2, for all resamples at once.
        k = sums.shape[1]
        products = (sums[:, :, None] * sums[:, None, :]).reshape(len(sums), k * k)
        outer = (drawn @ products).reshape(-1, k, k)
        variance = np.einsum("bmk,bkl,bml->bm", gradient, outer, gradient) * self.n_subjects / (self.n_subjects - 1)
        errors: Array = (scaled(totals) - centre) / np.sqrt(variance)
        return errors


def _gradient(scaled: Statistic, totals: Array) -> Array:
    """Derivatives of the statistics by central differences: (b, k) sums to (b, m, k)."""
    columns = []
    size = np.abs(totals).max(axis=1)
    for place in range(totals.shape[1]):
        step = 1e-6 * np.maximum(np.abs(totals[:, place]), 1e-3 * size)
        shift = np.zeros_like(totals)
        shift[:, place] = step
        columns.append((scaled(totals + shift) - scaled(totals - shift)) / (2 * step[:, None]))
    return np.stack(columns, axis=-1)


def _jackknife(scaled: Statistic, sums: Array) -> Array:
    """Standard error of each statistic by leaving out one subject at a time."""
    n = len(sums)
    without = scaled(sums.sum(axis=0) - sums)
    error: Array = np.sqrt((n - 1) / n * ((without - without.mean(axis=0)) ** 2).sum(axis=0))
    return error


def studentised_interval(centre: float, spread: float, errors: Array, scale: Scale) -> tuple[Interval, str]:
    """The interval of a statistic from its studentised errors in the resamples, and the reason where there is none.

    Args:
        centre: the statistic on its scale; NaN where it is not defined, infinite at the end of its range.
        spread: its standard error there.
        errors: (replicates,) deviation from `centre` over the standard error in each resample; NaN where not defined.
        scale: of `centre`.
    """
    if np.isnan(centre):
        return NO_INTERVAL, "not defined for these data"
    if np.isinf(centre):
        return NO_INTERVAL, "at the end of its range in every subject: there is no spread to resample"
    if not np.isfinite(spread):
        return NO_INTERVAL, "rests on a single subject: without it the statistic is not defined"
    if spread < 1e-12:
        return NO_INTERVAL, "the same in every subject: there is no spread to resample"
    defined = errors[np.isfinite(errors)]
    if len(defined) < (1 - _MOST_UNDEFINED) * len(errors):
        share = 100 * (1 - len(defined) / len(errors))
        return NO_INTERVAL, f"not defined in {share:.0f} % of the resamples of subjects"
    if scale == "fisher":
        # Symmetric, because with few subjects two one-sided quantiles cover the true value of coefficients less often.
        high = np.quantile(np.abs(defined), LEVEL)
        low = -high
    else:
        low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    with np.errstate(all="ignore"):
        ends = _from_scale(np.array([centre - high * spread, centre - low * spread]), scale)
    if not np.isfinite(ends).all() or (scale == "log" and ends[1] > _LARGEST_ERROR):
        return NO_INTERVAL, "the interval would be wider than the scale: too few subjects for it"
    return (float(ends[0]), float(ends[1])), ""


def percentile_interval(resampled: Array, n_subjects: int) -> Interval:
    """Expanded percentile interval (Hesterberg 2015, Am Stat 69:371), for statistics that are not smooth.

    Args:
        resampled: (replicates,) the statistic in every resample.
        n_subjects: at least 2; the fewer they are, the wider the percentiles, because resamples vary too little.
    """
    t = stats.t.ppf((1 + LEVEL) / 2, n_subjects - 1)
    tail = stats.norm.cdf(-np.sqrt(n_subjects / (n_subjects - 1)) * t)
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return float(low), float(high)


def _to_scale(values: Array, scales: Sequence[Scale]) -> Array:
    transformed = np.array(values, dtype=np.float64)
    for place, scale in enumerate(scales):
        column = transformed[..., place]
        if scale == "log":
            column[...] = np.log(column)
        elif scale == "fisher":
            column[...] = np.arctanh(column)
        elif scale == "logit":
            column[...] = np.log(column / (1 - column))
    return transformed


def _from_scale(values: Array, scale: Scale) -> Array:
    original: Array = values
    if scale == "log":
        original = np.exp(values)
    elif scale == "fisher":
        original = np.tanh(values)
    elif scale == "logit":
        original = 1 / (1 + np.exp(-values))
    return original
