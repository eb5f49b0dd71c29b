"""The scores of each recording."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from avpenet_cli.records import THIN_EVIDENCE, Status
from avpenet_cli.report.document.data import FailedRecording, RecordingSummary
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
    shares = sums[["total", "above_low", "high", "thin"]].div(sums["scored"].where(sums["scored"] > 0), axis=0)
    shares["peak"] = segments["score"].where(scored).groupby(codes, sort=True).max()
    names = segments["recording"].cat.categories
    rows = []
    counts = sums[["segments", "scored"]].to_numpy()
    for code, (n_segments, n_scored), values in zip(sums.index, counts, shares.to_numpy(), strict=True):
        mean, above_low, high, low_quality, peak = map(_known, values)
        recording = str(names[code])
        summary = RecordingSummary(
            recording=recording,
            segments=int(n_segments),
            scored=int(n_scored),
            mean=mean,
            peak=peak,
            share_above_low=above_low,
            share_high=high,
            low_quality_share=low_quality,
            failure="",
        )
        rows.append(summary)
    known = {row.recording for row in rows}
    unreadable = [row for row in failed if row.recording not in known]
    return (*rows, *(_unreadable(row) for row in unreadable))


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _unreadable(row: FailedRecording) -> RecordingSummary:
    return RecordingSummary(row.recording, 0, 0, None, None, None, None, None, row.reason)
