"""Ratings and subjects of the recordings, checked against each other, and the splits of the subjects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from avpenet_cli.dataset.segment_files import DESCRIPTION
from avpenet_cli.dataset.splits import STRATA, Split, leave_one_site_out, split_by_subject
from avpenet_cli.errors import SettingsError
from avpenet_cli.inputs import Recording
from avpenet_cli.study.ratings import Ratings, read_ratings
from avpenet_cli.study.sheets import quoted
from avpenet_cli.study.subjects import NOT_STATED, Subjects, read_subjects

RATED_COLUMN = "(rated)"
"""A separate stratum, so that unrated subjects do not fill a split in place of rated ones."""
_NAMED = 5
_INDEX_COLUMNS = ("recording", "subject", "reference", "n_raters", *DESCRIPTION.names, *STRATA, "split", "shard")


@dataclass(frozen=True)
class Annotations:
    """Everything that people state about the recordings.

    Attributes:
        ratings: of their segments, 0 to 10.
        subjects: which recordings belong to which subject.
        table: one row per recording that was asked for, indexed by its name: `subject`, `age_group`, `site`, the other
            columns of the subjects' table, and whether any rating names the recording's subject.
        splits: from subject to split.
        site_splits: the same for each site left out; empty with fewer than two.
    """

    ratings: Ratings
    subjects: Subjects
    table: pd.DataFrame
    splits: dict[str, Split]
    site_splits: dict[str, dict[str, Split]]

    @property
    def notices(self) -> tuple[str, ...]:
        """What was merged, or matched in spite of its spelling, in both tables."""
        return self.ratings.notices + self.subjects.notices


def read_annotations(
    ratings_path: Path,
    subjects_path: Path,
    recordings: Sequence[Recording],
    shares: tuple[float, float, float],
    seed: int,
) -> Annotations:
    """Read both tables, check them against the recordings, and split the subjects; nothing is decoded yet.

    Args:
        shares: of subjects for train, validation and test.
        seed: of the splits.

    Raises:
        SettingsError: a table that cannot be read, or names in it that cannot be decided; recordings without a subject,
            since a leak could hide in them; no rating for any of the recordings; a subject with two age groups or
            sites; a column that the index has too.
    """
    names = [recording.name for recording in recordings if not recording.problem]
    ratings = read_ratings(ratings_path).matched_to(names, "the inputs")
    subjects = read_subjects(subjects_path).matched_to(names, "the inputs")
    without = [name for name in names if name not in subjects.subject_of]
    if without:
        more = f" and {len(without) - _NAMED} more" if len(without) > _NAMED else ""
        raise SettingsError(
            f"{subjects_path} has no subject for {', '.join(map(quoted, without[:_NAMED]))}{more}",
            "give every recording a row, under the name that avpenet score shows for it: without a subject the same "
            "patient could be trained on and tested on",
        )
    rated = set(map(str, ratings.rows["recording"].unique()))
    if names and rated.isdisjoint(names):
        raise SettingsError(
            f"{ratings_path} has no recording in common with those named: {quoted(next(iter(sorted(rated))))} there, "
            f"{quoted(names[0])} here",
            "name recordings as paths relative to the inputs' common folder, as avpenet score does",
        )
    taken = sorted(set(subjects.columns) & {*_INDEX_COLUMNS, RATED_COLUMN} - set(STRATA))
    if taken:
        raise SettingsError(f"{subjects_path}: the index has a column {taken[0]} of its own", "rename that column")
    table = _subject_table(names, subjects, rated)
    splits = split_by_subject(table, shares, seed, (*STRATA, RATED_COLUMN))
    return Annotations(ratings, subjects, table, splits, dict(leave_one_site_out(table, seed)))


def _subject_table(names: list[str], subjects: Subjects, rated: set[str]) -> pd.DataFrame:
    table = subjects.table.reindex(names).astype(str)
    for column in STRATA:
        if column not in table.columns:
            table[column] = NOT_STATED
    others = [name for name in table.columns if name not in STRATA]
    table.insert(0, "subject", pd.Series([subjects.subject_of[name] for name in names], index=table.index, dtype="str"))
    rated_subjects = {table.at[name, "subject"] for name in names if name in rated}
    table[RATED_COLUMN] = table["subject"].isin(list(rated_subjects)).astype(str)
    return table[["subject", *STRATA, *others, RATED_COLUMN]]
