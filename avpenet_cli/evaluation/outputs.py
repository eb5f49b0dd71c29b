"""What an evaluation leaves in its folder: score table, report, predictions, conditions, the account of it all."""

from __future__ import annotations

import csv
import datetime
import hashlib
import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from avpenet_cli.dataset.index import leftovers
from avpenet_cli.dataset.shards import SCORABLE
from avpenet_cli.dataset.store import STORE_FILE, SegmentStore
from avpenet_cli.errors import OutputError
from avpenet_cli.evaluation.conditions import AUDIO_ALONE, CLEAN, FACE_ALONE, METHODS, Condition
from avpenet_cli.evaluation.evaluate import FIGURES, RATED, Evaluation, EvaluationSplit, figures_of
from avpenet_cli.evaluation.figures import draw_conditions
from avpenet_cli.inputs import Recording
from avpenet_cli.phrasing import counted
from avpenet_cli.pipeline.windows import balance
from avpenet_cli.records import Flag, Quality, Reason, RecordingOutcome, SegmentScore, Status
from avpenet_cli.report.analysis import ReportSettings
from avpenet_cli.report.writing import write_report
from avpenet_cli.runs.device import device_name
from avpenet_cli.runs.manifest import (
    Manifest,
    StoreEntry,
    TableEntry,
    Timing,
    Totals,
    manifest_path,
    recording_entry,
    weights_mark,
    write_manifest,
)
from avpenet_cli.runs.versions import software_versions
from avpenet_cli.scoring.network import Network
from avpenet_cli.settings import WINDOW_S, DecodingSettings, QualitySettings, RunSettings, from_dict, to_dict
from avpenet_cli.stats.bootstrap import LEVEL, Resampling
from avpenet_cli.storage import atomic_write, storage_fault, write_json
from avpenet_cli.study.ratings import read_ratings, read_subjects
from avpenet_cli.study.score_tables import read_scores
from avpenet_cli.study.tables import Inputs
from avpenet_cli.tables import row, write_table

EVALUATION_FILE = "evaluation.json"
EVALUATION_VERSION = 1
SCORES_FILE, RATINGS_FILE, SUBJECTS_FILE = "scores.csv", "ratings.csv", "subjects.csv"
REPORT_FILE, PREDICTIONS_FILE = "report.html", "predictions.csv"
CONDITIONS_FILE, PICTURE_FILE = "conditions.csv", "conditions.png"
FILES = (
    *(SCORES_FILE, "scores.run.json", RATINGS_FILE, SUBJECTS_FILE),
    *(REPORT_FILE, "report.json", "report.review.csv"),
    *(PREDICTIONS_FILE, CONDITIONS_FILE, PICTURE_FILE, EVALUATION_FILE),
)
"""In the order of their writing: the last one vouches for the others."""

_LOCKS = (f"{EVALUATION_FILE}.lock", f"{EVALUATION_FILE}.holder")
_OVERLAP = (
    "The segments overlap: report.html gives each the median of all references it overlaps, so that its figures differ "
    "from those of evaluation.json, which are of each segment's own."
)
_REFERENCE_DECIMALS = 6
_DECODING = "decoding."


def prepare_output_directory(folder: Path, overwrite: bool) -> None:
    """Make the folder, or see that what is in it may be replaced.

    Raises:
        OutputError: it holds other things, or an evaluation that was not to be replaced; it cannot be made.
    """
    try:
        if folder.is_dir():
            there = sorted(path.name for path in folder.iterdir() if path.suffix != ".tmp")
            foreign = [name for name in there if name not in (*FILES, *_LOCKS)]
            if foreign:
                raise OutputError(
                    f"{folder} holds other things, such as {foreign[0]}", "choose an empty or new folder for --out"
                )
            if set(there) & set(FILES) and not overwrite:
                raise OutputError(
                    f"{folder} holds an evaluation already", "give --overwrite to replace it, or choose another --out"
                )
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)
    except FileExistsError:
        raise OutputError(f"{folder} is a file", "an evaluation is a folder: choose another --out") from None
    except OSError as error:
        raise storage_fault(folder, error) from None


def remove_leftovers(folder: Path) -> None:
    """Remove what killed runs left; the caller holds the folder. Raises as `storage_fault` says."""
    try:
        for path in leftovers(folder):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise storage_fault(folder, error) from None


def scoring_settings(store: SegmentStore, device: str) -> RunSettings:
    """How `avpenet score` would have been run to see what is in the store."""
    settings, where = store.about["settings"], str(store.path / STORE_FILE)
    quality = from_dict(QualitySettings, store.about["quality"], where)
    known = {name.removeprefix(_DECODING): value for name, value in settings.items() if name.startswith(_DECODING)}
    decoding = from_dict(DecodingSettings, known, where)
    return RunSettings(stride_s=float(settings["stride_s"]), device=device, quality=quality, decoding=decoding)


