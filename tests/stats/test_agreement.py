"""Limits of agreement against published values, each with its source."""

from __future__ import annotations

import math

import numpy as np
import pingouin as pg
import pytest

from avpenet_cli.stats.agreement import (
    Limits,
    constant_truth_limits,
    independent_limits,
    limits,
    percentile_limits,
    repeated_limits,
)
from avpenet_cli.stats.bootstrap import Resampling, SubjectBootstrap
from avpenet_cli.stats.estimate import Estimate
from avpenet_cli.stats.pairs import Pairs
from avpenet_cli.stats.regression import heteroscedasticity, proportional_bias, regression_limits
from avpenet_cli.stats.verdict import verdict

# Bland and Altman 1986, peak expiratory flow, first readings, l/min.
WRIGHT = np.array([494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427.0])
MINI = np.array([512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451.0])

# Cardiac data of Bland and Altman 1999 for four patients, as Zou 2013 uses them: subject, one method, the other.
ZOU = np.array(
    [
        *[(1, 7.83, 6.57), (1, 7.42, 5.62), (1, 7.89, 6.90), (1, 7.12, 6.57), (1, 7.88, 6.35)],
        *[(2, 6.16, 4.06), (2, 7.26, 4.29), (2, 6.71, 4.26), (2, 6.54, 4.09)],
        *[(3, 4.75, 4.71), (3, 5.24, 5.50), (3, 4.86, 5.08), (3, 4.78, 5.02), (3, 6.05, 6.01), (3, 5.42, 5.67)],
        *[(4, 4.21, 4.14), (4, 3.61, 4.20), (4, 3.72, 4.61), (4, 3.87, 4.68), (4, 3.92, 5.04)],
    ]
)
# Two readings of the second method that the constant-truth example does not have.
ONLY_ONE_SIDE = [4, 8]


def independent(a: np.ndarray, b: np.ndarray) -> Pairs:
    return Pairs.of(a, b, np.arange(len(a)))


def assert_ci(found: Estimate, low: float, high: float, digits: int = 2) -> None:
    assert (round(found.ci[0], digits), round(found.ci[1], digits)) == (low, high)


def test_values_of_bland_and_altman_1986() -> None:
    found = independent_limits(WRIGHT - MINI)
    assert found.bias.value == pytest.approx(-2.118, abs=5e-4)
    assert found.sd == pytest.approx(38.765, abs=5e-4)
    assert (found.lower.value, found.upper.value) == pytest.approx((-78.097, 73.862), abs=5e-4)
    assert_ci(found.bias, -22.05, 17.81)
    assert found.approximate is not None
    assert found.approximate.lower == pytest.approx((-112.85, -43.34), abs=5e-3)
    assert found.approximate.upper == pytest.approx((39.11, 108.62), abs=5e-3)
    assert_ci(found.lower, -124.16, -53.10)
    assert_ci(found.upper, 48.86, 119.93)
    line = proportional_bias(independent(WRIGHT, MINI))
    assert line.slope.value == pytest.approx(0.0287, abs=5e-5)
    assert line.p == pytest.approx(0.749, abs=5e-4)


def test_values_of_giavarina_2015() -> None:
    table = pg.read_dataset("blandaltman")  # the paper's table, under the paper's column names
    a, b = table["A"].to_numpy(float), table["B"].to_numpy(float)
    found = independent_limits(a - b)
    assert (found.n_pairs, round(found.bias.value, 3), round(found.sd, 3)) == (30, -27.167, 34.806)
    assert (round(found.lower.value, 3), round(found.upper.value, 3)) == (-95.386, 41.053)
    assert_ci(found.bias, -40.16, -14.17)
    assert_ci(found.lower, -123.11, -77.65)
    assert_ci(found.upper, 23.32, 68.78)
    line = proportional_bias(independent(a, b))
    assert line.slope.value == pytest.approx(-0.0451, abs=5e-5)
    assert line.p == pytest.approx(0.0147, abs=5e-5)


def test_values_of_zou_2013_with_changing_truth() -> None:
    """The published digits come from rounded components, so that ours differ by up to 0.01."""
    found = repeated_limits(Pairs.of(ZOU[:, 1], ZOU[:, 2], ZOU[:, 0]))
    assert found.bias.value == pytest.approx(0.7255, abs=5e-5)
    assert (round(found.lower.value, 2), round(found.upper.value, 2)) == (-2.14, 3.59)
    assert found.lower.ci == pytest.approx((-9.83, -0.33), abs=0.01)
    assert found.upper.ci == pytest.approx((1.77, 11.27), abs=0.0101)


def test_values_of_zou_2013_with_constant_truth() -> None:
    """The bias as SimplyAgree prints it, which is also the middle of the published limits."""
    y = np.delete(ZOU, ONLY_ONE_SIDE, axis=0)
    found = constant_truth_limits(ZOU[:, 1], ZOU[:, 0], y[:, 2], y[:, 0])
    assert found.bias.value == pytest.approx(0.7152, abs=5e-5)
    assert (round(found.lower.value, 2), round(found.upper.value, 2)) == (-2.23, 3.66)
    assert found.lower.ci == pytest.approx((-9.76, -0.48), abs=0.01)
    assert found.upper.ci == pytest.approx((1.91, 11.20), abs=0.01)


