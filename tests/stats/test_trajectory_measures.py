"""Measures of a trajectory against levels that are known; what cannot be measured has a reason."""

from __future__ import annotations

import numpy as np
import pytest

from avpenet_cli.stats.after_event import after_event
from avpenet_cli.stats.rating_lag import Lag, rating_lag
from avpenet_cli.stats.smoothing import smooth
from avpenet_cli.stats.trajectory_measures import Course, area, cells, highest, mean, peaks, seconds_above
from tests.stats.measure_trajectories import EVENT_S, WINDOW_S, Floats, procedure, simulated, steps, unrelated, walk


def _times(*bounds: float) -> Floats:
    return np.arange(*bounds, dtype=np.float64)


def _exact(level: Floats, spread: float = 0.0) -> Course:
    """A level every second that is known, or known up to a shift of normal distribution."""
    n = len(level)
    draws = level + np.random.default_rng(1).normal(0, spread, (400, 1)) * np.ones(n)
    band = (level - 1.96 * spread, level + 1.96 * spread)
    seconds = np.isfinite(level).astype(np.float64)
    return Course(_times(n) + 1.5, seconds, level, *band, draws, np.zeros(n, np.int64))


def test_segments_stand_for_every_second_once() -> None:
    start = np.array([0.0, 1.0, 2.0, 3.0, 20.0, 21.0])
    first, last = cells(start, start + 3)
    assert first.tolist() == [0, 2, 3, 4, 20, 22] and last.tolist() == [2, 3, 4, 6, 22, 24]


def test_time_area_mean_and_highest_of_a_known_level() -> None:
    level = np.concatenate([np.full(100, 2.0), np.full(50, 7.0), np.full(50, np.nan), np.full(100, 3.0)])
    course = _exact(level)
    assert seconds_above(course, 3.0).value == 50 and seconds_above(course, 3.0).ci == (50, 50)
    assert seconds_above(course, 2.5).value == 150
    assert area(course).value == pytest.approx(100 * 2 + 50 * 7 + 100 * 3)
    assert mean(course).value == pytest.approx(850 / 250)
    assert highest(course).value == 7


def test_intervals_are_those_of_the_draws() -> None:
    course = _exact(np.full(100, 5.0), spread=0.5)
    assert mean(course).ci == pytest.approx((4, 6), abs=0.15)
    assert highest(course).ci == pytest.approx((4, 6), abs=0.15)
    assert seconds_above(course, 5.2).ci == (0, 100)


@pytest.mark.slow
def test_band_and_intervals_cover_the_truth() -> None:
    """A moving level, windows that overlap: `measure_trajectories.py` has more cases."""
    rng, repeats = np.random.default_rng(3), 25
    covered: dict[str, list[float]] = {"mean": [], "above": [], "highest": [], "band": []}
    for _ in range(repeats):
        data = simulated(rng, walk(rng, 180, 0.02), 0.5)
        course = data.course()
        seconds, truth = course.seconds, np.clip(data.truth, 0, 10)
        covered["band"].append(float(((course.low <= truth) & (truth <= course.high)).mean()))
        for name, estimate, value in (
            ("mean", mean(course), truth @ seconds / seconds.sum()),
            ("above", seconds_above(course, 5.0), seconds[truth > 5].sum()),
            ("highest", highest(course), truth.max()),
        ):
            covered[name].append(estimate.ci[0] - 1e-9 <= value <= estimate.ci[1] + 1e-9)
    assert np.mean(covered.pop("band")) == pytest.approx(0.95, abs=0.03)
    for name, values in covered.items():
        assert np.mean(values) >= 0.95 - 2 * np.sqrt(0.05 * 0.95 / repeats), name


def test_peaks_stand_out_by_a_point_and_not_at_gaps() -> None:
    times = np.arange(240)
    level = 3 + 2 * np.exp(-(((times - 60) / 8) ** 2)) + 0.6 * np.exp(-(((times - 120) / 8) ** 2))
    level[200:] = 3 + np.minimum(times[200:] - 200, 6)
    level[210:220] = np.nan
    (peak,) = peaks(_exact(level))
    assert peak.place == 60 and peak.level == pytest.approx(5) and peak.prominence == pytest.approx(2, abs=0.01)


def test_half_time_of_an_exact_decline() -> None:
    level = procedure(300, half_time_s=30)[::4]
    found = after_event(_exact(level), EVENT_S, WINDOW_S)
    assert found.level.value == pytest.approx(2, abs=0.01)
    assert found.highest.value == pytest.approx(7, abs=0.01)
    assert found.half_time_s.value == pytest.approx(30, abs=1)


