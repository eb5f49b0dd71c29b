"""Two score tables of the same segments: what an upgrade of weights or software changed."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from avpenet_cli.errors import SettingsError
from avpenet_cli.report.document.agreement import (
    AgainstReference,
    BothCutPoints,
    ComparisonSection,
    MeasureTest,
    StatusChanges,
    TableAgainstReference,
)
from avpenet_cli.report.document.groups import Measure
from avpenet_cli.report.sections import agreement_section, error_section, pairs_of, reliability_section
from avpenet_cli.report.strata import subject_means
from avpenet_cli.stats.accuracy import accuracy
from avpenet_cli.stats.agreement import limits
from avpenet_cli.stats.bootstrap import Resampling
from avpenet_cli.stats.classes import class_of, count_classes
from avpenet_cli.stats.mean_difference import paired_test
from avpenet_cli.study.score_tables import Scores

_KEY = ["recording", "start_s", "end_s"]
_THIS, _OTHER = "the score tables", "the other"


@dataclass(frozen=True)
class ComparedTables:
    """Two score tables of the same segments.

    Attributes:
        segments: of this table, with `subject`, `reference` (NaN where none), `other_score` and `other_status`.
        this_cut_points: of this table's weights, points.
        other: the other table.
    """

    segments: pd.DataFrame
    this_cut_points: tuple[float, float]
    other: Scores


def align(segments: pd.DataFrame, other: Scores) -> pd.DataFrame:
    """`segments` with the columns `other_score` and `other_status`.

    Raises:
        SettingsError: the two do not describe the same segments.
    """
    left, right = _keyed(segments), _keyed(other.segments)
    for keyed, name in ((left, _THIS), (right, _OTHER)):
        if not keyed.is_unique:
            recording, start_s, _ = keyed[keyed.duplicated()][0]
            raise SettingsError(
                f"--compare: {name} has two segments of {recording} at {start_s:g} s", "give a table with one of them"
            )
    missing, extra = left.difference(right), right.difference(left)
    if len(missing) or len(extra):
        recording, start_s, _ = (missing if len(missing) else extra)[0]
        where = _THIS if len(missing) else _OTHER
        raise SettingsError(
            f"--compare: the tables do not describe the same segments: {len(missing)} only in {_THIS}, {len(extra)} "
            f"only in {_OTHER}, for example {recording} at {start_s:g} s only in {where}",
            "score the same recordings with the same stride",
        )
    columns = other.segments[["score", "status"]].iloc[right.get_indexer(left)]
    return segments.assign(other_score=columns["score"].to_numpy(), other_status=columns["status"].to_numpy())


def _keyed(segments: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_arrays(
        [segments["recording"].astype(str), segments["start_s"].round(3), segments["end_s"].round(3)], names=_KEY
    )


def comparison_section(tables: ComparedTables, resampling: Resampling, constant_truth: bool) -> ComparisonSection:
    """Agreement of the other table with this one, changes of class and status, and both against the ratings."""
    segments, other = tables.segments, tables.other
    this_scored, other_scored = segments["status"] == "scored", segments["other_status"] == "scored"
    both = segments[this_scored & other_scored]
    agreement = error = class_changes = against_reference = None
    if len(both):
        pairs = pairs_of(both, "other_score", "score")
        agreement = agreement_section(pairs, resampling, False)
        error = error_section(pairs, resampling)
        class_changes = count_classes(
            class_of(pairs.reference, tables.this_cut_points), class_of(pairs.model, other.cut_points)
        )
        rated = both[both["reference"].notna()]
        if len(rated):
            against_reference = _against_reference(rated, resampling, constant_truth)
    return ComparisonSection(
        other_files=tuple(source.name for source in other.sources),
        other_weights=other.weights,
        status_changes=StatusChanges(
            both_scored=int((this_scored & other_scored).sum()),
            only_this=int((this_scored & ~other_scored).sum()),
            only_other=int((~this_scored & other_scored).sum()),
            neither=int((~this_scored & ~other_scored).sum()),
        ),
        cut_points=BothCutPoints(tables.this_cut_points, other.cut_points),
        agreement=agreement,
        error=error,
        class_changes=class_changes,
        against_reference=against_reference,
    )


def _against_reference(rated: pd.DataFrame, resampling: Resampling, constant_truth: bool) -> AgainstReference:
    this, other = subject_means(rated), subject_means(rated, "other_score")
    measures: tuple[Measure, ...] = ("mae", "bias")
    return AgainstReference(
        n_pairs=len(rated),
        this=_table_against_reference(rated, "score", resampling, constant_truth),
        other=_table_against_reference(rated, "other_score", resampling, constant_truth),
        tests=tuple(
            MeasureTest(measure, paired_test(this[measure].to_numpy(), other[measure].to_numpy(), len(measures)))
            for measure in measures
        ),
    )


def _table_against_reference(
    rated: pd.DataFrame, model: str, resampling: Resampling, constant_truth: bool
) -> TableAgainstReference:
    pairs = pairs_of(rated, model)
    bootstrap = resampling.of(pairs.n_subjects)
    agreement, errors = limits(pairs, bootstrap, constant_truth), accuracy(pairs, bootstrap)
    icc_a1 = reliability_section(pairs, resampling).icc_a1
    return TableAgainstReference(agreement.bias, agreement.lower, agreement.upper, errors.mae, errors.rmse, icc_a1)
