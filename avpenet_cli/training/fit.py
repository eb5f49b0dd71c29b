"""Training loop: Lightning over a store, resumable after every epoch; and predictions of a trained network."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import lightning
import numpy as np
import torch
from lightning.pytorch.strategies import DDPStrategy, Strategy
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor
from torch.utils.data import DataLoader

from avpenet_cli.dataset.splits import Split
from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.errors import AvpenetError, Interrupted, OutputError, SettingsError
from avpenet_cli.model.architecture import NetworkSettings
from avpenet_cli.model.inference import optimise_for_inference
from avpenet_cli.phrasing import plural
from avpenet_cli.runs.callbacks import NO_CALLBACKS, RunCallbacks
from avpenet_cli.runs.device import choose_device
from avpenet_cli.training.checkpoint_callback import CheckpointCallback
from avpenet_cli.training.curves import EpochRow
from avpenet_cli.training.data import Batch, EpochSampler, SegmentDataset, collate
from avpenet_cli.training.embeddings import EMBEDDINGS_FOLDER, load_or_compute_embeddings
from avpenet_cli.training.initial import initial_network
from avpenet_cli.training.lightning_module import PainLightningModule
from avpenet_cli.training.run_directory import CHECKPOINT_FILE
from avpenet_cli.training.settings import TrainSettings

_MAX_WORKERS = 12
_IMPORTED_ONCE = ["avpenet_cli.training.data", "torchaudio.functional"]
"""By the server that processes which load data are forked from."""


@dataclass(frozen=True)
class FitResult:
    """The outcome of a training run.

    Attributes:
        state: parameters of the network at its best epoch, float32 on the CPU.
        architecture: of the network; sizes that depend on what was learnt are filled in.
        best: the best epoch; None for a network that learns from features, without epochs.
        rows: all epochs.
        stopped_early: whether early stopping ended the run.
    """

    state: dict[str, Tensor]
    architecture: NetworkSettings
    best: EpochRow | None = None
    rows: tuple[EpochRow, ...] = ()
    stopped_early: bool = False


def fit(
    store: SegmentStore,
    rows: Mapping[Split, np.ndarray],
    folder: Path,
    settings: TrainSettings,
    init: Sequence[Path] = (),
    resume: bool = False,
    callbacks: RunCallbacks = NO_CALLBACKS,
    embeddings_folder: Path | None = None,
    checkpoint_interval_s: float = 0.0,
) -> FitResult:
    """Train, from the start or from the folder's checkpoint.

    Args:
        rows: from `run_directory.usable_rows`.
        folder: from `run_directory.prepare_run_directory`, as is `resume`.
        init: files of initial parameters, see `initial.initial_network`.
        embeddings_folder: where embeddings of frozen encoders are kept; by default in `folder`.
        checkpoint_interval_s: keep the state no more often than this, if at all; by default after every epoch.

    Raises:
        AvpenetError: a loss that is not finite; names the batch.
        Interrupted: the callbacks asked for it; the state that was kept last is resumed.
        OutputError, EnvironmentUnavailableError: the folder cannot be written.
        OutputError: the checkpoint is damaged.
    """
    module = PainLightningModule(initial_network(settings, init), settings, store)
    checkpoints = CheckpointCallback(folder, settings, callbacks, checkpoint_interval_s)
    device, audio_input = choose_device(settings.device), module.network.audio_input
    with _silenced_lightning():
        trainer = _trainer(settings, device, folder, checkpoints)
        # Rank and number of processes are known only once the trainer exists.
        rank, world = trainer.global_rank, trainer.world_size
        embeddings = None
        if settings.stage_1.epochs and settings.embedded_at(0):
            kept = embeddings_folder or folder / EMBEDDINGS_FOLDER
            embeddings = load_or_compute_embeddings(kept, store, module.network, settings, callbacks)
        train = _loader(
            SegmentDataset(store, settings, True, settings.frames_per_segment, embeddings, audio_input),
            EpochSampler(rows["train"], settings.seed, rank, world),
            settings,
            device,
        )
        validation = _loader(
            SegmentDataset(store, settings, False, settings.validation_frames, embeddings, audio_input),
            EpochSampler(rows["validation"], None, rank, world),
            settings,
            device,
        )
        checkpoint = folder / CHECKPOINT_FILE if resume else None
        try:
            # Tensors and plain values only: loading a checkpoint executes no code from it.
            trainer.fit(module, train, validation, ckpt_path=checkpoint, weights_only=True)
        except (Interrupted, SIGTERMException):
            done = f"interrupted after {len(checkpoints.rows)} of {plural(settings.epochs, 'epoch')}"
            raise Interrupted(done, "run the same command again with --resume") from None
        except SystemExit:  # Lightning's answer to a second Ctrl-C
            raise KeyboardInterrupt from None
        except (AvpenetError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            # Lightning and torch raise whatever the content of a damaged file leads to.
            if checkpoint is None or checkpoints.is_restored:
                raise
            reason = " ".join(str(error).split())[:200]
            raise OutputError(
                f"{checkpoint} cannot be resumed from: {type(error).__name__}: {reason}",
                "remove it to train from the start, or choose another --out",
            ) from error
    return FitResult(
        checkpoints.best_state(),
        settings.architecture,
        checkpoints.best,
        tuple(checkpoints.rows),
        checkpoints.out_of_patience,
    )


def _trainer(
    settings: TrainSettings, device: torch.device, folder: Path, checkpoints: CheckpointCallback
) -> lightning.Trainer:
    all_gpus = settings.device == "auto" and device.type == "cuda"
    count = torch.cuda.device_count() if all_gpus else 1
    devices: int | list[int] = 1 if device.type == "cpu" else count if all_gpus else [device.index or 0]
    return lightning.Trainer(
        accelerator="cpu" if device.type == "cpu" else "gpu",
        devices=devices,
        strategy=strategy_for(count),
        sync_batchnorm=count > 1,
        precision=_precision(settings.precision, device),  # type: ignore[arg-type]
        max_epochs=settings.epochs,
        accumulate_grad_batches=settings.accumulate,
        gradient_clip_val=settings.gradient_norm,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        callbacks=[checkpoints],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )


def strategy_for(processes: int) -> Strategy | str:
    """Lightning's strategy for a run in this many processes, one for each GPU."""
    if processes == 1:
        return "auto"
    # Frozen encoders take no part in the backward pass; synchronised batch norm keeps its own statistics equal.
    return DDPStrategy(find_unused_parameters=True, broadcast_buffers=False)


