"""The segment store: segments prepared once for training, read in random order and by several processes.

A folder that only its owner can read:

- `store.json`: settings, sources and splits; see `dataset.record`.
- `index.parquet`: one row per segment.
- `shards/NAME.arrow`: the segment files, one Arrow file per recording with one record batch per segment, so that each
  segment can be read without the others. NAME reveals nothing about the recording.

Does not import torch, so that processes that load data need not either.
"""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from avpenet_cli.dataset.record import (
    STORE_FILE,
    StoreRecord,
    parse_store_record,
    read_store_file,
    store_content,
)
from avpenet_cli.dataset.segment_files import (
    FULL_SCALE,
    INDEX_COLUMNS,
    SCORABLE,
    SEGMENT_FILES_FOLDER,
    checked_batch,
    damaged_segment_file,
    open_segment_file,
)
from avpenet_cli.dataset.splits import SPLITS, Split
from avpenet_cli.errors import SettingsError
from avpenet_cli.keys import merge_spellings, shown
from avpenet_cli.model.architecture import Modality
from avpenet_cli.settings import FRAMES_PER_WINDOW, Preprocessing, digest_of

_REPAIR = "run the same `avpenet prepare` again to repair it, then `avpenet merge` if it was prepared in shards"
_OPEN_FILES = 64
"""Number of segment files that each reading process keeps open."""


@dataclass(frozen=True, eq=False)
class Segment:
    """One segment: the network's input and its reference.

    Attributes:
        spectrogram: (128, 300) float32 in [0, 1], exact to 0.0003.
        waveform: (48000,) float32 at 16 kHz, denoised, its peak at 1; all zeros for a silent segment.
        peak: peak of the waveform before normalisation, full scale 1; 0 for a silent segment.
        faces: (k, 224, 224, 3) uint8 RGB, the k frames of the segment's 30 in which the patient's face was found.
        frame_indices: (k,) int64, ascending: of `faces` among the 30 frames. Frame i is at start_s + (i + 0.5) * 0.1 s.
        reference: pain, 0 to 10; NaN where unrated.
        recording, segment, subject, split: where it belongs.
    """

    spectrogram: np.ndarray
    waveform: np.ndarray
    peak: float
    faces: np.ndarray
    frame_indices: np.ndarray
    reference: float
    recording: str
    segment: int
    subject: str
    split: Split


