"""Score tables, one or several, checked before any number is made of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from avpenet_cli.errors import SettingsError
from avpenet_cli.records import Status
from avpenet_cli.study.sheets import Sheet, SourceFile, read_sheet, shown
from avpenet_cli.tables import COLUMNS

REQUIRED = ("recording", "start_s", "end_s", "score", "status")
DEFAULT_CUT_POINTS = (3.0, 6.0)
HIGHEST = 10.0
"""End of the scale; it starts at 0."""

ManifestState = Literal["verified", "absent", "altered", "unreadable"]
Mask = npt.NDArray[np.bool_]

_WHAT = "score table"
_DIGEST_SHOWN = 12


@dataclass(frozen=True)
class ScoreSource(SourceFile):
    """A score table's file and the run manifest beside it.

    Attributes:
        manifest: the manifest, also one whose table has since been altered; None where absent or unreadable.
        manifest_state: `verified` when the manifest holds the file's digest, `altered` when it holds another.
    """

    manifest: dict[str, Any] | None
    manifest_state: ManifestState
    manifest_sha256: str = ""


@dataclass(frozen=True)
class Scores:
    """All segments of all tables.

    Attributes:
        segments: one row per segment, by order of the recordings' first appearance, then by start. `recording` and
            `weights` are categories, other text is `str`, where an empty cell is an empty string; numbers are float64,
            where an empty cell is NaN. A column of `tables.COLUMNS` that a table does not have is missing for its
            rows. `source` is the place of the row's table in `sources`.
        weights: what the tables say they were scored with; empty where they do not.
        cut_points: upper ends of the classes low and moderate, points; from the manifest when it tells of these
            weights, else 3 and 6.
    """

    segments: pd.DataFrame
    sources: tuple[ScoreSource, ...]
    weights: str
    cut_points: tuple[float, float]


def read_scores(paths: Sequence[Path]) -> Scores:
    """Read and join score tables.

    Args:
        paths: .csv, .parquet or .jsonl, at least one.

    Raises:
        SettingsError: a file that is absent, of another format, no score table or empty; a row whose numbers are no
            numbers, whose score is outside 0 to 10 or does not go with its status, or that ends before it starts;
            the same segment twice; tables of different weights or with different cut points.
    """
    if not paths:
        raise SettingsError("no score table is given", "name at least one")
    sheets = [_checked(path) for path in paths]
    sources = tuple(_source(sheet) for sheet in sheets)
    weights = _one_weights(sheets)
    cut_points = _one_cut_points(sources, weights)
    return Scores(_joined(sheets), sources, weights, cut_points)


def _checked(path: Path) -> Sheet:
    sheet = read_sheet(path, [column.name for column in COLUMNS], _WHAT)
    sheet.require(REQUIRED, _WHAT, "give a table that `avpenet score` wrote")
    sheet.filled("recording")
    start_s, end_s, score = (sheet.numbers(name) for name in ("start_s", "end_s", "score"))
    status = sheet.strings("status")
    scored = (status == Status.SCORED.value).to_numpy(dtype=bool)
    unscorable = (status == Status.UNSCORABLE.value).to_numpy(dtype=bool)
    missing = np.isnan(score)
    again = "take the table as `avpenet score` wrote it"
    checks: tuple[tuple[Mask, str], ...] = (
        (~(scored | unscorable), f"status is neither `{Status.SCORED}` nor `{Status.UNSCORABLE}`"),
        (~(start_s >= 0.0), "start_s is missing or negative"),
        (~(end_s > start_s), "end_s is missing or not after start_s"),
        (~missing & ~((score >= 0.0) & (score <= HIGHEST)), f"score is outside 0 to {HIGHEST:g}"),
        (scored & missing, "the segment is scored, but has no score"),
        (unscorable & ~missing, "the segment is unscorable, but has a score"),
    )
    for wrong, what in checks:
        if wrong.any():
            raise sheet.fault(wrong, what, again)
    return sheet


def _source(sheet: Sheet) -> ScoreSource:
    path = sheet.path.with_suffix(".run.json")
    file = sheet.file
    manifest: dict[str, Any] | None = None
    state: ManifestState = "unreadable"
    digest_of_manifest = ""
    try:
        content = path.read_bytes()
        digest_of_manifest = hashlib.sha256(content).hexdigest()
        plain = json.loads(content.decode("utf-8"))
        table = plain["table"]
        digest, name = table["sha256"], table["file"]
    except FileNotFoundError:
        state = "absent"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    else:
        if digest == file.sha256:
            manifest, state = plain, "verified"
        elif name == sheet.path.name:
            manifest, state = plain, "altered"
        else:
            # The manifest of `scores.csv` lies beside a `scores.parquet` too, and says nothing of it.
            state = "absent"
    if manifest is not None and not _well_formed(manifest):
        manifest, state = None, "unreadable"
    return ScoreSource(file.name, file.sha256, file.rows, manifest, state, manifest_sha256=digest_of_manifest)


def _well_formed(manifest: dict[str, Any]) -> bool:
    """Does it hold what the report reads in it, in the forms that `avpenet score` writes?"""
    try:
        for entry in manifest["recordings"]:
            balance = entry["balance_s"]
            known = isinstance(entry["recording"], str) and isinstance(entry["status"], str)
            if balance is not None:
                seconds = [balance["nominal_s"], balance["scored_s"], balance["undecodable_s"]]
                known &= all(isinstance(one, int | float) for one in [*seconds, *balance["unscorable_s"].values()])
            if not known:
                return False
        weights, timing = manifest["weights"], manifest["timing"]
        texts = [weights["name"], weights["digest"], timing["finished"]]
        return isinstance(manifest["software"], dict) and all(isinstance(one, str) for one in texts)
    except (KeyError, TypeError, AttributeError):
        return False


def _one_weights(sheets: Sequence[Sheet]) -> str:
    found: dict[str, Path] = {}
    for sheet in sheets:
        values = sheet.text("weights").unique().to_pylist() if "weights" in sheet.columns else [None]
        for value in values:
            found.setdefault(value or "", sheet.path)
    if len(found) > 1:
        (one, its), (other, where) = list(found.items())[:2]
        raise SettingsError(
            f"{its} was scored with {_named(one)}, {where} with {_named(other)}"
            if its != where
            else f"{its} mixes scores of {_named(one)} and {_named(other)}",
            "report them apart, or give one with --compare",
        )
    return next(iter(found))


def _named(weights: str) -> str:
    # Two of them may differ in their digests only, so that nothing may be left out.
    return repr(weights) if weights else "weights it does not name"


def _one_cut_points(sources: Sequence[ScoreSource], weights: str) -> tuple[float, float]:
    found: dict[tuple[float, float], str] = {}
    for source in sources:
        described = (source.manifest or {}).get("weights")
        if not isinstance(described, dict):
            continue
        mark = f"{described.get('name')}@{str(described.get('digest'))[:_DIGEST_SHOWN]}"
        # Who edits a table in a spreadsheet alters it, and its weights remain the same.
        if source.manifest_state != "verified" and weights.split(" ", maxsplit=1)[0] != mark:
            continue
        match described.get("cut_points"):
            case [int() | float() as low, int() | float() as high] if 0.0 < low < high < HIGHEST:
                found.setdefault((float(low), float(high)), source.name)
            case other:
                raise SettingsError(
                    f"the manifest of {source.name} has cut points {shown(other)}",
                    "they are two numbers that rise within 0 to 10",
                )
    if len(found) > 1:
        (one, its), (other_points, where) = list(found.items())[:2]
        raise SettingsError(
            f"the cut points of {its} are {one}, those of {where} {other_points}", "report the tables apart"
        )
    return next(iter(found), DEFAULT_CUT_POINTS)


def _joined(sheets: Sequence[Sheet]) -> pd.DataFrame:
    rows = [sheet.rows for sheet in sheets]
    columns: dict[str, Any] = {}
    for column in COLUMNS:
        name = column.name
        if name in ("recording", "weights"):
            columns[name] = _category([_text(sheet, name) for sheet in sheets])
        elif column.kind == "text":
            columns[name] = pa.chunked_array([_text(sheet, name) for sheet in sheets]).to_pandas()
        else:
            parts = [sheet.numbers(name) if name in sheet.columns else np.full(sheet.rows, np.nan) for sheet in sheets]
            columns[name] = np.concatenate(parts)
    columns["source"] = np.repeat(np.arange(len(sheets)), rows)
    segments = pd.DataFrame(columns, copy=False)
    codes = segments["recording"].cat.codes.to_numpy()
    start_s, end_s = segments["start_s"].to_numpy(), segments["end_s"].to_numpy()
    order = np.lexsort((end_s, start_s, codes))
    ordered = [array[order] for array in (codes, start_s, end_s)]
    same = np.logical_and.reduce([array[1:] == array[:-1] for array in ordered])
    if same.any():
        raise _twice(sheets, np.repeat(np.arange(len(sheets)), rows), order, np.flatnonzero(same))
    _one_table_each(sheets, segments)
    if (np.diff(order) != 1).any():
        segments = segments.take(order)
    return segments.reset_index(drop=True)


def _one_table_each(sheets: Sequence[Sheet], segments: pd.DataFrame) -> None:
    """Windows of two runs over one recording need not begin at the same hundredths, and would count twice."""
    if len(sheets) < 2:
        return
    where = segments[["recording", "source"]].drop_duplicates()
    twice = where["recording"].duplicated()
    if twice.any():
        name = where["recording"][twice].iloc[0]
        first, second = where.loc[where["recording"] == name, "source"].iloc[:2]
        raise SettingsError(
            f"{sheets[first].path} and {sheets[second].path}: both hold {shown(str(name))} ({int(twice.sum())} such "
            "recordings)",
            "give each recording in one table",
        )


def _text(sheet: Sheet, name: str) -> Any:
    """A text column as one pyarrow array; empty cells are empty strings, a column that is not there is null."""
    if name not in sheet.columns:
        return pa.nulls(sheet.rows, pa.string())
    column = sheet.text(name)
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return array.fill_null("")


def _category(parts: Sequence[Any]) -> pd.Categorical:
    encoded = pa.concat_arrays(parts).dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return pd.Categorical.from_codes(codes, encoded.dictionary.to_pandas())


def _twice(
    sheets: Sequence[Sheet], source: npt.NDArray[np.int64], order: npt.NDArray[np.int64], same: npt.NDArray[np.int64]
) -> SettingsError:
    offsets = np.cumsum([0, *(sheet.rows for sheet in sheets)])
    places = []
    for row in order[same[0]], order[same[0] + 1]:
        sheet = sheets[source[row]]
        places.append(f"{sheet.path} line {sheet.lines[row - offsets[source[row]]]}")
    first = sheets[source[order[same[0]]]]
    row = order[same[0]] - offsets[source[order[same[0]]]]
    recording = shown(first.text("recording")[int(row)].as_py())
    return SettingsError(
        f"{places[0]} and {places[1]}: the same segment of {recording} twice ({same.size} segments in all)",
        "give each table once, and each recording in one table",
    )
