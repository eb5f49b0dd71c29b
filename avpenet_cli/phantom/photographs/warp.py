"""Warp from the frame to the photograph by thin-plate splines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avpenet_cli.phantom.photographs.template import Array

Float = npt.NDArray[np.float32]

_STIFFNESS = 2e-5
"""Regularisation, which keeps points that come together (closed lips) from being contradictory."""


@dataclass(frozen=True)
class ThinPlate:
    """Thin-plate spline of two variables (Bookstein 1989, IEEE TPAMI 11(6), equations 1 to 5).

    Attributes:
        knots: (n, 2).
        weights: (n + 3, 2) of the kernels, the constant, x and y.
    """

    knots: Array
    weights: Array

    def __call__(self, points: Array) -> Float:
        """Values (m, 2) float32 at points (m, 2)."""
        at, knots = points.astype(np.float32), self.knots.astype(np.float32)
        squared = (at * at).sum(1)[:, None] + (knots * knots).sum(1)[None, :] - 2.0 * (at @ knots.T)
        np.maximum(squared, np.float32(1e-9), out=squared)
        np.multiply(squared, np.log(squared), out=squared)
        weights = self.weights.astype(np.float32)
        return np.asarray(squared @ weights[:-3] + weights[-3] + at @ weights[-2:], np.float32)


def fit_thin_plate(knots: Array, values: Array) -> ThinPlate:
    """Smooth function with given values at scattered knots.

    Args:
        knots: (n, 2), of the order of 1.
        values: (n, 2).
    """
    n = len(knots)
    squared = np.maximum(((knots[:, None] - knots[None]) ** 2).sum(-1), 1e-12)
    system = np.zeros((n + 3, n + 3))
    # The kernel is not positive definite by itself, but is on functions free of an affine part.
    system[:n, :n] = squared * np.log(squared) + _STIFFNESS * np.eye(n)
    system[:n, n] = system[n, :n] = 1.0
    system[:n, n + 1 :] = knots
    system[n + 1 :, :n] = knots.T
    target = np.zeros((n + 3, 2))
    target[:n] = values
    return ThinPlate(knots, np.asarray(np.linalg.solve(system, target), np.float64))
