"""Scores against ratings over time: how far scores lag behind, and rank agreement with and without that lag."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avpenet_cli.phrasing import counted
from avpenet_cli.stats.estimate import Estimate, absent
from avpenet_cli.stats.smoothing import Z

Floats = npt.NDArray[np.float64]

LONGEST_LAG_S = 30.0
"""Lags are tried from minus this to this, s."""
FEWEST_RATINGS = 10
"""Ratings with scores that a rank correlation needs at least."""
BLOCK_S = 30.0
"""Ratings that follow each other within this are resampled together, s."""
FEWEST_BLOCKS = 5
"""Blocks of ratings that an interval of the lag needs at least."""
FEWEST_INDEPENDENT = 6.0
"""Independent ratings that the ratings must be worth for an interval of a rank correlation."""
CHANCE = 0.05
"""A lag is given if unrelated series would have so high a correlation at any lag with this probability at most."""
LEAST_CORRELATION = 0.3
"""Highest rank correlation at least; with less, scores and ratings have too little in common for a lag."""
LEAST_SHARE = 0.7
"""Ratings that must have scores at a lag, of those that have them without a lag."""
N_RESAMPLES = 1000


@dataclass(frozen=True)
class Lag:
    """Ratings that have scores; lag of the scores behind the ratings, s; Spearman's correlation without and with it."""

    n: int
    lag_s: Estimate
    spearman: Estimate
    spearman_at_lag: Estimate


def rating_lag(
    middle_s: Floats, score: Floats, start_s: Floats, end_s: Floats, rating: Floats, stride_s: float, seed: int
) -> Lag:
    """Compare the scores with one rater's ratings.

    A rating is compared with the mean of the scores whose segments have their middles in its span, and a rating of one
    moment with the scores within half a stride; for a lag, the span is moved by it. Lags are tried that leave
    FEWEST_RATINGS and LEAST_SHARE of the ratings; the lag is that of the highest Spearman correlation, the shortest of
    equal ones, if it is beyond chance (CHANCE, over the lags that are independent).

    Neighbouring ratings, and scores, are alike, so that m ratings are worth fewer: m / (1 + 2 sum of the products of
    both autocorrelations) (Bartlett 1935, J R Stat Soc 98:536). With that number, the interval of the correlation
    without a lag is that of Fisher's z for ranks (Bonett and Wright 2000, Psychometrika 65:23). At the lag there is
    none: the highest of many is too high by an unknown amount. The lag's interval has the percentiles over resamples of
    blocks of neighbouring ratings (moving blocks; Künsch 1989, Ann Stat 17:1217), with the ranks of the sample.

    Args:
        middle_s: (n,) of the segments, s, in time order.
        score: (n,) points; NaN where unscorable.
        start_s, end_s: (m,) of the ratings, s, in time order.
        rating: (m,) points.
        stride_s: time between segments, s; also between the lags that are tried.
        seed: of the resampling.
    """
    scored = np.isfinite(score)
    steps = int(LONGEST_LAG_S / stride_s + 1e-9)
    lags = np.arange(-steps, steps + 1).astype(np.float64) * stride_s
    widened = np.maximum(stride_s - (end_s - start_s), 0) / 2
    scores = _mean_scores(middle_s[scored], score[scored], start_s - widened, end_s + widened, lags)
    paired = np.isfinite(scores[:, steps])
    n = int(paired.sum())
    reason = _reason(scores[paired, steps], rating[paired])
    if reason:
        missing = absent(reason, n)
        return Lag(n, missing, missing, missing)
    counts = np.isfinite(scores).sum(axis=0)
    tried = counts >= max(FEWEST_RATINGS, LEAST_SHARE * n)
    correlations = _correlations(scores[:, tried], rating, start_s, seed)
    independent = _independent(scores[paired, steps], rating[paired])
    agreement = _agreement(float(correlations.values[np.abs(lags[tried]).argmin()]), n, independent)
    span_s = float(np.ptp(start_s[paired])) + stride_s
    chance = _chance(independent, 1 + 2 * LONGEST_LAG_S * independent / span_s)
    lag, at_lag = _lag(correlations, lags[tried], counts[tried], chance)
    return Lag(n, lag, agreement, at_lag)


def _independent(score: Floats, rating: Floats) -> float:
    """How many independent pairs these pairs, in time order, are worth for their rank correlation."""
    from scipy.stats import rankdata

    n = len(score)
    product = np.ones(n)
    positive = np.ones(n, np.bool_)
    for values in (score, rating):
        ranks = rankdata(values) - (n + 1) / 2
        correlation = np.correlate(ranks, ranks, "full")[n - 1 :] / (ranks @ ranks)
        product *= correlation
        positive &= correlation > 0
    # Beyond the first that is not positive, the sample's autocorrelation is noise.
    end = n if positive.all() else int(positive.argmin())
    return n / (1 + 2 * float(product[1:end].sum()))


def _agreement(correlation: float, n: int, independent: float) -> Estimate:
    """Rank correlation of n pairs that are worth fewer independent ones, with its interval."""
    if independent < FEWEST_INDEPENDENT:
        reason = (
            f"no interval: the ratings follow each other so closely that they are worth {independent:.1f} independent"
            f" ones; at least {FEWEST_INDEPENDENT:g}"
        )
        return Estimate(correlation, n=n, reason=reason)
    z = np.arctanh(np.clip(correlation, -1 + 1e-9, 1 - 1e-9))
    half = Z * np.sqrt((1 + correlation**2 / 2) / (independent - 3))
    return Estimate(correlation, (float(np.tanh(z - half)), float(np.tanh(z + half))), n)


