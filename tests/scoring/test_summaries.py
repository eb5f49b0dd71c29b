"""A row for every recording and every subject: counts, minutes above the cut points, quality."""

from __future__ import annotations

import pytest

from avpenet_cli.records import Balance, Flag, Quality, RecordingOutcome, SegmentScore, Status
from avpenet_cli.scoring.summaries import (
    RECORDING_COLUMNS,
    SUBJECT_COLUMNS,
    TO_DO,
    Summary,
    recording_row,
    subject_row,
)
from avpenet_cli.tables import Row

CUT_POINTS = (3.0, 6.0)


def outcome(scores: list[float | None], stride_s: float = 3.0, modalities: str = "audio+face") -> RecordingOutcome:
    """Segments of 3 s, the last one padded from 1.5 s; every other one is silent."""
    end_s = stride_s * (len(scores) - 1) + 1.5
    segments = tuple(
        SegmentScore(
            number,
            stride_s * number,
            min(stride_s * number + 3.0, end_s),
            Status.UNSCORABLE if score is None else Status.SCORED,
            Quality(),
            score,
            "" if score is None else "low" if score <= 3 else "moderate" if score <= 6 else "high",
            "no_face" if score is None else "",
            "" if score is None else modalities,
            flags=(Flag.SILENT,) if number % 2 else (Flag.SHORT_TAIL,),
        )
        for number, score in enumerate(scores)
    )
    lost = {"no_face": 3.0, "tail_too_short": 1.0}
    return RecordingOutcome(Status.SCORED, segments, Balance(20.0, 15.0, lost, 1.0), orientation_deg=90)


def picked(row: Row, *names: str) -> list[object]:
    return [row[name] for name in names]


def test_recording_row_counts_segments_minutes_and_quality() -> None:
    row = recording_row("a.mp4", outcome([1.0, 3.0, None, 6.0, 9.0]), "2026-03-04T10:15:00.000", CUT_POINTS)
    assert row.keys() >= {column.name for column in RECORDING_COLUMNS}
    assert picked(row, "nominal_s", "scored_s", "unscorable_s", "undecodable_s") == [20.0, 15.0, 4.0, 1.0]
    assert picked(row, "segments", "unscorable", "low", "moderate", "high") == [5, 1, 2, 1, 1]
    assert picked(row, "audio_face", "audio", "face", "orientation_deg") == [4, 0, 0, 90]
    assert picked(row, "peak", "peak_start_s", "mean") == [9.0, 12.0, 4.75]
    assert picked(row, "minutes_above_low", "minutes_above_moderate") == pytest.approx([4.5 / 60, 1.5 / 60])
    assert row["low_quality_share"] == 0.5
    assert row["unscorable_reasons"] == "no_face tail_too_short"


def test_no_second_counts_twice_where_segments_overlap() -> None:
    row = recording_row("a.mp4", outcome([7.0, 7.0, 7.0, 1.0], stride_s=1.0), "", CUT_POINTS)
    assert picked(row, "minutes_above_low", "minutes_above_moderate") == pytest.approx([3 / 60, 3 / 60])


@pytest.mark.parametrize(
    ("result", "status", "segments"),
    [
        (None, TO_DO, None),
        (RecordingOutcome(Status.FAILED, reason="empty_file", message="an empty file"), "failed", 0),
        (outcome([None]), "scored", 1),
    ],
)
def test_recordings_without_a_score_have_no_numbers_in_its_place(
    result: RecordingOutcome | None, status: str, segments: int | None
) -> None:
    row = recording_row("a.mp4", result, "", CUT_POINTS)
    assert picked(row, "status", "segments") == [status, segments]
    assert picked(row, "peak", "mean", "minutes_above_low", "low_quality_share") == [None] * 4


def test_subject_row_adds_recordings_up() -> None:
    summary = Summary(CUT_POINTS)
    summary.add("a.mp4", outcome([1.0, 2.0]))
    summary.add("b.mp4", outcome([8.0, 5.0], modalities="audio"))
    summary.add("c.mp4", RecordingOutcome(Status.FAILED, reason="empty_file"))
    summary.add("d.mp4", None)
    row = subject_row("P1", summary)
    assert row.keys() >= {column.name for column in SUBJECT_COLUMNS}
    assert picked(row, "recordings", "failed", "to_do", "segments") == [4, 1, 1, 4]
    assert picked(row, "audio_face", "audio", "peak", "peak_recording", "mean") == [2, 2, 8.0, "b.mp4", 4.0]
    assert picked(row, "nominal_s", "minutes_above_low") == pytest.approx([40.0, 4.5 / 60])
