"""Comparisons, families of tests, equivalence and metrics over seeds against scipy, statsmodels, pingouin, sklearn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pingouin as pg
import pytest
from scipy import stats
from sklearn import metrics
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_ind, ttost_paired

from avpenet_cli.stats.accuracy import accuracy
from avpenet_cli.stats.bootstrap import Resampling
from avpenet_cli.stats.classes import class_of, classes
from avpenet_cli.stats.comparisons import ErrorComparison, compare_errors, correct_family, holm
from avpenet_cli.stats.equivalence import Equivalence, equivalence
from avpenet_cli.stats.mean_difference import paired_test, welch_test
from avpenet_cli.stats.pairs import Array, Pairs
from avpenet_cli.stats.reliability import icc
from avpenet_cli.stats.seeds import SeedMetrics, seed_metrics
from tests.stats.test_statistics import CUT, pingouin_icc

RESAMPLING = Resampling(400, 1)


def compared(first: Array, second: Array, subject: np.ndarray) -> ErrorComparison:
    return compare_errors(first, second, subject, RESAMPLING.of(len(set(subject.tolist()))))


def study(n_seeds: int, n_subjects: int = 30, seed: int = 0) -> tuple[Array, Array, np.ndarray]:
    """Scores (seeds, n), reference and subject of each segment."""
    rng = np.random.default_rng(seed)
    subject = np.repeat(np.arange(n_subjects), rng.integers(3, 12, n_subjects))
    reference = np.clip(rng.normal(4, 2.5, len(subject)), 0, 10).round(1)
    offset = rng.normal(0, 0.6, (n_seeds, n_subjects))[:, subject]
    return np.clip(reference + offset + rng.normal(0, 1, (n_seeds, len(subject))), 0, 10), reference, subject


def measured(scores: Array, reference: Array, subject: np.ndarray) -> SeedMetrics:
    return seed_metrics(scores, reference, subject, RESAMPLING.of(len(set(subject.tolist()))), CUT)


@pytest.mark.parametrize("size", [1, 2, 7, 40])
def test_families_are_corrected_as_statsmodels_does(size: int) -> None:
    p = np.random.default_rng(size).uniform(0, 0.2, size)
    tests = [paired_test(np.array([0.0, 1.0, value]), np.zeros(3), 1) for value in p]
    values = np.array([test.p for test in tests])
    corrected = correct_family(tests)
    assert [test.p_bonferroni for test, _ in corrected] == pytest.approx(
        multipletests(values, method="bonferroni")[1], abs=1e-12
    )
    assert [p_holm for _, p_holm in corrected] == pytest.approx(multipletests(values, method="holm")[1], abs=1e-12)
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1], abs=1e-12)
    assert {test.n_comparisons for test, _ in corrected} == {size}


def test_a_pair_without_a_test_does_not_count_in_its_family() -> None:
    tested = paired_test(np.array([1.0, 2.0, 4.0]), np.zeros(3), 1)
    untested = paired_test(np.ones(3), np.zeros(3), 1)
    (first, p_holm), (second, none), _ = correct_family([tested, untested, tested])
    assert first.n_comparisons == 2 and first.p_bonferroni == pytest.approx(2 * tested.p) and p_holm >= tested.p
    assert np.isnan(second.p_bonferroni) and np.isnan(none) and second.difference.reason
    assert np.isnan(holm(np.array([np.nan]))).all() and not len(holm(np.array([])))


def test_paired_errors_agree_with_scipy_and_pingouin() -> None:
    scores, reference, subject = study(2)
    first, second = np.abs(scores - reference)
    result = compared(first, second, subject)
    means = pd.DataFrame({"first": first, "second": second, "subject": subject}).groupby("subject").mean()
    theirs = stats.ttest_rel(means["first"], means["second"])
    assert (result.test.t, result.test.p) == pytest.approx((theirs.statistic, theirs.pvalue), abs=1e-9)
    assert result.test.df == theirs.df == 29
    interval = theirs.confidence_interval(0.95)
    assert result.test.difference.ci == pytest.approx((interval.low, interval.high), abs=1e-9)
    d = pg.compute_effsize((means["first"] - means["second"]).to_numpy(), 0, eftype="cohen")
    assert result.test.cohens_d == pytest.approx(d, abs=1e-9)
    # All segments with equal weight: not the mean of the subjects' means.
    assert result.difference.value == pytest.approx(first.mean() - second.mean(), abs=1e-12)
    assert result.percent.value == pytest.approx(100 * (first.mean() - second.mean()) / second.mean(), abs=1e-9)
    low, high = result.difference.ci
    assert low < result.difference.value < high


def test_comparisons_that_cannot_be_made_say_why() -> None:
    empty = compared(np.array([]), np.array([]), np.array([], dtype=np.int64))
    assert empty.n == 0 and equivalence(empty.test, 0.5).verdict == "not computable"
    assert empty.difference.reason == empty.test.difference.reason == "no segments in common"
    subject = np.arange(8)
    same = compared(np.ones(8), np.ones(8), subject)
    assert same.difference.value == 0 and "the same in every subject" in same.difference.reason
    assert np.isnan(same.test.p) and same.test.difference.reason
    perfect = compared(np.linspace(0, 1, 8), np.zeros(8), subject)
    assert np.isnan(perfect.percent.value) and perfect.percent.reason and perfect.difference.has_interval
    alone = compared(np.linspace(0, 1, 8), np.ones(8), np.zeros(8, dtype=np.int64))
    assert "one subject" in alone.difference.reason and not alone.difference.has_interval and np.isnan(alone.test.p)


@pytest.mark.parametrize("shift", [0.0, 0.2, 0.6, -1.5])
def test_equivalence_agrees_with_statsmodels(shift: float) -> None:
    rng = np.random.default_rng(3)
    first, second = rng.normal(1 + shift, 0.3, 20), rng.normal(1, 0.5, 31)
    ours = equivalence(welch_test(first, second, 1), 0.5)
    assert ours.p == pytest.approx(ttost_ind(first, second, -0.5, 0.5, usevar="unequal")[0], abs=1e-9)
    low, high = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.9)
    assert ours.interval == pytest.approx((low, high), abs=1e-9)
    paired = equivalence(paired_test(first, second[:20], 1), 0.5)
    assert paired.p == pytest.approx(ttost_paired(first, second[:20], -0.5, 0.5)[0], abs=1e-9)


def test_no_difference_found_is_not_equality() -> None:
    def judged(mean: float, error: float) -> Equivalence:
        values = mean + error * np.sqrt(10) * stats.zscore(np.arange(10.0), ddof=1)
        return equivalence(paired_test(values, np.zeros(10), 1), 0.5)

    assert judged(0.05, 0.05).verdict == "equivalent" and judged(0.05, 0.05).explanation == "equivalent within 0.5"
    assert judged(1.5, 0.1).verdict == "different"
    assert judged(0.2, 0.01).verdict == "different within the margin"
    undecided = judged(0.3, 0.4)
    assert undecided.verdict == "undecided" and undecided.interval[1] > 0.5
    constant = equivalence(paired_test(np.ones(4), np.zeros(4), 1), 0.5)
    assert constant.verdict == "not computable" and constant.explanation and np.isnan(constant.p)


def test_metrics_over_seeds_are_means_of_what_other_packages_give_for_each_seed() -> None:
    scores, reference, subject = study(3)
    ours = measured(scores, reference, subject)
    true = class_of(reference, CUT)
    theirs: dict[str, list[float]] = {name: [] for name in ours.by_seed}
    for row in scores:
        predicted = class_of(row, CUT)
        long = pd.DataFrame(
            {"t": np.tile(np.arange(len(row)), 2), "r": np.repeat(["a", "b"], len(row)), "x": [*row, *reference]}
        )
        difference = pd.DataFrame({"d": row - reference, "s": subject}).groupby("s")["d"].mean()
        for name, value in {
            "mae": metrics.mean_absolute_error(reference, row),
            "rmse": metrics.root_mean_squared_error(reference, row),
            "bias": difference.mean(),
            "pearson": stats.pearsonr(row, reference).statistic,
            "icc_a1": pingouin_icc(long, "t", "r", "x")["ICC"]["ICC(A,1)"],
            "accuracy": metrics.accuracy_score(true, predicted),
            "macro_f1": metrics.f1_score(true, predicted, average="macro"),
            "kappa": metrics.cohen_kappa_score(true, predicted),
            "kappa_linear": metrics.cohen_kappa_score(true, predicted, weights="linear"),
        }.items():
            theirs[name].append(float(value))
    for name, values in theirs.items():
        # pingouin rounds nothing, but computes from mean squares of a table.
        assert ours.by_seed[name] == pytest.approx(values, abs=1e-9), name
        average = ours.averages[name]
        assert average.mean.value == pytest.approx(np.mean(values), abs=1e-9), name
        assert (average.low, average.high) == pytest.approx((min(values), max(values)), abs=1e-9)
        assert average.sd == pytest.approx(np.std(values, ddof=1), abs=1e-9) and average.n_seeds == 3
        low, high = average.mean.ci
        assert low < average.mean.value < high
    assert np.sum(ours.confusion) == 3 * len(reference)


def test_one_seed_has_the_intervals_of_the_report() -> None:
    scores, reference, subject = study(1)
    pairs = Pairs.of(scores[0], reference, subject)
    bootstrap = RESAMPLING.of(pairs.n_subjects)
    ours = measured(scores, reference, subject)
    errors, agreed = accuracy(pairs, bootstrap), classes(pairs, bootstrap, CUT)
    reliability = icc(np.stack([pairs.model, pairs.reference], axis=1), pairs.subject, bootstrap)
    for name, theirs in (
        *(("mae", errors.mae), ("rmse", errors.rmse), ("pearson", errors.pearson), ("icc_a1", reliability.icc_a1)),
        *((name, getattr(agreed, name)) for name in ("accuracy", "macro_f1", "kappa", "kappa_linear")),
    ):
        assert ours.averages[name].mean.value == pytest.approx(theirs.value, abs=1e-12), name
        assert ours.averages[name].mean.ci == pytest.approx(theirs.ci, abs=1e-9), name
        assert np.isnan(ours.averages[name].sd)
    assert ours.confusion == agreed.confusion


def test_equal_seeds_do_not_narrow_the_interval() -> None:
    scores, reference, subject = study(1)
    one, three = measured(scores, reference, subject), measured(np.repeat(scores, 3, axis=0), reference, subject)
    for name, average in three.averages.items():
        assert average.mean.ci == pytest.approx(one.averages[name].mean.ci, abs=1e-6), name
        assert average.sd == pytest.approx(0, abs=1e-12)


def test_metrics_that_are_not_defined_say_why() -> None:
    scores, reference, subject = study(2)
    constant = scores.copy()
    constant[1] = 5.0
    result = measured(constant, reference, subject)
    assert "score is the same" in result.reasons["pearson"] and "seed number 2 of 2" in result.reasons["pearson"]
    assert np.isnan(result.averages["pearson"].mean.value) and result.averages["pearson"].mean.reason
    assert np.isfinite(result.by_seed["pearson"][0]) and np.isnan(result.by_seed["pearson"][1])
    assert result.averages["mae"].mean.has_interval
    low = measured(scores / 10, reference / 10, subject)
    assert low.averages["macro_f1"].mean.reason.startswith("neither side is ever moderate or high")
    assert "same class" in low.averages["kappa"].mean.reason and low.averages["accuracy"].mean.value == 1
    single = measured(scores[:, :1], reference[:1], subject[:1])
    for name, average in single.averages.items():
        assert average.mean.reason, name
    assert single.averages["mae"].mean.value == pytest.approx(np.abs(scores[:, 0] - reference[0]).mean())