def test_repeated_pairs_are_not_pooled() -> None:
    pairs = Pairs.of(ZOU[:, 1], ZOU[:, 2], ZOU[:, 0])
    found = limits(pairs, None)
    assert found.method == "repeated measures, changing truth"
    naive = independent_limits(pairs.difference)
    assert found.upper.ci[1] - found.upper.ci[0] > 4 * (naive.upper.ci[1] - naive.upper.ci[0])
    assert limits(pairs, None, constant_truth=True).method == "repeated measures, constant truth"
    assert limits(independent(WRIGHT, MINI), None).method == "independent pairs"


def test_components_of_balanced_data_are_those_of_the_analysis_of_variance() -> None:
    rng = np.random.default_rng(3)
    subject = np.repeat(np.arange(30), 8)
    d = 0.4 + rng.normal(0, 0.7, 30)[subject] + rng.normal(0, 1.1, 240)
    found = repeated_limits(Pairs.of(d, np.zeros(240), subject))
    by_subject = d.reshape(30, 8)
    within = by_subject.var(axis=1, ddof=1).mean()
    between = by_subject.mean(axis=1).var(ddof=1) - within / 8
    assert found.within_sd == pytest.approx(math.sqrt(within))
    assert found.between_sd == pytest.approx(math.sqrt(between))
    assert found.sd == pytest.approx(math.sqrt(between + within))


def test_the_order_of_rows_and_the_names_of_subjects_do_not_matter() -> None:
    rng = np.random.default_rng(4)
    shuffled = ZOU[rng.permutation(len(ZOU))]
    names = np.array(["x", "zero", "é", "<b>", "9"])[shuffled[:, 0].astype(int)]
    a = repeated_limits(Pairs.of(ZOU[:, 1], ZOU[:, 2], ZOU[:, 0]))
    b = repeated_limits(Pairs.of(shuffled[:, 1], shuffled[:, 2], names))
    assert (a.bias.value, *a.lower.ci, *a.upper.ci) == pytest.approx((b.bias.value, *b.lower.ci, *b.upper.ci))


@pytest.mark.parametrize(
    ("d", "subject", "reason"),
    [
        ([], [], "fewer than two pairs"),
        ([1.0], [0], "fewer than two pairs"),
        ([1.0, 2.0, 3.0], [0, 0, 0], "one subject"),
    ],
)
def test_too_few_data_give_nan_and_the_reason(d: list[float], subject: list[int], reason: str) -> None:
    found = limits(Pairs.of(np.array(d), np.zeros(len(d)), np.array(subject)), None)
    assert math.isnan(found.lower.value)
    assert math.isnan(found.bias.ci[0])
    assert reason in found.bias.reason


def test_equal_differences_give_a_reason_instead_of_an_interval() -> None:
    found = limits(Pairs.of(np.full(6, 3.0), np.full(6, 2.0), np.array([0, 0, 1, 1, 2, 2])), None)
    assert (found.bias.value, found.sd) == (1.0, 0.0)
    assert "all differences are equal" in found.lower.reason


def test_exact_intervals_of_many_pairs_agree_with_large_sample_intervals() -> None:
    d = np.random.default_rng(0).normal(size=20_000)
    for n in (20_000, 19_999):
        found = independent_limits(d[:n])
        assert found.approximate is not None
        assert found.upper.ci == pytest.approx(found.approximate.upper, abs=1e-3)


def test_percentile_limits_lie_within_their_intervals() -> None:
    rng = np.random.default_rng(5)
    subject = np.repeat(np.arange(50), 20)
    d = rng.normal(0, 0.5, 50)[subject] + rng.standard_t(3, 1000)
    found = percentile_limits(Pairs.of(d, np.zeros(1000), subject), SubjectBootstrap(50, 400, 1))
    lower, upper = found.lower, found.upper
    assert (lower.value, upper.value) == pytest.approx(tuple(np.percentile(d, [2.5, 97.5])))
    assert lower.ci[0] < lower.value < lower.ci[1]
    assert upper.ci[0] < upper.value < upper.ci[1]
    few = percentile_limits(Pairs.of(d[:30], np.zeros(30), subject[:30]), SubjectBootstrap(2, 400, 1))
    assert "fewer than 40 pairs" in few.lower.reason


def test_regression_limits_follow_a_spread_that_grows() -> None:
    rng = np.random.default_rng(6)
    truth = rng.uniform(0, 10, 4000)
    d = rng.normal(0, 0.2 + 0.2 * truth)
    pairs = Pairs.of(truth + d / 2, truth - d / 2, np.arange(4000))
    bias = proportional_bias(pairs)
    spread = heteroscedasticity(pairs, bias)
    assert spread.slope.ci[0] > 0
    found = regression_limits(bias, spread)
    assert found is not None
    for mean in (2.0, 8.0):
        assert found.at(mean) == pytest.approx((-1.96 * (0.2 + 0.2 * mean), 1.96 * (0.2 + 0.2 * mean)), abs=0.2)


