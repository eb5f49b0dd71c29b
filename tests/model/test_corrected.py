"""What holds for both networks that correct AVPENet's scores by other segments of the recording."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from avpenet_cli import weights
from avpenet_cli.errors import SettingsError
from avpenet_cli.model.architecture import MODALITIES, Architecture
from avpenet_cli.model.corrected import base_scores
from avpenet_cli.model.correction_settings import (
    ContextSettings,
    CorrectionSettings,
    LearningSettings,
    OwnBaselineSettings,
)
from avpenet_cli.model.network import FeatureTable
from tests.support.corrected_networks import corrected_network, errors_on_test, recording_scores
from tests.support.feature_tables import STEP_S, make_table
from tests.support.weight_descriptions import make_description

SETTINGS: dict[str, CorrectionSettings] = {
    "context": ContextSettings(),
    "context two-sided": ContextSettings(direction="two-sided"),
    "own-baseline": OwnBaselineSettings(),
    "own-baseline causal": OwnBaselineSettings(direction="causal"),
}
BRIEF = LearningSettings(max_epochs=3)


@pytest.fixture(params=SETTINGS)
def settings(request: pytest.FixtureRequest) -> CorrectionSettings:
    return SETTINGS[request.param]


@pytest.fixture(scope="module")
def table() -> FeatureTable:
    return make_table(subjects=20, segments=20)


def recording(segments: int, stride_s: float = STEP_S) -> tuple[np.ndarray, np.ndarray]:
    """Features and starts of one recording, whose windows at equal times are equal at every stride."""
    at_least = make_table(seed=5, subjects=5, segments=700)
    return at_least.features[:segments], np.arange(float(segments)) * stride_s


def test_scores_without_correction_are_those_of_the_base(settings: CorrectionSettings) -> None:
    features, starts_s = recording(300)
    scores = recording_scores(corrected_network(settings), features, starts_s)
    np.testing.assert_allclose(scores, base_scores(torch.from_numpy(features)), atol=0.011)
    assert scores.dtype == np.float32


def test_scores_stay_in_range_for_any_features(settings: CorrectionSettings) -> None:
    features, starts_s = recording(40)
    features = features * np.float32(1e6)
    features[:, 512] = np.tile([0.0, 10.0], 20)
    scores = recording_scores(corrected_network(settings, seeded=True), features, starts_s)
    assert bool(((scores >= 0) & (scores <= 10)).all())


@pytest.mark.parametrize("name", ["context", "own-baseline causal"])
def test_a_causal_score_does_not_depend_on_the_future_by_a_bit(name: str) -> None:
    network = corrected_network(SETTINGS[name], seeded=True)
    features, starts_s = recording(600)
    whole = recording_scores(network, features, starts_s)
    for until in (1, 100, 256, 301):
        changed = features.copy()
        changed[until:] = changed[until:][::-1] * 3
        assert np.array_equal(recording_scores(network, changed, starts_s)[:until], whole[:until])
        assert np.array_equal(recording_scores(network, features[:until], starts_s[:until]), whole[:until])


@pytest.mark.parametrize("name", ["context two-sided", "own-baseline"])
def test_a_two_sided_score_depends_on_the_future(name: str) -> None:
    network = corrected_network(SETTINGS[name], seeded=True)
    features, starts_s = recording(40)
    changed = features.copy()
    changed[30:] = changed[:10]
    moved = np.abs(recording_scores(network, features, starts_s) - recording_scores(network, changed, starts_s))
    assert moved[20] > 1e-4


def test_windows_of_every_stride_get_the_same_score_at_the_same_time(settings: CorrectionSettings) -> None:
    network = corrected_network(settings, seeded=True)
    features, starts_s = recording(450, 1.0)
    dense = recording_scores(network, features, starts_s)
    sparse = recording_scores(network, features[::3].copy(), starts_s[::3])
    np.testing.assert_allclose(dense[::3], sparse, atol=1e-5)
    assert float(np.abs(dense[1::3] - sparse).max()) > 0.1


def test_a_long_recording_is_scored_as_its_parts(settings: CorrectionSettings) -> None:
    network = corrected_network(settings, seeded=True)
    features, _ = recording(2500)
    features, starts_s = np.tile(features, (4, 1)), np.arange(10_000.0) * STEP_S
    scores = recording_scores(network, features, starts_s)
    assert scores.shape == (10_000,)
    assert bool(np.isfinite(scores).all())
    if isinstance(settings, ContextSettings):
        part = recording_scores(network, features[5000:5100], starts_s[5000:5100])
        np.testing.assert_allclose(part[20:80], scores[5020:5080], atol=1e-5)


def test_segments_out_of_order_and_wrong_shapes_are_refused(settings: CorrectionSettings) -> None:
    network = corrected_network(settings)
    features, starts_s = recording(4)
    with pytest.raises(ValueError, match="order of time"):
        recording_scores(network, features, starts_s[::-1].copy())
    with pytest.raises(ValueError, match="must be"):
        recording_scores(network, features, starts_s[:3])
    assert recording_scores(network, features[:0], starts_s[:0]).shape == (0,)


def test_gradients_reach_all_of_the_correction_and_nothing_of_the_base(settings: CorrectionSettings) -> None:
    network = corrected_network(settings, seeded=True).train()
    assert not network.base.training
    features, starts_s = recording(60)
    network.score_recording(torch.from_numpy(features), torch.from_numpy(starts_s)).sum().backward()
    assert all(bool(p.grad is not None and p.grad.abs().sum() > 0) for p in network.correction.parameters())
    assert not any(parameter.requires_grad for parameter in network.base.parameters())


def test_learning_depends_on_table_and_seed_only(settings: CorrectionSettings, table: FeatureTable) -> None:
    brief = dataclasses.replace(settings, learning=BRIEF)
    states, threads = [], torch.get_num_threads()
    before = torch.get_rng_state()
    for run_threads, seed in ((1, 4), (2, 4), (1, 5)):
        torch.set_num_threads(run_threads)
        network = corrected_network(brief, seeded=True).learn(table, seed)
        assert torch.get_num_threads() == run_threads
        states.append(torch.cat([p.detach().flatten() for p in network.correction.parameters()]))
    torch.set_num_threads(threads)
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])
    assert torch.equal(before, torch.get_rng_state())


def test_unrated_segments_are_not_learnt_from(settings: CorrectionSettings, table: FeatureTable) -> None:
    brief = dataclasses.replace(settings, learning=BRIEF)
    dropped = np.arange(len(table.truth)) % 3 == 0
    unrated = dataclasses.replace(table, truth=np.where(dropped, np.nan, table.truth))
    left_out = dataclasses.replace(
        table,
        truth=np.where(dropped, 9.0, table.truth),
        train=table.train & ~dropped,
        validation=table.validation & ~dropped,
    )
    first, second = (corrected_network(brief).learn(t, 0).correction.state_dict() for t in (unrated, left_out))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("part", ["train", "validation"])
def test_a_table_without_rated_segments_is_refused(
    settings: CorrectionSettings, table: FeatureTable, part: str
) -> None:
    empty = dataclasses.replace(table, truth=np.where(getattr(table, part), np.nan, table.truth))
    named = {"train": "training"}.get(part, part)
    with pytest.raises(SettingsError, match=f"no rated {named} segment"):
        corrected_network(settings).learn(empty, 0)


def test_white_noise_is_not_mistaken_for_context(settings: CorrectionSettings) -> None:
    noise = make_table(seed=2, memory_s=0.0, noise=0.3)
    base, own = errors_on_test(corrected_network(settings).learn(noise, 0), noise)
    assert own < 1.02 * base


def test_the_base_cannot_lack_what_it_was_not_trained_without() -> None:
    with pytest.raises(ValueError, match="the base's may_be_missing"):
        ContextSettings(may_be_missing=("face",), base=Architecture())
    ContextSettings(may_be_missing=("face",), base=Architecture(may_be_missing=("face",)))
    with pytest.raises(ValueError, match="span_s"):
        ContextSettings(span_s=2.0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["context two-sided", "own-baseline"])
def test_weights_come_back_and_score_real_tokens(name: str, tmp_path: Path) -> None:
    network = corrected_network(SETTINGS[name], seeded=True)
    registered = name.split(maxsplit=1)[0]
    description = make_description("corrected", network=registered, architecture=network.architecture)
    entry = weights.save(network.state_dict(), description, tmp_path / "corrected.safetensors")
    assert entry.description.n_parameters > 51_247_459
    found = weights.find(tmp_path / "corrected.safetensors")
    assert found.description.architecture == network.architecture
    loaded, _ = weights.load(found)
    assert type(loaded) is type(network)
    generator = torch.Generator().manual_seed(1)
    mel = torch.rand((2, 1, 128, 300), generator=generator)
    faces = torch.randn((2, 3, 224, 224), generator=generator)
    with torch.inference_mode():
        tokens = network.encode_audio(mel), network.encode_faces(faces)[:, None]
        features = network.embed(*tokens)
        assert features.shape == (2, 515)
        assert torch.equal(features[:, 512], network.base.score(*tokens))
        assert features[:, 513:].tolist() == [[1, 1], [1, 1]]
        again = loaded.encode_audio(mel), loaded.encode_faces(faces)[:, None]
        torch.testing.assert_close(loaded.score(*again), network.score(*tokens), atol=1e-3, rtol=0)


def test_the_features_say_which_modality_is_missing() -> None:
    network = corrected_network(ContextSettings(may_be_missing=MODALITIES))
    audio, faces = torch.rand((2, 10, 512)), torch.rand((2, 3, 512))
    mask = torch.tensor([[True, False, True], [False, False, False]])
    with torch.inference_mode():
        assert network.embed(audio, faces, mask)[:, 513:].tolist() == [[1, 1], [1, 0]]
        assert network.embed(audio, None)[:, 513:].tolist() == [[1, 0], [1, 0]]
        assert network.embed(None, faces)[:, 513:].tolist() == [[0, 1], [0, 1]]
        # Nothing was learnt about such segments, so they keep the base's score.
        torch.nn.init.constant_(list(network.correction.parameters())[-1], 3.0)
        features = network.embed(None, faces)
        starts_s = torch.tensor([0.0, 3.0], dtype=torch.float64)
        torch.testing.assert_close(network.score_recording(features, starts_s), features[:, 512], atol=1e-4, rtol=0)
