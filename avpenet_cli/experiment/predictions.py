"""The table of predictions: what every statistic of an experiment is computed from.

A folder with one Parquet file per system, seed and site left out, so that a run that was killed resumes with the files
that are there, and the analysis reads one system at a time.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from avpenet_cli.dataset.splits import Split
from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.errors import AvpenetError, OutputError
from avpenet_cli.storage import atomic_write
from avpenet_cli.textfiles import parse_json

PREDICTIONS_VERSION = 1
"""Version of the files, stated in their metadata."""
SCORE_DECIMALS = 3
"""As in the score table."""

_SUFFIX = ".parquet"
_METADATA = b"avpenet"
_SYSTEM_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_HIGHEST = 10.0
_KEY_FIELDS = [("system", pa.string()), ("seed", pa.int64()), ("left_out_site", pa.string())]
_SCHEMA = pa.schema(
    [
        *_KEY_FIELDS,
        ("view", pa.string()),
        ("split", pa.string()),
        ("row", pa.int64()),
        ("recording", pa.string()),
        ("segment", pa.int64()),
        ("subject", pa.string()),
        ("score", pa.float64()),
        ("reference", pa.float64()),
    ]
)
COLUMNS = tuple(_SCHEMA.names)
"""system, seed, left_out_site: which network, the latter empty where no site was left out; view: content of segments,
`clean` or the name of a change; split: validation or test; row: of the store's index; recording, segment, subject: of
the segment; score: points, NaN where the system gave none; reference: points."""


@dataclass(frozen=True, order=True)
class PredictionKey:
    """A network: a system trained with one seed, on all sites or without one.

    Attributes:
        system: name, of lower-case letters, digits, dots, dashes and underscores.
        seed: of its training.
        left_out_site: site that it was not trained on; empty where it was trained on all.
    """

    system: str
    seed: int
    left_out_site: str = ""

    @property
    def file_name(self) -> str:
        """Name of its file; a site appears as digits, since it may hold any character."""
        site = hashlib.sha256(self.left_out_site.encode()).hexdigest()[:8] if self.left_out_site else ""
        return f"{self.system}-seed-{self.seed}{f'-without-{site}' if site else ''}{_SUFFIX}"


def write_predictions(folder: Path, key: PredictionKey, table: pd.DataFrame) -> Path:
    """Write the predictions of one network, atomically, readable by their owner only.

    Args:
        folder: exists.
        key: whose predictions these are.
        table: `COLUMNS` without those of the key, one row per view, split and segment, in any order; scores are rounded
            to 3 decimals.

    Returns:
        The file.

    Raises:
        AvpenetError: a score that is infinite or outside the scale, or a segment that occurs twice; names it.
        EnvironmentUnavailableError, OutputError: the file cannot be written.
    """
    if not _SYSTEM_NAME.fullmatch(key.system):
        raise AvpenetError(f"{key.system!r} is no name for a system", "use lower-case letters, digits and dashes")
    complete = table.assign(**asdict(key), score=table["score"].astype(np.float64).round(SCORE_DECIMALS) + 0.0)
    _check(key, complete)
    content = pa.Table.from_pandas(complete[list(COLUMNS)], _SCHEMA, preserve_index=False)
    metadata = json.dumps({"version": PREDICTIONS_VERSION} | asdict(key))
    path = folder / key.file_name
    with atomic_write(path) as file:
        pq.write_table(content.replace_schema_metadata({_METADATA: metadata.encode()}), file)
    return path


def _check(key: PredictionKey, table: pd.DataFrame) -> None:
    score = table["score"].to_numpy()
    wrong = np.isinf(score) | (score < 0) | (score > _HIGHEST)
    twice = table.duplicated(["view", "split", "recording", "segment"]).to_numpy()
    for bad, what in ((wrong, "has a score outside 0 to 10"), (twice, "occurs twice")):
        if bad.any():
            row = table.iloc[int(np.argmax(bad))]
            raise AvpenetError(
                f"{key.system}, seed {key.seed}, {row['view']}: segment {row['segment']} of {row['recording']} {what}",
                "report it, with the configuration of the experiment",
            )


def prediction_rows(
    store: SegmentStore, rows: Mapping[Split, np.ndarray], scores: Mapping[int, float], view: str
) -> pd.DataFrame:
    """Predictions of segments of validation and test, for `write_predictions`.

    Args:
        rows: (n,) int64 of the store's index, by split; others than these two are left out.
        scores: points, by row; a segment without one gets NaN.
        view: name.
    """
    parts = []
    for split in ("validation", "test"):
        if split not in rows:
            continue
        numbers = rows[split]
        part = store.index.iloc[numbers][["recording", "segment", "subject", "reference"]].copy()
        part["row"], part["split"], part["view"] = numbers, split, view
        part["score"] = [scores.get(row, np.nan) for row in numbers.tolist()]
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


class Predictions:
    """The predictions in a folder; files are read when they are asked for.

    Args:
        folder: where they are.
        chosen: whose predictions; others in the folder are left out. All by default.

    Attributes:
        folder: as given.
        keys: of the files, sorted.

    Raises:
        OutputError: a file that cannot be read, or of another version.
    """

    def __init__(self, folder: Path, chosen: Collection[PredictionKey] | None = None) -> None:
        self.folder = folder
        paths = sorted(folder.glob(f"*{_SUFFIX}") if chosen is None else (folder / key.file_name for key in chosen))
        self._paths = {_read_key(path): path for path in paths}
        self.keys = tuple(sorted(self._paths))

    def of_system(self, system: str) -> Iterator[tuple[PredictionKey, pd.DataFrame]]:
        """Key and predictions (`COLUMNS`) of each of a system's networks, by seed."""
        for key in self.keys:
            if key.system == system:
                yield key, self.read(key)

    def read(self, key: PredictionKey) -> pd.DataFrame:
        """The predictions of one network: `COLUMNS`."""
        path = self._paths[key]
        try:
            table: pd.DataFrame = pq.read_table(path, schema=_SCHEMA, partitioning=None).to_pandas()
        except (OSError, pa.ArrowException, UnicodeError) as error:
            raise _unreadable(path, error) from None
        return table


def _read_key(path: Path) -> PredictionKey:
    try:
        metadata = pq.read_schema(path).metadata or {}
        content = parse_json(metadata.get(_METADATA, b"{}"))
    except (OSError, pa.ArrowException, ValueError) as error:
        raise _unreadable(path, error) from None
    try:
        if content.pop("version", None) != PREDICTIONS_VERSION or set(content) != {name for name, _ in _KEY_FIELDS}:
            raise ValueError
        return TypeAdapter(PredictionKey).validate_python(content)
    except (ValueError, AttributeError, TypeError):
        raise OutputError(
            f"{path} holds no predictions of this version of avpenet", "remove it and run the experiment again"
        ) from None


def _unreadable(path: Path, error: Exception) -> OutputError:
    reason = " ".join(str(error).split())
    return OutputError(f"{path} cannot be read: {reason}", "remove it and run the experiment again with --resume")
