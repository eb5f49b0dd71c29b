"""From tables to the document: every number of the report, JSON-ready."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from avpenet_cli import __version__
from avpenet_cli.errors import SettingsError
from avpenet_cli.report import review, sections
from avpenet_cli.report.agreement import Limits, Z, judged, verdict
from avpenet_cli.report.bootstrap import LEVEL, Resampling
from avpenet_cli.report.checklist import checklist
from avpenet_cli.report.classes import LABELS, class_of
from avpenet_cli.report.comparison import align, compare
from avpenet_cli.report.coverage import Coverage, coverage, flag_counts
from avpenet_cli.report.estimate import plain
from avpenet_cli.report.pairing import Pairing, pair
from avpenet_cli.report.pairs import Pairs
from avpenet_cli.report.raters import raters
from avpenet_cli.report.ratings import NOT_STATED, Events, Ratings, Subjects
from avpenet_cli.report.reading import Scores
from avpenet_cli.report.strata import MINIMUM_SUBJECTS, group, share_scored, strata
from avpenet_cli.settings import WINDOW_S

REPORT_VERSION = 1

# Of SUBJECTS' columns, the ones that say when; the first of them found makes the drift table.
_TIMES = ("batch", "month", "date")
_LIBRARIES = ("numpy", "scipy", "pandas", "matplotlib", "jinja2")
# Of unmatched ratings in the JSON file; the page shows the first 20.
_MOST_LISTED = 10_000
# Share of the ratings from which on something is wrong with their names or times.
_MANY_UNMATCHED = 0.05
_ON_PAGE = 25

_UNTRAINED = "UNTRAINED WEIGHTS. The scores on this page mean nothing and must not be used for anything."
_DEMONSTRATION = (
    "DEMONSTRATION WEIGHTS. They were not trained on patients; the scores on this page say nothing about patients."
)


@dataclass(frozen=True)
class ReportSettings:
    """What the numbers depend on beside the tables.

    Attributes:
        hold_s: how long a point rating holds.
        constant_truth: are the segments of a subject replicates of one true value?
        limit_points: acceptance limit of both limits of agreement, points; None: not asked.
        limit_source: where it comes from.
        command: to repeat the report.
    """

    hold_s: float = 10.0
    constant_truth: bool = False
    limit_points: float | None = None
    limit_source: str = ""
    resampling: Resampling = field(default_factory=Resampling)
    command: str = ""


@dataclass(frozen=True)
class Inputs:
    """All tables of a report."""

    scores: Scores
    ratings: Ratings | None = None
    subjects: Subjects | None = None
    events: Events | None = None
    other: Scores | None = None


@dataclass(frozen=True)
class Analysis:
    """The document, and what the figures need beside it.

    Attributes:
        document: as written to report.json.
        segments: the score table with subject and reference.
        rated: of those, the pairs: scored and rated; with `model`.
        compared: segments of both tables, or None.
        review: every segment to look at; the document holds the first of them.
    """

    document: dict[str, Any]
    inputs: Inputs
    pairing: Pairing
    segments: pd.DataFrame
    rated: pd.DataFrame
    pairs: Pairs | None
    limits: Limits | None
    compared: pd.DataFrame | None
    review: pd.DataFrame


def analyse(inputs: Inputs, settings: ReportSettings) -> Analysis:
    """Compute everything.

    Raises:
        SettingsError: the tables do not belong together.
    """
    scores, of = inputs.scores, settings.resampling
    for one in filter(None, (scores, inputs.other)):
        _check_labels(one)
    pairing = pair(scores, inputs.ratings, inputs.subjects, settings.hold_s)
    segments = pairing.segments
    scored = segments["status"] == "scored"
    rated = segments[scored & segments["reference"].notna()]
    rated = rated.assign(model=rated["score"])
    covered = coverage(scores)
    document = _head(inputs, settings, pairing, rated, covered)
    pairs = limits = None
    if inputs.ratings is not None and not len(rated):
        raise SettingsError(
            "--reference: not one scored segment has a rating", "see that times are seconds from the recording's start"
        )
    if len(rated):
        pairs = Pairs.of(rated["model"].to_numpy(), rated["reference"].to_numpy(), rated["subject"].to_numpy())
        document["agreement"], limits = sections.agreement(pairs, of, settings.constant_truth)
        document["error"] = sections.error(pairs, of)
        document["reliability"] = sections.reliability(pairs, of)
        document["classes"] = sections.class_agreement(pairs, of, scores.cut_points)
        document["calibration"] = sections.calibration_section(pairs, of)
        document["raters"] = raters(pairing.by_rater, segments["score"], segments["subject"], scores.cut_points, of)
        document["strata"] = _strata(rated, inputs.subjects, covered, of)
    document["drift"], document["drift_by"] = _drift(rated, segments, inputs, covered, of)
    compared = None
    if inputs.other is not None:
        compared = align(segments, inputs.other, ("the score tables", "the other"))
        document["comparison"] = {
            "other": {"files": [one.name for one in inputs.other.sources], "weights": inputs.other.weights}
        } | compare(compared, (scores.cut_points, inputs.other.cut_points), of, settings.constant_truth)
    document["verdict"] = plain(verdict(limits, settings.limit_points, settings.limit_source)) | {
        "other_methods": _other_verdicts(document, settings) if limits else []
    }
    if limits is not None:
        to_review = review.disagreements(
            rated, (limits.lower.value, limits.upper.value), scores.cut_points, settings.limit_points
        )
        criterion = review.RATED
    else:
        to_review, criterion = review.thin_evidence(segments), review.UNRATED
    shown = to_review.head(_ON_PAGE)
    document["review"] = {
        "criterion": criterion,
        "total": len(to_review),
        "rows": [plain(dict(row)) for row in shown.astype({"recording": str}).to_dict("records")],
    }
    document["checklist"] = checklist(document)
    return Analysis(document, inputs, pairing, segments, rated, pairs, limits, compared, to_review)


def _other_verdicts(document: dict[str, Any], settings: ReportSettings) -> list[dict[str, str]]:
    """What the verdict would be by the limits that stand beside those it rests on."""
    found = []
    beside = {
        "subject bootstrap": document["agreement"]["bootstrap"],
        "percentiles": document["agreement"]["nonparametric"],
    }
    for name, ends in beside.items():
        if settings.limit_points is None or not ends or None in (*ends["loa_lower_ci"], *ends["loa_upper_ci"]):
            continue
        word = judged(tuple(ends["loa_lower_ci"]), tuple(ends["loa_upper_ci"]), settings.limit_points)
        found.append({"method": name, "result": word})
    return found


def _check_labels(scores: Scores) -> None:
    """Without a manifest the cut points are guessed; the table's own labels tell when the guess is wrong."""
    said = scores.segments[["score", "label"]].dropna()
    said = said[said["label"] != ""]
    values = said["score"].to_numpy()
    # The table's scores are rounded, so that one beside a cut point may have fallen on the other side of it.
    clear = np.min([np.abs(values - cut) for cut in scores.cut_points], axis=0) > 0.001
    ours = np.array(LABELS)[class_of(values, scores.cut_points)]
    wrong = clear & (ours != said["label"].to_numpy(dtype=object))
    if wrong.any():
        place = int(np.argmax(wrong))
        low, high = scores.cut_points
        raise SettingsError(
            f"{scores.sources[0].name}: a score of {values[place]:g} is labelled {said['label'].iloc[place]}, which "
            f"the cut points {low:g} and {high:g} do not give",
            "put the run's manifest (.run.json) beside the table, which names the cut points",
        )


