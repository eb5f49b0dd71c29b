"""Rules on made-up series: when an alert begins, ends and is raised, and what gaps, quality and recordings do to it."""

from __future__ import annotations

import csv
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from avpenet_cli.settings import from_dict
from avpenet_cli.stats.estimate import absent
from avpenet_cli.trajectory.alert_rules import KINDS, Rule, read_rules
from avpenet_cli.trajectory.alert_table import ALERT_COLUMNS, alert_rows, write_alerts
from avpenet_cli.trajectory.alerts import alert_notices, raise_alerts
from avpenet_cli.trajectory.analysed import Alert, Level, Trajectory
from avpenet_cli.trajectory.analysis import analyse
from avpenet_cli.trajectory.series import Series
from tests.conftest import REPOSITORY
from tests.support.made_up_series import NAN, level_of, series_of


def rule(kind: str, **fields: Any) -> Rule:
    return from_dict(KINDS[kind], {"kind": kind, "name": kind.replace("_", "-"), "text": "Look"} | fields, "test")


def times(series: Series, *rules: Rule) -> list[tuple[float, float, float]]:
    """Start, end and time of raising of each alert."""
    return [(alert.start_s, alert.end_s, alert.raised_s) for alert in raise_alerts(series, level_of(series), rules)]


def notices(series: Series, *rules: Rule) -> list[str]:
    return list(alert_notices(series, level_of(series), rules))


# --- above -----------------------------------------------------------------------------------------------------------

_ABOVE_9_S = {"points": 7.0, "for_s": 9.0, "rearm_s": 6.0}


def test_above_is_raised_at_exactly_the_time_that_it_asks_for() -> None:
    assert times(series_of([1, 8, 8, 8, 1]), rule("above", **_ABOVE_9_S)) == [(3.0, 12.0, 12.0)]
    assert times(series_of([1, 8, 8, 8, 8, 1]), rule("above", **_ABOVE_9_S)) == [(3.0, 15.0, 12.0)]
    assert times(series_of([1, 8, 8, 1]), rule("above", **_ABOVE_9_S)) == []


def test_above_means_more_than() -> None:
    assert times(series_of([7.0] * 4), rule("above", **_ABOVE_9_S)) == []
    assert times(series_of([7.001] * 4), rule("above", **_ABOVE_9_S)) == [(0.0, 12.0, 9.0)]


def test_overlapping_segments_count_the_time_that_they_cover() -> None:
    """At stride 1 s, segments of 3 s: three that follow each other cover 5 s."""
    assert times(series_of([1, 8, 8, 8, 1], stride_s=1.0), rule("above", points=7.0, for_s=5.0)) == [(1.0, 6.0, 6.0)]
    assert times(series_of([1, 8, 8, 1], stride_s=1.0), rule("above", points=7.0, for_s=5.0)) == []


@pytest.mark.parametrize("gap", [NAN, 1.0])
def test_a_gap_interrupts_above_as_a_low_score_does(gap: float) -> None:
    assert times(series_of([8, 8, gap, 8, 8]), rule("above", **_ABOVE_9_S)) == []


def test_rows_that_are_missing_are_a_gap() -> None:
    whole = series_of([8.0] * 5)
    kept = np.array([0, 1, 3, 4])
    names = ("part", "start_s", "end_s", "score", "sd", "low", "high", "quality")
    cut = replace(whole, **{name: getattr(whole, name)[kept] for name in names}, reason=("",) * 4)
    assert times(cut, rule("above", **_ABOVE_9_S)) == []
    assert times(cut, rule("low_confidence", for_min=0.05)) == [(6.0, 9.0, 9.0)]


def test_a_segment_below_the_quality_interrupts_and_so_does_one_of_unknown_quality() -> None:
    asks, does_not = rule("above", **_ABOVE_9_S, min_quality=0.5), rule("above", **_ABOVE_9_S)
    for quality in (0.49, NAN):
        series = series_of([8.0] * 4, quality=[1, quality, 1, 1])
        assert times(series, asks) == []
        assert times(series, does_not) == [(0.0, 12.0, 9.0)]
    assert times(series_of([8.0] * 4, quality=0.5), asks) == [(0.0, 12.0, 9.0)]


