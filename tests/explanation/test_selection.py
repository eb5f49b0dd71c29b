"""Segments that are asked for are those that are explained, and others are named."""

from __future__ import annotations

import pytest

from avpenet_cli.errors import SettingsError
from avpenet_cli.explanation.selection import MAX_SEGMENTS, Selection, choose, parse_segments, parse_time
from avpenet_cli.records import Quality, SegmentScore, Status


def record(number: int, score: float | None, stride_s: float = 3.0, reason: str = "no_face") -> SegmentScore:
    status = Status.UNSCORABLE if score is None else Status.SCORED
    start_s = number * stride_s
    return SegmentScore(
        number, start_s, start_s + 3.0, status, Quality(), score=score, reason=reason if score is None else ""
    )


def records(*scores: float | None, stride_s: float = 3.0) -> list[SegmentScore]:
    return [record(number, score, stride_s) for number, score in enumerate(scores)]


def numbers(chosen: tuple[SegmentScore, ...]) -> list[int]:
    return [segment.segment for segment in chosen]


def test_segments_are_given_by_numbers_and_ranges() -> None:
    assert parse_segments("3,7-9") == (3, 7, 8, 9)
    assert parse_segments(" 8, 8-9 ,0") == (0, 8, 9)


@pytest.mark.parametrize(
    "text", ["", "3,", "a", "9-7", "1-", "-1", "1.5", "3;4", f"0-{MAX_SEGMENTS}", "0-999999999", "1" * 5000, "３"]
)
def test_what_names_no_segments_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="--segments"):
        parse_segments(text)


def test_times_are_given_in_minutes_or_seconds() -> None:
    assert [parse_time(text) for text in ("2:31", "151", "1:02:31.5", "0:00")] == [151.0, 151.0, 3751.5, 0.0]


@pytest.mark.parametrize("text", ["", "2:61", "1:60:00", "-3", "2m", "1:2:3:4", "nan", "9" * 400, "٣"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="--around"):
        parse_time(text)


def test_the_options_exclude_each_other() -> None:
    with pytest.raises(SettingsError, match="exclude"):
        Selection(segments=(1,), top=2)
    with pytest.raises(SettingsError, match="exclude"):
        Selection(top=1, around_s=0.0)
    with pytest.raises(SettingsError, match="--top 0"):
        Selection(top=0)


def test_the_highest_scores_are_chosen_in_time_order() -> None:
    chosen = choose(records(1, 9, 3, None, 8, 2, 7), Selection(top=3))
    assert numbers(chosen.records) == [1, 4, 6]
    assert numbers(choose(records(1, 9, 3, None, 8, 2, 7), Selection()).records) == [1, 2, 4, 5, 6]


def test_segments_of_the_highest_scores_do_not_overlap() -> None:
    chosen = choose(records(5, 8, 9, 8, 7, 6, 5, stride_s=1.0), Selection(top=3))
    assert numbers(chosen.records) == [2, 5]
    touching = choose(records(9, 1, 1, 9, stride_s=1.0), Selection(top=2))
    assert numbers(touching.records) == [0, 3]


def test_of_equal_scores_the_earlier_counts() -> None:
    assert numbers(choose(records(4, 4, 4), Selection(top=2)).records) == [0, 1]


def test_the_segments_of_a_time_come_with_their_neighbours() -> None:
    whole = records(*[5.0] * 10)
    assert numbers(choose(whole, Selection(around_s=10.0)).records) == [2, 3, 4]
    assert numbers(choose(whole, Selection(around_s=0.0)).records) == [0, 1]
    assert numbers(choose(whole, Selection(around_s=29.9)).records) == [8, 9]
    dense = records(*[5.0] * 10, stride_s=1.0)
    assert numbers(choose(dense, Selection(around_s=5.5)).records) == [2, 3, 4, 5, 6]


def test_what_the_recording_does_not_have_is_named() -> None:
    with pytest.raises(SettingsError, match="there is no segment 10: the recording has segments 0 to 9"):
        choose(records(*[5.0] * 10), Selection(segments=(3, 10)))
    with pytest.raises(SettingsError, match="end at 0:30"):
        choose(records(*[5.0] * 10), Selection(around_s=30.0))
    with pytest.raises(SettingsError, match="has no segments"):
        choose([], Selection(segments=(0,)))


def test_chosen_segments_without_a_score_are_listed_with_the_reason() -> None:
    chosen = choose(records(5, None, 5), Selection(segments=(0, 1)))
    assert numbers(chosen.records) == [0]
    assert chosen.unexplained == ((1, "the patient's face is in too few of its frames"),)
