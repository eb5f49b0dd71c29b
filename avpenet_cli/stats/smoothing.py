"""The level behind a series of scores: a random walk that is seen with noise, smoothed by a state space model.

Local level model: score_i = level(t_i) + noise_i, and the level is a random walk. Harvey, Forecasting, Structural Time
Series Models and the Kalman Filter (1989), chapter 2; Durbin and Koopman, Time Series Analysis by State Space Methods
(2nd ed. 2012), chapter 2. Filter, likelihood and smoother are statsmodels'.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from statsmodels.tsa.statespace.kalman_smoother import KalmanSmoother

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

FEWEST_SCORES = 10
FEWEST_WINDOWS = 5.0
"""Segments with a score, and how many segments that share nothing they are worth, that a level needs at least."""
LONGEST_BRIDGED_S = 10.0
"""Longest stretch without a score inside which a level is reported, s."""
LONGEST_CARRIED_S = 60.0
"""After a longer stretch without a score, and in each recording, the level starts anew: what was before says nothing
about it, s."""
N_DRAWS = 200

# A level that starts anew may be anywhere: SD 100 points.
_DIFFUSE = 1e4
# Scores are written with three decimals; so much noise, points^2, is always there.
_LEAST_NOISE = 1e-6
_MOST_NOISE = 25.0
# Random walk, points^2 per s: 0.006 points in an hour, and 5 points in a second.
_LEAST_WALK = 1e-8
_MOST_WALK = 25.0
_GRID = 9
# Places at which the variances are tried, in half-widths at which the density has fallen by exp(-0.5).
_NODES = np.array([0.8, 1.6, 2.6])
_LEAST_WEIGHT = 0.004
_FARTHEST = 4.0
Z = 1.959963984540054


@dataclass(frozen=True, eq=False)
class Smoothed:
    """The smoothed level at the middle of each segment. All arrays are (n,) unless stated otherwise.

    Attributes:
        mean, sd: of the level given all scores, points, not confined to 0 to 10; NaN where there is no level.
        filtered_mean, filtered_sd: of the level given the scores up to each segment alone, as the Kalman filter has it;
            NaN without a score. It starts anew after every gap of over LONGEST_BRIDGED_S as well: a level that is still
            on its way from the one before the gap would pass for a rise or a decline. The noise (the two variances, the
            overlap, what stands for an SD that is not known) comes from all scores.
        draws: (N_DRAWS, n) levels drawn from their joint distribution given all scores; NaN where there is no level.
        noise_variance: of each score about the level, points^2; NaN without a score.
        information: 1 / (noise variance x how often the segment's input is counted), points^-2; 0 without a score.
        stretch: int64, number of the stretch that a segment belongs to; the level starts anew with each.
        walk_variance: of the level's change in a second, points^2.
        added_variance: the part of the noise that was estimated, points^2.
        reason: why there is no level; empty otherwise.
    """

    mean: Floats
    sd: Floats
    filtered_mean: Floats
    filtered_sd: Floats
    draws: Floats
    noise_variance: Floats
    information: Floats
    stretch: Integers
    walk_variance: float
    added_variance: float
    reason: str = ""

    @property
    def low(self) -> Floats:
        """Lower end of the pointwise 95 % band, points."""
        return self.mean - Z * self.sd

    @property
    def high(self) -> Floats:
        """Upper end of the pointwise 95 % band, points."""
        return self.mean + Z * self.sd


def smooth(
    start_s: Floats, end_s: Floats, score: Floats, sd: Floats, seed: int, recording: Integers | None = None
) -> Smoothed:
    """Smooth a series of scores.

    The noise of a score has two parts: the variance of its Monte Carlo samples, where known, and a part that is the
    same in all segments. That and the variance of the random walk are estimated from segments that do not overlap:
    every third one of a series with a stride of 1 s and a window of 3 s, in all three ways to choose them, the log
    likelihoods averaged. Level, band and draws average over what the scores allow.
    Neighbours that share input share noise as well, and a likelihood that took it for independent would take it for
    movements of the level. The smoother uses all segments, with each noise variance multiplied by the segment's total
    overlap with others and itself, in windows (3 for the series above), so that what they share is counted once.

    Args:
        start_s, end_s: (n,) of the segments, s, in time order; any spacing.
        score: (n,) points; NaN where unscorable.
        sd: (n,) known standard deviation of each score, points; NaN where not known.
        seed: of the draws.
        recording: (n,) number of each segment's recording; None for one recording.
    """
    recording = np.zeros(len(score), np.int64) if recording is None else recording
    scored = np.isfinite(score)
    overlap = overlaps(start_s, end_s, scored, recording)
    worth = float((1 / overlap[scored]).sum())
    if scored.sum() < FEWEST_SCORES or worth < FEWEST_WINDOWS:
        return _no_level(len(score), _too_short(int(scored.sum()), worth))
    known = _known_variance(sd, scored)
    middle = (start_s + end_s) / 2
    stretch = stretches(start_s, end_s, scored, recording)
    unbroken = stretches(start_s, end_s, scored, recording, LONGEST_BRIDGED_S)
    likelihood = _Likelihood.of(start_s, end_s, score, known, stretch, worth / scored.sum())
    parameters = _parameters(likelihood)
    rng = np.random.default_rng(seed)
    smoothed, filtered, draws = [], [], []
    for (walk, added), n_draws in zip(parameters.values, parameters.shares(N_DRAWS), strict=True):
        step = _steps(middle, stretch, walk)
        variance = np.where(scored, (known + added) * overlap, 1.0)
        result = _model(score, variance, step).smooth()
        smoothed.append((result.smoothed_state[0].copy(), result.smoothed_state_cov[0, 0].copy()))
        if unbroken[-1] != stretch[-1]:
            result = _model(score, variance, _steps(middle, unbroken, walk)).filter()
        filtered.append((result.filtered_state[0].copy(), result.filtered_state_cov[0, 0].copy()))
        draws.append(smoothed[-1][0] + _deviations(np.where(scored, 1 / variance, 0.0), step, n_draws, rng))
    hidden = ~near_scores(start_s, end_s, scored, stretch)
    levels = np.concatenate(draws)
    levels[:, hidden] = np.nan
    walk, added = parameters.mode
    noise = np.where(scored, known + added, np.nan)
    information = np.where(scored, 1 / (noise * overlap), 0.0)
    mean, level_sd = (np.where(hidden, np.nan, values) for values in _mixture(smoothed, parameters.weights))
    known_mean, known_sd = (np.where(scored, values, np.nan) for values in _mixture(filtered, parameters.weights))
    return Smoothed(mean, level_sd, known_mean, known_sd, levels, noise, information, stretch, walk, added)


def _mixture(components: list[tuple[Floats, Floats]], weights: Floats) -> tuple[Floats, Floats]:
    """(n,) mean and standard deviation of a mixture of distributions, each given by (n,) means and variances."""
    means, variances = (np.array(values) for values in zip(*components, strict=True))
    mean = weights @ means
    return mean, np.sqrt(weights @ (variances + (means - mean) ** 2))


def overlaps(start_s: Floats, end_s: Floats, scored: Mask, recording: Integers) -> Floats:
    """(n,) how much each segment shares with its recording's segments that have a score, itself included, in segments.

    It is 1 for segments that do not overlap, and window / stride inside a series of overlapping ones.
    """
    total = np.ones(len(start_s))
    length = end_s - start_s
    for lag in range(1, len(start_s)):
        shared = np.minimum(end_s[:-lag], end_s[lag:]) - np.maximum(start_s[:-lag], start_s[lag:])
        if not (shared > 1e-9).any():
            break
        shared = np.where(
            scored[:-lag] & scored[lag:] & (recording[:-lag] == recording[lag:]), np.maximum(shared, 0), 0
        )
        total[:-lag] += shared / length[:-lag]
        total[lag:] += shared / length[lag:]
    return total


def stretches(
    start_s: Floats, end_s: Floats, scored: Mask, recording: Integers, longest_s: float = LONGEST_CARRIED_S
) -> Integers:
    """(n,) number of the stretch of each segment; a new one begins with each recording, and over `longest_s` after the
    last score."""
    begins = np.zeros(len(start_s), np.bool_)
    begins[1:] = np.diff(recording) != 0
    places = np.flatnonzero(scored)
    for before, after in pairwise(places):
        if start_s[after] - end_s[before] > longest_s:
            begins[after] = True
    return np.cumsum(begins)


def near_scores(start_s: Floats, end_s: Floats, scored: Mask, stretch: Integers) -> Mask:
    """(n,) whether a level is reported: where there is a score, and in gaps of up to LONGEST_BRIDGED_S in a stretch."""
    reported = scored.copy()
    places = np.flatnonzero(scored)
    for before, after in pairwise(places):
        if stretch[before] == stretch[after] and start_s[after] - end_s[before] <= LONGEST_BRIDGED_S:
            reported[before:after] = True
    return reported


def _no_level(n: int, reason: str) -> Smoothed:
    nothing = np.full(n, np.nan)
    draws = np.full((N_DRAWS, n), np.nan)
    none, stretch = np.zeros(n), np.zeros(n, np.int64)
    nan = float("nan")
    return Smoothed(nothing, nothing, nothing, nothing, draws, nothing, none, stretch, nan, nan, reason)


def _too_short(n_scored: int, worth: float) -> str:
    if not n_scored:
        return "no segment has a score"
    return (
        f"too few scores for a level: {n_scored}, worth {worth:.1f} that do not overlap; at least {FEWEST_SCORES}, "
        f"worth {FEWEST_WINDOWS:.0f}"
    )


def _known_variance(sd: Floats, scored: Mask) -> Floats:
    """(n,) variance of each score as far as known, points^2; where some are not known, the median of the others."""
    known = np.isfinite(sd) & scored
    if not known.any():
        return np.zeros(len(sd))
    return np.where(known, sd, np.median(sd[known])) ** 2


def _steps(middle: Floats, stretch: Integers, walk: float) -> Floats:
    """(n,) variance of the level's change from the segment before; the level starts anew in each stretch."""
    step = np.full(len(middle), _DIFFUSE)
    same = np.diff(stretch) == 0
    step[1:][same] = walk * np.maximum(np.diff(middle)[same], 1e-3)
    return step


def _model(score: Floats, variance: Floats, step: Floats) -> KalmanSmoother:
    """statsmodels' local level model; `step` (n,) is the variance of the change before each segment."""
    from statsmodels.tsa.statespace.kalman_smoother import KalmanSmoother

    model = KalmanSmoother(k_endog=1, k_states=1)
    model.bind(np.ascontiguousarray(score[:, None]))
    model["design"] = model["transition"] = model["selection"] = np.ones((1, 1))
    model["obs_cov"] = variance[None, None]
    # In statsmodels the change at place i leads from i to i + 1.
    model["state_cov"] = np.append(step[1:], 0.0)[None, None]
    model.initialize_known(np.zeros(1), np.array([[step[0]]]))
    return model


@dataclass(frozen=True, eq=False)
class _Likelihood:
    """Log likelihood of the two variances, from series of scores that share no input, counted once.

    Attributes:
        model: local level model of these series, one after another.
        fixed: (m,) known part of the noise variance, points^2.
        unit: (m,) variance of the change before each score for a walk of 1 points^2 per s.
        share: how much of the scores' number they are worth; the log likelihood is multiplied by it.
        scale: median of the known part, points^2; 0 where none is known.
    """

    model: KalmanSmoother
    fixed: Floats
    unit: Floats
    share: float
    scale: float

    @classmethod
    def of(
        cls, start_s: Floats, end_s: Floats, score: Floats, known: Floats, stretch: Integers, share: float
    ) -> _Likelihood:
        order, number = _without_overlap(start_s, end_s, np.isfinite(score), stretch)
        unit = _steps(((start_s + end_s) / 2)[order], number, 1.0)
        fixed = known[order]
        return cls(_model(score[order], fixed, unit), fixed, unit, share, float(np.median(fixed)))

    def log_density(self, logarithms: Floats) -> float:
        """Of the logarithms of walk and added variance: uniform in the walk's SD; that of the added one has a
        half-Cauchy prior with the known SD as its scale, and a uniform one where none is known.

        An SD that were uniform in its logarithm would have most of its mass next to zero: few scores cannot tell noise
        from a level that moves, and would be taken for exact. (Gelman 2006, Bayesian Analysis 1:515.)
        """
        walk, added = np.exp(logarithms)
        tail = float(np.log1p(added / self.scale)) if self.scale else 0.0
        step = np.where(self.unit < _DIFFUSE, self.unit * walk, self.unit)
        self.model["obs_cov"] = (self.fixed + added)[None, None]
        self.model["state_cov"] = np.append(step[1:], 0.0)[None, None]
        return self.share * float(self.model.loglike()) + float(logarithms.sum()) / 2 - tail


@dataclass(frozen=True, eq=False)
class _Parameters:
    """Values of the two variances that the scores allow.

    Attributes:
        mode: most likely walk variance (points^2 per s) and added noise variance (points^2).
        values: (k, 2) of them.
        weights: (k,) their probabilities; sum 1.
    """

    mode: tuple[float, float]
    values: Floats
    weights: Floats

    def shares(self, n: int) -> Integers:
        """(k,) how many of n draws each value gets."""
        bounds = np.round(np.cumsum(self.weights) * n).astype(np.int64)
        return np.diff(bounds, prepend=0)


def _parameters(likelihood: _Likelihood) -> _Parameters:
    """Most likely variances, and a grid of others about them, as far as they matter.

    A band that takes the most likely values for the true ones is too narrow, most of all where the level hardly moves.
    """
    from scipy.optimize import minimize

    lowest, highest = np.log([_LEAST_WALK, _LEAST_NOISE]), np.log([_MOST_WALK, _MOST_NOISE])

    def density(logarithms: Floats) -> float:
        return likelihood.log_density(np.clip(logarithms, lowest, highest))

    def loss(logarithms: Floats) -> float:
        return -density(logarithms)

    grid = [np.linspace(low, high, _GRID) for low, high in zip(lowest, highest, strict=True)]
    corners = np.array([(a, b) for a in grid[0] for b in grid[1]])
    best = corners[int(np.argmax([density(corner) for corner in corners]))]
    result = minimize(loss, best, method="Nelder-Mead", options={"xatol": 0.05, "fatol": 0.01, "maxfev": 100})
    mode = np.clip(result.x, lowest, highest)
    top = density(mode)
    axes = []
    for axis in (0, 1):
        below, above = (_reach(density, mode, axis, sign, top) for sign in (-1.0, 1.0))
        values = mode[axis] + np.concatenate([-below * _NODES, [0.0], above * _NODES])
        axes.append(np.unique(np.clip(values, lowest[axis], highest[axis])))
    places = np.array([(walk, added) for walk in axes[0] for added in axes[1]])
    cells = np.outer(np.gradient(axes[0]), np.gradient(axes[1])).ravel()
    weights = np.exp([density(place) - top for place in places]) * cells
    kept = weights > _LEAST_WEIGHT * weights.sum()
    chosen = weights[kept] / weights[kept].sum()
    return _Parameters((float(np.exp(mode[0])), float(np.exp(mode[1]))), np.exp(places[kept]), chosen)


def _reach(density: Callable[[Floats], float], mode: Floats, axis: int, sign: float, top: float) -> float:
    """How far from the mode along an axis the log density has fallen by 0.5: one standard deviation, if normal."""
    near, far = 0.0, _FARTHEST
    for _ in range(6):
        middle = (near + far) / 2
        place = mode.copy()
        place[axis] += sign * middle
        near, far = (middle, far) if density(place) > top - 0.5 else (near, middle)
    return far


def _without_overlap(start_s: Floats, end_s: Floats, scored: Mask, stretch: Integers) -> tuple[Integers, Integers]:
    """Series of scores that share no input, one after another: places (m,) of all of them, number (m,) of the stretch.

    Each scored segment is in one series. A stretch that begins, or another series, begins a new number.
    """
    series: list[list[int]] = []
    for place in np.flatnonzero(scored):
        for chosen in series:
            if end_s[chosen[-1]] <= start_s[place] + 1e-6:
                chosen.append(int(place))
                break
        else:
            series.append([int(place)])
    order = np.array([place for chosen in series for place in chosen], np.int64)
    which = np.repeat(np.arange(len(series)), [len(chosen) for chosen in series])
    return order, stretch[order] + which * (stretch.max() + 1)


def _deviations(information: Floats, step: Floats, n_draws: int, rng: np.random.Generator) -> Floats:
    """(n_draws, n) draws of the level less its mean, from the Cholesky factor of the precision, which is tridiagonal.

    Chan and Jeliazkov 2009, Int J Mathematical Modelling and Numerical Optimisation 1:101. The simulation smoother of
    Durbin and Koopman gives draws of the same distribution at 50 times the cost.
    """
    from scipy.linalg import cholesky_banded, solve_banded

    coupling = 1 / step
    banded = np.zeros((2, len(step)))
    banded[0] = information + coupling
    banded[0, :-1] += coupling[1:]
    banded[1, :-1] = -coupling[1:]
    factor = cholesky_banded(banded, lower=True)
    upper = np.zeros_like(factor)
    upper[0, 1:], upper[1] = factor[1, :-1], factor[0]
    normal = rng.standard_normal((n_draws, len(step)))
    result: Floats = solve_banded((0, 1), upper, normal.T).T
    return result
