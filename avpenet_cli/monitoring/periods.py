"""Which week, month or batch a recording belongs to."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from avpenet_cli.errors import SettingsError
from avpenet_cli.keys import shown
from avpenet_cli.study.sheets import quoted
from avpenet_cli.study.subjects import DATE, MONTH, NOT_STATED, Subjects

Kind = Literal["week", "month", "batch"]

FALSE_ALARM_EVERY: dict[Kind, int] = {"week": 52, "month": 12, "batch": 20}
"""Periods until the first false alarm, on average, unless another number is asked for."""
FEWEST_PERIODS: dict[Kind, int] = {"week": 4, "month": 2, "batch": 2}
"""That a baseline must cover, where its times are known."""
PLURALS: dict[Kind, str] = {"week": "weeks", "month": "months", "batch": "batches"}
_BATCH = "batch"
_DAYS = 7


@dataclass(frozen=True)
class TimeSource:
    """Where the periods come from.

    Attributes:
        kind: of the periods.
        column: `recorded_at` of the score table, or a column of the table of subjects.
    """

    kind: Kind
    column: str


def time_source(new: pd.DataFrame, subjects: Subjects) -> TimeSource:
    """`recorded_at` if any new recording has one; else a column date, month or batch of the subjects.

    Args:
        new: segments of the new score tables.

    Raises:
        SettingsError: none of these.
    """
    if (new["recorded_at"].fillna("") != "").any():
        return TimeSource("week", "recorded_at")
    columns = {column.lower(): column for column in subjects.columns}
    kinds: tuple[tuple[str, Kind], ...] = ((DATE, "week"), (MONTH, "month"), (_BATCH, "batch"))
    for name, kind in kinds:
        if name in columns:
            return TimeSource(kind, columns[name])
    raise SettingsError(
        f"when the recordings were made is not known: no recorded_at in the new scores, and {subjects.file.name} has "
        "no column date, month or batch",
        "score with --recorded-at, or add such a column",
    )


def periods_of(segments: pd.DataFrame, subjects: Subjects, source: TimeSource) -> dict[str, str]:
    """The period of each recording; those whose time is not known are missing.

    Returns:
        Recording to period: `2026-06-01`, the Monday of the week; `2026-06`; or the batch.

    Raises:
        SettingsError: a `recorded_at` that is no date with time.
    """
    recordings = map(str, segments["recording"].cat.categories)
    if source.column != "recorded_at":
        column = subjects.table[source.column]
        stated = {name: str(column[name]) for name in recordings if name in column.index}
        known = {name: text for name, text in stated.items() if text != NOT_STATED}
        return {name: _monday(text, name) if source.kind == "week" else text for name, text in known.items()}
    times = segments.loc[segments["recorded_at"].fillna("") != "", ["recording", "recorded_at"]]
    first = times.drop_duplicates("recording")
    pairs = zip(first["recording"].astype(str), first["recorded_at"], strict=True)
    return {name: _monday(text, name) for name, text in pairs}


def _monday(text: str, recording: str) -> str:
    try:
        day = datetime.datetime.fromisoformat(text.strip().upper()).date()
    except ValueError:
        raise SettingsError(
            f"{shown(recording)} was recorded at {quoted(text)}, which is no date", "write it as 2026-03-31T09:30:00"
        ) from None
    return (day - datetime.timedelta(days=day.weekday())).isoformat()


def all_periods(kind: Kind, names: Iterable[str]) -> tuple[str, ...]:
    """Every period from the first to the last in order of time, those without a recording included."""
    present = sorted(set(names), key=_natural_order)
    if kind == "batch" or not present:
        return tuple(present)
    if kind == "month":
        return tuple(period.strftime("%Y-%m") for period in pd.period_range(present[0], present[-1], freq="M"))
    first, last = (datetime.date.fromisoformat(name) for name in (present[0], present[-1]))
    weeks = (last - first).days // _DAYS + 1
    return tuple((first + datetime.timedelta(days=_DAYS * week)).isoformat() for week in range(weeks))


def period_words(kind: Kind, name: str) -> str:
    """A period in a sentence: "the week of 2026-06-01"."""
    return {"week": f"the week of {name}", "month": name, "batch": f"batch {name}"}[kind]


def check_length(kind: Kind, periods: Sequence[str]) -> None:
    """Refuse new scores over so many periods that a simulation would take too long.

    Raises:
        SettingsError: over 520 periods.
    """
    most = 520
    if len(periods) > most:
        raise SettingsError(
            f"the new scores cover {len(periods)} {PLURALS[kind]}, from {periods[0]} to {periods[-1]}",
            f"check the times, or give at most {most}",
        )


def _natural_order(text: str) -> list[tuple[int, int, str]]:
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"([0-9]+)", text) if part]
