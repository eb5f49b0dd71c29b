"""From an archive to the monitor's document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from avpenet_cli.errors import SettingsError
from avpenet_cli.monitoring.archive import Archive, Part
from avpenet_cli.monitoring.document import (
    MONITOR_VERSION,
    AccuracyRow,
    Chart,
    ChartPoint,
    MonitorDocument,
    MonitorFile,
    MonitorSettings,
    NotCharted,
    PartSummary,
)
from avpenet_cli.monitoring.findings import Charted, find_alarms
from avpenet_cli.monitoring.measures import INDEX, MEASURES
from avpenet_cli.monitoring.periods import FALSE_ALARM_EVERY, FEWEST_PERIODS, PLURALS, Kind, all_periods
from avpenet_cli.monitoring.units import Units, patients_by
from avpenet_cli.phrasing import plural
from avpenet_cli.report.document.review import Notice
from avpenet_cli.report.provenance import created_now, software
from avpenet_cli.report.strata import MINIMUM_SUBJECTS
from avpenet_cli.stats.control_charts import RUNS, WEIGHT, ChartResult, control_charts
from avpenet_cli.stats.estimate import Estimate, absent
from avpenet_cli.stats.mean_difference import paired_test
from avpenet_cli.stats.patient_ranks import ALL, FEWEST_PATIENTS, Column, Patients, is_known, n_patients, periods_differ
from avpenet_cli.study.score_tables import weights_identity

_UNSTABLE = 0.01
"""Of the test that the periods of the baseline are alike, after Bonferroni's correction."""
_NONE = "no value in the new scores"
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class MonitorOptions:
    """What the numbers depend on besides the tables.

    Attributes:
        false_alarm_every: periods until the first false alarm in any chart, on average; None: a year of weeks or
            months, or 20 batches.
        runs: of the simulation behind the limits.
        seed: of the simulation.
        command: that was given, for the page; without paths.
    """

    false_alarm_every: float | None = None
    runs: int = RUNS
    seed: int = 42
    command: str = ""


def analyse(archive: Archive, options: MonitorOptions) -> MonitorDocument:
    """Chart everything, and find what changed.

    Raises:
        SettingsError: the baseline has too few patients or periods; a false-alarm rate that cannot be kept.
    """
    _check_baseline(archive)
    every = options.false_alarm_every
    if every is None:
        every = float(FALSE_ALARM_EVERY[archive.kind])
    if not 2.0 <= every <= options.runs / 10:
        raise SettingsError(
            f"a false alarm every {every:g} {PLURALS[archive.kind]} cannot be kept with {options.runs} runs",
            f"give --false-alarm-every 2 to {options.runs / 10:g}, or more --runs",
        )
    charted = _charted(archive)
    columns, not_charted = _columns(charted)
    if not any(measures for column in columns for measures in column.measures.values()):
        raise SettingsError("nothing can be charted", "; ".join(item.reason for item in not_charted[:1]))
    results = control_charts(
        columns,
        [measure.bounds for measure in MEASURES],
        len(archive.periods),
        every,
        runs=options.runs,
        seed=options.seed,
    )
    differing = _differing_measures(archive, charted[0])
    return MonitorDocument(
        schema_version=MONITOR_VERSION,
        title="Monitoring of scores and recordings",
        created=created_now(),
        command=options.command,
        software=software(),
        notices=(*archive.notices, *_unstable(archive.kind, differing)),
        period=archive.kind,
        time_column=archive.time.column,
        settings=MonitorSettings(every, WEIGHT, options.runs, options.seed, FEWEST_PATIENTS),
        baseline=_summary(archive.baseline, archive.kind, (archive.weights,)),
        new=_summary(archive.new, archive.kind, tuple(dict.fromkeys(_marks(archive)))),
        false_alarms=_false_alarms(archive.kind, len(results), every, differing),
        alarms=find_alarms(archive, charted, results),
        charts=tuple(_chart(archive, charted[result.column], result) for result in results),
        not_charted=not_charted,
        accuracy=tuple(_accuracy(archive)),
        files=tuple(
            MonitorFile(file.name, content, file.sha256, file.rows, archive.scores_digests.get(file.sha256, ""))
            for file, content in archive.sources
        ),
    )