class SegmentStore:
    """A store, opened for reading. Can be pickled and forked: each process opens its own segment files.

    Attributes:
        path: the store's folder.
        record: the content of `store.json`.
        index: one row per segment, by recording, then time: `recording`, `segment`, `start_s`, `end_s`, `subject`,
            `age_group`, `site`, the other columns of the subjects' table, `reference` (0 to 10, NaN where unrated),
            `n_raters`, the rest of `DESCRIPTION`, `split`, `shard` (its segment file).
        digest: SHA-256 over everything the store was made of: recordings, settings, ratings, splits. Hexadecimal.
    """

    def __init__(self, path: Path, record: StoreRecord, index: pd.DataFrame, digest: str | None = None) -> None:
        self.path, self.record, self.index = path, record, index
        self.digest = digest_of(store_content(record)) if digest is None else digest
        self._readers: OrderedDict[str, Any] = OrderedDict()
        self._owner = os.getpid()

    @classmethod
    def open(cls, path: Path) -> SegmentStore:
        """Open a store and check that it is complete.

        Raises:
            OutputError: `store.json` cannot be read.
            SettingsError: no store, one of another version, one whose preparation was interrupted, or one with files
                that are missing or altered; a subject under two spellings, as versions before 0.2 prepared it.
        """
        content = read_store_file(path) if path.is_dir() else None
        if content is None:
            raise SettingsError(f"{path} is not a segment store", "make one with `avpenet prepare`")
        if not content.get("complete"):
            raise SettingsError(
                f"the store {path} is not finished",
                "run the same `avpenet prepare` again to resume; when all its shards are prepared, `avpenet merge`",
            )
        record = parse_store_record(content, path)
        index_path = path / record.index.file
        try:
            with index_path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != record.index.sha256:
                    raise SettingsError(f"{index_path} does not match {STORE_FILE}", _REPAIR)
            index = _read_index(index_path)
            _check_subjects(path, index)
            for recording in record.recordings:
                name = recording.shard
                if name and (path / SEGMENT_FILES_FOLDER / name).stat().st_size != recording.shard_bytes:
                    raise SettingsError(f"the segment file {name} of {path} is incomplete", _REPAIR)
        except OSError as error:
            raise SettingsError(f"the store {path} lacks a file: {error.filename}: {error.strerror}", _REPAIR) from None
        return cls(path, record, index, digest_of(content))

    def __len__(self) -> int:
        return len(self.index)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "record": self.record, "index": self.index, "digest": self.digest}

    def __setstate__(self, state: dict[str, Any]) -> None:
        SegmentStore.__init__(self, **state)

    def content_digest(self, modality: Modality) -> str:
        """Digest that two stores share if their segments have the same audio, or the same faces, row by row."""
        return self.digest

    @property
    def preprocessing(self) -> Preprocessing:
        """Preprocessing of the segments; part of the description of weights trained on them."""
        return self.record.preprocessing

    @property
    def frames_per_window(self) -> int:
        """Positions on the frame grid that a segment has, with and without a face."""
        return FRAMES_PER_WINDOW

    def rated(self, split: Split, left_out_site: str | None = None, unscorable: bool = False) -> np.ndarray:
        """Segments of a split that have both a payload and a reference.

        Args:
            left_out_site: use the stored leave-one-site-out splits of this site instead.
            unscorable: include segments that have a reference but no payload.

        Returns:
            (n,) int64 rows of the index, for `segment`.

        Raises:
            SettingsError: no such split or site.
        """
        if split not in SPLITS:
            raise SettingsError(f"there is no split {split}", f"use {', '.join(SPLITS)}")
        splits = self.index["split"]
        if left_out_site is not None:
            sites = self.record.splits.leave_one_site_out
            if left_out_site not in sites:
                raise SettingsError(f"the store has no splits without site {left_out_site}", f"it has {list(sites)}")
            splits = self.index["subject"].map(sites[left_out_site])
        usable = (splits == split) & self.index["reference"].notna() & ((self.index["status"] == SCORABLE) | unscorable)
        return np.flatnonzero(usable.to_numpy(dtype=bool))

    def segment(self, number: int, frame_indices: Sequence[int] | None = None) -> Segment:
        """Read one segment.

        Args:
            number: its row in `index`.
            frame_indices: decode only those of these frames that are stored; all by default.

        Raises:
            SettingsError: an unscorable segment, which has no payload; a damaged segment file.
            IndexError: no such row.
        """
        row = self._scorable_row(number)
        batch = self._batch(str(row["shard"]), int(row["segment"]))
        kept = [
            (index, jpeg)
            for index, jpeg in zip(_values(batch, "places").tolist(), batch.column("jpegs")[0].values, strict=True)
            if frame_indices is None or index in frame_indices
        ]
        side_px, mel_bands = self.preprocessing.face.crop_px, self.preprocessing.audio.mel_bands
        faces = [_decode_crop(jpeg, row, side_px) for _, jpeg in kept]
        return Segment(
            spectrogram=_values(batch, "spectrogram").astype(np.float32).reshape(mel_bands, -1),
            waveform=_values(batch, "waveform").astype(np.float32) / FULL_SCALE,
            peak=float(batch.column("peak")[0].as_py()),
            faces=np.stack(faces) if faces else np.empty((0, side_px, side_px, 3), np.uint8),
            frame_indices=np.array([index for index, _ in kept], np.int64),
            reference=float(row["reference"]),
            recording=str(row["recording"]),
            segment=int(row["segment"]),
            subject=str(row["subject"]),
            split=cast(Split, row["split"]),
        )

    def stored_frames(self, number: int) -> np.ndarray:
        """`Segment.frame_indices` without reading the rest; arguments and errors as for `segment`."""
        row = self._scorable_row(number)
        return _values(self._batch(str(row["shard"]), int(row["segment"])), "places").astype(np.int64)

    def _scorable_row(self, number: int) -> pd.Series[Any]:
        row = self.index.iloc[number]
        if row["status"] != SCORABLE:
            raise SettingsError(
                f"segment {row['segment']} of {row['recording']} is unscorable ({row['reason']}); nothing is stored",
                "choose segments by `status`, or with `rated`",
            )
        return row

    def _batch(self, name: str, number: int) -> Any:
        path = self.path / SEGMENT_FILES_FOLDER / name
        if self._owner != os.getpid():  # forked: the parent's readers share locks that are never released here
            self._readers, self._owner = OrderedDict(), os.getpid()
        try:
            reader = self._readers.pop(name, None)
            if reader is None:
                reader = open_segment_file(pa.memory_map(str(path)))
            batch = checked_batch(reader, number)
            _check_payload(batch, self.preprocessing)
        except (OSError, ValueError, LookupError, pa.ArrowException) as error:
            raise damaged_segment_file(path, error) from None
        self._readers[name] = reader
        if len(self._readers) > _OPEN_FILES:
            self._readers.popitem(last=False)
        return batch