def write_evaluation(
    folder: Path,
    store: SegmentStore,
    division: EvaluationSplit,
    network: Network,
    run: RunSettings,
    evaluation: Evaluation,
    conditions: Sequence[Condition],
    seed: int,
    seconds: float,
) -> dict[str, Any]:
    """Write all of `FILES`, each whole, readable by their owner only.

    Args:
        folder: from `prepare_output_directory`.
        run: from `scoring_settings`.
        evaluation: of these conditions with this network.
        seed: of the conditions; also resamples subjects.
        seconds: that the scoring took.

    Returns:
        The account, as in `evaluation.json`.

    Raises:
        EnvironmentUnavailableError, OutputError: a file cannot be written.
    """
    try:
        # While files of two evaluations lie side by side, nothing vouches for them.
        (folder / EVALUATION_FILE).unlink(missing_ok=True)
    except OSError as error:
        raise storage_fault(folder, error) from None
    resampling = Resampling(seed=seed)
    found = figures_of(evaluation, conditions, resampling)
    mark = weights_mark(network.description) + (f" ({division.warning})" if division.warning else "")
    _write_scores(folder / SCORES_FILE, store, division, network, run, evaluation, mark, seconds)
    _write_frame(folder / RATINGS_FILE, _ratings(evaluation.segments))
    _write_frame(folder / SUBJECTS_FILE, _subjects(store, evaluation.segments))
    _write_report(folder, resampling)
    marks = {"split": division.split, "subjects": division.familiarity, "weights": mark}
    _write_frame(folder / PREDICTIONS_FILE, _predictions(evaluation, conditions).assign(**marks))
    _write_frame(folder / CONDITIONS_FILE, pd.DataFrame([_flat_row(one) for one in found]).assign(**marks))
    warnings = [text for text in (network.description.notice, division.warning) if text]
    clean = found[0]
    headline = f"{counted(clean['n'], 'segment')} of {counted(clean['n_subjects'], 'subject')}, split {division.split}"
    if division.familiarity == "unseen":
        headline += ", unseen in training"
    elif division.familiarity == "unknown":
        headline += "; not known whether seen in training"
    with atomic_write(folder / PICTURE_FILE) as file:
        file.write(draw_conditions(found, headline, warnings))
    record = _account(store, division, network, evaluation, found, resampling) | {
        "files": {name: _digest(folder / name) for name in FILES[:-1]},
        "seconds": round(seconds, 1),
    }
    write_json(folder / EVALUATION_FILE, record)
    return record


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _account(
    store: SegmentStore,
    division: EvaluationSplit,
    network: Network,
    evaluation: Evaluation,
    found: Sequence[dict[str, Any]],
    resampling: Resampling,
) -> dict[str, Any]:
    description = network.description
    by_name = {one["condition"]: one for one in found}
    overlapping = float(store.about["settings"]["stride_s"]) < WINDOW_S
    weights = to_dict(description)
    weights.pop("preprocessing")
    return {
        "evaluation_version": EVALUATION_VERSION,
        "notice": " ".join(text for text in (description.notice, division.warning) if text),
        "notes": [_OVERLAP] if overlapping else [],
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "weights": weights | {"digest": description.digest},
        "store": {"sha256": store.digest, "notice": store.about.get("notice", "")},
        "preprocessing": to_dict(store.preprocessing),
        "split": division.split,
        "left_out_site": division.left_out_site,
        "subjects": {"familiarity": division.familiarity, "words": division.words},
        "segments": {
            "of_the_recordings": len(evaluation.segments),
            "rated": int(evaluation.segments[RATED].sum()),
            "rated_without_score": int(evaluation.segments[RATED].sum()) - found[0]["n"],
        },
        "methods": {family: METHODS[family] for family in dict.fromkeys(one["family"] for one in found)},
        "statistics": {
            "confidence": LEVEL,
            "bootstrap_replicates": resampling.replicates,
            "seed": resampling.seed,
            "unit": "subject",
        },
        "headline": {
            name: by_name[name] for name in (CLEAN.name, AUDIO_ALONE.name, FACE_ALONE.name) if name in by_name
        },
        "conditions": list(found),
        "device": device_name(network.device),
        "software": software_versions(),
    }


# --- tables ----------------------------------------------------------------------------------------------------------


def _write_frame(path: Path, frame: pd.DataFrame) -> None:
    # All text is quoted: Python before 3.13 leaves a name with a carriage return bare, which ends the row for readers.
    text = frame.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    with atomic_write(path) as file:
        file.write(text.encode("utf-8"))


def _ratings(segments: pd.DataFrame) -> pd.DataFrame:
    """The references of the rated segments, as one rater's."""
    rated = segments[segments[RATED]]
    value = rated["reference"].round(_REFERENCE_DECIMALS)
    return rated[["recording", "start_s", "end_s"]].assign(value=value, scale="NRS", rater="reference")


def _subjects(store: SegmentStore, segments: pd.DataFrame) -> pd.DataFrame:
    columns = ["recording", "subject", *store.about["subjects"]["columns"]]
    return segments[columns].drop_duplicates("recording")


