"""From tables to the document: every number of the report, JSON-ready."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from avpenet_cli.errors import SettingsError
from avpenet_cli.report import review, sections
from avpenet_cli.report.checklist import checklist
from avpenet_cli.report.comparison import align, compare
from avpenet_cli.report.coverage import Coverage, coverage, flag_counts
from avpenet_cli.report.grouping import drift, groups
from avpenet_cli.report.notices import notices
from avpenet_cli.report.raters import raters
from avpenet_cli.settings import WINDOW_S
from avpenet_cli.stats.agreement import Limits, Z, judged, verdict
from avpenet_cli.stats.bootstrap import LEVEL, Resampling
from avpenet_cli.stats.classes import LABELS, class_of
from avpenet_cli.stats.estimate import plain
from avpenet_cli.stats.pairs import Pairs
from avpenet_cli.study.pairing import Pairing, pair
from avpenet_cli.study.score_tables import Scores
from avpenet_cli.study.tables import Inputs, described_weights
from avpenet_cli.version import __version__

REPORT_VERSION = 1

_LIBRARIES = ("numpy", "scipy", "pandas", "matplotlib", "jinja2")
# Of unmatched ratings in the JSON file; the page shows the first 20.
_MOST_LISTED = 10_000
_ON_PAGE = 25


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
        document["strata"] = groups(rated, inputs.subjects, covered, of)
    document["drift"], document["drift_by"] = drift(rated, segments, inputs, covered, of)
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
        "notices": notices(inputs, covered, rated, len(pairing.unmatched_ratings)),
        "software": {"avpenet": __version__, "python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in _LIBRARIES},
        "inputs": _inputs(inputs),
        "weights": described_weights(scores),
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
