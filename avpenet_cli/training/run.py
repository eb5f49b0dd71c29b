"""A segment store -> weights: the entry point of `avpenet train`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from avpenet_cli.dataset.record import STORE_FILE
from avpenet_cli.dataset.splits import Split
from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.errors import SettingsError
from avpenet_cli.phrasing import plural
from avpenet_cli.runs.callbacks import NO_CALLBACKS, RunCallbacks
from avpenet_cli.runs.history import read_file, record_run, refuse_unusable_history
from avpenet_cli.runs.lock import output_lock
from avpenet_cli.runs.outputs import refuse_existing
from avpenet_cli.settings import FRAMES_PER_WINDOW
from avpenet_cli.training.curves import EpochRow
from avpenet_cli.training.embeddings import EMBEDDINGS_FOLDER, load_or_compute_embeddings
from avpenet_cli.training.fit import FitResult, fit, predict_segments
from avpenet_cli.training.initial import digest_of_files, locate_initial_file
from avpenet_cli.training.learn import learn, predict_recordings
from avpenet_cli.training.metrics import Metrics, segment_metrics
from avpenet_cli.training.run_directory import CHECKPOINT_FILE, RunIdentity, prepare_run_directory, usable_rows
from avpenet_cli.training.settings import TrainSettings
from avpenet_cli.training.training_record import (
    describe_weights,
    is_of_phantoms,
    make_training_record,
    write_training_record,
)
from avpenet_cli.weights import is_valid_name, save

_SUFFIX = ".safetensors"


@dataclass(frozen=True)
class TrainRequest:
    """The request for one run.

    Attributes:
        store: folder of the segment store.
        out: NAME.safetensors; the run itself is kept beside it, in NAME.train/.
        settings: the settings of the run.
        init: installed weights by name, or files of initial parameters, see `training.initial.initial_network`.
        resume: resume the run in NAME.train/.
        demonstration: mark the weights as not trained on recordings of patients.
        command: that was given, for the history; without folders.
    """

    store: Path
    out: Path
    settings: TrainSettings = field(default_factory=TrainSettings)
    init: tuple[str | Path, ...] = ()
    resume: bool = False
    demonstration: bool = False
    command: str = ""

    @property
    def folder(self) -> Path:
        """Of the run."""
        return self.out.with_suffix(".train")


@dataclass(frozen=True)
class TrainResult:
    """Trained weights.

    Attributes:
        weights: the file; its description lies beside it.
        best: the epoch whose parameters the weights have; None for a network that learns without epochs.
        epochs, stopped_early: how many were trained, and whether early stopping ended the run.
        metrics: of the weights, for validation and test.
    """

    weights: Path
    best: EpochRow | None
    epochs: int
    stopped_early: bool
    metrics: dict[Split, Metrics]


def train_weights(request: TrainRequest, callbacks: RunCallbacks = NO_CALLBACKS) -> TrainResult | None:
    """Train a network on a segment store and write the parameters of its best epoch with their description.

    The state is kept after every epoch, so that a run that was interrupted or killed can be resumed.

    Returns:
        None in the additional processes that Lightning starts, one for each further GPU.

    Raises:
        SettingsError: a store, name or settings that cannot be used.
        OutputError: the weights or a run exist already, or it is another run; the description would replace another
            command's output; a file cannot be written.
        OutputLockedError: another run writes to the same weights.
        WeightsError: initial parameters that are not found or cannot be used.
        Interrupted: the callbacks asked for it; finished epochs are kept.
        AvpenetError: a loss that is not finite.
    """
    started = datetime.now(UTC)
    out, settings, folder = request.out, request.settings, request.folder
    if out.suffix != _SUFFIX or not is_valid_name(out.stem):
        raise SettingsError(
            f"--out {out}: not a name for weights", "give NAME.safetensors, of letters, digits, dots and dashes"
        )
    if not request.resume:
        refuse_existing(out)
    store = SegmentStore.open(request.store)
    rows = usable_rows(store, settings.left_out_site)
    init = [locate_initial_file(name_or_path) for name_or_path in request.init]
    callbacks.set_total(1 if settings.on_features else settings.epochs)
    if not _is_first_process():
        resume = request.resume and (folder / CHECKPOINT_FILE).exists()
        fit(store, rows, folder, settings, init, resume, callbacks)
        return None
    with output_lock(out, callbacks) as lease:
        written = [out, out.with_suffix(".json")]
        refuse_unusable_history(out, written)
        init_digests = digest_of_files(init)
        resume = prepare_run_directory(folder, RunIdentity.of(store, settings, init_digests), request.resume)
        _report_start(rows, request, resume, callbacks)
        if settings.on_features:
            network = learn(store, rows, folder, settings, init, callbacks)
            embeddings = load_or_compute_embeddings(folder / EMBEDDINGS_FOLDER, store, network, settings, callbacks)
            by_row = dict(zip(embeddings.rows, predict_recordings(network, store, embeddings), strict=True))
            fitted = FitResult(network.state_dict(), network.architecture)
            callbacks.item_done()
        else:
            by_row = {}
            fitted = fit(store, rows, folder, settings, init, resume, callbacks)
        lease.check()
        result = _write_weights(request, store, rows, fitted, init_digests, by_row)
        read = [read_file("segment store", request.store / STORE_FILE)]
        record_run(out, "train", written=written, read=read, command=request.command, started=started)
        return result


def _is_first_process() -> bool:
    """With several GPUs Lightning starts this program once more for each of the others."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def _report_start(
    rows: Mapping[Split, np.ndarray], request: TrainRequest, resume: bool, callbacks: RunCallbacks
) -> None:
    settings = request.settings
    counts = ", ".join(f"{split} {len(numbers)}" for split, numbers in rows.items())
    suffix = "; resuming" if resume else ""
    epochs = "" if settings.on_features else f"; {plural(settings.epochs, 'epoch')}"
    callbacks.info(f"rated segments: {counts}{epochs}{suffix}")
    if not request.init and not settings.on_features and settings.stage_1.epochs and not settings.stage_1.encoder_rate:
        callbacks.warning("stage 1 trains on frozen encoders with random parameters: give --init if you can")


def _write_weights(
    request: TrainRequest,
    store: SegmentStore,
    rows: Mapping[Split, np.ndarray],
    fitted: FitResult,
    init_digests: list[str],
    by_row: Mapping[int, float],
) -> TrainResult:
    """Evaluate the best epoch and write it with its description.

    Args:
        by_row: scores, where they are known already.
    """
    settings, out = request.settings, request.out

    def scores(numbers: np.ndarray) -> np.ndarray:
        if by_row:
            return np.array([by_row[row] for row in numbers])
        return predict_segments(store, numbers, fitted.state, settings)

    splits: tuple[Split, ...] = ("validation", "test")
    metrics = {split: segment_metrics(store, rows[split], scores(rows[split])) for split in splits}
    faces = settings.validation_frames if by_row else FRAMES_PER_WINDOW
    record = make_training_record(store, settings, fitted, metrics, init_digests, faces)
    write_training_record(request.folder, record)
    demonstration = request.demonstration or is_of_phantoms(store)
    save(fitted.state, describe_weights(out.stem, store, settings, fitted, record, demonstration), out)
    return TrainResult(out, fitted.best, len(fitted.rows), fitted.stopped_early, metrics)
