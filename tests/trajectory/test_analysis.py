"""A series analysed as a whole: gaps by reason, recordings hours apart, ratings, events, and too little of anything."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from avpenet_cli.trajectory.analysed import Trajectory
from avpenet_cli.trajectory.analysis import analyse, gaps
from avpenet_cli.trajectory.series import Event, Part, RatedSpan, Series

Floats = npt.NDArray[np.float64]


def _series(score: Floats, offsets: tuple[float, ...] = (0.0,), sd: float = 0.4) -> Series:
    """Recordings of equally many segments at a stride of 1 s; no face where there is no score."""
    n, per_part = len(score), len(score) // len(offsets)
    part = np.repeat(np.arange(len(offsets)), per_part)
    start = np.tile(np.arange(per_part, dtype=np.float64), len(offsets)) + np.array(offsets)[part]
    nothing = np.full(n, np.nan)
    return Series(
        name="a",
        parts=tuple(Part(f"{number}.mp4", offset, per_part + 2.0) for number, offset in enumerate(offsets)),
        clock="",
        part=part,
        start_s=start,
        end_s=start + 3,
        score=np.asarray(score, np.float64),
        sd=np.where(np.isfinite(score), sd, np.nan),
        low=nothing,
        high=nothing,
        reason=tuple("" if finite else "no_face" for finite in np.isfinite(score)),
        quality=nothing,
        stride_s=1.0,
        window_s=3.0,
        events=(),
        ratings=(),
        cut_points=(3.0, 6.0),
    )


def _noisy(level: Floats) -> Floats:
    return level + np.convolve(np.random.default_rng(1).normal(0, 0.7, len(level) + 2), np.full(3, 1 / 3), "valid")


@pytest.fixture(scope="module")
def whole() -> Trajectory:
    level = np.concatenate([np.full(90, 2.0), 2 + 5 * 0.5 ** (np.arange(150) / 25)])
    score = _noisy(level)
    score[200:215] = np.nan
    series = _series(score)
    ratings = tuple(RatedSpan(t, t + 5, float(round(level[int(t)])), "nurse A") for t in np.arange(0.0, 235, 5))
    return analyse(replace(series, events=(Event(88.0, "heel lance"),), ratings=ratings), seed=3)


def test_a_procedure_is_seen_in_every_part_of_the_analysis(whole: Trajectory) -> None:
    assert whole.scored_s == 242 - 15
    assert [(gap.kind, gap.start_s, gap.end_s) for gap in whole.gaps] == [("no_face", 201.0, 216.0)]
    assert any(change.low_s - 3 <= 91 <= change.high_s + 3 and change.after > change.before for change in whole.changes)
    assert "rising" in {span.kind for span in whole.states}
    (event,) = whole.after_events
    assert event.level.value < 5 < event.highest.value < 8
    assert event.half_time_s.ci[0] < 25 < event.half_time_s.ci[1]
    (against,) = whole.against_ratings
    assert against.rater == "nurse A" and against.n > 40 and against.spearman.value > 0.6
    assert whole.mean.value * whole.scored_s == pytest.approx(whole.area.value)
    above = dict(whole.above)
    assert above[3.0].value > above[6.0].value > 0
    assert whole.highest.ci[0] < whole.highest.value < whole.highest.ci[1]
    assert not whole.notices


def test_states_stand_for_every_second_that_has_a_segment(whole: Trajectory) -> None:
    assert whole.states[0].start_s == 0 and whole.states[-1].end_s == 242
    for before, after in zip(whole.states[:-1], whole.states[1:], strict=True):
        assert before.end_s == after.start_s and before.kind != after.kind
    inside = [span.kind for span in whole.states if span.start_s < 208 < span.end_s]
    assert inside == ["indeterminate"]


def test_the_same_seed_gives_the_same_trajectory() -> None:
    series = _series(_noisy(np.full(60, 4.0)))
    one, other = analyse(series, 5), analyse(series, 5)
    assert (one.area, one.highest, one.above, one.states) == (other.area, other.highest, other.above, other.states)
    assert analyse(series, 6).area != one.area


def test_nothing_is_drawn_or_found_between_recordings_that_are_hours_apart() -> None:
    series = _series(_noisy(np.repeat([2.0, 8.0], 60)), offsets=(0.0, 7200.0))
    found = analyse(series, 1)
    assert [(gap.kind, gap.start_s, gap.end_s) for gap in found.gaps] == [("between recordings", 62.0, 7200.0)]
    assert found.level.mean[:60].max() < 4 and found.level.mean[60:].min() > 6
    assert not found.changes and {span.kind for span in found.states} == {"stable"}
    assert not any(span.start_s < 3600 < span.end_s for span in found.states)
    assert found.scored_s == 124


def test_gaps_are_named_by_what_is_missing() -> None:
    score = np.full(40, 5.0)
    score[10:15] = np.nan
    series = _series(score)
    series = replace(series, reason=tuple("no_audio" if 12 <= i < 15 else r for i, r in enumerate(series.reason)))
    kept = np.r_[3:30, 36:40]
    thinned = replace(
        series,
        part=series.part[kept],
        start_s=series.start_s[kept],
        end_s=series.end_s[kept],
        score=score[kept],
        reason=tuple(series.reason[place] for place in kept),
    )
    named = [(gap.kind, gap.start_s, gap.end_s) for gap in gaps(thinned)]
    assert named == [
        ("not recorded", 0.0, 3.0),
        ("no_face", 11.0, 13.0),
        ("no_audio", 13.0, 16.0),
        ("not recorded", 32.0, 36.0),
    ]


@pytest.mark.parametrize("score", [[], [4.0], [np.nan] * 30, [4.0] * 6])
def test_too_little_has_reasons_and_no_numbers(score: list[float]) -> None:
    series = _series(np.array(score))
    series = replace(series, events=(Event(1.0, "x"),), ratings=(RatedSpan(0.0, 5.0, 3.0, "A"),))
    found = analyse(series, 1)
    assert found.level.reason and np.isnan(found.level.mean).all()
    for estimate in (found.area, found.mean, found.highest, *[value for _, value in found.above]):
        assert np.isnan(estimate.value) and estimate.reason
    assert found.after_events[0].half_time_s.reason and found.against_ratings[0].lag_s.reason
    assert any("no level" in notice for notice in found.notices)


def test_equal_scores_and_scores_without_spread_work_and_are_named() -> None:
    series = _series(np.full(60, 10.0), sd=np.nan)
    found = analyse(series, 1)
    assert found.mean.value == pytest.approx(10, abs=1e-3) and np.nanmax(found.level.high) <= 10
    assert {span.kind for span in found.states} == {"stable"}
    assert any("score_sd" in notice for notice in found.notices)