def test_an_alert_is_prolonged_until_the_rule_was_not_met_for_the_pause() -> None:
    once = rule("above", points=7.0, for_s=3.0, rearm_s=6.0)
    assert times(series_of([8, 1, 8, 1, 1, 8]), once) == [(0.0, 9.0, 3.0), (15.0, 18.0, 18.0)]
    assert times(series_of([8, NAN, 8]), once) == [(0.0, 9.0, 3.0)]
    at_once = rule("above", points=7.0, for_s=3.0, rearm_s=0.0)
    assert times(series_of([8, 8, 1, 8]), at_once) == [(0.0, 6.0, 3.0), (9.0, 12.0, 12.0)]


def test_a_new_alert_needs_the_whole_time_again() -> None:
    assert times(series_of([8, 8, 8, 1, 1, 8, 8]), rule("above", **_ABOVE_9_S)) == [(0.0, 9.0, 9.0)]


def test_alerts_end_with_the_recording_and_do_not_reach_into_the_next() -> None:
    for pause_s in (0.0, 60.0):
        assert times(series_of([1, 8, 8], [8, 8, 1], pause_s=pause_s), rule("above", **_ABOVE_9_S)) == []
    both = series_of([8.0] * 3, [8.0] * 3, pause_s=0.0)
    assert times(both, rule("above", **_ABOVE_9_S)) == [(0.0, 9.0, 9.0), (9.0, 18.0, 18.0)]


def test_a_certain_rule_looks_at_the_lower_end() -> None:
    certain = rule("above", **_ABOVE_9_S, certain=True)
    assert times(series_of([8.0] * 4, half_width=1.0), certain) == []
    assert times(series_of([8.0] * 4, half_width=0.9), certain) == [(0.0, 12.0, 9.0)]


def test_a_rule_of_scores_does_not_look_at_the_level() -> None:
    series = series_of([8.0] * 4)
    ones = np.ones(4)
    low = Level(series.score, series.low, series.high, filtered=Level(ones, ones, ones))
    assert raise_alerts(series, low, [rule("above", **_ABOVE_9_S)]) == ()
    assert len(raise_alerts(series, low, [rule("above", **_ABOVE_9_S, of="score")])) == 1


def test_what_is_smoothed_with_hindsight_alone_is_no_basis_for_alerts() -> None:
    series = series_of([8.0] * 4)
    with pytest.raises(ValueError, match="known at each moment"):
        raise_alerts(series, Level(series.score, series.low, series.high), [rule("above", **_ABOVE_9_S)])


# --- rise ------------------------------------------------------------------------------------------------------------


def test_a_rise_is_raised_when_it_is_complete_and_began_at_the_lowest_point() -> None:
    rise = rule("rise", points=3.0, within_s=9.0)
    assert times(series_of([2, 1, 1, 2, 4, 4]), rise) == [(9.0, 18.0, 15.0)]
    assert times(series_of([1, 2, 3, 3.9]), rise) == []


def test_a_rise_within_exactly_the_time_counts_and_a_slower_one_does_not() -> None:
    slow = [1.0, 2.0, 3.0, 4.0, 5.0]
    assert times(series_of(slow), rule("rise", points=3.0, within_s=9.0)) == [(3.0, 15.0, 12.0)]
    assert times(series_of(slow), rule("rise", points=3.0, within_s=8.9)) == []


def test_a_gap_within_a_rise_does_not_matter_but_is_no_low_value() -> None:
    rise = rule("rise", points=3.0, within_s=9.0)
    assert times(series_of([1, NAN, 4]), rise) == [(3.0, 9.0, 9.0)]
    assert times(series_of([5, NAN, 5, 5]), rise) == []
    assert times(series_of([NAN, 5]), rise) == []
    assert times(series_of([1, 1], [5, 5], pause_s=0.0), rise) == []


def test_a_rise_needs_quality_at_both_ends() -> None:
    rise = rule("rise", points=3.0, within_s=9.0, min_quality=0.5)
    for quality in ([0.1, 1, 1], [1, 1, 0.1]):
        assert times(series_of([1, 3, 4.5], quality=quality), rise) == []
    assert times(series_of([1, 3, 4.5], quality=[1, 0.1, 1]), rise) == [(3.0, 9.0, 9.0)]


def test_a_certain_rise_is_between_the_near_ends_of_the_intervals() -> None:
    certain = rule("rise", points=3.0, within_s=9.0, certain=True)
    assert times(series_of([1, 5.9], half_width=1.0), certain) == []
    assert times(series_of([1, 6], half_width=1.0), certain) == [(3.0, 6.0, 6.0)]


