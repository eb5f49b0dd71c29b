"""Score tables, checked before any statistic is computed from them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from avpenet_cli.errors import SettingsError
from avpenet_cli.keys import describe_difference, match_names, normalise_key, shown
from avpenet_cli.phrasing import plural
from avpenet_cli.records import Status
from avpenet_cli.settings import scoring_settings
from avpenet_cli.study.readers import read_sheet
from avpenet_cli.study.sheets import Sheet, SourceFile, Table, quoted
from avpenet_cli.tables import CALIBRATED_COLUMNS, COLUMNS
from avpenet_cli.textfiles import parse_json
from avpenet_cli.version import MANIFEST_VERSION, refuse_later

REQUIRED = ("recording", "start_s", "end_s", "score", "status")
DEFAULT_CUT_POINTS = (3.0, 6.0)
HIGHEST = 10.0
"""Highest score, points; the lowest is 0."""

ManifestState = Literal["verified", "absent", "altered", "unreadable"]
Mask = npt.NDArray[np.bool_]

_DESCRIPTION = "score table"
_ONE_SPELLING = "keep one of them if they are one recording; if they are two, give one another name"
DIGEST_CHARACTERS = 12
"""Of the weights' digest, in a table's column `weights`."""


@dataclass(frozen=True)
class ScoreSource(SourceFile):
    """A score table's file and the run manifest beside it.

    Attributes:
        manifest: also where the table was altered after the run; None where absent or unreadable.
        manifest_state: `verified` when the manifest holds the file's digest, `altered` when it holds another one.
        manifest_sha256: digest of the manifest, hexadecimal; empty where there is none.
    """

    manifest: dict[str, Any] | None
    manifest_state: ManifestState
    manifest_sha256: str = ""


@dataclass(frozen=True)
class Scores:
    """The segments of all tables.

    Attributes:
        segments: one row per segment, ordered by the recordings' first appearance, then by start. `recording` and
            `weights` are categories; other text is `str`, empty cells being empty strings; numbers are float64, empty
            cells being NaN. Columns of `tables.COLUMNS` that a table lacks are missing in its rows; those of
            `CALIBRATED_COLUMNS` are there if a table has them. `source` is the
            index of the row's table in `sources`.
        sources: the files.
        weights: with which the tables were scored, as they state it, in full where one says more than another; empty
            where they do not.
        cut_points: upper ends of the classes low and moderate, points; from a manifest of these weights, otherwise 3
            and 6.
        notices: what was matched in spite of its spelling.
        own_names: the tables' spelling of each recording that `matched_to` has given another one.
    """

    segments: pd.DataFrame
    sources: tuple[ScoreSource, ...]
    weights: str
    cut_points: tuple[float, float]
    notices: tuple[str, ...] = ()
    own_names: Mapping[str, str] = field(default_factory=dict)

    def matched_to(self, recordings: Sequence[str]) -> Scores:
        """These scores with another table's spelling of the recordings' names.

        Raises:
            SettingsError: several recordings could be meant, or one by two names.
        """
        where = ", ".join(source.name for source in self.sources)
        names = self.segments["recording"].cat.categories
        matches = match_names(map(str, names), recordings, where)
        if not matches.respelt:
            return self
        renamed = [matches.names[str(name)] for name in names]
        twice = next((name for place, name in enumerate(renamed) if name in renamed[:place]), None)
        if twice is not None:
            raise SettingsError(f"{where}: {shown(twice)} is there in two spellings", _ONE_SPELLING)
        segments = self.segments.assign(recording=self.segments["recording"].cat.rename_categories(renamed))
        own_names = {new: self.own_names.get(str(name), str(name)) for name, new in zip(names, renamed, strict=True)}
        notices = self.notices + matches.notice(where, "the score tables")
        return replace(self, segments=segments, notices=notices, own_names=own_names)


def read_scores(tables: Sequence[Table]) -> Scores:
    """Read and join score tables.

    Args:
        tables: .csv, .parquet or .jsonl files, or DataFrames, at least one.

    Raises:
        SettingsError: a table that is absent, empty, of another format or not a score table; a row with text for a
            number, a score outside 0 to 10 or inconsistent with its status, or an end before its start; the same
            segment or recording twice, also under two spellings; tables of different weights or cut points.
    """
    if not tables:
        raise SettingsError("no score table was given", "name at least one")
    sheets = [_checked(table) for table in tables]
    sources = tuple(_source(sheet) for sheet in sheets)
    weights = _common_weights(sheets)
    cut_points = _common_cut_points(sources, weights)
    segments = _joined(sheets)
    _check_names([sheet.path for sheet in sheets], sources, segments)
    return Scores(segments, sources, weights, cut_points)


def scores_digest(scores: Scores, source: int | None = None) -> str:
    """SHA-256, hexadecimal, over recording, times and score of every segment, whatever else the files hold.

    It stays the same when a table gets further columns, another format or another order of rows, and when its
    recordings' names are matched to another table's.

    Args:
        source: the index in `sources` of the table whose segments count; None: all.
    """
    segments = scores.segments if source is None else scores.segments[scores.segments["source"] == source]
    columns = (segments[name] for name in ("recording", "start_s", "end_s", "score"))
    own = scores.own_names
    lines = [
        f"{own.get(name, name)}\t{start:.3f}\t{end:.3f}\t{score:.3f}"
        for name, start, end, score in zip(*columns, strict=True)
    ]
    return hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "surrogatepass")).hexdigest()


def digest_of_table(path: Path) -> str:
    """`scores_digest` of the score table in a file; empty where it cannot be read as one."""
    try:
        return scores_digest(read_scores([path]))
    except SettingsError:
        return ""


def _checked(table: Table) -> Sheet:
    sheet = read_sheet(table, [column.name for column in COLUMNS], _DESCRIPTION)
    sheet.require(REQUIRED, _DESCRIPTION, "give a table that `avpenet score` wrote")
    sheet.filled("recording")
    start_s, end_s, score = (sheet.numbers(name) for name in ("start_s", "end_s", "score"))
    status = sheet.strings("status")
    scored = (status == Status.SCORED.value).to_numpy(dtype=bool)
    unscorable = (status == Status.UNSCORABLE.value).to_numpy(dtype=bool)
    missing = np.isnan(score)
    remedy = "use the table as `avpenet score` wrote it"
    checks: tuple[tuple[Mask, str], ...] = (
        (~(scored | unscorable), f"status is neither `{Status.SCORED}` nor `{Status.UNSCORABLE}`"),
        (~(start_s >= 0.0), "start_s is missing or negative"),
        (~(end_s > start_s), "end_s is missing or not after start_s"),
        (~missing & ~((score >= 0.0) & (score <= HIGHEST)), f"score is outside 0 to {HIGHEST:g}"),
        (scored & missing, "the segment is scored, but has no score"),
        (unscorable & ~missing, "the segment is unscorable, but has a score"),
    )
    for wrong, problem in checks:
        if wrong.any():
            raise sheet.fault(wrong, problem, remedy)
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
        parsed = parse_json(content.decode("utf-8"))
        table = parsed["table"]
        digest, name = table["sha256"], table["file"]
    except FileNotFoundError:
        state = "absent"
    except (OSError, ValueError, KeyError, TypeError):
        pass
    else:
        refuse_later(str(path), parsed.get("manifest_version"), MANIFEST_VERSION)
        if digest == file.sha256:
            manifest, state = parsed, "verified"
        elif name == sheet.path.name:
            manifest, state = parsed, "altered"
        else:
            # `scores.run.json` belongs to `scores.csv` and not to a `scores.parquet` in the same folder.
            state = "absent"
    if manifest is not None and not _well_formed(manifest):
        manifest, state = None, "unreadable"
    return ScoreSource(file.name, file.sha256, file.rows, manifest, state, manifest_sha256=digest_of_manifest)


def _well_formed(manifest: dict[str, Any]) -> bool:
    """Whether it has everything the report reads from it, in the form `avpenet score` writes."""
    try:
        for entry in manifest["recordings"]:
            balance = entry["balance_s"]
            known = isinstance(entry["recording"], str) and isinstance(entry["status"], str)
            if balance is not None:
                seconds = [balance["nominal_s"], balance["scored_s"], balance["undecodable_s"]]
                known &= all(isinstance(item, int | float) for item in [*seconds, *balance["unscorable_s"].values()])
            if not known:
                return False
        weights, timing = manifest["weights"], manifest["timing"]
        texts = [weights["name"], weights["digest"], timing["finished"]]
        return isinstance(manifest["software"], dict) and all(isinstance(text, str) for text in texts)
    except (KeyError, TypeError, AttributeError):
        return False


def weights_identity(mark: str) -> str:
    """Name and start of the digest, `name@digest12`, of what a column `weights` states; its remarks differ between
    versions of the program."""
    return mark.split(" ", maxsplit=1)[0]


def described_identity(weights: Mapping[str, Any]) -> str:
    """The same of the weights that a manifest describes."""
    return f"{weights.get('name')}@{str(weights.get('digest'))[:DIGEST_CHARACTERS]}"


def _common_weights(sheets: Sequence[Sheet]) -> str:
    marks: dict[str, tuple[str, Path]] = {}
    for sheet in sheets:
        values = sheet.text("weights").unique().to_pylist() if "weights" in sheet.columns else [None]
        for value in values:
            mark = value or ""
            other, path = marks.get(weights_identity(mark), ("", sheet.path))
            marks[weights_identity(mark)] = (max(mark, other, key=len), path)
    if len(marks) > 1:
        (weights, path), (other_weights, other_path) = list(marks.values())[:2]
        raise SettingsError(
            f"{path} was scored with {_quoted_weights(weights)}, {other_path} with {_quoted_weights(other_weights)}"
            if path != other_path
            else f"{path} mixes scores of {_quoted_weights(weights)} and {_quoted_weights(other_weights)}",
            "use scores of the same weights together; avpenet report compares two with --compare",
        )
    return next(iter(marks.values()))[0]


def _quoted_weights(weights: str) -> str:
    # In full, because two weights may differ in their digests only.
    return repr(weights) if weights else "weights it does not name"


def _common_cut_points(sources: Sequence[ScoreSource], weights: str) -> tuple[float, float]:
    names: dict[tuple[float, float], str] = {}
    for source in sources:
        described = (source.manifest or {}).get("weights")
        if not isinstance(described, dict):
            continue
        # A table edited in a spreadsheet is altered, but its weights are still the same.
        if source.manifest_state != "verified" and weights_identity(weights) != described_identity(described):
            continue
        match described.get("cut_points"):
            case [int() | float() as low, int() | float() as high] if 0.0 < low < high < HIGHEST:
                names.setdefault((float(low), float(high)), source.name)
            case other:
                raise SettingsError(
                    f"the manifest of {source.name} has cut points {quoted(other)}",
                    "cut points are two rising numbers between 0 and 10",
                )
    if len(names) > 1:
        (points, name), (other_points, other_name) = list(names.items())[:2]
        raise SettingsError(
            f"the cut points of {name} are {points}, those of {other_name} {other_points}",
            "use the tables one at a time",
        )
    return next(iter(names), DEFAULT_CUT_POINTS)


_NAMED_DIFFERENCES = 4
_LONGEST_VALUE = 40
"""Characters of a setting's value that are quoted."""


