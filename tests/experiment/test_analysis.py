"""Statistics of an experiment from its files of predictions, against other packages."""

from __future__ import annotations

import csv
import stat
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_ind

from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.experiment.analysis import dataset_summary, group_columns
from avpenet_cli.experiment.descriptions import ViewDescription
from avpenet_cli.experiment.groups import INTENSITY
from avpenet_cli.experiment.predictions import (
    PredictionKey,
)
from avpenet_cli.experiment.published import claims, published_figures
from avpenet_cli.experiment.results import ACROSS_GROUPS, ExperimentResult, PairResult
from avpenet_cli.experiment.tables import TABLES, write_tables
from tests.experiment.experiments import (
    NOISE,
    SEEDS,
    Experiment,
    check_reasons,
    group_of,
    read_predictions,
    system,
)
from tests.support.training_stores import make_store

COVER = ViewDescription("cover_upper_before_detection", "Upper half", "cover", "upper", place="before detection")


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """Five systems of known error in three groups, two views, and one site left out."""
    made = Experiment(tmp_path_factory.mktemp("predictions"))
    made.views = [NOISE, COVER]
    made.add(system("avpenet", "ours"), 0.8, ["noise_white_5_db", "cover_upper_before_detection"], lost=0.3)
    made.add(system("concatenation"), 1.6)
    made.add(system("audio-only", modalities=("audio",)), 1.3, ["noise_white_5_db"], validation_spread=0.3)
    made.add(system("fusion-transformer", "fusion"), 0.8)
    made.add(system("fusion-gate", "fusion"), 0.9)
    for seed in SEEDS:
        rows = made.rows("test", "clean", 1.4, (seed,), site="B")
        made.write(PredictionKey("avpenet", seed, "B"), rows)
    return made


@pytest.fixture(scope="module")
def result(experiment: Experiment) -> ExperimentResult:
    return experiment.analyse()


def errors_of(experiment: Experiment, name: str, view: str = "clean") -> pd.DataFrame:
    """Subject, error and difference of each test segment, mean over seeds, straight from the files."""
    table = read_predictions(experiment.folder)
    table = table[(table["system"] == name) & (table["view"] == view) & (table["split"] == "test")]
    table = table[table["left_out_site"] == ""]
    table = table.assign(difference=table["score"] - table["reference"])
    table["error"] = table["difference"].abs()
    means = table.groupby(["recording", "segment", "subject"], as_index=False)[["error", "difference"]].mean()
    return means.merge(experiment.index[["recording", "segment", "site", "age_group", "reference"]])


def pair_of(result: ExperimentResult, first: str, second: str) -> PairResult:
    return next(pair for pair in result.pairs if (pair.first, pair.second) == (first, second))


def test_a_systems_mae_is_the_mean_over_seeds_of_its_mae(experiment: Experiment, result: ExperimentResult) -> None:
    assert [item.system.name for item in result.systems] == [item.name for item in experiment.systems]
    for item in result.systems:
        table = errors_of(experiment, item.system.name)
        assert item.test.mae.mean.value == pytest.approx(table["error"].mean(), abs=1e-9)
        assert item.test.n_segments == len(table) == 24 * 6 and item.test.n_subjects == 24 and not item.test.n_missing
        assert item.test.mae.low < item.test.mae.mean.value < item.test.mae.high and item.test.mae.n_seeds == 2
        seeds = [seed for seed in result.seeds if seed.system == item.system.name]
        assert [seed.seed for seed in seeds] == list(SEEDS)
        assert np.mean([seed.mae for seed in seeds]) == pytest.approx(item.test.mae.mean.value, abs=1e-9)
        assert np.mean([seed.validation_mae for seed in seeds]) == pytest.approx(item.validation.mae.mean.value)
    check_reasons(result)


