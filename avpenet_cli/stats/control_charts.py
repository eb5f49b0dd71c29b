"""Control charts of patients over time, with one false-alarm rate for all charts together.

Each chart is an exponentially weighted moving average (Roberts 1959, Technometrics 1:239; Lucas and Saccucci 1990,
Technometrics 32:1) of the normal scores of the patients' ranks within the baseline: quality columns are skewed and
bounded, and ranks need no distribution (Li, Tang and Ng 2010, J Qual Technol 42:209). Periods have different numbers of
patients, and the baseline is a sample, so that limits come from a simulation of what would be seen if nothing had
changed: of every run's own baseline and own new patients, drawn from the baseline's patients. In each period the limits
are such that a stated share of the runs without an alarm so far raises one in any chart (probability limits that follow
the number of patients: Shen, Zou, Jiang and Tsung 2013, Nav Res Logist 60:625). All measures of a drawn patient stay
together, which keeps the charts' dependence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avpenet_cli.stats.patient_ranks import Column, reference_rows, scores_against
from avpenet_cli.stats.unchanged_runs import UnchangedRuns

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

WEIGHT = 0.2
"""Of the newest period in the moving average: between slow and sudden changes, as usual (Lucas and Saccucci 1990)."""
RUNS = 4000
"""Of the simulation."""
INTERVAL = 7.35
"""Times at which the squared error is larger by no more than this are in the 95 % interval of a change (Hansen 2000,
Econometrica 68:575)."""


@dataclass(frozen=True, eq=False)
class ChartResult:
    """A chart over the periods; arrays are (periods,).

    Attributes:
        column: index of its column.
        measure: index of its measure.
        level: of the column, or `ALL`.
        n_baseline: rows of the baseline that it is compared with.
        n: patients in each period.
        mean_score: their mean normal score, NaN without any; 0 on average and of SD 1 if nothing has changed.
        statistic: the moving average, NaN before the first patient.
        lower, upper: its limits; NaN in a period without a patient.
    """

    column: int
    measure: int
    level: int
    n_baseline: int
    n: Integers
    mean_score: Floats
    statistic: Floats
    lower: Floats
    upper: Floats

    @property
    def signal(self) -> Mask:
        """(periods,) whether the moving average is beyond a limit."""
        with np.errstate(invalid="ignore"):
            return (self.statistic > self.upper) | (self.statistic < self.lower)


@dataclass(frozen=True)
class Change:
    """A change of a chart's level.

    Attributes:
        period: the first after it.
        earliest, latest: 95 % interval of that.
        until: the last period in which the chart was beyond a limit.
        rising: whether the level rose.
        gain: twice the log likelihood that the change adds.
    """

    period: int
    earliest: int
    latest: int
    until: int
    rising: bool
    gain: float


def control_charts(
    columns: Sequence[Column],
    bounds: Sequence[tuple[float, float]],
    n_periods: int,
    false_alarm_every: float,
    *,
    weight: float = WEIGHT,
    runs: int = RUNS,
    seed: int = 42,
) -> tuple[ChartResult, ...]:
    """Chart new patients against a baseline.

    Args:
        columns: each with its own grouping of the same patients.
        bounds: smallest and largest possible value of each measure.
        n_periods: number of periods, with and without patients.
        false_alarm_every: average number of periods until the first false alarm in any chart, over 1.
        weight: of the newest period, 0 to 1; patients count equally within it.
        runs: of the simulation.
        seed: of the simulation.

    Returns:
        The charts, in the order of the columns, their levels and measures.
    """
    rng = np.random.default_rng(seed)
    # A whole number of runs raises an alarm in each period.
    n_alarms = max(round(runs / false_alarm_every), 1)
    runs = round(n_alarms * false_alarm_every)
    simulated = [UnchangedRuns(column, bounds, runs, 1.0 - weight, rng) for column in columns]
    observed = [ObservedCharts(column, 1.0 - weight) for column in columns]
    n_charts = sum(len(item.charts) for item in simulated)
    limits = np.full((2, n_periods, n_charts), np.nan)
    rows = []
    for period in range(n_periods):
        rows.append([item.step(period) for item in observed])
        updated = np.concatenate([item.step(period) for item in simulated])
        if not updated.any():
            continue
        statistic = np.concatenate([item.statistic for item in simulated], axis=1)[:, updated]
        lower, upper, alarmed = _family_limits(statistic, n_alarms)
        limits[0, period, updated], limits[1, period, updated] = lower, upper
        # Runs with an alarm end; copies of others take their places, so that as many go on.
        survivors = np.flatnonzero(~alarmed)
        origin = np.arange(runs)
        origin[alarmed] = rng.choice(survivors, alarmed.sum())
        for item in simulated:
            item.take(origin)
    n, total, statistic = (
        np.concatenate([np.stack([step[column][part] for step in rows]) for column in range(len(columns))], axis=1)
        for part in range(3)
    )
    with np.errstate(invalid="ignore"):
        mean = total / n
    places = [(number, *chart) for number, item in enumerate(observed) for chart in item.charts]
    return tuple(
        ChartResult(
            number,
            measure,
            level,
            n_baseline,
            n[:, i].astype(np.int64),
            mean[:, i],
            statistic[:, i],
            limits[0, :, i],
            limits[1, :, i],
        )
        for i, (number, level, measure, n_baseline) in enumerate(places)
    )


def find_change(chart: ChartResult) -> Change | None:
    """When the level of a chart that signalled changed: the place that explains its scores best (Samuel, Pignatiello
    and Calvin 1998, Qual Eng 10:521), from the first period until the last that signalled; None without a signal."""
    signals = np.flatnonzero(chart.signal)
    if not signals.size:
        return None
    last = int(signals[-1])
    rising = bool(chart.statistic[last] > chart.upper[last])
    n = chart.n[: last + 1]
    total = np.where(n > 0, np.nan_to_num(chart.mean_score[: last + 1]) * n, 0.0)
    after, count = np.cumsum(total[::-1])[::-1], np.cumsum(n[::-1])[::-1]
    gain = np.where((count > 0) & ((after > 0) == rising) & (n > 0), after**2 / np.maximum(count, 1), 0.0)
    possible = np.flatnonzero(gain >= gain.max() - INTERVAL)
    return Change(int(gain.argmax()), int(possible[0]), int(possible[-1]), last, rising, float(gain.max()))


def _family_limits(statistic: Floats, n_alarms: int) -> tuple[Floats, Floats, Mask]:
    """Limits beyond which `n_alarms` of the runs are, in any chart on either side, and which runs these are.

    The charts share the rate evenly: a run's statistic is measured by the share of runs that are as far out on this
    side of this chart, extrapolated beyond the outermost runs by an exponential tail.

    Args:
        statistic: (runs, charts).

    Returns:
        (charts,) lower limits; (charts,) upper limits; (runs,) whether beyond one.
    """
    runs, charts = statistic.shape
    sides = np.concatenate([-statistic, statistic], axis=1)
    if n_alarms >= runs:
        return np.full(charts, np.nan), np.full(charts, np.nan), np.zeros(runs, dtype=np.bool_)
    tail = np.partition(sides, runs - n_alarms - 1, axis=0)[runs - n_alarms - 1 :]
    start = tail[0]
    # Where all of the tail is one value, everything beyond it is far out.
    spread = np.maximum((tail[1:] - start).mean(axis=0), 1e-9)
    depth = (sides - start) / spread
    deepest = depth.max(axis=1)
    limit = max(float(np.partition(deepest, runs - n_alarms - 1)[runs - n_alarms - 1]), 0.0)
    ends = start + limit * spread
    return -ends[:charts], ends[charts:], deepest > limit


class ObservedCharts:
    """The moving averages of the new patients.

    Args:
        column: the charts; `charts` has their level, measure and number of baseline rows.
        decay: of the weights from one period to the next.
    """

    def __init__(self, column: Column, decay: float) -> None:
        self._new, self._decay = column.new, decay
        self.charts: list[tuple[int, int, int]] = []
        scores: list[Floats] = []
        for level, measures in column.measures.items():
            chosen = reference_rows(column.baseline, level)
            for measure in measures:
                scores.append(scores_against(column.baseline, column.new, level, measure))
                n_baseline = int(np.isfinite(column.baseline.values[chosen, measure]).sum())
                self.charts.append((level, measure, n_baseline))
        self._scores = np.array(scores).reshape(len(self.charts), -1)
        self._total, self._count = np.zeros(len(self.charts)), np.zeros(len(self.charts))

    def step(self, period: int) -> tuple[Floats, Floats, Floats]:
        """Number of patients in this period, sum of their scores, and the moving average, each (charts,)."""
        scores = self._scores[:, np.flatnonzero(self._new.period == period)]
        n, total = np.isfinite(scores).sum(axis=1).astype(float), np.nansum(scores, axis=1)
        self._total = self._decay * self._total + total
        self._count = self._decay * self._count + n
        with np.errstate(invalid="ignore"):
            return n, total, self._total / self._count
