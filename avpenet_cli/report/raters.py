"""Agreement among the human raters, and of the model with each of them."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd

from avpenet_cli.report.document.groups import RaterPair, RaterSetReliability, RatersSection
from avpenet_cli.stats.bootstrap import Resampling
from avpenet_cli.stats.pairs import Array, Pairs
from avpenet_cli.stats.raters import FEWEST_SEGMENTS, pairwise_agreement, rater_sets

# Rows of the page's table.
_MOST_PAIRS = 15


def raters_section(
    by_rater: pd.DataFrame, segments: pd.DataFrame, cut_points: tuple[float, float], resampling: Resampling
) -> RatersSection | None:
    """ICC of every set of raters who rated the same segments; agreement of every two, and of the model with each.

    Args:
        by_rater: one row per segment, one column per rater, points; NaN where not rated.
        segments: the same segments with `score`, NaN where unscorable, and `subject`.
        cut_points: upper ends of the classes low and moderate, points.
        resampling: for the intervals.

    Returns:
        None with fewer than two raters.
    """
    if by_rater.shape[1] < 2:
        return None
    # Codes once: sorting a million names for every two raters would take most of the report's time.
    subject = pd.factorize(segments["subject"])[0].astype(np.int64)
    names = [str(name) for name in by_rater.columns]
    sets = tuple(
        RaterSetReliability(tuple(names[column] for column in raters.raters), raters.n_subjects, raters.icc)
        for raters in rater_sets(by_rater.to_numpy(np.float64), subject, resampling)
    )
    # A list, because a rater may be called "model" too.
    sides: list[tuple[str, Array]] = [("model", segments["score"].to_numpy(np.float64))]
    sides += [
        (f"rater {name}" if name == "model" else name, by_rater.iloc[:, column].to_numpy(np.float64))
        for column, name in enumerate(names)
    ]
    couples = []
    for first, second in combinations(range(len(sides)), 2):
        both = np.isfinite(sides[first][1]) & np.isfinite(sides[second][1])
        if both.sum() >= FEWEST_SEGMENTS:
            couples.append((int(both.sum()), first, second, both))
    couples.sort(key=lambda couple: (couple[1] != 0, -couple[0]))
    pairs = []
    for _, first, second, both in couples[:_MOST_PAIRS]:
        common = Pairs.of(sides[first][1][both], sides[second][1][both], subject[both])
        row = pairwise_agreement(common, cut_points, resampling)
        pairs.append(RaterPair(sides[first][0], sides[second][0], row))
    return RatersSection(sets, tuple(pairs), max(0, len(couples) - _MOST_PAIRS))