def test_pairs_agree_with_scipy_and_statsmodels(experiment: Experiment, result: ExperimentResult) -> None:
    assert len(result.pairs) == 10
    for pair in result.pairs:
        first, second = errors_of(experiment, pair.first), errors_of(experiment, pair.second)
        theirs = stats.ttest_rel(first.groupby("subject")["error"].mean(), second.groupby("subject")["error"].mean())
        assert pair.test.t == pytest.approx(theirs.statistic, abs=1e-9)
        assert pair.test.p == pytest.approx(theirs.pvalue, abs=1e-9)
        change = first["error"].mean() - second["error"].mean()
        assert pair.mae_difference.value == pytest.approx(change, abs=1e-9)
        assert pair.percent_change.value == pytest.approx(100 * change / second["error"].mean(), abs=1e-9)
    families = {pair.family for pair in result.pairs}
    assert families == {"comparison", "fusion", ACROSS_GROUPS}
    for family in families:
        members = [pair for pair in result.pairs if pair.family == family]
        p = [pair.test.p for pair in members]
        for method, ours in (
            ("bonferroni", [pair.test.p_bonferroni for pair in members]),
            ("holm", [pair.p_holm for pair in members]),
        ):
            assert ours == pytest.approx(multipletests(p, method=method)[1], abs=1e-9)
    comparison = [{pair.first, pair.second} for pair in result.pairs if pair.family == "comparison"]
    assert {"avpenet", "concatenation"} in comparison and {"audio-only", "concatenation"} in comparison
    assert len(comparison) == 3 and pair_of(result, "audio-only", "fusion-gate").family == ACROSS_GROUPS


def test_pairs_count_only_segments_that_both_score(folder: Path) -> None:
    made = Experiment(folder)
    made.add(system("avpenet"))
    made.add(system("concatenation"), 1.5)
    for seed in SEEDS:
        key = PredictionKey("concatenation", seed)
        rows = read_predictions(folder)
        rows = rows[(rows["system"] == key.system) & (rows["seed"] == seed)]
        rows.loc[(rows["split"] == "test") & (rows["segment"] == seed), "score"] = np.nan
        made.write(key, rows)
    found = made.analyse()
    # Segment 1 has no score in one seed, segment 2 in the other.
    assert found.systems[1].test.n_segments == 24 * 4 and found.systems[1].test.n_missing == 24 * 2
    assert "Rated test segments without a score: concatenation 48; the others 0." in found.notices[-1].text
    pair = found.pairs[0]
    assert pair.n_segments == 24 * 4
    one = errors_of(made, "avpenet")
    assert pair.mae_first == pytest.approx(one[~one["segment"].isin([1, 2])]["error"].mean(), abs=1e-9)


def test_groups_agree_with_scipy_and_statsmodels(experiment: Experiment, result: ExperimentResult) -> None:
    table = errors_of(experiment, "concatenation")
    group = group_of(result, "concatenation", "site")
    assert [level.level for level in group.levels] == ["A", "B", "C"] and len(group.comparisons) == 6
    for level in group.levels:
        part = table[table["site"] == level.level]
        assert (level.n_segments, level.n_subjects) == (len(part), part["subject"].nunique())
        assert level.mae.value == pytest.approx(part["error"].mean(), abs=1e-9)
        subjects = part.groupby("subject")["difference"].mean()
        assert level.bias.value == pytest.approx(subjects.mean(), abs=1e-9)
        interval = stats.ttest_1samp(subjects, 0).confidence_interval(0.95)
        assert level.bias.ci == pytest.approx((interval.low, interval.high), abs=1e-9)
    p = []
    for item in group.comparisons:
        column = {"mae": "error", "bias": "difference"}[item.measure]
        means = table.groupby(["site", "subject"])[column].mean()
        first, second = means[item.first], means[item.second]
        theirs = stats.ttest_ind(first, second, equal_var=False)
        assert (item.test.t, item.test.p) == pytest.approx((theirs.statistic, theirs.pvalue), abs=1e-9)
        low, high = theirs.confidence_interval(0.9)
        assert item.equivalence.interval == pytest.approx((low, high), abs=1e-9)
        tost = ttost_ind(first, second, -0.5, 0.5, usevar="unequal")[0]
        assert item.equivalence.p == pytest.approx(tost, abs=1e-9) and item.equivalence.margin == 0.5
        p.append(theirs.pvalue)
    corrected = multipletests(p, method="bonferroni")[1]
    assert [item.test.p_bonferroni for item in group.comparisons] == pytest.approx(corrected, abs=1e-9)


