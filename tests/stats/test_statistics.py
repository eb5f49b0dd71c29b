"""Accuracy, reliability and classes against other packages and published data, and on degenerate data."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pingouin as pg
import pytest
from scipy import stats
from sklearn import metrics

from avpenet_cli.stats.accuracy import accuracy, by_intensity
from avpenet_cli.stats.bootstrap import Resampling, SubjectBootstrap
from avpenet_cli.stats.classes import class_of, classes, count_classes
from avpenet_cli.stats.estimate import Estimate, flat, to_json
from avpenet_cli.stats.mean_difference import paired_test, welch_test
from avpenet_cli.stats.pairs import Pairs
from avpenet_cli.stats.reliability import Icc, icc
from tests.golden import seeded

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "front-seed1.json").read_text())
CUT = (3.0, 6.0)


def golden_pairs() -> Pairs:
    model, reference = (np.asarray(side, dtype=np.float64).ravel() for side in seeded.pairs(1))
    return Pairs.of(model, reference, np.arange(len(model)))


def study(n_subjects: int = 40, seed: int = 0) -> Pairs:
    rng = np.random.default_rng(seed)
    subject = np.repeat(np.arange(n_subjects), rng.integers(3, 30, n_subjects))
    reference = np.clip(rng.normal(4, 2.5, len(subject)), 0, 10).round()
    model = np.clip(reference + rng.normal(0, 0.7, n_subjects)[subject] + rng.normal(0, 1, len(subject)), 0, 10)
    return Pairs.of(model, reference, subject)


def pingouin_icc(long: pd.DataFrame, *columns: str) -> pd.DataFrame:
    with warnings.catch_warnings():
        # pandas warns about pingouin's code.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", pd.errors.Pandas4Warning)
        coefficients: pd.DataFrame = pg.intraclass_corr(long, *columns).set_index("Type")
    return coefficients


def icc_of(pairs: Pairs) -> Icc:
    both = np.stack([pairs.model, pairs.reference], axis=1)
    return icc(both, pairs.subject, SubjectBootstrap(pairs.n_subjects, 400, 1))


def test_golden_values_of_public_packages_are_reproduced() -> None:
    pairs = golden_pairs()
    bootstrap = SubjectBootstrap(pairs.n_subjects, 300, 1)
    found = accuracy(pairs, bootstrap)
    assert found.mae.value == pytest.approx(GOLDEN["mae"], abs=1e-6)
    assert found.rmse.value == pytest.approx(GOLDEN["rmse"], abs=1e-6)
    assert found.pearson.value == pytest.approx(GOLDEN["pcc"], abs=1e-6)
    reliability = icc_of(pairs)
    for name, coefficient in (
        ("ICC(A,1)", reliability.icc_a1),
        ("ICC(C,1)", reliability.icc_c1),
        ("ICC(1,1)", reliability.icc_11),
    ):
        assert coefficient.value == pytest.approx(GOLDEN["icc"][name], abs=1e-9)
    agreed = classes(pairs, bootstrap, CUT)
    for name in ("accuracy", "macro_f1", "kappa", "kappa_quadratic"):
        assert getattr(agreed, name).value == pytest.approx(GOLDEN[name], abs=1e-9)
    # irrCAC 0.4.4, CAC(weights="quadratic").gwet() on the same table.
    assert agreed.confusion == ((12, 3, 0), (1, 14, 5), (0, 4, 25))
    assert agreed.ac2.value == pytest.approx(0.86007, abs=5e-6)


def test_icc_of_the_wine_data_agree_with_pingouin() -> None:
    table = pg.read_dataset("icc").pivot(index="Wine", columns="Judge", values="Scores")
    found = icc(table.to_numpy(float), np.arange(8), SubjectBootstrap(8, 200, 1))
    assert found.method == "exact (F)"
    coefficients = (found.icc_11, found.icc_a1, found.icc_c1)
    assert [round(estimate.value, 3) for estimate in coefficients] == [0.728, 0.728, 0.729]
    for estimate in coefficients:
        assert (round(estimate.ci[0], 2), round(estimate.ci[1], 2)) == (0.43, 0.93)


@pytest.mark.parametrize("seed", [1, 2])
def test_other_packages_agree_on_random_studies(seed: int) -> None:
    pairs = study(seed=seed)
    bootstrap = SubjectBootstrap(pairs.n_subjects, 300, 1)
    found = accuracy(pairs, bootstrap)
    assert found.spearman.value == pytest.approx(stats.spearmanr(pairs.model, pairs.reference).statistic)
    assert found.rmse.value == pytest.approx(metrics.root_mean_squared_error(pairs.reference, pairs.model))
    assert found.within_1.value == pytest.approx((np.abs(pairs.difference) <= 1).mean())
    x, y = pairs.model, pairs.reference
    ccc = 2 * np.cov(x, y, ddof=0)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)
    assert found.ccc.value == pytest.approx(ccc)
    agreed = classes(pairs, bootstrap, CUT)
    true, predicted = class_of(pairs.reference, CUT), class_of(pairs.model, CUT)
    assert np.array_equal(agreed.confusion, metrics.confusion_matrix(true, predicted, labels=[0, 1, 2]))
    assert count_classes(true, predicted) == agreed.confusion
    for name, weights in (("kappa", None), ("kappa_linear", "linear"), ("kappa_quadratic", "quadratic")):
        assert getattr(agreed, name).value == pytest.approx(metrics.cohen_kappa_score(true, predicted, weights=weights))
    assert agreed.macro_f1.value == pytest.approx(metrics.f1_score(true, predicted, average="macro"))
    recall = metrics.recall_score(true, predicted, average=None)
    assert [shares.sensitivity.value for shares in agreed.per_class.values()] == pytest.approx(recall)
    long = pd.DataFrame(
        {"target": np.tile(np.arange(pairs.n), 2), "rater": np.repeat(["a", "b"], pairs.n), "x": [*x, *y]}
    )
    theirs = pingouin_icc(long, "target", "rater", "x")["ICC"]
    ours = icc_of(pairs)
    assert ours.method == "subject bootstrap"
    assert (ours.icc_a1.value, ours.icc_c1.value, ours.icc_11.value) == pytest.approx(
        tuple(theirs[["ICC(A,1)", "ICC(C,1)", "ICC(1,1)"]]), abs=1e-6
    )


def test_cut_points_belong_to_the_lower_class() -> None:
    values = np.array([0, 3, np.nextafter(3, 4), 3.001, 6, 6.001, 10])
    assert class_of(values, CUT).tolist() == [0, 0, 0, 1, 1, 2, 2]


def test_a_class_that_never_occurs_has_no_sensitivity() -> None:
    reference = np.array([1.0, 2, 4, 5, 1, 2, 4, 5])
    model = np.array([1.0, 4, 4, 5, 1, 2, 2, 5])
    found = classes(Pairs.of(model, reference, np.arange(8)), SubjectBootstrap(8, 300, 1), CUT)
    assert np.shape(found.confusion) == (3, 3)
    high = found.per_class["high"]
    assert math.isnan(high.sensitivity.value)
    assert "the reference is never high" in high.sensitivity.reason
    assert "the model is never high" in high.ppv.reason
    assert math.isnan(found.macro_f1.value)
    assert "neither side is ever high" in found.macro_f1.reason
    assert found.kappa.value == pytest.approx(0.5)


def test_one_class_on_both_sides_has_no_kappa() -> None:
    found = classes(Pairs.of(np.ones(9), np.full(9, 2.0), np.arange(9)), SubjectBootstrap(9, 300, 1), CUT)
    assert math.isnan(found.kappa.value)
    assert "same class" in found.kappa_quadratic.reason
    assert found.accuracy.value == 1.0
    assert math.isnan(found.accuracy.ci[0])
    assert found.accuracy.reason


def test_constant_scores_have_no_correlation() -> None:
    pairs = Pairs.of(np.full(20, 4.0), np.linspace(0, 10, 20), np.repeat(np.arange(5), 4))
    found = accuracy(pairs, SubjectBootstrap(5, 300, 1))
    for correlation in (found.pearson, found.spearman):
        assert math.isnan(correlation.value)
        assert "constant" in correlation.reason
    assert found.ccc.value == pytest.approx(0.0, abs=1e-9)
    for other in (4.0, 6.0):
        apart = icc_of(Pairs.of(np.full(6, 4.0), np.full(6, other), np.array([0, 0, 0, 1, 1, 1])))
        assert all(math.isnan(estimate.value) for estimate in (apart.icc_a1, apart.icc_c1, apart.icc_11))
    both = icc_of(Pairs.of(np.full(6, 4.0), np.full(6, 4.0), np.arange(6)))
    assert math.isnan(both.icc_a1.value)
    assert both.icc_a1.reason


def test_one_subject_has_values_but_no_intervals() -> None:
    pairs = study(n_subjects=1)
    found = accuracy(pairs, SubjectBootstrap(1, 300, 1))
    assert found.mae.value > 0
    assert math.isnan(found.mae.ci[0])
    assert "one subject" in found.mae.reason
    assert "one subject" in icc_of(pairs).icc_a1.reason
    assert "one subject" in classes(pairs, SubjectBootstrap(1, 300, 1), CUT).kappa.reason


def test_repeating_segments_does_not_narrow_intervals() -> None:
    """Pooling would take ten copies of every segment for ten times the evidence."""
    pairs = study()
    many = Pairs.of(np.tile(pairs.model, 10), np.tile(pairs.reference, 10), np.tile(pairs.subject, 10))
    a, b = (accuracy(each, SubjectBootstrap(40, 800, 1)).mae for each in (pairs, many))
    assert b.ci == pytest.approx(a.ci, rel=1e-6)


def test_perfect_agreement_has_values_without_intervals() -> None:
    x = np.linspace(0, 10, 30)
    found = accuracy(Pairs.of(x, x, np.repeat(np.arange(10), 3)), SubjectBootstrap(10, 300, 1))
    assert (found.mae.value, found.within_1.value) == (0.0, 1.0)
    assert found.pearson.value == pytest.approx(1.0)
    assert math.isnan(found.mae.ci[0])
    assert found.mae.reason


def test_error_by_intensity_counts_every_pair_once() -> None:
    pairs = study()
    bins = by_intensity(pairs, Resampling(300, 1))
    assert sum(part.n_pairs for part in bins) == pairs.n
    assert [part.from_points for part in bins] == list(range(10))


def test_paired_comparison_takes_the_subject_as_the_unit() -> None:
    a, b = np.array([1.0, 2.0, 3.5, 4.0]), np.array([0.5, 1.0, 3.0, 2.0])
    test = paired_test(a, b, 2)
    theirs = stats.ttest_rel(a, b)
    assert (test.t, test.p) == pytest.approx((theirs.statistic, theirs.pvalue))
    assert test.difference.ci == pytest.approx(tuple(theirs.confidence_interval(0.95)))
    assert test.cohens_d == pytest.approx((a - b).mean() / (a - b).std(ddof=1))
    assert test.p_bonferroni == pytest.approx(min(1.0, 2 * test.p))
    assert test.difference.n == 4


def test_welch_test_agrees_with_scipy() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, 12), rng.normal(1, 3, 20)
    test, theirs = welch_test(a, b, 3), stats.ttest_ind(a, b, equal_var=False)
    assert (test.t, test.df, test.p) == pytest.approx((theirs.statistic, theirs.df, theirs.pvalue))
    assert test.difference.value == pytest.approx(a.mean() - b.mean())
    assert test.p_bonferroni == pytest.approx(min(1.0, 3 * test.p))


def test_equal_means_in_every_subject_give_a_reason_instead_of_a_test() -> None:
    a = np.array([1.0, 2.0, 3.5])
    for test in (paired_test(a, a, 2), welch_test(np.ones(3), np.ones(4), 2)):
        assert math.isnan(test.p)
        assert test.difference.value == 0.0
        assert "no spread" in test.difference.reason


def test_json_has_null_instead_of_nan() -> None:
    columns = flat(mae=Estimate(math.nan, (math.nan, math.nan), 0, "no pairs"), bias=Estimate(1.0, (0.5, 1.5), 9))
    assert columns == {
        "mae": None,
        "mae_ci": [None, None],
        "bias": 1.0,
        "bias_ci": [0.5, 1.5],
        "reasons": {"mae": "no pairs"},
    }
    assert to_json({"a": np.float64("nan"), "b": (np.int64(3), math.inf), 3: np.array([1.5])}) == {
        "a": None,
        "b": [3, None],
        "3": [1.5],
    }


def test_an_interval_has_both_ends_or_neither() -> None:
    for seed in range(60):
        pairs = study(n_subjects=5 + seed % 3, seed=seed)
        found = accuracy(pairs, SubjectBootstrap(pairs.n_subjects, 200, seed))
        for name, estimate in found.__dict__.items():
            assert math.isnan(estimate.ci[0]) == math.isnan(estimate.ci[1]), name
            assert not math.isnan(estimate.ci[0]) or estimate.reason, name
        assert math.isnan(found.mae.ci[1]) or found.mae.ci[1] <= 10
