"""Splits are by subject, stratified, stable and complete."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from avpenet_cli.dataset.splits import check_no_leak, leave_one_site_out, split_by_subject
from avpenet_cli.errors import SettingsError

SHARES = (0.7, 0.15, 0.15)


def archive(subjects_per_stratum: int, recordings_per_subject: int = 2) -> pd.DataFrame:
    """Two age groups at three sites."""
    rows = [
        {"subject": f"{site}{age[0]}{number:03}", "age_group": age, "site": site}
        for age, site in itertools.product(("neonate", "adult"), "ABC")
        for number in range(subjects_per_stratum)
        for _ in range(recordings_per_subject)
    ]
    return pd.DataFrame(rows)


def test_no_subject_or_recording_is_in_two_splits() -> None:
    table = archive(10)
    splits = split_by_subject(table, SHARES, seed=42)
    assert set(splits) == set(table["subject"])
    index = table.assign(recording=[f"{n}.mp4" for n in range(len(table))], split=table["subject"].map(splits))
    check_no_leak(index)
    leaking = index.copy()
    leaking.loc[leaking.index[5], "split"] = next(s for s in ("train", "test") if s != index["split"].iloc[5])
    with pytest.raises(SettingsError, match=f"subject {index['subject'].iloc[5]} is in "):
        check_no_leak(leaking)
    index.loc[[0, 40], "recording"] = "same.mp4"
    index.loc[0, "split"], index.loc[1, "split"], index.loc[40, "split"] = "train", "train", "test"
    index.loc[41, "split"] = "test"
    with pytest.raises(SettingsError, match=r"recording same\.mp4 is in train and test"):
        check_no_leak(index)


def test_splits_do_not_depend_on_the_order_of_the_table() -> None:
    table = archive(7)
    splits = split_by_subject(table, SHARES, seed=1)
    shuffled = table.iloc[np.random.default_rng(0).permutation(len(table))]
    assert split_by_subject(shuffled, SHARES, seed=1) == splits
    assert list(splits) == sorted(splits)
    assert split_by_subject(table, SHARES, seed=2) != splits


def test_a_new_subject_moves_nobody_in_other_strata() -> None:
    table = archive(20)
    newcomer = pd.DataFrame([{"subject": "Ca999", "age_group": "neonate", "site": "C"}])  # the last of the strata
    before = split_by_subject(table, SHARES, seed=3)
    after = split_by_subject(pd.concat([table, newcomer]), SHARES, seed=3)
    moved = {name for name in before if before[name] != after[name]}
    assert all(name.startswith("Cn") for name in moved)


@pytest.mark.parametrize("per_stratum", [3, 4, 5, 11])
def test_a_stratum_of_three_or_more_has_every_split(per_stratum: int) -> None:
    table = archive(per_stratum)
    for seed in range(5):
        of = table.assign(split=table["subject"].map(split_by_subject(table, SHARES, seed)))
        for _, stratum in of.groupby(["age_group", "site"]):
            assert set(stratum["split"]) == {"train", "validation", "test"}


def test_small_strata_are_shared_out_over_all_splits() -> None:
    table = pd.DataFrame({"subject": [f"s{n:03}" for n in range(100)], "site": [f"site{n // 2}" for n in range(100)]})
    counts = Counter(split_by_subject(table, SHARES, seed=0).values())
    assert counts == {"train": 70, "validation": 15, "test": 15}


def test_shares_of_a_large_archive_are_met() -> None:
    counts = Counter(split_by_subject(archive(50), SHARES, seed=0).values())
    assert counts == {"train": 210, "validation": 45, "test": 45}
    assert Counter(split_by_subject(archive(50), (0.8, 0.2, 0.0), seed=0).values()) == {"train": 240, "validation": 60}


def test_an_archive_kept_for_testing_is_not_divided() -> None:
    assert Counter(split_by_subject(archive(3), (0.0, 0.0, 1.0), seed=0).values()) == {"test": 18}


def test_missing_columns_make_one_stratum() -> None:
    table = pd.DataFrame({"subject": ["a", "b", "c"]})
    assert sorted(split_by_subject(table, SHARES, seed=0).values()) == ["test", "train", "validation"]
    assert split_by_subject(table.iloc[:1], SHARES, seed=0) == {"a": "train"}
    assert split_by_subject(table.iloc[:0], SHARES, seed=0) == {}
    assert leave_one_site_out(table, seed=0) == []


def test_a_subject_of_two_sites_is_refused() -> None:
    table = pd.DataFrame({"subject": ["a", "a", "b"], "age_group": ["adult"] * 3, "site": ["A", "B", "A"]})
    with pytest.raises(SettingsError, match="subject a has site A and site B"):
        split_by_subject(table, SHARES, seed=0)
    with pytest.raises(SettingsError, match="subject a has site A and site B"):
        leave_one_site_out(table, seed=0)


@pytest.mark.parametrize("shares", [(0.5, 0.5, 0.5), (1.2, -0.1, -0.1), (float("nan"), 0.5, 0.5)])
def test_invalid_shares_are_refused(shares: tuple[float, float, float]) -> None:
    with pytest.raises(SettingsError, match="not shares for train, validation and test"):
        split_by_subject(archive(3), shares, seed=0)


def test_the_left_out_site_is_the_test_split() -> None:
    table = archive(10)
    splits_by_site = leave_one_site_out(table, seed=42)
    assert [site for site, _ in splits_by_site] == ["A", "B", "C"]
    for site, splits in splits_by_site:
        assert set(splits) == set(table["subject"])
        assert {name for name, split in splits.items() if split == "test"} == {n for n in splits if n[0] == site}
        assert Counter(splits.values()) == {"test": 20, "train": 34, "validation": 6}
    assert leave_one_site_out(table[table["site"] == "A"], seed=42) == []
