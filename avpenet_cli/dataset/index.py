"""Shards, ratings and subjects -> the store's index, its splits, and the account of where everything came from."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from avpenet_cli.dataset.prepare import Prepared, PrepareSettings
from avpenet_cli.dataset.shards import DESCRIPTION, SCORABLE, STORE_VERSION, shard_descriptions
from avpenet_cli.dataset.splits import (
    SPLITS,
    STRATA,
    Split,
    check_no_leak,
    leave_one_site_out,
    split_by_subject,
)
from avpenet_cli.dataset.store import INDEX_FILE, STORE_FILE
from avpenet_cli.errors import OutputError, SettingsError
from avpenet_cli.inputs import Recording
from avpenet_cli.runs.versions import software_versions
from avpenet_cli.settings import digest_of, to_dict
from avpenet_cli.storage import atomic_write, write_json
from avpenet_cli.study.pairing import NO_RECORDING, Pairing, pair
from avpenet_cli.study.ratings import NOT_STATED, Ratings, Subjects, read_ratings, read_subjects
from avpenet_cli.study.score_tables import DEFAULT_CUT_POINTS, Scores
from avpenet_cli.study.sheets import quoted

_RATED = "(rated)"
"""A stratum of its own: subjects whom nobody rated must not fill a split in place of those who teach something."""
_NAMED = 5
_EXAMPLES = 100
_NOT_PREPARED = "its recording was not prepared: not named, failed, or without a segment"


@dataclass(frozen=True)
class Truth:
    """What people say of the recordings.

    Attributes:
        ratings: of their segments, 0 to 10.
        subjects: whose they are.
        table: one row per recording that was asked for, indexed by its name: `subject`, `age_group`, `site`, the other
            columns of the subjects' table, and whether any rating names the recording's subject.
        splits: subject to split.
        site_splits: the same for each site left out; empty with fewer than two.
    """

    ratings: Ratings
    subjects: Subjects
    table: pd.DataFrame
    splits: dict[str, Split]
    site_splits: dict[str, dict[str, Split]]


@dataclass(frozen=True)
class Summary:
    """What became of a store.

    Attributes:
        segments: by status.
        rated: scorable segments with a reference, by split.
        subjects: of those, by split.
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


def read_truth(
    ratings_path: Path, subjects_path: Path, recordings: Sequence[Recording], settings: PrepareSettings
) -> Truth:
    """Read both tables, hold them against the recordings, and divide the subjects; before anything is decoded.

    Raises:
        SettingsError: a table that cannot be read; recordings without a subject, for a leak could hide in them; no
            rating for any of the recordings; a subject with two age groups or sites; a column that the index has too.
    """
    ratings, subjects = read_ratings(ratings_path), read_subjects(subjects_path)
    names = [recording.name for recording in recordings if not recording.problem]
    without = [name for name in names if name not in subjects.subject_of]
    if without:
        more = f" and {len(without) - _NAMED} more" if len(without) > _NAMED else ""
        raise SettingsError(
            f"{subjects_path} does not say whose {', '.join(map(quoted, without[:_NAMED]))}{more} is",
            "give every recording a row, under the name that avpenet score shows for it: without a subject the same "
            "patient could be trained on and tested on",
        )
    rated = set(map(str, ratings.rows["recording"].unique()))
    if names and rated.isdisjoint(names):
        raise SettingsError(
            f"{ratings_path} has no recording in common with those named: {quoted(next(iter(sorted(rated))))} there, "
            f"{quoted(names[0])} here",
            "name recordings as paths relative to the inputs' common folder, as avpenet score does",
        )
    taken = sorted(set(subjects.columns) & {*_INDEX_COLUMNS, _RATED} - set(STRATA))
    if taken:
        raise SettingsError(f"{subjects_path}: the index has a column {taken[0]} of its own", "rename that column")
    table = _subject_table(names, subjects, rated)
    splits = split_by_subject(table, settings.split, settings.seed, (*STRATA, _RATED))
    return Truth(ratings, subjects, table, splits, dict(leave_one_site_out(table, settings.seed)))


_INDEX_COLUMNS = ("recording", "subject", "reference", "n_raters", *DESCRIPTION.names, *STRATA, "split", "shard")


def _subject_table(names: list[str], subjects: Subjects, rated: set[str]) -> pd.DataFrame:
    table = subjects.table.reindex(names).astype(str)
    for column in STRATA:
        if column not in table.columns:
            table[column] = NOT_STATED
    others = [name for name in table.columns if name not in STRATA]
    table.insert(0, "subject", pd.Series([subjects.subject_of[name] for name in names], index=table.index, dtype="str"))
    has = {table.at[name, "subject"] for name in names if name in rated}
    table[_RATED] = table["subject"].isin(list(has)).astype(str)
    return table[["subject", *STRATA, *others, _RATED]]


