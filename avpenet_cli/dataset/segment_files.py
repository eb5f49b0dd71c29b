"""Segment files: the segments of one recording as an Arrow file, one record batch each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pydantic import TypeAdapter

from avpenet_cli.audio.mel import NO_SIGNAL_PEAK
from avpenet_cli.errors import SettingsError, reason
from avpenet_cli.textfiles import parse_json

SEGMENT_FILES_FOLDER, SEGMENT_FILE_SUFFIX = "shards", ".arrow"
"""The format has `shards` for the folder and `shard` for a file; shards of a run (`--shard`) are something else."""

STORE_VERSION = 1
"""Version of the store's format; raised when a field of segment files, index or `store.json` changes its meaning."""

SCORABLE = "scorable"
"""`status` of a segment with a payload; others have a `reason`."""

FULL_SCALE = 32767
"""Peak of every stored waveform."""

_HEADER = b"avpenet"

DESCRIPTION = pa.schema(
    [
        ("segment", pa.int32()),
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("flags", pa.string()),
        ("face_rate", pa.float64()),
        ("face_confidence", pa.float64()),
        ("face_px", pa.float64()),
        ("faces", pa.int32()),
        ("voiced", pa.float64()),
        ("snr_db", pa.float64()),
        ("level_dbfs", pa.float64()),
        ("crops", pa.int32()),
    ]
)
"""Columns of every segment, named as in the score table. `crops`: number of stored face crops."""

INDEX_COLUMNS = {
    **{name: pa.string() for name in ("recording", "subject", "split", "shard")},
    **{field.name: field.type for field in DESCRIPTION},
    "reference": pa.float64(),
    "n_raters": pa.int64(),
}
"""Types of the columns of a store's index by their names; its others are text."""

_PAYLOAD = pa.schema(
    [
        # (128 * 300,) row by row, in [0, 1].
        ("spectrogram", pa.list_(pa.float16())),
        # (48000,) denoised audio at 16 kHz, its peak at full scale: input of the augmentations.
        ("waveform", pa.list_(pa.int16())),
        # Peak of the denoised audio before that, full scale 1; 0 for a silent segment.
        ("peak", pa.float32()),
        ("jpegs", pa.list_(pa.binary())),
        # (crops,) indices of the crops among the segment's 30 frames.
        ("places", pa.list_(pa.uint8())),
    ]
)
_SEGMENT = pa.schema([*DESCRIPTION, *_PAYLOAD])


@dataclass(frozen=True)
class SegmentFileHeader:
    """Metadata of a segment file.

    Attributes:
        version: of the store's format.
        fingerprint: digest of the settings that change the content.
        size_bytes, mtime_ns: size and time of the recording's file when it was decoded.
        sha256: digest of the recording's bytes, hexadecimal.
        nominal_s, length_s: length that its header states, and length that decodes, s.
        orientation_deg: clockwise rotation under which the patient's face was found; None without a face.
        message: decoder errors, and what was corrected in the audio; mostly empty.
    """

    version: int
    fingerprint: str
    size_bytes: int
    mtime_ns: int
    sha256: str
    nominal_s: float
    length_s: float
    orientation_deg: int | None
    message: str


_HEADERS = TypeAdapter(SegmentFileHeader)


@dataclass(frozen=True, eq=False)
class Payload:
    """What a segment file stores for one scorable segment.

    Attributes:
        spectrogram: (128, 300) float32 in [0, 1].
        cleaned: (48000,) float32 at 16 kHz, full scale 1.
        jpegs: crops of the patient's face, in time order.
        frame_indices: index of each crop among the segment's 30 frames, 0 to 29.
    """

    spectrogram: np.ndarray
    cleaned: np.ndarray
    jpegs: tuple[bytes, ...]
    frame_indices: tuple[int, ...]


