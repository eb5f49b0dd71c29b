"""Support vector regression with a Gaussian kernel: fitted by scikit-learn, evaluated in torch.

f(x) = sum_i a_i exp(-gamma |x - s_i|^2) + b, with support vectors s, dual coefficients a and intercept b (Smola and
Schoelkopf 2004).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

_ROWS_AT_ONCE = 256


class SupportVectorRegression(nn.Module):
    """A fitted regression; its tensors are buffers.

    Args:
        n_support: number of support vectors.
        n_inputs: values of a row.
        gamma: of the kernel.
    """

    def __init__(self, n_support: int, n_inputs: int, gamma: float) -> None:
        super().__init__()
        self._gamma = gamma
        self.support_vectors: Tensor
        self.dual_coefficients: Tensor
        self.intercept: Tensor
        self.register_buffer("support_vectors", torch.zeros(n_support, n_inputs))
        self.register_buffer("dual_coefficients", torch.zeros(n_support))
        self.register_buffer("intercept", torch.zeros(1))

    def forward(self, rows: Tensor) -> Tensor:
        """(n, n_inputs) float -> (n,) float64; computed in float64, as scikit-learn does."""
        predictions = [self._kernel(part) @ self.dual_coefficients.double() for part in rows.split(_ROWS_AT_ONCE)]
        return torch.cat(predictions) + self.intercept.double()

    def _kernel(self, rows: Tensor) -> Tensor:
        rows, vectors = rows.double(), self.support_vectors.double()
        products = rows @ vectors.T
        squared = rows.square().sum(1)[:, None] + vectors.square().sum(1) - 2 * products
        return (-self._gamma * squared.clamp(min=0)).exp()


@dataclass(frozen=True)
class SvrParams:
    """Hyperparameters: `penalty` is C, `epsilon` the half width of the tube without loss, in points."""

    penalty: float
    epsilon: float
    gamma: float


@dataclass(frozen=True, eq=False)
class FittedSvr:
    """A fit: hyperparameters, and what `SupportVectorRegression` holds, as float64 arrays."""

    params: SvrParams
    support_vectors: NDArray[np.float64]
    dual_coefficients: NDArray[np.float64]
    intercept: float

    def module(self) -> SupportVectorRegression:
        """The regression as a torch module."""
        n_support, n_inputs = self.support_vectors.shape
        module = SupportVectorRegression(n_support, n_inputs, self.params.gamma)
        module.support_vectors.copy_(torch.from_numpy(self.support_vectors))
        module.dual_coefficients.copy_(torch.from_numpy(self.dual_coefficients))
        module.intercept.fill_(self.intercept)
        return module


def fit_svr(
    rows: NDArray[np.float32],
    truth: NDArray[np.float64],
    validation: tuple[NDArray[np.float32], NDArray[np.float64]] | None,
    grid: Sequence[SvrParams],
) -> FittedSvr:
    """Fit with each of some hyperparameters, and keep those with the least mean absolute error in validation.

    Deterministic. Memory grows with the square of the number of rows.

    Args:
        rows: (n, E) to learn from, standardised.
        truth: (n,) pain, 0 to 10.
        validation: rows and truth to choose on; None to take the first hyperparameters.
        grid: hyperparameters; of equally good ones, the first is kept.
    """
    from sklearn.metrics.pairwise import euclidean_distances
    from sklearn.svm import SVR

    learnt = rows.astype(np.float64)
    # One matrix of distances serves all fits.
    distances = euclidean_distances(learnt, squared=True)
    best: FittedSvr | None = None
    least_error = np.inf
    for gamma, fits in itertools.groupby(grid if validation else grid[:1], lambda params: params.gamma):
        kernel = np.exp(-gamma * distances)
        for params in fits:
            svr = SVR(kernel="precomputed", C=params.penalty, epsilon=params.epsilon).fit(kernel, truth)
            coefficients = svr.dual_coef_[0].astype(np.float64)
            fitted = FittedSvr(params, learnt[svr.support_], coefficients, float(svr.intercept_[0]))
            if validation is None:
                return fitted
            predictions = fitted.module()(torch.from_numpy(validation[0])).numpy().clip(0, 10)
            error = float(np.abs(predictions - validation[1]).mean())
            if error < least_error:
                best, least_error = fitted, error
    assert best is not None, "the grid is empty"
    return best
