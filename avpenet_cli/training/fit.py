"""A training run: Lightning's loop over the learner, kept on disk after every epoch, and the weights at its end."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.strategies import DDPStrategy, Strategy
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor
from torch.utils.data import DataLoader

from avpenet_cli.dataset.splits import Split
from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.errors import AvpenetError, Interrupted, SettingsError
from avpenet_cli.model.inference import optimise_for_inference
from avpenet_cli.runs.device import choose_device
from avpenet_cli.storage import atomic_write, storage_fault, sync_folder
from avpenet_cli.training.callbacks import NOBODY, Told
from avpenet_cli.training.curves import EpochRow, write_curves
from avpenet_cli.training.data import Batch, EpochSampler, SegmentDataset, collate
from avpenet_cli.training.embeddings import EMBEDDINGS_FILE, prepared_embeddings
from avpenet_cli.training.initial import initial_network
from avpenet_cli.training.lightning_module import PainLightningModule, rates
from avpenet_cli.training.run_directory import CHECKPOINT_FILE
from avpenet_cli.training.settings import TrainSettings

BEST_PREFIX = "best-"
_MOST_WORKERS = 12


@dataclass(frozen=True)
class Trained:
    """What a run gave.

    Attributes:
        state: of the network at its best epoch, float32 on the CPU.
        best: that epoch.
        rows: all epochs.
        stopped_early: the validation error had stopped falling.
    """

    state: dict[str, Tensor]
    best: EpochRow
    rows: tuple[EpochRow, ...]
    stopped_early: bool


class CheckpointCallback(lightning.Callback):
    """After every epoch: its row, the best weights so far, and a checkpoint to go on from, all of it whole."""

    def __init__(self, folder: Path, settings: TrainSettings, told: Told) -> None:
        self._folder, self._settings, self._told = folder, settings, told
        self.rows: list[EpochRow] = []

    @property
    def best(self) -> EpochRow:
        """The first epoch of the smallest validation MAE."""
        return min(self.rows, key=lambda row: row.validation_mae)

    @property
    def out_of_patience(self) -> bool:
        """Has the last stage gone on for too long without a better epoch of its own?"""
        late = [row for row in self.rows if row.epoch > self._settings.last_stage_starts]
        if not late:
            return False
        return late[-1].epoch - min(late, key=lambda row: row.validation_mae).epoch >= self._settings.patience_epochs

    def best_path(self) -> Path:
        """Where the best epoch's parameters are."""
        return self._folder / f"{BEST_PREFIX}{self.best.epoch}.safetensors"

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"rows": [list(row) for row in self.rows]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the checkpoint."""
        self.rows = [EpochRow(*row) for row in state_dict["rows"]]

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """A run that had stopped early before it was killed does not begin again."""
        if self.out_of_patience:
            trainer.should_stop = True

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Say so, and stop where that is wished."""
        self._told.batch(batch_idx + 1, int(trainer.num_training_batches))
        if self._told.stop():
            raise Interrupted("")

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Write everything down."""
        assert isinstance(pl_module, PainLightningModule)
        row = _row(trainer, pl_module, self._settings)
        self.rows = [*self.rows[: row.epoch - 1], row]
        is_best = self.best is row
        if trainer.is_global_zero and is_best:
            _write_tensors(self.best_path(), pl_module.network.state_dict())
        _write_checkpoint(trainer, self._folder / CHECKPOINT_FILE)
        if trainer.is_global_zero:
            write_curves(self._folder, self.rows)
            for path in self._folder.glob(f"{BEST_PREFIX}*.safetensors"):
                if path != self.best_path():
                    path.unlink()
            self._told.epoch(row, is_best)
        if self.out_of_patience:
            trainer.should_stop = True


def _row(trainer: lightning.Trainer, module: PainLightningModule, settings: TrainSettings) -> EpochRow:
    epoch = trainer.current_epoch
    train, found = (
        trainer.strategy.reduce(sums.to(module.device, torch.float64), reduce_op="sum").cpu().tolist()
        for sums in (module.train_sums, module.validation_sums)
    )
    encoder_rate, fusion_rate = rates(settings, epoch)
    loss, mse, ordinal, boundary = (one / train[0] for one in train[1:])
    return EpochRow(
        epoch=epoch + 1,
        stage=settings.stage_at(epoch)[0],
        encoder_rate=encoder_rate,
        fusion_rate=fusion_rate,
        loss=loss,
        mse=mse,
        ordinal=ordinal,
        boundary=boundary,
        validation_mae=found[1] / found[0],
        validation_rmse=math.sqrt(found[2] / found[0]),
        validation_bias=found[3] / found[0],
    )


def _write_tensors(path: Path, state: Mapping[str, Tensor]) -> None:
    from safetensors.torch import save

    with atomic_write(path) as file:
        file.write(save({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}))


def _write_checkpoint(trainer: lightning.Trainer, path: Path) -> None:
    """Lightning's, by another name until it is whole; every process takes part."""
    partial = path.with_name(f".{path.name}.tmp")
    try:
        trainer.save_checkpoint(partial)
        if trainer.is_global_zero:
            partial.chmod(0o600)
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(path)
            sync_folder(path.parent)
    except OSError as error:
        raise storage_fault(path, error) from None


# --- the run -------------------------------------------------------------------------------------------------------


