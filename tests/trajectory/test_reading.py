"""Score tables become series: the right recordings on one clock, nothing counted twice, nothing lost without a word."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from avpenet_cli.errors import SettingsError
from avpenet_cli.study.ratings import read_events, read_ratings
from avpenet_cli.study.score_tables import read_scores
from avpenet_cli.study.subjects import read_subjects
from avpenet_cli.study.tables import match_tables
from avpenet_cli.trajectory.reading import Selection, SeriesReader
from avpenet_cli.trajectory.series import Series

TEN = "2026-03-04T10:00:00.000+01:00"


def recording(
    name: str, at: str = "", *, segments: int = 10, stride_s: float = 1.0, unscorable: Sequence[int] = ()
) -> pd.DataFrame:
    """Rows of a score table: the score is the start in tens of seconds."""
    start_s = np.round(np.arange(segments) * stride_s, 3)
    lost = np.isin(np.arange(segments), unscorable)
    times = [
        (datetime.fromisoformat(at) + timedelta(seconds=second)).isoformat(timespec="milliseconds") if at else ""
        for second in start_s.tolist()
    ]
    return pd.DataFrame(
        {
            "recording": name,
            "start_s": start_s,
            "end_s": start_s + 3.0,
            "recorded_at": times,
            "score": np.where(lost, np.nan, start_s / 10),
            "status": np.where(lost, "unscorable", "scored"),
            "reason": np.where(lost, "no_face", ""),
        }
    )


def read(
    *recordings: pd.DataFrame,
    subjects: dict[str, str] | None = None,
    ratings: pd.DataFrame | None = None,
    events: pd.DataFrame | None = None,
    selection: Selection | None = None,
) -> SeriesReader:
    table = None
    if subjects is not None:
        table = read_subjects(pd.DataFrame({"recording": list(subjects), "subject": list(subjects.values())}))
    inputs = match_tables(
        read_scores([pd.concat(recordings, ignore_index=True)]),
        None if ratings is None else read_ratings(ratings),
        table,
        None if events is None else read_events(events),
    )
    return SeriesReader(inputs, selection)


def recordings_of(reader: SeriesReader) -> dict[str, list[str]]:
    return {series.name: [part.recording for part in series.parts] for series in reader}


def test_each_recording_is_a_series_and_a_gap_keeps_its_reason() -> None:
    first, second = read(recording("a", unscorable=[3]), recording("b", TEN))
    assert (first.name, first.clock, second.clock) == ("a", "", TEN)
    assert first.reason[2:5] == ("", "no_face", "")
    assert np.isnan(first.score).tolist() == [place == 3 for place in range(10)]
    assert np.isnan(first.sd).all() and np.isnan(first.low).all()
    assert (first.stride_s, first.window_s) == (1.0, 3.0)


def test_recordings_of_a_patient_stand_on_one_clock_with_their_ratings_and_events() -> None:
    ratings = pd.DataFrame({"recording": ["late", "early"], "time_s": [2.0, 4.0], "value": [7, 1], "scale": "NIPS"})
    events = pd.DataFrame({"recording": ["late", "early"], "time_s": [5.0, 1.0], "label": ["analgesic", "heel lance"]})
    reader = read(
        recording("late", "2026-03-04T09:05:00+00:00"),
        recording("early", TEN),
        subjects=dict.fromkeys(("late", "early"), "P1"),
        ratings=ratings,
        events=events,
    )
    (series,) = reader
    assert series.name == "P1"
    assert series.clock == TEN
    assert [(part.recording, part.offset_s) for part in series.parts] == [("early", 0.0), ("late", 300.0)]
    assert series.start_s.tolist() == [*range(10), *range(300, 310)]
    assert series.part.tolist() == [0] * 10 + [1] * 10
    assert [(rating.start_s, rating.end_s, round(rating.value, 2)) for rating in series.ratings] == [
        (4.0, 4.0, 1.43),
        (302.0, 302.0, 10.0),
    ]
    assert [(event.time_s, event.label) for event in series.events] == [(1.0, "heel lance"), (305.0, "analgesic")]
    assert reader.notices == () and series.notices == ()


def test_two_cameras_are_named_and_kept_apart() -> None:
    names = ("left/1", "right/1", "left/2", "right/2")
    starts = ("10:00:00", "10:00:04", "10:00:30", "10:00:31")
    table = [recording(name, f"2026-03-04T{time}") for name, time in zip(names, starts, strict=True)]
    reader = read(*table, subjects=dict.fromkeys(names, "P1"))
    assert recordings_of(reader) == {"P1": ["left/1", "left/2"], "P1 (2)": ["right/1", "right/2"]}
    (notice,) = reader.notices
    assert "left/1 and right/1" in notice and "left/2 and right/2" in notice
    assert all(series.notices for series in reader)


def test_a_second_of_overlap_is_the_resolution_of_creation_times_and_not_two_cameras() -> None:
    table = (recording("a", "2026-03-04T10:00:00"), recording("b", "2026-03-04T10:00:11"))
    (series,) = read(*table, subjects=dict.fromkeys("ab", "P1"))
    assert (np.diff(series.start_s) > 0).all()


def test_a_recording_without_a_time_has_its_own_axis_and_a_notice() -> None:
    reader = read(
        recording("a", TEN),
        recording("b"),
        recording("c", "2026-03-04T10:05:00"),
        recording("d", "2026-03-04T10:10:00+01:00"),
        subjects=dict.fromkeys("abcd", "P1"),
    )
    assert recordings_of(reader) == {"P1": ["a", "d"], "P1: b": ["b"], "P1: c": ["c"]}
    assert any("P1: b, P1: c" in notice and "not known" in notice for notice in reader.notices)


def test_recordings_of_different_strides_do_not_share_an_axis() -> None:
    reader = read(
        recording("a", TEN),
        recording("b", "2026-03-04T10:02:00+01:00", stride_s=5.0),
        recording("c", "2026-03-04T10:05:00+01:00"),
        recording("d", "2026-03-04T10:06:00+01:00", segments=1),
        subjects=dict.fromkeys("abcd", "P1"),
    )
    assert recordings_of(reader) == {"P1": ["a", "c", "d"], "P1, every 5 s": ["b"]}
    assert [series.stride_s for series in reader] == [1.0, 5.0]
    assert any("P1, P1, every 5 s: recordings with a score every 1 s and every 5 s" in text for text in reader.notices)
    assert all("same --stride" in series.notices[0] for series in reader)


def test_a_change_of_stride_within_a_recording_is_said() -> None:
    table = recording("a", segments=30)
    late = recording("a", segments=20, stride_s=5.0)
    late[["start_s", "end_s"]] += 30.0
    (series,) = read(pd.concat([table, late], ignore_index=True))
    assert "irregular" in series.notices[0]


def test_a_long_pause_begins_a_new_series() -> None:
    reader = read(recording("a", TEN), recording("b", "2026-03-05T10:00:00+01:00"), subjects=dict.fromkeys("ab", "P1"))
    assert reader.names == ("P1, 2026-03-04 10:00", "P1, 2026-03-05 10:00")


@pytest.mark.parametrize("stride_s", [0.5, 1.0, 3.0])
def test_the_stride_comes_from_the_starts_even_where_rows_are_missing(stride_s: float) -> None:
    table = recording("a", segments=30, stride_s=stride_s)
    (series,) = read(table.drop(index=[4, 5, 17]))
    assert (series.stride_s, series.window_s) == (stride_s, 3.0)
    assert series.notices == ()


def test_irregular_segments_are_read_and_said() -> None:
    table = recording("a", segments=20)
    table["start_s"] = table["start_s"] + np.where(table.index == 5, 0.4, 0.0)
    (series,) = read(table)
    assert series.stride_s == 1.0
    assert "irregular" in series.notices[0]
    (alone,) = read(recording("b", segments=1))
    assert (alone.stride_s, alone.notices) == (3.0, ())


def test_quality_is_that_of_the_evidence_that_made_the_score() -> None:
    table = recording("a", segments=6, unscorable=[5])
    table["modalities"] = ["audio+face", "audio", "face", "audio+face", "face", ""]
    table["face_rate"] = [0.9, 0.1, 0.7, 0.9, 0.9, 0.1]
    table["face_confidence"] = [0.8, np.nan, 0.95, 0.95, 0.95, 0.9]
    table["flags"] = ["low_snr", "audio_gap", "audio_gap silent", "clipped", "", ""]
    (series,) = read(table)
    assert series.quality.tolist() == [0.8, 0.5, 0.7, 0.5, 0.9, 0.0]
    (without,) = read(recording("b"))
    assert np.isnan(without.quality).all()


def test_recordings_and_subjects_can_be_chosen_in_another_spelling() -> None:
    table = (recording("a.mp4"), recording("b.mp4"), recording("c.mp4"))
    subjects = {"a.mp4": "P1", "b.mp4": "P2", "c.mp4": "P3"}
    assert read(*table, selection=Selection(("B.MP4 ",))).names == ("b.mp4",)
    chosen = read(*table, subjects=subjects, selection=Selection(("c.mp4",), ("p1",)))
    assert chosen.names == ("P1", "P3")
    with pytest.raises(SettingsError, match=r"--recording d: not in the scores; there are a\.mp4, b\.mp4"):
        read(*table, selection=Selection(("d",)))
    with pytest.raises(SettingsError, match="--subject without --subjects"):
        read(*table, selection=Selection((), ("P1",)))


def test_rows_of_other_recordings_are_refused_or_said() -> None:
    other = pd.DataFrame({"recording": ["x"], "time_s": [1.0], "label": ["lance"]})
    with pytest.raises(SettingsError, match="no recording in common"):
        read(recording("a"), events=other)
    partly = pd.DataFrame({"recording": ["x", "a"], "time_s": [1.0, 500.0], "label": ["lance", "analgesic"]})
    reader = read(recording("a"), events=partly)
    assert reader.notices == (
        "DataFrame: not in the scores: 1 recording, x",
        "DataFrame: times after the last segment: 1 recording, a",
    )
    (series,) = reader
    assert [event.time_s for event in series.events] == [500.0]


def test_a_row_after_a_recordings_end_does_not_land_in_the_next_recording() -> None:
    late = [5.0, 20.0, 65.0]
    events = pd.DataFrame({"recording": "a", "time_s": late, "label": ["own", "between", "astray"]})
    spans = {"start_s": [*late, 8.0], "end_s": [7.0, 22.0, 67.0, 65.0], "value": [1, 2, 3, 4]}
    reader = read(
        recording("a", TEN),
        recording("b", "2026-03-04T10:01:00+01:00"),
        subjects=dict.fromkeys("ab", "P1"),
        events=events,
        ratings=pd.DataFrame({"recording": "a", **spans, "scale": "NRS"}),
    )
    (series,) = reader
    assert [event.label for event in series.events] == ["own", "between"]
    assert [(rating.start_s, rating.end_s) for rating in series.ratings] == [(5.0, 7.0), (8.0, 60.0), (20.0, 22.0)]
    assert len(series.notices) == 2
    assert all("1 row of a left out" in notice for notice in series.notices)


def test_notices_name_nobody_who_was_not_chosen() -> None:
    names = ("a.mp4", "other.mp4", "third.mp4")
    events = pd.DataFrame(
        {"recording": ["OTHER.mp4", "other.mp4", "unknown.mp4"], "time_s": [1.0, 500.0, 1.0], "label": "lance"}
    )
    table = [recording(name, TEN).assign(recorded_at=TEN) for name in names]
    subjects = {"a.mp4": "P1", "Other.mp4": "P2"}
    reader = read(*table, subjects=subjects, events=events, selection=Selection(("a.mp4",)))
    assert any("nothing for the recordings that were chosen" in notice for notice in reader.notices)
    for word in ("other", "unknown", "third", "P2"):
        assert word not in " ".join(reader.notices).lower()
    every = " ".join(read(*table, subjects=subjects, events=events).notices)
    assert all(word in every for word in ("OTHER.mp4", "unknown.mp4", "third.mp4"))


@pytest.mark.parametrize("time", ["yesterday", "2026-03-04", "20260304"])
def test_a_time_that_is_none_is_refused_and_a_date_is_not_midnight(time: str) -> None:
    table = recording("a", TEN)
    table.loc[5, "recorded_at"] = time
    with pytest.raises(SettingsError, match=f"recorded_at of a is '{time}', not a date with time"):
        read(table)


def test_times_that_do_not_advance_with_the_segments_are_not_believed() -> None:
    repeated = recording("a", TEN).assign(recorded_at=TEN)
    mixed = recording("b", TEN)
    mixed.loc[5, "recorded_at"] = "2026-03-04T10:00:05"
    rounded = recording("c", TEN, stride_s=0.5)
    rounded["recorded_at"] = rounded["recorded_at"].str.replace(".500", ".000")
    reader = read(repeated, mixed, rounded)
    assert [series.clock for series in reader] == ["", "", TEN]
    (notice,) = reader.notices
    assert notice.startswith("recorded_at does not agree with start_s") and notice.endswith("2 recordings, a, b")


def test_series_are_made_one_at_a_time_and_without_scores() -> None:
    reader = read(recording("a", unscorable=range(10)), recording("b"))
    assert len(reader) == 2
    series: Series = next(iter(reader))
    assert np.isnan(series.score).all()
    assert set(series.reason) == {"no_face"}
