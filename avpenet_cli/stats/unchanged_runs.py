"""What control charts would show if nothing had changed, from baselines and new patients drawn from the baseline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avpenet_cli.stats.patient_ranks import Column, Patients, is_known, normal_scores, reference_rows, rows_at

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_REFERENCES = (100, 500)
"""Simulated baselines, fewest and most; runs share them."""
_MOST_CELLS = 200_000


@dataclass(frozen=True, eq=False)
class _Reference:
    """What the rows of one chart's baseline rank among.

    Attributes:
        rows: (m,) of the baseline, those with a value.
        distinct: (k,) their values in rising order.
        place: (n,) of each row of the baseline among these, -1 for those not in `rows`.
        tied: (k,) whether several patients have the value.
        beyond: chances of a value below all and above all, where the ends are tied: a resample would never have one.
    """

    rows: Integers
    distinct: Floats
    place: Integers
    tied: Mask
    beyond: tuple[float, float]


def _reference(baseline: Patients, measure: int, chosen: Mask, bounds: tuple[float, float]) -> _Reference:
    values = baseline.values[:, measure]
    rows = np.flatnonzero(chosen & np.isfinite(values))
    distinct, inverse, counts = np.unique(values[rows], return_inverse=True, return_counts=True)
    place = np.full(len(values), -1, dtype=np.int64)
    place[rows] = inverse
    # The rule of succession.
    chance = 1.0 / (len(rows) + 1)
    low = chance if counts[0] > 1 and distinct[0] > bounds[0] else 0.0
    high = chance if counts[-1] > 1 and distinct[-1] < bounds[1] else 0.0
    return _Reference(rows, distinct, place, counts > 1, (low, high))


class UnchangedRuns:
    """Runs in which nothing changed: baselines and new patients drawn from the baseline, whole patients with all their
    periods."""

    def __init__(
        self, column: Column, bounds: Sequence[tuple[float, float]], runs: int, decay: float, rng: np.random.Generator
    ) -> None:
        self._column, self._decay, self._rng, self._runs = column, decay, rng, runs
        baseline, new = column.baseline, column.new
        self.charts = [(level, measure) for level, measures in column.measures.items() for measure in measures]
        self._cluster, self._first, self._size, self._rows = _clusters(baseline)
        cluster_level = baseline.level[self._rows[self._first]]
        known = {int(level): is_known(baseline, int(level)) for level in np.unique(new.level)}
        everyone = np.arange(len(self._size))
        self._pool = {level: np.flatnonzero(cluster_level == level) if known[level] else everyone for level in known}
        n_references = int(np.clip(_MOST_CELLS // max(len(self._rows), 1), *_REFERENCES))
        counts = self._drawn_baselines(n_references, cluster_level, [level for level in known if known[level]])
        self._references = [
            _reference(baseline, measure, reference_rows(baseline, level), bounds[measure])
            for level, measure in self.charts
        ]
        self._below = [_cumulative(reference, counts) for reference in self._references]
        self._of_run = np.arange(runs) % n_references
        self._new_rows = [rows_at(new, level) & np.isfinite(new.values[:, measure]) for level, measure in self.charts]
        # A patient of several periods is the same drawn patient in all of them.
        new_cluster, _, size, _ = _clusters(new)
        several = np.flatnonzero(size > 1)
        self._held_place = np.full(len(size), -1, dtype=np.int64)
        self._held_place[several] = np.arange(len(several))
        self._new_cluster = new_cluster
        level_of = {int(new_cluster[row]): int(new.level[row]) for row in range(len(new_cluster))}
        self._held = (
            np.stack([self._draw(self._pool[level_of[int(cluster)]]) for cluster in several], axis=1)
            if len(several)
            else np.zeros((runs, 0), dtype=np.int64)
        )
        self._total = np.zeros((runs, len(self.charts)))
        self._count = np.zeros(len(self.charts))

    @property
    def statistic(self) -> Floats:
        """(runs, charts) the moving averages."""
        with np.errstate(invalid="ignore"):
            statistic: Floats = self._total / self._count
        return statistic

    def step(self, period: int) -> Mask:
        """Go on by one period; (charts,) whether the chart has a patient in it."""
        rows = np.flatnonzero(self._column.new.period == period)
        drawn = self._drawn_rows(rows)
        within = self._rng.random(drawn.shape)
        self._total *= self._decay
        self._count *= self._decay
        updated = np.zeros(len(self.charts), dtype=np.bool_)
        for chart, with_value in enumerate(self._new_rows):
            chosen = np.flatnonzero(with_value[rows])
            if chosen.size:
                updated[chart] = True
                scores = self._scores(chart, rows[chosen], drawn[:, chosen], within[:, chosen])
                self._total[:, chart] += scores.sum(axis=1)
                self._count[chart] += chosen.size
        return updated

    def take(self, origin: Integers) -> None:
        """Replace each run by the run `origin` of it."""
        self._of_run, self._held, self._total = self._of_run[origin], self._held[origin], self._total[origin]

    def _draw(self, pool: Integers) -> Integers:
        drawn: Integers = pool[self._rng.integers(0, len(pool), self._runs)]
        return drawn

    def _drawn_rows(self, rows: Integers) -> Integers:
        """(runs, rows) rows of the baseline in place of rows of the new patients."""
        drawn = np.empty((self._runs, len(rows)), dtype=np.int64)
        for place, row in enumerate(rows):
            held = self._held_place[self._new_cluster[row]]
            pool = self._pool[int(self._column.new.level[row])]
            cluster = self._held[:, held] if held >= 0 else self._draw(pool)
            within = (self._rng.random(self._runs) * self._size[cluster]).astype(np.int64)
            drawn[:, place] = self._rows[self._first[cluster] + within]
        return drawn

    def _scores(self, chart: int, rows: Integers, drawn: Integers, within: Floats) -> Floats:
        """(runs, rows) normal scores of drawn patients among their run's baseline."""
        reference, below = self._references[chart], self._below[chart]
        place = reference.place[drawn]
        missing = place < 0
        if missing.any():
            # Where the drawn patient has no value, another's stands in.
            place[missing] = reference.place[self._rng.choice(self._with_value(chart, rows), int(missing.sum()))]
        run = self._of_run[:, None]
        lower = below[run, place].astype(np.float64)
        equal = below[run, place + 1] - lower
        n = below[self._of_run, -1].astype(np.float64)[:, None]
        # Values that occur once stand for a continuum, and rank anywhere among their copies.
        rank = lower + np.where(reference.tied[place], equal / 2.0, np.floor(within * (equal + 1.0)))
        for chance, end in zip(reference.beyond, (np.zeros_like(n), n), strict=True):
            if chance:
                rank = np.where(self._rng.random(rank.shape) < chance, end, rank)
        return normal_scores(rank, n)

    def _with_value(self, chart: int, rows: Integers) -> Integers:
        """Rows of the baseline that may stand in: of the same level, if all of these rows are of one that is known."""
        reference = self._references[chart]
        levels = np.unique(self._column.new.level[rows])
        of_level = reference.rows[self._column.baseline.level[reference.rows] == levels[0]]
        return (
            of_level
            if len(levels) == 1 and is_known(self._column.baseline, int(levels[0])) and of_level.size
            else (reference.rows)
        )

    def _drawn_baselines(self, n: int, cluster_level: Integers, known: Sequence[int]) -> Integers:
        """(n, rows) how often each row of the baseline is in each drawn baseline; each known level keeps its size."""
        counts = np.zeros((n, len(self._size)), dtype=np.int64)
        strata = [np.flatnonzero(cluster_level == level) for level in known]
        strata.append(np.flatnonzero(~np.isin(cluster_level, np.array(known, dtype=np.int64))))
        for stratum in filter(len, strata):
            counts[:, stratum] = self._rng.multinomial(len(stratum), np.full(len(stratum), 1.0 / len(stratum)), n)
        return counts[:, self._cluster]


def _clusters(patients: Patients) -> tuple[Integers, Integers, Integers, Integers]:
    """Patients at their levels.

    Returns:
        (n,) code of each row's cluster; (clusters,) where it starts among the sorted rows; its size; (n,) sorted rows.
    """
    key = patients.patient * (int(patients.level.max(initial=0)) + 1) + patients.level
    _, code, size = np.unique(key, return_inverse=True, return_counts=True)
    first = np.concatenate([[0], np.cumsum(size)[:-1]]).astype(np.int64)
    return code.astype(np.int64), first, size.astype(np.int64), np.argsort(code, kind="stable").astype(np.int64)


def _cumulative(reference: _Reference, counts: Integers) -> Integers:
    """(drawn baselines, distinct values + 1) rows below each value; the last column is the number of all."""
    table = np.zeros((len(counts), len(reference.distinct) + 1), dtype=np.int64)
    place = reference.place[reference.rows]
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(len(reference.distinct)))
    per_value = np.add.reduceat(counts[:, reference.rows[order]], starts, axis=1)
    np.cumsum(per_value, axis=1, out=table[:, 1:])
    return table.astype(np.int32) if math.prod(table.shape) > _MOST_CELLS else table
