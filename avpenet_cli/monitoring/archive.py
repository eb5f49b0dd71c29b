"""The score tables of a baseline and of what came after it, as patients in periods."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from avpenet_cli.calibration.site import read_site
from avpenet_cli.errors import SettingsError
from avpenet_cli.keys import normalise_key, shown
from avpenet_cli.monitoring.embeddings import Embeddings, distances, read_embeddings
from avpenet_cli.monitoring.measures import INDEX, MEASURES, segment_measures
from avpenet_cli.monitoring.periods import Kind, TimeSource, all_periods, check_length, periods_of, time_source
from avpenet_cli.phrasing import plural
from avpenet_cli.records import Status
from avpenet_cli.report.document.review import Notice
from avpenet_cli.report.notices import manifest_notices, weights_notice
from avpenet_cli.stats.patient_ranks import Patients
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
        text = f"{count} left out: when they were made is not known."
        notices.append(Notice("warning", text))
        new = new[~untimed]
    if new.empty:
        raise SettingsError("no recording is new: all are in the baseline or without a time", "give newer score tables")
    if (baseline["period"] == "").any():
        count = plural(baseline.loc[baseline["period"] == "", "recording"].nunique(), "recording")
        text = f"When {count} of the baseline were made is not known: changes within the baseline cannot be seen."
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
        for item in ([] if notice is None else [notice]) + list(manifest_notices(scores)):
            found[item] = None
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
        "abstentions may differ for that alone. Score both with the same --calibration."
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
        "period": recording.map(period).fillna(""),
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
        SettingsError: they cannot be read, or are of other weights or segments than the scores.
    """
    if files.embeddings is None or files.baseline_embeddings is None:
        return None, None
    new, earlier = read_embeddings(files.embeddings), read_embeddings(files.baseline_embeddings)
    for embeddings, tables, where in ((new, groups, "new"), (earlier, [old], "baseline")):
        identity = weights_identity(embeddings.weights)
        of_weights = [scores.segments for scores in tables if weights_identity(scores.weights) == identity]
        if not of_weights:
            others = " and ".join(shown(weights_identity(scores.weights)) or "weights not named" for scores in tables)
            raise SettingsError(
                f"{embeddings.file.name} is of {shown(identity)}, the {where} scores of {others}",
                "give embeddings and scores of the same run",
            )
        for segments in of_weights:
            embeddings.check_of_scores(segments[segments["status"] == Status.SCORED.value])
    sources += [(new.file, "new embeddings"), (earlier.file, "baseline embeddings")]
    return (new if weights_identity(new.weights) == weights_identity(earlier.weights) else None), earlier


@dataclass(frozen=True, eq=False)
class Units:
    """Patients in periods, grouped by one column.

    Attributes:
        levels: names of the level codes.
        baseline, new: the patients.
        names: of the patient codes.
    """

    levels: tuple[str, ...]
    baseline: Patients
    new: Patients


def patients_by(archive: Archive, column: str | None) -> Units:
    """Means of each patient in each period at each level of a column; None: all are at one level.

    What comes from other weights than the baseline's has no value in measures that depend on weights.
    """
    baseline, new = (_grouped(part, column) for part in (archive.baseline, archive.new))
    level_names = sorted(set(baseline["_level"]) | set(new["_level"]))
    subjects = {name: code for code, name in enumerate(sorted(set(baseline["subject"]) | set(new["subject"])))}
    of_weights = [measure.name for measure in MEASURES if measure.of_weights]
    new.loc[new["weights"] != weights_identity(archive.weights), of_weights] = np.nan
    codes = [{name: code for code, name in enumerate(sorted(set(table["period"])))} for table in (baseline, new)]
    codes[1] = {name: code for code, name in enumerate(archive.periods)}
    made = []
    for table, period_code in zip((baseline, new), codes, strict=True):
        made.append(
            Patients(
                values=table[[measure.name for measure in MEASURES]].to_numpy(dtype=np.float64, copy=True),
                patient=table["subject"].map(subjects).to_numpy(dtype=np.int64),
                level=table["_level"].map({name: code for code, name in enumerate(level_names)}).to_numpy(np.int64),
                period=np.array([period_code[name] for name in table["period"]], dtype=np.int64),
            )
        )
    _add_novelty(archive, (baseline, new), made)
    return Units(tuple(level_names), made[0], made[1])


def _grouped(part: Part, column: str | None) -> pd.DataFrame:
    """One row for each patient, period, level and weights: means of the segments, and the recordings."""
    segments = part.segments
    level = segments[column] if column is not None else pd.Series("", index=segments.index)
    keys = ["subject", "period", "_level", "weights"]
    groups = segments.assign(_level=level).groupby(keys, sort=True)
    # Equal values stay equal, whatever the order or number of the segments they are means of.
    table: pd.DataFrame = groups[[measure.name for measure in MEASURES]].mean().round(9)
    table["_recordings"] = groups["recording"].unique()
    return table.reset_index()


def _add_novelty(archive: Archive, tables: Sequence[pd.DataFrame], made: Sequence[Patients]) -> None:
    """Write the distances of the embeddings into the values of both parts."""
    parts = (archive.baseline, archive.new)
    if any(part.embeddings is None for part in parts):
        return
    means = [_mean_embeddings(table, part.embeddings) for table, part in zip(tables, parts, strict=True)]
    means[1][(tables[1]["weights"] != weights_identity(archive.weights)).to_numpy()] = np.nan
    for patients, mean in zip(made, means, strict=True):
        patients.values[:, INDEX["novelty"]] = distances(mean, patients.patient, means[0], made[0].patient)


def _mean_embeddings(table: pd.DataFrame, embeddings: Embeddings | None) -> npt.NDArray[np.float64]:
    assert embeddings is not None
    means = np.full((len(table), embeddings.dimensions), np.nan)
    for place, recordings in enumerate(table["_recordings"]):
        found = [embeddings.of_recording.get(normalise_key(str(name))) for name in recordings]
        arrays = [array for array in found if array is not None]
        if arrays:
            means[place] = np.concatenate(arrays).mean(axis=0, dtype=np.float64)
    return means
