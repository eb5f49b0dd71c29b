"""Variants of a segment store: recordings prepared again in another way, for the same segments and ratings.

Everything here is the hard kind of change: noise is added before the program reduces noise, faces are covered before
it searches for them, so that what it loses by that counts. `views` has the kinder kind, which needs no recordings.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from avpenet_cli.dataset.index import INDEX_FILE, recording_record, write_index
from avpenet_cli.dataset.prepare import PreparedRecording, Preparer, PrepareSettings
from avpenet_cli.dataset.record import (
    STORE_FILE,
    IndexRecord,
    RecordingRecord,
    StoreRecord,
    read_store_file,
    write_store_record,
)
from avpenet_cli.dataset.run import make_store_folders, prepare_recordings, remove_temporary_files, start_store
from avpenet_cli.dataset.segment_files import DESCRIPTION, SCORABLE, SEGMENT_FILES_FOLDER, segment_descriptions
from avpenet_cli.dataset.splits import SPLITS
from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.errors import RecordingError, SettingsError, reason
from avpenet_cli.experiment.alteration import RecordingAlteration, VariantSettings
from avpenet_cli.experiment.noise import NoiseFolder
from avpenet_cli.inputs import Recording, collect, display_name
from avpenet_cli.phrasing import plural
from avpenet_cli.records import Status
from avpenet_cli.runs.callbacks import NO_CALLBACKS, RunCallbacks
from avpenet_cli.runs.lock import output_lock
from avpenet_cli.runs.versions import software_versions
from avpenet_cli.settings import digest_of, from_dict, to_dict

MISSING, NOT_INCLUDED = "missing_recording", "not_in_variant"
"""`reason` of segments whose recording was not found, or not asked for."""

_NAMED = 5
_READ_BYTES = 1 << 20
_PREPARE_FIELDS = ("stride_s", "hold_s", "jpeg_quality", "split", "seed")
_DECODING = "decoding."
_PLACE = ("segment", "start_s", "end_s")


@dataclasses.dataclass(frozen=True)
class FoundRecordings:
    """The recordings of a store that were found again.

    Attributes:
        recordings: by their name in the store; each the same file as then.
        missing: names of the others.
    """

    recordings: dict[str, Recording]
    missing: tuple[str, ...]


def find_recordings(
    store: SegmentStore, paths: Sequence[str], callbacks: RunCallbacks = NO_CALLBACKS
) -> FoundRecordings:
    """Find the recordings that a store was made of, by the end of their paths, and check that they are the same.

    Args:
        paths: files, folders with their subfolders, or patterns.

    Raises:
        SettingsError: a recording has changed since; none of them is there.
        Interrupted: the callbacks asked for it.
    """
    candidates: dict[str, list[Recording]] = defaultdict(list)
    for recording in collect(paths, None, True, None).recordings:
        if not recording.problem:
            candidates[display_name(recording.path.name)].append(recording)
    found, missing = {}, []
    for record in store.record.recordings:
        if record.status == "failed":
            continue
        named = [
            recording
            for recording in candidates[PurePath(record.recording).name]
            if f"/{display_name(str(recording.path))}".endswith(f"/{record.recording}")
        ]
        if not named:
            missing.append(record.recording)
            continue
        same = next((item for item in named if _sha256(item, callbacks) == record.sha256), None)
        if same is None:
            raise SettingsError(
                f"{record.recording} has changed since the store {store.path} was prepared",
                "restore it, or prepare the store again",
            )
        found[record.recording] = dataclasses.replace(same, name=record.recording)
    if not found:
        raise SettingsError(
            f"none of the recordings of the store {store.path} is in {', '.join(paths)}",
            "name the folder that avpenet prepare was given",
        )
    if missing:
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        callbacks.warning(
            f"{plural(len(missing), 'recording')} of the store not found, left out of its variants: "
            f"{', '.join(missing[:_NAMED])}{more}"
        )
    return FoundRecordings(found, tuple(missing))


def make_variant(
    store: SegmentStore,
    recordings: FoundRecordings,
    settings: VariantSettings,
    out: Path,
    callbacks: RunCallbacks = NO_CALLBACKS,
    *,
    rows: np.ndarray | None = None,
    noise: NoiseFolder | None = None,
    device: str = "auto",
) -> SegmentStore:
    """Prepare recordings again in another way; resumes where an earlier run was interrupted or killed.

    The result has the rows of the store in the store's order, with its subjects, splits and references, so that row
    numbers agree. Segments that are unscorable now have a reason; so have those of recordings that were not asked for,
    not found, or could not be prepared.

    Args:
        recordings: from `find_recordings` for this store.
        settings: what is different.
        out: folder to create or to resume; its parent must exist.
        rows: of the store's index; the recordings that they belong to are prepared. All by default.
        noise: recordings of noise; None for white noise.
        device: of the face detection: `auto`, `cpu`, `cuda` or `cuda:N`.

    Raises:
        SettingsError: the store was prepared by a version that prepares otherwise; a recording that now gives other
            segments; noise without recordings of it; nothing to prepare.
        OutputError: `out` has something else, or a variant with other settings.
        OutputLockedError: another run writes to it.
        EnvironmentUnavailableError: no such device, no space.
        Interrupted: the callbacks asked for it; what was done is kept.
    """
    prepare_settings = _variant_preparation(store, settings, device)
    chosen = store.index["recording"] if rows is None else store.index["recording"].iloc[rows]
    included = tuple(dict.fromkeys(map(str, chosen)))
    available = [recordings.recordings[name] for name in included if name in recordings.recordings]
    if not available:
        raise SettingsError(f"no recording to prepare for {out}", "name the folder that avpenet prepare was given")
    alteration = RecordingAlteration(
        settings,
        prepare_settings.face,
        prepare_settings.quality.silent_dbfs,
        {recording.path: recording.name for recording in available},
        noise,
    )
    fields = prepare_settings.store_fingerprint_fields | alteration.fingerprint_fields
    fields |= {"variant.of": store.digest, "variant.recordings": f"{len(included)} ({digest_of(included)[:12]})"}
    files = out / SEGMENT_FILES_FOLDER
    make_store_folders(out, files)
    with output_lock(out / STORE_FILE, callbacks) as lease:
        start_store(out, read_store_file(out), fields)
        remove_temporary_files(out, files)
        preparer = Preparer(prepare_settings, files, callbacks, alteration)
        callbacks.set_total(len(available))
        prepared = {item.recording.name: item for item in prepare_recordings(available, preparer, callbacks)}
        absent = {
            record.recording: MISSING if record.recording in included else NOT_INCLUDED
            for record in store.record.recordings
            if record.recording not in prepared
        }
        index = _variant_index(store, prepared, absent)
        lease.check()
        digest = write_index(out / INDEX_FILE, index)
        entries = [_entry(record, prepared, absent) for record in store.record.recordings]
        record = dataclasses.replace(
            store.record,
            software=software_versions() | {"pyarrow": pa.__version__},
            settings=fields,
            fingerprint=preparer.fingerprint,
            preprocessing=prepare_settings.preprocessing,
            index=IndexRecord(INDEX_FILE, digest, len(index)),
            recordings=entries,
        )
        write_store_record(out, _with_counts(record, index))
    return SegmentStore.open(out)


def _variant_preparation(store: SegmentStore, settings: VariantSettings, device: str) -> PrepareSettings:
    """The settings of the store, with those of the variant.

    Raises:
        SettingsError: this version would not prepare the store's recordings as the store has them.
    """
    record = store.record
    stored = {name: record.settings[name] for name in _PREPARE_FIELDS if name in record.settings}
    decoding = {
        name.removeprefix(_DECODING): value for name, value in record.settings.items() if name.startswith(_DECODING)
    }
    parts = {
        "audio": to_dict(record.preprocessing.audio),
        "face": to_dict(record.preprocessing.face),
        "quality": to_dict(record.quality),
        "decoding": decoding,
        "device": device,
    }
    base = from_dict(PrepareSettings, stored | parts, f"the settings of {store.path}")
    if digest_of(base.segment_fingerprint_fields) != record.fingerprint:
        raise SettingsError(
            f"the store {store.path} was prepared by a version of avpenet that prepares otherwise",
            "prepare it again: what differs between versions would count as the variant's effect",
        )
    audio = base.audio if settings.denoise is None else dataclasses.replace(base.audio, denoise=settings.denoise)
    face = base.face if settings.align is None else dataclasses.replace(base.face, align=settings.align)
    return dataclasses.replace(base, audio=audio, face=face)


def _variant_index(store: SegmentStore, prepared: dict[str, PreparedRecording], absent: dict[str, str]) -> pd.DataFrame:
    """The store's index with what the segment files of the variant say of each segment."""
    parts = []
    for name, rows in store.index.groupby("recording", sort=False):
        item = prepared.get(str(name))
        if item is None or item.file is None:
            why = absent.get(str(name)) or (item.failure.code if item and item.failure else MISSING)
            part = rows[list(DESCRIPTION.names)].assign(status=Status.UNSCORABLE.value, reason=why, flags="", shard="")
            empty = [
                field.name for field in DESCRIPTION if field.name not in _PLACE and pa.types.is_primitive(field.type)
            ]
            parts.append(part.assign(**dict.fromkeys(empty, np.nan)).assign(crops=0))
            continue
        part = segment_descriptions(item.file).assign(shard=item.file.name)
        if not _same_places(part, rows):
            raise SettingsError(
                f"{name} gives other segments than in the store {store.path}", "prepare the store again"
            )
        parts.append(part.set_index(rows.index))
    described = pd.concat(parts).loc[store.index.index].drop(columns=list(_PLACE))
    return store.index.assign(**{column: described[column] for column in described.columns})


