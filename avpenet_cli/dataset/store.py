"""The segment store: what a network is to learn from, prepared once, read at random and by many at a time.

A folder that only its owner reads:

- `store.json`: the settings it was made with, where everything in it came from, the splits.
- `index.parquet`: one row per segment.
- `shards/NAME.arrow`: one Arrow file per recording with one record batch per segment, so that any of them is read
  without the others. NAME says nothing of the recording.

Knows no torch; the processes that load data for a network may load it by itself.
"""

from __future__ import annotations

import hashlib
import json
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

from avpenet_cli.dataset.shards import FULL_SCALE, SCORABLE, STORE_VERSION
from avpenet_cli.dataset.splits import SPLITS, Split
from avpenet_cli.errors import SettingsError
from avpenet_cli.settings import Preprocessing, digest_of, from_dict

STORE_FILE, INDEX_FILE, SHARD_FOLDER, SHARD_SUFFIX = "store.json", "index.parquet", "shards", ".arrow"
_OPEN_SHARDS = 64
"""Kept open at a time by each process that reads; what is read again costs no new opening."""


@dataclass(frozen=True, eq=False)
class Segment:
    """One segment, as it was seen and heard.

    Attributes:
        spectrogram: (128, 300) float32 in [0, 1], exact to 0.0003.
        waveform: (48000,) float32 at 16 kHz, denoised, its peak at 1; all zeros for a silent segment.
        peak: of the waveform before that, full scale 1; 0 for a silent segment.
        faces: (k, 224, 224, 3) uint8 RGB, the k frames of the segment's 30 in which the patient's face was found.
        places: (k,) int64, rising: which of the 30 frames each is. Frame i is the one at start_s + (i + 0.5) * 0.1 s.
        reference: pain, 0 to 10; NaN where nobody rated.
        recording, segment, subject, split: whose it is.
    """

    spectrogram: np.ndarray
    waveform: np.ndarray
    peak: float
    faces: np.ndarray
    places: np.ndarray
    reference: float
    recording: str
    segment: int
    subject: str
    split: Split