def _precision(wanted: str, device: torch.device) -> str:
    if wanted == "auto":
        if device.type == "cpu":
            return "32-true"
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    if wanted == "float16" and device.type == "cpu":
        raise SettingsError("precision float16 needs a GPU", "use float32 or bfloat16 on a CPU")
    return {"float32": "32-true", "float16": "16-mixed", "bfloat16": "bf16-mixed"}[wanted]


def loading_processes(settings: TrainSettings, device: torch.device) -> int:
    """Number of processes that load data; 0 for the process that trains."""
    if settings.workers is not None:
        return settings.workers
    # Embeddings are in memory: processes would cost their start and a copy of all of them each.
    embedded = all(settings.embedded_at(epoch) for epoch in range(settings.epochs))
    return 0 if device.type == "cpu" or embedded else min(_MAX_WORKERS, max(1, (os.cpu_count() or 1) - 1))


def _loader(
    dataset: SegmentDataset, sampler: EpochSampler, settings: TrainSettings, device: torch.device
) -> DataLoader[Batch]:
    workers = loading_processes(settings, device)
    if workers:
        # What every one of them would import; ignored where the server runs already.
        multiprocessing.get_context("forkserver").set_forkserver_preload(_IMPORTED_ONCE)
    return DataLoader(
        dataset,  # type: ignore[arg-type]
        batch_size=settings.batch_size,
        sampler=sampler,
        collate_fn=collate,
        num_workers=workers,
        # Not forked: this process has threads already.
        multiprocessing_context="forkserver" if workers else None,
        persistent_workers=bool(workers),
        pin_memory=device.type == "cuda",
    )


@torch.no_grad()
def predict_segments(
    store: SegmentStore, rows: np.ndarray, state: Mapping[str, Tensor], settings: TrainSettings
) -> np.ndarray:
    """Scores of segments, from all of their faces, by a network with these parameters: (n,) float64 in [0, 10]."""
    device = choose_device(settings.device)
    module = PainLightningModule(initial_network(settings, ()), settings, store)
    module.network.load_state_dict(dict(state))
    module.network = optimise_for_inference(module.network, str(device), "float32")
    module.eval()
    one_process = replace(settings, workers=0)
    frames, audio_input = store.index["crops"].max(), module.network.audio_input
    dataset = SegmentDataset(store, settings, False, frames, audio_input=audio_input)
    loader = _loader(dataset, EpochSampler(rows, None), one_process, device)
    scores = [module.predict(batch.to(device)).double().cpu().numpy() for batch in loader]
    return np.concatenate(scores) if scores else np.empty(0)


@contextlib.contextmanager
def _silenced_lightning() -> Iterator[None]:
    """Suppress the log messages and warnings of Lightning and torch within the block."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "lightning")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # About the number of workers, the logging interval, and deprecations within torch.
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
