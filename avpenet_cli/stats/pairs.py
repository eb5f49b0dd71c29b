"""Pairs of scores of the same segments, and whose they are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Pairs:
    """Two scores of each segment.

    Attributes:
        model: (n,) float64, points of the 0-10 scale.
        reference: (n,) the same of the reference.
        subject: (n,) int64, 0 to n_subjects - 1; the subject is the unit of every interval.
        n_subjects: every one of them has a pair.
    """

    model: Array
    reference: Array
    subject: NDArray[np.int64]
    n_subjects: int

    @classmethod
    def of(cls, model: Array, reference: Array, subject: NDArray[np.generic]) -> Pairs:
        """From aligned columns; subjects may be named by anything."""
        codes, names = pd.factorize(np.asarray(subject), sort=True)
        return cls(
            np.asarray(model, dtype=np.float64),
            np.asarray(reference, dtype=np.float64),
            codes.astype(np.int64),
            len(names),
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
        """Is there one pair per subject?"""
        return self.n == self.n_subjects

    def per_subject(self, *columns: Array) -> Array:
        """Sums by subject.

        Args:
            columns: each (n,).

        Returns:
            (n_subjects, number of columns) float64.
        """
        return np.stack([np.bincount(self.subject, one, self.n_subjects) for one in columns], axis=1)
