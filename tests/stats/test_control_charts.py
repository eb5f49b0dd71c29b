"""Control charts against published run lengths, and their false-alarm rate and delay on skewed columns."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from avpenet_cli.stats.control_charts import WEIGHT, ChartResult, ObservedCharts, control_charts, find_change
from avpenet_cli.stats.patient_ranks import ALL, Column, Patients

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

BOUNDS = ((-np.inf, np.inf), (0.0, np.inf), (0.0, 1.0), (0.0, 1.0), (0.0, 1.0))
"""Of the columns of `patients`."""


def patients(n: int, rng: np.random.Generator) -> Floats:
    """(n, 5) a normal column, one that is skewed and correlated with it, a share near 1, one that is mostly 0, and one
    that never is anything else."""
    normal = rng.normal(size=n)
    skewed = np.exp(1.2 * (0.6 * normal + 0.8 * rng.normal(size=n)))
    rare = np.where(rng.random(n) < 0.85, 0.0, rng.beta(1, 8, n))
    return np.stack([normal, skewed, rng.beta(20, 1, n), rare, np.zeros(n)], axis=1)


def part(values: Floats, period: Integers | int = 0, first: int = 0, level: Integers | int = 0) -> Patients:
    n = len(values)
    codes = [np.broadcast_to(np.asarray(item, dtype=np.int64), n) for item in (level, period)]
    return Patients(values, first + np.arange(n), codes[0], codes[1])


def charts(baseline: Floats, new: Floats, period: Integers, every: float, runs: int = 1000) -> tuple[ChartResult, ...]:
    column = Column(part(baseline), part(new, period, len(baseline)), {ALL: tuple(range(baseline.shape[1]))})
    return control_charts([column], BOUNDS, int(period.max(initial=0)) + 1, every, runs=runs)


def any_signal(results: tuple[ChartResult, ...]) -> bool:
    return any(chart.signal.any() for chart in results)


@pytest.mark.parametrize(("shift", "published"), [(0.0, 500.0), (0.5, 41.8), (1.0, 10.5), (2.0, 3.7)])
def test_the_moving_average_has_the_run_lengths_of_lucas_and_saccucci(shift: float, published: float) -> None:
    # Technometrics 32:1, table 3: lambda 0.2, L 2.962. Each measure is a run, with one patient in each period; in so
    # large a baseline, normal scores are the values themselves.
    n_runs, n_periods = 400, 2500 if shift == 0 else 400
    rng = np.random.default_rng(3)
    baseline = np.broadcast_to(rng.normal(size=(20_000, 1)), (20_000, n_runs))
    new = rng.normal(shift, size=(n_periods, n_runs))
    observed = ObservedCharts(
        Column(part(baseline), part(new, np.arange(n_periods)), {ALL: tuple(range(n_runs))}), 1.0 - WEIGHT
    )
    statistic = np.array([observed.step(period)[2] for period in range(n_periods)])
    # The published chart starts at 0, ours without a first value.
    statistic *= (1.0 - (1.0 - WEIGHT) ** np.arange(1, n_periods + 1))[:, None]
    beyond = np.abs(statistic) > 2.962 * np.sqrt(WEIGHT / (2.0 - WEIGHT))
    lengths = np.where(beyond.any(axis=0), beyond.argmax(axis=0) + 1.0, float(n_periods))
    assert abs(lengths.mean() - published) < 3 * lengths.std() / np.sqrt(n_runs) + 0.02 * published


def test_simulated_limits_come_to_the_published_ones() -> None:
    rng = np.random.default_rng(1)
    results = charts(rng.normal(size=(5000, 1)), rng.normal(size=(40, 1)), np.arange(40), 500.0, runs=40_000)
    decay = (1.0 - WEIGHT) ** np.arange(1, 41)
    sd = np.sqrt(WEIGHT / (2.0 - WEIGHT) * (1.0 - decay**2)) / (1.0 - decay)
    assert np.mean(results[0].upper[20:] / sd[20:]) == pytest.approx(2.962, abs=0.06)
    assert np.mean(results[0].lower[20:] / sd[20:]) == pytest.approx(-2.962, abs=0.06)


@pytest.mark.slow
@pytest.mark.parametrize(("n_baseline", "a_week"), [(25, 2.0), (100, 6.0)])
def test_the_false_alarm_rate_holds_for_skewed_columns_and_few_patients(n_baseline: int, a_week: float) -> None:
    every, n_weeks, n_sites = 20.0, 16, 80
    alarms = 0
    for seed in range(n_sites):
        rng = np.random.default_rng([seed, n_baseline])
        period = np.repeat(np.arange(n_weeks), rng.poisson(a_week, n_weeks))
        baseline, new = patients(n_baseline, rng), patients(len(period), rng)
        alarms += any_signal(charts(baseline, new, period, every, runs=600))
    expected = 1.0 - (1.0 - 1.0 / every) ** n_weeks
    assert alarms / n_sites < expected + 3 * np.sqrt(expected * (1 - expected) / n_sites)
    # Charts that never alarm would keep the rate, too. Where most weeks change nothing in a column, there are fewer.
    assert alarms / n_sites > expected / 2


def test_a_shift_is_found_within_weeks_and_placed() -> None:
    delays, places = [], []
    for seed in range(12):
        rng = np.random.default_rng([7, seed])
        period = np.repeat(np.arange(20), 3)
        new = patients(60, rng)
        new[period >= 10, 2] -= 0.15
        share = charts(patients(40, rng), new, period, 52.0)[2]
        found = np.flatnonzero(share.signal[10:])
        delays.append(int(found[0]) if found.size else 99)
        change = find_change(share)
        places.append(change is not None and change.earliest <= 10 <= change.latest and not change.rising)
    assert np.median(delays) <= 2
    assert max(delays) <= 6
    assert sum(places) >= 9


def test_a_measure_that_never_varied_alarms_only_after_several_patients() -> None:
    baseline = np.zeros((40, 1))
    period = np.repeat(np.arange(12), 4)
    single = np.zeros((48, 1))
    single[20] = 1.0
    bounds = [(0.0, 1.0)]
    results = [
        control_charts([Column(part(baseline), part(new, period, 40), {ALL: (0,)})], bounds, 12, 52.0, runs=1000)[0]
        for new in (single, np.where(period[:, None] >= 6, 1.0, 0.0))
    ]
    assert not results[0].signal.any()
    assert results[1].signal[7]


def test_more_patients_of_a_different_site_are_no_change() -> None:
    rng = np.random.default_rng(5)
    level = np.arange(60) % 2
    old = part(rng.normal(size=(60, 1)) + 4.0 * level[:, None], level=level)
    period = np.repeat(np.arange(15), 4)
    new = part(rng.normal(size=(60, 1)) + 4.0, period, 60, level=1)
    by_site, together = (
        control_charts([Column(first, second, {ALL: (0,)})], BOUNDS, 15, 52.0, runs=1000)[0]
        for first, second in ((old, new), (part(old.values), part(new.values, period, 60)))
    )
    assert not by_site.signal.any()
    assert together.signal.any()


def test_a_patient_who_comes_back_every_week_is_one_patient() -> None:
    rng = np.random.default_rng(2)
    baseline = rng.normal(size=(60, 1))
    values = np.full((10, 1), 1.2)
    period = np.arange(10)
    same = Patients(values, np.full(10, 1000), np.zeros(10, dtype=np.int64), period)
    one, several = (
        control_charts([Column(part(baseline), new, {ALL: (0,)})], BOUNDS, 10, 52.0, runs=1000)[0]
        for new in (same, part(values, period, 1000))
    )
    # One patient's own level does not average out.
    assert (one.upper[4:] > 1.3 * several.upper[4:]).all()


def test_missing_values_and_weeks_without_patients_are_left_out() -> None:
    rng = np.random.default_rng(4)
    baseline, new = patients(40, rng), patients(12, rng)
    baseline[::3, 0] = np.nan
    new[:6, 0] = np.nan
    chart = charts(baseline, new, np.array([0, 0, 0, 0, 2, 2, 2, 2, 5, 5, 5, 5]), 52.0)[0]
    assert chart.n.tolist() == [0, 0, 2, 0, 0, 4]
    assert np.isnan(chart.upper).tolist() == [True, True, False, True, True, False]
    assert not chart.signal.any()
    assert chart.n_baseline == 26


def test_the_same_seed_gives_the_same_limits() -> None:
    rng = np.random.default_rng(6)
    baseline, new, period = patients(30, rng), patients(30, rng), np.repeat(np.arange(10), 3)
    first, second = (charts(baseline, new, period, 52.0) for _ in range(2))
    assert all(np.array_equal(one.upper, other.upper) for one, other in zip(first, second, strict=True))
