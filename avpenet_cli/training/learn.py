"""Train networks that learn from features of segments: encode every segment once, then learn from one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from avpenet_cli.dataset.splits import Split
from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.errors import AvpenetError, SettingsError
from avpenet_cli.model.network import FeatureNetwork, FeatureTable
from avpenet_cli.runs.callbacks import NO_CALLBACKS, RunCallbacks
from avpenet_cli.training.data import Embeddings
from avpenet_cli.training.embeddings import EMBEDDINGS_FOLDER, load_or_compute_embeddings
from avpenet_cli.training.initial import initial_network
from avpenet_cli.training.settings import TrainSettings


def learn(
    store: SegmentStore,
    rows: Mapping[Split, np.ndarray],
    folder: Path,
    settings: TrainSettings,
    init: Sequence[Path] = (),
    callbacks: RunCallbacks = NO_CALLBACKS,
    embeddings_folder: Path | None = None,
) -> FeatureNetwork:
    """Train a network of the registry that learns from features of segments.

    Learning takes seconds to minutes and starts over after a kill; what takes long, the encoding, is kept.

    Args:
        rows: from `run_directory.usable_rows`.
        folder, init, embeddings_folder: as for `fit.fit`.

    Returns:
        In evaluation mode, on the CPU.

    Raises:
        SettingsError: too little to learn from; no weights for a network that is built on some.
        Interrupted: the callbacks asked for it.
        WeightsError: initial parameters that cannot be used.
    """
    network = initial_network(settings, init)
    assert isinstance(network, FeatureNetwork)
    if hasattr(network, "base") and not init:
        raise SettingsError(f"the network {settings.network} is built on trained weights", "give them with --init")
    network.eval()
    kept = embeddings_folder or folder / EMBEDDINGS_FOLDER
    embeddings = load_or_compute_embeddings(kept, store, network, settings, callbacks)
    callbacks.detail("learning from the features")
    table = feature_table(store, rows, network, embeddings)
    return network.learn(table, settings.seed).eval()


def feature_table(
    store: SegmentStore, rows: Mapping[Split, np.ndarray], network: FeatureNetwork, embeddings: Embeddings
) -> FeatureTable:
    """A row of features for each segment of `embeddings` that has what the network needs, in the order of the index."""
    chosen = _complete(network, embeddings)
    numbers = embeddings.rows[chosen]
    index = store.index.iloc[numbers]
    return FeatureTable(
        features=segment_features(network, embeddings, chosen),
        starts_s=index["start_s"].to_numpy(dtype=np.float64),
        recording=_codes(index["recording"].to_numpy(dtype=object)),
        subject=_codes(index["subject"].to_numpy(dtype=object)),
        truth=index["reference"].to_numpy(dtype=np.float64),
        train=np.isin(numbers, rows["train"]),
        validation=np.isin(numbers, rows["validation"]),
    )


def _complete(network: FeatureNetwork, embeddings: Embeddings) -> np.ndarray:
    """(k,) int64, places of the segments that lack nothing that the network needs."""
    with_face = np.diff(embeddings.starts) > 0
    needs_face = "face" in network.modalities and "face" not in network.architecture.may_be_missing
    return np.flatnonzero(with_face | (not needs_face))


@torch.inference_mode()
def segment_features(network: FeatureNetwork, embeddings: Embeddings, places: np.ndarray) -> np.ndarray:
    """(k, E) float32, the segments at these places of `embeddings`, each on its own."""
    features = []
    for row in embeddings.rows[places].tolist():
        item = embeddings.item(row, np.nan)
        audio = torch.from_numpy(item.mel)[None] if "audio" in network.modalities else None
        faces, face_places = (torch.from_numpy(values)[None] for values in (item.faces, item.places))
        has_face = "face" in network.modalities and len(item.faces) > 0
        tokens = (faces, None, face_places) if has_face else (None, None, None)
        features.append(network.embed(audio, *tokens)[0].numpy())
    return np.stack(features).astype(np.float32) if features else np.empty((0, 0), np.float32)


@torch.inference_mode()
def predict_recordings(network: FeatureNetwork, store: SegmentStore, embeddings: Embeddings) -> np.ndarray:
    """Scores of the segments of `embeddings`, each recording together: (n,) float64 in [0, 10], NaN where a segment
    lacks what the network needs.

    Raises:
        AvpenetError: a score that is not finite; names the recording.
    """
    complete = _complete(network, embeddings)
    features = torch.from_numpy(segment_features(network, embeddings, complete))
    index = store.index.iloc[embeddings.rows[complete]].reset_index(drop=True)
    starts_s = torch.tensor(index["start_s"].to_numpy(dtype=np.float64))
    scores = np.full(len(embeddings.rows), np.nan)
    for recording, members in index.groupby("recording", sort=False).indices.items():
        rows = np.asarray(members, np.int64)
        found = network.score_recording(features[rows], starts_s[rows]).double().numpy()
        if not np.isfinite(found).all():
            raise AvpenetError(f"{recording}: a score that is not finite", "look at this recording, and train again")
        scores[complete[rows]] = found
    return scores


def _codes(names: np.ndarray) -> np.ndarray:
    codes = {name: code for code, name in enumerate(dict.fromkeys(names.tolist()))}
    return np.array([codes[name] for name in names.tolist()], np.int64)
