"""Record of a training run, `training_record.json`, and the description of the weights it made."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from avpenet_cli.dataset.splits import Split
from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.model.registry import network_entry
from avpenet_cli.phrasing import counted
from avpenet_cli.runs.versions import software_versions
from avpenet_cli.settings import FRAMES_PER_WINDOW, Preprocessing, digest_of, to_dict
from avpenet_cli.storage import write_json
from avpenet_cli.training.curves import EpochRow
from avpenet_cli.training.fit import FitResult
from avpenet_cli.training.metrics import Metrics
from avpenet_cli.training.settings import TrainSettings
from avpenet_cli.version import __version__
from avpenet_cli.weights import WeightsDescription

TRAINING_RECORD_FILE = "training_record.json"
TRAINING_RECORD_VERSION = 1
RANDOM_INIT = "seeded initialisation"
"""What the description of weights states as their start if they were not initialised from a file."""
_NOTICE = "DEMONSTRATION weights, trained on simulated recordings, not for patients"
_PHANTOM = "phantom"
_MIN_PAIRS = 2


@dataclass(frozen=True)
class StoreIdentity:
    """The store of a run: its digest, and the preprocessing of its segments."""

    sha256: str
    preprocessing: Preprocessing


@dataclass(frozen=True, kw_only=True)
class TrainingRecord:
    """Everything about a training run that a person may want to know.

    Attributes:
        splits_sha256: digest of the mapping from subject to split.
        settings: flat; those that change the result.
        started_from: SHA-256 of the files given as initial parameters.
        software: versions, by name.
        epochs, stopped_early: how many were trained, and whether early stopping ended the run.
        best_epoch: the one whose parameters the weights have; None for a network that learns without epochs.
        faces_per_segment: the most faces of a segment that the metrics are computed from.
        metrics: of the rated segments, by split.
    """

    training_record_version: int = TRAINING_RECORD_VERSION
    store: StoreIdentity
    splits_sha256: str
    settings: dict[str, Any]
    started_from: list[str]
    software: dict[str, str]
    epochs: int
    stopped_early: bool
    best_epoch: EpochRow | None
    faces_per_segment: int
    metrics: dict[Split, Metrics]

    def to_json(self) -> dict[str, Any]:
        """The content of `training_record.json`."""
        content = {field.name: getattr(self, field.name) for field in fields(self)}
        return content | {
            "store": to_dict(self.store),
            "best_epoch": self.best_epoch._asdict() if self.best_epoch else None,
            "metrics": {split: metrics.to_json() for split, metrics in self.metrics.items()},
        }


def make_training_record(
    store: SegmentStore,
    settings: TrainSettings,
    fitted: FitResult,
    metrics: Mapping[Split, Metrics],
    init_digests: Sequence[str],
    faces_per_segment: int = FRAMES_PER_WINDOW,
) -> TrainingRecord:
    """Collect the record of a finished run."""
    versions = {name: importlib.metadata.version(name) for name in ("lightning", "pandas", "pyarrow")}
    return TrainingRecord(
        store=StoreIdentity(store.digest, store.preprocessing),
        splits_sha256=splits_digest(store, settings.left_out_site),
        settings=settings.result_fingerprint_fields,
        started_from=list(init_digests),
        software=software_versions() | versions,
        epochs=len(fitted.rows),
        stopped_early=fitted.stopped_early,
        best_epoch=fitted.best,
        faces_per_segment=faces_per_segment,
        metrics=dict(metrics),
    )


def write_training_record(folder: Path, record: TrainingRecord) -> None:
    """Write `training_record.json`; raises as `write_json`."""
    write_json(folder / TRAINING_RECORD_FILE, record.to_json())


def is_of_phantoms(store: SegmentStore) -> bool:
    """Whether the store was made of phantoms, by its notice."""
    return _PHANTOM in store.record.notice.lower()


def splits_digest(store: SegmentStore, left_out_site: str | None) -> str:
    """SHA-256 of the mapping from subject to split, hexadecimal."""
    splits = store.record.splits
    return digest_of(splits.by_subject if left_out_site is None else splits.leave_one_site_out[left_out_site])


def describe_weights(
    name: str,
    store: SegmentStore,
    settings: TrainSettings,
    fitted: FitResult,
    record: TrainingRecord,
    demonstration: bool,
) -> WeightsDescription:
    """The description that travels with the weights.

    Args:
        demonstration: not trained on recordings of patients.
    """
    status: Literal["demonstration", "research"] = "demonstration" if demonstration else "research"
    changed = _changed(settings)
    versions = record.software
    epochs = "learnt from features of segments"
    if record.best_epoch is not None:
        epochs = f"best of {counted(record.epochs, 'epoch')}: {record.best_epoch.epoch}"
    protocol = f"network {settings.network}"
    if record.best_epoch is not None:
        protocol = "the paper's protocol" + (f" but {changed}" if changed else "")
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
            f"{versions['python']}; {protocol}; {epochs}; "
            f"started from {', '.join(record.started_from) or RANDOM_INIT}; record sha256 {digest_of(record.to_json())}"
        ),
        network=settings.network,
        architecture=fitted.architecture,
        modalities=network_entry(settings.network).modalities,
        preprocessing=network_preprocessing(store, settings),
        notice=_NOTICE if demonstration else "",
    )


def network_preprocessing(store: SegmentStore, settings: TrainSettings) -> Preprocessing:
    """The store's preprocessing, with the crop side that the network was trained on."""
    preprocessing = store.preprocessing
    if settings.face_px is None:
        return preprocessing
    return replace(preprocessing, face=replace(preprocessing.face, crop_px=settings.face_px))


def _changed(settings: TrainSettings) -> str:
    defaults, chosen = TrainSettings().result_fingerprint_fields, settings.result_fingerprint_fields
    return ", ".join(f"{name} = {value}" for name, value in chosen.items() if defaults.get(name) != value)


def _training_data(record: TrainingRecord, demonstration: bool, remark: str) -> str:
    kind = "Simulated patients (phantoms)" if demonstration else "Recordings"
    parts = [f"{kind}: store sha256 {record.store.sha256}, splits sha256 {record.splits_sha256}"]
    for split, metrics in record.metrics.items():
        text = f"{split}: {counted(metrics.n, 'segment')} of {counted(metrics.n_subjects, 'subject')}"
        if metrics.n >= _MIN_PAIRS:
            text += _metrics_text(metrics)
        parts.append(text)
    if record.faces_per_segment < FRAMES_PER_WINDOW:
        parts.append(f"figures with at most {counted(record.faces_per_segment, 'face')} of each segment")
    return ". ".join([*parts, remark.rstrip(".")] if remark else parts) + "."


def _metrics_text(metrics: Metrics) -> str:
    values = metrics.to_json()
    text = ""
    for key, label in (("mae", "MAE"), ("rmse", "RMSE"), ("icc_a1", "ICC(A,1)"), ("bias", "bias")):
        if values[key] is not None:
            low, high = values[f"{key}_ci"]
            interval = "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"
            text += f", {label} {values[key]:.3f}{interval}"
    return text
