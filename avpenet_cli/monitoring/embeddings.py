"""Embeddings of segments, and how far a patient's are from those of the baseline."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from avpenet_cli.errors import SettingsError
from avpenet_cli.keys import normalise_key, shown
from avpenet_cli.phrasing import plural
from avpenet_cli.study.sheets import SourceFile
from avpenet_cli.tables import EMBEDDINGS_WEIGHTS_KEY

Floats = npt.NDArray[np.float64]

NEIGHBOURS = 3
"""Baseline patients to whom the distance is taken."""
_COLUMNS = ("recording", "segment", "embedding")
_REMEDY = "give what avpenet score --embeddings wrote"


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Embeddings by recording.

    Attributes:
        file: where they come from.
        of_recording: normalised name of the recording to (segments, dimensions) float32.
        segments: the same to (segments,) int64, their numbers in the score table.
        dimensions: of an embedding.
        weights: that made them, as the score table names them.
    """

    file: SourceFile
    of_recording: dict[str, npt.NDArray[np.float32]]
    segments: dict[str, npt.NDArray[np.int64]]
    dimensions: int
    weights: str

    def check_of_scores(self, segments: pd.DataFrame) -> None:
        """Check that these are embeddings of these very scored segments; those of other recordings are passed over.

        Args:
            segments: scored ones, with recording and segment.

        Raises:
            SettingsError: a recording has scores of other segments than it has embeddings of.
        """
        numbers = segments["segment"].to_numpy(dtype=np.float64)
        for name, places in segments.groupby("recording", observed=True).indices.items():
            held = self.segments.get(normalise_key(str(name)), np.empty(0, dtype=np.int64))
            if np.array_equal(np.sort(held), np.sort(numbers[places])):
                continue
            others = ", of other segments" if len(held) == len(places) else ""
            raise SettingsError(
                f"{self.file.name} is not of these scores: {shown(str(name))} has "
                f"{plural(len(places), 'scored segment')} and {plural(len(held), 'embedding')}{others}",
                "give what the same run of avpenet score --embeddings wrote",
            )


def read_embeddings(path: Path) -> Embeddings:
    """Read a Parquet file with the columns recording, segment and embedding, a list of numbers for each segment.

    Raises:
        SettingsError: it cannot be read, lacks a column, does not name its weights, or has embeddings of several
            lengths or that are no numbers.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise SettingsError(f"{path}: no such file", _REMEDY)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        schema = pq.read_schema(path)
        missing = [name for name in _COLUMNS if name not in schema.names]
        if missing:
            raise SettingsError(f"{path}: no column {missing[0]}", _REMEDY)
        weights = (schema.metadata or {}).get(EMBEDDINGS_WEIGHTS_KEY, b"").decode("utf-8", "replace")
        if not weights:
            raise SettingsError(f"{path} does not say which weights made it", _REMEDY)
        table = pq.read_table(path, columns=list(_COLUMNS)).combine_chunks()
        column = table["embedding"].combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = column.chunk(0) if column.num_chunks else pa.array([], column.type)
        if pa.types.is_fixed_size_list(column.type):
            column = column.cast(pa.list_(column.type.value_type))
        lengths = np.diff(column.offsets.to_numpy())
        values = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
        recordings = [str(name) for name in table["recording"].to_pylist()]
        numbers = table["segment"].to_numpy().astype(np.int64)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror or error}", "check the file") from None
    except (pa.ArrowException, AttributeError, ValueError, TypeError):
        raise SettingsError(f"{path} holds no embeddings", _REMEDY) from None
    if not lengths.size or column.null_count or (lengths != lengths[0]).any() or not lengths[0]:
        raise SettingsError(f"{path}: embeddings are missing or of several lengths", _REMEDY)
    if not np.isfinite(values).all():
        raise SettingsError(
            f"{path}: embeddings with missing values, as cry-analyzer and deepfacelift have, have no distances",
            "monitor without --embeddings",
        )
    matrix = values.reshape(-1, int(lengths[0]))
    rows: dict[str, list[int]] = {}
    for place, name in enumerate(recordings):
        rows.setdefault(normalise_key(name), []).append(place)
    file_facts = SourceFile(path.name, digest, len(recordings))
    return Embeddings(
        file_facts,
        {name: matrix[places] for name, places in rows.items()},
        {name: numbers[places] for name, places in rows.items()},
        matrix.shape[1],
        weights,
    )


def distances(of: Floats, patient: npt.NDArray[np.int64], baseline: Floats, owner: npt.NDArray[np.int64]) -> Floats:
    """Mean distance of each row to the nearest baseline rows of other patients.

    A baseline patient is compared with the others, so that new patients and baseline patients are alike if nothing has
    changed.

    Args:
        of: (n, dimensions), NaN rows where there is no embedding.
        patient: (n,) codes, shared with `owner`; -1 for those who are not in the baseline.
        baseline: (m, dimensions).
        owner: (m,) codes.

    Returns:
        (n,) NaN without an embedding, or with fewer than `NEIGHBOURS` others.
    """
    known = np.isfinite(baseline).all(axis=1)
    baseline, owner = baseline[known], owner[known]
    squares = (baseline**2).sum(axis=1)
    result = np.full(len(of), np.nan)
    for place in np.flatnonzero(np.isfinite(of).all(axis=1)):
        squared = squares - 2.0 * (baseline @ of[place]) + of[place] @ of[place]
        others = np.sqrt(np.maximum(squared[owner != patient[place]], 0.0))
        if others.size >= NEIGHBOURS:
            result[place] = np.partition(others, NEIGHBOURS - 1)[:NEIGHBOURS].mean()
    return result
