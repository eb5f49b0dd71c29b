"""The table of subjects: whose recording it is, and columns to stratify by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from avpenet_cli.errors import SettingsError
from avpenet_cli.keys import (
    Spellings,
    describe_difference,
    find_look_alikes,
    look_alike_error,
    match_names,
    merge_spellings,
    nearly_alike,
    shown,
)
from avpenet_cli.study.months import ACCEPTED_MONTHS, month_of, month_of_date
from avpenet_cli.study.readers import read_sheet
from avpenet_cli.study.sheets import Sheet, SourceFile, Table, quoted

NOT_STATED = "(not stated)"
"""Level of an empty cell in the table of subjects."""
DATE, MONTH = "date", "month"

_REQUIRED = ("recording", "subject")
_PERSONAL = ("sex", "gender", "age", "age_group", "birth_year", "site")
"""Columns in which a person has the same value in every row: where they differ, a merged name may be of two people."""
_KNOWN = (*_REQUIRED, *_PERSONAL, DATE, MONTH, "batch")
_TWO_OR_ONE = (
    "write the subject in the same way in every row if it is one person, or rename one of them if they are two"
)


@dataclass(frozen=True)
class Subjects:
    """Subjects of the recordings.

    Attributes:
        file: where they come from.
        subject_of: recording to subject.
        columns: the other columns, to stratify by.
        table: those columns as text, indexed by recording; an empty cell is `(not stated)`, a month is `2026-01`.
        notices: what was merged, matched in spite of its spelling, or kept apart although nearly the same.
    """

    file: SourceFile
    subject_of: dict[str, str]
    columns: tuple[str, ...]
    table: pd.DataFrame
    notices: tuple[str, ...] = ()

    def matched_to(self, recordings: Sequence[str], source: str = "the scores") -> Subjects:
        """This table with the recordings' own spelling of their names; `source` is where that is, for notices.

        Raises:
            SettingsError: several recordings could be meant; rows of different spellings of a recording differ.
        """
        matches = match_names(self.subject_of, recordings, self.file.name)
        if not matches.respelt:
            return self
        written_of: dict[str, str] = {}
        for written in self.subject_of:
            other = written_of.setdefault(matches.names[written], written)
            if other != written:
                self._check_same(other, written)
        table = self.table.loc[list(written_of.values())].set_axis(pd.Index(list(written_of), dtype="str"), axis=0)
        subject_of = {name: self.subject_of[written] for name, written in written_of.items()}
        notices = self.notices + matches.notice(self.file.name, source)
        return replace(self, subject_of=subject_of, table=table, notices=notices)

    def _check_same(self, first: str, second: str) -> None:
        """Check that rows of two spellings of the same recording do not contradict each other."""
        values = ((self.subject_of[name], *self.table.loc[name]) for name in (first, second))
        for column, value, other in zip(("subject", *self.columns), *values, strict=True):
            if value != other:
                raise SettingsError(
                    f"{self.file.name}: {shown(first)} has {column} {shown(value)} and {shown(second)} has {column} "
                    f"{shown(other)}, but the names differ only in {describe_difference(first, second)} and only one "
                    "such recording exists",
                    "keep one row for each recording",
                )


def read_subjects(source: Table) -> Subjects:
    """Read the subjects of the recordings, and columns to stratify by.

    Spellings of a subject, or of a level of another column, that differ in white space, Unicode form or letter case are
    read as one.

    Args:
        source: .csv, .parquet or .jsonl, or a DataFrame, with `recording`, `subject` and any other columns.

    Raises:
        SettingsError: a table that cannot be read or lacks columns, an empty recording or subject, or a recording with
            two rows that differ; spellings of a subject that may be two people; a month or date that is none.
    """
    sheet = read_sheet(source, _KNOWN, "table of subjects", _REQUIRED)
    sheet.require(_REQUIRED, "table of subjects", "it needs recording and subject")
    for name in _REQUIRED:
        sheet.filled(name)
    columns = tuple(name for name in sheet.columns if name not in _REQUIRED)
    written = pd.DataFrame({name: sheet.strings(name) for name in sheet.columns})
    whole = written.assign(**{name: _levels(sheet, written[name]) for name in columns})
    subjects = merge_spellings(written["subject"])
    whole["subject"] = written["subject"].map(subjects.names).astype("str")
    _check_people(sheet, subjects, written["subject"], whole)
    first = ~whole.duplicated().to_numpy()
    conflicting = first & whole.duplicated("recording").to_numpy()
    if conflicting.any():
        recording = quoted(whole["recording"].iloc[int(np.flatnonzero(conflicting)[0])])
        raise sheet.fault(
            conflicting, f"recording {recording} has an earlier row that differs", "keep one row for each recording"
        )
    table = whole[first].set_index("recording")
    subject_of = dict(zip(map(str, table.index), map(str, table["subject"]), strict=True))
    file = sheet.path.name
    notices = [*subjects.notice(file, "patient"), *nearly_alike(dict.fromkeys(subject_of.values()), file, "patient")]
    for name in columns:
        if name not in (DATE, MONTH):
            notices += merge_spellings(written[name].dropna()).notice(file, name)
    return Subjects(sheet.file, subject_of, columns, table[list(columns)], tuple(notices))


def _levels(sheet: Sheet, column: pd.Series[str]) -> pd.Series[str]:
    """A column of levels: spellings merged, months in one form, empty cells named.

    Raises:
        SettingsError: a month or date that is none; names the lines.
    """
    name = str(column.name)
    spellings = merge_spellings(column.dropna()).names
    level_of = {written: level or NOT_STATED for written, level in spellings.items()}
    if name.lower() in (DATE, MONTH):
        kind = name.lower()
        month = month_of if kind == MONTH else month_of_date
        months = {written: NOT_STATED if level == NOT_STATED else month(level) for written, level in level_of.items()}
        wrong = [written for written, placed in months.items() if placed is None]
        if wrong:
            remedy = "write dates as 2026-03-31" if kind == DATE else ACCEPTED_MONTHS
            problem = f"{name} is {quoted(wrong[0])}, which cannot be placed in a month"
            raise sheet.fault(column.isin(wrong).to_numpy(), problem, remedy)
        if kind == MONTH:
            level_of = {written: placed or NOT_STATED for written, placed in months.items()}
    levels: pd.Series[str] = column.map(level_of).fillna(NOT_STATED).astype("str")
    return levels


def _check_people(sheet: Sheet, subjects: Spellings, written: pd.Series[str], whole: pd.DataFrame) -> None:
    """Check that every name with several spellings is one person, as far as the table can tell.

    Raises:
        SettingsError: rows of a name's spellings have different values in a personal column; two names look the same,
            but are written with different characters.
    """
    pair = find_look_alikes(dict.fromkeys(subjects.names.values()))
    if pair is not None:
        raise look_alike_error(str(sheet.path), "patient", pair)
    personal = [name for name in whole.columns if name.lower() in _PERSONAL]
    for name in subjects.merged:
        rows = np.flatnonzero(whole["subject"] == name)
        for column in personal:
            values = whole[column].iloc[rows]
            stated = values[values != NOT_STATED]
            if stated.nunique() < 2:
                continue
            differing = stated.drop_duplicates().index[:2]
            (first, second), levels = written[differing], [shown(level) for level in stated[differing]]
            raise sheet.fault(
                np.asarray(differing),
                f"subject {shown(first)} has {column} {levels[0]} and {shown(second)} has {column} {levels[1]}: it "
                "may be one person or two",
                _TWO_OR_ONE,
            )