def fit(
    store: SegmentStore,
    rows: Mapping[Split, np.ndarray],
    folder: Path,
    settings: TrainSettings,
    init: Sequence[Path] = (),
    resuming: bool = False,
    told: Told = NOBODY,
) -> Trained:
    """Train, from the beginning or from the folder's checkpoint.

    Args:
        rows: from `claim.check_store`.
        folder: from `claim.claim`, as is `resuming`.
        init: parameters to start from, see `initial.initial_network`.

    Raises:
        AvpenetError: a loss that is not a number; the batch is named.
        Interrupted: `told.stop` said so; what the folder holds is whole.
        OutputError, EnvironmentUnavailableError: the folder cannot be written.
        SettingsError: a checkpoint that cannot be read.
    """
    module = PainLightningModule(initial_network(settings, init), settings, store)
    checkpoints = CheckpointCallback(folder, settings, told)
    device = choose_device(settings.device)
    with _quiet():
        trainer = _trainer(settings, device, folder, checkpoints)
        # Only the trainer knows, and only once it is made, which process of how many this is.
        rank, world = trainer.global_rank, trainer.world_size
        embeddings = None
        if settings.stage_1.epochs and settings.embedded_at(0):
            both = np.union1d(rows["train"], rows["validation"])
            embeddings = prepared_embeddings(folder / EMBEDDINGS_FILE, store, both, module, settings, told)
        train = _loader(
            SegmentDataset(store, settings, True, settings.frames_per_segment, embeddings),
            EpochSampler(rows["train"], settings.seed, rank, world),
            settings,
            device,
        )
        validation = _loader(
            SegmentDataset(store, settings, False, settings.validation_frames, embeddings),
            EpochSampler(rows["validation"], None, rank, world),
            settings,
            device,
        )
        try:
            checkpoint = folder / CHECKPOINT_FILE if resuming else None
            # Tensors and plain values only: nothing in a checkpoint is ever executed.
            trainer.fit(module, train, validation, ckpt_path=checkpoint, weights_only=True)
        except (Interrupted, SIGTERMException):
            done = f"interrupted after {len(checkpoints.rows)} of {settings.epochs} epochs"
            raise Interrupted(done, "give the same command with --resume to go on") from None
        except SystemExit:  # Lightning's answer to a second Ctrl-C
            raise KeyboardInterrupt from None
    return Trained(
        _read_best(checkpoints.best_path()), checkpoints.best, tuple(checkpoints.rows), checkpoints.out_of_patience
    )


def _read_best(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise AvpenetError(f"the best epoch's weights {path} cannot be read: {error}", "train again") from None


def _trainer(
    settings: TrainSettings, device: torch.device, folder: Path, checkpoints: CheckpointCallback
) -> lightning.Trainer:
    everything = settings.device == "auto" and device.type == "cuda"
    count = torch.cuda.device_count() if everything else 1
    # Frozen encoders take no part in the backward pass; batch norm statistics are kept equal by the norm itself.
    strategy: Strategy | str = (
        DDPStrategy(find_unused_parameters=True, broadcast_buffers=False) if count > 1 else "auto"
    )
    devices: int | list[int] = 1 if device.type == "cpu" else count if everything else [device.index or 0]
    return lightning.Trainer(
        accelerator="cpu" if device.type == "cpu" else "gpu",
        devices=devices,
        strategy=strategy,
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


def _precision(wanted: str, device: torch.device) -> str:
    if wanted == "auto":
        if device.type == "cpu":
            return "32-true"
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    if wanted == "float16" and device.type == "cpu":
        raise SettingsError("precision float16 needs a GPU", "use float32 or bfloat16 on a CPU")
    return {"float32": "32-true", "float16": "16-mixed", "bfloat16": "bf16-mixed"}[wanted]


def _loader(
    dataset: SegmentDataset, sampler: EpochSampler, settings: TrainSettings, device: torch.device
) -> DataLoader[Batch]:
    workers = settings.workers
    if workers is None:
        workers = 0 if device.type == "cpu" else min(_MOST_WORKERS, max(1, (os.cpu_count() or 1) - 1))
    return DataLoader(
        dataset,  # type: ignore[arg-type]
        batch_size=settings.batch_size,
        sampler=sampler,
        collate_fn=collate,
        num_workers=workers,
        # Not forked: this process has threads by now.
        multiprocessing_context="forkserver" if workers else None,
        persistent_workers=bool(workers),
        pin_memory=device.type == "cuda",
    )


@torch.no_grad()
def predictions(
    store: SegmentStore, rows: np.ndarray, state: Mapping[str, Tensor], settings: TrainSettings
) -> np.ndarray:
    """Scores of segments by a network of this state, from all of their faces: (n,) float64 in [0, 10]."""
    device = choose_device(settings.device)
    module = PainLightningModule(initial_network(settings, ()), settings, store)
    module.network.load_state_dict(dict(state))
    module.network = optimise_for_inference(module.network, str(device), "float32")
    module.eval()
    one_process = replace(settings, workers=0)
    dataset = SegmentDataset(store, settings, False, store.index["crops"].max())
    loader = _loader(dataset, EpochSampler(rows, None), one_process, device)
    found = [module.predict(batch.to(device)).double().cpu().numpy() for batch in loader]
    return np.concatenate(found) if found else np.empty(0)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Lightning says and advises nothing within the block; the program speaks for itself."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "lightning")]
    before = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # About numbers of workers, lengths of logs, and torch's own coming changes.
            warnings.simplefilter("ignore")
            yield
    finally:
        for one, level in zip(loggers, before, strict=True):
            one.setLevel(level)
