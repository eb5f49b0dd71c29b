"""A system's error by groups: age, site, sex, skin tone, intensity, and every column given."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from avpenet_cli.experiment.descriptions import AnalysisSettings
from avpenet_cli.experiment.results import GroupLevel, GroupResult, LevelComparison
from avpenet_cli.experiment.scores import Bootstraps, Mask, RatedSegments, Scores, subject_codes
from avpenet_cli.report.document.groups import Measure
from avpenet_cli.stats.accuracy import mean_absolute_error
from avpenet_cli.stats.classes import LABELS, class_of
from avpenet_cli.stats.equivalence import equivalence
from avpenet_cli.stats.estimate import Estimate, absent
from avpenet_cli.stats.mean_difference import MeanDifference, paired_test, welch_test
from avpenet_cli.stats.pairs import Array, Pairs

INTENSITY = "intensity"
"""Name of the grouping by the class of the reference; a column of this name in the store is left out."""
MINIMUM_SEGMENTS = 10
MINIMUM_SUBJECTS = 2
"""Figures of smaller groups are not shown."""
_MOST_LEVELS = 30
_MEASURES: tuple[Measure, ...] = ("mae", "bias")
_Means = dict[str, dict[str, float]]


def group_results(
    system: str,
    scores: Scores,
    segments: RatedSegments,
    columns: Sequence[str],
    settings: AnalysisSettings,
    bootstraps: Bootstraps,
) -> tuple[GroupResult, ...]:
    """Errors of a system by the levels of every column and by intensity, on the test split.

    Args:
        system: name.
        scores: of the test split, clean.
        columns: of the store's index.
    """
    use = scores.scored & segments.in_split("test")
    results = []
    for column in columns:
        if column != INTENSITY:
            level = segments.table[column].astype(str).to_numpy(dtype=object)
            names = sorted(set(level), key=_natural_order)
            results.append(_by_column(system, column, level, names, use, scores, segments, settings, bootstraps))
    names = _intensity_names(settings.cut_points)
    level = np.array(names, dtype=object)[class_of(segments.reference, settings.cut_points)]
    results.append(_by_column(system, INTENSITY, level, names, use, scores, segments, settings, bootstraps))
    return tuple(results)


def _natural_order(text: str) -> list[tuple[int, int, str]]:
    """Sort key that puts group 10 after group 9."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"([0-9]+)", text) if part]


def _intensity_names(cut_points: tuple[float, float]) -> list[str]:
    low, high = cut_points
    return [f"{LABELS[0]} (to {low:g})", f"{LABELS[1]} (to {high:g})", f"{LABELS[2]} (above {high:g})"]


def _by_column(
    system: str,
    column: str,
    level: NDArray[np.object_],
    names: Sequence[str],
    use: Mask,
    scores: Scores,
    segments: RatedSegments,
    settings: AnalysisSettings,
    bootstraps: Bootstraps,
) -> GroupResult:
    if len(names) > _MOST_LEVELS:
        return GroupResult(system, column, (), (), f"{len(names)} levels: too many to show")
    levels, means = [], {}
    for name in names:
        chosen = use & (level == name)
        subjects = segments.subject[chosen]
        levels.append(_level(name, scores.error[chosen], scores.difference[chosen], subjects, bootstraps))
        if not levels[-1].suppressed:
            values = {"mae": scores.error[chosen], "bias": scores.difference[chosen]}
            means[name] = {measure: _subject_means(value, subjects) for measure, value in values.items()}
    alone = sum(0 < level.n_subjects < MINIMUM_SUBJECTS for level in levels)
    if column != INTENSITY and 2 * alone > len(levels) and len(levels) > 2:
        return GroupResult(system, column, (), (), "most levels have one subject: their names are not shown")
    if len(means) < 2:
        note = "only one level" if len(names) < 2 else "no two levels with enough segments and subjects to compare"
        return GroupResult(system, column, tuple(levels), (), note)
    couples = list(combinations(means, 2))
    comparisons = [
        _compare_levels(first, second, measure, means, len(couples) * len(_MEASURES), settings.margin_points)
        for first, second in couples
        for measure in _MEASURES
    ]
    return GroupResult(system, column, tuple(levels), tuple(comparisons))


def _level(
    name: str, error: Array, difference: Array, subject: NDArray[np.object_], bootstraps: Bootstraps
) -> GroupLevel:
    codes, n_subjects = subject_codes(subject)
    few = _too_few(len(error), n_subjects)
    if few:
        missing = absent(few, len(error))
        return GroupLevel(name, len(error), n_subjects, True, missing, missing)
    pairs = Pairs(error, np.zeros_like(error), codes, n_subjects)
    mae = mean_absolute_error(pairs, bootstraps.of(n_subjects))
    return GroupLevel(name, len(error), n_subjects, False, mae, subject_mean(difference, codes, n_subjects))


def _too_few(n_segments: int, n_subjects: int) -> str:
    if not n_segments:
        return "no scored segment in the test split"
    if n_segments < MINIMUM_SEGMENTS:
        return f"fewer than {MINIMUM_SEGMENTS} segments"
    return "one subject: its segments say nothing about other subjects" if n_subjects < MINIMUM_SUBJECTS else ""


def subject_mean(values: Array, codes: NDArray[np.int64], n_subjects: int) -> Estimate:
    """Mean over subjects of their mean value; interval by Student's t over subjects.

    Args:
        values: (n,).
        codes: (n,) from 0 to n_subjects - 1.
    """
    if not len(values):
        return absent("no segments")
    means = np.bincount(codes, values, n_subjects) / np.bincount(codes, minlength=n_subjects)
    result = paired_test(means, np.zeros_like(means), 1).difference
    return Estimate(result.value, result.ci, len(values), result.reason)


def _subject_means(values: Array, subject: NDArray[np.object_]) -> dict[str, float]:
    codes, n_subjects = subject_codes(subject)
    means = np.bincount(codes, values, n_subjects) / np.bincount(codes, minlength=n_subjects)
    return dict(zip(sorted(set(subject.tolist())), means.tolist(), strict=True))


def _compare_levels(
    first: str,
    second: str,
    measure: Measure,
    means: dict[str, _Means],
    n_comparisons: int,
    margin_points: float,
) -> LevelComparison:
    one, other = means[first][measure], means[second][measure]
    shared = sorted(set(one) & set(other))
    # A few subjects in both levels, such as of a column that changed once, are no reason to leave out all others.
    is_paired = 2 * len(shared) >= min(len(one), len(other))
    test: MeanDifference
    if is_paired:
        test = paired_test(
            np.array([one[name] for name in shared]), np.array([other[name] for name in shared]), n_comparisons
        )
    else:
        test = welch_test(np.array(list(one.values())), np.array(list(other.values())), n_comparisons)
    design: Literal["unpaired", "paired"] = "paired" if is_paired else "unpaired"
    return LevelComparison(first, second, measure, design, test, equivalence(test, margin_points))