def test_intensities_are_compared_within_subjects(experiment: Experiment, result: ExperimentResult) -> None:
    group = group_of(result, "avpenet", INTENSITY)
    assert [level.level for level in group.levels] == ["low (to 3)", "moderate (to 6)", "high (above 6)"]
    assert sum(level.n_segments for level in group.levels) == 24 * 6
    table = errors_of(experiment, "avpenet")
    comparison = group.comparisons[0]
    assert comparison.design == "paired" and comparison.measure == "mae"
    low = table[table["reference"] <= 3].groupby("subject")["error"].mean()
    moderate = table[(table["reference"] > 3) & (table["reference"] <= 6)].groupby("subject")["error"].mean()
    shared = low.index.intersection(moderate.index)
    theirs = stats.ttest_rel(low[shared], moderate[shared])
    assert comparison.test.p == pytest.approx(theirs.pvalue, abs=1e-9)


def test_conditions_compare_the_same_segments_and_count_the_lost(
    experiment: Experiment, result: ExperimentResult
) -> None:
    by_key = {(item.system, item.view): item for item in result.conditions}
    item = by_key["avpenet", COVER.name]
    changed, clean = errors_of(experiment, "avpenet", COVER.name), errors_of(experiment, "avpenet")
    scored = changed["error"].notna()
    assert item.n_lost == int((~scored).sum()) > 10 and item.n_segments == int(scored.sum())
    assert item.lost.value == pytest.approx((~scored).mean(), abs=1e-12) and item.lost.has_interval
    assert item.mae.value == pytest.approx(changed["error"][scored].mean(), abs=1e-9)
    assert item.clean_mae.value == pytest.approx(clean["error"][scored].mean(), abs=1e-9)
    assert item.change.value == pytest.approx(item.mae.value - item.clean_mae.value, abs=1e-9)
    assert item.change.ci[0] > 0
    assert by_key["audio-only", COVER.name].not_computable == "it does not read the face"
    assert by_key["concatenation", NOISE.name].not_computable == "no predictions under this view"
    untouched = by_key["audio-only", NOISE.name]
    assert untouched.n_lost == 0 and untouched.lost.value == 0 and untouched.lost.reason == "no segment is lost"


def test_a_site_left_out_is_compared_with_the_same_system_trained_on_it(
    experiment: Experiment, result: ExperimentResult
) -> None:
    (site,) = result.sites
    assert (site.system, site.site, site.mae.n_seeds) == ("avpenet", "B", 2)
    index = experiment.index
    assert site.n_segments == int((index["site"] == "B").sum()) and site.n_shared < site.n_segments
    within = errors_of(experiment, "avpenet")
    within = within[within["site"] == "B"]
    assert site.n_shared == len(within) and site.within_mae.value == pytest.approx(within["error"].mean(), abs=1e-9)
    assert site.difference.ci[0] > 0


def test_the_best_system_is_chosen_on_validation_alone(result: ExperimentResult) -> None:
    by_name = {item.system.name: item.test.mae.mean.value for item in result.systems}
    assert result.best_on_validation == "audio-only"
    assert by_name["audio-only"] > by_name["avpenet"]


def test_claims_are_decided_by_the_rule_that_they_state(result: ExperimentResult) -> None:
    by_name = {claim.name: claim for claim in result.claims}
    attention = by_name["cross-attention over concatenation"]
    assert (attention.first, attention.second, attention.verdict) == ("avpenet", "concatenation", "holds")
    assert attention.paper_percent == pytest.approx(100 * (0.89 - 1.09) / 1.09)
    # Half the spread of errors: a larger effect than the paper's.
    assert attention.size == "larger" and attention.percent.ci[1] < -18.3 and attention.difference.ci[1] < 0
    assert "no system context" in by_name["context helps"].reason
    assert by_name["context helps"].verdict == "not tested" and by_name["context helps"].paper_percent is None


