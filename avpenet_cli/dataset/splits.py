"""Train, validation and test splits, always by whole subjects."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from avpenet_cli.errors import SettingsError
from avpenet_cli.keys import normalise_key, shown

Split = Literal["train", "validation", "test"]

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
STRATA = ("age_group", "site")
SITE = "site"
VALIDATION_SHARE = 0.15
"""Share of the remaining sites' subjects that are used for validation if one site is left out."""


def check_shares(shares: Sequence[float]) -> None:
    """Check shares of subjects for train, validation and test.

    Raises:
        SettingsError: not three numbers from 0 to 1 whose sum is 1.
    """
    in_range = len(shares) == len(SPLITS) and all(0.0 <= share <= 1.0 for share in shares)
    if not in_range or abs(sum(shares) - 1.0) > 1e-6:
        raise SettingsError(
            f"split {','.join(f'{share:g}' for share in shares)}: not shares for train, validation and test",
            "give three numbers from 0 to 1 whose sum is 1, such as 0.7,0.15,0.15, or 0,0,1 to test on all",
        )


def split_by_subject(
    table: pd.DataFrame, shares: tuple[float, float, float], seed: int, strata: Sequence[str] = STRATA
) -> dict[str, Split]:
    """Split subjects at random within each stratum.

    Every stratum of at least three subjects has one in each split whose share is not 0; rounding errors of one stratum
    are made up for in the next. The same table, in any order, and the same seed give the same splits.

    Args:
        table: one row per recording: `subject`, and those columns of `strata` that exist.
        shares: of train, validation and test; their sum is 1.
        seed: of the draw.
        strata: a stratum is the subjects that agree in these columns.

    Returns:
        Subject to split, in the order of the subjects' names.

    Raises:
        SettingsError: invalid shares; a subject in more than one stratum.
    """
    check_shares(shares)
    stratum_of = _strata_by_subject(table, [name for name in strata if name in table.columns])
    members: dict[tuple[str, ...], list[str]] = {}
    for subject in sorted(stratum_of):
        members.setdefault(stratum_of[subject], []).append(subject)
    owed = np.zeros(len(SPLITS))
    splits: dict[str, Split] = {}
    for stratum in sorted(members):
        subjects = members[stratum]
        owed += np.array(shares) * len(subjects)
        counts = _counts(owed, len(subjects), np.array(shares) > 0)
        owed -= counts
        # Each stratum has a generator of its own, so that a subject who joins one does not reshuffle the others.
        words = np.frombuffer(hashlib.sha256("\0".join(stratum).encode()).digest()[:16], np.uint32)
        order = np.random.default_rng([seed, *words.tolist()]).permutation(len(subjects))
        names = [name for name, count in zip(SPLITS, counts, strict=True) for _ in range(count)]
        splits |= {subjects[number]: name for number, name in zip(order.tolist(), names, strict=True)}
    return {subject: splits[subject] for subject in sorted(splits)}


def _strata_by_subject(table: pd.DataFrame, columns: list[str]) -> dict[str, tuple[str, ...]]:
    strata: dict[str, tuple[str, ...]] = {}
    for row in table[["subject", *columns]].astype(str).drop_duplicates().itertuples(index=False, name=None):
        subject, stratum = row[0], row[1:]
        if subject in strata:
            name, first, second = next(
                (name, a, b) for name, a, b in zip(columns, strata[subject], stratum, strict=True) if a != b
            )
            raise SettingsError(
                f"subject {subject} has {name} {first} and {name} {second}",
                "correct the table of subjects: a subject has the same in all of its recordings",
            )
        strata[subject] = stratum
    return strata


def _counts(owed: np.ndarray, subjects: int, wanted: np.ndarray) -> np.ndarray:
    """Number of a stratum's subjects that go to each split: (3,) int, by largest remainder.

    Args:
        owed: (3,) how many subjects each split still lacks; may be negative.
        wanted: (3,) bool, splits whose share is not 0.
    """
    counts = np.zeros(len(SPLITS), np.int64)
    for _ in range(subjects):
        counts[np.argmax(np.where(wanted, owed - counts, -np.inf))] += 1
    if subjects >= len(SPLITS):
        for split in np.flatnonzero(wanted & (counts == 0)):
            counts[np.argmax(counts)] -= 1
            counts[split] += 1
    return counts


def leave_one_site_out(
    table: pd.DataFrame, seed: int, validation_share: float = VALIDATION_SHARE
) -> list[tuple[str, dict[str, Split]]]:
    """Splits for each site left out: its subjects are the test split, those of other sites train and validation.

    Args:
        table: one row per recording: `subject`, `site`, and `age_group` if there is one.
        seed: of the draw of the validation subjects.
        validation_share: of the other sites' subjects.

    Returns:
        (site, subject to split) by the sites' names; empty with fewer than two sites.

    Raises:
        SettingsError: a subject in more than one site or age group; an invalid share.
    """
    if SITE not in table.columns:
        return []
    _strata_by_subject(table, [name for name in STRATA if name in table.columns])
    sites = sorted(map(str, table[SITE].unique()))
    splits_by_site: list[tuple[str, dict[str, Split]]] = []
    for site in sites if len(sites) > 1 else []:
        here = table[SITE].astype(str) == site
        splits = split_by_subject(table[~here], (1.0 - validation_share, validation_share, 0.0), seed)
        splits |= {str(subject): "test" for subject in table.loc[here, "subject"]}
        splits_by_site.append((site, {subject: splits[subject] for subject in sorted(splits)}))
    return splits_by_site


def check_no_leak(index: pd.DataFrame) -> None:
    """Check that every subject, under any spelling of the name, and every recording is in one split only.

    Args:
        index: `subject`, `recording`, `split`, one row per segment.

    Raises:
        SettingsError: a subject or recording is in two splits; the message names it.
    """
    for column in ("subject", "recording"):
        pairs = index[[column, "split"]].astype(str).drop_duplicates()
        # Two recordings whose names differ in letter case only are two files.
        key = pairs[column].map(normalise_key) if column == "subject" else pairs[column]
        twice = pairs.assign(key=key).drop_duplicates(["key", "split"])
        twice = twice[twice.duplicated("key", keep=False)]
        if len(twice):
            same = twice[twice["key"] == twice["key"].iloc[0]]
            names = dict.fromkeys(map(shown, same[column]))
            both = " and ".join(same["split"])
            raise SettingsError(
                f"{column} {', '.join(names)} is in {both}: the network would be tested on what it was trained on",
                "prepare the store again",
            )
