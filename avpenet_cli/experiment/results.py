"""What an experiment found: the content of experiment.json, its tables and its page, as frozen dataclasses.

`avpenet_cli.stats.estimate.to_json` turns them into JSON types: NaN becomes null. Scores, references and errors are
points of the 0-10 scale. Unless stated otherwise, a figure is of the test split's rated segments, and its interval is a
95 % interval by the bootstrap over subjects.

Seeds: every metric is computed for each seed, and the mean over seeds is reported. Its interval resamples subjects, the
same in all seeds, so that it covers the choice of subjects and not that of the seed; the spread between seeds stands
beside it. The scores of seeds are not averaged: that would be the error of an ensemble. Where two systems or two inputs
are compared, a segment's absolute error is averaged over seeds first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal

from avpenet_cli.experiment.descriptions import (
    AnalysisSettings,
    Choice,
    ClaimKind,
    DatasetSummary,
    PublishedFigure,
    SystemDescription,
    ViewDescription,
)
from avpenet_cli.report.document.groups import Measure
from avpenet_cli.report.document.review import Notice
from avpenet_cli.stats.classes import Counts
from avpenet_cli.stats.equivalence import Equivalence
from avpenet_cli.stats.estimate import Estimate
from avpenet_cli.stats.mean_difference import MeanDifference
from avpenet_cli.stats.seeds import SeedAverage

RESULTS_VERSION = 1
"""Version of experiment.json; raised with every change of the dataclasses in this module."""

ClaimVerdict = Literal["holds", "does not hold", "undecided", "not tested"]
SizeVerdict = Literal["compatible", "smaller", "larger", "not tested"]

ACROSS_GROUPS = "across groups"
"""Family of the pairs whose systems belong to different groups."""


@dataclass(frozen=True)
class SystemMetrics:
    """Agreement of a system's scores with the reference, mean over seeds.

    Attributes:
        n_segments: rated segments that every seed of the system scores.
        n_subjects: their subjects.
        n_missing: rated segments of the split that it does not score, such as those without a face.
        cut_points: low up to and including the first, moderate up to and including the second, high above; points.
        confusion: (3, 3) counts, rows the reference, columns the system, summed over seeds; low, moderate, high.
        mae: mean absolute error, points, all segments with equal weight.
        rmse: root mean square error, points.
        bias: mean over subjects of the mean score minus reference, points; interval by Student's t over subjects.
        pearson: correlation, -1 to 1.
        icc_a1: ICC(A,1), two-way, absolute agreement, single rating; Shrout and Fleiss's ICC(2,1).
        accuracy: share of segments in the same class, 0 to 1.
        macro_f1: mean F1 over the three classes, 0 to 1; not defined where a class occurs on neither side.
        kappa: Cohen's kappa, unweighted, -1 to 1.
        kappa_linear: with linear weights.
    """

    n_segments: int
    n_subjects: int
    n_missing: int
    cut_points: tuple[float, float]
    confusion: Counts
    mae: SeedAverage
    rmse: SeedAverage
    bias: SeedAverage
    pearson: SeedAverage
    icc_a1: SeedAverage
    accuracy: SeedAverage
    macro_f1: SeedAverage
    kappa: SeedAverage
    kappa_linear: SeedAverage

    def averages(self) -> Iterator[tuple[str, SeedAverage]]:
        """Name and value of each metric, in the order in which tables show them."""
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, SeedAverage):
                yield field.name, value


@dataclass(frozen=True)
class ValidationMetrics:
    """The figure by which systems are chosen, on the validation split.

    Attributes:
        n_segments: rated segments that every seed of the system scores.
        n_subjects: their subjects.
        n_missing: rated segments of the split that it does not score.
        mae: mean absolute error, points, all segments with equal weight.
    """

    n_segments: int
    n_subjects: int
    n_missing: int
    mae: SeedAverage


@dataclass(frozen=True)
class SystemResult:
    """One system on clean segments.

    Attributes:
        system: its description.
        test: on the test split.
        validation: on the validation split.
        published: the paper's figures for the corresponding system, on the paper's data; empty where it has none.
    """

    system: SystemDescription
    test: SystemMetrics
    validation: ValidationMetrics
    published: tuple[PublishedFigure, ...] = ()

    @property
    def published_mae(self) -> PublishedFigure | None:
        """The paper's MAE of the corresponding system."""
        return next((figure for figure in self.published if figure.metric == "mae"), None)


