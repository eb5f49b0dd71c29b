"""Blank cells of an input, the most salient first, and see how the score changes (Petsiuk et al. 2018)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from avpenet_cli.explanation.explained import DeletionCurve, Float32
from avpenet_cli.explanation.map_settings import MapSettings
from avpenet_cli.explanation.saliency import Varied, cell_numbers
from avpenet_cli.model.architecture import Modality


def deletion_curve(
    varied: Varied, values: Float32, modality: Modality, settings: MapSettings, seed: int
) -> DeletionCurve:
    """The score as cells of an input are replaced by those of its baseline.

    The most salient cells are those that move the score most from that of the baseline towards the actual one: those
    with the largest values where the actual score is higher, with the smallest where it is lower.

    Args:
        varied: the input.
        values: (rows, columns) float32, its map.
        modality: of the input.
        settings: how much is blanked at a time, and how often at random.
        seed: of the random orders.

    Returns:
        Scores at the shares 0 and `deletion_shares`.
    """
    number, count = cell_numbers((varied.input.shape[-2], varied.input.shape[-1]), varied.cell)
    whole, blank = _scores(varied, torch.cat([varied.input, varied.baseline]), settings.batch)
    towards_blank = 1 if blank >= whole else -1
    rng = np.random.default_rng(seed)
    orders = [np.argsort(towards_blank * values.ravel(), kind="stable")]
    orders += [rng.permutation(count) for _ in range(settings.random_orders)]
    blanked = np.array([_blanked(varied, number, order, settings) for order in orders])
    scores = np.concatenate([np.full((len(orders), 1), whole), blanked], axis=1)
    shares = np.array([0.0, *settings.deletion_shares])
    areas = np.trapezoid(towards_blank * (scores - whole), shares, axis=1) / shares[-1]
    random = scores[1:]
    return DeletionCurve(
        modality=modality,
        share=tuple(shares.tolist()),
        score=tuple(scores[0].tolist()),
        random=tuple(random.mean(axis=0).tolist()),
        random_low=tuple(random.min(axis=0).tolist()),
        random_high=tuple(random.max(axis=0).tolist()),
        blank=blank,
        area=float(areas[0]),
        random_area=tuple(areas[1:].tolist()),
        passed=bool(areas[0] > areas[1:].max()),
    )


def _blanked(
    varied: Varied, number: npt.NDArray[np.int64], order: npt.NDArray[np.int64], settings: MapSettings
) -> list[float]:
    """Scores with the first cells of an order blanked, one for each share."""
    variants = []
    for share in settings.deletion_shares:
        blank = np.zeros(len(order), np.bool_)
        blank[order[: max(1, round(share * len(order)))]] = True
        mask = torch.from_numpy(blank[number]).to(varied.input.device)
        variants.append(torch.where(mask, varied.baseline, varied.input))
    return _scores(varied, torch.cat(variants), settings.batch)


@torch.no_grad()
def _scores(varied: Varied, variants: Tensor, batch: int) -> list[float]:
    scores: list[float] = torch.cat([varied.score(part) for part in variants.split(batch)]).tolist()
    return scores
