"""Model against reference, and one score table against another."""

from __future__ import annotations

from dataclasses import dataclass

from avpenet_cli.report.document.groups import Measure
from avpenet_cli.stats.accuracy import Accuracy, IntensityBin
from avpenet_cli.stats.agreement import Limits, PercentileLimits
from avpenet_cli.stats.calibration import CalibrationBin
from avpenet_cli.stats.classes import Counts
from avpenet_cli.stats.distribution import Shape
from avpenet_cli.stats.estimate import Estimate
from avpenet_cli.stats.mean_difference import MeanDifference
from avpenet_cli.stats.regression import Line, RegressionLimits


@dataclass(frozen=True)
class LimitsAtMean:
    """Limits of agreement that follow the trend, at one mean of score and reference; points."""

    mean: float
    lower: float
    upper: float


@dataclass(frozen=True)
class AgreementSection:
    """Bias and limits of agreement; differences are score minus reference, points.

    Attributes:
        limits: by the method that fits the data.
        naive: all pairs as if they were independent.
        percentiles: limits without an assumption about the distribution.
        proportional_bias: difference on the mean of both.
        heteroscedasticity: absolute residual of that line on the mean of both.
        regression_limits: limits that follow both lines; null where either is not computable.
        regression_limits_at: the same at means of 0, 2, ... 10 points.
        shape: of the distribution of the differences.
    """

    limits: Limits
    naive: Limits
    percentiles: PercentileLimits
    proportional_bias: Line
    heteroscedasticity: Line
    regression_limits: RegressionLimits | None
    regression_limits_at: tuple[LimitsAtMean, ...]
    shape: Shape


@dataclass(frozen=True)
class ErrorSection:
    """Size of the error.

    Attributes:
        n_pairs: all with equal weight.
        accuracy: errors and correlations.
        by_intensity: the error along the scale.
    """

    n_pairs: int
    accuracy: Accuracy
    by_intensity: tuple[IntensityBin, ...]


@dataclass(frozen=True)
class CalibrationSection:
    """Reference by score.

    Attributes:
        line: least squares of the reference on the score.
        bins: mean reference in bins of one point of the score.
    """

    line: Line
    bins: tuple[CalibrationBin, ...]


@dataclass(frozen=True)
class StatusChanges:
    """Numbers of segments with a score in both tables, in one of them, or in neither."""

    both_scored: int
    only_this: int
    only_other: int
    neither: int


@dataclass(frozen=True)
class BothCutPoints:
    """Upper ends of the classes low and moderate in each table, points."""

    this: tuple[float, float]
    other: tuple[float, float]


@dataclass(frozen=True)
class TableAgainstReference:
    """Agreement of one score table with the reference, points and ICC(A,1)."""

    bias: Estimate
    lower: Estimate
    upper: Estimate
    mae: Estimate
    rmse: Estimate
    icc_a1: Estimate


@dataclass(frozen=True)
class MeasureTest:
    """Paired t-test of the subjects' means of one measure: this table minus the other."""

    measure: Measure
    test: MeanDifference


@dataclass(frozen=True)
class AgainstReference:
    """Both score tables against the same ratings."""

    n_pairs: int
    this: TableAgainstReference
    other: TableAgainstReference
    tests: tuple[MeasureTest, ...]


@dataclass(frozen=True)
class ComparisonSection:
    """Two score tables of the same segments; differences are the other table minus this one, points.

    Attributes:
        other_files: of the other table.
        other_weights: that made the other table.
        status_changes: segments scored in both, one or neither.
        cut_points: each side is classified by its own.
        agreement: null where no segment has a score in both tables; so are the next two.
        error: size of the differences.
        class_changes: (3, 3) numbers of segments, rows the class in this table, columns in the other.
        against_reference: both tables against the ratings; null without ratings.
    """

    other_files: tuple[str, ...]
    other_weights: str
    status_changes: StatusChanges
    cut_points: BothCutPoints
    agreement: AgreementSection | None
    error: ErrorSection | None
    class_changes: Counts | None
    against_reference: AgainstReference | None
