"""How often intervals of trajectories cover the truth, and how often a constant level has changes, in simulated series.

    python -m tests.stats.measure_trajectories [REPEATS]

The simulated level is a random walk, constant, or what follows a painful procedure. Every quarter of a second has its
level and independent noise; a score is the mean of both over its window, so that scores that overlap share noise.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from avpenet_cli.stats.after_event import after_event
from avpenet_cli.stats.change_points import change_points
from avpenet_cli.stats.estimate import Estimate
from avpenet_cli.stats.rating_lag import rating_lag
from avpenet_cli.stats.smoothing import Smoothed, smooth
from avpenet_cli.stats.states import states
from avpenet_cli.stats.trajectory_measures import Course, area, highest, mean, seconds_above

Floats = npt.NDArray[np.float64]
STEP_S = 0.25
WINDOW_S = 3.0
EVENT_S = 60.0


@dataclass(frozen=True, eq=False)
class Simulated:
    """Times, scores and their known SD; the true level at the segments' middles, and its mean over them; (m,) each."""

    start_s: Floats
    end_s: Floats
    score: Floats
    sd: Floats
    truth: Floats
    window_truth: Floats
    stride_s: float

    @property
    def middle_s(self) -> Floats:
        result: Floats = (self.start_s + self.end_s) / 2
        return result

    @property
    def overlap(self) -> float:
        return WINDOW_S / self.stride_s

    def smooth(self) -> Smoothed:
        return smooth(self.start_s, self.end_s, self.score, self.sd, 1)

    def course(self) -> Course:
        return Course.of(self.start_s, self.end_s, self.score, self.smooth())


def simulated(
    rng: np.random.Generator, level: Floats, noise: float, stride_s: float = 1.0, known: float = 0.0
) -> Simulated:
    """Scores of a level that is given for every quarter of a second.

    Args:
        noise: SD of a score about the mean level of its window that the table does not know, points.
        known: the same for what it knows (score_sd), points; 0 for a table that does not have it.
    """
    width, stride = int(WINDOW_S / STEP_S), int(stride_s / STEP_S)
    total = np.hypot(noise, known) * np.sqrt(width)
    first = np.arange(0, len(level) - width + 1, stride)
    sums = np.concatenate([[0.0], np.cumsum(level + rng.normal(0, total, len(level)))])
    levels = np.concatenate([[0.0], np.cumsum(level)])
    score, window = ((total[first + width] - total[first]) / width for total in (sums, levels))
    middle = first + width // 2
    sd = np.full(len(first), known if known else np.nan)
    truth = (level[middle - 1] + level[middle]) / 2
    start = first.astype(np.float64) * STEP_S
    return Simulated(start, start + WINDOW_S, score, sd, truth, window, stride_s)


def walk(rng: np.random.Generator, seconds: float, per_second: float) -> Floats:
    """A random walk that begins at 5 points; `per_second` is the variance of its change in a second, points^2."""
    return 5 + np.cumsum(rng.normal(0, np.sqrt(per_second * STEP_S), int(seconds / STEP_S)))


def steps(seconds: float, levels: tuple[float, ...]) -> Floats:
    """Equally long stretches of constant levels."""
    return np.repeat(levels, int(seconds / STEP_S / len(levels)))


def procedure(seconds: float, half_time_s: float = 30.0, height: float = 5.0) -> Floats:
    """2 points, from EVENT_S on a rise within 5 s and an exponential decline."""
    after = np.arange(int(seconds / STEP_S)) * STEP_S - EVENT_S
    decline = height * 0.5 ** (np.maximum(after - 5, 0) / half_time_s)
    return 2 + np.where(after < 0, 0, np.where(after < 5, height * after / 5, decline))


def covers(estimate: Estimate, truth: float) -> bool:
    return estimate.ci[0] - 1e-9 <= truth <= estimate.ci[1] + 1e-9