def test_every_rise_is_found_that_a_search_over_all_pairs_finds() -> None:
    rng = np.random.default_rng(5)
    score = np.cumsum(rng.normal(0, 1.0, 400)) % 10
    score[rng.random(400) < 0.1] = NAN
    series = series_of(score.tolist(), stride_s=1.0)
    found = times(series, rule("rise", points=4.0, within_s=20.0, rearm_s=0.0))
    met = [
        any(score[n] - score[m] >= 4.0 for m in range(max(0, n - 20), n) if np.isfinite(score[m])) for n in range(400)
    ]
    first = [n for n in range(400) if met[n] and not met[n - 1]]
    assert len(found) > 5
    assert [raised_s for _, _, raised_s in found] == [n + 3.0 for n in first]


def test_a_constant_recording_after_another_at_a_lower_level_has_no_rise() -> None:
    """The level must not climb from the scores before a gap to those after it, seconds after the gap is over."""
    rng = np.random.default_rng(3)
    low, high = (rng.normal(level, 0.1, 60).tolist() for level in (1, 7))
    rise = rule("rise", points=0.8, within_s=8.0)
    for series in (
        series_of([*low, *([NAN] * 45), *high], stride_s=1.0, half_width=1.6),
        series_of(low, high, stride_s=1.0, pause_s=5.0, half_width=1.6),
    ):
        assert raise_alerts(series, analyse(series, 42).level, [rise]) == ()
    steep = series_of([*low, *high], stride_s=1.0, half_width=1.6)
    assert len(raise_alerts(steep, analyse(steep, 42).level, [rise])) == 1


# --- no decline ------------------------------------------------------------------------------------------------------

_NO_DECLINE = {"event": "analgesic", "points": 2.0, "within_min": 0.2}


def test_no_decline_is_raised_when_the_time_is_over_and_lasts_until_the_decline() -> None:
    series = series_of([6, 6, 6, 6, 5, 5, 5, 5, 4, 3], events=[(6.0, "Analgesic ")])
    assert times(series, rule("no_decline", **_NO_DECLINE)) == [(6.0, 27.0, 18.0)]


def test_a_decline_within_exactly_the_time_is_one() -> None:
    series = series_of([6, 6, 6, 6, 6, 4, 6, 6], events=[(6.0, "analgesic")])
    assert times(series, rule("no_decline", **_NO_DECLINE)) == []
    assert times(series, rule("no_decline", **_NO_DECLINE | {"within_min": 0.199})) == [(6.0, 18.0, 6 + 60 * 0.199)]


def test_an_event_near_the_end_cannot_be_judged_and_that_is_said() -> None:
    series = series_of([6.0] * 5, events=[(6.0, "analgesic")])
    assert times(series, rule("no_decline", **_NO_DECLINE)) == []
    assert notices(series, rule("no_decline", **_NO_DECLINE)) == [
        "rule no-decline: analgesic at 6.0 s: the scores end before the time is over"
    ]
    declined = series_of([6, 6, 3], events=[(6.0, "analgesic")])
    assert notices(declined, rule("no_decline", **_NO_DECLINE)) == []


def test_a_gap_after_the_event_is_neither_a_decline_nor_none() -> None:
    no_decline = rule("no_decline", **_NO_DECLINE)
    mostly = series_of([6, 6, 6, NAN, NAN, 6, 6], events=[(6.0, "analgesic")])
    assert times(mostly, no_decline) == [(6.0, 21.0, 18.0)]
    hardly = series_of([6, 6, NAN, NAN, NAN, 6, 6], events=[(6.0, "analgesic")])
    assert times(hardly, no_decline) == []
    assert notices(hardly, no_decline) == [
        "rule no-decline: analgesic at 6.0 s: too little of the time after it has scores"
    ]
    before = series_of([NAN, NAN, 6, 6, 6, 6], events=[(5.0, "analgesic")])
    assert notices(before, no_decline) == ["rule no-decline: analgesic at 5.0 s: there is no score in the 60 s before"]


