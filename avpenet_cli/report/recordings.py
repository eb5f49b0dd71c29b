"""The scores of each recording."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from avpenet_cli.records import Status
from avpenet_cli.report.document.data import FailedRecording, RecordingSummary
from avpenet_cli.report.review import THIN_EVIDENCE
from avpenet_cli.stats.classes import class_of


def recording_summaries(
    segments: pd.DataFrame, failed: Iterable[FailedRecording], cut_points: tuple[float, float]
) -> tuple[RecordingSummary, ...]:
    """Every recording in the order of the tables, then those that could not be read.

    Args:
        segments: rows of the score tables.
        failed: recordings that could not be read, in no table.
        cut_points: upper ends of the classes low and moderate, points.
    """
    flags = segments["flags"].fillna("").astype(str)
    thin = flags.map({text: not THIN_EVIDENCE.isdisjoint(text.split()) for text in flags.unique()})
    scored = (segments["status"] == Status.SCORED).to_numpy()
    score = segments["score"].to_numpy()
    class_place = class_of(np.where(scored, score, 0.0), cut_points)
    columns = pd.DataFrame(
        {
            "segments": 1,
            "scored": scored,
            "total": np.where(scored, score, 0.0),
            "above_low": scored & (class_place > 0),
            "high": scored & (class_place > 1),
            "thin": scored & thin.to_numpy(dtype=bool),
        }
    )
    codes = segments["recording"].cat.codes.to_numpy()
    sums = columns.groupby(codes, sort=True).sum()
    peak = pd.Series(np.where(scored, score, -np.inf)).groupby(codes, sort=True).max()
    names = segments["recording"].cat.categories
    rows = [
        _summary(str(names[code]), *row, highest)
        for code, row, highest in zip(sums.index, sums.to_numpy(dtype=np.float64).tolist(), peak.tolist(), strict=True)
    ]
    known = {row.recording for row in rows}
    unreadable = [row for row in failed if row.recording not in known]
    return (*rows, *(RecordingSummary(row.recording, 0, 0, *[None] * 5, row.reason) for row in unreadable))


def _summary(
    recording: str,
    segments: float,
    scored: float,
    total: float,
    above_low: float,
    high: float,
    thin: float,
    peak: float,
) -> RecordingSummary:
    if not scored:
        return RecordingSummary(recording, int(segments), 0, *[None] * 5, "")
    shares = (above_low / scored, high / scored, thin / scored)
    return RecordingSummary(recording, int(segments), int(scored), total / scored, peak, *shares, "")