def _read_index(path: Path) -> pd.DataFrame:
    """The index, with the columns that it was written with.

    Raises:
        SettingsError: it is damaged or has others.
        OSError: it cannot be read.
    """
    try:
        table = pq.read_table(path)
        for name, kind in INDEX_COLUMNS.items():
            if table.schema.names.count(name) != 1 or not _is_alike(table.schema.field(name).type, kind):
                raise SettingsError(f"{path} has no column {name} of type {kind}", _REPAIR)
        index: pd.DataFrame = table.to_pandas()
    except (pa.ArrowException, UnicodeError) as error:
        raise SettingsError(f"{path} cannot be read: {' '.join(str(error).split())[:200]}", _REPAIR) from None
    return index


def _is_alike(kind: Any, wanted: Any) -> bool:
    """Whether a column holds text, integers or fractions as it should, in whatever width."""
    if pa.types.is_string(wanted):
        return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
    return bool((pa.types.is_integer if pa.types.is_integer(wanted) else pa.types.is_floating)(kind))


def _check_payload(batch: Any, preprocessing: Preprocessing) -> None:
    """Check that a segment has what the index promises, in sizes that fit together.

    Raises:
        ValueError: it has not.
    """
    if any(batch.column(name).null_count for name in ("spectrogram", "waveform", "peak", "jpegs", "places")):
        raise ValueError("a segment without faces or audio")
    lengths = {name: len(batch.column(name)[0].values) for name in ("spectrogram", "waveform", "jpegs", "places")}
    if lengths["spectrogram"] % preprocessing.audio.mel_bands or lengths["jpegs"] != lengths["places"]:
        raise ValueError("a segment of another size")
    if any(batch.column(name)[0].values.null_count for name in lengths):
        raise ValueError("a segment with missing values")


def _check_subjects(path: Path, index: pd.DataFrame) -> None:
    """Two spellings of a patient could be in two splits, and count twice."""
    merged = merge_spellings(map(str, index["subject"])).merged
    for spellings in merged.values():
        listed = " and ".join(map(shown, spellings))
        raise SettingsError(
            f"the store {path} has {listed} as {len(spellings)} subjects, but they differ only in spelling",
            "prepare it again with this version, and train again what was trained on it",
        )


def _values(batch: Any, column: str) -> np.ndarray:
    values: np.ndarray = batch.column(column)[0].values.to_numpy(zero_copy_only=False)
    return values


def _decode_crop(jpeg: Any, row: pd.Series[Any], side_px: int) -> np.ndarray:
    encoded = np.frombuffer(jpeg.as_buffer(), np.uint8)
    crop = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if encoded.size else None
    if crop is None or crop.shape != (side_px, side_px, 3):
        raise SettingsError(
            f"a face of segment {row['segment']} of {row['recording']} cannot be read",
            "remove its segment file and run the same `avpenet prepare` again",
        )
    return cv2.cvtColor(crop, cv2.COLOR_BGR2RGB)