def scored_differently(sources: Sequence[ScoreSource]) -> str:
    """Two tables that were not scored alike, and in what, as a sentence; empty where all were, as far as is known.

    Only manifests say how a table was scored. Those of version 0.1.0 state no version of results: its scores differ
    from later ones.
    """
    known = [(source.name, source.manifest) for source in sources if source.manifest is not None]
    if not known:
        return ""
    first, before = known[0]
    for name, manifest in known[1:]:
        if manifest.get("results_version") != before.get("results_version"):
            versions = " and ".join(entry["software"].get("avpenet", "not stated") for entry in (before, manifest))
            return (
                f"{first} and {name} were scored by versions of avpenet that score differently ({versions}): score the "
                "older recordings again before you compare them"
            )
        old, new = (
            scoring_settings(entry["settings"]) if isinstance(entry.get("settings"), dict) else {}
            for entry in (before, manifest)
        )
        differing = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
        if differing:
            texts = [f"{key} {_stated(old, key)} and {_stated(new, key)}" for key in differing]
            more = len(texts) - _NAMED_DIFFERENCES
            named = ", ".join(texts[:_NAMED_DIFFERENCES]) + (f" and {more} more" if more > 0 else "")
            return f"{first} and {name} were scored with different settings: {named}"
    return ""


