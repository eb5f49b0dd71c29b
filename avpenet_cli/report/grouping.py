"""Which groups a report sets side by side: SUBJECTS' columns, quality flags, evidence, and time."""

from __future__ import annotations

import datetime
import re
from typing import Any

import pandas as pd

from avpenet_cli.errors import SettingsError
from avpenet_cli.report.coverage import Coverage
from avpenet_cli.report.strata import group, share_scored, strata
from avpenet_cli.stats.bootstrap import Resampling
from avpenet_cli.study.ratings import NOT_STATED, Subjects
from avpenet_cli.study.tables import Inputs

# Of SUBJECTS' columns, the ones that say when; the first of them found makes the drift table.
_TIMES = ("batch", "month", "date")


def groups(rated: pd.DataFrame, subjects: Subjects | None, covered: Coverage, of: Resampling) -> list[dict[str, Any]]:
    """Bias and MAE by every column of SUBJECTS that is no time, by quality flags, and by the evidence there was."""
    names = rated["recording"].astype(str)
    flags = rated["flags"].fillna("").astype(str)
    of_pairs: dict[str, pd.Series[str]] = {}
    of_recordings: dict[str, pd.Series[str]] = {}
    for column in subjects.columns if subjects else ():
        if column == _time_column(subjects):
            continue
        levels = subjects.table[column] if subjects else pd.Series(dtype=str)
        of_pairs[column] = names.map(levels).fillna(NOT_STATED)
        of_recordings[column] = levels.reindex(covered.by_recording.index).fillna(NOT_STATED)
    of_pairs["quality flags"] = flags.map(lambda text: "flagged" if text else "no flag")
    modality = flags.map({text: _modality(text.split()) for text in flags.unique()})
    if modality.nunique() > 1:
        of_pairs["evidence"] = modality
    return strata(rated, of_pairs, of_recordings, covered.by_recording, of)


def _modality(flags: list[str]) -> str:
    blind, deaf = bool({"no_face", "no_video"} & set(flags)), "no_audio" in flags
    return "neither" if blind and deaf else "voice only" if blind else "face only" if deaf else "face and voice"


def _time_column(subjects: Subjects | None) -> str | None:
    """Of SUBJECTS, the column that says when."""
    columns = {column.lower(): column for column in (subjects.columns if subjects else ())}
    return next((columns[name] for name in _TIMES if name in columns), None)


def drift(
    rated: pd.DataFrame, segments: pd.DataFrame, inputs: Inputs, covered: Coverage, of: Resampling
) -> tuple[list[dict[str, Any]], str]:
    """Bias and coverage by month or batch: a column of SUBJECTS, else the score tables in their order."""
    subjects, column = inputs.subjects, _time_column(inputs.subjects)
    recordings = covered.by_recording.index
    if column and subjects:
        batch = subjects.table[column].reindex(recordings).fillna(NOT_STATED)
        if column.lower() == "date":
            batch = batch.map(_month)
        order = sorted(batch.unique(), key=_naturally)
    elif len(inputs.scores.sources) > 1:
        column = "score table"
        first = segments.drop_duplicates("recording").set_index("recording")["source"]
        first.index = first.index.astype(str)
        labels = [f"{place + 1}: {one.name}" for place, one in enumerate(inputs.scores.sources)]
        batch = first.map(dict(enumerate(labels))).reindex(recordings).fillna("failed in every table")
        order = [label for label in [*labels, "failed in every table"] if (batch == label).any()]
    else:
        return [], ""
    which = rated["recording"].astype(str).map(batch)
    rows = []
    for name in order:
        row = group(rated[(which == name).to_numpy()], of)
        chosen = covered.by_recording[(batch == name).to_numpy()]
        rows.append(row | {"batch": str(name), "n_recordings": len(chosen), "coverage_share": share_scored(chosen)})
    return rows, column


def _month(text: str) -> str:
    if text == NOT_STATED:
        return text
    try:
        return datetime.date.fromisoformat(text[:10]).strftime("%Y-%m")
    except ValueError:
        raise SettingsError(
            f"--subjects: date is {text!r}, which cannot be placed in a month", "write dates as 2026-03-31"
        ) from None


def _naturally(text: str) -> list[tuple[int, int, str]]:
    """So that batch 10 comes after batch 9."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"([0-9]+)", text) if part]