def _chance(independent: float, tries: float) -> float:
    """The highest rank correlation of unrelated series in so many independent tries, but for CHANCE; 1 if too few."""
    from scipy.stats import norm

    if independent <= 3:
        return 1.0
    return float(np.tanh(norm.isf(CHANCE / tries) / np.sqrt(independent - 3)))


@dataclass(frozen=True, eq=False)
class _Correlations:
    """Spearman's correlation at each of k lags: values (k,), of resamples (r, k), or why there are no resamples."""

    values: Floats
    resampled: Floats
    reason: str


def _lag(
    correlations: _Correlations, lags: Floats, counts: npt.NDArray[np.int64], chance: float
) -> tuple[Estimate, Estimate]:
    """The lag, and the agreement at it.

    `counts` are the ratings at each lag; a correlation up to `chance` may be due to it.
    """
    # The shortest of lags that are as good: arg max takes the first.
    nearest = np.argsort(np.abs(lags), kind="stable")
    best = int(nearest[correlations.values[nearest].argmax()])
    n = int(counts[best])
    reason = ""
    if correlations.values[best] < LEAST_CORRELATION:
        reason = f"no lag has a rank correlation of {LEAST_CORRELATION:g} or more"
    elif correlations.values[best] <= chance:
        reason = "no lag has a rank correlation beyond that of unrelated series that change as slowly"
    elif best in (0, len(lags) - 1):
        reason = f"the rank correlation is highest at {lags[best]:g} s, the end of the lags with enough ratings"
    if reason:
        return absent(reason, n), absent(reason, n)
    at_lag = Estimate(float(correlations.values[best]), n=n, reason="no interval: the highest of many lags")
    if correlations.reason:
        return Estimate(float(lags[best]), n=n, reason=correlations.reason), at_lag
    resampled = lags[nearest[correlations.resampled[:, nearest].argmax(axis=1)]]
    low, high = np.quantile(resampled, [0.025, 0.975], method="nearest")
    return Estimate(float(lags[best]), (float(low), float(high)), n), at_lag


def _reason(score: Floats, rating: Floats) -> str:
    """Why there is no rank correlation of these pairs; empty if there is one."""
    if len(rating) < FEWEST_RATINGS:
        return f"too few ratings with scores: {len(rating)}; at least {FEWEST_RATINGS}"
    if np.ptp(rating) < 1e-9:
        return "all ratings are the same"
    if np.ptp(score) < 1e-9:
        return "all scores are the same"
    return ""


def _mean_scores(middle_s: Floats, score: Floats, start_s: Floats, end_s: Floats, lags: Floats) -> Floats:
    """(ratings, lags) mean of the scores in each rating's span moved by each lag; NaN without one."""
    sums = np.concatenate([[0.0], np.cumsum(score)])
    first = np.searchsorted(middle_s, start_s[:, None] + lags - 1e-6)
    end = np.searchsorted(middle_s, end_s[:, None] + lags + 1e-6)
    count = end - first
    means = (sums[end] - sums[first]) / np.maximum(count, 1)
    return np.where(count > 0, means, np.nan)


def _correlations(scores: Floats, rating: Floats, time_s: Floats, seed: int) -> _Correlations:
    """Of (m, k) scores at k lags, NaN where there is none, with (m,) ratings; and of resamples of blocks of ratings."""
    from scipy.stats import rankdata

    present = np.isfinite(scores)
    rated = np.where(present, rating[:, None], np.nan)
    ranks, rating_ranks = (
        np.where(present, rankdata(values, axis=0, nan_policy="omit"), 0.0) for values in (scores, rated)
    )
    m = len(rating)
    values = _weighted(ranks, rating_ranks, present, np.ones((1, m)))[0]
    spacing = float(np.median(np.diff(time_s)))
    block = max(1, round(BLOCK_S / spacing)) if spacing > 0 else m
    if m < FEWEST_BLOCKS * block:
        blocks = counted(m // block, "block")
        reason = f"no interval: the ratings make {blocks} of {BLOCK_S:g} s; at least {FEWEST_BLOCKS}"
        return _Correlations(values, np.empty((0, len(values))), reason)
    starts = np.random.default_rng(seed).integers(0, m - block + 1, (N_RESAMPLES, -(-m // block)))
    chosen = (starts[:, :, None] + np.arange(block)).reshape(N_RESAMPLES, -1)[:, :m]
    weights = np.stack([np.bincount(row, minlength=m) for row in chosen]).astype(np.float64)
    return _Correlations(values, _weighted(ranks, rating_ranks, present, weights), "")


def _weighted(ranks: Floats, rating_ranks: Floats, present: npt.NDArray[np.bool_], weights: Floats) -> Floats:
    """(r, k) correlation of (m, k) ranks of scores and of ratings under (r, m) weights; 0 where either is constant.

    Only present pairs count; the ranks of the others are 0.
    """
    total = np.maximum(weights @ present.astype(np.float64), 1e-9)
    mean, rating_mean = weights @ ranks / total, weights @ rating_ranks / total
    covariance = weights @ (ranks * rating_ranks) / total - mean * rating_mean
    variance = weights @ ranks**2 / total - mean**2
    rating_variance = weights @ rating_ranks**2 / total - rating_mean**2
    product = np.maximum(variance, 0) * np.maximum(rating_variance, 0)
    result: Floats = np.where(product > 1e-6, covariance / np.sqrt(np.maximum(product, 1e-6)), 0.0)
    return result