@dataclass(frozen=True)
class PairResult:
    """Two systems on the same segments: those that both score. Differences are first minus second: negative favours
    first.

    Attributes:
        family: the group whose pairs were tested together, with the reference system in each; or `across groups`.
        first: name.
        second: name.
        seeds: those that both were trained with; only these are compared.
        n_segments: compared.
        n_subjects: of these segments.
        mae_first: of the first on these segments, points, mean over seeds.
        mae_second: likewise of the second.
        mae_difference: points, all segments with equal weight.
        percent_change: difference over the second's MAE, per cent; -18 says that the first's error is 18 % smaller.
        test: paired t-test of the subjects' mean absolute errors, with Bonferroni's correction and Cohen's d. Its
            difference gives all subjects equal weight and therefore differs from `mae_difference`.
        p_holm: of that test, corrected by Holm's method within the family; NaN where not computable.
    """

    family: str
    first: str
    second: str
    seeds: tuple[int, ...]
    n_segments: int
    n_subjects: int
    mae_first: float
    mae_second: float
    mae_difference: Estimate
    percent_change: Estimate
    test: MeanDifference
    p_holm: float


@dataclass(frozen=True)
class GroupLevel:
    """One level of a column.

    Attributes:
        level: value of the column.
        n_segments: scored test segments of the level.
        n_subjects: their subjects.
        suppressed: too few segments or subjects to show its figures; the reason stands in them.
        mae: points, mean over seeds.
        bias: score minus reference, points; mean over subjects, interval by Student's t.
    """

    level: str
    n_segments: int
    n_subjects: int
    suppressed: bool
    mae: Estimate
    bias: Estimate


@dataclass(frozen=True)
class LevelComparison:
    """Two levels of a column: first minus second, points, of the subjects' means.

    Attributes:
        first: level.
        second: level.
        measure: mae or bias.
        design: unpaired: Welch's t-test, as the paper compares groups; paired: subjects with segments in both levels,
            for columns that vary within a subject.
        test: for a difference, Bonferroni-corrected for all comparisons of the column.
        equivalence: two one-sided tests beside it. That no difference was found does not show equality.
    """

    first: str
    second: str
    measure: Measure
    design: Literal["unpaired", "paired"]
    test: MeanDifference
    equivalence: Equivalence


@dataclass(frozen=True)
class GroupResult:
    """A system's error by the levels of one column.

    Attributes:
        system: name.
        column: of the table of subjects, or `intensity`: class of the reference.
        levels: in order; none where there are too many.
        comparisons: of every two levels that are not suppressed.
        note: why there are no levels or comparisons; else empty.
    """

    system: str
    column: str
    levels: tuple[GroupLevel, ...]
    comparisons: tuple[LevelComparison, ...]
    note: str = ""


@dataclass(frozen=True)
class ConditionResult:
    """A system under one view, against the same system on clean segments.

    Attributes:
        system: name.
        view: name of the view.
        n_segments: rated segments that are scored clean and under the view.
        n_subjects: their subjects.
        n_lost: rated segments that are scored clean, but not under the view, such as those whose face is no longer
            found.
        lost: their share of the rated segments that are scored clean, 0 to 1.
        mae: under the view, points; of the `n_segments`, so that read alone it hides what was lost.
        clean_mae: clean, of the same segments.
        change: mae minus clean_mae, paired by segment; positive is worse.
        change_percent: change over clean_mae, per cent.
        not_computable: why the view does not apply to the system; empty where it does.
    """

    system: str
    view: str
    n_segments: int
    n_subjects: int
    n_lost: int
    lost: Estimate
    mae: Estimate
    clean_mae: Estimate
    change: Estimate
    change_percent: Estimate
    not_computable: str = ""


@dataclass(frozen=True)
class SiteResult:
    """A system trained without one site, on all subjects of that site.

    Attributes:
        system: name.
        site: left out.
        n_segments: rated segments of the site that every seed scores.
        n_subjects: their subjects.
        mae: points, mean over seeds.
        bias: points; mean over subjects, interval by Student's t.
        n_shared: segments of the site that are also in the test split of the system trained on all sites.
        within_mae: of that system, trained on all sites, on the shared segments.
        difference: MAE without the site minus MAE with it, on the shared segments, paired; positive is worse.
    """

    system: str
    site: str
    n_segments: int
    n_subjects: int
    mae: SeedAverage
    bias: Estimate
    n_shared: int
    within_mae: Estimate
    difference: Estimate