class SegmentStore:
    """A store, opened for reading. Can be pickled and forked: each process opens the shards for itself.

    Attributes:
        path: of the folder.
        about: what `store.json` holds.
        index: one row per segment, by recording, then time: `recording`, `segment`, `start_s`, `end_s`, `subject`,
            `age_group`, `site`, the other columns of the subjects' table, `reference` (0 to 10, NaN where nobody
            rated), `n_raters`, the rest of `DESCRIPTION`, `split`, `shard`.
    """

    def __init__(self, path: Path, about: dict[str, Any], index: pd.DataFrame) -> None:
        self.path, self.about, self.index = path, about, index
        self._readers: OrderedDict[str, Any] = OrderedDict()
        self._owner = os.getpid()

    @classmethod
    def open(cls, path: Path) -> SegmentStore:
        """Open a store and see that it is whole.

        Raises:
            SettingsError: no store, one of another version, one whose preparation was broken off, or one with files
                that are missing or altered.
        """
        about = read_about(path)
        if about is None:
            raise SettingsError(f"{path} is no segment store", "make one with `avpenet prepare`")
        if not about["complete"]:
            raise SettingsError(f"the store {path} is not finished", "give the same `avpenet prepare` again to go on")
        again = "give the same `avpenet prepare` again to mend it"
        try:
            with (path / INDEX_FILE).open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                if digest != about["index"]["sha256"]:
                    raise SettingsError(f"{path / INDEX_FILE} is not the one that belongs to {STORE_FILE}", again)
            index = pq.read_table(path / INDEX_FILE).to_pandas()
            for one in about["recordings"]:
                shard = one["shard"]
                if shard and (path / SHARD_FOLDER / shard).stat().st_size != one["shard_bytes"]:
                    raise SettingsError(f"the shard {shard} of {path} is not whole", again)
        except OSError as error:
            raise SettingsError(f"the store {path} lacks a file: {error.filename}: {error.strerror}", again) from None
        return cls(path, about, index)

    def __len__(self) -> int:
        return len(self.index)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "about": self.about, "index": self.index}

    def __setstate__(self, state: dict[str, Any]) -> None:
        SegmentStore.__init__(self, **state)

    @property
    def digest(self) -> str:
        """SHA-256 over everything the store was made of: recordings, settings, ratings, splits. Hexadecimal."""
        return digest_of(self.about)

    @property
    def preprocessing(self) -> Preprocessing:
        """What the segments went through; belongs into the description of weights trained on them."""
        return from_dict(Preprocessing, self.about["preprocessing"], str(self.path / STORE_FILE))

    def rated(self, split: Split, left_out_site: str | None = None, unscorable: bool = False) -> np.ndarray:
        """Segments of a split that have both a payload and a reference.

        Args:
            left_out_site: divide by the stored leave-one-site-out splits of this site instead.
            unscorable: those that have a reference only as well.

        Returns:
            (n,) int64 numbers of segments, for `segment`.

        Raises:
            SettingsError: no such split or site.
        """
        if split not in SPLITS:
            raise SettingsError(f"there is no split {split}", f"use {', '.join(SPLITS)}")
        of = self.index["split"]
        if left_out_site is not None:
            sites = self.about["splits"]["leave_one_site_out"]
            if left_out_site not in sites:
                raise SettingsError(f"the store has no splits without site {left_out_site}", f"it has {list(sites)}")
            of = self.index["subject"].map(sites[left_out_site])
        usable = (of == split) & self.index["reference"].notna() & ((self.index["status"] == SCORABLE) | unscorable)
        return np.flatnonzero(usable.to_numpy(dtype=bool))

    def segment(self, number: int, places: Sequence[int] | None = None) -> Segment:
        """Read one segment.

        Args:
            number: its row in `index`.
            places: decode these of its frames only, as far as they are there; all by default.

        Raises:
            SettingsError: an unscorable segment, of which nothing is stored; a shard that was damaged.
            IndexError: no such row.
        """
        row = self.index.iloc[number]
        if row["status"] != SCORABLE:
            raise SettingsError(
                f"segment {row['segment']} of {row['recording']} is unscorable ({row['reason']}); nothing is stored",
                "choose segments by `status`, or with `rated`",
            )
        batch = self._batch(str(row["shard"]), int(row["segment"]))
        kept = [
            (place, jpeg)
            for place, jpeg in zip(_values(batch, "places").tolist(), batch.column("jpegs")[0].values, strict=True)
            if places is None or place in places
        ]
        audio = self.about["preprocessing"]["audio"]
        faces = [_picture(jpeg, row) for _, jpeg in kept]
        side_px = int(self.about["preprocessing"]["face"]["crop_px"])
        return Segment(
            spectrogram=_values(batch, "spectrogram").astype(np.float32).reshape(audio["mel_bands"], -1),
            waveform=_values(batch, "waveform").astype(np.float32) / FULL_SCALE,
            peak=float(batch.column("peak")[0].as_py()),
            faces=np.stack(faces) if faces else np.empty((0, side_px, side_px, 3), np.uint8),
            places=np.array([place for place, _ in kept], np.int64),
            reference=float(row["reference"]),
            recording=str(row["recording"]),
            segment=int(row["segment"]),
            subject=str(row["subject"]),
            split=cast(Split, row["split"]),
        )

    def _batch(self, shard: str, number: int) -> Any:
        path = self.path / SHARD_FOLDER / shard
        if self._owner != os.getpid():  # forked: the parent's readers share locks that nobody here will open
            self._readers, self._owner = OrderedDict(), os.getpid()
        try:
            reader = self._readers.pop(shard, None)
            if reader is None:
                options = pa.ipc.IpcReadOptions(use_threads=False)
                reader = pa.ipc.open_file(pa.memory_map(str(path)), options=options)
            batch = reader.get_batch(number)
        except (OSError, ValueError) as error:  # Arrow's own errors are among them
            raise SettingsError(
                f"the shard {path} cannot be read: {error}", "remove it and give the same `avpenet prepare` again"
            ) from None
        self._readers[shard] = reader
        if len(self._readers) > _OPEN_SHARDS:
            self._readers.popitem(last=False)
        return batch


def _values(batch: Any, column: str) -> np.ndarray:
    values: np.ndarray = batch.column(column)[0].values.to_numpy(zero_copy_only=False)
    return values


def _picture(jpeg: Any, row: pd.Series[Any]) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(jpeg.as_buffer(), np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise SettingsError(
            f"a picture of segment {row['segment']} of {row['recording']} cannot be read",
            "remove its shard and give the same `avpenet prepare` again",
        )
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def read_about(path: Path) -> dict[str, Any] | None:
    """What `store.json` in this folder holds; None where there is none.

    Raises:
        SettingsError: it cannot be read, or is of another version.
    """
    try:
        about = json.loads((path / STORE_FILE).read_text(encoding="utf-8"))
        version = about["store_version"]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise SettingsError(
            f"{path / STORE_FILE} cannot be read ({type(error).__name__})", "choose another folder, or remove it"
        ) from None
    if version != STORE_VERSION:
        raise SettingsError(
            f"the store {path} is of version {version}, this program reads {STORE_VERSION}", "prepare it again"
        )
    return cast(dict[str, Any], about)
