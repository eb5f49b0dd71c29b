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

from avpenet_cli.explanation.deletion import deletion_curve
from avpenet_cli.explanation.explained import DeletionCurve, Float32, Saliency, SanityCheck, SegmentInputs
from avpenet_cli.explanation.map_settings import MapSettings
from avpenet_cli.explanation.saliency import Tokens, Varied, face_cell, integrated_gradients, varied_audio, varied_face
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
    method: MapMethod = integrated_gradients,
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
            varied, cell = varied_audio(network, inputs, tokens), settings.audio_cell
        else:
            varied = varied_face(network, inputs, tokens, shown[0], settings)
            cell = face_cell(values.shape[0], settings)
        assert not isinstance(varied, str)  # there is a map
        curve, deletion = _deletion(modality, varied, values, cell, settings, seed)
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
    """The maps of the randomised network, whose segment has the first face shown as its only face."""
    randomised = randomised_network(network, seed)
    audio_steps, face_steps = settings.randomised_steps
    settings = dataclasses.replace(settings, audio_steps=audio_steps, face_steps=face_steps)
    if shown:
        rows = list(shown)
        inputs = dataclasses.replace(
            inputs,
            crops=inputs.crops[rows],
            places=inputs.places[rows],
            counts=None if inputs.counts is None else inputs.counts[rows],
        )
    with torch.no_grad():
        tokens = randomised.tokens(inputs)
    return method(randomised, inputs, tokens, (0,) if shown else (), settings)


def _first_maps(saliency: Saliency) -> dict[str, Float32 | None]:
    return {"audio": saliency.audio, "face": None if saliency.faces is None else saliency.faces[0]}


def rank_correlation(values: Float32, others: Float32, given: Float32) -> float:
    """Spearman's partial correlation of the absolute values of two maps, given a third array.

    Args:
        values, others: (H, W) float32, maps.
        given: (H, W) float32, how far the input is from its baseline. Both maps are products with it: without sound
            there is nothing to attribute under any network, which makes any two maps alike (Adebayo et al., section 5).

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
    given = (varied.input - varied.baseline).abs().sum(dim=1)[0].cpu().numpy()
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
    modality: Modality, varied: Varied, values: Float32, cell: tuple[int, int], settings: MapSettings, seed: int
) -> tuple[DeletionCurve, SanityCheck]:
    curve = deletion_curve(varied, values, modality, cell, settings, seed)
    effect = abs(curve.score[-1] - curve.score[0])
    baseline = "silence" if modality == "audio" else "the blurred face"
    if effect < settings.least_effect:
        text = (
            f"Whether the salient parts of the {modality} matter could not be checked: {baseline} in its place "
            f"changes the score by only {effect:.3f} points."
        )
        return curve, SanityCheck("deletion", modality, None, math.nan, math.nan, text)
    limit = max(curve.random_area)
    numbers = f"by {curve.area:.3f} points on average, random orders by at most {limit:.3f}"
    if curve.passed:
        text = f"The salient parts of the {modality} matter: blanking them first changes the score {numbers}."
    else:
        text = (
            f"Do not rely on {_NAMES[modality]}: blanking its salient parts first changes the score {numbers}, so they "
            "do not matter more than others."
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
