"""Predictions aligned with the store's rated segments, so that systems and views can be compared segment by segment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from avpenet_cli.dataset.splits import SITE
from avpenet_cli.errors import OutputError
from avpenet_cli.experiment.descriptions import CLEAN_VIEW
from avpenet_cli.experiment.predictions import PredictionKey, Predictions
from avpenet_cli.stats.bootstrap import Resampling, SubjectBootstrap
from avpenet_cli.stats.comparisons import ErrorComparison, compare_errors
from avpenet_cli.stats.pairs import Array

Mask = NDArray[np.bool_]
_KEY = ["recording", "segment"]
_SAME_REFERENCE = 1e-6
"""Points; references are written with this precision."""


class RatedSegments:
    """The rated segments of a store: what every array of this module has a value for.

    Attributes:
        table: rows of the store's index.
        reference: (n,) points.
        subject: (n,) names.

    Args:
        index: of a store.
    """

    def __init__(self, index: pd.DataFrame) -> None:
        self.table = index[index["reference"].notna()].reset_index(drop=True)
        self.reference: Array = self.table["reference"].to_numpy(dtype=np.float64)
        self.subject = self.table["subject"].astype(str).to_numpy(dtype=object)
        self._keys = pd.MultiIndex.from_frame(self.table[_KEY])

    def __len__(self) -> int:
        return len(self.table)

    def in_split(self, split: str) -> Mask:
        """(n,) whether each belongs to a split, also where it cannot be scored."""
        return (self.table["split"] == split).to_numpy(dtype=bool)

    def at_site(self, site: str) -> Mask:
        """(n,) whether each belongs to a site."""
        if SITE not in self.table.columns:
            return np.zeros(len(self), dtype=bool)
        return (self.table[SITE].astype(str) == site).to_numpy(dtype=bool)

    def align(self, predictions: pd.DataFrame) -> Array:
        """(n,) scores, points; NaN where there is none. Predictions of unrated segments are left out.

        Raises:
            OutputError: predictions of another store, or made before the store changed.
        """
        place = self._keys.get_indexer(pd.MultiIndex.from_frame(predictions[_KEY]))
        reference = predictions["reference"].to_numpy(dtype=np.float64)
        known = place >= 0
        missing = ~known & np.isfinite(reference)
        changed = np.zeros(len(place), dtype=bool)
        changed[known] = ~(np.abs(reference[known] - self.reference[place[known]]) <= _SAME_REFERENCE)
        for bad, what in ((missing, "is not rated in the store"), (changed, "has another reference in the store")):
            if bad.any():
                row = predictions.iloc[int(np.argmax(bad))]
                raise OutputError(
                    f"segment {row['segment']} of {row['recording']}, predicted by {row['system']}, {what}",
                    "the store has changed since: run the experiment again in another folder",
                )
        scores = np.full(len(self), np.nan)
        scores[place[known]] = predictions["score"].to_numpy(dtype=np.float64)[known]
        return scores


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of one system under one view.

    Attributes:
        seeds: in order.
        values: (seeds, n) points of every rated segment; NaN where there is none.
        reference: (n,) points.
    """

    seeds: tuple[int, ...]
    values: Array
    reference: Array

    @cached_property
    def scored(self) -> Mask:
        """(n,) whether every seed has a score; False without a seed."""
        if not self.seeds:
            return np.zeros(len(self.reference), dtype=bool)
        return np.asarray(np.isfinite(self.values).all(axis=0), dtype=bool)

    @cached_property
    def error(self) -> Array:
        """(n,) absolute error, points, mean over seeds; NaN unless every seed has a score."""
        if not self.seeds:
            return np.full(len(self.reference), np.nan)
        error: Array = np.abs(self.values - self.reference).mean(axis=0)
        return error

    @cached_property
    def difference(self) -> Array:
        """(n,) score minus reference, points, mean over seeds; NaN unless every seed has a score."""
        if not self.seeds:
            return np.full(len(self.reference), np.nan)
        difference: Array = (self.values - self.reference).mean(axis=0)
        return difference

    def of_seeds(self, seeds: Sequence[int]) -> Scores:
        """Scores of some of the seeds."""
        return Scores(tuple(seeds), self.values[[self.seeds.index(seed) for seed in seeds]], self.reference)

    def only(self, use: Mask) -> Scores:
        """The scores of some segments, (n,) bool; NaN elsewhere."""
        return Scores(self.seeds, np.where(use, self.values, np.nan), self.reference)


def on_common_seeds(first: Scores, second: Scores) -> tuple[Scores, Scores]:
    """Both with the seeds that both have, so that no difference is one of seeds."""
    seeds = [seed for seed in first.seeds if seed in second.seeds]
    return first.of_seeds(seeds), second.of_seeds(seeds)


class SystemScores:
    """All scores of a system, by site left out, view and split."""

    def __init__(self, predictions: Predictions, system: str, segments: RatedSegments) -> None:
        self._segments = segments
        self._by_seed: dict[tuple[str, str, str], dict[int, Array]] = {}
        for key, table in predictions.of_system(system):
            self._add(key, table)

    def _add(self, key: PredictionKey, table: pd.DataFrame) -> None:
        for (view, split), rows in table.groupby(["view", "split"], sort=False):
            by_seed = self._by_seed.setdefault((key.left_out_site, str(view), str(split)), {})
            by_seed[key.seed] = self._segments.align(rows)

    def of(self, split: str, view: str = CLEAN_VIEW.name, left_out_site: str = "") -> Scores:
        """Scores of the networks that were trained on all sites, or without one; no seeds where there are none."""
        by_seed = self._by_seed.get((left_out_site, view, split), {})
        seeds = tuple(sorted(by_seed))
        reference = self._segments.reference
        values = np.stack([by_seed[seed] for seed in seeds]) if seeds else np.empty((0, len(reference)))
        return Scores(seeds, values, reference)

    @property
    def sites(self) -> tuple[str, ...]:
        """Sites without which it was trained."""
        return tuple(sorted({site for site, _, _ in self._by_seed if site}))


class Bootstraps:
    """Resamples for every number of subjects, made once."""

    def __init__(self, resampling: Resampling) -> None:
        self._resampling = resampling
        self._made: dict[int, SubjectBootstrap] = {}

    def of(self, n_subjects: int) -> SubjectBootstrap:
        """The bootstrap for `n_subjects` subjects."""
        if n_subjects not in self._made:
            self._made[n_subjects] = self._resampling.of(n_subjects)
        return self._made[n_subjects]


def subject_codes(names: NDArray[np.object_]) -> tuple[NDArray[np.int64], int]:
    """Codes from 0 in the order of the names, and the number of subjects."""
    distinct, codes = np.unique(names.astype(str), return_inverse=True)
    return codes.astype(np.int64), len(distinct)


def compare(first: Array, second: Array, segments: RatedSegments, bootstraps: Bootstraps) -> ErrorComparison:
    """Absolute errors on the segments for which both have one.

    Args:
        first, second: (n,) points, NaN where there is none.
    """
    both = np.isfinite(first) & np.isfinite(second)
    subject, n_subjects = subject_codes(segments.subject[both])
    return compare_errors(first[both], second[both], subject, bootstraps.of(n_subjects))
