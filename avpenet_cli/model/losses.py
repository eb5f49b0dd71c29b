"""The article's training loss (equations 24-27): squared error, order of pairs, distance from the scale's ends."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from avpenet_cli.model.head import TOP_SCORE

Weight = Annotated[float, Field(ge=0.0)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class LossSettings:
    """Weights of the three terms and their margins, in points of the 0-10 scale."""

    mse_weight: Weight = 1.0
    """Weight of the squared error."""
    ordinal_weight: Weight = 0.3
    """Weight of the ordinal term."""
    boundary_weight: Weight = 0.1
    """Weight of the boundary term."""
    ordinal_margin: Annotated[float, Field(gt=0.0, le=TOP_SCORE)] = 0.5
    """Pairs of segments further apart than this are kept in order, by this margin."""
    boundary_margin: Annotated[float, Field(ge=0.0, le=TOP_SCORE / 2)] = 1.0
    """Scores closer to 0 or 10 than this are penalised."""


class LossTerms(NamedTuple):
    """The loss and its unweighted terms, each a float32 scalar that carries gradients."""

    total: Tensor
    mse: Tensor
    ordinal: Tensor
    boundary: Tensor


def ordinal_loss(prediction: Tensor, truth: Tensor, margin: float) -> Tensor:
    """Equation 25: mean over pairs with |y_i - y_j| > margin of max(0, margin - sign(y_i - y_j)(p_i - p_j))^2.

    Args:
        prediction: (B,) float32 in [0, 10].
        truth: (B,) float32 in [0, 10].
        margin: points of the scale.

    Returns:
        Scalar float32; 0 where no pair is that far apart.
    """
    truth_difference = truth[:, None] - truth[None, :]
    prediction_difference = prediction[:, None] - prediction[None, :]
    violation = (margin - truth_difference.sign() * prediction_difference).clamp(min=0.0).square()
    counted = truth_difference.abs() > margin
    # A where-sum rather than a boolean index: no host synchronisation, and still a gradient without any pair.
    return torch.where(counted, violation, 0.0).sum() / counted.sum().clamp(min=1)


def boundary_loss(prediction: Tensor, margin: float) -> Tensor:
    """Equation 26, the authors' "smooth" term: mean of max(0, m - p)^2 + max(0, p - (10 - m))^2.

    Args:
        prediction: (B,) float32 in [0, 10].
        margin: m, points of the scale.

    Returns:
        Scalar float32.
    """
    low = (margin - prediction).clamp(min=0.0).square()
    high = (prediction - (TOP_SCORE - margin)).clamp(min=0.0).square()
    return (low + high).mean()


def composite_loss(prediction: Tensor, truth: Tensor, settings: LossSettings) -> LossTerms:
    """Equation 27: weighted sum of the squared error (24), the ordinal (25) and the boundary term (26).

    Args:
        prediction: (B,) float32 in [0, 10].
        truth: (B,) float32 in [0, 10].
        settings: weights and margins.

    Raises:
        ValueError: shapes that differ, or an empty batch.
    """
    if prediction.shape != truth.shape or prediction.ndim != 1 or not len(prediction):
        raise ValueError(f"prediction {tuple(prediction.shape)} and truth {tuple(truth.shape)} must be (B,), B > 0")
    mse = (prediction - truth).square().mean()
    ordinal = ordinal_loss(prediction, truth, settings.ordinal_margin)
    boundary = boundary_loss(prediction, settings.boundary_margin)
    total = settings.mse_weight * mse + settings.ordinal_weight * ordinal + settings.boundary_weight * boundary
    return LossTerms(total, mse, ordinal, boundary)