@dataclass(frozen=True)
class SeedResult:
    """One seed of a system; figures on the test split, without intervals. NaN where not computable.

    Attributes:
        system: name.
        seed: of its training.
        n_segments: rated segments that it scores.
        validation_mae: on the validation split, points.
        mae: mean absolute error, points.
        rmse: root mean square error, points.
        bias: mean over subjects of score minus reference, points.
        pearson: correlation, -1 to 1.
        icc_a1: ICC(A,1).
        accuracy: share of segments in the same class, 0 to 1.
        macro_f1: mean F1 over the three classes, 0 to 1.
        kappa: Cohen's kappa, unweighted, -1 to 1.
        kappa_linear: with linear weights.
        reasons: by the name of each figure that is NaN.
    """

    system: str
    seed: int
    n_segments: int
    validation_mae: float
    mae: float
    rmse: float
    bias: float
    pearson: float
    icc_a1: float
    accuracy: float
    macro_f1: float
    kappa: float
    kappa_linear: float
    reasons: dict[str, str]


@dataclass(frozen=True)
class ClaimResult:
    """A claim about two systems, checked on these data by a rule that was fixed before.

    Attributes:
        name: short, unique.
        statement: the claim.
        origin: `paper`, or `this project` where the paper does not claim it.
        kind: better: the first's MAE is smaller; matches: the two MAEs are equal within a margin.
        first: the system of this experiment that stands for the first; empty where it has none.
        second: likewise for the second.
        paper_first: the paper's MAE of the first; None where it gives none.
        paper_second: likewise of the second.
        paper_percent: the first's MAE less the second's over the second's, per cent, in the paper.
        difference: MAE of first minus second on the same segments, points; negative favours the first.
        percent: the same over the second's MAE, per cent.
        verdict: by `rule`.
        size: whether the paper's per cent lies within the interval of `percent`: compatible; smaller or larger: the
            effect found here is.
        rule: how the verdict is reached, in words.
        reason: why it was not tested or cannot be decided; empty otherwise.
    """

    name: str
    statement: str
    origin: Literal["paper", "this project"]
    kind: ClaimKind
    first: str
    second: str
    paper_first: PublishedFigure | None
    paper_second: PublishedFigure | None
    paper_percent: float | None
    difference: Estimate
    percent: Estimate
    verdict: ClaimVerdict
    size: SizeVerdict
    rule: str
    reason: str = ""


@dataclass(frozen=True)
class ExperimentResult:
    """The content of experiment.json.

    Attributes:
        version: of this format.
        title: heading of the page.
        created: ISO 8601, UTC.
        command: repeats the experiment.
        software: name to version.
        dataset: what the systems were trained and tested on.
        settings: of the statistics.
        notices: what a reader must know first.
        choices: what was chosen on what; nothing is chosen by test figures.
        best_on_validation: name of the system with the least validation MAE; empty without one. A system whose input
            differs counts as well.
        views: descriptions, the clean one first.
        systems: in the order of the configuration, those that failed or were not run among them.
        pairs: every two systems with predictions.
        groups: by system and column.
        conditions: by system and view.
        sites: leave-one-site-out, by system and site.
        seeds: by system and seed.
        claims: checked on these data.
        published: the paper's figures, obtained on its own data.
    """

    version: int
    title: str
    created: str
    command: str
    software: dict[str, str]
    dataset: DatasetSummary
    settings: AnalysisSettings
    notices: tuple[Notice, ...]
    choices: tuple[Choice, ...]
    best_on_validation: str
    views: tuple[ViewDescription, ...]
    systems: tuple[SystemResult, ...]
    pairs: tuple[PairResult, ...]
    groups: tuple[GroupResult, ...]
    conditions: tuple[ConditionResult, ...]
    sites: tuple[SiteResult, ...]
    seeds: tuple[SeedResult, ...]
    claims: tuple[ClaimResult, ...]
    published: tuple[PublishedFigure, ...]

    @property
    def failed(self) -> tuple[SystemDescription, ...]:
        """Systems that failed to train, or of which a seed did."""
        return tuple(
            result.system
            for result in self.systems
            if result.system.status == "failed" or (result.system.status == "trained" and result.system.reason)
        )