def _predictions(evaluation: Evaluation, conditions: Sequence[Condition]) -> pd.DataFrame:
    """Rated segments with a column for each condition, empty where there is no score."""
    rated = evaluation.segments[RATED].to_numpy(dtype=bool)
    columns = ["recording", "segment", "start_s", "end_s", "subject", "reference"]
    table = evaluation.segments.loc[rated, columns].assign(
        reference=lambda frame: frame["reference"].round(_REFERENCE_DECIMALS)
    )
    scores = evaluation.scores[rated]
    return table.assign(**{one.name: scores.get(one.name, pd.Series(np.nan, scores.index)) for one in conditions})


def _flat_row(found: dict[str, Any]) -> dict[str, Any]:
    """One condition as a row: intervals in two columns, reasons in one."""
    flat = {name: found[name] for name in ("condition", "family", "level", "n", "n_subjects")}
    for name in FIGURES:
        low, high = found[f"{name}_ci"]
        flat |= {name: _rounded(found[name]), f"{name}_low": _rounded(low), f"{name}_high": _rounded(high)}
    reasons = "; ".join(f"{name}: {reason}" for name, reason in found["reasons"].items())
    return flat | {"reason": f"not computable: {found['why_not']}" if found["why_not"] else reasons}


def _rounded(value: float | None) -> float:
    return math.nan if value is None else round(value, 6)


def _write_report(folder: Path, resampling: Resampling) -> None:
    names = [SCORES_FILE, "--reference", RATINGS_FILE, "--subjects", SUBJECTS_FILE, "--out", REPORT_FILE]
    command = shlex.join(["avpenet", "report", *names, "--seed", str(resampling.seed)])
    inputs = Inputs(
        read_scores([folder / SCORES_FILE]),
        read_ratings(folder / RATINGS_FILE),
        read_subjects(folder / SUBJECTS_FILE),
    )
    write_report(inputs, ReportSettings(resampling=resampling, command=command), folder / REPORT_FILE)


# --- the score table -------------------------------------------------------------------------------------------------


def _write_scores(
    path: Path,
    store: SegmentStore,
    division: EvaluationSplit,
    network: Network,
    run: RunSettings,
    evaluation: Evaluation,
    mark: str,
    seconds: float,
) -> None:
    """The clean scores as `avpenet score` writes them, and the manifest that vouches for them."""
    description, segments = network.description, evaluation.segments
    clean = evaluation.scores[CLEAN.name].tolist()
    records: dict[str, list[SegmentScore]] = {}
    for score, one in zip(clean, segments.to_dict("records"), strict=True):
        label = description.label(score) if math.isfinite(score) else ""
        records.setdefault(str(one["recording"]), []).append(_segment_score(one, score, label))
    prepared = {one["recording"]: one for one in store.about["recordings"]}
    device = device_name(network.device)
    totals, entries = Totals(), []
    for name, its in records.items():
        outcome = _outcome(its, prepared[name], device)
        totals.add(outcome)
        entries.append(recording_entry(Recording(Path(name), name, name), outcome, reused=False))
    rows = (row(name, one, mark) for name, its in records.items() for one in its)
    table = TableEntry(path.name, write_table(path, rows), len(segments))
    finished = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    manifest = Manifest.of(
        run,
        description,
        device=device,
        table=table,
        totals=totals.entry(),
        timing=Timing(finished, round(seconds, 1)),
        recordings=entries,
        store=StoreEntry(store.digest, division.split, division.left_out_site),
        # The report shows what the manifest says of the weights, and nobody may take this page for a test.
        warning=division.warning,
    )
    write_manifest(manifest_path(path), manifest)


def _segment_score(one: dict[Any, Any], score: float, label: str) -> SegmentScore:
    scored = math.isfinite(score)

    def known(name: str) -> float | None:
        return None if pd.isna(one[name]) else float(one[name])

    faces = known("faces")
    # What is scorable has its audio; these weights could not do without a face.
    reason = str(one["reason"] or "") if one["status"] != SCORABLE else Reason.NO_FACE.value
    return SegmentScore(
        segment=int(one["segment"]),
        start_s=float(one["start_s"]),
        end_s=float(one["end_s"]),
        status=Status.SCORED if scored else Status.UNSCORABLE,
        quality=Quality(
            face_rate=known("face_rate"),
            face_confidence=known("face_confidence"),
            face_px=known("face_px"),
            faces=None if faces is None else int(faces),
            voiced=known("voiced"),
            snr_db=known("snr_db"),
            level_dbfs=known("level_dbfs"),
        ),
        score=score if scored else None,
        label=label,
        reason="" if scored else reason,
        flags=tuple(Flag(flag) for flag in str(one["flags"] or "").split()),
    )


def _outcome(segments: list[SegmentScore], prepared: dict[str, Any], device: str) -> RecordingOutcome:
    return RecordingOutcome(
        status=Status.SCORED if any(one.status is Status.SCORED for one in segments) else Status.UNSCORABLE,
        segments=tuple(segments),
        balance=balance(prepared["nominal_s"], prepared["length_s"], segments),
        message=prepared["message"],
        orientation_deg=prepared["orientation_deg"],
        facts={"from_store": {"shard": prepared["shard"], "recording_sha256": prepared["sha256"]}, "device": device},
    )
