"""Alarms: what changed, by how much, since when and where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from avpenet_cli.monitoring.archive import Archive
from avpenet_cli.monitoring.document import Alarm, AlarmKind
from avpenet_cli.monitoring.measures import MEASURES, Measure
from avpenet_cli.monitoring.periods import all_periods, period_words
from avpenet_cli.monitoring.units import Units
from avpenet_cli.phrasing import plural
from avpenet_cli.stats.control_charts import Change, ChartResult, find_change
from avpenet_cli.stats.estimate import NAN, NO_INTERVAL, Estimate, absent
from avpenet_cli.stats.mean_difference import bounded_difference
from avpenet_cli.stats.patient_ranks import ALL, is_known, scores_against
from avpenet_cli.study.score_tables import weights_identity
from avpenet_cli.study.subjects import NOT_STATED

_CLEAR, _HINT, _APART = 2.576, 1.645, 1.960
"""Normal quantiles: a level changed (two-sided 1 %); the others might have (two-sided 10 %); they differ (5 %)."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Charted:
    """A column of the subjects whose levels are charted; its name is empty where there is none."""

    column: str
    units: Units


@dataclass(frozen=True)
class _Place:
    """Levels of a column that a change is confined to; none where it is not."""

    column: str = ""
    levels: tuple[str, ...] = ()


def find_alarms(archive: Archive, charted: Sequence[Charted], results: Sequence[ChartResult]) -> tuple[Alarm, ...]:
    """All alarms: other weights first, then new sites and devices, then drift in the order of its strength."""
    alarms = [*_other_weights(archive), *_new_levels(archive, charted)]
    drifts: list[tuple[float, Alarm]] = []
    for number_, measure in enumerate(MEASURES):
        signalled = [
            (change, chart)
            for chart in results
            if chart.measure == number_ and (change := find_change(chart)) is not None
        ]
        if signalled:
            change, chart = max(signalled, key=lambda item: item[0].gain)
            names = tuple(_chart_name(charted, item) for _, item in signalled)
            drifts.append((change.gain, _drift(archive, charted, measure, change, chart, names)))
    return (*alarms, *(alarm for _, alarm in sorted(drifts, key=lambda item: -item[0])))


def _chart_name(charted: Sequence[Charted], chart: ChartResult) -> str:
    item = charted[chart.column]
    return "all patients" if chart.level == ALL else f"{item.column} {item.units.levels[chart.level]}"


def _other_weights(archive: Archive) -> Iterator[Alarm]:
    segments = archive.new.segments
    for mark in archive.other_weights:
        periods = segments.loc[segments["weights"] == weights_identity(mark), "period"]
        if periods.empty:
            continue
        since, until = _ends(archive, periods)
        text = (
            f"Other weights: scores since {period_words(archive.kind, since)} come from {mark or 'weights not named'}, "
            f"those of the baseline from {archive.weights or 'weights not named'}. What depends on the weights is "
            "not compared with the baseline: compare the two with avpenet report --compare, then make a new baseline."
        )
        yield _named(archive, "other weights", text, since, until, "", ())


def _new_levels(archive: Archive, charted: Sequence[Charted]) -> Iterator[Alarm]:
    for item in charted:
        if not item.column:
            continue
        known = set(archive.baseline.segments[item.column])
        new = archive.new.segments
        for level in sorted(set(new[item.column]) - known - {NOT_STATED}):
            rows = new[new[item.column] == level]
            since, until = _ends(archive, rows["period"])
            text = (
                f"New {item.column}: {level} is not in the baseline. Its "
                f"{plural(rows['subject'].nunique(), 'patient')} since {period_words(archive.kind, since)} can only be "
                "compared with all baseline patients: check its scores against ratings before they are used."
            )
            yield _named(archive, "new level", text, since, until, item.column, (level,))


def _ends(archive: Archive, periods: pd.Series[str]) -> tuple[str, str]:
    """The first and the last of some periods."""
    present = all_periods(archive.kind, periods.unique())
    return present[0], present[-1]


def _named(
    archive: Archive, kind: AlarmKind, text: str, since: str, until: str, column: str, levels: tuple[str, ...]
) -> Alarm:
    return Alarm(
        kind=kind,
        measure="",
        text=text,
        since=since,
        since_earliest=since,
        since_latest=since,
        until=until,
        ongoing=until == archive.periods[-1],
        column=column,
        levels=levels,
        before=NAN,
        after=NAN,
        difference=absent("not a change of a measure"),
        unit="",
        charts=(),
    )


def _drift(
    archive: Archive,
    charted: Sequence[Charted],
    measure: Measure,
    change: Change,
    chart: ChartResult,
    names: tuple[str, ...],
) -> Alarm:
    place = _confined(charted, measure, change, chart)
    before, after = _values(charted, measure, change, place)
    difference = _difference(measure, before, after)
    periods = archive.periods
    until, last = periods[change.until], int(np.flatnonzero(chart.n)[-1])
    ongoing = change.until >= last
    unit = measure.unit
    several = _with_several_levels(charted, measure, change)
    text = _sentence(archive, measure, change, place, several, (before, after), difference, ongoing=ongoing)
    return Alarm(
        kind="drift",
        measure=measure.name,
        text=text,
        since=periods[change.period],
        since_earliest=periods[change.earliest],
        since_latest=periods[change.latest],
        until=until,
        ongoing=ongoing,
        column=place.column,
        levels=place.levels,
        before=float(before.mean()),
        after=float(after.mean()),
        difference=difference,
        unit=unit,
        charts=names,
    )


def _since(units: Units, change: Change) -> Mask:
    rows: Mask = (units.new.period >= change.period) & (units.new.period <= change.until)
    return rows


