"""The score tables of a baseline and of what came after it, as segments in periods."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from avpenet_cli.calibration.site import read_site
from avpenet_cli.errors import SettingsError
from avpenet_cli.keys import normalise_key, shown
from avpenet_cli.monitoring.embeddings import Embeddings, read_embeddings
from avpenet_cli.monitoring.measures import segment_measures
from avpenet_cli.monitoring.periods import Kind, TimeSource, all_periods, check_length, periods_of, time_source
from avpenet_cli.phrasing import plural
from avpenet_cli.records import Status
from avpenet_cli.report.document.review import Notice
from avpenet_cli.report.notices import manifest_notices, weights_notice
from avpenet_cli.study.pairing import pair
from avpenet_cli.study.ratings import Ratings, read_ratings
from avpenet_cli.study.score_tables import Scores, digest_of_table, read_scores, scores_digest, weights_identity
from avpenet_cli.study.sheets import SourceFile
from avpenet_cli.study.subjects import NOT_STATED, Subjects, read_subjects
from avpenet_cli.study.tables import match_tables

LEVEL_COLUMNS = ("site", "device")
"""Columns of the table of subjects whose levels are charted apart."""


@dataclass(frozen=True)
class Files:
    """What is read; paths."""

    new: tuple[Path, ...]
    baseline: tuple[Path, ...]
    subjects: Path
    reference: Path | None = None
    embeddings: Path | None = None
    baseline_embeddings: Path | None = None


@dataclass(frozen=True, eq=False)
class Part:
    """The baseline, or what came after it.

    Attributes:
        segments: one row per segment: recording, subject, period (empty where it is not known), weights (identity),
            the level columns, and the measures.
        embeddings: by recording, where there are any.
    """

    segments: pd.DataFrame
    embeddings: Embeddings | None


@dataclass(frozen=True, eq=False)
class Archive:
    """Everything that is monitored.

    Attributes:
        baseline, new: the two parts.
        time: where the periods come from.
        periods: of the new part, in order, those without a recording included.
        columns: those of `LEVEL_COLUMNS` that the table of subjects has, as it writes them.
        weights: of the baseline, as its tables state them.
        other_weights: of new tables, as they state them, where they differ.
        cut_points: upper ends of the classes low and moderate, points.
        sources: files that were read, each with its content in words.
        scores_digests: `score_tables.scores_digest` of each score table, by the SHA-256 of its file.
        notices: what a reader must know before any number.
    """

    baseline: Part
    new: Part
    time: TimeSource
    periods: tuple[str, ...]
    columns: tuple[str, ...]
    weights: str
    other_weights: tuple[str, ...]
    cut_points: tuple[float, float]
    sources: tuple[tuple[SourceFile, str], ...]
    scores_digests: dict[str, str]
    notices: tuple[Notice, ...]

    @property
    def kind(self) -> Kind:
        """Of the periods."""
        return self.time.kind


def read_archive(files: Files) -> Archive:
    """Read all tables and bring them together.

    Raises:
        SettingsError: a table cannot be read, tables do not belong together, nothing is new, or times are not known.
    """
    baseline_tables, calibration = _baseline_tables(files.baseline)
    subjects = read_subjects(files.subjects)
    ratings = None if files.reference is None else read_ratings(files.reference)
    old = read_scores(baseline_tables)
    groups = _by_weights(files.new)
    notices = [
        *_table_notices(old, *groups),
        *_other_calibrations(old, groups),
        *(Notice("warning", text) for text in subjects.notices),
    ]
    columns = tuple(column for column in subjects.columns if column.lower() in LEVEL_COLUMNS)
    time = time_source(pd.concat([group.segments[["recorded_at"]] for group in groups]), subjects)
    baseline = _part(old, ratings, subjects, time, columns, notices, "the baseline")
    known = {normalise_key(name) for name in baseline["recording"].unique()}
    parts = [_part(group, ratings, subjects, time, columns, notices, "the new scores") for group in groups]
    new = pd.concat(parts, ignore_index=True)
    _check_once(parts)
    repeated = new["recording"].map(normalise_key).isin(known)
    if repeated.any():
        count = plural(new.loc[repeated, "recording"].nunique(), "recording")
        notices.append(Notice("note", f"{count} of the new scores are in the baseline, and are not counted as new."))
        new = new[~repeated]
    untimed = new["period"] == ""
    if untimed.any():
        count = plural(new.loc[untimed, "recording"].nunique(), "new recording")
        text = f"{count} left out: no time of recording is known."
        notices.append(Notice("warning", text))
        new = new[~untimed]
    if new.empty:
        raise SettingsError("no recording is new: all are in the baseline or without a time", "give newer score tables")
    if (baseline["period"] == "").any():
        count = plural(baseline.loc[baseline["period"] == "", "recording"].nunique(), "recording")
        text = f"{count} of the baseline without a time: changes within the baseline may be missed."
        notices.append(Notice("warning", text))
    periods = all_periods(time.kind, new["period"].unique())
    check_length(time.kind, periods)
    sources: list[tuple[SourceFile, str]] = [(source, "new scores") for group in groups for source in group.sources]
    sources += [(source, "baseline scores") for source in old.sources]
    sources += [(item, "calibration") for item in calibration]
    sources.append((subjects.file, "subjects"))
    if ratings is not None:
        sources.append((ratings.file, "ratings"))
    new_embeddings, old_embeddings = _read_embeddings(files, old, groups, sources)
    identity = weights_identity(old.weights)
    other = tuple(group.weights for group in groups if weights_identity(group.weights) != identity)
    return Archive(
        baseline=Part(baseline.reset_index(drop=True), old_embeddings),
        new=Part(new.reset_index(drop=True), new_embeddings),
        time=time,
        periods=periods,
        columns=columns,
        weights=old.weights,
        other_weights=other,
        cut_points=old.cut_points,
        sources=tuple((SourceFile(file.name, file.sha256, file.rows), content) for file, content in sources),
        scores_digests=_scores_digests([old, *groups]),
        notices=tuple(notices),
    )


def _baseline_tables(baseline: Sequence[Path]) -> tuple[list[Path], list[SourceFile]]:
    """The score tables of the baseline: for a calibration, those that it was fitted on, as they were then.

    Raises:
        SettingsError: a calibration cannot be read, or one of its tables is not beside it or was changed.
    """
    tables: list[Path] = []
    calibrations = []
    for path in baseline:
        if path.suffix.lower() != ".json":
            tables.append(path)
            continue
        site = read_site(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        calibrations.append(SourceFile(path.name, digest, 1))
        for item in site.fitted_on.inputs:
            if item.role != "scores":
                continue
            table = path.parent / item.name
            remedy = "put it there, or give the score tables of the baseline"
            if not table.is_file():
                raise SettingsError(f"{path} was fitted on {shown(item.name)}, which is not beside it", remedy)
            # With the columns of the calibration itself, it has other bytes.
            if digest_of_table(table) != item.scores_digest:
                raise SettingsError(f"the scores of {table} were changed after {path.name} was fitted on them", remedy)
            tables.append(table)
    return tables, calibrations


def _scores_digests(tables: Sequence[Scores]) -> dict[str, str]:
    return {
        source.sha256: scores_digest(scores, place) for scores in tables for place, source in enumerate(scores.sources)
    }


def _by_weights(tables: Sequence[Path]) -> list[Scores]:
    """The tables of each weights together; those with other weights are named, not refused."""
    groups: dict[str, list[Path]] = {}
    for table in tables:
        groups.setdefault(weights_identity(read_scores([table]).weights), []).append(table)
    return [read_scores(paths) for paths in groups.values()]


def _table_notices(*tables: Scores) -> list[Notice]:
    found: dict[Notice, None] = {}
    for scores in tables:
        notice = weights_notice(scores)
        if notice is not None:
            found[notice] = None
    for notice in manifest_notices(*tables):
        found[notice] = None
    return list(found)


def _other_calibrations(old: Scores, groups: Sequence[Scores]) -> list[Notice]:
    """A warning where calibrations differ, as far as the manifests beside the tables state them."""
    before, after = (
        {
            str(entry.get("digest"))
            for scores in tables
            for source in scores.sources
            if source.manifest is not None and isinstance(entry := source.manifest.get("calibration"), dict)
        }
        for tables in ([old], groups)
    )
    if not before or not after or before == after:
        return []
    text = (
        "Baseline and new scores were not calibrated by the same calibration: calibrated scores, intervals and "
        "abstentions may differ for that reason alone. Score both with the same --calibration."
    )
    return [Notice("warning", text)]


def _part(
    scores: Scores,
    ratings: Ratings | None,
    subjects: Subjects,
    time: TimeSource,
    columns: Sequence[str],
    notices: list[Notice],
    where: str,
) -> pd.DataFrame:
    inputs = match_tables(scores, ratings, subjects)
    assert inputs.subjects is not None
    names = set(map(str, scores.segments["recording"].cat.categories))
    rated = inputs.ratings
    if rated is not None and names.isdisjoint(rated.rows["recording"]):
        rated = None
    pairing = pair(scores, rated, inputs.subjects)
    if pairing.recordings_without_subject:
        without = pairing.recordings_without_subject
        text = (
            f"{plural(len(without), 'recording')} of {where}, such as {shown(without[0])}, without a row in "
            f"{subjects.file.name}: each counts as a separate patient."
        )
        notices.append(Notice("warning", text))
    segments = pairing.segments
    recording = segments["recording"].astype(str)
    period = periods_of(segments, inputs.subjects, time)
    levels = inputs.subjects.table
    facts = {
        "recording": recording,
        "subject": segments["subject"].astype(str),
        "period": [period.get(name, "") for name in recording],
        "weights": weights_identity(scores.weights),
    }
    facts |= {column: recording.map(levels[column]).fillna(NOT_STATED) for column in columns}
    return pd.concat([pd.DataFrame(facts), segment_measures(segments)], axis=1)


def _check_once(parts: Sequence[pd.DataFrame]) -> None:
    seen: dict[str, int] = {}
    for number, part in enumerate(parts):
        for name in part["recording"].unique():
            if seen.setdefault(normalise_key(name), number) != number:
                raise SettingsError(
                    f"{shown(name)} was scored with two weights in the new scores", "give each recording in one table"
                )


def _read_embeddings(
    files: Files, old: Scores, groups: Sequence[Scores], sources: list[tuple[SourceFile, str]]
) -> tuple[Embeddings | None, Embeddings | None]:
    """Embeddings of the new part and of the baseline.

    Raises:
        SettingsError: they cannot be read, or are of other weights or segments than the scores, or of another run.
    """
    if files.embeddings is None or files.baseline_embeddings is None:
        return None, None
    new, earlier = read_embeddings(files.embeddings), read_embeddings(files.baseline_embeddings)
    for embeddings, tables, where in ((new, groups, "new"), (earlier, [old], "baseline")):
        identity = weights_identity(embeddings.weights)
        of_weights = [scores for scores in tables if weights_identity(scores.weights) == identity]
        if not of_weights:
            others = " and ".join(shown(weights_identity(scores.weights)) or "weights not named" for scores in tables)
            raise SettingsError(
                f"{embeddings.file.name} is of {shown(identity)}, but the {where} scores are of {others}",
                "give embeddings and scores of the same run",
            )
        for scores in of_weights:
            _check_of_run(embeddings, scores)
            embeddings.check_of_scores(scores.segments[scores.segments["status"] == Status.SCORED.value])
    sources += [(new.file, "new embeddings"), (earlier.file, "baseline embeddings")]
    return (new if weights_identity(new.weights) == weights_identity(earlier.weights) else None), earlier


def _check_of_run(embeddings: Embeddings, scores: Scores) -> None:
    """Check the embeddings against the manifest of a score table that stands alone; those of several tables are joined
    ones, of which no manifest knows.

    Raises:
        SettingsError: its run wrote other embeddings.
    """
    if len(scores.sources) != 1 or scores.sources[0].manifest_state != "verified":
        return
    # Of a run's files beside the score table, the embeddings alone are Parquet.
    stated = {
        str(entry.get("file")): entry.get("sha256")
        for entry in (scores.sources[0].manifest or {}).get("summaries") or ()
        if isinstance(entry, dict) and str(entry.get("file")).endswith(".parquet")
    }
    if stated and embeddings.file.sha256 not in stated.values():
        raise SettingsError(
            f"{embeddings.file.name} is not of the run that made {scores.sources[0].name}, which wrote "
            f"{shown(next(iter(stated)))} with another digest",
            "give the embeddings that the same run wrote",
        )