def _check_baseline(archive: Archive) -> None:
    segments = archive.baseline.segments
    patients = segments["subject"].nunique()
    if patients < FEWEST_PATIENTS:
        raise SettingsError(
            f"the baseline has {plural(patients, 'patient')}", f"charts need {FEWEST_PATIENTS} baseline patients"
        )
    known = segments.loc[segments["period"] != "", "period"].nunique()
    fewest = FEWEST_PERIODS[archive.kind]
    if 0 < known < fewest:
        raise SettingsError(
            f"the baseline covers {known} {archive.kind if known == 1 else PLURALS[archive.kind]}",
            f"charts need a baseline of {fewest} {PLURALS[archive.kind]}, which shows how much these differ anyway",
        )


def _differing_measures(archive: Archive, charted: Charted) -> tuple[str, ...] | None:
    """Labels of the measures in which the baseline's own periods differ by more than its patients explain; None where
    no measure has two periods of two patients to test."""
    baseline = charted.units.baseline
    # Those whose time is not known are no period; their name, being empty, is the first.
    timed = baseline.period >= int((archive.baseline.segments["period"] == "").any())
    baseline = Patients(baseline.values[timed], baseline.patient[timed], baseline.level[timed], baseline.period[timed])
    p = np.array([periods_differ(baseline, number) for number in range(len(MEASURES))])
    tested = np.isfinite(p)
    if not tested.any():
        return None
    return tuple(MEASURES[place].label for place in np.flatnonzero(tested) if p[place] * tested.sum() < _UNSTABLE)


def _unstable(kind: Kind, differing: Sequence[str] | None) -> Iterator[Notice]:
    if differing:
        text = (
            f"The baseline's own {PLURALS[kind]} differ by more than chance in: {', '.join(differing)}. There are more "
            "false alarms than stated; find out what changed, or choose another baseline."
        )
        yield Notice("warning", text)


def _false_alarms(kind: Kind, n_charts: int, every: float, differing: Sequence[str] | None) -> str:
    """The rate, what it supposes, and whether the baseline shows that it does not hold."""
    periods = PLURALS[kind]
    charts = f"any of the {n_charts} charts" if n_charts > 1 else "the only chart"
    rate = (
        f"If nothing has changed, and {periods} differ by no more than their patients explain, the first false alarm "
        f"in {charts} comes after {every:g} {periods} on average."
    )
    if differing is None:
        remark = (
            f"The baseline cannot show whether its own {periods} differ by more, so false alarms may be more frequent."
        )
    elif differing:
        remark = f"The baseline's own {periods} do differ by more, so false alarms are more frequent."
    else:
        remark = (
            f"The baseline's own {periods} do not clearly differ by more, but differences too small to be seen there "
            "can more than double the number of false alarms."
        )
    return f"{rate} {remark}"


def _charted(archive: Archive) -> list[Charted]:
    """One for each column with several levels; the first one's patients are also charted together.

    A column that divides the recordings as an earlier one does would double its charts.
    """
    segments = pd.concat([archive.baseline.segments, archive.new.segments])
    columns: list[str] = []
    for column in archive.columns:
        n = segments[column].nunique()
        same = [
            other
            for other in columns
            if n == segments[other].nunique() == len(segments[[column, other]].drop_duplicates())
        ]
        if n > 1 and not same:
            columns.append(column)
    return [Charted(column, patients_by(archive, column)) for column in columns] or [
        Charted("", patients_by(archive, None))
    ]


def _columns(charted: Sequence[Charted]) -> tuple[list[Column], tuple[NotCharted, ...]]:
    columns, reasons = [], []
    for number, item in enumerate(charted):
        units = item.units
        measures: dict[int, tuple[int, ...]] = {}
        if number == 0:
            measures[ALL], left_out = _measures(units, ALL, "all patients")
            reasons += left_out
        if item.column:
            for level in np.unique(units.new.level).tolist():
                where = f"{item.column} {units.levels[level]}"
                n = len(np.unique(units.baseline.patient[units.baseline.level == level]))
                if 0 < n < FEWEST_PATIENTS:
                    reason = f"{plural(n, 'baseline patient')}; a chart needs {FEWEST_PATIENTS}"
                    reasons.append(NotCharted("all measures", where, reason))
                    continue
                measures[level], left_out = _measures(units, level, where)
                reasons += left_out
        columns.append(Column(units.baseline, units.new, measures))
    return columns, tuple(reasons)


