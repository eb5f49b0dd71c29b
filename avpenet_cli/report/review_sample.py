"""The control sample: segments drawn at random, of which a person says what the score should be without seeing it."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

SIZE = 30
"""Segments of the control sample, where there are as many scores."""


@dataclass(frozen=True)
class ControlDraw:
    """A control sample.

    Attributes:
        rows: labels of the drawn rows in the table of segments, in random order.
        population: scored segments it was drawn from.
        n_subjects: subjects of the drawn segments.
        seed: of the draw.
    """

    rows: npt.NDArray[np.int64]
    population: int
    n_subjects: int
    seed: int

    @property
    def probability(self) -> float:
        """With which every scored segment gets into the sample, 0 to 1; 0 without any."""
        return len(self.rows) / self.population if self.population else 0.0


def draw_control(scored: pd.DataFrame, seed: int, size: int = SIZE) -> ControlDraw:
    """Draw segments in two stages, so that each has the same inclusion probability and many subjects are among them.

    Subjects in random order, each as long as its number of scored segments, are hit systematically from a random start
    (Madow 1949, Ann Math Stat 20:333: probability proportional to size); from a subject that was hit h times, h
    segments are drawn at random without replacement. The inclusion probability is size / segments for every one.

    Args:
        scored: `recording`, `subject`, `start_s`, `end_s` of every scored segment. Their order does not matter.
        seed: of the draw; the same table, subjects and seed give the same sample on every machine.
        size: segments to draw; all where there are no more.
    """
    # Python's `random()` stays the same between versions; the streams of NumPy's generators may change.
    rng = random.Random(f"avpenet control sample {seed}")
    codes, names = pd.factorize(scored["subject"], sort=True)
    population, size = len(scored), min(size, len(scored))
    if not size:
        return ControlDraw(np.empty(0, dtype=np.int64), 0, 0, seed)
    lengths = np.bincount(codes, minlength=len(names))
    order = np.argsort([rng.random() for _ in names], kind="stable")
    start = rng.random()
    places = np.array([int((start + hit) * population / size) for hit in range(size)])
    hit_subjects = order[np.searchsorted(np.cumsum(lengths[order]), np.minimum(places, population - 1), side="right")]
    drawn: list[int] = []
    for subject in np.unique(hit_subjects):
        part = scored[codes == subject].sort_values(["recording", "start_s", "end_s"], key=_as_text)
        first = np.argsort([rng.random() for _ in range(len(part))], kind="stable")
        drawn += part.index[first[: np.count_nonzero(hit_subjects == subject)]].tolist()
    shuffled = np.array(sorted(drawn, key=lambda _: rng.random()), dtype=np.int64)
    return ControlDraw(shuffled, population, len(np.unique(hit_subjects)), seed)


def _as_text(column: pd.Series[str]) -> pd.Series[str]:
    """The names of a category, which otherwise sort by their appearance in the table."""
    return column.astype(str) if column.name == "recording" else column
