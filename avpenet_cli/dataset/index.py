"""Segment files and annotations -> the store's index and its record."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from avpenet_cli.dataset.annotations import RATED_COLUMN, Annotations
from avpenet_cli.dataset.prepare import PreparedRecording, PrepareSettings
from avpenet_cli.dataset.record import (
    IndexRecord,
    RatingsRecord,
    RecordingRecord,
    SplitsRecord,
    StoreRecord,
    SubjectsRecord,
    UnmatchedRatingsRecord,
    write_store_record,
)
from avpenet_cli.dataset.segment_files import DESCRIPTION, INDEX_COLUMNS, SCORABLE, segment_descriptions
from avpenet_cli.dataset.splits import SPLITS, STRATA, Split, check_no_leak
from avpenet_cli.errors import SettingsError
from avpenet_cli.keys import normalise_key
from avpenet_cli.runs.versions import software_versions
from avpenet_cli.settings import digest_of
from avpenet_cli.storage import atomic_write
from avpenet_cli.study.pairing import NO_RECORDING, Pairing, pair
from avpenet_cli.study.score_tables import DEFAULT_CUT_POINTS, Scores

INDEX_FILE = "index.parquet"
_EXAMPLES = 100
_NOT_PREPARED = "its recording was not prepared: not named, failed, or without a segment"


@dataclass(frozen=True)
class StoreSummary:
    """The content of a store, and what a person should check before training.

    Attributes:
        segments: number by status.
        rated: number of scorable segments with a reference, by split.
        subjects: number of their subjects, by split.
        unmatched_ratings: ratings that fall in no segment: `line`, `recording`, `start_s`, `why`.
        moved: subjects that an earlier run had put into another split.
        unrated_recordings: prepared recordings that no rating names.
    """

    segments: dict[str, int]
    rated: dict[str, int]
    subjects: dict[str, int]
    unmatched_ratings: pd.DataFrame
    moved: tuple[str, ...]
    unrated_recordings: tuple[str, ...]


def finish_store(
    folder: Path,
    recordings: Sequence[PreparedRecording],
    annotations: Annotations,
    settings: PrepareSettings,
    notice: str = "",
    splits_before: dict[str, str] | None = None,
) -> StoreSummary:
    """Write the index, then `store.json`. Until the latter is in place, the store is unchanged.

    Args:
        recordings: all of them, in input order.
        notice: what weights trained on this store must state.
        splits_before: subject to split, from an earlier `store.json`.

    Raises:
        SettingsError: the same file under two subjects; a leak.
        EnvironmentUnavailableError, OutputError: a file cannot be written.
    """
    prepared = [recording for recording in recordings if recording.file is not None]
    _check_duplicate_recordings(prepared, annotations)
    segments, pairing = _pair(prepared, annotations, settings.hold_s)
    index = _index(segments, annotations)
    check_no_leak(index)
    digest = write_index(folder / INDEX_FILE, index)
    summary = _summary(index, annotations, pairing, splits_before or {})
    record = _record(settings, annotations, summary, notice, IndexRecord(INDEX_FILE, digest, len(index)), recordings)
    write_store_record(folder, record)
    return summary


def _check_duplicate_recordings(prepared: Sequence[PreparedRecording], annotations: Annotations) -> None:
    """The same file under two names belongs to one patient, whatever the table says."""
    seen: dict[str, str] = {}
    subject_of = annotations.subjects.subject_of
    for item in prepared:
        name = item.recording.name
        assert item.header is not None
        other = seen.setdefault(item.header.sha256, name)
        if subject_of[name] != subject_of[other]:
            raise SettingsError(
                f"{other} of subject {subject_of[other]} and {name} of subject {subject_of[name]} are the same file",
                "leave one of them out, or give both the same subject: one could be trained on, the other tested on",
            )


def _pair(
    prepared: Sequence[PreparedRecording], annotations: Annotations, hold_s: float
) -> tuple[pd.DataFrame, Pairing | None]:
    """All segments with their reference, by the rules of `avpenet report`; no pairing where no rating names any."""
    parts = []
    for item in prepared:
        assert item.file is not None
        frame = segment_descriptions(item.file)
        parts.append(frame.assign(recording=item.recording.name, shard=item.file.name))
    empty = pa.Table.from_batches([], DESCRIPTION).to_pandas().assign(recording="", shard="")
    segments = pd.concat(parts, ignore_index=True) if parts else empty
    names = list(dict.fromkeys(segments["recording"]))
    if not set(names) & set(annotations.ratings.rows["recording"]):
        return segments.assign(reference=np.nan, n_raters=np.int64(0)), None
    segments["recording"] = pd.Categorical(segments["recording"], categories=names)
    scores = Scores(segments, (), "", DEFAULT_CUT_POINTS)
    pairing = pair(scores, annotations.ratings, annotations.subjects, hold_s)
    return pairing.segments.assign(recording=segments["recording"].astype("str")), pairing


def _index(segments: pd.DataFrame, annotations: Annotations) -> pd.DataFrame:
    columns = annotations.table.drop(columns=RATED_COLUMN).loc[segments["recording"].tolist()].reset_index(drop=True)
    index = segments.drop(columns=["subject"], errors="ignore")
    for name in columns.columns:
        index[name] = columns[name].astype("str").to_numpy()
    index["split"] = index["subject"].map(annotations.splits).astype("str")
    described = [name for name in DESCRIPTION.names if name not in ("segment", "start_s", "end_s")]
    first = ["recording", "segment", "start_s", "end_s", *columns.columns, "reference", "n_raters"]
    return index[[*first, *described, "split", "shard"]]


def write_index(path: Path, index: pd.DataFrame) -> str:
    """Write a store's index; returns the file's SHA-256, hexadecimal."""
    schema = pa.schema([(name, INDEX_COLUMNS.get(name, pa.string())) for name in index.columns])
    with atomic_write(path) as file:
        pq.write_table(pa.Table.from_pandas(index, schema, preserve_index=False).replace_schema_metadata(), file)
        file.flush()
        file.seek(0)
        return hashlib.file_digest(cast(io.BufferedRandom, file), "sha256").hexdigest()


def _summary(
    index: pd.DataFrame, annotations: Annotations, pairing: Pairing | None, splits_before: dict[str, str]
) -> StoreSummary:
    usable = index[(index["status"] == SCORABLE) & index["reference"].notna()]
    by_split = {name: usable[usable["split"] == name] for name in SPLITS}
    return StoreSummary(
        segments={str(name): int(count) for name, count in index["status"].value_counts().items()},
        rated={name: len(rows) for name, rows in by_split.items()},
        subjects={name: int(rows["subject"].nunique()) for name, rows in by_split.items()},
        unmatched_ratings=_unmatched(pairing, annotations),
        moved=_moved(annotations.splits, splits_before),
        unrated_recordings=pairing.unrated_recordings if pairing else (),
    )


def _moved(splits: dict[str, Split], before: dict[str, str]) -> tuple[str, ...]:
    """Subjects that were in another split before, under any spelling of their name."""
    by_key: dict[str, set[str]] = {}
    for name, split in before.items():
        by_key.setdefault(normalise_key(name), set()).add(split)
    return tuple(name for name, split in splits.items() if by_key.get(normalise_key(name), {split}) != {split})


def _unmatched(pairing: Pairing | None, annotations: Annotations) -> pd.DataFrame:
    if pairing is None:
        return annotations.ratings.rows[["line", "recording", "start_s"]].assign(why=_NOT_PREPARED)
    unmatched = pairing.unmatched_ratings
    return unmatched.assign(why=unmatched["why"].replace(NO_RECORDING, _NOT_PREPARED))


def _record(
    settings: PrepareSettings,
    annotations: Annotations,
    summary: StoreSummary,
    notice: str,
    index: IndexRecord,
    recordings: Sequence[PreparedRecording],
) -> StoreRecord:
    ratings, subjects, unmatched = annotations.ratings, annotations.subjects, summary.unmatched_ratings
    examples = unmatched.head(_EXAMPLES).to_dict("records")
    return StoreRecord(
        software=software_versions() | {"pyarrow": pa.__version__},
        settings=settings.store_fingerprint_fields,
        fingerprint=digest_of(settings.segment_fingerprint_fields),
        preprocessing=settings.preprocessing,
        quality=settings.quality,
        ratings=RatingsRecord(
            **asdict(ratings.file), scales=list(ratings.scales), raters=len(ratings.raters), hold_s=settings.hold_s
        ),
        subjects=SubjectsRecord(**asdict(subjects.file), columns=list(subjects.columns)),
        unmatched_ratings=UnmatchedRatingsRecord(
            count=len(unmatched),
            by_reason={str(why): int(count) for why, count in unmatched["why"].value_counts().items()},
            examples=[{str(name): value for name, value in row.items()} for row in examples],
        ),
        unrated_recordings=list(summary.unrated_recordings),
        splits=SplitsRecord(
            seed=settings.seed,
            shares=dict(zip(SPLITS, settings.split, strict=True)),
            strata=list(STRATA),
            rated_segments=summary.rated,
            rated_subjects=summary.subjects,
            by_subject=annotations.splits,
            leave_one_site_out=annotations.site_splits,
        ),
        notice=notice,
        index=index,
        recordings=[recording_record(recording) for recording in recordings],
    )


def recording_record(item: PreparedRecording) -> RecordingRecord:
    """What `store.json` says of a recording."""
    name, header = item.recording.name, item.header
    if item.failure is not None or item.file is None or header is None:
        reason = item.failure.code if item.failure else ""
        return RecordingRecord(name, "failed", reason=reason, message=str(item.failure or ""))
    return RecordingRecord(
        recording=name,
        status="prepared",
        shard=item.file.name,
        shard_bytes=item.file.stat().st_size,
        message=header.message,
        sha256=header.sha256,
        nominal_s=header.nominal_s,
        length_s=header.length_s,
        orientation_deg=header.orientation_deg,
        segments={SCORABLE: item.segments - item.unscorable, "unscorable": item.unscorable},
    )
