"""Drift of raters: whether one moves away from the others in the course of rating."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from avpenet_cli.phrasing import plural
from avpenet_cli.ratings.agreement_document import MINIMUM_SEGMENTS, MINIMUM_SUBJECTS, RaterDrift
from avpenet_cli.stats.comparisons import holm
from avpenet_cli.stats.estimate import NAN, absent
from avpenet_cli.stats.pairs import Array, Pairs
from avpenet_cli.stats.regression import line

_NO_COURSE = "neither rated_at nor order is known for every rating"


def drifts(rows: pd.DataFrame) -> tuple[RaterDrift, ...]:
    """The drift of every rater of an item, in order of appearance.

    Others are compared on the same segments, so that patients in more pain later do not count as drift. A drift that
    all raters share shows only where their orders differ, as those of `ratings sample` do.

    Args:
        rows: ratings of one item: `target`, `subject`, `rater`, `value` (points), `order`, `rated_s`.
    """
    wide = rows.pivot_table(index="target", columns="rater", values="value", aggfunc="median", observed=True)
    found = [_drift(rows[rows["rater"] == rater], wide, str(rater)) for rater in rows["rater"].unique()]
    corrected = holm(np.array([row.p for row in found]))
    return tuple(replace(row, p_holm=float(p)) for row, p in zip(found, corrected, strict=True))


def _drift(own: pd.DataFrame, wide: pd.DataFrame, rater: str) -> RaterDrift:
    others = wide.drop(columns=rater).median(axis=1)
    reference = own["target"].map(others).to_numpy(np.float64)
    common = np.isfinite(reference)
    n, n_subjects = int(common.sum()), int(own["subject"][common].nunique())
    by, course = _course(own)
    reason = ""
    if not by:
        reason = _NO_COURSE
    elif n < MINIMUM_SEGMENTS or n_subjects < MINIMUM_SUBJECTS:
        reason = too_few(n, n_subjects)
    if reason:
        return RaterDrift(rater, by, n, n_subjects, absent(reason, n), NAN, NAN, "none")
    pairs = Pairs.of(own["value"].to_numpy(np.float64)[common], reference[common], own["subject"].to_numpy()[common])
    fit = line(pairs.difference, course[common], pairs)
    return RaterDrift(rater, by, n, n_subjects, fit.slope, fit.p, NAN, fit.method)


def _course(own: pd.DataFrame) -> tuple[str, Array]:
    """What gives the course of a rater's ratings, and the place of each in it, from 0 (first) to 1 (last)."""
    for by, column in (("rated_at", "rated_s"), ("order", "order")):
        values = own[column]
        if values.notna().all() and values.nunique() > 1:
            rank = values.rank(method="average").to_numpy(np.float64)
            return by, (rank - 1) / (len(rank) - 1)
    return "", np.empty(0)


def too_few(n_segments: int, n_subjects: int) -> str:
    """Why a coefficient is not computed, with the numbers that it takes."""
    return (
        f"{plural(n_segments, 'segment')} of {plural(n_subjects, 'subject')} in common; it takes {MINIMUM_SEGMENTS} of "
        f"{MINIMUM_SUBJECTS}"
    )