def test_events_at_a_level_without_room_for_a_decline_are_passed_over() -> None:
    series = series_of([1.9] * 8, events=[(6.0, "analgesic")])
    assert times(series, rule("no_decline", **_NO_DECLINE)) == []
    assert times(series, rule("no_decline", **_NO_DECLINE, from_points=1.9)) == [(6.0, 24.0, 18.0)]
    assert (
        times(series_of([3.0] * 8, events=[(6.0, "analgesic")]), rule("no_decline", **_NO_DECLINE, from_points=4.0))
        == []
    )


def test_two_events_are_judged_each_and_other_labels_are_not() -> None:
    series = series_of([6.0] * 16, events=[(6.0, "analgesic"), (9.0, "repositioning"), (24.0, "analgesic")])
    assert times(series, rule("no_decline", **_NO_DECLINE)) == [(6.0, 24.0, 18.0), (24.0, 48.0, 36.0)]
    assert notices(series, rule("no_decline", **_NO_DECLINE | {"event": "sedation"})) == [
        "rule no-decline: there is no event sedation"
    ]


def test_an_event_between_two_recordings_is_judged_by_both() -> None:
    series = series_of([6.0] * 4, [6.0] * 8, pause_s=12.0, events=[(15.0, "analgesic")])
    assert times(series, rule("no_decline", **_NO_DECLINE | {"within_min": 0.4})) == [(15.0, 48.0, 39.0)]


def test_a_certain_lack_of_decline_allows_for_both_intervals() -> None:
    series = series_of([6, 6, 6, 5, 5, 5, 5], half_width=0.4, events=[(6.0, "analgesic")])
    assert times(series, rule("no_decline", **_NO_DECLINE, certain=True)) == [(6.0, 21.0, 18.0)]
    wide = series_of([6, 6, 6, 5, 5, 5, 5], half_width=0.5, events=[(6.0, "analgesic")])
    assert times(wide, rule("no_decline", **_NO_DECLINE, certain=True)) == []


# --- low confidence --------------------------------------------------------------------------------------------------


def test_low_confidence_counts_gaps_poor_quality_and_wide_intervals_together() -> None:
    poor = rule("low_confidence", for_min=0.15, min_quality=0.5, max_width=2.0)
    series = series_of([5, NAN, 5, 5, 5], quality=[1, 0, 0.4, 1, 1], half_width=[0.5, 0.5, 0.5, 1.1, 1.0])
    assert times(series, poor) == [(3.0, 12.0, 12.0)]
    assert times(series, rule("low_confidence", for_min=0.15)) == []
    assert times(series_of([NAN] * 3), rule("low_confidence", for_min=0.15)) == [(0.0, 9.0, 9.0)]


def test_unknown_quality_is_no_low_quality() -> None:
    series = series_of([5.0] * 4, quality=NAN)
    assert times(series, rule("low_confidence", for_min=0.1, min_quality=0.5)) == []
    assert notices(series, rule("low_confidence", for_min=0.1, min_quality=0.5)) == [
        "rule low-confidence: min_quality: the table states no quality"
    ]


def test_scores_without_a_level_are_no_low_confidence() -> None:
    """Six scores are too few for a level; only the width of its interval cannot be judged then."""
    series = series_of([3, 3, 4, 3, 3, 4], quality=[1, 1, 1, 0.1, 0.1, 1])
    level = analyse(series, 42).level
    poor = rule("low_confidence", for_min=0.1)
    assert raise_alerts(series, level, [poor]) == ()
    assert alert_notices(series, level, [poor]) == ()
    all_three = rule("low_confidence", for_min=0.1, min_quality=0.5, max_width=4.0)
    assert [(alert.start_s, alert.end_s) for alert in raise_alerts(series, level, [all_three])] == [(9.0, 15.0)]
    (notice,) = alert_notices(series, level, [all_three])
    assert notice.startswith("rule low-confidence: max_width: not evaluated: there is no level (too few scores")
    nothing = series_of([NAN] * 3)
    assert (len(times(nothing, poor)), notices(nothing, poor)) == (1, [])


def test_the_interval_of_the_score_or_of_the_level_is_taken_as_the_rule_says() -> None:
    series = series_of([5.0] * 4, half_width=2.0)
    narrow = Level(series.score, series.low, series.high, filtered=Level(series.score, series.score, series.score))
    assert raise_alerts(series, narrow, [rule("low_confidence", for_min=0.1, max_width=3.0)]) == ()
    assert len(raise_alerts(series, narrow, [rule("low_confidence", for_min=0.1, max_width=3.0, of="score")])) == 1


