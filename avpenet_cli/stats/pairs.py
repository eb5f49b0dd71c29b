"""Pairs of scores of the same segments, with the subject of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_LAST_BIN = 9
"""From 9 to 10 points, which includes 10."""


@dataclass(frozen=True)
class Pairs:
    """Two scores of each segment.

    Attributes:
        model: (n,) float64, points of the 0-10 scale.
        reference: (n,) the same of the reference.
        subject: (n,) int64, 0 to n_subjects - 1; the subject is the unit of every interval.
        n_subjects: number of subjects, each with at least one pair.
    """

    model: Array
    reference: Array
    subject: NDArray[np.int64]
    n_subjects: int

    @classmethod
    def of(cls, model: Array, reference: Array, subject: NDArray[np.generic]) -> Pairs:
        """Pairs from aligned columns.

        Args:
            model: (n,) points.
            reference: (n,) points.
            subject: (n,) names or numbers of one sortable type; sorted, they become the codes 0, 1, ...
        """
        names = np.asarray(subject).tolist()
        # Hashing a million names takes a tenth of the time of sorting them.
        codes = {name: code for code, name in enumerate(sorted(set(names)))}
        return cls(
            np.asarray(model, dtype=np.float64),
            np.asarray(reference, dtype=np.float64),
            np.fromiter((codes[name] for name in names), np.int64, len(names)),
            len(codes),
        )

    @cached_property
    def difference(self) -> Array:
        """d = model - reference, points."""
        return self.model - self.reference

    @cached_property
    def mean(self) -> Array:
        """Mean of the two, points."""
        return (self.model + self.reference) / 2

    @property
    def n(self) -> int:
        """Number of pairs."""
        return len(self.model)

    @property
    def independent(self) -> bool:
        """Whether each subject has exactly one pair."""
        return self.n == self.n_subjects

    def per_subject(self, *columns: Array) -> Array:
        """Sums by subject.

        Args:
            columns: each (n,).

        Returns:
            (n_subjects, number of columns) float64.
        """
        return np.stack([np.bincount(self.subject, column, self.n_subjects) for column in columns], axis=1)


def one_point_bins(pairs: Pairs, values: Array) -> Iterator[tuple[int, Pairs]]:
    """Lower end and pairs of each bin of one point of the 0-10 scale that has a pair.

    Args:
        pairs: all pairs.
        values: (n,) points, what is binned; values outside the scale belong to the first or the last bin.
    """
    bin_of_pair = np.clip(np.floor(values), 0, _LAST_BIN)
    for low in range(_LAST_BIN + 1):
        in_bin = bin_of_pair == low
        if in_bin.any():
            yield low, Pairs.of(pairs.model[in_bin], pairs.reference[in_bin], pairs.subject[in_bin])