def _stated(settings: Mapping[str, object], name: str) -> str:
    return json.dumps(settings[name])[:_LONGEST_VALUE] if name in settings else "not stated"


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
    for name in (column.name for column in CALIBRATED_COLUMNS):
        if any(name in sheet.columns for sheet in sheets):
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
        raise _duplicate_segment(sheets, np.repeat(np.arange(len(sheets)), rows), order, np.flatnonzero(same))
    if (np.diff(order) != 1).any():
        segments = segments.take(order)
    return segments.reset_index(drop=True)


def _check_names(paths: Sequence[Path], sources: Sequence[ScoreSource], segments: pd.DataFrame) -> None:
    """Check that each recording is in one table, under one name.

    Segments of two runs over a recording may start at slightly different times and would be counted twice.

    Raises:
        SettingsError: a recording in two tables; two spellings of a name, unless the table's manifest has both.
    """
    groups: dict[str, list[tuple[str, int]]] = {}
    where = segments[["recording", "source"]].drop_duplicates()
    for name, source in zip(map(str, where["recording"]), where["source"].tolist(), strict=True):
        groups.setdefault(normalise_key(name), []).append((name, source))
    across = [group for group in groups.values() if len({source for _, source in group}) > 1]
    if across:
        name, source = across[0][0]
        other, other_source = next(item for item in across[0] if item[1] != source)
        both = f"{paths[source]} and {paths[other_source]}"
        if name == other:
            problem = f"both contain {quoted(name)} ({plural(len(across), 'such recording')})"
            raise SettingsError(f"{both}: {problem}", "give each recording in one table")
        raise _two_spellings(both, name, other)
    for group in groups.values():
        manifest = sources[group[0][1]].manifest or {}
        known = {entry["recording"] for entry in manifest.get("recordings", ())} if len(group) > 1 else set()
        if len(group) > 1 and not known.issuperset(name for name, _ in group):
            raise _two_spellings(str(paths[group[0][1]]), group[0][0], group[1][0])


