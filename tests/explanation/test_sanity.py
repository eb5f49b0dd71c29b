"""Each check fails on a map that is made up; `tests/cli/test_explain.py` shows that those of a trained network pass."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from avpenet_cli.explanation.explained import DeletionCurve, Float32, Saliency, SanityCheck, SegmentInputs
from avpenet_cli.explanation.map_settings import MapSettings
from avpenet_cli.explanation.saliency import Tokens, Varied, occlusion, varied_audio, varied_face
from avpenet_cli.explanation.sanity import MapMethod, check, distance_by_cell, randomised_network, rank_correlation
from avpenet_cli.explanation.scorer import SegmentNetwork
from tests.support.explanations import ReadRecording

pytestmark = pytest.mark.slow

SETTINGS = dataclasses.replace(MapSettings(), faces_shown=1)
QUICK = dataclasses.replace(SETTINGS, deletion_shares=(0.4,), random_orders=1)
"""For checks other than deletion, of maps that cost nothing."""
COARSE = dataclasses.replace(QUICK, audio_cell=(32, 60), face_cells=3)
"""For checks of real maps that need no detail."""

SEED = 5
_FACE = 3
"""Index of the face with a map, in the middle of the segment."""
MODALITIES = ("audio", "face")


@dataclasses.dataclass(frozen=True)
class Segment:
    """A phantom's segment in clear pain, with every fifth of its faces: each costs a run of every random network."""

    network: SegmentNetwork
    inputs: SegmentInputs
    tokens: Tokens


@pytest.fixture(scope="module")
def segment(phantom: ReadRecording) -> Segment:
    whole = phantom.inputs[0]
    inputs = dataclasses.replace(whole, crops=whole.crops[::5], places=whole.places[::5])
    with torch.no_grad():
        return Segment(phantom.network, inputs, phantom.network.tokens(inputs))


def checked(
    segment: Segment, method: MapMethod, settings: MapSettings = SETTINGS
) -> tuple[dict[tuple[str, str], SanityCheck], list[DeletionCurve]]:
    """The checks of the maps that a method gives, by name and modality."""
    maps = method(segment.network, segment.inputs, segment.tokens, (_FACE,), settings)
    checks, curves = check(segment.network, segment.inputs, segment.tokens, maps, settings, SEED, method)
    return {(one.name, one.modality): one for one in checks}, list(curves)


def by_cell(image: Float32, cell: tuple[int, int]) -> Float32:
    """Means over the cells of a map."""
    means: Float32 = torch.nn.functional.avg_pool2d(torch.from_numpy(image)[None, None], cell, ceil_mode=True)[
        0, 0
    ].numpy()
    return means


def of_images(audio: Float32, face: Float32, shown: tuple[int, ...], settings: MapSettings) -> Saliency:
    side = -(-face.shape[0] // settings.face_cells)
    return Saliency(by_cell(audio, settings.audio_cell), by_cell(face, (side, side))[None], shown)


def edges_only(
    network: SegmentNetwork, inputs: SegmentInputs, tokens: Tokens, shown: tuple[int, ...], settings: MapSettings
) -> Saliency:
    """A map that shows the edges of the input, whatever the network is."""
    assert inputs.mel is not None
    crop = inputs.crops[shown[0]].astype(np.float32).mean(axis=-1)
    return of_images(edges(inputs.mel), edges(crop), shown, settings)


def noisy_edges(seeds: Iterator[int]) -> MapMethod:
    """The same with other noise each time, as maps of gradients have it."""

    def method(
        network: SegmentNetwork, inputs: SegmentInputs, tokens: Tokens, shown: tuple[int, ...], settings: MapSettings
    ) -> Saliency:
        assert inputs.mel is not None
        rng = np.random.default_rng(next(seeds))
        images = edges(inputs.mel), edges(inputs.crops[shown[0]].astype(np.float32).mean(axis=-1))
        audio, face = (image * (1 + rng.standard_normal(image.shape)).astype(np.float32) for image in images)
        return of_images(audio, face, shown, settings)

    return method


def edges(image: Float32) -> Float32:
    vertical, horizontal = np.gradient(image)
    magnitude: Float32 = np.hypot(vertical, horizontal).astype(np.float32)
    return magnitude


def centre(
    network: SegmentNetwork, inputs: SegmentInputs, tokens: Tokens, shown: tuple[int, ...], settings: MapSettings
) -> Saliency:
    """A map that shows the middle, as pictures of saliency often do."""
    side = inputs.crops.shape[1]
    return of_images(blob(128, 300), blob(side, side), shown, settings)


def input_only(
    network: SegmentNetwork, inputs: SegmentInputs, tokens: Tokens, shown: tuple[int, ...], settings: MapSettings
) -> Saliency:
    """A map that shows how far the input is from its baseline."""
    varied = varied_audio(network, inputs, tokens, settings), varied_face(network, inputs, tokens, shown[0], settings)
    audio, face = (distance_by_cell(part) for part in varied if isinstance(part, Varied))
    return Saliency(audio, face[None], shown)


def upside_down(
    network: SegmentNetwork, inputs: SegmentInputs, tokens: Tokens, shown: tuple[int, ...], settings: MapSettings
) -> Saliency:
    """The network's own map with its sign changed."""
    maps = occlusion(network, inputs, tokens, shown, settings)
    assert maps.audio is not None and maps.faces is not None
    return Saliency(-maps.audio, -maps.faces, shown)


def blob(height: int, width: int) -> Float32:
    rows, columns = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)
    return np.exp(-3 * (rows**2 + columns**2)).astype(np.float32)


