"""Who is trained on, who decides when to stop, who is kept for the end. Always whole subjects."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from avpenet_cli.errors import SettingsError

Split = Literal["train", "validation", "test"]

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
STRATA = ("age_group", "site")
SITE = "site"
VALIDATION_SHARE = 0.15
"""Of the subjects of the remaining sites, where one site is left out."""


def check_shares(shares: Sequence[float]) -> None:
    """Are these shares of subjects for train, validation and test?

    Raises:
        SettingsError: not three numbers from 0 to 1 whose sum is 1.
    """
    audio = len(shares) == len(SPLITS) and all(0.0 <= share <= 1.0 for share in shares)
    if not audio or abs(sum(shares) - 1.0) > 1e-6:
        raise SettingsError(
            f"split {','.join(f'{share:g}' for share in shares)}: not shares for train, validation and test",
            "give three numbers from 0 to 1 whose sum is 1, such as 0.7,0.15,0.15, or 0,0,1 to test on all",
        )


def split_by_subject(
    table: pd.DataFrame, shares: tuple[float, float, float], seed: int, strata: Sequence[str] = STRATA
) -> dict[str, Split]:
    """Divide subjects at random within each stratum (METHOD.md: splits by subject).

    Every stratum of at least three subjects has one in each split whose share is not 0; what rounding gives a split
    too much or too little in one stratum is made up for in the next. The same table, in whatever order, and the same
    seed give the same splits.

    Args:
        table: one row per recording: `subject`, and the columns of `strata` as far as there are any.
        shares: of train, validation and test; their sum is 1.
        seed: of the drawing.
        strata: a stratum is the subjects that agree in these columns.

    Returns:
        Subject to split, by order of the subjects' names.

    Raises:
        SettingsError: shares that are none; a subject in more than one stratum.
    """
    check_shares(shares)
    stratum_of = _one_stratum_each(table, [name for name in strata if name in table.columns])
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
        # Each stratum draws from a source of its own: who joins one does not shuffle the others.
        words = np.frombuffer(hashlib.sha256("\0".join(stratum).encode()).digest()[:16], np.uint32)
        order = np.random.default_rng([seed, *words.tolist()]).permutation(len(subjects))
        names = [name for name, count in zip(SPLITS, counts, strict=True) for _ in range(count)]
        splits |= {subjects[place]: name for place, name in zip(order.tolist(), names, strict=True)}
    return {subject: splits[subject] for subject in sorted(splits)}


def _one_stratum_each(table: pd.DataFrame, columns: list[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for row in table[["subject", *columns]].astype(str).drop_duplicates().itertuples(index=False, name=None):
        subject, stratum = row[0], row[1:]
        if subject in found:
            name, one, other = next(
                (name, a, b) for name, a, b in zip(columns, found[subject], stratum, strict=True) if a != b
            )
            raise SettingsError(
                f"subject {subject} has {name} {one} and {name} {other}",
                "a subject has one of each, in all of its recordings: mend the table of subjects",
            )
        found[subject] = stratum
    return found


def _counts(owed: np.ndarray, subjects: int, wanted: np.ndarray) -> np.ndarray:
    """How many of a stratum's subjects go to each split: (3,) int, by largest remainder.

    Args:
        owed: (3,) how many each split should have by now, less what it has; may be negative.
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
    """One division for each site: its subjects are the test, the others' train and validation.

    Args:
        table: one row per recording: `subject`, `site`, and `age_group` if there is one.
        seed: of the drawing of the validation subjects.
        validation_share: of the other sites' subjects.

    Returns:
        (site, subject to split) by the sites' names; empty with fewer than two sites.

    Raises:
        SettingsError: a subject in more than one site or age group; a share that is none.
    """
    if SITE not in table.columns:
        return []
    _one_stratum_each(table, [name for name in STRATA if name in table.columns])
    sites = sorted(map(str, table[SITE].unique()))
    divisions: list[tuple[str, dict[str, Split]]] = []
    for site in sites if len(sites) > 1 else []:
        here = table[SITE].astype(str) == site
        splits = split_by_subject(table[~here], (1.0 - validation_share, validation_share, 0.0), seed)
        splits |= {str(subject): "test" for subject in table.loc[here, "subject"]}
        divisions.append((site, {subject: splits[subject] for subject in sorted(splits)}))
    return divisions


def check_no_leak(index: pd.DataFrame) -> None:
    """Is every subject, and every recording, in one split only?

    Args:
        index: `subject`, `recording`, `split`, one row per segment.

    Raises:
        SettingsError: naming one that is in two.
    """
    for column in ("subject", "recording"):
        pairs = index[[column, "split"]].astype(str).drop_duplicates()
        twice = pairs[pairs.duplicated(column, keep=False)]
        if len(twice):
            name = twice[column].iloc[0]
            both = " and ".join(twice.loc[twice[column] == name, "split"])
            raise SettingsError(
                f"{column} {name} is in {both}: what is learned on the one would be tested on itself in the other",
                "prepare the store again",
            )