def _head(
    inputs: Inputs, settings: ReportSettings, pairing: Pairing, rated: pd.DataFrame, covered: Coverage
) -> dict[str, Any]:
    scores, segments = inputs.scores, pairing.segments
    scored = segments["status"] == "scored"
    reference = segments["reference"].dropna().to_numpy()
    ratings = inputs.ratings
    return {
        "report_version": REPORT_VERSION,
        "title": "Agreement of pain scores with human ratings" if ratings else "Pain scores: description and coverage",
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": settings.command,
        "notices": _notices(inputs, covered, rated, len(pairing.unmatched_ratings)),
        "software": {"avpenet": __version__, "python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in _LIBRARIES},
        "inputs": _inputs(inputs),
        "weights": _weights(scores),
        "settings": {
            "confidence": LEVEL,
            "z": Z,
            "bootstrap_replicates": settings.resampling.replicates,
            "seed": settings.resampling.seed,
            "hold_s": settings.hold_s,
            "truth": "constant" if settings.constant_truth else "changing",
            "limit_points": settings.limit_points,
            "limit_source": settings.limit_source,
        },
        "headline": {
            "n_subjects": int(segments["subject"].nunique()),
            "n_recordings": len(covered.by_recording),
            "n_segments": len(segments),
            "n_scored": int(scored.sum()),
            "n_pairs": len(rated),
            "n_pair_subjects": int(rated["subject"].nunique()),
            "n_recordings_scored": int(segments.loc[scored, "recording"].nunique()),
            "n_raters": len(ratings.raters) if ratings else 0,
        },
        "coverage": plain(covered.plain()),
        "quality": {"flags": flag_counts(segments)},
        "distribution": {
            "model": sections.distribution(segments.loc[scored, "score"].to_numpy()),
            "reference": sections.distribution(reference) if ratings else None,
            "range_note": _range_note(reference) if ratings else "",
        },
        "pairing": _pairing(pairing, inputs, settings) if ratings or inputs.subjects else None,
        **dict.fromkeys(
            ("agreement", "error", "reliability", "classes", "calibration", "strata", "raters", "comparison")
        ),
        "provenance": {"created_by": f"avpenet {__version__} report", "platform": platform.platform()},
    }


def _inputs(inputs: Inputs) -> dict[str, Any]:
    def file(one: Any) -> dict[str, Any]:
        return {"name": one.name, "sha256": one.sha256, "rows": one.rows}

    def table(scores: Scores) -> list[dict[str, Any]]:
        return [
            file(one)
            | {
                "manifest_state": one.manifest_state,
                "manifest_sha256": one.manifest_sha256,
                "manifest": {name: one.manifest.get(name) for name in ("device", "software", "notice", "timing")}
                if one.manifest
                else None,
            }
            for one in scores.sources
        ]

    ratings = inputs.ratings
    return {
        "scores": table(inputs.scores),
        "reference": file(ratings.file) | {"scales": list(ratings.scales), "raters": list(ratings.raters)}
        if ratings
        else None,
        "subjects": file(inputs.subjects.file) | {"columns": list(inputs.subjects.columns)}
        if inputs.subjects
        else None,
        "events": file(inputs.events.file) | {"unknown_recordings": _unknown(inputs)} if inputs.events else None,
        "compare": table(inputs.other) if inputs.other else None,
    }


def _unknown(inputs: Inputs) -> list[str]:
    known = set(inputs.scores.segments["recording"].cat.categories)
    return sorted(set(inputs.events.rows["recording"]) - known) if inputs.events else []


_WEIGHTS = ("status", "notice", "intended_use", "not_intended_use", "training_data", "licence")


def _weights(scores: Scores) -> dict[str, Any]:
    name, _, rest = scores.weights.partition("@")
    shown = f"{name}@{rest.partition(' ')[0]}"
    said: dict[str, Any] = {}
    for one in scores.sources:
        described = (one.manifest or {}).get("weights", {})
        # A manifest of other weights, left beside a table, says nothing of these.
        if f"{described.get('name')}@{str(described.get('digest'))[:12]}" == shown:
            said = described
            break
    return {
        "mark": scores.weights,
        "name": said.get("name", name),
        "digest": said.get("digest", rest.partition(" ")[0]),
        "cut_points": list(scores.cut_points),
    } | {key: str(said.get(key, "")) for key in _WEIGHTS}


def _few(rated: pd.DataFrame) -> list[str]:
    pairs = rated["subject"].value_counts()
    if not len(pairs):
        return []
    found = []
    if len(pairs) < MINIMUM_SUBJECTS:
        found.append(
            f"Only {len(pairs)} subjects have pairs: intervals are wide, and no verdict on so few carries far."
        )
    if len(pairs) > 1 and pairs.iloc[0] > pairs.sum() / 2:
        share = 100 * pairs.iloc[0] / pairs.sum()
        found.append(
            f"One subject holds {share:.0f} % of the pairs: what counts pairs is mostly about that one."
        )
    return found


def _notices(inputs: Inputs, covered: Coverage, rated: pd.DataFrame, lost: int) -> list[dict[str, str]]:
    found = []

    def say(level: str, text: str) -> None:
        found.append({"level": level, "text": text})

    for scores, whose in ((inputs.scores, ""), (inputs.other, "The other table: ")):
        if scores is None:
            continue
        described = _weights(scores)
        if described["status"] == "untrained" or "UNTRAINED" in scores.weights:
            say("danger", whose + _UNTRAINED)
        elif described["status"] == "demonstration" or "demonstration" in scores.weights:
            say("danger", whose + _DEMONSTRATION)
        elif described["notice"]:
            say("warning", whose + described["notice"])
        for source in scores.sources:
            if source.manifest_state == "altered":
                say(
                    "danger",
                    f"{source.name} is not the table that its manifest vouches for: it was changed after the run.",
                )
            elif source.manifest_state != "verified":
                say("warning", f"{source.name} has no readable run manifest beside it: its origin cannot be traced.")
    for text in _few(rated):
        say("warning", text)
    if inputs.ratings is not None and lost > _MANY_UNMATCHED * inputs.ratings.file.rows:
        say("warning", f"{lost} of {inputs.ratings.file.rows} ratings match no segment: are names and times right?")
    if covered.source == "table":
        say("note", "Without verified manifests, seconds outside the segments and failed recordings are not known.")
    elif not covered.balanced:
        say("danger", f"The balance of seconds does not add up: {covered.unaccounted_s:.1f} s are missing.")
    return found


def _range_note(reference: np.ndarray[Any, Any]) -> str:
    if not len(reference):
        return ""
    low, high = float(reference.min()), float(reference.max())
    if high - low >= 8:
        return ""
    return (
        f"The reference spans {low:.1f} to {high:.1f} of 0 to 10: what is said here holds for that range only, and "
        "correlations and ICCs are lower than over the whole scale."
    )


def _pairing(pairing: Pairing, inputs: Inputs, settings: ReportSettings) -> dict[str, Any]:
    lost = pairing.unmatched_ratings
    rated = inputs.ratings is not None
    return {
        "hold_s": settings.hold_s,
        "rated_segments": int(pairing.segments["reference"].notna().sum()),
        "unrated_segments": pairing.unrated_segments if rated else None,
        "unrated_recordings": list(pairing.unrated_recordings) if rated else [],
        "unmatched_ratings": {
            "count": len(lost),
            "by_reason": {str(why): int(n) for why, n in lost["why"].value_counts().items()},
            "listed": [plain(one) for one in lost.head(_MOST_LISTED).to_dict("records")],
        },
        "recordings_without_subject": list(pairing.recordings_without_subject),
        "subjects_without_recording": list(pairing.subjects_without_recording),
        "subject_rows_without_scores": list(pairing.subject_rows_without_scores),
        "overlapping_segments": _overlapping(pairing.segments),
    }


def _overlapping(segments: pd.DataFrame) -> bool:
    """Do windows share seconds (a stride under their length)?"""
    starts = segments.groupby("recording", observed=True, sort=False)["start_s"].diff()
    return bool((starts < WINDOW_S - 0.01).any())


def _strata(rated: pd.DataFrame, subjects: Subjects | None, covered: Coverage, of: Resampling) -> list[dict[str, Any]]:
    names = rated["recording"].astype(str)
    flags = rated["flags"].fillna("").astype(str)
    of_pairs: dict[str, pd.Series[str]] = {}
    of_recordings: dict[str, pd.Series[str]] = {}
    for column in subjects.columns if subjects else ():
        if column == _time_column(subjects):
            continue
        levels = subjects.table[column] if subjects else pd.Series(dtype=str)
        of_pairs[column] = names.map(levels).fillna(NOT_STATED)
        of_recordings[column] = levels.reindex(covered.by_recording.index).fillna(NOT_STATED)
    of_pairs["quality flags"] = flags.map(lambda text: "flagged" if text else "no flag")
    modality = flags.map({text: _modality(text.split()) for text in flags.unique()})
    if modality.nunique() > 1:
        of_pairs["evidence"] = modality
    return strata(rated, of_pairs, of_recordings, covered.by_recording, of)


def _modality(flags: list[str]) -> str:
    blind, deaf = bool({"no_face", "no_video"} & set(flags)), "no_audio" in flags
    return "neither" if blind and deaf else "voice only" if blind else "face only" if deaf else "face and voice"


def _time_column(subjects: Subjects | None) -> str | None:
    """Of SUBJECTS, the column that says when."""
    columns = {column.lower(): column for column in (subjects.columns if subjects else ())}
    return next((columns[name] for name in _TIMES if name in columns), None)


def _drift(
    rated: pd.DataFrame, segments: pd.DataFrame, inputs: Inputs, covered: Coverage, of: Resampling
) -> tuple[list[dict[str, Any]], str]:
    """Bias and coverage by month or batch: a column of SUBJECTS, else the score tables in their order."""
    subjects, column = inputs.subjects, _time_column(inputs.subjects)
    recordings = covered.by_recording.index
    if column and subjects:
        batch = subjects.table[column].reindex(recordings).fillna(NOT_STATED)
        if column.lower() == "date":
            batch = batch.map(_month)
        order = sorted(batch.unique(), key=_naturally)
    elif len(inputs.scores.sources) > 1:
        column = "score table"
        first = segments.drop_duplicates("recording").set_index("recording")["source"]
        first.index = first.index.astype(str)
        labels = [f"{place + 1}: {one.name}" for place, one in enumerate(inputs.scores.sources)]
        batch = first.map(dict(enumerate(labels))).reindex(recordings).fillna("failed in every table")
        order = [label for label in [*labels, "failed in every table"] if (batch == label).any()]
    else:
        return [], ""
    which = rated["recording"].astype(str).map(batch)
    rows = []
    for name in order:
        row = group(rated[(which == name).to_numpy()], of)
        chosen = covered.by_recording[(batch == name).to_numpy()]
        rows.append(row | {"batch": str(name), "n_recordings": len(chosen), "coverage_share": share_scored(chosen)})
    return rows, column


def _month(text: str) -> str:
    if text == NOT_STATED:
        return text
    try:
        return datetime.date.fromisoformat(text[:10]).strftime("%Y-%m")
    except ValueError:
        raise SettingsError(
            f"--subjects: date is {text!r}, which cannot be placed in a month", "write dates as 2026-03-31"
        ) from None


def _naturally(text: str) -> list[tuple[int, int, str]]:
    """So that batch 10 comes after batch 9."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"([0-9]+)", text) if part]
