"""What frozen encoders answer to every segment, made once before a stage that learns from nothing else."""

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
from avpenet_cli.runs.device import choose_device
from avpenet_cli.storage import atomic_write
from avpenet_cli.training.callbacks import Told
from avpenet_cli.training.data import Embeddings, EpochSampler, SegmentDataset, collate
from avpenet_cli.training.lightning_module import PainLightningModule
from avpenet_cli.training.settings import TrainSettings

EMBEDDINGS_FILE = "embeddings.safetensors"
_AT_ONCE = 8


def prepared_embeddings(
    path: Path, store: SegmentStore, rows: np.ndarray, module: PainLightningModule, settings: TrainSettings, told: Told
) -> Embeddings:
    """Read them, or make them with the learner's network as it is and keep them.

    Takes 1 kB for each audio token and each face: 20 kB a segment with ten faces, in memory as on the disk.

    Args:
        path: within the run's folder, which belongs to one store, one set of settings and one initial network.
        rows: (n,) int64, rising: of the store's index.

    Raises:
        Interrupted: `told.stop` said so; nothing is kept.
        OutputError, EnvironmentUnavailableError: they cannot be written.
    """
    try:
        kept = load_file(path)
        if np.array_equal(kept["rows"], rows):
            return Embeddings(**kept)
    except (OSError, SafetensorError, KeyError, TypeError):
        pass  # none yet, or not whole: made again
    made = _made(store, rows, module, settings, told)
    with atomic_write(path) as file:
        file.write(save({"rows": made.rows, "audio": made.audio, "faces": made.faces, "starts": made.starts}))
    return made


def _made(
    store: SegmentStore, rows: np.ndarray, module: PainLightningModule, settings: TrainSettings, told: Told
) -> Embeddings:
    device = choose_device(settings.device)
    module.to(device).eval()
    # As in validation: undisturbed, faces evenly spaced.
    dataset = SegmentDataset(store, replace(settings, cache_embeddings=False), False, settings.validation_frames)
    loader = DataLoader(
        dataset,
        batch_size=_AT_ONCE,
        sampler=EpochSampler(rows, None),
        collate_fn=collate,
    )
    audio, faces, counts = [], [], []
    half = settings.precision == "bfloat16" or (settings.precision == "auto" and device.type == "cuda")
    for done, batch in enumerate(loader, start=1):
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            found = module.embed(batch.to(device))
        audio.append(found.mel.half().cpu().numpy())
        faces.append(found.faces.half().cpu().numpy())
        counts.append(found.counts.numpy())
        told.batch(done, len(loader))
        if told.stop():
            raise Interrupted("interrupted before the first epoch", "give the same command with --resume to go on")
    starts = np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64)
    # numpy joins arrays in the order of their memory, and safetensors 0.8 writes that memory, whatever its order: what
    # was read back would have been other numbers than were made.
    tokens, embeddings = (np.ascontiguousarray(np.concatenate(parts)) for parts in (audio, faces))
    return Embeddings(np.asarray(rows, np.int64), tokens, embeddings, starts)
