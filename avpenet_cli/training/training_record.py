"""What a training run was and how well it went: for the weights' description, and in full beside it."""

from __future__ import annotations

import importlib.metadata
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from avpenet_cli.dataset.splits import Split
from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.phrasing import counted
from avpenet_cli.runs.versions import software_versions
from avpenet_cli.settings import Preprocessing, digest_of, flatten, to_dict
from avpenet_cli.stats.accuracy import accuracy
from avpenet_cli.stats.agreement import limits
from avpenet_cli.stats.bootstrap import Resampling, SubjectBootstrap
from avpenet_cli.stats.estimate import Estimate, flat
from avpenet_cli.stats.pairs import Pairs
from avpenet_cli.stats.reliability import icc
from avpenet_cli.storage import write_json
from avpenet_cli.training.fit import Trained
from avpenet_cli.training.settings import TrainSettings
from avpenet_cli.version import __version__
from avpenet_cli.weights import WeightsDescription

TRAINING_RECORD_FILE = "training_record.json"
RANDOM_INIT = "seeded initialisation"
"""What weights start from that started from no others, in their description."""
_NOTICE = "DEMONSTRATION weights, trained on simulated recordings, not for patients"
_PHANTOM = "phantom"


def metrics(store: SegmentStore, rows: np.ndarray, scores: np.ndarray) -> dict[str, Any]:
    """MAE, RMSE, bias, ICC(A,1) and Pearson of these segments' scores, with 95 % intervals by the subject bootstrap.

    Args:
        rows: (n,) int64, of the store's index.
        scores: (n,) float64, points.

    Returns:
        `n`, `n_subjects`, `mae`, `mae_ci` ...; JSON-ready, only the counts where there are fewer than two segments.
    """
    index = store.index
    reference = index["reference"].to_numpy(dtype=np.float64)[rows]
    pairs = Pairs.of(scores, reference, index["subject"].to_numpy(dtype=object)[rows])
    counts = {"n": pairs.n, "n_subjects": pairs.n_subjects}
    if pairs.n < 2:
        return counts
    return counts | flat(**estimates(pairs, Resampling().of(pairs.n_subjects)))


def estimates(pairs: Pairs, bootstrap: SubjectBootstrap) -> dict[str, Estimate]:
    """By name, points where they have a unit: `mae`, `rmse`, `bias`, `icc_a1`, `pearson`, with 95 % intervals."""
    errors = accuracy(pairs, bootstrap)
    reliability = icc(np.stack([pairs.model, pairs.reference], axis=1), pairs.subject, bootstrap)
    return {
        "mae": errors.mae,
        "rmse": errors.rmse,
        "bias": limits(pairs, None).bias,
        "icc_a1": reliability.icc_a1,
        "pearson": errors.pearson,
    }


def is_of_phantoms(store: SegmentStore) -> bool:
    """Does the store say that it was made of phantoms?"""
    return _PHANTOM in str(store.about.get("notice", "")).lower()


def splits_digest(store: SegmentStore, left_out_site: str | None) -> str:
    """SHA-256 of who is in which split, hexadecimal."""
    splits = store.about["splits"]
    return digest_of(splits["by_subject"] if left_out_site is None else splits["leave_one_site_out"][left_out_site])


def write_training_record(
    folder: Path,
    store: SegmentStore,
    settings: TrainSettings,
    trained: Trained,
    measured: dict[Split, dict[str, Any]],
    init: list[str],
) -> dict[str, Any]:
    """Write `training_record.json`: everything about the run that a person may ask for. Raises as `write_json`.

    Args:
        measured: from `metrics`, by split.
        init: digests of the files that it started from.
    """
    versions = {name: importlib.metadata.version(name) for name in ("lightning", "pandas", "pyarrow")}
    record = {
        "store": {"sha256": store.digest, "preprocessing": to_dict(store.preprocessing)},
        "splits_sha256": splits_digest(store, settings.left_out_site),
        "settings": settings.result_fingerprint_fields,
        "started_from": init,
        "software": software_versions() | versions,
        "epochs": len(trained.rows),
        "stopped_early": trained.stopped_early,
        "best_epoch": trained.best._asdict(),
        "metrics": measured,
    }
    write_json(folder / TRAINING_RECORD_FILE, record)
    return record


def describe_weights(
    name: str, store: SegmentStore, settings: TrainSettings, record: dict[str, Any], demonstration: bool
) -> WeightsDescription:
    """The description that travels with the weights.

    Args:
        record: from `write_training_record`.
        demonstration: trained on what nobody may take for patients.
    """
    status: Literal["demonstration", "research"] = "demonstration" if demonstration else "research"
    changed = _changed(settings)
    versions = record["software"]
    protocol = "the article's protocol" + (f" but {changed}" if changed else "")
    return WeightsDescription(
        name=name,
        status=status,
        intended_use="Trying out and commissioning the program; measuring phantoms."
        if demonstration
        else "Research on recordings like those it was trained and tested on.",
        not_intended_use="Patients, and decisions about them."
        if demonstration
        else "Clinical decisions; populations, sites and procedures it was not tested on.",
        training_data=_training_data(record, demonstration, settings.training_data),
        licence=settings.licence,
        created_with=(
            f"avpenet {__version__} train, torch {versions['torch']}, lightning {versions['lightning']}, Python "
            f"{versions['python']}; {protocol}; best of {record['epochs']} epochs: {record['best_epoch']['epoch']}; "
            f"started from {', '.join(record['started_from']) or RANDOM_INIT}; record sha256 {digest_of(record)}"
        ),
        architecture=settings.architecture,
        preprocessing=seen_by_network(store, settings),
        notice=_NOTICE if demonstration else "",
    )


def seen_by_network(store: SegmentStore, settings: TrainSettings) -> Preprocessing:
    """The store's preprocessing, with the crops' side that was trained on."""
    seen = store.preprocessing
    if settings.face_px is None:
        return seen
    return replace(seen, face=replace(seen.face, crop_px=settings.face_px))


def _changed(settings: TrainSettings) -> str:
    usual, now = TrainSettings().result_fingerprint_fields, settings.result_fingerprint_fields
    return ", ".join(f"{name} = {value}" for name, value in flatten(now).items() if usual.get(name) != value)


def _training_data(record: dict[str, Any], demonstration: bool, remark: str) -> str:
    kind = "Simulated patients (phantoms)" if demonstration else "Recordings"
    parts = [f"{kind}: store sha256 {record['store']['sha256']}, splits sha256 {record['splits_sha256']}"]
    for split, found in record["metrics"].items():
        text = f"{split}: {counted(found['n'], 'segment')} of {counted(found['n_subjects'], 'subject')}"
        for key, words in (("mae", "MAE"), ("rmse", "RMSE"), ("icc_a1", "ICC(A,1)"), ("bias", "bias")):
            if found.get(key) is not None:
                text += f", {words} {found[key]:.3f}{_interval(found[f'{key}_ci'])}"
        parts.append(text)
    return ". ".join([*parts, remark.rstrip(".")] if remark else parts) + "."


def _interval(ends: list[float | None]) -> str:
    low, high = ends
    return "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"