def _same_places(part: pd.DataFrame, rows: pd.DataFrame) -> bool:
    return all(part[column].tolist() == rows[column].tolist() for column in _PLACE)


def _entry(record: RecordingRecord, prepared: dict[str, PreparedRecording], absent: dict[str, str]) -> RecordingRecord:
    name = record.recording
    if name in prepared:
        return recording_record(prepared[name])
    return record if record.status == "failed" else RecordingRecord(name, "failed", reason=absent[name])


def _with_counts(record: StoreRecord, index: pd.DataFrame) -> StoreRecord:
    usable = index[(index["status"] == SCORABLE) & index["reference"].notna()]
    by_split = {name: usable[usable["split"] == name] for name in SPLITS}
    counts: dict[str, Any] = {
        "rated_segments": {name: len(rows) for name, rows in by_split.items()},
        "rated_subjects": {name: int(rows["subject"].nunique()) for name, rows in by_split.items()},
    }
    return dataclasses.replace(record, splits=dataclasses.replace(record.splits, **counts))


def _sha256(recording: Recording, callbacks: RunCallbacks) -> str:
    digest = hashlib.sha256()
    try:
        with recording.path.open("rb") as file:
            while block := file.read(_READ_BYTES):
                callbacks.check_stop()
                digest.update(block)
    except OSError as error:
        raise RecordingError(
            "unreadable", f"{recording.name} cannot be read: {reason(error)}", "check the path and the disk"
        ) from None
    return digest.hexdigest()