def test_clusters_widen_the_slope_of_the_proportional_bias() -> None:
    """A slope that differs between subjects, which pooling would take for precise."""
    rng = np.random.default_rng(7)
    subject = np.repeat(np.arange(15), 40)
    mean = rng.normal(5, 1.5, 600)
    d = rng.normal(0, 0.4, 15)[subject] * (mean - 5) + rng.normal(0, 0.3, 600)
    pairs = Pairs.of(mean + d / 2, mean - d / 2, subject)
    clustered = proportional_bias(pairs)
    pooled = proportional_bias(independent(pairs.model, pairs.reference))
    width = [line.slope.ci[1] - line.slope.ci[0] for line in (clustered, pooled)]
    assert "jackknife over subjects" in clustered.method
    assert width[0] > 3 * width[1]


def test_an_inconclusive_verdict_says_how_many_subjects_would_decide_it() -> None:
    rng = np.random.default_rng(5)
    subject = np.repeat(np.arange(12), 10)
    d = rng.normal(0, 0.5, 12)[subject] + rng.normal(0, 0.8, 120)
    found = limits(Pairs.of(d, np.zeros(120), subject), None)
    assert found.pairs_per_subject == pytest.approx(10)
    outermost = abs(found.bias.value) + 1.96 * found.sd
    for limit, expected in ((outermost + 0.3, "PASS"), (outermost - 0.1, "FAIL")):
        undecided = verdict(found, None, limit, "protocol")
        assert undecided.result == "INCONCLUSIVE" and undecided.more_subjects is not None
        more = undecided.more_subjects
        assert (more.expected, more.present) == (expected, 12)
        assert more.needed is not None and more.needed > 12
        assert f"about {more.needed} subjects in all ({more.needed - 12} more) with about 10 rated" in more.explanation
    close = verdict(found, None, outermost + 0.001, "protocol").more_subjects
    assert close is not None and close.needed is None and "even 10000 subjects" in close.explanation
    assert verdict(found, None, 9.0, "protocol").more_subjects is None


def limits_with(lower: tuple[float, float], upper: tuple[float, float]) -> Limits:
    return Limits("independent pairs", 9, 9, Estimate(0.0), 1.0, Estimate(-1.0, lower), Estimate(1.0, upper))


@pytest.mark.parametrize(
    ("lower", "upper", "result"),
    [
        ((-1.9, -1.0), (1.0, 1.9), "PASS"),
        ((-2.0, -1.0), (1.0, 2.0), "PASS"),
        ((-2.1, -1.0), (1.0, 1.9), "INCONCLUSIVE"),
        ((-1.9, -1.0), (1.0, 2.1), "INCONCLUSIVE"),
        ((-4.0, -2.1), (0.0, 1.0), "FAIL"),
        ((-1.0, -0.5), (2.1, 4.0), "FAIL"),
        ((math.nan, math.nan), (1.0, 1.9), "INCONCLUSIVE"),
    ],
)
def test_the_verdict_needs_both_limits_with_confidence(
    lower: tuple[float, float], upper: tuple[float, float], result: str
) -> None:
    assert verdict(limits_with(lower, upper), None, 2.0, "protocol").result == result


def test_without_a_limit_there_is_no_verdict() -> None:
    assert verdict(limits_with((-1, -1), (1, 1)), None, None, "").result == "NOT ASKED"
    assert verdict(None, None, 2.0, "protocol").result == "INCONCLUSIVE"


def test_the_bootstrap_of_the_limits_agrees_with_mover() -> None:
    rng = np.random.default_rng(8)
    count = rng.integers(5, 60, 80)
    subject = np.repeat(np.arange(80), count)
    d = rng.normal(0, 0.6, 80)[subject] + rng.normal(0, 1.0, len(subject))
    found = repeated_limits(Pairs.of(d, np.zeros(len(d)), subject), SubjectBootstrap(80, 2000, 1))
    assert found.bootstrap is not None
    assert found.bootstrap.upper == pytest.approx(found.upper.ci, abs=0.12)
    assert found.bootstrap.lower == pytest.approx(found.lower.ci, abs=0.12)


def test_the_same_seed_gives_the_same_resamples() -> None:
    a, b, c = Resampling(300, 1).of(12), Resampling(300, 1).of(12), Resampling(300, 2).of(12)
    assert all(np.array_equal(x, y) for x, y in zip(a.weights(), b.weights(), strict=True))
    assert not all(np.array_equal(x, y) for x, y in zip(a.weights(), c.weights(), strict=True))
    assert all((chunk.sum(axis=1) == 12).all() for chunk in a.weights())
