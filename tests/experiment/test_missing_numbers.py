"""What cannot be computed of an experiment is missing with its reason: failed systems, degenerate data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from avpenet_cli.experiment.predictions import PredictionKey
from avpenet_cli.experiment.tables import write_tables
from avpenet_cli.report.document.review import Notice
from tests.experiment.experiments import (
    NOISE,
    SEEDS,
    Experiment,
    check_reasons,
    group_of,
    make_index,
    read_predictions,
    system,
)


def test_failed_and_absent_systems_are_named_with_their_reason(folder: Path) -> None:
    made = Experiment(folder)
    made.views = [NOISE]
    made.add(system("avpenet"), 0.8)
    made.systems += [
        system("early-fusion", status="failed", reason="out of memory", seeds=()),
        system("context", status="not run", reason="--only", seeds=()),
        system("bilstm"),
    ]
    found = made.analyse()
    reasons = [item.test.mae.mean.reason for item in found.systems]
    assert reasons == ["", "failed: out of memory", "not run: --only", "no test predictions"]
    assert [item.name for item in found.failed] == ["early-fusion"]
    assert found.notices[0] == Notice("danger", "1 system failed to train: early-fusion.")
    assert not found.pairs and {item.system for item in found.conditions} == {"avpenet"}
    claim = next(claim for claim in found.claims if claim.name == "cross-attention over early fusion")
    assert (claim.verdict, claim.reason) == ("not tested", "early-fusion has no predictions: out of memory")
    check_reasons(found)


def _one_subject_at_a_site(index: pd.DataFrame) -> None:
    index.loc[(index["site"] == "C") & (index["subject"] != "s6"), "site"] = "A"


def _no_test_subject_in_a_group(index: pd.DataFrame) -> None:
    index.loc[index["split"] == "test", "age_group"] = "adult"


def _no_high_reference(index: pd.DataFrame) -> None:
    index["reference"] = index["reference"] / 2


def _constant_reference(index: pd.DataFrame) -> None:
    index["reference"] = 5.0


def _one_subject(index: pd.DataFrame) -> None:
    index.loc[index["split"] == "test", "subject"] = "s0"


def _unrated_test_split(index: pd.DataFrame) -> None:
    index.loc[index["split"] == "test", "reference"] = np.nan


@pytest.mark.parametrize(
    "change",
    [
        _one_subject_at_a_site,
        _no_test_subject_in_a_group,
        _no_high_reference,
        _constant_reference,
        _one_subject,
        _unrated_test_split,
    ],
)
def test_degenerate_data_give_reasons(folder: Path, change: Any) -> None:
    index = make_index()
    change(index)
    made = Experiment(folder, index)
    made.views = [NOISE]
    made.add(system("avpenet"), 0.5, [NOISE.name])
    made.add(system("concatenation", seeds=(7,)), 1.0, [NOISE.name], lost=1.0)
    for site in ("A", "C"):
        made.write(PredictionKey("avpenet", 1, site), made.rows("test", "clean", 1.0, (3,), site))
    found = made.analyse()
    check_reasons(found)
    if change is _unrated_test_split:
        assert {item.test.mae.mean.reason for item in found.systems} == {"no test predictions"} and not found.pairs
    else:
        assert all((found.groups, found.conditions, found.sites, found.seeds, found.pairs))
    tables = folder.parent / "tables"
    tables.mkdir()
    write_tables(tables, found)
    if change is _one_subject_at_a_site:
        (level,) = (level for level in group_of(found, "avpenet", "site").levels if level.level == "C")
        assert level.suppressed and not level.mae.computable and level.mae.reason == "fewer than 10 segments"
        assert "one subject" in next(item for item in found.sites if item.site == "C").mae.mean.reason
    if change is _no_test_subject_in_a_group:
        group = group_of(found, "avpenet", "age_group")
        assert [level.n_segments for level in group.levels] == [24 * 6, 0] and group.note and not group.comparisons
        assert group.levels[1].mae.reason == "no scored segment in the test split"
    if change is _no_high_reference:
        assert found.systems[0].test.macro_f1.mean.reason.startswith("neither side is ever high")
        assert found.systems[0].test.kappa.mean.computable
    if change is _constant_reference:
        assert "reference is the same" in found.systems[0].test.pearson.mean.reason


def test_a_system_without_any_score_gives_reasons(folder: Path) -> None:
    made = Experiment(folder)
    made.views = [NOISE]
    made.add(system("avpenet"), 0.5, [NOISE.name])
    made.add(system("deepfacelift"), 0.5, [NOISE.name])
    for seed in SEEDS:
        rows = read_predictions(folder)
        rows = rows[(rows["system"] == "deepfacelift") & (rows["seed"] == seed)].assign(score=np.nan)
        made.write(PredictionKey("deepfacelift", seed), rows)
    found = made.analyse()
    check_reasons(found)
    assert "is scored in every seed" in found.systems[1].test.mae.mean.reason and not found.systems[1].test.n_segments
    assert found.pairs[0].test.difference.reason == "no segments in common"
    assert found.best_on_validation == "avpenet"


def test_constant_scores_give_reasons(folder: Path) -> None:
    made = Experiment(folder)
    made.add(system("avpenet", seeds=(1,)), 0.5)
    rows = read_predictions(folder).assign(score=5.0)
    made.write(PredictionKey("avpenet", 1), rows)
    found = made.analyse()
    check_reasons(found)
    assert "score is the same" in found.systems[0].test.pearson.mean.reason
    assert any("one seed" in notice.text for notice in found.notices)
    assert np.isnan(found.systems[0].test.mae.sd) and found.systems[0].test.mae.n_seeds == 1
    assert found.systems[0].test.kappa.mean.value == pytest.approx(0, abs=1e-12)


def test_a_column_with_too_many_levels_says_so(folder: Path) -> None:
    made = Experiment(folder)
    made.add(system("avpenet"))
    made.index["ward"] = made.index["subject"]
    group = group_of(made.analyse(columns=("ward",)), "avpenet", "ward")
    assert group.note == "72 levels: too many to show" and not group.levels