def band(repeats: int, seconds: float, stride_s: float, known: float, per_second: float) -> tuple[float, float, float]:
    """Share of the segments whose 95 % band covers the level at their middle, and over their window; width, points."""
    rng = np.random.default_rng(1)
    shares = []
    for _ in range(repeats):
        data = simulated(rng, walk(rng, seconds, per_second), 0.5, stride_s, known)
        level = data.smooth()
        inside = [(level.low <= truth) & (truth <= level.high) for truth in (data.truth, data.window_truth)]
        shares.append((inside[0].mean(), inside[1].mean(), (level.high - level.low).mean()))
    at_middle, over_window, width = np.mean(shares, axis=0)
    return float(at_middle), float(over_window), float(width)


def short_band(repeats: int, n: int, per_second: float, noise: float, known: float) -> tuple[float, float, float, int]:
    """Few scores whose noise is independent, stride 3 s, as in a default score table of a short recording.

    Args:
        n: scores.
        per_second: variance of the level's change in a second, points^2.
        noise: variance of a score about the level, points^2.
        known: SD that the table states for it, points; 0 for a table that does not have it.

    Returns:
        Share of the segments whose 95 % band covers the level; that share in the worst tenth of the series; width,
        points; series whose noise was taken for none.
    """
    rng = np.random.default_rng(11)
    start: Floats = np.arange(n, dtype=np.float64) * WINDOW_S
    shares, widths, exact = [], [], 0
    for _ in range(repeats):
        truth = 5 + np.cumsum(rng.normal(0, np.sqrt(per_second * WINDOW_S), n))
        score = truth + rng.normal(0, np.sqrt(noise), n)
        level = smooth(start, start + WINDOW_S, score, np.full(n, known if known else np.nan), 1)
        shares.append(((level.low <= truth) & (truth <= level.high)).mean())
        widths.append((level.high - level.low).mean())
        exact += not known and level.added_variance < 1e-3
    return float(np.mean(shares)), float(np.quantile(shares, 0.1)), float(np.mean(widths)), exact


def false_changes(repeats: int, seconds: float, stride_s: float, noise: float, known: float) -> float:
    """Share of the series with a constant level that have a change point."""
    rng = np.random.default_rng(2)
    count = 0
    for _ in range(repeats):
        data = simulated(rng, steps(seconds, (5.0,)), noise, stride_s, known)
        count += bool(_changes(data))
    return count / repeats


def _changes(data: Simulated) -> list[tuple[float, float, float]]:
    level = data.smooth()
    found = change_points(data.middle_s, data.score, level.information, level.stretch, data.overlap)
    return [(change.time_s, change.low_s, change.high_s) for change in found]


def true_changes(repeats: int, step: float, stride_s: float, noise: float) -> tuple[float, float, float, float]:
    """Of changes after 60 and 120 of 180 s: share found within 10 s, of these share covered and width of the interval,
    s; series with more than two changes."""
    rng = np.random.default_rng(3)
    found, covered, widths, extra = 0, 0, [], 0
    for _ in range(repeats):
        changes = _changes(simulated(rng, steps(180, (3.0, 3.0 + step, 3.0)), noise, stride_s))
        extra += len(changes) > 2
        for truth in (60.0, 120.0):
            near = [change for change in changes if abs(change[0] - truth) <= 10]
            found += bool(near)
            for _, low, high in near[:1]:
                covered += low <= truth <= high
                widths.append(high - low)
    return found / repeats / 2, covered / max(found, 1), float(np.mean(widths or [np.nan])), extra / repeats


def measures(repeats: int, stride_s: float, level: Callable[[np.random.Generator], Floats]) -> dict[str, float]:
    """Share of the intervals that cover the truth."""
    rng = np.random.default_rng(4)
    covered: dict[str, list[bool]] = {}
    for _ in range(repeats):
        data = simulated(rng, np.clip(level(rng), 0, 10), 0.5, stride_s, 0.3)
        course = data.course()
        truths = {
            "mean": (mean(course), float(data.truth @ course.seconds / course.seconds.sum())),
            "area": (area(course), float(data.truth @ course.seconds)),
            "above 3": (seconds_above(course, 3.0), float(course.seconds[data.truth > 3].sum())),
            "above 6": (seconds_above(course, 6.0), float(course.seconds[data.truth > 6].sum())),
            "highest": (highest(course), float(data.truth.max())),
        }
        for name, (estimate, truth) in truths.items():
            covered.setdefault(name, []).append(covers(estimate, truth))
    return {name: float(np.mean(values)) for name, values in covered.items()}


