"""The human raters among themselves, in the same form as the model against them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from avpenet_cli.stats.accuracy import mean_absolute_error
from avpenet_cli.stats.agreement import limits
from avpenet_cli.stats.bootstrap import Resampling
from avpenet_cli.stats.classes import classes
from avpenet_cli.stats.estimate import flat, plain
from avpenet_cli.stats.pairs import Array, Pairs
from avpenet_cli.stats.reliability import icc

# Of the page's table; the most frequent come first.
_MOST_PAIRS = 15
_LEAST_SEGMENTS = 2


def raters(
    by_rater: pd.DataFrame, model: pd.Series[float], subject: pd.Series[str], cut: tuple[float, float], of: Resampling
) -> dict[str, Any] | None:
    """ICC of every set of raters who rated the same segments; agreement of every two, and of the model with each.

    Args:
        by_rater: one row per segment, one column per rater, points; NaN where not rated.
        model: the scores of the same segments; NaN where unscorable.
        subject: whose.

    Returns:
        None without two raters.
    """
    if by_rater.shape[1] < 2:
        return None
    # Codes once: sorting a million names for every two raters would take most of the report's time.
    whose = pd.factorize(subject)[0]
    rated = by_rater.notna().to_numpy()
    sets: list[dict[str, Any]] = []
    for pattern in _patterns(rated):
        rows = (rated == pattern).all(axis=1)
        if pattern.sum() < 2 or rows.sum() < _LEAST_SEGMENTS:
            continue
        names = [str(name) for name in by_rater.columns[pattern]]
        subjects, codes = np.unique(whose[rows], return_inverse=True)
        found = icc(by_rater.to_numpy()[rows][:, pattern], codes, of.of(len(subjects)))
        sets.append(
            {"raters": names, "n_segments": int(rows.sum()), "n_subjects": len(subjects), "method": found.method}
            | flat(icc_a1=found.icc_a1, icc_c1=found.icc_c1, icc_11=found.icc_11)
        )
    sets.sort(key=lambda one: -int(one["n_segments"]))
    # Pairs of name and values, for a rater may be called "model" too.
    sides: list[tuple[str, Array]] = [("model", np.asarray(model, dtype=np.float64))]
    sides += [
        (f"rater {name}" if name == "model" else str(name), by_rater[name].to_numpy(np.float64))
        for name in by_rater.columns
    ]
    couples = []
    for a, b in combinations(range(len(sides)), 2):
        both = np.isfinite(sides[a][1]) & np.isfinite(sides[b][1])
        if both.sum() >= _LEAST_SEGMENTS:
            couples.append((int(both.sum()), a, b, both))
    couples.sort(key=lambda one: (one[1] != 0, -one[0]))
    rows_ = [
        {"a": sides[a][0], "b": sides[b][0]}
        | agreement_row(Pairs.of(sides[a][1][both], sides[b][1][both], whose[both]), cut, of.of)
        for _, a, b, both in couples[:_MOST_PAIRS]
    ]
    return {"sets": sets, "pairs": rows_, "pairs_left_out": max(0, len(couples) - _MOST_PAIRS)}


def _patterns(rated: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """Which raters rated together: the distinct rows of (n, raters)."""
    packed = np.packbits(rated, axis=1)
    as_bytes = np.ascontiguousarray(packed).view(np.dtype((np.void, packed.shape[1]))).ravel()
    _, first = np.unique(as_bytes, return_index=True)
    return [rated[place] for place in first]


def agreement_row(pairs: Pairs, cut: tuple[float, float], of: Callable[[int], Any]) -> dict[str, Any]:
    """Bias, limits, MAE, ICC(A,1) and quadratic kappa in one line of a table."""
    bootstrap = of(pairs.n_subjects)
    found = limits(pairs, None)
    both = icc(np.stack([pairs.model, pairs.reference], axis=1), pairs.subject, bootstrap)
    return {
        "n_pairs": pairs.n,
        "n_subjects": pairs.n_subjects,
        "method": found.method,
        "sd": plain(found.sd),
    } | flat(
        bias=found.bias,
        loa_lower=found.lower,
        loa_upper=found.upper,
        mae=mean_absolute_error(pairs, bootstrap),
        icc_a1=both.icc_a1,
        kappa_quadratic=classes(pairs, bootstrap, cut).kappa_quadratic,
    )
