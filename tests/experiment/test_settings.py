"""Presets and settings files of an experiment, and the order of its trainings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from avpenet_cli.errors import SettingsError
from avpenet_cli.experiment.predictions import PredictionKey
from avpenet_cli.experiment.published import claims, published_figures
from avpenet_cli.experiment.settings import ExperimentSettings, presets, read_experiment
from avpenet_cli.experiment.tasks import plan_tasks
from avpenet_cli.settings import from_dict
from tests.conftest import REPOSITORY

_TWO: dict[str, dict[str, object]] = {
    "avpenet": {"title": "a"},
    "context": {"title": "c", "base": "avpenet", "train": {"network": "context"}},
}


def _settings(**fields: object) -> ExperimentSettings:
    return from_dict(ExperimentSettings, {"systems": _TWO} | fields, "test")


@pytest.mark.parametrize("preset", presets())
def test_every_system_of_a_preset_has_valid_settings(preset: str) -> None:
    settings = read_experiment(preset, None)
    for name in settings.systems:
        for seed in settings.seeds_of(name):
            assert settings.train_settings(name, seed).seed == seed


@pytest.mark.parametrize("name", ["experiment.toml", "experiment-phantoms.toml"])
def test_example_files_can_be_used(name: str) -> None:
    assert "avpenet" in read_experiment(None, REPOSITORY / "examples" / name).systems


def test_paper_preset_has_the_systems_that_claims_and_published_figures_name() -> None:
    systems = set(read_experiment("paper", None).systems)
    assert not [claim.name for claim in claims() if not systems & set(claim.first) or not systems & set(claim.second)]
    labels = {figure.label for figure in published_figures() if figure.metric == "mae"}
    assert labels == {
        figure.label for figure in published_figures() if figure.metric == "mae" and figure.system in systems
    }


def test_systems_are_differences_of_the_common_settings() -> None:
    settings = _settings(
        train={"batch_size": 8, "stage_1": {"epochs": 3, "encoder_rate": 0.0, "fusion_rate": 1e-3}},
        systems={"avpenet": {"title": "a"}, "other": {"title": "o", "train": {"stage_1": {"epochs": 5}}}},
    )
    plain, other = (settings.train_settings(name, 42) for name in ("avpenet", "other"))
    assert (plain.stage_1.epochs, other.stage_1.epochs) == (3, 5)
    assert other.stage_1.fusion_rate == plain.stage_1.fusion_rate
    assert other.batch_size == 8


def test_a_system_is_trained_after_the_one_it_is_built_on_and_only_with_its_seeds() -> None:
    systems = {"context": _TWO["context"], "avpenet": _TWO["avpenet"] | {"seeds": [2]}}
    settings = _settings(systems=systems, seeds=[1, 2], left_out=["context"])
    keys = [task.key for task in plan_tasks(settings, ["A", "B"])]
    assert keys == [
        PredictionKey("avpenet", 2),
        PredictionKey("context", 2),
        *(PredictionKey(name, 2, site) for site in ("A", "B") for name in ("avpenet", "context")),
    ]


def test_only_keeps_what_a_system_is_built_on_and_the_reference() -> None:
    settings = _settings(systems=_TWO | {"third": {"title": "t"}}, robust=["third", "context"])
    chosen = settings.only(("context",))
    assert list(chosen.systems) == ["avpenet", "context"]
    assert chosen.robust == ("context",)
    with pytest.raises(SettingsError, match="--only: there is no system fourth"):
        settings.only(("fourth",))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"reference": "none"}, "reference: there is no system none"),
        ({"left_out": ["x"]}, "left_out: there is no system x"),
        ({"seeds": []}, "seeds"),
        ({"seeds": [1, 1]}, "one occurs twice"),
        ({"systems": {}}, "there are none"),
        ({"systems": {"A b": {"title": "x"}}}, "systems.A b"),
        ({"sytems": {}}, "no setting is called sytems"),
        ({"systems": {"avpenet": {"title": "a", "base": "z"}}}, "base: there is no system z"),
        ({"systems": {"avpenet": {"title": "a", "view": {}, "variant": {}}}}, "give one of them"),
        ({"systems": {"avpenet": {"title": "a", "view": {"window_s": 6}}}}, "window_s"),
    ],
)
def test_settings_that_cannot_be_used_are_named(fields: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(message)):
        _settings(**fields)


def test_training_settings_that_cannot_be_used_name_their_system(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[systems.avpenet]\ntitle = "a"\ntrain = {batch_sise = 3}\n')
    with pytest.raises(SettingsError, match=r"systems\.avpenet\.train: no setting is called batch_sise"):
        read_experiment(None, path)
    path.write_text('[systems.avpenet]\ntitle = "a"\ntrain = {network = "resnet99"}\n')
    with pytest.raises(SettingsError, match=r"systems\.avpenet\.train: network = 'resnet99'"):
        read_experiment(None, path)


@pytest.mark.parametrize(
    ("preset", "config", "message"),
    [
        (None, None, "give --preset or --config"),
        ("paper", Path("x.toml"), "give --preset or --config"),
        ("big", None, "--preset big: there is none of that name"),
        (None, Path("missing.toml"), "cannot read the settings file missing.toml"),
    ],
)
def test_one_known_source_of_settings_is_needed(preset: str | None, config: Path | None, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        read_experiment(preset, config)
