"""Scores of segments by a trained network, from encoder outputs that are kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.model.network import FeatureNetwork, PainNetwork
from avpenet_cli.runs.callbacks import NO_CALLBACKS, RunCallbacks
from avpenet_cli.training.data import Embeddings, collate
from avpenet_cli.training.embeddings import load_or_compute_embeddings
from avpenet_cli.training.learn import predict_recordings
from avpenet_cli.training.lightning_module import PainLightningModule
from avpenet_cli.training.settings import TrainSettings

_BATCH = 64


def predict(
    network: PainNetwork,
    store: SegmentStore,
    settings: TrainSettings,
    embeddings_folder: Path,
    callbacks: RunCallbacks = NO_CALLBACKS,
    rows: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Score segments with `settings.validation_frames` faces each.

    Args:
        network: in evaluation mode, on the CPU.
        rows: as for `load_or_compute_embeddings`; whole recordings for a network that looks at them.

    Returns:
        (n,) int64 rows of the index, and (n,) float64 scores in [0, 10].

    Raises:
        AvpenetError: a score that is not finite.
        Interrupted: the callbacks asked for it; encoder outputs so far are kept.
    """
    embeddings = load_or_compute_embeddings(embeddings_folder, store, network, settings, callbacks, rows)
    if isinstance(network, FeatureNetwork):
        return embeddings.rows, predict_recordings(network, store, embeddings)
    return embeddings.rows, _by_segment(network, store, settings, embeddings, callbacks)


@torch.inference_mode()
def _by_segment(
    network: PainNetwork,
    store: SegmentStore,
    settings: TrainSettings,
    embeddings: Embeddings,
    callbacks: RunCallbacks,
) -> np.ndarray:
    module = PainLightningModule(network, settings, store).eval()
    needs_face = "face" in network.modalities and "face" not in network.architecture.may_be_missing
    scores = np.full(len(embeddings.rows), np.nan)
    items = [embeddings.item(row, np.nan) for row in embeddings.rows.tolist()]
    places = [place for place, item in enumerate(items) if len(item.faces) or not needs_face]
    for first in range(0, len(places), _BATCH):
        callbacks.check_stop()
        batch = places[first : first + _BATCH]
        scores[batch] = module.predict(collate([items[place] for place in batch])).double().numpy()
    return scores