def _measures(units: Units, level: int, where: str) -> tuple[tuple[int, ...], list[NotCharted]]:
    reference = level if is_known(units.baseline, level) else ALL
    chosen, reasons = [], []
    rows = np.ones(len(units.new.level), dtype=np.bool_) if level == ALL else units.new.level == level
    for number, measure in enumerate(MEASURES):
        n = n_patients(units.baseline, reference, number)
        has_new = bool(np.isfinite(units.new.values[rows, number]).any())
        if n >= FEWEST_PATIENTS and has_new:
            chosen.append(number)
        elif n or has_new:
            reason = _NONE if n else "no value in the baseline"
            if 0 < n < FEWEST_PATIENTS:
                reason = f"{plural(n, 'baseline patient')} with a value; a chart needs {FEWEST_PATIENTS}"
            reasons.append(NotCharted(measure.label, where, reason))
    return tuple(chosen), reasons


def _chart(archive: Archive, charted: Charted, result: ChartResult) -> Chart:
    measure, units = MEASURES[result.measure], charted.units
    with_level = result.level != ALL
    known = is_known(units.baseline, result.level)
    baseline, new = units.baseline, units.new
    old = (baseline.level == result.level) if with_level and known else np.ones(len(baseline.level), dtype=np.bool_)
    values = baseline.values[old, result.measure]
    values = values[np.isfinite(values)]
    rows = new.level == result.level if with_level else np.ones(len(new.level), dtype=np.bool_)
    means = _period_means(new, rows, result.measure, len(archive.periods))
    signal = result.signal
    points = tuple(
        ChartPoint(
            period=period,
            patients=int(result.n[place]),
            mean=float(means[place]),
            statistic=float(result.statistic[place]),
            lower=float(result.lower[place]),
            upper=float(result.upper[place]),
            signal=bool(signal[place]),
        )
        for place, period in enumerate(archive.periods)
    )
    low, high = np.quantile(values, [0.05, 0.95])
    return Chart(
        measure=measure.name,
        label=measure.label,
        unit=measure.unit,
        column=charted.column if with_level else "",
        level=units.levels[result.level] if with_level else "",
        compared_with="level" if with_level and known else "all",
        baseline_patients=n_patients(baseline, result.level if known else ALL, result.measure),
        baseline_mean=float(values.mean()),
        baseline_low=float(low),
        baseline_high=float(high),
        signal=bool(signal.any()),
        points=points,
    )


def _period_means(new: Patients, rows: npt.NDArray[np.bool_], measure: int, n_periods: int) -> Floats:
    values = new.values[:, measure]
    known = rows & np.isfinite(values)
    sums = np.bincount(new.period[known], values[known], n_periods)
    n = np.bincount(new.period[known], minlength=n_periods)
    with np.errstate(invalid="ignore"):
        means: Floats = sums / n
    return means


def _marks(archive: Archive) -> Iterator[str]:
    present = set(archive.new.segments["weights"])
    for mark in (archive.weights, *archive.other_weights):
        if weights_identity(mark) in present:
            yield mark


def _summary(part: Part, kind: Kind, weights: tuple[str, ...]) -> PartSummary:
    segments = part.segments
    known = segments.loc[segments["period"] != "", "period"]
    present = all_periods(kind, known.unique()) or ("",)
    return PartSummary(
        patients=int(segments["subject"].nunique()),
        recordings=int(segments["recording"].nunique()),
        segments=len(segments),
        periods=int(known.nunique()),
        first=present[0],
        last=present[-1],
        weights=weights,
    )


def _accuracy(archive: Archive) -> Iterator[AccuracyRow]:
    for name, part in (("baseline", archive.baseline), ("new", archive.new)):
        for weights, segments in part.segments.groupby("weights", sort=True):
            means = segments.groupby("subject")[["bias", "calibrated_bias", "coverage"]].mean()
            bias, calibrated, coverage = (
                _mean(means[measure].dropna().to_numpy(), MEASURES[INDEX[measure]].bounds) for measure in means.columns
            )
            if bias.n:
                yield AccuracyRow(name, str(weights), bias.n, bias, calibrated, coverage)


def _mean(values: Floats, bounds: tuple[float, float]) -> Estimate:
    """Mean of patients with its t interval."""
    if len(values) < MINIMUM_SUBJECTS:
        return absent(f"{plural(len(values), 'patient')}; it takes {MINIMUM_SUBJECTS}", len(values))
    result = paired_test(values, np.zeros_like(values), 1).difference
    low, high = (float(np.clip(end, *bounds)) for end in result.ci)
    return Estimate(result.value, (low, high), len(values), result.reason)