def test_half_time_of_noisy_scores_is_near() -> None:
    data = simulated(np.random.default_rng(2), procedure(300, half_time_s=30), 0.5)
    half = after_event(data.course(), EVENT_S, WINDOW_S).half_time_s
    assert half.ci[0] <= 30 <= half.ci[1] and half.value == pytest.approx(30, abs=12)


def test_the_next_event_ends_what_followed() -> None:
    level = procedure(300, half_time_s=10)[::4]
    level[130:] = 0
    alone, cut = (after_event(_exact(level), EVENT_S, WINDOW_S, next_s) for next_s in (np.inf, 130.0))
    assert cut.half_time_s.value == pytest.approx(10, abs=1)
    assert alone.half_time_s.value > 12


@pytest.mark.parametrize("followed_s", [45, 60, 120])
@pytest.mark.parametrize("by", ["end of the recording", "next event", "face lost"])
def test_a_decline_that_is_cut_short_has_no_half_time(followed_s: int, by: str) -> None:
    """True half-time 69 s: of what is seen, the half-time is 25 s after 60 s, and 43 s after 120 s."""
    rng = np.random.default_rng(2)
    times = _times(700.0)
    score = np.where(times < 120, 8.0, 2 + 6 * np.exp(-(times - 120) / 100)) + rng.normal(0, 0.2, 700)
    end = 120 + followed_s
    if by == "face lost":
        score[end:] = np.nan
    kept = slice(end) if by == "end of the recording" else slice(None)
    start, score = times[kept], score[kept]
    level = smooth(start, start + 3, score, np.full(len(score), 0.2), 1)
    course = Course.of(start, start + 3, score, level)
    half = after_event(course, 120.0, WINDOW_S, end if by == "next event" else np.inf).half_time_s
    assert not half.computable and half.reason == "still falling when the follow-up ends"


def test_a_decline_that_is_followed_to_its_end_has_its_half_time() -> None:
    times = _times(720.0)
    found = after_event(_exact(np.where(times < 120, 8.0, 2 + 6 * np.exp(-(times - 120) / 100))), 120.0, WINDOW_S)
    assert found.half_time_s.value == pytest.approx(69, abs=2)


def test_a_fall_in_a_gap_may_have_been_at_any_time_of_it() -> None:
    rng = np.random.default_rng(2)
    score = np.concatenate([np.full(90, 8.0), np.full(100, np.nan), np.full(120, 2.0)]) + rng.normal(0, 0.1, 310)
    start = _times(310.0)
    course = Course.of(start, start + 3, score, smooth(start, start + 3, score, np.full(310, 0.2), 1))
    half = after_event(course, 50.0, WINDOW_S).half_time_s
    # The highest of a constant level is anywhere in the 40 s before the gap, so the fall is 0 to 140 s after it.
    assert half.ci[0] < 10 and half.ci[1] > 125
    assert 40 < half.value < 100


def test_a_minute_that_is_hardly_seen_has_no_highest() -> None:
    level = np.full(200, np.nan)
    level[:85] = 3.0
    level[170:] = 8.0
    hardly = after_event(_exact(level), EVENT_S, WINDOW_S)
    assert "scores in 27 s of the minute" in hardly.highest.reason
    assert hardly.half_time_s.reason == hardly.highest.reason
    level[85:95] = 3.0
    assert after_event(_exact(level), EVENT_S, WINDOW_S).highest.value == 3


def test_no_decline_and_no_level_have_reasons() -> None:
    still = after_event(_exact(np.full(200, 5.0)), EVENT_S, WINDOW_S)
    assert np.isnan(still.half_time_s.value) and "no decline" in still.half_time_s.reason
    level = np.full(200, 5.0)
    level[50:140] = np.nan
    hidden = after_event(_exact(level), EVENT_S, WINDOW_S)
    assert hidden.level.reason and hidden.highest.reason and hidden.half_time_s.reason
    assert after_event(_exact(np.full(50, 5.0)), 900.0, WINDOW_S).level.reason


def _rated(lag_s: int, n: int = 300, every: int = 5, noise: float = 0.3) -> Lag:
    rng = np.random.default_rng(4)
    level = 5 + np.cumsum(rng.normal(0, 0.3, n + 60))
    score = level[30 - lag_s : 30 - lag_s + n] + rng.normal(0, noise, n)
    start = _times(0.0, n, every)
    rating = np.round(level[30 + start.astype(int)])
    return rating_lag(_times(n), score, start, start, rating, 1.0, 1)


