"""`avpenet train`: a segment store in, weights of one's own out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avpenet_cli.cli.reporter import Reporter
from avpenet_cli.cli.signals import stop_on_signals
from avpenet_cli.errors import ExitCode, OutputError, SettingsError

if TYPE_CHECKING:
    from avpenet_cli.dataset.splits import Split
    from avpenet_cli.dataset.store import SegmentStore
    from avpenet_cli.training.curves import EpochRow
    from avpenet_cli.training.fit import Trained
    from avpenet_cli.training.settings import TrainSettings

_SUFFIX = ".safetensors"


def train(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="From avpenet prepare.", show_default=False)],
    out: Annotated[
        Path, typer.Option(metavar="NAME.safetensors", help="Weights to write; the run itself is kept in NAME.train/.")
    ],
    config: Annotated[
        Path | None, typer.Option(metavar="FILE.toml", help="Whatever differs from the article's protocol.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in NAME.train/.")] = False,
    init: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Start from weights (.safetensors), a checkpoint of the authors' code, or torchvision's resnet34 "
            "(sound) or resnet50 (face); may be given more than once.",
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="auto (all GPUs, else the CPU), cpu, cuda or cuda:N. [default: auto]")
    ] = None,
    demonstration: Annotated[
        bool, typer.Option("--demonstration", help="Mark the weights as trained on what are no patients.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only warnings, errors and the last line.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> int:
    """Train a network on prepared recordings: METHOD's two stages, the best epoch kept.

    Kept after every epoch: a run that was stopped or killed goes on with --resume.
    """
    from avpenet_cli.weights import may_be_called

    if out.suffix != _SUFFIX or not may_be_called(out.stem):
        raise SettingsError(
            f"--out {out}: weights cannot be called that", "give NAME.safetensors, of letters, digits, dots and dashes"
        )
    if os.path.lexists(out) and not resume:
        raise OutputError(f"{out} is there already", "choose another --out, or remove it")
    begun = time.monotonic()
    with stop_on_signals() as stop:
        settings = _settings(config, device)
        from avpenet_cli.dataset.store import SegmentStore

        with Reporter("text", None, quiet, False, settings.epochs, ("epochs", "batches")) as reporter:
            last = _run(SegmentStore.open(store), out, settings, init or [], resume, demonstration, reporter, stop)
    if _first_process():
        typer.echo(f"{last} in {(time.monotonic() - begun) / 60:.1f} min", err=True)
    return ExitCode.OK


def _first_process() -> bool:
    """With several GPUs Lightning starts this very command once more for each of the others."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def _settings(config: Path | None, device: str | None) -> TrainSettings:
    from avpenet_cli.settings import from_dict, read_config
    from avpenet_cli.training.settings import TrainSettings

    plain = read_config(config) if config else {}
    from_dict(TrainSettings, plain, str(config))
    return from_dict(TrainSettings, plain | ({} if device is None else {"device": device}), "command line")


def _run(
    store: SegmentStore,
    out: Path,
    settings: TrainSettings,
    init: list[Path],
    resume: bool,
    demonstration: bool,
    reporter: Reporter,
    stop: Callable[[], bool],
) -> str:
    """All of it; returns the last line."""
    from avpenet_cli.runs.lock import output_lock
    from avpenet_cli.training.callbacks import Told
    from avpenet_cli.training.fit import fit
    from avpenet_cli.training.run_directory import CHECKPOINT_FILE, check_store, claim

    folder = out.with_suffix(".train")
    rows = check_store(store, settings.left_out_site)

    def epoch(row: EpochRow, best: bool) -> None:
        reporter.info(_line(row, best, settings.epochs))
        reporter.item_done()

    told = Told(epoch, reporter.progress, stop)
    if not _first_process():
        fit(store, rows, folder, settings, init, resume and (folder / CHECKPOINT_FILE).exists(), told)
        return ""
    with output_lock(out):
        resuming = claim(folder, store, settings, init, resume)
        counts = ", ".join(f"{split} {len(numbers)}" for split, numbers in rows.items())
        reporter.info(f"rated segments: {counts}; {settings.epochs} epochs" + ("; going on" if resuming else ""))
        if not init and settings.stage_1.epochs and not settings.stage_1.encoder_rate:
            reporter.warning("stage 1 trains on frozen encoders that have learnt nothing: give --init if you can")
        trained = fit(store, rows, folder, settings, init, resuming, told)
        return _finish(store, rows, out, settings, init, trained, demonstration)


def _finish(
    store: SegmentStore,
    rows: dict[Split, Any],
    out: Path,
    settings: TrainSettings,
    init: list[Path],
    trained: Trained,
    demonstration: bool,
) -> str:
    """Measure the best epoch and write it with its description."""
    from avpenet_cli.training.fit import predictions
    from avpenet_cli.training.initial import digest_of_files
    from avpenet_cli.training.training_record import describe_weights, is_of_phantoms, metrics, write_training_record
    from avpenet_cli.weights import save

    parts: tuple[Split, ...] = ("validation", "test")
    measured = {
        split: metrics(store, rows[split], predictions(store, rows[split], trained.state, settings)) for split in parts
    }
    folder = out.with_suffix(".train")
    record = write_training_record(folder, store, settings, trained, measured, digest_of_files(init))
    description = describe_weights(out.stem, store, settings, record, demonstration or is_of_phantoms(store))
    save(trained.state, description, out)
    early = ", stopped early" if trained.stopped_early else ""
    return (
        f"avpenet: {out}: epoch {trained.best.epoch} of {len(trained.rows)}{early}; MAE validation "
        f"{_number(measured['validation'])}, test {_number(measured['test'])};"
    )


def _number(found: dict[str, Any]) -> str:
    return f"{found['mae']:.2f}" if found.get("mae") is not None else "-"


def _line(row: EpochRow, best: bool, epochs: int) -> str:
    return (
        f"epoch {row.epoch:3d}/{epochs} stage {row.stage} loss {row.loss:7.3f} (mse {row.mse:.3f}, ordinal "
        f"{row.ordinal:.3f}, boundary {row.boundary:.3f}) validation MAE {row.validation_mae:.3f} RMSE "
        f"{row.validation_rmse:.3f} bias {row.validation_bias:+.3f}{' best' if best else ''}"
    )
