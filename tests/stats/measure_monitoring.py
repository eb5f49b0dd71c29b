"""Measures false alarms and delays of the control charts for docs/explanation/statistics.md.

`python -m tests.stats.measure_monitoring [sites]` simulates sites with five columns of which one is normal, one is
log-normal, one is a share near 1, one a share that is mostly 0, and one never varies. It takes under three
minutes of one core.
"""

from __future__ import annotations

import sys

import numpy as np

from avpenet_cli.stats.control_charts import control_charts, find_change
from avpenet_cli.stats.mean_difference import bounded_difference
from avpenet_cli.stats.patient_ranks import ALL, Column, Patients, periods_differ
from tests.stats.test_control_charts import BOUNDS, any_signal, charts, part, patients

EVERY = 52.0
N_WEEKS = 26
CHANGED_AT = 8
SHIFTS = {"normal, by 1 SD": (0, 1.0), "normal, by 2 SD": (0, 2.0), "share near 1, from 0.95 to 0.80": (2, -0.15)}


def main() -> None:
    """Print two tables."""
    n_sites = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    expected = 1 - (1 - 1 / EVERY) ** N_WEEKS
    print(f"sites with a false alarm within {N_WEEKS} weeks; stated: {100 * expected:.0f} %")
    for n_baseline, a_week in ((20, 1.0), (30, 3.0), (100, 6.0)):
        alarms = 0
        for seed in range(n_sites):
            rng = np.random.default_rng([seed, n_baseline])
            period = np.repeat(np.arange(N_WEEKS), rng.poisson(a_week, N_WEEKS))
            baseline, new = patients(n_baseline, rng), patients(len(period), rng)
            alarms += any_signal(charts(baseline, new, period, EVERY))
        share = alarms / n_sites
        error = 1.96 * np.sqrt(share * (1 - share) / n_sites)
        print(f"{n_baseline} baseline patients, {a_week:g} a week: {100 * share:.0f} +- {100 * error:.0f} %")
    _print_violations(n_sites // 3)
    print(f"weeks until the shifted column alarms, median (90th percentile) of {n_sites // 3} sites")
    for n_baseline, a_week in ((30, 3.0), (100, 6.0)):
        for name, (column, shift) in SHIFTS.items():
            delays: list[float] = []
            for seed in range(n_sites // 3):
                rng = np.random.default_rng([seed, n_baseline, column])
                period = np.repeat(np.arange(N_WEEKS), rng.poisson(a_week, N_WEEKS))
                new = patients(len(period), rng)
                new[period >= CHANGED_AT, column] += shift
                signal = charts(patients(n_baseline, rng), new, period, EVERY)[column].signal[CHANGED_AT:]
                delays.append(float(signal.argmax() + 1) if signal.any() else np.inf)
            middle, late = np.median(delays), np.quantile(delays, 0.9, method="higher")
            print(f"{n_baseline} baseline patients, {a_week:g} a week, {name}: {middle:g} ({late:g})")


def _print_violations(n_sites: int) -> None:
    """Print rates where patients are not independent, and how often the dates of a change hold."""
    n_baseline, a_week, weeks = 48, 6, 8
    for sd in (0.25, 0.5, 1.0):
        alarms = told = 0
        for seed in range(n_sites):
            rng = np.random.default_rng([seed, 1])
            of_baseline, period = (
                np.repeat(np.arange(weeks), n_baseline // weeks),
                np.repeat(np.arange(N_WEEKS), a_week),
            )
            baseline, new = patients(n_baseline, rng), patients(len(period), rng)
            baseline[:, 0] += rng.normal(0, sd, weeks)[of_baseline]
            new[:, 0] += rng.normal(0, sd, N_WEEKS)[period]
            # Bonferroni over the four columns that vary, as the monitor has it.
            told += periods_differ(part(baseline, of_baseline), 0) * 4 < 0.01
            alarms += any_signal(charts(baseline, new, period, EVERY))
        rates = f"{100 * alarms / n_sites:.0f} % with a false alarm, {100 * told / n_sites:.0f} % told"
        if alarms < n_sites:
            rates += f", as one in {1 / (1 - (1 - alarms / n_sites) ** (1 / N_WEEKS)):.0f} weeks"
        print(f"the normal column's weeks differ by {sd:g} SD: {rates}")
    alarms = 0
    for seed in range(n_sites):
        rng = np.random.default_rng([seed, 2])
        people = patients(60, rng)
        period = np.repeat(np.arange(N_WEEKS), rng.poisson(3.0, N_WEEKS))
        who = [rng.integers(0, 30, 60), rng.integers(0, 60, len(period))]
        values = [people[codes] + np.eye(5)[0] * rng.normal(0, 0.5, (len(codes), 1)) for codes in who]
        zeros = [np.zeros(len(codes), dtype=np.int64) for codes in who]
        baseline_rows = Patients(values[0], who[0], zeros[0], np.arange(60))
        column = Column(baseline_rows, Patients(values[1], who[1], zeros[1], period), {ALL: tuple(range(5))})
        alarms += any_signal(control_charts([column], BOUNDS, N_WEEKS, EVERY, runs=1000))
    print(f"30 patients return twice on average, half of the new ones among them: {100 * alarms / n_sites:.0f} %")
    _print_intervals(n_sites)


def _print_intervals(n_sites: int) -> None:
    """Print how often the intervals of a found change hold, of its date and of its size."""
    for shift in (0.0, 0.5, 1.0, 2.0):
        dates, sizes, sizes_held = [], [], []
        for seed in range(n_sites):
            rng = np.random.default_rng([seed, 3])
            period = np.repeat(np.arange(N_WEEKS), 3)
            new, baseline = patients(len(period), rng), patients(30, rng)
            new[period >= CHANGED_AT, 0] += shift
            change = find_change(charts(baseline, new, period, EVERY)[0])
            if change is None or change.until < CHANGED_AT or (shift and not change.rising):
                continue
            dates.append(change.earliest <= CHANGED_AT <= change.latest)
            after = new[(period >= change.period) & (period <= change.until), 0]
            difference = bounded_difference(after, baseline[:, 0], (-np.inf, np.inf))
            sizes.append(difference.value)
            sizes_held.append(difference.ci[0] <= shift <= difference.ci[1])
        of_date = f"date in {sum(dates)}, " if shift else ""
        size = f"size {np.mean(np.abs(sizes)):.2f} on average" if sizes else ""
        print(
            f"a change by {shift:g} SD, {len(dates)} found: intervals hold: {of_date}size in {sum(sizes_held)}; {size}"
        )


if __name__ == "__main__":
    main()
