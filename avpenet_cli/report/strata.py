"""Groups side by side: age, site, sex, quality, batches; compared with the subject as the unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import pandas as pd

from avpenet_cli.report.document.groups import Group, GroupComparison, Measure, Stratum
from avpenet_cli.report.sections import pairs_of
from avpenet_cli.stats.accuracy import mean_absolute_error
from avpenet_cli.stats.agreement import limits
from avpenet_cli.stats.bootstrap import Resampling
from avpenet_cli.stats.error_gap import ErrorGap, error_gap
from avpenet_cli.stats.estimate import absent
from avpenet_cli.stats.mean_difference import welch_test

MINIMUM_SUBJECTS = 10
"""Bias and error of fewer subjects are not shown."""
# A column of names or dates would give a table of hundreds of rows.
_MOST_LEVELS = 30


@dataclass(frozen=True)
class Levels:
    """The groups that one column forms.

    Attributes:
        of_pairs: level of each pair.
        of_recordings: level of each recording; None for a property of segments. A level without a pair, whose
            recordings all failed, keeps its row.
    """

    of_pairs: pd.Series[str]
    of_recordings: pd.Series[str] | None = None


def strata(
    rated: pd.DataFrame, columns: Mapping[str, Levels], seconds: pd.DataFrame, resampling: Resampling
) -> tuple[Stratum, ...]:
    """Bias and MAE in every level of every column, and comparisons of the levels.

    Args:
        rated: one row per pair: subject, recording, score, reference.
        columns: groups by name of the column.
        seconds: index recording; nominal_s, scored_s; for the share of seconds with a score.
        resampling: for the intervals.
    """
    return tuple(_stratum(column, levels, rated, seconds, resampling) for column, levels in columns.items())


def _stratum(
    column: str, levels: Levels, rated: pd.DataFrame, seconds: pd.DataFrame, resampling: Resampling
) -> Stratum:
    of_recordings = levels.of_recordings
    names = {*levels.of_pairs.unique(), *(() if of_recordings is None else of_recordings.unique())}
    if len(names) > _MOST_LEVELS:
        return Stratum(column, (), (), f"{len(names)} levels: too many", ())
    parts = {str(name): rated[(levels.of_pairs == name).to_numpy()] for name in sorted(names, key=str)}
    groups = []
    for name, part in parts.items():
        chosen = None if of_recordings is None else seconds[(of_recordings == name).to_numpy()]
        groups.append(group(name, part, share_scored(chosen), resampling))
    comparisons, note = _comparisons(parts)
    gaps = _gaps(groups, rated, levels.of_pairs, resampling)
    return Stratum(column, tuple(groups), comparisons, note, gaps)


def _gaps(
    groups: list[Group], rated: pd.DataFrame, level_of_pairs: pd.Series[str], resampling: Resampling
) -> tuple[ErrorGap, ...]:
    shown = [row for row in groups if not row.suppressed]
    if len(shown) < 2:
        return ()
    largest = max(shown, key=lambda row: row.n_subjects).name
    pairs, level = pairs_of(rated), level_of_pairs.astype(str).to_numpy()
    gaps = []
    for row in shown:
        if row.name != largest:
            bias, mae = error_gap(pairs, level == row.name, level == largest, resampling)
            gaps.append(ErrorGap(row.name, largest, bias, mae))
    return tuple(gaps)


def share_scored(seconds: pd.DataFrame | None) -> float | None:
    """Share of the recorded seconds with a score, 0 to 1; None where no seconds are known."""
    nominal_s = 0.0 if seconds is None else float(seconds["nominal_s"].sum())
    return float(seconds["scored_s"].sum()) / nominal_s if seconds is not None and nominal_s else None


def group(name: str, rated: pd.DataFrame, coverage_share: float | None, resampling: Resampling) -> Group:
    """Bias and MAE of some pairs; suppressed with fewer than ten subjects."""
    n_subjects = int(rated["subject"].nunique())
    suppressed = n_subjects < MINIMUM_SUBJECTS
    if suppressed:
        bias = mae = absent(f"fewer than {MINIMUM_SUBJECTS} subjects", len(rated))
    else:
        pairs = pairs_of(rated)
        bias, mae = limits(pairs, None).bias, mean_absolute_error(pairs, resampling.of(pairs.n_subjects))
    n_recordings = int(rated["recording"].nunique())
    return Group(name, n_subjects, n_recordings, len(rated), coverage_share, suppressed, bias, mae)


def subject_means(rated: pd.DataFrame, model: str = "score") -> pd.DataFrame:
    """Index subject; mean bias and absolute error of each, points."""
    difference = rated[model] - rated["reference"]
    columns = pd.DataFrame({"subject": rated["subject"], "bias": difference, "mae": difference.abs()})
    return columns.groupby("subject", sort=True)[["bias", "mae"]].mean()


def _comparisons(parts: dict[str, pd.DataFrame]) -> tuple[tuple[GroupComparison, ...], str]:
    means = {name: subject_means(part) for name, part in parts.items()}
    enough = [name for name, table in means.items() if len(table) >= MINIMUM_SUBJECTS]
    if len(enough) < 2:
        return (), f"no two groups of {MINIMUM_SUBJECTS} subjects to compare"
    subjects = [subject for table in means.values() for subject in table.index]
    if len(subjects) > len(set(subjects)):
        return (), "not compared: the same subjects are in several groups, which an unpaired test does not allow"
    couples = list(combinations(enough, 2))
    measures: tuple[Measure, ...] = ("bias", "mae")
    return tuple(
        GroupComparison(
            first,
            second,
            measure,
            welch_test(
                means[first][measure].to_numpy(), means[second][measure].to_numpy(), len(measures) * len(couples)
            ),
        )
        for first, second in couples
        for measure in measures
    ), ""