def test_a_hole_in_the_table_is_known_while_it_lasts() -> None:
    names = ("part", "start_s", "end_s", "score", "sd", "low", "high", "quality")

    def only(kept: list[int]) -> Series:
        whole = series_of([5.0] * 400, stride_s=1.0)
        arrays = {name: getattr(whole, name)[kept] for name in names}
        return replace(whole, **arrays, reason=("",) * len(kept))

    two_minutes = rule("low_confidence", for_min=2.0)
    assert times(only([*range(10), *range(300, 400)]), two_minutes) == [(12.0, 300.0, 132.0)]
    assert times(only([*range(200, 400)]), two_minutes) == [(0.0, 200.0, 120.0)]
    # Without one of the overlapping segments no time is without a score.
    assert times(only([*range(10), *range(11, 400)]), rule("low_confidence", for_min=0.01)) == []


# --- all of them -----------------------------------------------------------------------------------------------------


def test_what_could_not_be_evaluated_is_said() -> None:
    no_bands = series_of([5.0] * 3, half_width=NAN)
    assert notices(no_bands, rule("above", points=3.0, for_s=3.0, certain=True)) == [
        "rule above: there are no intervals; score with --mc-samples"
    ]
    assert notices(series_of([NAN] * 3), rule("above", points=3.0, for_s=3.0)) == [
        "rule above: not evaluated: there are no scores"
    ]
    nothing = np.full(3, NAN)
    none = Level(nothing, nothing, nothing, "fewer than 10 scores", Level(nothing, nothing, nothing))
    assert alert_notices(series_of([5.0] * 3), none, [rule("above", points=3.0, for_s=3.0)]) == (
        'rule above: not evaluated: there is no level (fewer than 10 scores); of = "score" needs none',
    )


def test_later_scores_change_no_alert_that_was_raised_before_them() -> None:
    """Nothing looks ahead: with the series cut off after any segment, the same alerts are raised until then."""
    rng = np.random.default_rng(1)
    score = np.clip(np.cumsum(rng.normal(0, 1.2, 80)) + 4, 0, 10)
    score[(rng.random(80) < 0.1) | (abs(np.arange(80) - 30) < 4)] = NAN
    rules = [
        rule("above", points=5.0, for_s=5.0),
        rule("rise", points=2.0, within_s=5.0),
        rule("no_decline", **_NO_DECLINE | {"within_min": 0.1}),
        rule("low_confidence", for_min=0.1),
    ]
    events = [(float(time_s), "analgesic") for time_s in range(5, 80, 5)]
    whole = series_of(score.tolist(), stride_s=1.0, events=events)
    alerts = raise_alerts(whole, level_of(whole), rules)
    assert {alert.rule for alert in alerts} == {own.name for own in rules}
    for n in range(1, 81):
        cut = series_of(score[:n].tolist(), stride_s=1.0, events=events)
        now_s = n + 2.0
        known = [(alert.rule, alert.start_s, alert.raised_s) for alert in raise_alerts(cut, level_of(cut), rules)]
        assert known == [
            (alert.rule, alert.start_s, alert.raised_s) for alert in alerts if alert.raised_s <= now_s + 1e-6
        ]


def test_alerts_are_in_the_order_of_their_raising_and_the_same_every_time() -> None:
    series = series_of([1, 1, 8, 8, 8, 8, NAN, NAN, NAN, 1, 8, 8, 8])
    rules = [
        rule("low_confidence", for_min=0.1),
        rule("above", **_ABOVE_9_S | {"rearm_s": 0.0}),
        rule("rise", points=3.0, within_s=9.0),
    ]
    alerts = raise_alerts(series, level_of(series), rules)
    assert all(one.raised_s <= other.raised_s for one, other in pairwise(alerts))
    assert [alert.rule for alert in alerts] == ["rise", "above", "low-confidence", "rise", "above"]
    assert alerts == raise_alerts(series, level_of(series), rules)
    assert all(alert.start_s <= alert.raised_s <= alert.end_s for alert in alerts)


def test_an_empty_series_has_no_alerts() -> None:
    assert times(series_of([]), *read_rules(REPOSITORY / "examples" / "alerts.toml")) == []


# --- the table -------------------------------------------------------------------------------------------------------