def _confined(charted: Sequence[Charted], measure: Measure, change: Change, chart: ChartResult) -> _Place:
    """The levels that changed, if the others together did not; few others that tell neither are not counted as such."""
    number_, sign = MEASURES.index(measure), 1.0 if change.rising else -1.0
    for column, item in enumerate(charted):
        units = item.units
        rows = _since(units, change)
        sums: dict[int, tuple[float, int]] = {}
        for level in np.unique(units.new.level[rows]).tolist():
            scores = sign * scores_against(units.baseline, units.new, level, number_)[rows]
            scores = scores[np.isfinite(scores)]
            if scores.size:
                sums[level] = (float(scores.sum()), scores.size)
        clear = {level for level, (total, n) in sums.items() if total >= _CLEAR * np.sqrt(n)}
        if not clear and column == chart.column and chart.level in sums:
            clear = {chart.level}
        others = [pair for level, pair in sums.items() if level not in clear]
        if clear and others:
            total, n = (sum(part) for part in zip(*others, strict=True))
            changed, n_changed = (
                sum(part) for part in zip(*(sums[level] for level in clear & sums.keys()), strict=True)
            )
            apart = changed / n_changed - total / n >= _APART * np.sqrt(1.0 / n + 1.0 / n_changed)
            if apart and total < _HINT * np.sqrt(n):
                return _Place(item.column, tuple(units.levels[level] for level in sorted(clear)))
    return _Place()


def _with_several_levels(charted: Sequence[Charted], measure: Measure, change: Change) -> list[str]:
    """Columns that have several levels among the patients with a value since the change."""
    columns = []
    for item in charted:
        rows = _since(item.units, change) & np.isfinite(item.units.new.values[:, MEASURES.index(measure)])
        if item.column and len(np.unique(item.units.new.level[rows])) > 1:
            columns.append(item.column)
    return columns


def _values(
    charted: Sequence[Charted], measure: Measure, change: Change, place: _Place
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Means of the baseline patients and of the new patients since the change, where it happened."""
    item = next((item for item in charted if item.column == place.column), charted[0])
    units = item.units
    levels = [units.levels.index(level) for level in place.levels]
    number_ = MEASURES.index(measure)
    new = _since(units, change)
    known = [level for level in levels if is_known(units.baseline, level)]
    old = np.isin(units.baseline.level, known) if known else np.ones(len(units.baseline.level), dtype=np.bool_)
    if levels:
        new &= np.isin(units.new.level, levels)
    return tuple(  # type: ignore[return-value]
        _by_patient(patients.patient[rows], patients.values[rows, number_])
        for patients, rows in ((units.baseline, old), (units.new, new))
    )


def _by_patient(patient: npt.NDArray[np.int64], values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    known = np.isfinite(values)
    _, code = np.unique(patient[known], return_inverse=True)
    sums, n = np.bincount(code, values[known]), np.bincount(code)
    means: npt.NDArray[np.float64] = sums / n
    return means


def _difference(measure: Measure, before: npt.NDArray[np.float64], after: npt.NDArray[np.float64]) -> Estimate:
    if after.size < 2:
        return Estimate(float(after.mean() - before.mean()), NO_INTERVAL, after.size, "one patient")
    return bounded_difference(after, before, measure.bounds)


def amount(
    measure: Measure, value: float, *, difference: bool = False, signed: bool = False, with_unit: bool = True
) -> str:
    """A value of a measure, or a difference between two, with its unit, in characters that every terminal has."""
    scale, unit, decimals = 1.0, measure.unit, 2 if measure.unit in ("points", "") else 1
    if measure.is_share:
        scale, unit, decimals = 100.0, "percentage points" if difference else "%", 1
    text = f"{scale * value:{'+' if signed else ''}z.{decimals}f}"
    return f"{text} {unit}" if unit and with_unit else text


def _sentence(
    archive: Archive,
    measure: Measure,
    change: Change,
    place: _Place,
    several: Sequence[str],
    values: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]],
    difference: Estimate,
    *,
    ongoing: bool,
) -> str:
    before, after = (float(item.mean()) for item in values)
    kind, periods = archive.kind, archive.periods
    since = period_words(kind, periods[change.period])
    between = ""
    if change.earliest != change.latest:
        between = f" (95 % interval {periods[change.earliest]} to {periods[change.latest]})"
    sign = 1.0 if change.rising else -1.0
    # Ranks may rise while the mean does not.
    as_ranks = np.sign(after - before) == sign
    if not as_ranks:
        sign = 1.0
    by = amount(measure, sign * difference.value, difference=True, signed=not as_ranks)
    interval = ""
    if difference.has_interval:
        low, high = (
            amount(measure, end, signed=not as_ranks, with_unit=False)
            for end in sorted(sign * end for end in difference.ci)
        )
        interval = f" (95 % interval {low} to {high})"
    from_to = f"from {amount(measure, before, with_unit=measure.is_share)} to {amount(measure, after)}"
    label = measure.label[0].upper() + measure.label[1:]
    if as_ranks:
        what = f"{label} {'rose' if change.rising else 'fell'} by {by}{interval}, {from_to}"
    else:
        ranks = "higher" if change.rising else "lower"
        what = f"{label} ranked {ranks} than in the baseline, though the mean went {from_to}, by {by}{interval}"
    where = ""
    if place.levels:
        where = f", only at {' and '.join(f'{place.column} {level}' for level in place.levels)}"
    elif several:
        where = f", not seen to be confined to one {' or '.join(several)}"
    still = "" if ongoing else f" It was last beyond its limits in {period_words(kind, periods[change.until])}."
    return f"{what}, since {since}{between}{where}; {plural(len(values[1]), 'patient')} since then.{still}"