def _two_spellings(where: str, name: str, other: str) -> SettingsError:
    difference = describe_difference(name, other)
    return SettingsError(f"{where}: {shown(name)} and {shown(other)} differ only in {difference}", _ONE_SPELLING)


def _text(sheet: Sheet, name: str) -> Any:
    """A text column as one pyarrow array; empty cells are empty strings, a missing column is null."""
    if name not in sheet.columns:
        return pa.nulls(sheet.rows, pa.string())
    column = sheet.text(name)
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return array.fill_null("")


def _category(parts: Sequence[Any]) -> pd.Categorical:
    encoded = pa.concat_arrays(parts).dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return pd.Categorical.from_codes(codes, encoded.dictionary.to_pandas())


def _duplicate_segment(
    sheets: Sequence[Sheet], source: npt.NDArray[np.int64], order: npt.NDArray[np.int64], same: npt.NDArray[np.int64]
) -> SettingsError:
    offsets = np.cumsum([0, *(sheet.rows for sheet in sheets)])
    places = []
    for row in order[same[0]], order[same[0] + 1]:
        sheet = sheets[source[row]]
        places.append(f"{sheet.path} line {sheet.lines[row - offsets[source[row]]]}")
    first = sheets[source[order[same[0]]]]
    row = order[same[0]] - offsets[source[order[same[0]]]]
    recording = quoted(first.text("recording")[int(row)].as_py())
    return SettingsError(
        f"{places[0]} and {places[1]}: the same segment of {recording} twice ({same.size} segments in all)",
        "give each table once, and each recording in one table",
    )
