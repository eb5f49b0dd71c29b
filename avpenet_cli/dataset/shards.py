"""One recording's segments as an Arrow file: one record batch each, whatever the segment holds."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from avpenet_cli.audio.mel import NO_SIGNAL_PEAK

STORE_VERSION = 1
"""Of the whole store's format. Raised whenever what is in a shard, the index or `store.json` changes its meaning."""

SCORABLE = "scorable"
"""`status` of a segment that has its payload; others have a `reason`."""

FULL_SCALE = 32767
"""Of the stored waveform, whose peak this is."""

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
"""What is known of every segment, under the score table's names. `crops`: how many pictures are stored."""

_PAYLOAD = pa.schema(
    [
        # (128 * 300,) row by row, in [0, 1].
        ("spectrogram", pa.list_(pa.float16())),
        # (48000,) cleaned audio at 16 kHz, its peak at full scale: what the augmentations work on.
        ("waveform", pa.list_(pa.int16())),
        # Of the cleaned audio before that, full scale 1; 0 for a silent segment.
        ("peak", pa.float32()),
        ("jpegs", pa.list_(pa.binary())),
        # (crops,) which of the segment's 30 frames each is.
        ("places", pa.list_(pa.uint8())),
    ]
)
_SHARD = pa.schema([*DESCRIPTION, *_PAYLOAD])


@dataclass(frozen=True)
class ShardHeader:
    """What a shard says of its recording.

    Attributes:
        version: of the store's format.
        fingerprint: digest of the settings that change what is in it.
        size_bytes, mtime_ns: of the recording's file when it was read.
        sha256: of the recording's bytes, hexadecimal.
        nominal_s, length_s: promised by its header, and decoded.
        orientation_deg: clockwise turn under which the patient's face was found; None without one.
        message: what the decoders broke off with; mostly empty.
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


@dataclass(frozen=True, eq=False)
class Payload:
    """What of one segment goes into its shard.

    Attributes:
        spectrogram: (128, 300) float32 in [0, 1].
        cleaned: (48000,) float32 at 16 kHz, full scale 1.
        jpegs: of the patient's face, in time order.
        places: which of the 30 frames each is, 0 to 29.
    """

    spectrogram: np.ndarray
    cleaned: np.ndarray
    jpegs: tuple[bytes, ...]
    places: tuple[int, ...]


class ShardWriter:
    """Writes the segments of one recording, in order.

    Args:
        file: to write to, from `storage.atomic_write`; stays open.
        header: put before the first segment.
    """

    def __init__(self, file: IO[bytes], header: ShardHeader) -> None:
        written = json.dumps(asdict(header), sort_keys=True).encode()
        self._schema = _SHARD.with_metadata({_HEADER: written})
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
            peak, samples = quantised(payload.cleaned)
            arrays += [
                _one_list(pa.array(payload.spectrogram.ravel().astype(np.float16))),
                _one_list(pa.array(samples)),
                pa.array([peak], pa.float32()),
                pa.array([list(payload.jpegs)], pa.list_(pa.binary())),
                pa.array([list(payload.places)], pa.list_(pa.uint8())),
            ]
        self._writer.write_batch(pa.record_batch(arrays, schema=self._schema))

    def close(self) -> None:
        """Write the directory of the segments; without it the file is no shard."""
        self._writer.close()


def quantised(cleaned: np.ndarray) -> tuple[float, np.ndarray]:
    """A waveform by its peak and 16-bit samples that use all of their range, however quiet it was.

    Args:
        cleaned: (samples,) float32.

    Returns:
        The peak, 0 where there is no signal to keep; (samples,) int16, whose own peak is `FULL_SCALE` or which are 0.
    """
    peak = float(np.max(np.abs(cleaned), initial=0.0))
    if peak < NO_SIGNAL_PEAK:
        return 0.0, np.zeros(cleaned.shape, np.int16)
    return peak, np.rint(cleaned.astype(np.float64) / peak * FULL_SCALE).astype(np.int16)


def _one_list(values: Any) -> Any:
    return pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values)


def shard_header(path: Path) -> ShardHeader | None:
    """What a shard says of its recording; None where there is no whole shard of this version."""
    try:
        with pa.memory_map(str(path)) as file:
            plain = json.loads(pa.ipc.open_file(file).schema.metadata[_HEADER])
        header = ShardHeader(**plain)
    except (OSError, pa.ArrowInvalid, ValueError, LookupError, TypeError):
        return None
    return header if header.version == STORE_VERSION else None


def shard_descriptions(path: Path) -> pd.DataFrame:
    """The columns of `DESCRIPTION`, one row per segment; their payload is not read."""
    with pa.memory_map(str(path)) as file:
        # All columns of a mapped file cost nothing until they are looked at; `included_fields` copies what it skips.
        reader = pa.ipc.open_file(file, options=pa.ipc.IpcReadOptions(use_threads=False))
        batches = [reader.get_batch(number).select(DESCRIPTION.names) for number in range(reader.num_record_batches)]
        frame: pd.DataFrame = pa.Table.from_batches(batches, DESCRIPTION).to_pandas()
    return frame
