"""Which groups a report compares: columns of the table of subjects, quality flags, evidence, and time."""

from __future__ import annotations

import re
from dataclasses import replace

import pandas as pd

from avpenet_cli.report.coverage import Coverage
from avpenet_cli.report.document.groups import MODALITIES, QUALITY_FLAGS, DriftSection, Stratum
from avpenet_cli.report.modalities import modalities_of
from avpenet_cli.report.strata import Levels, group, share_scored, strata
from avpenet_cli.stats.bootstrap import Resampling
from avpenet_cli.study.months import month_of_date
from avpenet_cli.study.subjects import DATE, NOT_STATED, Subjects
from avpenet_cli.study.tables import Inputs

# Columns of the table of subjects that give a time; the first one present makes the drift table.
_TIMES = ("batch", "month", "date")
_FAILED = "failed in every table"


def groups(
    rated: pd.DataFrame, subjects: Subjects | None, coverage: Coverage, resampling: Resampling
) -> tuple[Stratum, ...]:
    """Bias and MAE by every column of the subjects except time, by quality flags, and by modalities."""
    recordings = rated["recording"].astype(str)
    flags = rated["flags"].fillna("").astype(str)
    columns = {}
    if subjects:
        for column in subjects.columns:
            if column == _time_column(subjects):
                continue
            levels = subjects.table[column]
            columns[column] = Levels(
                recordings.map(levels).fillna(NOT_STATED),
                levels.reindex(coverage.by_recording.index).fillna(NOT_STATED),
            )
    columns[QUALITY_FLAGS] = Levels(flags.map(lambda text: "flagged" if text else "no flag"))
    modalities = modalities_of(rated).map(lambda text: text or NOT_STATED)
    if modalities.nunique() > 1:
        columns[MODALITIES] = Levels(modalities)
    return strata(rated, columns, coverage.by_recording, resampling)


def _time_column(subjects: Subjects | None) -> str | None:
    columns = {column.lower(): column for column in (subjects.columns if subjects else ())}
    return next((columns[name] for name in _TIMES if name in columns), None)


def drift(
    rated: pd.DataFrame, segments: pd.DataFrame, inputs: Inputs, coverage: Coverage, resampling: Resampling
) -> DriftSection | None:
    """Bias and coverage by month or batch: a column of the subjects, otherwise the score tables in their order."""
    batches = _batches(segments, inputs, coverage)
    if batches is None:
        return None
    by, batch_of, order = batches
    batch_of_pair = rated["recording"].astype(str).map(batch_of)
    rows = []
    for name in order:
        seconds = coverage.by_recording[(batch_of == name).to_numpy()]
        row = group(str(name), rated[(batch_of_pair == name).to_numpy()], share_scored(seconds), resampling)
        rows.append(replace(row, n_recordings=len(seconds)))
    return DriftSection(by, tuple(rows))


def _batches(
    segments: pd.DataFrame, inputs: Inputs, coverage: Coverage
) -> tuple[str, pd.Series[str], list[str]] | None:
    """What gives the batches, the batch of each recording, and the batches in order."""
    subjects, column = inputs.subjects, _time_column(inputs.subjects)
    recordings = coverage.by_recording.index
    if column and subjects:
        batch_of = subjects.table[column].reindex(recordings).fillna(NOT_STATED)
        if column.lower() == DATE:
            batch_of = batch_of.map(lambda date: month_of_date(date) or date)
        names = sorted(batch_of.unique(), key=lambda name: (name == NOT_STATED, _natural_order(name)))
        return column, batch_of, names
    if len(inputs.scores.sources) < 2:
        return None
    source = segments.drop_duplicates("recording").set_index("recording")["source"]
    source.index = source.index.astype(str)
    labels = [f"{place}: {file.name}" for place, file in enumerate(inputs.scores.sources, 1)]
    batch_of = source.map(dict(enumerate(labels))).reindex(recordings).fillna(_FAILED)
    return "score table", batch_of, [label for label in [*labels, _FAILED] if (batch_of == label).any()]


def _natural_order(text: str) -> list[tuple[int, int, str]]:
    """Sort key that puts batch 10 after batch 9."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"([0-9]+)", text) if part]
