"""Checks of a saliency map: does it depend on the network, do its salient parts matter, is it the same again.

Randomisation: Adebayo et al. 2018, Sanity checks for saliency maps (arXiv 1810.03292). Deletion: Petsiuk, Das and
Saenko 2018, RISE (arXiv 1806.07421), here against random orders.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as F

from avpenet_cli.explanation.deletion import deletion_curve
from avpenet_cli.explanation.explained import DeletionCurve, Float32, Saliency, SanityCheck, SegmentInputs
from avpenet_cli.explanation.map_settings import MapSettings
from avpenet_cli.explanation.saliency import Tokens, Varied, occlusion, varied_audio, varied_face
from avpenet_cli.explanation.scorer import SegmentNetwork
from avpenet_cli.model.architecture import MODALITIES, Modality
from avpenet_cli.model.initialise import seeded_state

MapMethod = Callable[[SegmentNetwork, SegmentInputs, Tokens, tuple[int, ...], MapSettings], Saliency]
"""Computes the maps that are checked; the indices are those of the faces to map."""

_NOTHING_ELSE = 1e-9
"""Share of a map's variance below which it has nothing beside what it is compared given."""

_NAMES: dict[Modality, str] = {"audio": "the audio's map", "face": "the face's map"}


def check(
    network: SegmentNetwork,
    inputs: SegmentInputs,
    tokens: Tokens,
    saliency: Saliency,
    settings: MapSettings,
    seed: int,
    method: MapMethod = occlusion,
) -> tuple[tuple[SanityCheck, ...], tuple[DeletionCurve, ...]]:
    """Check the maps of one segment: that of the audio, and that of the first face shown.

    Args:
        network: that the maps explain.
        inputs, tokens: as for `saliency`.
        saliency: the maps.
        settings: that they were computed with.
        seed: of the randomised network and of the random orders.
        method: that computed the maps.

    Returns:
        Three checks of each modality that has a map, in the order of `MODALITIES`, and the curves of deletion. Where a
        modality that the network takes has no map, the checks say that they could not be made.
    """
    shown = saliency.shown[:1]
    maps = {"audio": saliency.audio, "face": None if saliency.faces is None else saliency.faces[0]}
    randomised = again = None
    if any(values is not None for values in maps.values()):
        randomised = _first_maps(_of_randomised(network, inputs, shown, settings, seed, method))
        if settings.repeated:
            again = _first_maps(method(network, inputs, tokens, shown, settings))
    checks: list[SanityCheck] = []
    curves: list[DeletionCurve] = []
    for modality in MODALITIES:
        values = maps[modality]
        if values is None or randomised is None:
            if modality in network.network.modalities:
                checks += _not_made(modality)
            continue
        if modality == "audio":
            varied = varied_audio(network, inputs, tokens, settings)
        else:
            varied = varied_face(network, inputs, tokens, shown[0], settings)
        assert not isinstance(varied, str)  # there is a map
        curve, deletion = _deletion(modality, varied, values, settings, seed)
        curves.append(curve)
        checks.append(_randomisation(modality, varied, values, randomised[modality], settings))
        checks.append(deletion)
        checks.append(_repetition(modality, values, again))
    return tuple(checks), tuple(curves)


def randomised_network(network: SegmentNetwork, seed: int) -> SegmentNetwork:
    """The same network with all parameters drawn at random, as an untrained one has them."""
    with torch.device("meta"):
        # mypy does not know that every network's constructor takes its settings only.
        fresh = type(network.network)(network.network.architecture)
    fresh.load_state_dict(seeded_state(fresh, seed), assign=True)
    fresh.to(network.device).eval()
    return dataclasses.replace(network, network=fresh)


def _of_randomised(
    network: SegmentNetwork,
    inputs: SegmentInputs,
    shown: tuple[int, ...],
    settings: MapSettings,
    seed: int,
    method: MapMethod,
) -> Saliency:
    randomised = randomised_network(network, seed)
    with torch.no_grad():
        tokens = randomised.tokens(inputs)
    return method(randomised, inputs, tokens, shown, settings)


def _first_maps(saliency: Saliency) -> dict[str, Float32 | None]:
    return {"audio": saliency.audio, "face": None if saliency.faces is None else saliency.faces[0]}


def distance_by_cell(varied: Varied) -> Float32:
    """Mean absolute difference of an input from its baseline in each cell: (rows, columns) float32."""
    difference = (varied.input - varied.baseline).abs().mean(dim=1, keepdim=True)
    means = F.avg_pool2d(difference, varied.cell, ceil_mode=True)
    values: Float32 = means[0, 0].detach().cpu().numpy()
    return values


