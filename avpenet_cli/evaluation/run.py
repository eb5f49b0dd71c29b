"""A segment store and weights -> an evaluation: the entry point of `avpenet evaluate`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from avpenet_cli.dataset.record import STORE_FILE
from avpenet_cli.dataset.splits import Split
from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.evaluation.conditions import Condition, parse_conditions
from avpenet_cli.evaluation.evaluate import evaluate, select_segments
from avpenet_cli.evaluation.outputs import (
    EVALUATION_FILE,
    FILES,
    prepare_evaluation_directory,
    remove_temporary_files,
    scoring_settings,
    write_evaluation,
)
from avpenet_cli.evaluation.record import EvaluationRecord
from avpenet_cli.evaluation.split import check_preprocessing, identify_split
from avpenet_cli.runs.callbacks import NO_CALLBACKS, RunCallbacks
from avpenet_cli.runs.device import choose_device, device_name
from avpenet_cli.runs.history import read_file, record_run, refuse_unusable_history
from avpenet_cli.runs.lock import output_lock
from avpenet_cli.scoring.network import Network
from avpenet_cli.weights import find


@dataclass(frozen=True)
class EvaluateRequest:
    """The request for one evaluation.

    Attributes:
        store: folder of the segment store.
        weights: name or file.
        out: folder to write to: new, empty, or with `overwrite` an earlier evaluation.
        split: subjects to evaluate on.
        conditions: from `parse_conditions`, the clean one first.
        seed: seed of noise, covered cells and resampling.
        device: auto, cpu, cuda or cuda:N.
        overwrite: replace the evaluation in `out`.
        command: that was given, for the history; without folders.
    """

    store: Path
    weights: str
    out: Path
    split: Split = "test"
    conditions: tuple[Condition, ...] = parse_conditions("all")
    seed: int = 42
    device: str = "auto"
    overwrite: bool = False
    command: str = ""


def evaluate_weights(request: EvaluateRequest, callbacks: RunCallbacks = NO_CALLBACKS) -> EvaluationRecord:
    """Evaluate weights against the references of a store, under every condition, and write tables and report.

    Returns:
        The record in `evaluation.json`.

    Raises:
        SettingsError: a store, split or weights that do not go together; no rated segment can be scored.
        WeightsError: weights that are absent or altered.
        OutputError: `out` contains other files, or an evaluation without `overwrite`.
        OutputLockedError: another run writes to it.
        Interrupted: the callbacks asked for it; nothing is kept.
        AvpenetError: a score that is not finite.
    """
    started = datetime.now(UTC)
    store, entry = SegmentStore.open(request.store), find(request.weights)
    description = entry.description
    check_preprocessing(store, description)
    split = identify_split(store, request.split, description.training_data, description.created_with)
    recordings = int(select_segments(store, split)["recording"].nunique())
    run = scoring_settings(store, request.device)
    choose_device(run.device)
    prepare_evaluation_directory(request.out, request.overwrite)
    callbacks.set_total(recordings)
    with output_lock(request.out / EVALUATION_FILE, callbacks) as lease:
        remove_temporary_files(request.out)
        refuse_unusable_history(request.out / EVALUATION_FILE)
        network = Network(entry, run)
        for warning in (description.notice, split.warning):
            if warning:
                callbacks.warning(warning)
        callbacks.info(f"{split.description}; evaluating on {device_name(network.device)}")
        evaluation = evaluate(store, split, network, request.conditions, request.seed, callbacks)
        for name, reason in evaluation.not_computable.items():
            callbacks.warning(f"{name} is not computable: {reason}")
        lease.check()
        callbacks.info("writing the report and the tables")
        record = write_evaluation(request.out, store, split, network, run, evaluation, request.conditions, request.seed)
        record_run(
            request.out / EVALUATION_FILE,
            "evaluate",
            written=[request.out / name for name in reversed(FILES)],
            read=[read_file("segment store", request.store / STORE_FILE)],
            command=request.command,
            started=started,
        )
        for note in record.notes:
            callbacks.warning(note)
    return record