@pytest.mark.parametrize("lag_s", [-6, 0, 10])
def test_scores_that_follow_late_have_that_lag(lag_s: int) -> None:
    found = _rated(lag_s)
    assert found.lag_s.value == pytest.approx(lag_s, abs=2)
    assert found.lag_s.ci[0] <= lag_s <= found.lag_s.ci[1]
    assert found.spearman_at_lag.value > 0.9
    assert found.spearman_at_lag.value >= found.spearman.value - 1e-9


def test_agreement_is_spearmans() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(5)
    score, start = rng.normal(5, 1, 200), _times(0.0, 200, 4)
    rating = np.round(score[::4] + rng.normal(0, 1, 50))
    found = rating_lag(_times(200.0), score, start, start, rating, 1.0, 1)
    assert found.n == 50
    assert found.spearman.value == pytest.approx(spearmanr(score[::4], rating).statistic)
    assert found.spearman.ci[0] < found.spearman.value < found.spearman.ci[1]


@pytest.mark.parametrize(
    ("rating", "score", "reason"),
    [
        (_times(5.0), _times(60.0), "too few ratings"),
        (np.full(20, 3.0), _times(60.0), "all ratings are the same"),
        (_times(20.0), np.full(60, 3.0), "all scores are the same"),
        (_times(20.0), np.full(60, np.nan), "too few ratings"),
    ],
)
def test_ratings_that_do_not_suffice_have_a_reason(rating: Floats, score: Floats, reason: str) -> None:
    start = _times(len(rating)) * 3
    found = rating_lag(_times(60.0), score, start, start, rating, 1.0, 1)
    for estimate in (found.lag_s, found.spearman, found.spearman_at_lag):
        assert np.isnan(estimate.value) and reason in estimate.reason


def test_unrelated_ratings_have_no_lag() -> None:
    rng = np.random.default_rng(6)
    start = _times(0.0, 600, 2)
    found = rating_lag(_times(600.0), rng.normal(5, 1, 600), start, start, np.round(rng.normal(5, 2, 300)), 1.0, 1)
    assert "no lag has a rank correlation" in found.lag_s.reason
    assert found.spearman.computable and found.spearman.has_interval


def test_unrelated_series_that_change_slowly_seldom_agree() -> None:
    """Time scale 60 s, 600 s: about 10 independent pairs, however many ratings there are."""
    agree, at_lag, repeats = 0, 0, 60
    for seed in range(repeats):
        score, rating = unrelated(np.random.default_rng(seed), 600, 60.0)
        start = _times(0.0, 600, 3)
        found = rating_lag(_times(600.0) + 1.5, score, start, start + 3, rating[::3], 1.0, seed)
        low, high = found.spearman.ci
        agree += not low <= 0 <= high
        at_lag += found.lag_s.computable
        assert not found.spearman_at_lag.has_interval and found.spearman_at_lag.reason
    # 5 % of 60 are 3; with more than 8, which has a probability of 0.4 % then, it is another interval.
    assert agree <= 8
    assert at_lag <= 8


def test_ratings_that_hardly_move_have_no_interval() -> None:
    times = _times(300.0)
    start = _times(0.0, 300, 5)
    found = rating_lag(times, times / 30, start, start, np.round(start / 30), 1.0, 1)
    assert found.spearman.value > 0.9 and not found.spearman.has_interval
    assert "worth" in found.spearman.reason


def test_without_a_level_every_measure_has_the_reason() -> None:
    course = simulated(np.random.default_rng(1), steps(8, (5.0,)), 0.5).course()
    after = after_event(course, 2.0, WINDOW_S)
    for estimate in (area(course), mean(course), highest(course), seconds_above(course, 3.0), after.half_time_s):
        assert np.isnan(estimate.value) and estimate.reason == course.reason
    assert not peaks(course)


def test_segments_within_one_another_stand_for_no_negative_time() -> None:
    start_s, end_s = np.array([0.0, 1.0, 2.0, 12.0]), np.array([10.0, 2.0, 5.0, 13.0])
    first, last = cells(start_s, end_s)
    assert (last > first).all()
    assert first[1] == 1.0 and last[1] == 2.0
    order = np.argsort(first)
    assert (last[order][:-1] <= first[order][1:]).all()
