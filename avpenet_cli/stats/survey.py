"""Estimates from a sample whose units all had the same chance to be drawn, with the subject as the unit of error."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import stats

from avpenet_cli.stats.bootstrap import LEVEL
from avpenet_cli.stats.estimate import NO_INTERVAL, Estimate, absent

_TAIL = (1 - LEVEL) / 2


def sampled_share(hits: npt.NDArray[np.bool_], subject: npt.NDArray[np.generic]) -> Estimate:
    """A share in the population, with the interval of Korn and Graubard (1998, Survey Methodology 24:193).

    The interval is that of Clopper and Pearson for as many independent segments as carry the same information: the
    number of segments over the design effect of the subjects, corrected for the subjects' few degrees of freedom. It
    is defined for a share of 0 and of 1 too; there the design effect is unknown, and every subject counts once.

    Args:
        hits: (n,) whether the sampled segment is one to count; every segment of the population had the same chance to
            be in the sample, so the plain share is the design-weighted one.
        subject: (n,) name or number of the subject of each.

    Returns:
        The share, 0 to 1; `n` counts segments. No interval with fewer than two subjects.
    """
    n = len(hits)
    if not n:
        return absent("no segment was drawn")
    names, codes = np.unique(subject, return_inverse=True)
    n_subjects = len(names)
    share = float(np.mean(hits))
    if n_subjects < 2:
        return Estimate(share, NO_INTERVAL, n, "one subject: the interval needs several")
    if share in (0.0, 1.0):
        effective = float(n_subjects)
    else:
        residuals = np.bincount(codes, weights=hits - share)
        variance = n_subjects / (n_subjects - 1) * float(residuals @ residuals) / n**2
        of_independent = share * (1 - share) / (n - 1)
        effective = n / max(variance / of_independent, 1.0)
    t_segments, t_subjects = (float(stats.t.ppf(1 - _TAIL, units - 1)) for units in (n, n_subjects))
    effective *= (t_segments / t_subjects) ** 2
    found = share * effective
    low = float(stats.beta.ppf(_TAIL, found, effective - found + 1)) if found > 0 else 0.0
    high = float(stats.beta.ppf(1 - _TAIL, found + 1, effective - found)) if found < effective else 1.0
    return Estimate(share, (low, high), n)