class SegmentFileWriter:
    """Writes the segments of one recording, in order.

    Args:
        file: to write to, from `storage.atomic_write`; stays open.
        header: written before the first segment.
    """

    def __init__(self, file: IO[bytes], header: SegmentFileHeader) -> None:
        written = json.dumps(asdict(header), sort_keys=True).encode()
        self._schema = _SEGMENT.with_metadata({_HEADER: written})
        self._writer = pa.ipc.new_file(file, self._schema)

    def write(self, description: dict[str, Any], payload: Payload | None) -> None:
        """Add one segment.

        Args:
            description: a value for each column of `DESCRIPTION`; `crops` is filled in here.
            payload: None for a segment that is unscorable.
        """
        row = description | {"crops": len(payload.jpegs) if payload else 0}
        arrays = [pa.array([row[field.name]], field.type) for field in DESCRIPTION]
        if payload is None:
            arrays += [pa.nulls(1, field.type) for field in _PAYLOAD]
        else:
            peak, samples = quantise_waveform(payload.cleaned)
            arrays += [
                _single_list(pa.array(payload.spectrogram.ravel().astype(np.float16))),
                _single_list(pa.array(samples)),
                pa.array([peak], pa.float32()),
                pa.array([list(payload.jpegs)], pa.list_(pa.binary())),
                pa.array([list(payload.frame_indices)], pa.list_(pa.uint8())),
            ]
        self._writer.write_batch(pa.record_batch(arrays, schema=self._schema))

    def close(self) -> None:
        """Write the footer, without which the file cannot be read."""
        self._writer.close()


def quantise_waveform(cleaned: np.ndarray) -> tuple[float, np.ndarray]:
    """Split a waveform into its peak and 16-bit samples that use their whole range.

    Args:
        cleaned: (samples,) float32.

    Returns:
        The peak, 0 where there is no signal; (samples,) int16 with peak `FULL_SCALE`, or zeros.
    """
    peak = float(np.max(np.abs(cleaned), initial=0.0))
    if peak < NO_SIGNAL_PEAK:
        return 0.0, np.zeros(cleaned.shape, np.int16)
    return peak, np.rint(cleaned.astype(np.float64) / peak * FULL_SCALE).astype(np.int16)


def _single_list(values: Any) -> Any:
    return pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values)


def segment_file_header(path: Path) -> SegmentFileHeader | None:
    """Metadata of a segment file; None where there is no complete one of this version."""
    try:
        with pa.memory_map(str(path)) as file:
            plain = parse_json(open_segment_file(file).schema.metadata[_HEADER])
        header = _HEADERS.validate_python(plain)
    except (OSError, ValueError, LookupError, TypeError, pa.ArrowException):
        return None
    return header if header.version == STORE_VERSION else None


def segment_descriptions(path: Path) -> pd.DataFrame:
    """The columns of `DESCRIPTION`, one row per segment; their payload is not read.

    Raises:
        SettingsError: a damaged file.
    """
    try:
        with pa.memory_map(str(path)) as file:
            # Columns of a memory-mapped file cost nothing until they are read; `included_fields` would copy what it
            # skips.
            reader = open_segment_file(file)
            numbers = range(reader.num_record_batches)
            batches = [checked_batch(reader, number, DESCRIPTION.names) for number in numbers]
            frame: pd.DataFrame = pa.Table.from_batches(batches, DESCRIPTION).to_pandas()
    except (OSError, ValueError, LookupError, pa.ArrowException) as error:
        raise damaged_segment_file(path, error) from None
    return frame


def open_segment_file(file: Any) -> Any:
    """Arrow's reader of a segment file, from its memory map.

    Raises:
        OSError, ValueError: a damaged file, or one with other columns.
    """
    reader = pa.ipc.open_file(file, options=pa.ipc.IpcReadOptions(use_threads=False))
    if not reader.schema.equals(_SEGMENT):
        raise ValueError("other columns")
    return reader


def checked_batch(reader: Any, number: int, columns: Sequence[str] = tuple(_SEGMENT.names)) -> Any:
    """Columns of one segment, whose offsets lie within their buffers: Arrow ends the process at others.

    Raises:
        OSError, ValueError, LookupError, pyarrow.ArrowException: a damaged file, or no such segment.
    """
    batch = reader.get_batch(number).select(list(columns))
    batch.validate(full=True)
    if batch.num_rows != 1:
        raise ValueError("not one segment in a batch")
    return batch


def damaged_segment_file(path: Path, error: Exception) -> SettingsError:
    """The error of a segment file that cannot be read."""
    return SettingsError(
        f"the segment file {path} cannot be read: {reason(error)}", "remove it and run the same `avpenet prepare` again"
    )
