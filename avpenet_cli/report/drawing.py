"""Which figures a report has, and the data of each."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from avpenet_cli.errors import SettingsError
from avpenet_cli.keys import match_names
from avpenet_cli.report import figures
from avpenet_cli.report.analysis import Analysis
from avpenet_cli.report.document import ReportDocument
from avpenet_cli.report.document.agreement import AgreementSection
from avpenet_cli.report.document.groups import Group, Stratum
from avpenet_cli.report.document.review import Trajectory
from avpenet_cli.report.figures import Figure
from avpenet_cli.stats.agreement import Limits
from avpenet_cli.stats.classes import LABELS
from avpenet_cli.stats.estimate import NAN
from avpenet_cli.stats.pairs import Pairs

# Trajectories that the program chooses, in addition to those asked for.
_WORST, _TYPICAL, _UNRATED = 4, 2, 6

_LOST = {
    "no_video": "lost: no video",
    "no_face": "lost: no face",
    "no_audio": "lost: no audio",
    "tail_too_short": "lost: end too short",
}


def draw(analysis: Analysis, show: tuple[str, ...]) -> tuple[dict[str, Figure], tuple[Trajectory, ...]]:
    """All figures by name, and the recording of each trajectory.

    Args:
        analysis: complete.
        show: recordings whose trajectories are drawn in addition to those the program chooses.

    Raises:
        SettingsError: a recording to show is not in the tables.
    """
    drawn = _scores_figures(analysis)
    document = analysis.document
    if analysis.pairs is not None and document.agreement is not None:
        drawn |= _agreement_figures(analysis.pairs, document.agreement, document.settings.limit_points)
        drawn["subject_strip"] = _subject_strip(analysis.rated, document.agreement.limits)
        drawn |= _detail_figures(document)
        if rows := _strata_rows(document.strata or ()):
            drawn["strata"] = figures.strata(rows)
    drawn |= _comparison_figures(analysis)
    trajectories = []
    for place, recording in enumerate(_chosen(analysis, show), start=1):
        name = f"trajectory-{place}"
        drawn[name] = _trajectory(analysis, recording)
        trajectories.append(Trajectory(recording, name))
    return drawn, tuple(trajectories)


def _scores_figures(analysis: Analysis) -> dict[str, Figure]:
    document, segments = analysis.document, analysis.segments
    coverage = document.coverage
    parts = [("scored", coverage.scored_s)]
    parts += [(_LOST.get(reason, f"lost: {reason}"), lost_s) for reason, lost_s in coverage.unscorable_s.items()]
    parts.append(("lost: not decodable", coverage.undecodable_s))
    scores = segments.loc[segments["status"] == "scored", "score"].to_numpy()
    reference = segments["reference"].dropna().to_numpy() if analysis.inputs.ratings else None
    drawn = {
        "balance": figures.balance(
            [(name, part_s) for name, part_s in parts if part_s > 0], recorded=coverage.source == "manifest"
        ),
        "distributions": figures.distributions(scores, reference),
    }
    if document.drift is not None:
        drawn["drift"] = figures.drift([_drift_row(batch) for batch in document.drift.batches])
    return drawn


def _drift_row(batch: Group) -> tuple[str, float, float, float, float, float]:
    share = NAN if batch.coverage_share is None else batch.coverage_share
    return batch.name, batch.bias.value, *batch.bias.ci, share, batch.n_pairs


def _agreement_figures(pairs: Pairs, agreement: AgreementSection, limit_points: float | None) -> dict[str, Figure]:
    line, curves = agreement.proportional_bias, agreement.regression_limits
    limits = _lines(agreement.limits)
    following = replace(
        limits,
        trend=(line.intercept.value, line.slope.value),
        trend_limits=(curves.b0, curves.b1, curves.c0, curves.c1) if curves else None,
    )
    return {
        "bland_altman_mean": figures.bland_altman(
            pairs.model,
            pairs.reference,
            against="mean",
            limits=following,
            delta=limit_points,
        ),
        "bland_altman_reference": figures.bland_altman(
            pairs.model, pairs.reference, against="reference", limits=limits, delta=limit_points
        ),
        "scatter": figures.scatter(pairs.model, pairs.reference),
        "error_histogram": figures.error_histogram(pairs.difference),
        "qq": figures.qq(pairs.difference),
    }


def _detail_figures(document: ReportDocument) -> dict[str, Figure]:
    """Error along the scale, classes and calibration."""
    drawn = {}
    if document.error is not None:
        bins = document.error.by_intensity
        drawn["error_by_intensity"] = figures.error_by_intensity(
            [(f"{row.from_points}-{row.to_points}", row.mae.value, *row.mae.ci, row.bias, row.n_pairs) for row in bins]
        )
    if document.risk_coverage is not None:
        curves = [(row.column, [(p.share_set_aside, p.mae) for p in row.curve]) for row in document.risk_coverage]
        mae = document.error.accuracy.mae.value if document.error is not None else NAN
        drawn["risk_coverage"] = figures.risk_coverage([curve for curve in curves if curve[1]], mae)
    if document.classes is not None:
        drawn["confusion"] = figures.confusion(document.classes.confusion, LABELS)
    if document.calibration is not None:
        line, means = document.calibration.line, document.calibration.bins
        drawn["calibration"] = figures.calibration(
            [(row.mean_score, row.mean_reference.value, *row.mean_reference.ci, row.n_pairs) for row in means],
            intercept=line.intercept.value,
            slope=line.slope.value,
        )
    return drawn


def _subject_strip(rated: pd.DataFrame, limits: Limits) -> Figure:
    difference = rated["score"] - rated["reference"]
    by_subject = difference.groupby(rated["subject"].astype(str)).agg(["mean", "std", "count"])
    return figures.subject_strip(
        [str(name) for name in by_subject.index],
        by_subject["mean"].to_numpy(),
        by_subject["std"].to_numpy(),
        by_subject["count"].to_numpy(),
        bias=limits.bias.value,
        loa=(limits.lower.value, limits.upper.value),
    )


def _strata_rows(strata: tuple[Stratum, ...]) -> list[tuple[str, str, float, float, float, float, float]]:
    return [
        (stratum.column, group.name, group.bias.value, *group.bias.ci, group.mae.value, group.n_subjects)
        for stratum in strata
        for group in stratum.groups
    ]


def _comparison_figures(analysis: Analysis) -> dict[str, Figure]:
    comparison, compared = analysis.document.comparison, analysis.compared
    if compared is None or comparison is None or comparison.agreement is None or comparison.class_changes is None:
        return {}
    both = compared[(compared["status"] == "scored") & (compared["other_status"] == "scored")]
    return {
        "comparison_bland_altman": figures.bland_altman(
            both["other_score"].to_numpy(),
            both["score"].to_numpy(),
            against="mean",
            limits=_lines(comparison.agreement.limits),
            sides=("other table", "this table"),
            name="comparison",
        ),
        "class_changes": figures.class_changes(comparison.class_changes, LABELS),
    }


def _chosen(analysis: Analysis, show: tuple[str, ...]) -> list[str]:
    """Recordings asked for, then the worst and the most typical; without ratings those with the highest mean score."""
    names = list(map(str, analysis.segments["recording"].cat.categories))
    asked = match_names(show, names, "--show").names
    for name, known in asked.items():
        if known not in names:
            raise SettingsError(f"--show {name}: no such recording in the score tables", "write it as in the table")
    if analysis.pairs is not None:
        distance = (analysis.rated["score"] - analysis.rated["reference"]).abs()
        error = distance.groupby(analysis.rated["recording"], observed=True).mean().sort_values(ascending=False)
        middle = (error - error.median()).abs().sort_values(kind="stable")
        chosen = [*error.index[:_WORST], *middle.index[:_TYPICAL]]
    else:
        scored = analysis.segments[analysis.segments["status"] == "scored"]
        mean = scored.groupby("recording", observed=True)["score"].mean().sort_values(ascending=False, kind="stable")
        chosen = list(mean.index[:_UNRATED])
    return list(dict.fromkeys([*asked.values(), *(str(name) for name in chosen)]))


def _trajectory(analysis: Analysis, recording: str) -> Figure:
    part = analysis.segments[analysis.segments["recording"] == recording].sort_values("start_s")
    band = part["score_lo"].notna().any()
    ratings, events = analysis.inputs.ratings, analysis.inputs.events
    of_raters = []
    if ratings is not None:
        rows = ratings.rows[ratings.rows["recording"] == recording]
        ends = rows["end_s"].fillna(rows["start_s"] + analysis.document.settings.hold_s)
        of_raters = [
            figures.Rating(str(rater), float(start_s), float(end_s), float(value))
            for rater, start_s, end_s, value in zip(rows["rater"], rows["start_s"], ends, rows["value"], strict=True)
        ]
    marks = []
    if events is not None:
        of_recording = events.rows[events.rows["recording"] == recording].sort_values("time_s")
        marks = [
            (float(time_s), str(label))
            for time_s, label in zip(of_recording["time_s"], of_recording["label"], strict=True)
        ]
    track = figures.Track(
        part["start_s"].to_numpy(),
        part["end_s"].to_numpy(),
        part["score"].to_numpy(),
        part["score_lo"].to_numpy() if band else None,
        part["score_hi"].to_numpy() if band else None,
        part["reference"].to_numpy() if part["reference"].notna().any() else None,
    )
    return figures.trajectory(
        recording, track, ratings=of_raters, events=marks, cut_points=analysis.inputs.scores.cut_points
    )


def _lines(limits: Limits) -> figures.AgreementLines:
    return figures.AgreementLines(
        limits.bias.value,
        limits.bias.ci,
        limits.lower.value,
        limits.upper.value,
        limits.lower.ci,
        limits.upper.ci,
    )
