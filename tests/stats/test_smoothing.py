"""The smoothed level: against an independent smoother, over gaps, and how often its band covers the true level."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from avpenet_cli.stats.smoothing import FEWEST_SCORES, LONGEST_BRIDGED_S, N_DRAWS, Smoothed, overlaps, smooth
from tests.stats.measure_trajectories import short_band

Floats = npt.NDArray[np.float64]


def _series(score: Floats, stride: float = 1.0, window: float = 3.0) -> tuple[Floats, Floats, Floats]:
    start = np.arange(len(score), dtype=np.float64) * stride
    return start, start + window, np.asarray(score, np.float64)


def _smoothed(score: Floats, sd: float = np.nan, stride: float = 1.0, window: float = 3.0, seed: int = 1) -> Smoothed:
    start, end, values = _series(score, stride, window)
    return smooth(start, end, values, np.full(len(values), sd), seed)


def _noisy(n: int, noise: float = 0.5, walk: float = 0.1, seed: int = 3) -> Floats:
    rng = np.random.default_rng(seed)
    return 5 + np.cumsum(rng.normal(0, walk, n)) + rng.normal(0, noise, n)


def test_most_likely_variances_and_level_agree_with_unobserved_components() -> None:
    from statsmodels.tsa.statespace.structural import UnobservedComponents

    score = _noisy(800)
    mine = _smoothed(score, stride=3.0)
    fitted = UnobservedComponents(score, "llevel").fit(disp=False)
    noise, walk = fitted.params
    assert mine.added_variance == pytest.approx(noise, rel=0.03)
    assert mine.walk_variance * 3 == pytest.approx(walk, rel=0.10)
    assert np.abs(mine.mean - fitted.smoothed_state[0]).max() < 0.05
    assert mine.sd == pytest.approx(np.sqrt(fitted.smoothed_state_cov[0, 0]), rel=0.10)


def test_level_and_draws_agree_with_a_gaussian_process() -> None:
    """At the most likely variances; the level takes others into account, so that its SD may be larger."""
    score = _noisy(60, noise=0.4, walk=0.3)
    score[20:23] = np.nan
    mine = _smoothed(score, sd=0.4, stride=3.0)
    scored = np.isfinite(score)
    time = np.arange(60) * 3.0
    prior = 1e4 + mine.walk_variance * np.minimum.outer(time, time)
    gain = prior[:, scored] @ np.linalg.inv(prior[np.ix_(scored, scored)] + np.diag(mine.noise_variance[scored]))
    mean, covariance = gain @ score[scored], prior - gain @ prior[scored]
    assert np.abs(mine.mean - mean).max() < 0.1
    assert mine.sd == pytest.approx(np.sqrt(np.diag(covariance)), rel=0.25)
    assert mine.draws.std(axis=0) == pytest.approx(mine.sd, rel=0.3)
    assert np.abs(mine.draws.mean(axis=0) - mine.mean).max() < 5 * mine.sd.max() / np.sqrt(N_DRAWS)


def test_the_same_seed_gives_the_same_draws() -> None:
    score = _noisy(100)
    assert np.array_equal(_smoothed(score).draws, _smoothed(score).draws)
    assert not np.array_equal(_smoothed(score).draws, _smoothed(score, seed=2).draws)


def test_the_band_widens_into_a_gap_and_a_long_gap_has_no_level() -> None:
    score = _noisy(200)
    score[50:58] = np.nan
    score[120:160] = np.nan
    result = _smoothed(score)
    width = result.high - result.low
    assert width[54] > 1.2 * width[40]
    assert np.isfinite(result.mean[:120]).all()
    assert np.isnan(result.mean[120:160]).all() and np.isnan(result.draws[:, 120:160]).all()
    assert np.isfinite(result.mean[160:]).all()


def test_hours_between_recordings_carry_no_level() -> None:
    score = np.concatenate([np.full(60, 2.0), np.full(60, 8.0)]) + _noisy(120, 0.3, 0.0) - 5
    start, end, _ = _series(score)
    start, end = (np.where(np.arange(120) < 60, times, times + 7200) for times in (start, end))
    result = smooth(start, end, score, np.full(120, np.nan), 1)
    assert result.stretch.tolist() == [0] * 60 + [1] * 60
    assert result.mean[59] == pytest.approx(2, abs=0.4) and result.mean[60] == pytest.approx(8, abs=0.4)
    # That the second recording is elsewhere says nothing about how fast the level moves.
    assert result.walk_variance < 0.01


def test_a_score_that_is_less_certain_counts_for_less() -> None:
    score = np.full(60, 5.0)
    score[30] = 9.0
    start, end, values = _series(score, stride=3.0)
    sd = np.full(60, 0.5)
    certain = smooth(start, end, values, sd, 1).mean[30]
    sd[30] = 3.0
    assert smooth(start, end, values, sd, 1).mean[30] < certain


@pytest.mark.parametrize(("stride", "times"), [(1.0, 3.0), (3.0, 1.0), (1.5, 2.0)])
def test_what_overlapping_segments_share_is_counted_once(stride: float, times: float) -> None:
    start, end, values = _series(np.ones(30), stride)
    assert overlaps(start, end, np.isfinite(values), np.zeros(30, np.int64))[15] == pytest.approx(times)


def test_a_lone_score_between_gaps_shares_nothing() -> None:
    start, end, values = _series(np.ones(30))
    values[10:20] = np.nan
    values[15] = 1.0
    assert overlaps(start, end, np.isfinite(values), np.zeros(30, np.int64))[15] == pytest.approx(1)


def test_equal_scores_give_their_value() -> None:
    result = _smoothed(np.full(60, 4.2))
    assert result.mean == pytest.approx(np.full(60, 4.2), abs=1e-3)
    assert (result.high - result.low).max() < 0.01
    known = _smoothed(np.full(60, 4.2), sd=0.5)
    assert known.mean == pytest.approx(np.full(60, 4.2), abs=0.01)
    assert (known.high - known.low).min() > 0.2


@pytest.mark.parametrize("n", [12, 20])
def test_few_scores_without_a_spread_are_not_taken_for_exact(n: int) -> None:
    """A default score table of a short recording; `measure_trajectories.py short` has more cases."""
    covered, _, _, exact = short_band(15, n, per_second=0.2, noise=0.5, known=0.0)
    assert exact == 0
    assert covered > 0.88


@pytest.mark.parametrize("score", [[], [5.0], [np.nan] * 40, [5.0] * (FEWEST_SCORES - 1)])
def test_too_few_scores_give_a_reason(score: list[float]) -> None:
    result = _smoothed(np.array(score))
    assert result.reason and np.isnan(result.mean).all() and result.draws.shape == (N_DRAWS, len(score))


def test_stretches_without_a_score_up_to_the_stated_length_have_a_level() -> None:
    score = _noisy(100)
    score[40 : 40 + int(LONGEST_BRIDGED_S) + 2] = np.nan
    assert np.isfinite(_smoothed(score).mean).all()
    score[40 : 40 + int(LONGEST_BRIDGED_S) + 3] = np.nan
    assert np.isnan(_smoothed(score).mean[45])


def test_the_filtered_level_rests_on_the_scores_until_then() -> None:
    """With the variances of the whole series, the filter's last state is the smoother's, and none sees what follows."""
    whole = _smoothed(_noisy(120, walk=0.3), sd=0.4)
    assert whole.filtered_mean[-1] == pytest.approx(whole.mean[-1], abs=1e-9)
    assert whole.filtered_sd[-1] == pytest.approx(whole.sd[-1], abs=1e-9)
    assert (whole.filtered_sd >= whole.sd - 1e-9).all()
    # A step: the smoothed level rises before it, the filtered one only with it.
    step = np.repeat([2.0, 8.0], 60) + _noisy(120, noise=0.2, walk=0.0) - 5
    level = _smoothed(step, sd=0.2)
    before = slice(55, 60)
    assert np.abs(level.filtered_mean[before] - 2.0).max() < 0.5
    assert level.filtered_mean[70] == pytest.approx(8.0, abs=0.5)
    gap = step.copy()
    gap[30:34] = np.nan
    assert np.isnan(_smoothed(gap, sd=0.2).filtered_mean[30:34]).all()


def test_each_recording_has_a_level_of_its_own() -> None:
    """A second recording begins 5 s after the first, which overlaps a third by a second."""
    score = np.repeat([1.0, 7.0, 3.0], 60) + _noisy(180, 0.1, 0.0) - 5
    score[[58, 59, 60]] = np.nan
    recording = np.repeat([0, 1, 2], 60)
    start = np.tile(np.arange(60.0), 3) + np.array([0.0, 67.0, 128.0])[recording]
    result = smooth(start, start + 3, score, np.full(180, 0.5), 1, recording)
    assert result.stretch.tolist() == recording.tolist()
    assert result.filtered_mean[61] == pytest.approx(score[61], abs=0.01)
    assert result.filtered_mean[120] == pytest.approx(score[120], abs=0.01)
    assert result.mean[57] == pytest.approx(1, abs=0.3) and result.mean[61] == pytest.approx(7, abs=0.3)
    assert np.isnan(result.mean[58:61]).all()
    # That the recordings are elsewhere says nothing about how fast the level moves.
    assert result.walk_variance < 0.01


def test_the_filter_starts_anew_after_a_long_gap_and_carries_over_a_short_one() -> None:
    score = np.repeat([1.0, 7.0], 80) + _noisy(160, 0.1, 0.0) - 5
    for missing, settled in ((45, True), (int(LONGEST_BRIDGED_S), False)):
        gone = score.copy()
        gone[80 : 80 + missing] = np.nan
        result = _smoothed(gone, sd=0.8)
        first = 80 + missing
        assert (result.filtered_mean[first] == pytest.approx(gone[first], abs=0.01)) == settled
        assert result.stretch[-1] == 0
