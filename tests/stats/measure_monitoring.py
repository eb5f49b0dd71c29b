"""Measures false alarms and delays of the control charts for docs/explanation/statistics.md.

`python -m tests.stats.measure_monitoring [sites]` simulates sites with five columns of which one is normal, one is
log-normal, one is a share near 1, one a share that is mostly 0, and one never varies. It takes about two minutes.
"""

from __future__ import annotations

import sys

import numpy as np

from tests.stats.test_control_charts import any_signal, charts, patients

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


if __name__ == "__main__":
    main()
