"""Groups of subjects and the human raters: which are compared, and which are not shown."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from avpenet_cli.report.document.groups import Stratum
from avpenet_cli.report.raters import raters_section
from avpenet_cli.report.strata import Levels, strata
from avpenet_cli.stats.bootstrap import Resampling


def grouped(levels: dict[str, int]) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    rows = []
    for place, (level, n_subjects) in enumerate(levels.items()):
        for subject in range(n_subjects):
            for _ in range(4):
                reference = rng.uniform(0, 10)
                name = f"{level}{subject}"
                rows.append((name, name, reference + place + rng.normal(), reference, level))
    return pd.DataFrame(rows, columns=["subject", "recording", "score", "reference", "site"])


def by_site(table: pd.DataFrame, failed: str = "") -> Stratum:
    """Compare sites; `failed` is a site none of whose recordings has a pair."""
    recordings = table.drop_duplicates("recording").set_index("recording")["site"]
    if failed:
        recordings[f"of {failed}"] = failed
    seconds = pd.DataFrame({"nominal_s": 10.0, "scored_s": 9.0}, index=recordings.index)
    seconds.loc[recordings == failed, "scored_s"] = 0.0
    (stratum,) = strata(table, {"site": Levels(table["site"], recordings)}, seconds, Resampling(300, 1))
    return stratum


def test_a_group_whose_recordings_all_failed_keeps_its_row() -> None:
    by_name = {group.name: group for group in by_site(grouped({"a": 12, "b": 12}), failed="ruined").groups}
    ruined = by_name["ruined"]
    assert (ruined.n_pairs, ruined.suppressed, ruined.coverage_share) == (0, True, 0.0)
    assert by_name["a"].coverage_share == pytest.approx(0.9)


def test_groups_under_ten_subjects_are_suppressed_and_not_compared() -> None:
    stratum = by_site(grouped({"a": 12, "b": 15, "c": 9}))
    by_name = {group.name: group for group in stratum.groups}
    assert by_name["c"].suppressed
    assert not by_name["c"].bias.computable
    assert {(row.first, row.second) for row in stratum.comparisons} == {("a", "b")}
    bias = next(row.test for row in stratum.comparisons if row.measure == "bias")
    assert bias.difference.value == pytest.approx(by_name["a"].bias.value - by_name["b"].bias.value)
    assert bias.p_bonferroni == pytest.approx(min(1, 2 * bias.p))
    assert bias.difference.ci[1] < 0


def test_groups_that_share_subjects_are_not_compared() -> None:
    table = grouped({"a": 12, "b": 12})
    table["subject"] = [name[1:] for name in table["subject"]]
    stratum = by_site(table)
    assert stratum.comparisons == ()
    assert "same subjects" in stratum.note


def test_the_model_is_compared_with_every_rater_and_raters_with_each_other() -> None:
    rng = np.random.default_rng(2)
    truth = rng.normal(5, 2, 60)
    by_rater = pd.DataFrame({name: truth + rng.normal(0, 0.8, 60) for name in ("a", "b", "c")})
    by_rater["alone"] = np.nan
    segments = pd.DataFrame({"score": truth + rng.normal(0, 1, 60), "subject": np.arange(60).astype(str)})
    section = raters_section(by_rater, segments, (3.0, 6.0), Resampling(300, 1))
    assert section is not None
    (complete,) = section.sets
    assert (complete.raters, complete.icc.n_targets) == (("a", "b", "c"), 60)
    couples = {(pair.first, pair.second) for pair in section.pairs}
    assert couples == {("model", "a"), ("model", "b"), ("model", "c"), ("a", "b"), ("a", "c"), ("b", "c")}
    assert section.pairs_left_out == 0


def test_one_rater_has_no_section() -> None:
    segments = pd.DataFrame({"score": [1.0, 2.0], "subject": ["a", "b"]})
    assert raters_section(pd.DataFrame({"a": [1.0, 2.0]}), segments, (3.0, 6.0), Resampling(300, 1)) is None
