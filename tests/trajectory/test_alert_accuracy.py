"""Alerts against those of the ratings, on cases that are computed by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from avpenet_cli.trajectory.alert_accuracy import (
    TOLERANCE_S,
    AccuracyCounts,
    AlertAccuracy,
    SeriesCounts,
    rate_per_hour,
    reference_series,
    summarise,
)
from avpenet_cli.trajectory.alert_rules import AboveRule, LowConfidenceRule, NoDeclineRule, Rule
from avpenet_cli.trajectory.alerts import raise_alerts
from avpenet_cli.trajectory.run import TrajectoryRequest, write_all
from avpenet_cli.trajectory.series import Series
from tests.support.made_up_series import NAN, level_of, series_of

_ABOVE = AboveRule(kind="above", name="pain", text="Pain", points=6.0, for_s=6.0, rearm_s=3.0, min_quality=0.5)


def _rated(scores: list[float], ratings: list[float], **fields: object) -> Series:
    """Segments of 3 s with a rating each, NaN for none."""
    spans = [(3.0 * n, 3.0 * n + 3.0, value) for n, value in enumerate(ratings) if np.isfinite(value)]
    return series_of(scores, ratings=spans, **fields)  # type: ignore[arg-type]


def _accuracy(*series: Series, rules: Sequence[Rule] = (_ABOVE,), tolerance_s: float = TOLERANCE_S) -> AlertAccuracy:
    """Of the last rule; every series is of another patient."""
    counts = AccuracyCounts(rules, tolerance_s)
    for number, own in enumerate(series):
        counts.add(str(number), own, level_of(own))
    return counts.accuracy()[-1]


def _counts(series: Series, tolerance_s: float = 3.0) -> tuple[int, int, int, int]:
    accuracy = _accuracy(series, tolerance_s=tolerance_s)
    return accuracy.episodes, accuracy.found, accuracy.alerts, accuracy.false_alerts


def test_a_case_by_hand() -> None:
    """The first episode is found; the second alert ends before the second episode, which is missed."""
    #          0  3  6  9 12 15 18 21 24 27 30 33 36 39 42 45
    ratings = [1, 8, 8, 8, 8, 1, 1, 1, 1, 1, 1, 1, 8, 8, 8, 1.0]
    scores = [1, 1, 8, 8, 8, 1, 8, 8, 1, 1, 1, 1, 1, 1, 1, 1.0]
    series = _rated(scores, ratings)
    assert [alert.raised_s for alert in raise_alerts(series, level_of(series), [_ABOVE])] == [12.0, 24.0]
    assert _counts(series) == (2, 1, 2, 1)
    accuracy = _accuracy(series, tolerance_s=3.0)
    assert accuracy.sensitivity.value == 0.5
    assert accuracy.observed_h == pytest.approx(48 / 3600)
    assert accuracy.false_per_hour.value == pytest.approx(75.0)
    # The episode is from 3 to 15 s, its alert was raised at 12 s.
    assert (accuracy.delay_s.value, accuracy.delay_range_s) == (9.0, (9.0, 9.0))


def test_an_episode_is_found_until_the_tolerance_after_its_end_and_no_longer() -> None:
    #        the episode ends at 9 s; the alert is raised at 12 s and at 15 s
    assert _counts(_rated([1, 1, 8, 8, 8, 1], [1, 8, 8, 1, 1, 1])) == (1, 1, 1, 0)
    assert _counts(_rated([1, 1, 1, 8, 8, 1], [1, 8, 8, 1, 1, 1])) == (1, 0, 1, 1)


def test_an_alert_that_is_still_going_on_finds_an_episode_that_begins_then() -> None:
    series = _rated([8.0] * 6, [5, 5, 5, 8, 8, 8])
    assert _counts(series) == (1, 1, 1, 0)
    accuracy = _accuracy(series)
    assert (accuracy.delay_s.value, accuracy.early) == (-3.0, 1)
    assert _counts(_rated([8, 8, 1, 1, 1, 1], [5, 5, 5, 8, 8, 8])) == (1, 0, 1, 1)


def test_an_alert_that_never_ends_finds_one_episode_at_most_and_its_time_outside_is_stated() -> None:
    """An hour above 6, three episodes: only one begins within the tolerance of the raising, at 6 s."""
    ratings = np.zeros(1200)
    ratings[[n + own for n in (5, 400, 800) for own in range(5)]] = 8.0
    series = _rated([9.0] * 1200, ratings.tolist())
    accuracy = _accuracy(series)
    assert (accuracy.episodes, accuracy.found, accuracy.false_alerts) == (3, 1, 0)
    # Of 3,594 s since the raising, 45 s are in episodes.
    assert accuracy.outside_min_per_hour.value == pytest.approx(3549 / 60)
    ratings[5:10] = 0.0
    never = _accuracy(_rated([9.0] * 1200, ratings.tolist()))
    assert (never.episodes, never.found, never.false_alerts) == (2, 0, 1)


_NO_DECLINE = NoDeclineRule(
    kind="no_decline", name="no", text="No", event="analgesic", points=2.0, within_min=0.5, from_points=3.0
)


def test_no_decline_after_one_event_does_not_find_that_after_another() -> None:
    """By the ratings pain declined after the first event only, by the scores after the second only."""
    scores = [7.0] * 70 + [2.0] * 30
    ratings = [7.0] * 36 + [2.0] * 6 + [7.0] * 58
    events = [(99.0, "analgesic"), (201.0, "analgesic")]
    accuracy = _accuracy(_rated(scores, ratings, events=events), rules=[_NO_DECLINE])
    assert (accuracy.episodes, accuracy.found, accuracy.alerts, accuracy.false_alerts) == (1, 0, 1, 1)
    unrated = _accuracy(_rated([7.0] * 70, [7.0] * 40 + [NAN] * 2 + [7.0] * 28, events=events), rules=[_NO_DECLINE])
    assert (unrated.episodes, unrated.found, unrated.false_alerts) == (1, 1, 0)
    cannot_judge = [7.0] * 36 + [NAN] * 6 + [7.0] * 2 + [NAN] * 26
    nobody = _accuracy(_rated([7.0] * 70, cannot_judge, events=events), rules=[_NO_DECLINE])
    assert (nobody.episodes, nobody.alerts, nobody.false_alerts) == (0, 0, 0)


def test_two_alerts_in_an_episode_are_both_true_and_the_first_gives_the_delay() -> None:
    series = _rated([8, 8, 1, 1, 8, 8], [8.0] * 6)
    assert _counts(series) == (1, 1, 2, 0)
    assert _accuracy(series).delay_s.value == 6.0


def test_a_gap_in_the_scores_misses_the_episode_and_is_no_observed_time() -> None:
    series = _rated([1, NAN, NAN, NAN, 1], [1, 8, 8, 8, 1])
    accuracy = _accuracy(series)
    assert (accuracy.episodes, accuracy.found) == (1, 0)
    assert accuracy.observed_h == pytest.approx(6 / 3600)


def test_an_alert_where_nobody_rated_is_neither_true_nor_false() -> None:
    assert _counts(_rated([8, 8, 8, 1, 1], [NAN, NAN, NAN, 1, 1])) == (0, 0, 0, 0)


def test_the_reference_has_full_quality_and_the_quality_of_scores_counts_against_them() -> None:
    series = _rated([8, 8, 8], [8, 8, 8], quality=0.1)
    assert _counts(series) == (1, 0, 0, 0)
    assert reference_series(series).quality.tolist() == [1.0, 1.0, 1.0]


def test_series_without_ratings_are_passed_over() -> None:
    unrated, rated = series_of([8, 8, 8]), _rated([8, 8, 8], [8, 8, 8])
    accuracy = _accuracy(unrated, rated)
    assert (accuracy.alerts, accuracy.episodes) == (1, 1)
    none = _accuracy(unrated)
    assert (none.sensitivity.reason, none.false_per_hour.reason) == ("no series has ratings",) * 2
    assert np.isnan([none.sensitivity.value, none.false_per_hour.value, none.delay_s.value]).all()


def test_without_episodes_sensitivity_and_delay_have_a_reason_and_false_alarms_a_number() -> None:
    series = _rated([8, 8, 8], [1, 1, 1])
    accuracy = _accuracy(series)
    assert accuracy.sensitivity.reason == "the ratings have no such episode"
    assert accuracy.delay_s.reason == "no episode was found"
    assert accuracy.false_per_hour.value == pytest.approx(400.0)


def test_low_confidence_has_nothing_to_be_compared_with() -> None:
    series = _rated([8, 8, 8], [8, 8, 8])
    poor = LowConfidenceRule(kind="low_confidence", name="poor", text="Poor", for_min=1.0)
    accuracy = _accuracy(series, rules=[_ABOVE, poor])
    assert accuracy.sensitivity.reason == accuracy.false_per_hour.reason == "ratings have no confidence to compare with"


def test_wilsons_interval_of_single_episodes() -> None:
    """Newcombe 1998, Stat Med 17:857, table I, method 3: 81 of 263 is 0.2553 to 0.3662, 0 of 20 is 0 to 0.1611."""
    for found, n, low, high in ((81, 263, 0.2553, 0.3662), (0, 20, 0.0, 0.1611)):
        counts = [SeriesCounts((place < found,), (), 1, 0, 0.0, 60.0) for place in range(n)]
        sensitivity = summarise(_ABOVE, counts).sensitivity
        assert sensitivity.ci == pytest.approx((low, high), abs=5e-5)
        assert not sensitivity.reason


def test_patients_with_several_episodes_are_resampled_where_there_are_enough() -> None:
    all_or_none = [SeriesCounts((n % 2 == 0,) * 10, (), 10, 0, 0.0, 60.0) for n in range(8)]
    by_patient = summarise(_ABOVE, all_or_none).sensitivity
    few = summarise(_ABOVE, all_or_none[:4]).sensitivity
    assert by_patient.value == few.value == 0.5
    assert by_patient.ci[1] - by_patient.ci[0] > 0.5
    assert few.reason == "interval as if a patient's episodes were independent"
    assert few.ci[1] - few.ci[0] < 0.4
    # All found: there is no spread between patients to resample.
    every = summarise(_ABOVE, [replace(own, found=(True,) * 10) for own in all_or_none]).sensitivity
    assert every.ci[0] == pytest.approx(0.954, abs=1e-3)
    assert every.reason


def test_exact_interval_of_a_rate() -> None:
    """Garwood 1936, as tabulated: 0 events give 0 to 3.689, 10 events 4.795 to 18.390."""
    assert rate_per_hour(0, 1.0).ci == pytest.approx((0.0, 3.6889), abs=1e-4)
    assert rate_per_hour(10, 2.0).ci == pytest.approx((4.7954 / 2, 18.3904 / 2), abs=1e-4)
    assert rate_per_hour(0, 0.0).reason == "no time has both scores and ratings"


def test_interval_of_the_median_delay_is_between_order_statistics() -> None:
    """Of ten values the second and the ninth; of five there is none."""
    delays = [float(n) for n in range(1, 11)]
    counts = [SeriesCounts((True,), (delay,), 1, 0, 0.0, 60.0) for delay in reversed(delays)]
    ten, five = summarise(_ABOVE, counts), summarise(_ABOVE, counts[:5])
    assert (ten.delay_s.value, ten.delay_s.ci, ten.delay_range_s) == (5.5, (2.0, 9.0), (1.0, 10.0))
    assert (five.delay_s.value, five.delay_s.has_interval, five.delay_s.reason) == (
        8.0,
        False,
        "fewer than 6 episodes found",
    )


def test_recordings_of_one_patient_are_one_unit_of_every_interval() -> None:
    """Eight sessions of one patient say nothing about the spread between patients."""
    both = _rated([8, 8, 1, 1, 1, 1, 1, 8, 8], [8, 8, 1, 1, 1, 1, 1, 1, 1])
    counts = AccuracyCounts([_ABOVE])
    for _ in range(8):
        counts.add("P", both, level_of(both))
    (one,) = counts.accuracy()
    assert (one.episodes, one.false_alerts, one.outside_min_per_hour.n) == (8, 8, 1)
    assert one.sensitivity.reason == one.delay_s.reason == "interval as if a patient's episodes were independent"
    assert one.false_per_hour.reason == "interval as if a patient's false alerts were independent"
    assert not one.outside_min_per_hour.has_interval


def test_false_alarms_and_delays_that_come_in_patients_have_wider_intervals() -> None:
    """Ten of each in every other patient of twelve, as against one a patient in a hundred and twenty."""
    rng = np.random.default_rng(2)
    clustered = [
        SeriesCounts((True,) * 10, (float(rng.normal(10, 5)),) * 10, 20, 10 * (n % 2), 60.0 * n, 3600.0)
        for n in range(12)
    ]
    accuracy = summarise(_ABOVE, clustered)
    assert accuracy.false_per_hour.value == 5.0
    exact = rate_per_hour(60, 12.0).ci
    low, high = accuracy.false_per_hour.ci
    assert high - low > 1.5 * (exact[1] - exact[0])
    assert low < 5.0 < high
    pooled = np.sort([delay for own in clustered for delay in own.delays_s])
    low, high = accuracy.delay_s.ci
    assert high - low > pooled[70] - pooled[49]
    assert accuracy.outside_min_per_hour.value == pytest.approx(5.5)
    assert accuracy.outside_min_per_hour.ci[0] < 5.5 < accuracy.outside_min_per_hour.ci[1]


def test_sessions_on_other_days_are_of_the_patient_that_the_table_of_subjects_names(tmp_path: Path) -> None:
    """Six sessions with an episode each: Wilson's interval for single patients, another for one patient's six."""
    header = "recording,segment,start_s,end_s,status,score,score_sd,reason,recorded_at"
    scores, ratings, subjects = [header], ["recording,start_s,end_s,value,scale,rater"], ["recording,subject"]
    for day in range(1, 7):
        for n in range(10):
            value = 8 if 3 <= n < 7 else 1
            at = f"2026-03-{day:02d}T10:00:{3 * n:02d}+00:00"
            scores.append(f"{day}.mp4,{n},{3 * n},{3 * n + 3},scored,{value},0.2,,{at}")
            ratings.append(f"{day}.mp4,{3 * n},{3 * n + 3},{value},NRS,A")
        subjects.append(f"{day}.mp4,P")
    for name, lines in (("scores", scores), ("ratings", ratings), ("subjects", subjects)):
        (tmp_path / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    rules = '[[rules]]\nkind = "above"\nname = "pain"\ntext = "Pain"\nof = "score"\npoints = 6.0\nfor_s = 6.0\n'
    (tmp_path / "rules.toml").write_text(rules, encoding="utf-8")
    request = TrajectoryRequest(
        (str(tmp_path / "scores.csv"),),
        tmp_path / "out.csv",
        reference=tmp_path / "ratings.csv",
        alerts=tmp_path / "rules.toml",
    )
    (single,) = write_all(request).accuracy
    with_subjects = replace(request, out=tmp_path / "by_patient.csv", subjects=tmp_path / "subjects.csv")
    (of_one,) = write_all(with_subjects).accuracy
    assert (single.found, of_one.found) == (6, 6)
    assert single.sensitivity.reason == ""
    assert of_one.sensitivity.reason == "interval as if a patient's episodes were independent"
