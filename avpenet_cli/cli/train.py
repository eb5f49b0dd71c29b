"""`avpenet train`: train your own weights on a segment store."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avpenet_cli.cli.command_line import recorded_command
from avpenet_cli.cli.options import Debug, Quiet
from avpenet_cli.cli.reporter import run_callbacks
from avpenet_cli.errors import ExitCode
from avpenet_cli.runs.memory import loading_libraries

if TYPE_CHECKING:
    from avpenet_cli.training.metrics import Metrics
    from avpenet_cli.training.run import TrainResult


def train(
    context: typer.Context,
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Store made by avpenet prepare.", show_default=False)],
    out: Annotated[
        Path, typer.Option(metavar="NAME.safetensors", help="Weights to write; the run's state is kept in NAME.train/.")
    ],
    config: Annotated[
        Path | None, typer.Option(metavar="FILE.toml", help="Settings that differ from the paper's protocol.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume the run in NAME.train/.")] = False,
    init: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Start from weights (a name such as avpenet-phantom, or a .safetensors file), a checkpoint of the "
            "authors' code, or torchvision's resnet34 (audio) or resnet50 (face); may be given more than once.",
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="auto (all GPUs, else the CPU), cpu, cuda or cuda:N. [default: auto]")
    ] = None,
    demonstration: Annotated[
        bool, typer.Option("--demonstration", help="Mark the weights as not trained on recordings of patients.")
    ] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Train a network on prepared recordings, in the paper's two stages; the best epoch is kept.

    The state is kept after every epoch: an interrupted run resumes with --resume.
    """
    started = time.monotonic()
    with run_callbacks(quiet, ("epochs", "batches"), debug=debug) as callbacks:
        with loading_libraries():
            from avpenet_cli.settings import read_settings
            from avpenet_cli.training.run import TrainRequest, train_weights
            from avpenet_cli.training.settings import TrainSettings

        settings = read_settings(TrainSettings, config, {"device": device})
        command = recorded_command(context, private=False)
        request = TrainRequest(store, out, settings, tuple(init or ()), resume, demonstration, command)
        result = train_weights(request, callbacks)
        if result is not None:
            minutes = (time.monotonic() - started) / 60
            callbacks.summary(f"{_last_line(result)}; in {minutes:.1f} min", ExitCode.OK)
    return ExitCode.OK


def _last_line(result: TrainResult) -> str:
    best = f"epoch {result.best.epoch} of {result.epochs}" if result.best else "learnt from features"
    early = ", early stopping" if result.stopped_early else ""
    validation, test = (_mae(result.metrics[split]) for split in ("validation", "test"))
    return f"{result.weights}: {best}{early}; MAE validation {validation}, test {test}"


def _mae(metrics: Metrics) -> str:
    value = metrics.mae.value
    return f"{value:.2f}" if value == value else "-"