def _trajectory(series: Series, alerts: tuple[Alert, ...]) -> Trajectory:
    nothing = absent("made up")
    return Trajectory(series, level_of(series), (), (), (), (), 0.0, (), nothing, nothing, nothing, (), (), alerts)


def test_the_table_names_the_recording_and_the_clock_time_and_runs_no_formula(tmp_path: Path) -> None:
    series = replace(series_of([1, 8, 8], [1, 8, 8], name="=P1"), clock="2026-03-04T10:00:00.000+01:00")
    look = rule("above", points=7.0, for_s=6.0, text='=HYPERLINK("x")')
    alerts = raise_alerts(series, level_of(series), [look])
    write_alerts(tmp_path / "alerts.csv", [_trajectory(series, alerts), _trajectory(series_of([1.0]), ())])
    with (tmp_path / "alerts.csv").open(newline="", encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert list(first) == [column.name for column in ALERT_COLUMNS]
    assert first["series"] == "'=P1"
    assert first["text"] == '\'=HYPERLINK("x")'
    assert (first["recording"], first["start_s"], first["raised_s"]) == ("0.mp4", "3.000", "9.000")
    assert (second["recording"], second["start_s"], second["raised_s"]) == ("1.mp4", "72.000", "78.000")
    assert second["recording_raised_s"] == "9.000"
    assert second["raised_at"] == "2026-03-04T10:01:18.000+01:00"
    assert second["highest"] == "9.000"
    assert (tmp_path / "alerts.csv").stat().st_mode & 0o777 == 0o600


def test_alerts_of_recordings_that_overlap_by_a_second_stay_with_their_own() -> None:
    """The first recording ends at 12 s, a second after the next has begun."""
    series = series_of([1, 8, 8, 8], [8, 1, 1, 1], pause_s=-1.0)
    order = np.argsort(series.start_s, kind="stable")
    arrays = {
        name: getattr(series, name)[order]
        for name in ("part", "start_s", "end_s", "score", "sd", "low", "high", "quality")
    }
    mixed = replace(series, **arrays)
    alerts = raise_alerts(mixed, level_of(mixed), [rule("above", **_ABOVE_9_S)])
    (row,) = alert_rows(_trajectory(mixed, alerts))
    assert (row["recording"], row["raised_s"], row["recording_raised_s"]) == ("0.mp4", 12.0, 12.0)


def test_a_table_without_alerts_has_its_columns(tmp_path: Path) -> None:
    write_alerts(tmp_path / "alerts.csv", [_trajectory(series_of([1.0]), ())])
    assert (tmp_path / "alerts.csv").read_text() == ",".join(column.name for column in ALERT_COLUMNS) + "\n"


# --- on an analysed series -------------------------------------------------------------------------------------------


def test_the_example_rules_on_the_analysed_pain_of_the_example_phantoms() -> None:
    """With scores that are the true pain and some noise: alerts follow the procedures, and no pain raises none."""
    folder = REPOSITORY / "examples" / "phantoms"
    truth, events = pd.read_csv(folder / "truth.csv"), pd.read_csv(folder / "events.csv")
    rng, rules = np.random.default_rng(3), read_rules(REPOSITORY / "examples" / "alerts.toml")
    raised: dict[str, dict[str, float]] = {}
    for name, pain in truth.groupby("recording"):
        own = events[events["recording"] == name]
        score = np.convolve(pain["value"], np.ones(3) / 3, "valid") + rng.normal(0, 0.2, len(pain) - 2)
        series = series_of(
            np.clip(score, 0, 10).tolist(),
            stride_s=1.0,
            half_width=0.4,
            events=list(zip(own["time_s"], own["label"], strict=True)),
        )
        level = analyse(series, 42).level
        assert level.filtered is not None
        raised[str(name)] = {alert.rule: alert.raised_s for alert in reversed(raise_alerts(series, level, rules))}
    # P0001: the procedure is at 4.5 s, pain is over 7 from 6 s, and declines after the analgesic at 13.6 s.
    first = raised["P0001-01.mp4"]
    # While it changes so fast, its level is not certain to 4 points: "cannot-tell" may be there as well.
    assert set(first) - {"cannot-tell"} == {"severe-pain", "surely-moderate-pain", "sudden-rise"}
    assert 7.0 <= first["sudden-rise"] <= 12.0
    assert 10.0 <= first["severe-pain"] <= 16.0
    assert raised["P0003-01.mp4"] == {}
