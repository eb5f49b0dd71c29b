"""Parts of the GPU check that train through the program's own code: plainly, and with DistributedDataParallel."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from lightning.pytorch.strategies import DDPStrategy, Strategy

import avpenet_cli.training.fit as fit_module
from avpenet_cli.dataset.prepare import PrepareSettings
from avpenet_cli.dataset.run import PrepareRequest, prepare_dataset
from avpenet_cli.settings import from_dict
from avpenet_cli.training.run import TrainRequest, TrainResult, train_weights
from avpenet_cli.training.settings import TrainSettings
from avpenet_cli.weights import default_entry, find
from avpenet_cli.weights.loading import load_network
from tests.gpu.prepare import EXAMPLES

if TYPE_CHECKING:
    from tests.gpu.parts import Job

_STEPS = 3
_STORE, _LOSS_FILE = "store", "loss.json"


def prepared_store(job: Job) -> Path:
    """A store of the three phantoms, one subject in each split; made once."""
    folder = job.work / _STORE
    if not (folder / "index.parquet").exists():
        settings = from_dict(PrepareSettings, {"device": job.device, "split": (0.34, 0.33, 0.33)}, "gpu-check")
        names = tuple(str(path) for path in job.recordings.paths)
        request = PrepareRequest(names, EXAMPLES / "truth.csv", EXAMPLES / "subjects.csv", folder, settings)
        result = prepare_dataset(request)
        for recording in result.recordings:
            if recording.error is not None:
                raise recording.error
    return folder


def train_three_steps(job: Job, name: str) -> tuple[TrainRequest, TrainResult]:
    """One epoch of three optimiser steps on all parameters, from the bundled weights."""
    from avpenet_cli.dataset.store import SegmentStore

    store = prepared_store(job)
    segments = len(SegmentStore.open(store).rated("train"))
    options = {
        "stage_1": {"epochs": 0, "encoder_rate": 0.0, "fusion_rate": 1e-3},
        "stage_2": {"epochs": 1, "encoder_rate": 1e-5, "fusion_rate": 1e-4},
        "batch_size": math.ceil(segments / _STEPS),
        "accumulate": 1,
        "frames_per_segment": 2 if job.quick else 30,
        "validation_frames": 2 if job.quick else 30,
        "device": job.device,
        "workers": 2,
        # Waveforms are augmented on the CPU on every machine.
        "audio": {"probability": 0.0},
    }
    path = default_entry().path
    assert path is not None
    out = job.work / f"{name}.safetensors"
    request = TrainRequest(store, out, from_dict(TrainSettings, options, "gpu-check"), (path,))
    result = train_weights(request)
    assert result is not None
    return request, result


def training(job: Job) -> None:
    """Three steps, parameters that changed, weights and a checkpoint that load again."""
    with job.step("training"):
        request, result = train_three_steps(job, "trained")
        assert result.best is not None
        (job.work / _LOSS_FILE).write_text(json.dumps(result.best.loss))
        text = f"{result.best.loss:.4f} in {request.settings.batch_size} segments a step"
        job.row(f"training, {_STEPS} steps: loss", text, "finite", math.isfinite(result.best.loss))
        before = load_network(default_entry()).state_dict()
        after = load_network(find(str(result.weights))).state_dict()
        changed = [
            name for name, value in after.items() if value.is_floating_point() and not torch.equal(value, before[name])
        ]
        parts = sorted({name.split(".")[0] for name in changed})
        needed = {"audio_encoder", "visual_encoder", "fusion", "head"}
        text = f"{len(changed)} of {len(after)} tensors, in {', '.join(parts)}"
        job.row("training: parameters changed", text, "in all parts", needed <= set(parts))
        mae = result.metrics["validation"].mae.value
        job.row("training: its weights load and predict", f"MAE {mae:.3f} on validation", "finite", math.isfinite(mae))
    with job.step("training: the checkpoint loads again"):
        resumed = train_weights(TrainRequest(**(vars(request) | {"resume": True})))
        assert resumed is not None
        same = resumed.best == result.best and resumed.epochs == result.epochs
        text = f"{resumed.epochs} epoch, {'the same row' if same else 'another row'}"
        job.row("training: its checkpoint is resumed", text, "the same epoch", same)


def ddp(job: Job) -> None:
    """The same training with DistributedDataParallel in one process, through the program's code."""
    strategies: list[Strategy | str] = []
    of_several = fit_module.strategy_for

    def of_one_process(processes: int) -> Strategy | str:
        strategies.append(of_several(2))
        return strategies[-1]

    with job.step("DDP of one process"):
        fit_module.strategy_for = of_one_process
        _, result = train_three_steps(job, "ddp")
        assert result.best is not None
        strategy = strategies[0]
        assert isinstance(strategy, DDPStrategy)
        text = f"{result.best.loss:.4f}, {strategy.process_group_backend or 'gloo'}"
        job.row(f"DDP of one process, {_STEPS} steps: loss", text, "finite", math.isfinite(result.best.loss))
        known = job.work / _LOSS_FILE
        if known.exists():
            difference = abs(json.loads(known.read_text()) - result.best.loss)
            job.row("DDP of one process: loss against plain training", f"{difference:.1e}", "0.01", difference <= 0.01)
        else:
            job.not_run("DDP of one process: loss against plain training", "plain training failed")
