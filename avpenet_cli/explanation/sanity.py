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
from avpenet_cli.explanation.saliency import Tokens, integrated_gradients, varied_audio, varied_face
from avpenet_cli.explanation.scorer import SegmentNetwork
from avpenet_cli.model.architecture import MODALITIES, Modality
from avpenet_cli.model.initialise import seeded_state

MapMethod = Callable[[SegmentNetwork, SegmentInputs, Tokens, tuple[int, ...], MapSettings], Saliency]
"""Computes the maps that are checked; the indices are those of the faces to map."""

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
        again = _first_maps(method(network, inputs, tokens, shown, settings))
    checks: list[SanityCheck] = []
    curves: list[DeletionCurve] = []
    for modality in MODALITIES:
        values = maps[modality]
        if values is None or randomised is None or again is None:
            if modality in network.network.modalities:
                checks += _not_made(modality)
            continue
        checks.append(_randomisation(modality, values, randomised[modality], settings))
        curve, deletion = _deletion(network, inputs, tokens, modality, values, shown, settings, seed)
        checks.append(deletion)
        curves += [curve] if curve else []
        checks.append(_repetition(modality, values, again[modality]))
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


def rank_correlation(values: Float32, others: Float32) -> float:
    """Spearman's correlation of the absolute values of two maps; NaN where one is constant."""
    from scipy.stats import rankdata

    ranks, other_ranks = (rankdata(np.abs(part).ravel()) for part in (values, others))
    if np.ptp(ranks) == 0 or np.ptp(other_ranks) == 0:
        return math.nan
    return float(np.corrcoef(ranks, other_ranks)[0, 1])


def _randomisation(
    modality: Modality, values: Float32, randomised: Float32 | None, settings: MapSettings
) -> SanityCheck:
    limit = settings.largest_correlation
    correlation = math.nan if randomised is None else abs(rank_correlation(values, randomised))
    if math.isnan(correlation):
        text = f"Whether {_NAMES[modality]} depends on what the network has learnt could not be checked: the map, or "
        return SanityCheck("randomisation", modality, None, math.nan, limit, text + "that of random weights, is flat.")
    passed = correlation < limit
    if passed:
        text = (
            f"{_NAMES[modality].capitalize()} depends on what the network has learnt: with random weights it is another"
            f" (rank correlation {correlation:.2f}, below {limit:.2f})."
        )
    else:
        text = (
            f"Do not rely on {_NAMES[modality]}: a network with random weights gives much the same (rank correlation "
            f"{correlation:.2f}, not below {limit:.2f}), so it shows the input more than what the network has learnt."
        )
    return SanityCheck("randomisation", modality, passed, correlation, limit, text)


def _deletion(
    network: SegmentNetwork,
    inputs: SegmentInputs,
    tokens: Tokens,
    modality: Modality,
    values: Float32,
    shown: tuple[int, ...],
    settings: MapSettings,
    seed: int,
) -> tuple[DeletionCurve | None, SanityCheck]:
    if modality == "audio":
        varied = varied_audio(network, inputs, tokens)
        cells = settings.audio_cells
    else:
        varied = varied_face(network, inputs, tokens, shown[0], settings)
        cells = (values.shape[0] // settings.face_cells[0], values.shape[1] // settings.face_cells[1])
    assert not isinstance(varied, str)  # there is a map
    curve = deletion_curve(varied, values, modality, cells, settings, seed)
    effect = abs(curve.score[-1] - curve.score[0])
    part = "audio" if modality == "audio" else "face"
    baseline = "silence" if modality == "audio" else "the blurred face"
    if effect < settings.least_effect:
        text = (
            f"Whether the salient parts of the {part} matter could not be checked: {baseline} in its place changes the "
            f"score by only {effect:.3f} points."
        )
        return curve, SanityCheck("deletion", modality, None, math.nan, math.nan, text)
    limit = max(curve.random_area)
    numbers = f"by {curve.area:.3f} points on average, random orders by at most {limit:.3f}"
    if curve.passed:
        text = f"The salient parts of the {part} matter: blanking them first changes the score {numbers}."
    else:
        text = (
            f"Do not rely on {_NAMES[modality]}: blanking its salient parts first changes the score {numbers}, so they "
            "do not matter more than others."
        )
    return curve, SanityCheck("deletion", modality, curve.passed, curve.area, limit, text)


def _repetition(modality: Modality, values: Float32, again: Float32 | None) -> SanityCheck:
    difference = math.inf if again is None else float(np.abs(values - again).max())
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