@pytest.mark.parametrize(
    ("claim", "spread", "other", "verdict"),
    [
        ("audio-visual over audio", 0.5, 1.5, "holds"),
        ("audio-visual over audio", 1.5, 0.5, "does not hold"),
        # A small advantage counts where it is shown, and a small disadvantage rules out one that is worth having.
        ("audio-visual over audio", 0.01, 0.05, "holds"),
        ("audio-visual over audio", 0.05, 0.01, "does not hold"),
        ("audio-visual over audio", 3.0, 3.1, "undecided"),
        ("transformer matches", 0.1, 0.12, "holds"),
        ("transformer matches", 0.5, 1.5, "does not hold"),
        ("transformer matches", 3.0, 3.1, "undecided"),
    ],
)
def test_claims_hold_do_not_hold_or_stay_undecided(
    folder: Path, claim: str, spread: float, other: float, verdict: str
) -> None:
    made = Experiment(folder)
    made.add(system("avpenet"), spread)
    made.add(system("audio-only" if claim.endswith("audio") else "transformer"), other)
    (found,) = (item for item in made.analyse(columns=()).claims if item.name == claim)
    assert found.verdict == verdict and "95 %" in found.rule


def test_published_figures_stand_apart(result: ExperimentResult) -> None:
    by_name = {item.system.name: item for item in result.systems}
    published = by_name["concatenation"].published_mae
    assert published is not None and published.value == 1.09 and "10.1371/journal.pdig.0001301" in published.source
    assert by_name["concatenation"].test.mae.mean.value != pytest.approx(published.value)
    own = {figure.metric: figure for figure in by_name["avpenet"].published}
    assert (own["mae"].low, own["mae"].high, own["accuracy"].value) == (0.82, 0.96, 0.814)
    names = [claim.name for claim in claims()]
    assert len(set(names)) == len(names)
    for claim in claims():
        have = {figure.system for figure in published_figures() if figure.metric == "mae"}
        if claim.origin == "paper":
            assert set(claim.first) & have and set(claim.second) & have, claim.name


def test_tables_are_complete_safe_and_private(tmp_path: Path, folder: Path) -> None:
    made = Experiment(folder)
    made.views = [NOISE]
    made.add(system("avpenet", title="=HYPERLINK(0)"), 0.8, [NOISE.name])
    made.add(system("concatenation"), 1.2)
    made.index.loc[made.index["site"] == "B", "site"] = "@cmd"
    found = made.analyse()
    tables = tmp_path / "tables"
    tables.mkdir()
    digests = write_tables(tables, found)
    assert set(digests) == {table.file for table in TABLES} == {path.name for path in tables.iterdir()}
    frames = {path.stem: pd.read_csv(path) for path in tables.iterdir()}
    for path in tables.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with path.open(newline="") as file:
            assert not {"nan", "inf", "None"} & {cell for row in csv.reader(file) for cell in row}
        assert b"\n=" not in path.read_bytes() and b",=" not in path.read_bytes() and b",@" not in path.read_bytes()
    assert frames["systems"]["title"].tolist() == ["'=HYPERLINK(0)", "concatenation"]
    assert frames["systems"]["mae"][0] == pytest.approx(found.systems[0].test.mae.mean.value, abs=5e-5)
    assert frames["systems"]["published_mae"].tolist() == [0.89, 1.09]
    assert frames["pairs"]["p"][0] == pytest.approx(found.pairs[0].test.p, rel=1e-5)
    assert set(frames["groups"]["level"]) >= {"'@cmd", "A"}
    assert len(frames["claims"]) == len(claims()) and len(frames["seeds"]) == 4 and frames["sites"].empty
    missing = frames["claims"][frames["claims"]["difference"].isna()]
    assert len(missing) and missing["reason"].notna().all()


def test_an_experiment_on_a_prepared_store_is_analysed(tmp_path: Path, folder: Path) -> None:
    store = SegmentStore.open(make_store(tmp_path, 16, 4))
    summary = dataset_summary(store)
    assert summary.subjects == {"train": 8, "validation": 4, "test": 4} and summary.sha256 == store.digest
    assert summary.rated_segments["test"] == 16
    made = Experiment(folder, store.index)
    made.add(system("avpenet"), 0.5)
    found = made.analyse(columns=group_columns(store))
    check_reasons(found)
    assert found.systems[0].test.n_segments == 16 and found.systems[0].test.n_subjects == 4
    assert found.systems[0].test.mae.mean.reason == "fewer than 5 subjects: too few to resample"
    assert any("intervals are wide" in notice.text for notice in found.notices)
    assert {group.column for group in found.groups} == {*group_columns(store), INTENSITY}