def begin(folder: Path, about: dict[str, Any] | None, settings: PrepareSettings) -> None:
    """See that the folder's store, if there is one, was made with these settings; else write the beginning of one.

    Args:
        about: what `store.json` holds, None where there is none.

    Raises:
        OutputError: other settings; names what differs.
    """
    wanted = settings.store_fingerprint_fields
    if about is None:
        write_json(folder / STORE_FILE, {"store_version": STORE_VERSION, "complete": False, "settings": _plain(wanted)})
        return
    stored = about["settings"]
    wanted = _plain(wanted)
    differing = [name for name in wanted | stored if stored.get(name) != wanted.get(name)]
    if differing:
        named = "; ".join(
            f"{name} was {stored.get(name, 'unset')}, now {wanted.get(name, 'unset')}" for name in differing[:_NAMED]
        )
        more = f" and {len(differing) - _NAMED} more" if len(differing) > _NAMED else ""
        raise OutputError(f"{folder} was made with other settings: {named}{more}", "choose another --out")


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    """As JSON gives them back."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}


def finish(
    folder: Path,
    about: dict[str, Any] | None,
    prepared: Sequence[Prepared],
    truth: Truth,
    settings: PrepareSettings,
    notice: str = "",
) -> Summary:
    """Write index and account. Until the account is in place the store is what it was before.

    Args:
        about: what `store.json` held before.
        prepared: all recordings, in input order.
        notice: what weights trained on this store must say of themselves.

    Raises:
        SettingsError: the same file under two subjects; a leak.
        EnvironmentUnavailableError, OutputError: a file cannot be written.
    """
    done = [one for one in prepared if one.shard is not None]
    _check_duplicate_recordings(done, truth)
    segments, pairing = _paired(done, truth, settings.hold_s)
    index = _index(segments, truth)
    check_no_leak(index)
    digest = _write_index(folder / INDEX_FILE, index)
    usable = index[(index["status"] == SCORABLE) & index["reference"].notna()]
    unmatched = _unmatched(pairing, truth)
    before = ((about or {}).get("splits") or {}).get("by_subject") or {}
    summary = Summary(
        segments={str(name): int(count) for name, count in index["status"].value_counts().items()},
        rated={name: int((usable["split"] == name).sum()) for name in SPLITS},
        subjects={name: int(usable.loc[usable["split"] == name, "subject"].nunique()) for name in SPLITS},
        unmatched_ratings=unmatched,
        moved=tuple(name for name, split in truth.splits.items() if before.get(name, split) != split),
        unrated_recordings=pairing.unrated_recordings if pairing else (),
    )
    record = _account(settings, truth, summary) | {
        "notice": notice,
        "index": {"file": INDEX_FILE, "sha256": digest, "rows": len(index)},
        "recordings": [_recording_entry(one) for one in prepared],
    }
    write_json(folder / STORE_FILE, record)
    return summary


def _check_duplicate_recordings(done: Sequence[Prepared], truth: Truth) -> None:
    """The same file under two names is one patient, whatever the table says."""
    seen: dict[str, str] = {}
    subject_of = truth.subjects.subject_of
    for one in done:
        name = one.recording.name
        assert one.header is not None
        other = seen.setdefault(one.header.sha256, name)
        if subject_of[name] != subject_of[other]:
            raise SettingsError(
                f"{other} of subject {subject_of[other]} and {name} of subject {subject_of[name]} are the same file",
                "take one of them out, or give both the same subject: one could be trained on, the other tested on",
            )


def _paired(done: Sequence[Prepared], truth: Truth, hold_s: float) -> tuple[pd.DataFrame, Pairing | None]:
    """All segments with their reference, by `report`'s rules."""
    parts = []
    for one in done:
        assert one.shard is not None
        frame = shard_descriptions(one.shard)
        parts.append(frame.assign(recording=one.recording.name, shard=one.shard.name))
    empty = pa.Table.from_batches([], DESCRIPTION).to_pandas().assign(recording="", shard="")
    segments = pd.concat(parts, ignore_index=True) if parts else empty
    names = list(dict.fromkeys(segments["recording"]))
    if not set(names) & set(truth.ratings.rows["recording"]):
        return segments.assign(reference=np.nan, n_raters=np.int64(0)), None
    segments["recording"] = pd.Categorical(segments["recording"], categories=names)
    scores = Scores(segments, (), "", DEFAULT_CUT_POINTS)
    pairing = pair(scores, truth.ratings, truth.subjects, hold_s)
    return pairing.segments.assign(recording=segments["recording"].astype("str")), pairing


