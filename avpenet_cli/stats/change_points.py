"""When the level of a series of scores changed: change points with intervals.

The level is taken for constant between changes, and the fewest changes are sought that explain the scores: PELT with
the squared error (Killick, Fearnhead and Eckley 2012, J Am Stat Assoc 107:1590; the library ruptures).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

LEAST_CHANGE = 1.0
"""A change of the level at least, points."""
FEWEST_WINDOWS = 3
"""Windows between changes at least, and before the first and after the last."""
INTERVAL = 7.35
"""Times at which the squared error is larger by no more than this are in the 95 % interval: -2 log(1 - sqrt(0.95)), the
quantile of the likelihood ratio of a change's place (Hansen 2000, Econometrica 68:575)."""


@dataclass(frozen=True)
class Change:
    """A change of the level: time and its 95 % interval, s; levels before and after, points."""

    time_s: float
    low_s: float
    high_s: float
    before: float
    after: float


@dataclass(frozen=True, eq=False)
class _Scores:
    """Scores of one stretch with sums of them; arrays are of its m scores, the sums of (m + 1,).

    Attributes:
        middle_s: of the segments, s.
        weight: information of each score, points^-2.
        sums: running sums of weight and of weight x score.
        fewest: scores between changes at least.
    """

    middle_s: Floats
    weight: Floats
    sums: tuple[Floats, Floats]
    fewest: int

    @classmethod
    def of(cls, middle_s: Floats, score: Floats, weight: Floats, fewest: int) -> _Scores:
        sums = [np.concatenate([[0.0], np.cumsum(values)]) for values in (weight, weight * score)]
        return cls(middle_s, weight, (sums[0], sums[1]), fewest)

    def level(self, first: int, end: int) -> float:
        """Weighted mean of the scores from `first` up to but without `end`, points."""
        return float((self.sums[1][end] - self.sums[1][first]) / (self.sums[0][end] - self.sums[0][first]))

    def gains(self, first: int, end: int) -> tuple[Integers, Floats]:
        """Places for one change from `first` to `end`, and how much it lowers the squared error, in noise variances."""
        places = np.arange(first + self.fewest, end - self.fewest + 1)
        weight, total = self.sums
        before, after = weight[places] - weight[first], weight[end] - weight[places]
        left = (total[places] - total[first]) / before
        right = (total[end] - total[places]) / after
        return places, before * after / (before + after) * (left - right) ** 2


def change_points(
    middle_s: Floats, score: Floats, information: Floats, stretch: Integers, per_window: float
) -> tuple[Change, ...]:
    """Changes of the level, in time order.

    The search supposes the same noise in all scores, their harmonic mean, and so finds too many changes rather than too
    few. Of these, the weakest is dropped until each lowers the squared error, weighted by the scores' own
    noise, by the penalty, and is a change of LEAST_CHANGE at least. Each change is then where the squared error between
    its neighbours is least.

    Args:
        middle_s: (n,) of the segments, s, in time order.
        score: (n,) points; NaN where unscorable.
        information: (n,) of each score, points^-2: what overlapping segments share counted once.
        stretch: (n,) the level starts anew with each; that is no change.
        per_window: segments per window: window / stride, at least 1.
    """
    found: list[Change] = []
    for number in np.unique(stretch):
        of_it = np.flatnonzero((stretch == number) & np.isfinite(score))
        fewest = int(np.ceil(FEWEST_WINDOWS * per_window))
        if len(of_it) < 2 * fewest:
            continue
        scores = _Scores.of(middle_s[of_it], score[of_it], information[of_it], fewest)
        least = penalty(float(np.isfinite(score).sum()) / per_window)
        places = _dropped(scores, _search(score[of_it], scores, least), least)
        found.extend(_described(scores, places))
    return tuple(found)


def penalty(n_windows: float) -> float:
    """How much a change must lower the squared error, in units of the noise variance.

    Set by simulation (`python -m tests.stats.measure_trajectories`): of series with a constant level, at most one in
    twenty has a change. Longer series have more places for one; in shorter ones the noise is known less well.

    Args:
        n_windows: what all scores of the series are worth in windows that do not overlap.
    """
    n = max(n_windows, 1.0)
    return (8 + float(np.log(n))) * (1 + 20 / n)


def _search(score: Floats, scores: _Scores, least: float) -> list[int]:
    """First places after changes, by PELT."""
    import ruptures

    standardised = score * np.sqrt(scores.weight.mean())
    search = ruptures.KernelCPD(kernel="linear", min_size=scores.fewest).fit(standardised[:, None])
    return [int(place) for place in search.predict(pen=least)[:-1]]


def _dropped(scores: _Scores, places: list[int], least: float) -> list[int]:
    """The places without those that are too weak, each where it is best between its neighbours."""
    while places:
        bounds = [0, *places, len(scores.weight)]
        gains = []
        for number in range(1, len(bounds) - 1):
            candidates, gain = scores.gains(bounds[number - 1], bounds[number + 1])
            best = int(gain.argmax())
            bounds[number] = int(candidates[best])
            size = abs(
                scores.level(bounds[number - 1], bounds[number]) - scores.level(bounds[number], bounds[number + 1])
            )
            gains.append(float(gain[best]) if size >= LEAST_CHANGE else 0.0)
        weakest = int(np.argmin(gains))
        moved = bounds[1:-1] != places
        places = bounds[1:-1]
        if gains[weakest] < least:
            places.pop(weakest)
        elif not moved:
            break
    return places


def _described(scores: _Scores, places: list[int]) -> list[Change]:
    bounds = [0, *places, len(scores.weight)]
    middle = scores.middle_s
    changes = []
    for before, place, after in zip(bounds[:-2], bounds[1:-1], bounds[2:], strict=True):
        candidates, gain = scores.gains(before, after)
        possible = candidates[gain >= gain.max() - INTERVAL]
        changes.append(
            Change(
                float(middle[place - 1] + middle[place]) / 2,
                float(middle[possible[0] - 1]),
                float(middle[possible[-1]]),
                scores.level(before, place),
                scores.level(place, after),
            )
        )
    return changes
