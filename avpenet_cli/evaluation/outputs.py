"""Files of an evaluation: score table, report, predictions, conditions, figure, and the evaluation record."""

from __future__ import annotations

import csv
import hashlib
import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from avpenet_cli.dataset.record import STORE_FILE
from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.evaluation.conditions import Condition
from avpenet_cli.evaluation.evaluate import RATED, Evaluation
from avpenet_cli.evaluation.figures import draw_conditions
from avpenet_cli.evaluation.record import EvaluationRecord, make_evaluation_record
from avpenet_cli.evaluation.results import ConditionResult, condition_results
from avpenet_cli.evaluation.score_table import write_score_table
from avpenet_cli.evaluation.split import EvaluationSplit
from avpenet_cli.phrasing import counted
from avpenet_cli.report.analysis import ReportSettings
from avpenet_cli.report.writing import write_report
from avpenet_cli.runs.manifest import weights_mark
from avpenet_cli.runs.outputs import prepare_output_directory, refuse_existing
from avpenet_cli.scoring.network import Network
from avpenet_cli.settings import DecodingSettings, RunSettings, from_dict
from avpenet_cli.stats.bootstrap import Resampling
from avpenet_cli.storage import atomic_write, storage_fault, write_json
from avpenet_cli.study.ratings import read_ratings
from avpenet_cli.study.score_tables import read_scores
from avpenet_cli.study.subjects import read_subjects
from avpenet_cli.study.tables import match_tables
from avpenet_cli.tables import escape_cell

EVALUATION_FILE = "evaluation.json"
SCORES_FILE, RATINGS_FILE, SUBJECTS_FILE = "scores.csv", "ratings.csv", "subjects.csv"
REPORT_FILE, PREDICTIONS_FILE = "report.html", "predictions.csv"
CONDITIONS_FILE, FIGURE_FILE = "conditions.csv", "conditions.png"
FILES = (
    *(SCORES_FILE, "scores.run.json", RATINGS_FILE, SUBJECTS_FILE),
    *(REPORT_FILE, "report.json", "report.review.csv", "report.review.m3u8"),
    *(PREDICTIONS_FILE, CONDITIONS_FILE, FIGURE_FILE, EVALUATION_FILE),
)
"""Files in the order of writing: the last one certifies the others."""

_OWN_FILES = {*FILES, *(f"{EVALUATION_FILE}.{ending}" for ending in ("lock", "holder", "history.jsonl"))}
_REFERENCE_DECIMALS = 6
_DECODING = "decoding."


def prepare_evaluation_directory(folder: Path, overwrite: bool) -> None:
    """Create the folder, or check that its content may be replaced.

    Raises:
        OutputError: it contains other files, or an evaluation without `overwrite`; it cannot be created.
    """
    prepare_output_directory(folder, lambda name: name in _OWN_FILES)
    try:
        # The file names say that there is an evaluation, and an existing folder may be open to others.
        folder.chmod(0o700)
    except OSError as error:
        raise storage_fault(folder, error) from None
    for name in () if overwrite else FILES:
        refuse_existing(folder / name, "give --overwrite to replace the evaluation, or choose another --out")


def remove_temporary_files(folder: Path) -> None:
    """Remove what killed runs left behind; the caller must have the lock. Raises as `storage_fault`."""
    try:
        for path in folder.glob(".*.tmp"):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise storage_fault(folder, error) from None


def scoring_settings(store: SegmentStore, device: str) -> RunSettings:
    """The settings of `avpenet score` that match the store."""
    settings = store.record.settings
    decoding = {name.removeprefix(_DECODING): value for name, value in settings.items() if name.startswith(_DECODING)}
    return RunSettings(
        stride_s=float(settings["stride_s"]),
        device=device,
        quality=store.record.quality,
        decoding=from_dict(DecodingSettings, decoding, str(store.path / STORE_FILE)),
    )


