"""Which figures a report has, and what each is given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from avpenet_cli.errors import SettingsError
from avpenet_cli.report import figures
from avpenet_cli.report.analysis import Analysis
from avpenet_cli.report.figures import Figure
from avpenet_cli.stats.classes import LABELS
from avpenet_cli.stats.estimate import NAN, Interval

# Trajectories chosen by the program; those asked for come on top.
_WORST, _TYPICAL, _UNRATED = 4, 2, 6

_LOST = {
    "no_video": "lost: no video",
    "no_face": "lost: no face",
    "no_audio": "lost: no audio",
    "tail_too_short": "lost: end too short",
}


def draw(found: Analysis, show: tuple[str, ...]) -> tuple[dict[str, Figure], list[dict[str, str]]]:
    """All figures by name, and which recording each trajectory is of.

    Raises:
        SettingsError: a recording to show is not in the tables.
    """
    drawn = _of_everything(found)
    if found.pairs is not None:
        drawn |= _of_agreement(found)
    drawn |= _of_comparison(found)
    named = []
    for place, recording in enumerate(_chosen(found, show), start=1):
        name = f"trajectory-{place}"
        drawn[name] = _trajectory(found, recording)
        named.append({"recording": recording, "figure": name})
    return drawn, named


def _of_everything(found: Analysis) -> dict[str, Figure]:
    document, segments = found.document, found.segments
    seconds = document["coverage"]
    parts = [("scored", seconds["scored_s"])]
    parts += [(_LOST.get(reason, f"lost: {reason}"), lost_s) for reason, lost_s in seconds["unscorable_s"].items()]
    parts.append(("lost: not decodable", seconds["undecodable_s"]))
    scores = segments.loc[segments["status"] == "scored", "score"].to_numpy()
    reference = segments["reference"].dropna().to_numpy() if found.inputs.ratings else None
    drawn = {
        "balance": figures.balance([(name, lost_s) for name, lost_s in parts if lost_s > 0]),
        "distributions": figures.distributions(scores, reference),
    }
    if document["drift"]:
        drawn["drift"] = figures.drift(
            [
                (row["batch"], _nan(row["bias"]), *_ends(row["bias_ci"]), _nan(row["coverage_share"]), row["n_pairs"])
                for row in document["drift"]
            ]
        )
    return drawn


def _of_agreement(found: Analysis) -> dict[str, Figure]:
    document, pairs = found.document, found.pairs
    assert pairs is not None
    agreement, proportional = document["agreement"], document["agreement"]["proportional"]
    limits = _limits(agreement)
    curves = proportional["regression_limits"]
    shared: dict[str, Any] = {"limits": limits, "delta": document["settings"]["limit_points"]}
    line = (_nan(proportional["intercept"]), _nan(proportional["slope"]))
    means = _by_subject(found)
    calibration = document["calibration"]
    drawn = {
        "bland_altman_mean": figures.bland_altman(
            pairs.model,
            pairs.reference,
            against="mean",
            slope_line=line if np.isfinite(line).all() else None,
            regression_loa=tuple(curves[name] for name in ("b0", "b1", "c0", "c1")) if curves else None,
            **shared,
        ),
        "bland_altman_reference": figures.bland_altman(pairs.model, pairs.reference, against="reference", **shared),
        "scatter": figures.scatter(pairs.model, pairs.reference),
        "error_histogram": figures.error_histogram(pairs.difference),
        "qq": figures.qq(pairs.difference),
        "error_by_intensity": figures.error_by_intensity(
            [
                (f"{row['from']}-{row['to']}", _nan(row["mae"]), *_ends(row["mae_ci"]), row["bias"], row["n_pairs"])
                for row in document["error"]["by_intensity"]
            ]
        ),
        "confusion": figures.confusion(document["classes"]["confusion"], LABELS),
        "calibration": figures.calibration(
            [
                (row["mean_score"], _nan(row["mean_reference"]), *_ends(row["mean_reference_ci"]), row["n_pairs"])
                for row in calibration["bins"]
            ],
            intercept=_nan(calibration["intercept"]),
            slope=_nan(calibration["slope"]),
        ),
        "subject_strip": figures.subject_strip(
            [str(name) for name in means.index],
            means["mean"].to_numpy(),
            means["std"].to_numpy(),
            means["count"].to_numpy(),
            bias=limits.bias,
            loa=(limits.lower, limits.upper),
        ),
    }
    rows = [
        (
            one["column"],
            str(row["level"]),
            _nan(row["bias"]),
            *_ends(row["bias_ci"]),
            _nan(row["mae"]),
            row["n_subjects"],
        )
        for one in document["strata"]
        for row in one["levels"]
    ]
    if rows:
        drawn["strata"] = figures.strata(rows)
    return drawn


def _by_subject(found: Analysis) -> pd.DataFrame:
    d = found.rated["model"] - found.rated["reference"]
    return d.groupby(found.rated["subject"].astype(str)).agg(["mean", "std", "count"])


def _of_comparison(found: Analysis) -> dict[str, Figure]:
    section = found.document["comparison"]
    if found.compared is None or not section["agreement"]:
        return {}
    both = found.compared[(found.compared["status"] == "scored") & (found.compared["other_status"] == "scored")]
    return {
        "comparison_bland_altman": figures.bland_altman(
            both["other_score"].to_numpy(),
            both["score"].to_numpy(),
            against="mean",
            limits=_limits(section["agreement"]),
            sides=("other table", "this table"),
            name="comparison",
        ),
        "class_changes": figures.class_changes(section["class_changes"], LABELS),
    }


def _chosen(found: Analysis, show: tuple[str, ...]) -> list[str]:
    """Those asked for, then the worst and the typical ones; without ratings those with the highest mean score."""
    names = found.segments["recording"].cat.categories
    for name in show:
        if name not in names:
            raise SettingsError(f"--show {name}: no such recording in the score tables", "write it as the table does")
    if found.pairs is not None:
        distance = (found.rated["model"] - found.rated["reference"]).abs()
        error = distance.groupby(found.rated["recording"], observed=True).mean().sort_values(ascending=False)
        middle = (error - error.median()).abs().sort_values(kind="stable")
        chosen = [*error.index[:_WORST], *middle.index[:_TYPICAL]]
    else:
        scored = found.segments[found.segments["status"] == "scored"]
        mean = scored.groupby("recording", observed=True)["score"].mean().sort_values(ascending=False, kind="stable")
        chosen = list(mean.index[:_UNRATED])
    return list(dict.fromkeys([*show, *(str(name) for name in chosen)]))


def _trajectory(found: Analysis, recording: str) -> Figure:
    part = found.segments[found.segments["recording"] == recording].sort_values("start_s")
    band = part["score_lo"].notna().any()
    ratings, events = found.inputs.ratings, found.inputs.events
    given = []
    if ratings is not None:
        rows = ratings.rows[ratings.rows["recording"] == recording]
        ends = rows["end_s"].fillna(rows["start_s"] + found.document["settings"]["hold_s"])
        given = [
            figures.Rating(str(rater), float(start_s), float(end_s), float(value))
            for rater, start_s, end_s, value in zip(rows["rater"], rows["start_s"], ends, rows["value"], strict=True)
        ]
    marks = []
    if events is not None:
        of_this = events.rows[events.rows["recording"] == recording].sort_values("time_s")
        marks = [(float(time_s), str(label)) for time_s, label in zip(of_this["time_s"], of_this["label"], strict=True)]
    track = figures.Track(
        part["start_s"].to_numpy(),
        part["end_s"].to_numpy(),
        part["score"].to_numpy(),
        part["score_lo"].to_numpy() if band else None,
        part["score_hi"].to_numpy() if band else None,
        part["reference"].to_numpy() if part["reference"].notna().any() else None,
    )
    return figures.trajectory(recording, track, ratings=given, events=marks, cut_points=found.inputs.scores.cut_points)


def _limits(agreement: dict[str, Any]) -> figures.AgreementLines:
    return figures.AgreementLines(
        _nan(agreement["bias"]),
        _ends(agreement["bias_ci"]),
        _nan(agreement["loa_lower"]),
        _nan(agreement["loa_upper"]),
        _ends(agreement["loa_lower_ci"]),
        _ends(agreement["loa_upper_ci"]),
    )


def _nan(value: float | None) -> float:
    return NAN if value is None else value


def _ends(interval: list[float | None]) -> Interval:
    return _nan(interval[0]), _nan(interval[1])
