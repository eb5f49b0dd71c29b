"""Accuracy, reliability and classes against other packages and published data; degenerate data against pretence."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pingouin as pg
import pytest
from scipy import stats
from sklearn import metrics

from avpenet_cli.report.raters import raters
from avpenet_cli.report.strata import paired, strata
from avpenet_cli.stats.accuracy import accuracy, by_intensity
from avpenet_cli.stats.bootstrap import Resampling, SubjectBootstrap
from avpenet_cli.stats.classes import class_of, classes
from avpenet_cli.stats.estimate import Estimate, flat, plain
from avpenet_cli.stats.pairs import Pairs
from avpenet_cli.stats.reliability import Icc, icc
from tests.golden import seeded

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "front-seed1.json").read_text())
CUT = (3.0, 6.0)


def golden_pairs() -> Pairs:
    model, reference = (np.asarray(one, dtype=np.float64).ravel() for one in seeded.pairs(1))
    return Pairs.of(model, reference, np.arange(len(model)))


def study(n_subjects: int = 40, seed: int = 0) -> Pairs:
    rng = np.random.default_rng(seed)
    subject = np.repeat(np.arange(n_subjects), rng.integers(3, 30, n_subjects))
    reference = np.clip(rng.normal(4, 2.5, len(subject)), 0, 10).round()
    model = np.clip(reference + rng.normal(0, 0.7, n_subjects)[subject] + rng.normal(0, 1, len(subject)), 0, 10)
    return Pairs.of(model, reference, subject)


def pingouin_icc(long: pd.DataFrame, *columns: str) -> pd.DataFrame:
    with warnings.catch_warnings():
        # Of pandas, about pingouin's own code.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", pd.errors.Pandas4Warning)
        found: pd.DataFrame = pg.intraclass_corr(long, *columns).set_index("Type")
    return found


def icc_of(pairs: Pairs) -> Icc:
    both = np.stack([pairs.model, pairs.reference], axis=1)
    return icc(both, pairs.subject, SubjectBootstrap(pairs.n_subjects, 400, 1))


def test_the_numbers_that_public_packages_give_for_the_seeded_pairs() -> None:
    pairs = golden_pairs()
    bootstrap = SubjectBootstrap(pairs.n_subjects, 300, 1)
    found = accuracy(pairs, bootstrap)
    assert found.mae.value == pytest.approx(GOLDEN["mae"], abs=1e-6)
    assert found.rmse.value == pytest.approx(GOLDEN["rmse"], abs=1e-6)
    assert found.pearson.value == pytest.approx(GOLDEN["pcc"], abs=1e-6)
    reliability = icc_of(pairs)
    for name, one in (
        ("ICC(A,1)", reliability.icc_a1),
        ("ICC(C,1)", reliability.icc_c1),
        ("ICC(1,1)", reliability.icc_11),
    ):
        assert one.value == pytest.approx(GOLDEN["icc"][name], abs=1e-9)
    agreed = classes(pairs, bootstrap, CUT)
    for name in ("accuracy", "macro_f1", "kappa", "kappa_quadratic"):
        assert getattr(agreed, name).value == pytest.approx(GOLDEN[name], abs=1e-9)
    # irrCAC 0.4.4, CAC(weights="quadratic").gwet() on the same table.
    assert agreed.confusion.tolist() == [[12, 3, 0], [1, 14, 5], [0, 4, 25]]
    assert agreed.ac2.value == pytest.approx(0.86007, abs=5e-6)


def test_the_wine_data_of_pingouin() -> None:
    table = pg.read_dataset("icc").pivot(index="Wine", columns="Judge", values="Scores")
    found = icc(table.to_numpy(float), np.arange(8), SubjectBootstrap(8, 200, 1))
    assert found.method == "exact (F)"
    values = [round(one.value, 3) for one in (found.icc_11, found.icc_a1, found.icc_c1)]
    assert values == [0.728, 0.728, 0.729]
    for one in (found.icc_11, found.icc_a1, found.icc_c1):
        assert (round(one.ci[0], 2), round(one.ci[1], 2)) == (0.43, 0.93)


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
    true, said = class_of(pairs.reference, CUT), class_of(pairs.model, CUT)
    assert agreed.confusion.tolist() == metrics.confusion_matrix(true, said, labels=[0, 1, 2]).tolist()
    for name, weights in (("kappa", None), ("kappa_linear", "linear"), ("kappa_quadratic", "quadratic")):
        assert getattr(agreed, name).value == pytest.approx(metrics.cohen_kappa_score(true, said, weights=weights))
    assert agreed.macro_f1.value == pytest.approx(metrics.f1_score(true, said, average="macro"))
    recall = metrics.recall_score(true, said, average=None)
    assert [agreed.per_class[label]["sensitivity"].value for label in agreed.per_class] == pytest.approx(recall)
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


def test_a_class_that_never_occurs_has_no_number() -> None:
    reference = np.array([1.0, 2, 4, 5, 1, 2, 4, 5])
    model = np.array([1.0, 4, 4, 5, 1, 2, 2, 5])
    found = classes(Pairs.of(model, reference, np.arange(8)), SubjectBootstrap(8, 300, 1), CUT)
    assert found.confusion.shape == (3, 3)
    assert math.isnan(found.per_class["high"]["sensitivity"].value)
    assert "never high" in found.per_class["high"]["sensitivity"].reason
    assert "never says high" in found.per_class["high"]["ppv"].reason
    assert math.isnan(found.macro_f1.value)
    assert "neither side ever says high" in found.macro_f1.reason
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
    for one in (found.pearson, found.spearman):
        assert math.isnan(one.value)
        assert "constant" in one.reason
    assert found.ccc.value == pytest.approx(0.0, abs=1e-9)
    for other in (4.0, 6.0):
        apart = icc_of(Pairs.of(np.full(6, 4.0), np.full(6, other), np.array([0, 0, 0, 1, 1, 1])))
        assert all(math.isnan(one.value) for one in (apart.icc_a1, apart.icc_c1, apart.icc_11))
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


def test_repeating_segments_does_not_narrow_an_interval() -> None:
    """What pooling would do: ten copies of every segment look like ten times the evidence."""
    pairs = study()
    many = Pairs.of(np.tile(pairs.model, 10), np.tile(pairs.reference, 10), np.tile(pairs.subject, 10))
    a, b = (accuracy(one, SubjectBootstrap(40, 800, 1)).mae for one in (pairs, many))
    assert b.ci == pytest.approx(a.ci, rel=1e-6)


def test_perfect_agreement_is_said_without_an_interval() -> None:
    x = np.linspace(0, 10, 30)
    found = accuracy(Pairs.of(x, x, np.repeat(np.arange(10), 3)), SubjectBootstrap(10, 300, 1))
    assert (found.mae.value, found.within_1.value) == (0.0, 1.0)
    assert found.pearson.value == pytest.approx(1.0)
    assert math.isnan(found.mae.ci[0])
    assert found.mae.reason


def test_error_by_intensity_counts_every_pair_once() -> None:
    pairs = study()
    rows = by_intensity(pairs, Resampling(300, 1))
    assert sum(int(str(row["n_pairs"])) for row in rows) == pairs.n
    assert [row["from"] for row in rows] == list(range(10))


def test_raters_among_themselves_as_pingouin_has_it() -> None:
    rng = np.random.default_rng(2)
    truth = rng.normal(5, 2, 60)
    ratings = pd.DataFrame(
        {name: truth + rng.normal(bias, 0.8, 60) for name, bias in (("a", 0), ("b", 0.5), ("c", -1))}
    )
    ratings["self"] = np.nan
    alone = pd.DataFrame({"a": np.nan, "b": np.nan, "c": np.nan, "self": rng.normal(5, 2, 30)}, index=range(60, 90))
    by_rater = pd.concat([ratings, alone])
    subject = pd.Series(np.arange(90).astype(str))
    model = pd.Series(np.concatenate([truth + rng.normal(0, 1, 60), np.full(30, np.nan)]))
    found = raters(by_rater, model, subject, CUT, Resampling(300, 1))
    assert found is not None
    (complete,) = found["sets"]
    assert (complete["raters"], complete["n_segments"]) == (["a", "b", "c"], 60)
    long = ratings[["a", "b", "c"]].reset_index().melt("index")
    theirs = pingouin_icc(long, "index", "variable", "value")
    assert complete["icc_a1"] == pytest.approx(theirs.loc["ICC(A,1)", "ICC"], abs=1e-6)
    assert complete["icc_a1_ci"] == pytest.approx(theirs["CI95"].loc["ICC(A,1)"].tolist(), abs=5e-3)
    couples = {(row["a"], row["b"]) for row in found["pairs"]}
    assert couples == {("model", "a"), ("model", "b"), ("model", "c"), ("a", "b"), ("a", "c"), ("b", "c")}


def grouped(levels: dict[str, int]) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    rows = []
    for place, (level, n_subjects) in enumerate(levels.items()):
        for subject in range(n_subjects):
            for _ in range(4):
                reference = rng.uniform(0, 10)
                name = f"{level}{subject}"
                rows.append((name, name, reference + place + rng.normal(), reference, level))
    return pd.DataFrame(rows, columns=["subject", "recording", "model", "reference", "site"])


def by_site(table: pd.DataFrame, silent: str = "") -> list[dict[str, Any]]:
    """`silent`: a site none of whose recordings has a pair."""
    recordings = table.drop_duplicates("recording").set_index("recording")["site"]
    if silent:
        recordings[f"of {silent}"] = silent
    seconds = pd.DataFrame({"nominal_s": 10.0, "scored_s": 9.0}, index=recordings.index)
    seconds.loc[recordings == silent, "scored_s"] = 0.0
    return strata(table, {"site": table["site"]}, {"site": recordings}, seconds, Resampling(300, 1))


def test_a_group_whose_recordings_all_failed_keeps_its_row() -> None:
    (found,) = by_site(grouped({"a": 12, "b": 12}), silent="ruined")
    row = next(one for one in found["levels"] if one["level"] == "ruined")
    assert (row["n_pairs"], row["suppressed"], row["coverage_share"]) == (0, True, 0.0)
    assert next(one for one in found["levels"] if one["level"] == "a")["coverage_share"] == pytest.approx(0.9)


def test_groups_under_ten_subjects_are_suppressed_and_not_compared() -> None:
    (found,) = by_site(grouped({"a": 12, "b": 15, "c": 9}))
    by_level = {row["level"]: row for row in found["levels"]}
    assert by_level["c"]["suppressed"]
    assert by_level["c"]["bias"] is None
    assert {(row["a"], row["b"]) for row in found["comparisons"]} == {("a", "b")}
    bias = next(row for row in found["comparisons"] if row["measure"] == "bias")
    assert bias["difference"] == pytest.approx(by_level["a"]["bias"] - by_level["b"]["bias"])
    assert bias["p_bonferroni"] == pytest.approx(min(1, 2 * bias["p"]))
    assert bias["difference_ci"][1] < 0


def test_a_subject_in_two_groups_is_not_tested_as_two_people() -> None:
    table = grouped({"a": 12, "b": 12})
    table["subject"] = [name[1:] for name in table["subject"]]
    (found,) = by_site(table)
    assert found["comparisons"] == []
    assert "same subjects" in found["note"]


def test_paired_comparison_takes_the_subject_as_the_unit() -> None:
    a, b = np.array([1.0, 2.0, 3.5, 4.0]), np.array([0.5, 1.0, 3.0, 2.0])
    row = paired(a, b, 2)
    theirs = stats.ttest_rel(a, b)
    assert (row["t"], row["p"]) == pytest.approx((theirs.statistic, theirs.pvalue))
    assert row["cohens_d"] == pytest.approx((a - b).mean() / (a - b).std(ddof=1))
    assert paired(a, a, 2)["p"] is None


def test_no_nan_reaches_json() -> None:
    flattened = flat(mae=Estimate(math.nan, (math.nan, math.nan), 0, "no pairs"), bias=Estimate(1.0, (0.5, 1.5), 9))
    assert flattened == {
        "mae": None,
        "mae_ci": [None, None],
        "bias": 1.0,
        "bias_ci": [0.5, 1.5],
        "reasons": {"mae": "no pairs"},
    }
    assert plain({"a": np.float64("nan"), "b": (np.int64(3), math.inf), 3: np.array([1.5])}) == {
        "a": None,
        "b": [3, None],
        "3": [1.5],
    }


def test_an_interval_has_both_ends_or_neither() -> None:
    """Few subjects once gave [x, nothing], which broke the summary after the files were written."""
    for seed in range(60):
        pairs = study(n_subjects=5 + seed % 3, seed=seed)
        found = accuracy(pairs, SubjectBootstrap(pairs.n_subjects, 200, seed))
        for name, one in found.__dict__.items():
            assert math.isnan(one.ci[0]) == math.isnan(one.ci[1]), name
            assert not math.isnan(one.ci[0]) or one.reason, name
        assert math.isnan(found.mae.ci[1]) or found.mae.ci[1] <= 10
