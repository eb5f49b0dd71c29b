"""What monitor.json holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from avpenet_cli.report.document.review import Notice
from avpenet_cli.runs.history import HistoryHead
from avpenet_cli.stats.estimate import Estimate

MONITOR_VERSION = 1

AlarmKind = Literal["drift", "other weights", "new level"]
PeriodKind = Literal["week", "month", "batch"]


@dataclass(frozen=True)
class MonitorFile:
    """A file that was read.

    Attributes:
        name: without its folder.
        content: what it holds, in words.
        sha256: of its bytes, hexadecimal.
        rows: below the header.
        scores_digest: of a score table: SHA-256 over recording, times and score of every segment; else empty.
    """

    name: str
    content: str
    sha256: str
    rows: int
    scores_digest: str = ""


@dataclass(frozen=True)
class MonitorSettings:
    """What the numbers depend on besides the tables.

    Attributes:
        false_alarm_every: periods until the first false alarm in any chart, on average.
        weight: of the newest period in the moving averages.
        runs: of the simulation behind the limits.
        seed: of the simulation.
        fewest_patients: baseline patients that a chart needs.
    """

    false_alarm_every: float
    weight: float
    runs: int
    seed: int
    fewest_patients: int


@dataclass(frozen=True)
class PartSummary:
    """How much there is of the baseline, or of what came after it.

    Attributes:
        patients: number.
        recordings: number.
        segments: number.
        periods: with a recording.
        first: period; empty where it is not known.
        last: period; empty where it is not known.
        weights: as the score tables state them.
    """

    patients: int
    recordings: int
    segments: int
    periods: int
    first: str
    last: str
    weights: tuple[str, ...]


@dataclass(frozen=True)
class Alarm:
    """What changed, by how much, since when, and where.

    Attributes:
        kind: `drift`: a chart left its limits; `other weights`: new scores come from other weights than the baseline's;
            `new level`: a site or device that the baseline does not have.
        measure: name of the measure; empty unless it drifts.
        text: the alarm as a sentence.
        since: the first period after the change.
        since_earliest: start of the 95 % interval of that.
        since_latest: end of the 95 % interval of that.
        until: the last period in which a chart was beyond its limits.
        ongoing: whether that is the last period with patients.
        column: of the subjects by which `levels` are told apart; empty where the change is not confined to some.
        levels: sites or devices that it is confined to.
        before: mean of the baseline patients, in `unit`; shares 0 to 1.
        after: mean of the new patients since the change.
        difference: after minus before; `n` counts the new patients.
        unit: of the values.
        charts: that signalled, in words.
    """

    kind: AlarmKind
    measure: str
    text: str
    since: str
    since_earliest: str
    since_latest: str
    until: str
    ongoing: bool
    column: str
    levels: tuple[str, ...]
    before: float
    after: float
    difference: Estimate
    unit: str
    charts: tuple[str, ...]


@dataclass(frozen=True)
class ChartPoint:
    """A period of a chart.

    Attributes:
        period: week (its Monday), month or batch.
        patients: number with a value.
        mean: of their means, in the measure's unit; null without patients.
        statistic: moving average of the normal scores.
        lower: its lower limit; null in a period without patients.
        upper: its upper limit.
        signal: whether it is beyond a limit.
    """

    period: str
    patients: int
    mean: float
    statistic: float
    lower: float
    upper: float
    signal: bool


@dataclass(frozen=True)
class Chart:
    """A control chart.

    Attributes:
        measure: its name.
        label: of the measure, in words.
        unit: of the means; shares are 0 to 1.
        column: of the subjects; empty for the chart of all patients.
        level: of that column; empty for the chart of all patients.
        compared_with: `all` baseline patients, or those of the same `level`.
        baseline_patients: number.
        baseline_mean: of the patients' means.
        baseline_low: their 5th percentile.
        baseline_high: their 95th percentile.
        signal: whether it is beyond a limit in any period.
        points: one for each period.
    """

    measure: str
    label: str
    unit: str
    column: str
    level: str
    compared_with: Literal["all", "level"]
    baseline_patients: int
    baseline_mean: float
    baseline_low: float
    baseline_high: float
    signal: bool
    points: tuple[ChartPoint, ...]


@dataclass(frozen=True)
class NotCharted:
    """A measure without a chart.

    Attributes:
        measure: its label.
        where: all patients, or a level.
        reason: why not.
    """

    measure: str
    where: str
    reason: str


@dataclass(frozen=True)
class AccuracyRow:
    """How well scores agree with the ratings there are.

    Attributes:
        part: baseline or new.
        weights: of the scores.
        rated_patients: number.
        bias: mean of the patients' mean score minus rating, points.
        calibrated_bias: the same of the calibrated score.
        coverage: mean of the patients' share of ratings within the calibrated intervals, 0 to 1.
    """

    part: str
    weights: str
    rated_patients: int
    bias: Estimate
    calibrated_bias: Estimate
    coverage: Estimate


@dataclass(frozen=True)
class MonitorDocument:
    """A comparison of new scores with a baseline, as control charts over time.

    Attributes:
        schema_version: of this file.
        title: of the page.
        created: ISO 8601, UTC.
        command: that was given, without folders.
        software: versions by name.
        notices: what a reader must know before any number.
        period: what a period is.
        time_column: where the periods come from.
        settings: what the numbers depend on besides the tables.
        baseline: how much there is of it.
        new: how much there is of what came after it.
        false_alarms: the false-alarm rate, and what it supposes, in words.
        alarms: what changed.
        charts: all of them.
        not_charted: measures without a chart, with the reason.
        accuracy: against the ratings; empty without any.
        files: that were read.
        history: last line of the page's history before it was written; null where it had none.
    """

    schema_version: int
    title: str
    created: str
    command: str
    software: dict[str, str]
    notices: tuple[Notice, ...]
    period: PeriodKind
    time_column: str
    settings: MonitorSettings
    baseline: PartSummary
    new: PartSummary
    false_alarms: str
    alarms: tuple[Alarm, ...]
    charts: tuple[Chart, ...]
    not_charted: tuple[NotCharted, ...]
    accuracy: tuple[AccuracyRow, ...]
    files: tuple[MonitorFile, ...]
    history: HistoryHead | None = None