def rank_correlation(values: Float32, others: Float32, given: Float32) -> float:
    """Spearman's partial correlation of the absolute values of two maps, given a third array.

    Args:
        values, others: (rows, columns) float32, maps.
        given: (rows, columns) float32, how far the input is from its baseline. Where there is nothing to blank, no
            network gives a map any value, which makes any two maps alike (Adebayo et al., section 5).

    Returns:
        From -1 to 1; 1 where a map has nothing beside `given`, for then it does not depend on the network; NaN where
        a map is constant.
    """
    from scipy.stats import rankdata

    ranks = [rankdata(np.abs(part).ravel()) for part in (values, others, given)]
    if any(np.ptp(part) == 0 for part in ranks[:2]):
        return math.nan
    if np.ptp(ranks[2]) == 0:
        return float(np.asarray(np.corrcoef(ranks[:2]))[0, 1])
    correlations = np.asarray(np.corrcoef(ranks))
    direct, first, second = correlations[0, 1], correlations[0, 2], correlations[1, 2]
    unexplained = (1 - first**2) * (1 - second**2)
    return float((direct - first * second) / math.sqrt(unexplained)) if unexplained > _NOTHING_ELSE else 1.0


def _randomisation(
    modality: Modality, varied: Varied, values: Float32, randomised: Float32 | None, settings: MapSettings
) -> SanityCheck:
    limit = settings.largest_correlation
    given = distance_by_cell(varied)
    correlation = math.nan if randomised is None else abs(rank_correlation(values, randomised, given))
    if math.isnan(correlation):
        text = f"Whether {_NAMES[modality]} depends on what the network has learnt could not be checked: the map, or "
        return SanityCheck("randomisation", modality, None, math.nan, limit, text + "that of random weights, is flat.")
    passed = correlation < limit
    numbers = f"rank correlation {correlation:.2f} beyond what the {modality} alone explains"
    if passed:
        text = (
            f"{_NAMES[modality].capitalize()} depends on what the network has learnt: with random weights it is another"
            f" ({numbers}, below {limit:.2f})."
        )
    else:
        text = (
            f"Do not rely on {_NAMES[modality]}: a network with random weights gives much the same ({numbers}, not "
            f"below {limit:.2f}), so it shows the input more than what the network has learnt."
        )
    return SanityCheck("randomisation", modality, passed, correlation, limit, text)


def _deletion(
    modality: Modality, varied: Varied, values: Float32, settings: MapSettings, seed: int
) -> tuple[DeletionCurve, SanityCheck]:
    curve = deletion_curve(varied, values, modality, settings, seed)
    effect = abs(curve.blank - curve.score[0])
    baseline = "silence" if modality == "audio" else "the blurred face"
    if effect < settings.least_effect:
        text = (
            f"Whether the salient parts of the {modality} matter could not be checked: {baseline} in its place "
            f"changes the score by only {effect:.3f} points."
        )
        return curve, SanityCheck("deletion", modality, None, math.nan, math.nan, text)
    limit = max(curve.random_area)
    where = "towards that of silence" if modality == "audio" else "towards that of a blurred face"
    numbers = f"by {curve.area:.2f} points on average, random orders by at most {limit:.2f}"
    if curve.passed:
        text = f"The salient parts of the {modality} matter: blanking them first moves the score {where} {numbers}."
    else:
        text = (
            f"Do not rely on {_NAMES[modality]}: blanking its salient parts first moves the score {where} {numbers}, "
            "so they do not matter more than others."
        )
    return curve, SanityCheck("deletion", modality, curve.passed, curve.area, limit, text)


def _repetition(modality: Modality, values: Float32, again: dict[str, Float32 | None] | None) -> SanityCheck:
    if again is None:
        text = f"{_NAMES[modality].capitalize()} of this segment was not computed again."
        return SanityCheck("repetition", modality, None, math.nan, 0.0, text)
    repeated = again[modality]
    difference = math.inf if repeated is None else float(np.abs(values - repeated).max())
    passed = difference == 0
    if passed:
        text = f"{_NAMES[modality].capitalize()} is the same to the last bit when it is computed again."
    else:
        text = f"Do not rely on {_NAMES[modality]}: computed again, it differs by up to {difference:.2g} points."
    return SanityCheck("repetition", modality, passed, difference, 0.0, text)


def _not_made(modality: Modality) -> list[SanityCheck]:
    text = f"There is no map of the {modality} to check."
    names = ("randomisation", "deletion", "repetition")
    return [SanityCheck(name, modality, None, math.nan, math.nan, text) for name in names]
