"""Embeddings of every segment by frozen encoders, computed once before a stage that trains on them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from torch.utils.data import DataLoader

from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.errors import Interrupted
from avpenet_cli.runs.callbacks import NO_CALLBACKS, RunCallbacks
from avpenet_cli.runs.device import choose_device
from avpenet_cli.storage import atomic_write
from avpenet_cli.training.data import Embeddings, EpochSampler, SegmentDataset, collate
from avpenet_cli.training.lightning_module import PainLightningModule
from avpenet_cli.training.settings import TrainSettings

EMBEDDINGS_FILE = "embeddings.safetensors"
_BATCH_SIZE = 8


def load_or_compute_embeddings(
    path: Path,
    store: SegmentStore,
    rows: np.ndarray,
    module: PainLightningModule,
    settings: TrainSettings,
    callbacks: RunCallbacks = NO_CALLBACKS,
) -> Embeddings:
    """Read stored embeddings, or compute them with the module's network and store them.

    Takes 1 kB for each audio token and each face, in memory and on disk: 20 kB for a segment with ten faces.

    Args:
        path: in the run's folder, which belongs to one store, one set of settings and one initial network.
        rows: (n,) int64, ascending, of the store's index.

    Raises:
        Interrupted: the callbacks asked for it; nothing is kept.
        OutputError, EnvironmentUnavailableError: they cannot be written.
    """
    try:
        kept = load_file(path)
        if np.array_equal(kept["rows"], rows):
            return Embeddings(**kept)
    except (OSError, SafetensorError, KeyError, TypeError):
        pass  # none yet, or incomplete: computed again
    computed = _compute(store, rows, module, settings, callbacks)
    with atomic_write(path) as file:
        tensors = {"rows": computed.rows, "audio": computed.audio, "faces": computed.faces, "starts": computed.starts}
        file.write(save(tensors))
    return computed


def _compute(
    store: SegmentStore,
    rows: np.ndarray,
    module: PainLightningModule,
    settings: TrainSettings,
    callbacks: RunCallbacks,
) -> Embeddings:
    device = choose_device(settings.device)
    module.to(device).eval()
    # As in validation: without augmentation, faces evenly spaced.
    dataset = SegmentDataset(store, replace(settings, cache_embeddings=False), False, settings.validation_frames)
    loader = DataLoader(
        dataset,
        batch_size=_BATCH_SIZE,
        sampler=EpochSampler(rows, None),
        collate_fn=collate,
    )
    audio, faces, counts = [], [], []
    half = settings.precision == "bfloat16" or (settings.precision == "auto" and device.type == "cuda")
    for done, batch in enumerate(loader, start=1):
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            embedded = module.embed(batch.to(device))
        audio.append(embedded.mel.half().cpu().numpy())
        faces.append(embedded.faces.half().cpu().numpy())
        counts.append(embedded.counts.numpy())
        callbacks.progress(done, len(loader))
        if callbacks.should_stop():
            raise Interrupted("interrupted before the first epoch", "run the same command again with --resume")
    starts = np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64)
    # NumPy keeps the memory order of the arrays it concatenates, and safetensors 0.8 writes the memory as it lies, so
    # that other numbers would be read back unless the arrays are contiguous.
    tokens, embeddings = (np.ascontiguousarray(np.concatenate(parts)) for parts in (audio, faces))
    return Embeddings(np.asarray(rows, np.int64), tokens, embeddings, starts)
