"""How values are distributed: quantiles, floor and ceiling, skew and kurtosis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from avpenet_cli.stats.estimate import NAN, Estimate, absent
from avpenet_cli.stats.pairs import Array

# Points from either end of the 0-10 scale.
_FLOOR_POINTS, _CEILING_POINTS = 0.5, 9.5


@dataclass(frozen=True)
class Distribution:
    """Summary of scores or ratings, points of the 0-10 scale; NaN where there are no values.

    Attributes:
        n: number of values.
        mean: arithmetic mean.
        sd: standard deviation, ddof 1; NaN for a single value.
        min: smallest value.
        q25: lower quartile, linear interpolation.
        median: middle value.
        q75: upper quartile.
        max: largest value.
        floor_share: share of the values up to 0.5 points, 0 to 1.
        ceiling_share: share of the values from 9.5 points, 0 to 1.
    """

    n: int
    mean: float = NAN
    sd: float = NAN
    min: float = NAN
    q25: float = NAN
    median: float = NAN
    q75: float = NAN
    max: float = NAN
    floor_share: float = NAN
    ceiling_share: float = NAN


@dataclass(frozen=True)
class Shape:
    """Departure of differences from the normal distribution.

    Attributes:
        skew: third standardised moment; 0 is symmetric. Without an interval.
        excess_kurtosis: fourth standardised moment minus 3; 0 is as heavy-tailed as the normal. Without an interval.
    """

    skew: Estimate
    excess_kurtosis: Estimate


def describe(values: Array) -> Distribution:
    """Summarise values, (n,) points without NaN."""
    if not len(values):
        return Distribution(0)
    minimum, q25, median, q75, maximum = map(float, np.quantile(values, [0, 0.25, 0.5, 0.75, 1]))
    return Distribution(
        n=len(values),
        mean=float(values.mean()),
        sd=float(values.std(ddof=1)) if len(values) > 1 else NAN,
        min=minimum,
        q25=q25,
        median=median,
        q75=q75,
        max=maximum,
        floor_share=float((values <= _FLOOR_POINTS).mean()),
        ceiling_share=float((values >= _CEILING_POINTS).mean()),
    )


def shape(differences: Array) -> Shape:
    """Skew and excess kurtosis of differences, (n,) points, with the biased moments (ddof 0)."""
    n = len(differences)
    if n < 3 or np.ptp(differences) < 1e-12:
        missing = absent("too few differences, or all the same", n)
        return Shape(missing, missing)
    return Shape(Estimate(float(stats.skew(differences)), n=n), Estimate(float(stats.kurtosis(differences)), n=n))