def half_times(repeats: int, half_time_s: float, noise: float) -> tuple[float, float, float, float]:
    """Of procedures: share with a half-time; of these share covered, median estimate and the truth, s."""
    rng = np.random.default_rng(5)
    level = procedure(300, half_time_s)
    lowest = level[-1]
    after = level[int((EVENT_S + 5) / STEP_S) :]
    truth = float(np.argmax(after <= (after[0] + lowest) / 2)) * STEP_S
    found = []
    for _ in range(repeats):
        estimate = after_event(simulated(rng, level, noise).course(), EVENT_S, WINDOW_S).half_time_s
        if estimate.computable:
            found.append((covers(estimate, truth), estimate.value))
    share, median = (float(np.mean([row[0] for row in found])), float(np.median([row[1] for row in found])))
    return len(found) / repeats, share, median, truth


def lags(repeats: int, lag_s: float, every_s: float, seconds: float) -> tuple[float, float, float, float]:
    """Of ratings of a wandering level that scores follow after `lag_s`: share with an interval of the lag; of these the
    share covered, the median lag and the mean width of the interval, s."""
    rng = np.random.default_rng(6)
    found = []
    for _ in range(repeats):
        level = walk(rng, seconds + 60, 0.05)
        late = simulated(rng, level[int((30 - lag_s) / STEP_S) : int((30 - lag_s + seconds) / STEP_S)], 0.5)
        start = np.arange(0, seconds - every_s + 1e-9, every_s)
        places = ((start + 30) / STEP_S).astype(np.int64)
        rating = np.array([level[place : place + int(every_s / STEP_S)].mean() for place in places])
        rating = np.clip(np.round(rating + rng.normal(0, 0.5, len(start))), 0, 10)
        result = rating_lag(late.middle_s, late.score, start, start + every_s, rating, 1.0, 1)
        if result.lag_s.has_interval:
            low, high = result.lag_s.ci
            found.append((low <= lag_s <= high, result.lag_s.value, high - low))
    columns = np.array(found, np.float64).reshape(-1, 3)
    return len(found) / repeats, columns[:, 0].mean(), float(np.median(columns[:, 1])), columns[:, 2].mean()


def unrelated(rng: np.random.Generator, seconds: int, scale_s: float) -> tuple[Floats, Floats]:
    """Two independent levels each second, whose correlation with themselves falls by e in `scale_s`."""
    from scipy.signal import lfilter

    kept = np.exp(-1 / scale_s)
    changes = rng.normal(0, np.sqrt(1 - kept**2), (2, seconds))
    changes[:, 0] = rng.normal(0, 1, 2)
    levels = 5 + lfilter([1], [1, -kept], changes)
    return levels[0], levels[1]


def false_agreement(repeats: int, seconds: int, scale_s: float) -> tuple[float, float, float]:
    """Of unrelated scores and ratings (every 3 s): share with an interval of the rank correlation; of these, share
    whose interval excludes 0; share of all that have a lag."""
    rng = np.random.default_rng(8)
    start: Floats = np.arange(0, seconds, 3.0, dtype=np.float64)
    intervals, excluded, with_lag = 0, 0, 0
    for _ in range(repeats):
        score, rating = unrelated(rng, seconds, scale_s)
        result = rating_lag(np.arange(seconds, dtype=np.float64) + 1.5, score, start, start + 3, rating[::3], 1.0, 1)
        intervals += result.spearman.has_interval
        excluded += result.spearman.has_interval and not result.spearman.ci[0] <= 0 <= result.spearman.ci[1]
        with_lag += result.lag_s.computable
    return intervals / repeats, excluded / max(intervals, 1), with_lag / repeats


def called(
    repeats: int, level: Callable[[np.random.Generator], Floats], noise: float, known: float
) -> dict[str, float]:
    """Share of the segments in each state."""
    rng = np.random.default_rng(7)
    names: list[str] = []
    for _ in range(repeats):
        data = simulated(rng, level(rng), noise, 1.0, known)
        names += states(data.course(), data.score, data.sd, data.overlap)
    return {name: names.count(name) / len(names) for name in sorted(set(names))}


def _row(*values: object) -> None:
    print(*(f"{value:.3f}" if isinstance(value, float) else str(value) for value in values), sep="  ", flush=True)