def noise(seed: Callable[[], int]) -> MapMethod:
    """Maps of noise."""

    def method(
        network: SegmentNetwork, inputs: SegmentInputs, tokens: Tokens, shown: tuple[int, ...], settings: MapSettings
    ) -> Saliency:
        rng = np.random.default_rng(seed())
        rows, columns = settings.audio_cell
        shapes = (-(-128 // rows), -(-300 // columns)), (1, settings.face_cells, settings.face_cells)
        audio, faces = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
        return Saliency(audio, faces, shown)

    return method


def test_a_map_that_is_computed_again_is_the_same(segment: Segment) -> None:
    checks, curves = checked(segment, occlusion, COARSE)
    assert all(checks["repetition", modality].passed for modality in MODALITIES)
    assert [curve.modality for curve in curves] == list(MODALITIES)


@pytest.mark.parametrize("made_up", [edges_only, centre, input_only])
def test_a_map_that_ignores_the_network_fails_randomisation(segment: Segment, made_up: MapMethod) -> None:
    checks, _ = checked(segment, made_up, QUICK)
    for modality in MODALITIES:
        result = checks["randomisation", modality]
        assert result.passed is False and result.value == pytest.approx(1.0)
        assert result.text.startswith("Do not rely on") and "random weights" in result.text


def test_edges_with_fresh_noise_fail_randomisation(segment: Segment) -> None:
    checks, _ = checked(segment, noisy_edges(iter(range(100))), dataclasses.replace(QUICK, repeated=False))
    assert all(checks["randomisation", modality].passed is False for modality in MODALITIES)


def test_a_map_fails_randomisation_where_nothing_was_randomised(
    segment: Segment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("avpenet_cli.explanation.sanity.randomised_network", lambda network, seed: network)
    checks, _ = checked(segment, occlusion, dataclasses.replace(COARSE, repeated=False))
    for modality in MODALITIES:
        result = checks["randomisation", modality]
        assert result.passed is False and result.value == pytest.approx(1.0)


def test_a_map_with_the_wrong_sign_fails_deletion(segment: Segment) -> None:
    settings = dataclasses.replace(COARSE, random_orders=9, repeated=False)
    _, curves = checked(segment, upside_down, settings)
    assert all(not curve.passed and curve.area < float(np.mean(curve.random_area)) for curve in curves)


def test_a_random_map_fails_deletion(segment: Segment) -> None:
    settings = dataclasses.replace(SETTINGS, deletion_shares=(0.4,), random_orders=9)
    checks, _ = checked(segment, noise(lambda: 3), settings)
    for modality in MODALITIES:
        result = checks["deletion", modality]
        assert result.passed is False and result.value <= result.limit
        assert result.text.startswith("Do not rely on") and "do not matter more" in result.text
        assert checks["repetition", modality].passed


def test_a_map_with_fresh_noise_fails_repetition(segment: Segment) -> None:
    seeds = iter(range(100))
    checks, _ = checked(segment, noise(lambda: next(seeds)), QUICK)
    for modality in MODALITIES:
        result = checks["repetition", modality]
        assert result.passed is False and result.value > 0
        assert result.text.startswith("Do not rely on") and "computed again" in result.text


def test_a_map_that_is_not_computed_again_says_so(segment: Segment) -> None:
    settings = dataclasses.replace(QUICK, repeated=False)
    checks, _ = checked(segment, edges_only, settings)
    assert all(checks["repetition", modality].passed is None for modality in MODALITIES)
    assert checks["randomisation", "audio"].passed is False


def test_checks_without_a_map_say_so(segment: Segment) -> None:
    maps = Saliency(reason="no map")
    checks, curves = check(segment.network, segment.inputs, segment.tokens, maps, SETTINGS, SEED)
    assert not curves and len(checks) == 6
    assert all(one.passed is None and math.isnan(one.value) and one.text for one in checks)


def test_a_flat_map_cannot_be_checked_for_the_network(segment: Segment) -> None:
    def flat(
        network: SegmentNetwork, inputs: SegmentInputs, tokens: Tokens, shown: tuple[int, ...], settings: MapSettings
    ) -> Saliency:
        return Saliency(audio=np.zeros((8, 20), np.float32))

    maps = flat(segment.network, segment.inputs, segment.tokens, (), QUICK)
    checks, _ = check(segment.network, segment.inputs, segment.tokens, maps, QUICK, SEED, flat)
    result = next(one for one in checks if (one.name, one.modality) == ("randomisation", "audio"))
    assert result.passed is None and math.isnan(result.value) and "could not be checked" in result.text


def test_randomised_parameters_are_seeded_and_leave_the_network_as_it_is(segment: Segment) -> None:
    before = {name: tensor.clone() for name, tensor in segment.network.network.state_dict().items()}
    first, again, other = (randomised_network(segment.network, seed).network.state_dict() for seed in (1, 1, 2))
    weight = "audio_encoder.layer1.0.conv1.weight"
    assert torch.equal(first[weight], again[weight])
    assert not torch.equal(first[weight], other[weight])
    assert not torch.equal(first[weight], before[weight])
    assert all(torch.equal(before[name], tensor) for name, tensor in segment.network.network.state_dict().items())


def test_rank_correlation_is_what_two_maps_share_beyond_the_input() -> None:
    rng = np.random.default_rng(1)
    given, first, second = (rng.random((40, 50)).astype(np.float32) for _ in range(3))
    assert rank_correlation(first, -first, given) == pytest.approx(1.0)
    assert abs(rank_correlation(given * first, given * second, given)) < 0.1
    assert rank_correlation(given * first, given * second, np.ones_like(given)) > 0.3
    assert rank_correlation(given, 2 * given, given) == 1.0
    assert math.isnan(rank_correlation(first, np.ones_like(first), given))
