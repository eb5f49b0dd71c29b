"""Every system learns a tiny store by heart, through the program's own training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.model.network import FeatureNetwork
from avpenet_cli.model.registry import build
from avpenet_cli.settings import from_dict
from avpenet_cli.training.fit import fit
from avpenet_cli.training.learn import learn
from avpenet_cli.training.predict import predict
from avpenet_cli.training.run_directory import RunIdentity, prepare_run_directory, usable_rows
from avpenet_cli.training.settings import TrainSettings
from avpenet_cli.weights import default_entry
from tests.support.training_stores import make_store

_FUSIONS = ("single", "tokens", "addition", "concatenation", "gate", "audio-queries", "face-queries", "transformer")
_SYSTEMS: dict[str, dict[str, Any]] = {
    **{f"avpenet {fusion}": {"architecture": {"fusion": fusion}} for fusion in (*_FUSIONS, "bilstm", "none")},
    **{name: {"network": name} for name in ("audio-only", "face-only", "late-fusion", "early-fusion")},
    "emotieffnet": {
        "network": "emotieffnet",
        "cache_embeddings": False,
        "batch_size": 4,
        "stage_1": {"epochs": 25, "encoder_rate": 1e-3, "fusion_rate": 1e-3},
    },
    "cry-analyzer": {"network": "cry-analyzer", "architecture": {"min_leaf": 1}},
}
_OWN_ENCODERS = ("early-fusion", "emotieffnet")
_COMMON: dict[str, Any] = {
    "batch_size": 8,
    "accumulate": 1,
    "label_smoothing": 0.0,
    "mixup_alpha": 0.0,
    "patience_epochs": 100,
    "cache_embeddings": True,
    "init_parts": "encoders",
    "device": "cpu",
    "stage_1": {"epochs": 40, "encoder_rate": 0.0, "fusion_rate": 1e-3},
    "stage_2": {"epochs": 0, "encoder_rate": 1e-5, "fusion_rate": 1e-4},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("learn")


@pytest.fixture(scope="module")
def store(folder: Path) -> SegmentStore:
    return SegmentStore.open(make_store(folder, subjects=8, segments=6, faces=2))


@pytest.mark.slow
@pytest.mark.parametrize("name", _SYSTEMS)
def test_a_system_learns_its_training_segments(name: str, store: SegmentStore, folder: Path, tmp_path: Path) -> None:
    settings = from_dict(TrainSettings, _COMMON | _SYSTEMS[name], name)
    rows = usable_rows(store, None)
    embeddings = folder / "embeddings" if settings.cache_embeddings else tmp_path / "embeddings"
    if settings.on_features:
        network: Any = learn(store, rows, tmp_path, settings, (), embeddings_folder=embeddings)
        assert isinstance(network, FeatureNetwork)
    else:
        run = tmp_path / "run"
        prepare_run_directory(run, RunIdentity.of(store, settings, []), False)
        # The outputs of encoders with random parameters differ too little between segments.
        path = default_entry().path
        assert path is not None
        init = [] if name in _OWN_ENCODERS else [path]
        fitted = fit(store, rows, run, settings, init, embeddings_folder=embeddings, checkpoint_interval_s=1e6)
        # Of the last epochs, because dropout makes the loss of one uneven.
        assert np.mean([row.mse for row in fitted.rows[-5:]]) < 0.4 * fitted.rows[0].mse
        network = build(settings.network, fitted.architecture)
        network.load_state_dict(fitted.state)
    scored, scores = predict(network.eval(), store, settings, embeddings)
    truth = store.index["reference"].to_numpy()[scored]
    assert np.isfinite(scores).all()
    if settings.on_features:
        learnt = np.isin(scored, rows["train"])
        constant = np.abs(truth[learnt] - np.median(truth[learnt])).mean()
        assert np.abs(scores - truth)[learnt].mean() < 0.5 * constant