def _all(repeats: int, chosen: Iterable[str]) -> None:
    if "band" in chosen:
        _row("band: seconds, stride, known SD, walk per s: covers the level, its window's mean; width; CPU s a series")
        for seconds, stride, known, per_second in product(
            (180.0, 600.0), (1.0, 3.0), (0.0, 0.5), (0.0, 1e-3, 0.01, 0.1)
        ):
            before = time.process_time()
            result = band(repeats, seconds, stride, known, per_second)
            _row(seconds, stride, known, per_second, *result, (time.process_time() - before) / repeats)
    if "short" in chosen:
        _row("few scores, stride 3 s: n, walk per s, noise variance, known SD: band covers, worst tenth, width, exact")
        for n, per_second, noise, known in (
            *((n, per_second, 0.5, 0.0) for n in (12, 20, 40) for per_second in (0.0, 0.01, 0.1, 0.2)),
            (40, 0.1, 0.25, 0.0),
            *((20, 0.1, 0.25, 0.5), (20, 0.2, 0.04, 0.2), (12, 0.2, 0.5, 0.3), (20, 0.1, 0.5, 0.2)),
        ):
            _row(n, per_second, noise, known, *short_band(repeats, n, per_second, noise, known))
    if "false" in chosen:
        _row("changes of a constant level: seconds, stride, noise, known SD: share of series")
        for seconds, stride in product((60.0, 180.0, 600.0), (1.0, 3.0)):
            for noise, known in ((0.5, 0.0), (2.0, 0.0), (0.5, 1.0)):
                _row(seconds, stride, noise, known, false_changes(repeats, seconds, stride, noise, known))
    if "changes" in chosen:
        _row("true changes: size, stride, noise: found, covered, width s, more than there are")
        for size, stride, noise in product((2.0, 4.0), (1.0, 3.0), (0.5, 1.0)):
            _row(size, stride, noise, *true_changes(repeats, size, stride, noise))
    if "measures" in chosen:
        _row("measures: covered")
        for stride in (1.0, 3.0):
            _row(stride, "walk", measures(repeats, stride, lambda rng: walk(rng, 300, 0.02)))
            _row(stride, "procedure", measures(repeats, stride, lambda rng: procedure(300)))
    if "half" in chosen:
        _row("half-time: of the decline, noise: computable, covered, median, truth")
        for half_time, noise in product((15.0, 30.0, 60.0), (0.3, 0.7)):
            _row(half_time, noise, *half_times(repeats, half_time, noise))
    if "lag" in chosen:
        _row("lag: lag, ratings every, seconds: with interval, covered, median, width")
        for lag, (every, seconds) in product((0.0, 8.0), ((1.0, 300.0), (10.0, 300.0), (10.0, 900.0))):
            _row(lag, every, seconds, *lags(repeats, lag, every, seconds))
        _row("unrelated: seconds, time scale s: with interval of the correlation, of these without 0; with a lag")
        for total, scale in ((600, 1.0), (600, 20.0), (600, 60.0), (600, 200.0), (1800, 60.0)):
            _row(total, scale, *false_agreement(5 * repeats, total, scale))
    if "states" in chosen:
        _row("states: share of the segments")
        for noise, known in ((0.5, 0.0), (0.8, 0.0), (0.0, 0.8), (0.5, 0.5)):
            _row("constant", noise, known, called(repeats, lambda rng: steps(300, (5.0,)), noise, known))
        _row("rises by 5 in 300 s", called(repeats, lambda rng: np.linspace(3, 8, 1200), 0.4, 0.3))
        _row("rises by 2 in 30 s", called(repeats, lambda rng: np.linspace(2, 8, 360), 0.4, 0.3))
        _row("wave of 20 s", called(repeats, lambda rng: 5 + 2 * np.sin(np.arange(1200) / 80 * 2 * np.pi), 0.4, 0.3))
        _row("scores that jump", called(repeats, lambda rng: steps(300, (5.0,)), 2.0, 0.4))


if __name__ == "__main__":
    _all(int(sys.argv[1]), sys.argv[2:] or ("band", "short", "false", "changes", "measures", "half", "lag", "states"))