def write_evaluation(
    folder: Path,
    store: SegmentStore,
    split: EvaluationSplit,
    network: Network,
    run: RunSettings,
    evaluation: Evaluation,
    conditions: Sequence[Condition],
    seed: int,
) -> EvaluationRecord:
    """Write all of `FILES`, each atomically, readable by their owner only.

    Args:
        folder: from `prepare_evaluation_directory`.
        run: from `scoring_settings`.
        evaluation: the evaluation of these conditions with this network.
        seed: seed of the conditions and of the resampling of subjects.

    Returns:
        The record in `evaluation.json`.

    Raises:
        EnvironmentUnavailableError, OutputError: a file cannot be written.
    """
    try:
        # While files of two evaluations lie side by side, nothing certifies them.
        (folder / EVALUATION_FILE).unlink(missing_ok=True)
    except OSError as error:
        raise storage_fault(folder, error) from None
    resampling = Resampling(seed=seed)
    results = condition_results(evaluation, conditions, resampling)
    mark = weights_mark(network.description) + (" SEEN SUBJECTS" if split.familiarity == "seen" else "")
    write_score_table(folder / SCORES_FILE, store, split, network, run, evaluation, mark)
    _write_frame(folder / RATINGS_FILE, _ratings(evaluation.segments))
    _write_frame(folder / SUBJECTS_FILE, _subjects(store, evaluation.segments))
    _write_report(folder, resampling)
    marks = {"split": split.split, "subjects": split.familiarity, "weights": mark}
    _write_frame(folder / PREDICTIONS_FILE, _predictions(evaluation, conditions).assign(**marks))
    _write_frame(folder / CONDITIONS_FILE, pd.DataFrame([_flat_row(result) for result in results]).assign(**marks))
    warnings = [text for text in (network.description.notice, split.warning) if text]
    with atomic_write(folder / FIGURE_FILE) as file:
        file.write(draw_conditions(results, _headline(results[0], split), warnings))
    record = make_evaluation_record(store, split, network, evaluation, results, resampling)
    record = record.with_files({name: _digest(folder / name) for name in FILES[:-1]})
    write_json(folder / EVALUATION_FILE, record.to_json())
    return record


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _headline(clean: ConditionResult, split: EvaluationSplit) -> str:
    segments, subjects = counted(clean.metrics.n, "segment"), counted(clean.metrics.n_subjects, "subject")
    suffix = {"unseen": ", unseen in training", "unknown": "; unknown whether seen in training", "seen": ""}
    return f"{segments} of {subjects}, split {split.split}{suffix[split.familiarity]}"


def _write_frame(path: Path, frame: pd.DataFrame) -> None:
    # All text is quoted: Python before 3.13 leaves a name with a carriage return bare, which ends the row for readers.
    def escaped(cell: object) -> object:
        return escape_cell(cell) if isinstance(cell, str) else cell

    frame = frame.copy()
    for name in frame.select_dtypes(exclude="number").columns:
        frame[name] = frame[name].astype(object).map(escaped)
    text = frame.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    with atomic_write(path) as file:
        file.write(text.encode("utf-8"))


def _ratings(segments: pd.DataFrame) -> pd.DataFrame:
    """The references of the rated segments, as ratings of one rater."""
    rated = segments[segments[RATED]]
    value = rated["reference"].round(_REFERENCE_DECIMALS)
    return rated[["recording", "start_s", "end_s"]].assign(value=value, scale="NRS", rater="reference")


def _subjects(store: SegmentStore, segments: pd.DataFrame) -> pd.DataFrame:
    columns = ["recording", "subject", *store.record.subjects.columns]
    return segments[columns].drop_duplicates("recording")


def _predictions(evaluation: Evaluation, conditions: Sequence[Condition]) -> pd.DataFrame:
    """Rated segments with a column for each condition, empty where there is no score."""
    rated = evaluation.segments[RATED].to_numpy(dtype=bool)
    columns = ["recording", "segment", "start_s", "end_s", "subject", "reference"]
    table = evaluation.segments.loc[rated, columns].assign(
        reference=lambda frame: frame["reference"].round(_REFERENCE_DECIMALS)
    )
    scores = evaluation.scores[rated]
    missing = pd.Series(np.nan, scores.index)
    return table.assign(**{condition.name: scores.get(condition.name, missing) for condition in conditions})


def _flat_row(result: ConditionResult) -> dict[str, Any]:
    """One condition as a row: intervals in two columns, reasons in one."""
    condition, metrics = result.condition, result.metrics
    row: dict[str, Any] = {
        "condition": condition.name,
        "family": condition.family,
        "level": condition.level,
        "n": metrics.n,
        "n_subjects": metrics.n_subjects,
    }
    for name, estimate in result.estimates.items():
        low, high = estimate.ci
        row |= {name: _round(estimate.value), f"{name}_low": _round(low), f"{name}_high": _round(high)}
    reasons = "; ".join(f"{name}: {value.reason}" for name, value in result.estimates.items() if value.reason)
    return row | {"reason": f"not computable: {result.not_computable}" if result.not_computable else reasons}


def _round(value: float) -> float:
    return round(float(value), 6) if math.isfinite(value) else math.nan


def _write_report(folder: Path, resampling: Resampling) -> None:
    names = [SCORES_FILE, "--reference", RATINGS_FILE, "--subjects", SUBJECTS_FILE, "--out", REPORT_FILE]
    command = shlex.join(["avpenet", "report", *names, "--seed", str(resampling.seed)])
    inputs = match_tables(
        read_scores([folder / SCORES_FILE]),
        read_ratings(folder / RATINGS_FILE),
        read_subjects(folder / SUBJECTS_FILE),
    )
    settings = ReportSettings(resampling=resampling, command=command)
    write_report(inputs, settings, folder / REPORT_FILE, with_history=False)
