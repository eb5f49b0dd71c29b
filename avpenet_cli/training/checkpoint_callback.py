"""Lightning callback that keeps a run's state on disk after every epoch, and ends it early."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from pydantic import TypeAdapter
from torch import Tensor

from avpenet_cli.errors import AvpenetError, OutputError
from avpenet_cli.runs.callbacks import RunCallbacks
from avpenet_cli.storage import atomic_write, storage_fault, sync_folder
from avpenet_cli.training.curves import EpochRow, write_curves
from avpenet_cli.training.lightning_module import PainLightningModule, learning_rates
from avpenet_cli.training.run_directory import CHECKPOINT_FILE
from avpenet_cli.training.settings import TrainSettings

_BEST_PREFIX = "best-"


class CheckpointCallback(lightning.Callback):
    """After every epoch, writes its row, the best parameters so far and a checkpoint to resume from.

    Args:
        interval_s: write no more often than this. A checkpoint takes 0.25 to 0.6 GB, and an epoch on embeddings may be
            shorter than its writing.

    Attributes:
        rows: of the epochs so far.
        is_restored: whether the checkpoint of the run that is resumed, if there is one, has been read.
    """

    def __init__(self, folder: Path, settings: TrainSettings, callbacks: RunCallbacks, interval_s: float = 0.0) -> None:
        self._folder, self._settings, self._callbacks = folder, settings, callbacks
        self._interval_s, self._written_s = interval_s, time.monotonic()
        self._best_state: dict[str, Tensor] | None = None
        self.rows: list[EpochRow] = []
        self.is_restored = False

    @property
    def state_key(self) -> str:
        """Key of the state in checkpoints, by which those of earlier versions are read too."""
        return "Bookkeeping"

    @property
    def best(self) -> EpochRow:
        """The first epoch with the smallest validation MAE."""
        return min(self.rows, key=lambda row: row.validation_mae)

    @property
    def out_of_patience(self) -> bool:
        """Whether early stopping applies: the last stage has not improved for too many epochs."""
        last_stage = [row for row in self.rows if row.epoch > self._settings.last_stage_starts]
        if not last_stage:
            return False
        return (
            last_stage[-1].epoch - min(last_stage, key=lambda row: row.validation_mae).epoch
            >= self._settings.patience_epochs
        )

    def best_state(self) -> dict[str, Tensor]:
        """Parameters of the best epoch, on the CPU.

        Raises:
            AvpenetError: their file cannot be read.
        """
        return _read_tensors(self._best_path()) if self._best_state is None else self._best_state

    def _best_path(self) -> Path:
        return self._folder / f"{_BEST_PREFIX}{self.best.epoch}.safetensors"

    def state_dict(self) -> dict[str, Any]:
        """State for the checkpoint."""
        return {"rows": [list(row) for row in self.rows]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state from a checkpoint.

        Raises:
            ValidationError, KeyError: it is none.
        """
        self.rows = TypeAdapter(list[EpochRow]).validate_python(state_dict["rows"])

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Stop at once if early stopping had already ended the run that is resumed.

        Raises:
            OutputError: the checkpoint lacks the epochs before it, so the best one could not be kept.
        """
        if trainer.current_epoch and not self.rows:
            raise OutputError(
                f"{self._folder / CHECKPOINT_FILE} holds no record of its earlier epochs",
                "choose another --out and train from the start",
            )
        if self.out_of_patience:
            trainer.should_stop = True
        self.is_restored = True

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Report progress, and stop if requested."""
        self._callbacks.progress(batch_idx + 1, int(trainer.num_training_batches))
        self._callbacks.check_stop()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Write the epoch's row, parameters and checkpoint."""
        assert isinstance(pl_module, PainLightningModule)
        row = _row(trainer, pl_module, self._settings)
        self.rows = [*self.rows[: row.epoch - 1], row]
        is_best = self.best is row
        if trainer.is_global_zero and is_best:
            state = pl_module.network.state_dict()
            self._best_state = {name: tensor.detach().cpu().clone() for name, tensor in state.items()}
        is_last = row.epoch == self._settings.epochs or self.out_of_patience
        if time.monotonic() - self._written_s >= self._interval_s:
            self._write(trainer)
        elif is_last and trainer.is_global_zero:
            write_curves(self._folder, self.rows)
        if trainer.is_global_zero:
            self._callbacks.info(_epoch_line(row, is_best, self._settings.epochs), **row._asdict(), best=is_best)
            self._callbacks.item_done()
        if self.out_of_patience:
            trainer.should_stop = True

    def _write(self, trainer: lightning.Trainer) -> None:
        if trainer.is_global_zero and self._best_state is not None:
            _write_tensors(self._best_path(), self._best_state)
            self._best_state = None
        _write_checkpoint(trainer, self._folder / CHECKPOINT_FILE)
        if trainer.is_global_zero:
            write_curves(self._folder, self.rows)
            for path in self._folder.glob(f"{_BEST_PREFIX}*.safetensors"):
                if path != self._best_path():
                    path.unlink()
        self._written_s = time.monotonic()


def _row(trainer: lightning.Trainer, module: PainLightningModule, settings: TrainSettings) -> EpochRow:
    epoch = trainer.current_epoch
    train, validation = (
        trainer.strategy.reduce(sums.to(module.device, torch.float64), reduce_op="sum").cpu().tolist()
        for sums in (module.train_sums, module.validation_sums)
    )
    encoder_rate, fusion_rate = learning_rates(settings, epoch)
    loss, mse, ordinal, boundary = (total / train[0] for total in train[1:])
    return EpochRow(
        epoch=epoch + 1,
        stage=settings.stage_at(epoch)[0],
        encoder_rate=encoder_rate,
        fusion_rate=fusion_rate,
        loss=loss,
        mse=mse,
        ordinal=ordinal,
        boundary=boundary,
        validation_mae=validation[1] / validation[0],
        validation_rmse=math.sqrt(validation[2] / validation[0]),
        validation_bias=validation[3] / validation[0],
    )


def _write_tensors(path: Path, state: Mapping[str, Tensor]) -> None:
    from safetensors.torch import save

    with atomic_write(path) as file:
        file.write(save({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}))


def _read_tensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise AvpenetError(f"the best epoch's weights {path} cannot be read: {error}", "train again") from None


def _write_checkpoint(trainer: lightning.Trainer, path: Path) -> None:
    """Lightning's checkpoint, under a temporary name until it is complete; every process takes part."""
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


def _epoch_line(row: EpochRow, best: bool, epochs: int) -> str:
    return (
        f"epoch {row.epoch:3d}/{epochs} stage {row.stage} loss {row.loss:7.3f} (mse {row.mse:.3f}, ordinal "
        f"{row.ordinal:.3f}, boundary {row.boundary:.3f}) validation MAE {row.validation_mae:.3f} RMSE "
        f"{row.validation_rmse:.3f} bias {row.validation_bias:+.3f}{' best' if best else ''}"
    )
