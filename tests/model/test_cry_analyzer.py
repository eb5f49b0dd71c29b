"""CryAnalyzer from features to stored weights."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from avpenet_cli.errors import SettingsError
from avpenet_cli.model.acoustic.features import FEATURES, N_FEATURES
from avpenet_cli.model.cry_analyzer import CryAnalyzer
from avpenet_cli.model.cry_analyzer_settings import CryAnalyzerSettings
from avpenet_cli.model.network import FeatureTable
from avpenet_cli.model.registry import build
from avpenet_cli.weights.description import WeightsDescription
from avpenet_cli.weights.loading import load_network
from avpenet_cli.weights.packing import pack, unpack
from avpenet_cli.weights.writing import save
from tests.model.acoustic.signals import pulse_train, white_noise

SMALL = CryAnalyzerSettings(n_trees=20, min_leaf=1)


def table_of(features: np.ndarray, truth: np.ndarray) -> FeatureTable:
    rows = len(features)
    return FeatureTable(
        features=features.astype(np.float32),
        starts_s=np.arange(rows, dtype=np.float64) * 3,
        recording=np.zeros(rows, np.int64),
        subject=np.arange(rows, dtype=np.int64) // 2,
        truth=truth.astype(np.float64),
        train=np.ones(rows, np.bool_),
        validation=np.zeros(rows, np.bool_),
    )


def random_table(rows: int = 60, missing: float = 0.2) -> FeatureTable:
    """Truth follows the first feature; a share of the values is missing."""
    rng = np.random.default_rng(2)
    features = rng.standard_normal((rows, N_FEATURES))
    truth = np.clip(5 + 2 * features[:, 0], 0, 10)
    features[:, 1:][rng.random((rows, N_FEATURES - 1)) < missing] = np.nan
    return table_of(features, truth)


def scores_of(network: CryAnalyzer, table: FeatureTable) -> torch.Tensor:
    with torch.inference_mode():
        return network.score_recording(torch.from_numpy(table.features), torch.from_numpy(table.starts_s))


@pytest.fixture(scope="module")
def cries() -> torch.Tensor:
    """(12, 48000): cries from low, even and long to high, irregular and short, in steps."""
    time_s = np.arange(48_000) / 16_000
    waveforms = [
        pulse_train(300.0 + 40 * step, 0.002 * step, 0.01 * step, snr_db=30 - step).waveform
        * (time_s % 1.0 < 0.9 - 0.04 * step)
        for step in range(12)
    ]
    return torch.from_numpy(np.array(waveforms, np.float32))


def test_seed_decides_the_forest() -> None:
    table = random_table()
    first, again, other = (CryAnalyzer(SMALL).learn(table, seed) for seed in (1, 1, 2))
    assert first.settings == again.settings
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in first.state_dict().items())
    assert not torch.equal(scores_of(first, table), scores_of(other, table))


def test_tiny_table_is_fitted_and_only_its_training_rows_are_used() -> None:
    table = random_table()
    network = CryAnalyzer(CryAnalyzerSettings(n_trees=100, min_leaf=1)).learn(table, 1)
    errors = (scores_of(network, table) - torch.from_numpy(table.truth)).abs()
    spread = float(np.abs(table.truth - np.median(table.truth)).mean())
    assert float(errors.mean()) < 0.4 * spread
    train = np.arange(60) < 40
    unrated = table.truth.copy()
    unrated[30:] = np.nan
    others = dataclasses.replace(table, truth=np.where(train, table.truth, 0.0), train=train)
    fitted = [
        CryAnalyzer(SMALL).learn(each, 1)
        for each in (
            dataclasses.replace(table, train=train),
            others,
            dataclasses.replace(table, truth=unrated),
            dataclasses.replace(table, train=np.arange(60) < 30),
        )
    ]
    results = [scores_of(network, table) for network in fitted]
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[2], results[3])
    assert not torch.equal(results[0], results[2])


def test_missing_features_are_replaced_by_training_medians() -> None:
    table = random_table()
    network = CryAnalyzer(SMALL).learn(table, 1)
    np.testing.assert_allclose(network.medians.numpy(), np.nanmedian(table.features, axis=0), rtol=1e-6)
    filled = np.where(np.isnan(table.features), network.medians.numpy(), table.features)
    assert torch.equal(scores_of(network, table), scores_of(network, dataclasses.replace(table, features=filled)))


def test_learns_from_waveforms_and_scores_them(cries: torch.Tensor) -> None:
    empty = CryAnalyzer(CryAnalyzerSettings(n_trees=50, min_leaf=1))
    tokens = empty.encode_audio(cries)
    assert tokens.shape == (12, 1, N_FEATURES)
    assert tokens.dtype == torch.float32
    features = empty.embed(tokens, None)
    assert features.shape == (12, N_FEATURES)
    truth = np.linspace(0.5, 9.5, 12)
    network = empty.learn(table_of(features.numpy(), truth), 1)
    scores = network.score(network.encode_audio(cries), None)
    assert scores.shape == (12,)
    assert float((scores - torch.from_numpy(truth)).abs().mean()) < 0.7
    assert torch.equal(scores[3:5], network.score(tokens[3:5], None))
    assert bool(((scores >= 0) & (scores <= 10)).all())


def test_faces_are_not_looked_at_and_audio_is_needed() -> None:
    network = CryAnalyzer(SMALL)
    assert network.encode_faces(torch.zeros((3, 3, 224, 224))).shape == (3, 1)
    assert network.encode_faces(torch.zeros((0, 3, 224, 224))).shape == (0, 1)
    assert network.encode_audio(torch.zeros((0, 48_000))).shape == (0, 1, N_FEATURES)
    with pytest.raises(ValueError, match="without audio"):
        network.score(None, torch.zeros((3, 1, 1)))


def test_features_are_shared_by_forests_that_learnt_differently() -> None:
    empty, fitted = CryAnalyzer(SMALL), CryAnalyzer(SMALL).learn(random_table(), 1)
    assert empty.encoder_digest("audio") == fitted.encoder_digest("audio") != fitted.encoder_digest("face")


def test_stored_weights_give_identical_scores(tmp_path: Path, cries: torch.Tensor) -> None:
    table = random_table()
    network = CryAnalyzer(SMALL).learn(table, 1)
    description = WeightsDescription(
        name="forest",
        status="research",
        intended_use="Tests.",
        not_intended_use="Anything else.",
        training_data="random numbers",
        licence="MIT",
        created_with="a test",
        network="cry-analyzer",
        architecture=network.settings,
        modalities=("audio",),
    )
    loaded = load_network(save(network.state_dict(), description, tmp_path / "forest.safetensors"))
    assert isinstance(loaded, CryAnalyzer)
    assert torch.equal(scores_of(loaded, table), scores_of(network, table))
    with torch.inference_mode():
        assert torch.equal(
            loaded.score(loaded.encode_audio(cries), None), network.score(network.encode_audio(cries), None)
        )
    # 8-bit packing would change thresholds; it leaves a forest as it is.
    unpacked = unpack(pack(network.state_dict()))
    assert all(torch.equal(tensor, unpacked[name]) for name, tensor in network.state_dict().items())


def test_empty_network_has_the_shapes_that_the_settings_say() -> None:
    fitted = CryAnalyzer(SMALL).learn(random_table(), 1)
    assert fitted.settings.n_nodes > SMALL.n_trees
    with torch.device("meta"):
        empty = build("cry-analyzer", fitted.settings)
    shapes = {name: tensor.shape for name, tensor in empty.state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in fitted.state_dict().items()}


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_too_few_segments_are_refused_with_the_number_needed(rows: int) -> None:
    table = random_table()
    few = dataclasses.replace(table, train=np.arange(60) < rows)
    with pytest.raises(SettingsError, match=rf"{rows} rated training segments?; it needs at least 6"):
        CryAnalyzer(CryAnalyzerSettings(min_leaf=3)).learn(few, 1)


def test_constant_truth_is_what_every_segment_scores() -> None:
    table = dataclasses.replace(random_table(), truth=np.full(60, 4.0))
    assert torch.equal(scores_of(CryAnalyzer(SMALL).learn(table, 1), table), torch.full((60,), 4.0))


def test_silent_segments_score_the_mean_truth_and_a_silent_one_among_cries_scores_a_number(cries: torch.Tensor) -> None:
    empty = CryAnalyzer(CryAnalyzerSettings(n_trees=200, min_leaf=1))
    silent = empty.embed(empty.encode_audio(torch.zeros((20, 48_000))), None)
    truth = np.linspace(0, 10, 20)
    scores = scores_of(empty.learn(table_of(silent.numpy(), truth), 1), table_of(silent.numpy(), truth))
    assert len(scores.unique()) == 1
    assert float(scores[0]) == pytest.approx(5.0, abs=0.5)
    features = empty.embed(empty.encode_audio(cries), None)
    network = empty.learn(table_of(features.numpy(), np.linspace(0, 10, 12)), 1)
    assert math.isfinite(float(network.score_recording(silent[:1], torch.zeros(1))[0]))


def test_noise_without_a_voice_can_be_scored(cries: torch.Tensor) -> None:
    network = CryAnalyzer(SMALL).learn(random_table(), 1)
    noise = torch.from_numpy(white_noise().astype(np.float32))[None]
    tokens = network.encode_audio(noise / noise.abs().max())
    assert bool(tokens[0, 0, FEATURES.index("pause_mean_s")].isnan())
    assert math.isfinite(float(network.score(tokens, None)[0]))


@pytest.mark.parametrize("wrong", [{"n_trees": 0}, {"max_depth": 0}, {"n_trees": 10, "n_nodes": 9}, {"feature_set": 2}])
def test_settings_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(reversed(wrong))):
        CryAnalyzerSettings(**wrong)  # type: ignore[arg-type]
