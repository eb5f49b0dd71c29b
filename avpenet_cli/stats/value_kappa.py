"""Weighted kappa of two raters over the values of their scale, whatever their number."""

from __future__ import annotations

import numpy as np

from avpenet_cli.stats.bootstrap import SubjectBootstrap
from avpenet_cli.stats.estimate import Estimate, absent
from avpenet_cli.stats.pairs import Array, Pairs


def kappa_of_values(pairs: Pairs, bootstrap: SubjectBootstrap) -> Estimate:
    """Cohen's kappa with quadratic weights, each value of the scale being a category.

    With weights that fall with the squared distance, kappa is 1 less the mean squared difference over the one that
    chance would give, var x + var y + (mean x - mean y)^2 (Fleiss and Cohen 1973, Educ Psychol Meas 33:613), so the
    number of categories does not matter.

    Args:
        pairs: of the two raters, points.
        bootstrap: resamples of their subjects.

    Returns:
        -1 to 1; `n` counts pairs.
    """
    if pairs.n < 1:
        return absent("no pairs")
    # Less 5, the middle of the scale, which keeps the sums small.
    x, y = pairs.model - 5.0, pairs.reference - 5.0
    if max(np.ptp(x), np.ptp(y), abs(x[0] - y[0])) < 1e-12:
        return absent("both raters always give the same value", pairs.n)
    sums = pairs.per_subject(np.ones(pairs.n), x, y, x * x + y * y, (x - y) ** 2)
    return bootstrap.estimate(_kappa, sums, ("fisher",), pairs.n)[0]


def _kappa(sums: Array) -> Array:
    n, x, y, squares, distance = np.moveaxis(sums, -1, 0)
    # var x + var y + (mean x - mean y)^2, with n as the divisor.
    by_chance = squares / n - 2 * (x / n) * (y / n)
    value: Array = (1 - distance / n / by_chance)[..., None]
    return value