def _index(segments: pd.DataFrame, truth: Truth) -> pd.DataFrame:
    whose = truth.table.drop(columns=_RATED).loc[segments["recording"].tolist()].reset_index(drop=True)
    index = segments.drop(columns=["subject"], errors="ignore")
    for name in whose.columns:
        index[name] = whose[name].astype("str").to_numpy()
    index["split"] = index["subject"].map(truth.splits).astype("str")
    described = [name for name in DESCRIPTION.names if name not in ("segment", "start_s", "end_s")]
    first = ["recording", "segment", "start_s", "end_s", *whose.columns, "reference", "n_raters"]
    return index[[*first, *described, "split", "shard"]]


def _write_index(path: Path, index: pd.DataFrame) -> str:
    """Returns the file's SHA-256, hexadecimal."""
    kinds = {field.name: field.type for field in DESCRIPTION} | {"reference": pa.float64(), "n_raters": pa.int64()}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in index.columns])
    with atomic_write(path) as file:
        pq.write_table(pa.Table.from_pandas(index, schema, preserve_index=False).replace_schema_metadata(), file)
        file.flush()
        file.seek(0)
        return hashlib.file_digest(cast(io.BufferedRandom, file), "sha256").hexdigest()


def _unmatched(pairing: Pairing | None, truth: Truth) -> pd.DataFrame:
    if pairing is None:
        return truth.ratings.rows[["line", "recording", "start_s"]].assign(why=_NOT_PREPARED)
    lost = pairing.unmatched_ratings
    return lost.assign(why=lost["why"].replace(NO_RECORDING, _NOT_PREPARED))


def _account(settings: PrepareSettings, truth: Truth, summary: Summary) -> dict[str, Any]:
    lost = summary.unmatched_ratings
    examples = lost.head(_EXAMPLES).to_dict("records")
    return {
        "store_version": STORE_VERSION,
        "complete": True,
        "software": software_versions() | {"pyarrow": pa.__version__},
        "settings": _plain(settings.store_fingerprint_fields),
        "fingerprint": digest_of(settings.shard_fingerprint_fields),
        "preprocessing": to_dict(settings.preprocessing),
        "quality": to_dict(settings.quality),
        "ratings": asdict(truth.ratings.file)
        | {"scales": list(truth.ratings.scales), "raters": len(truth.ratings.raters), "hold_s": settings.hold_s},
        "subjects": asdict(truth.subjects.file) | {"columns": list(truth.subjects.columns)},
        "unmatched_ratings": {
            "count": len(lost),
            "by_reason": {str(why): int(count) for why, count in lost["why"].value_counts().items()},
            "examples": [{str(name): value for name, value in one.items()} for one in examples],
        },
        "unrated_recordings": list(summary.unrated_recordings),
        "splits": {
            "seed": settings.seed,
            "shares": dict(zip(SPLITS, settings.split, strict=True)),
            "strata": list(STRATA),
            "rated_segments": summary.rated,
            "rated_subjects": summary.subjects,
            "by_subject": truth.splits,
            "leave_one_site_out": truth.site_splits,
        },
    }


def _recording_entry(one: Prepared) -> dict[str, Any]:
    entry: dict[str, Any] = {"recording": one.recording.name, "shard": "", "shard_bytes": 0}
    if one.failure is not None or one.shard is None or one.header is None:
        reason = one.failure.code if one.failure else ""
        return entry | {"status": "failed", "reason": reason, "message": str(one.failure or "")}
    facts = asdict(one.header)
    kept = {name: facts[name] for name in ("sha256", "nominal_s", "length_s", "orientation_deg", "message")}
    counts = Counter({SCORABLE: one.segments - one.unscorable, "unscorable": one.unscorable})
    files = {"shard": one.shard.name, "shard_bytes": one.shard.stat().st_size}
    return entry | files | kept | {"status": "prepared", "reason": "", "segments": dict(counts)}


def leftovers(folder: Path) -> list[Path]:
    """What killed runs left in the folder of the shards, and in that of the store."""
    return [path for path in folder.iterdir() if path.name.startswith(".") and path.suffix == ".tmp"]


def unused(shards: Path, prepared: Iterable[Prepared]) -> list[Path]:
    """Shards of recordings, or of states of them, that are not among these."""
    used = {one.shard.name for one in prepared if one.shard is not None}
    return sorted(path for path in shards.glob("*.arrow") if path.name not in used)
