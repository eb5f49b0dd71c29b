"""What was found in a series; every number has an interval or says why it has none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avpenet_cli.stats import states
from avpenet_cli.stats.estimate import Estimate
from avpenet_cli.trajectory.series import Series

Floats = npt.NDArray[np.float64]
State = states.State


@dataclass(frozen=True, eq=False)
class Level:
    """The smoothed level at the middle of each segment of a series, points; NaN in gaps and where there are too few.

    Attributes:
        mean, low, high: (n,) level and its 95 % interval, from all scores of the recording.
        reason: why there is none.
        filtered: the same from the scores up to the end of each segment alone (the Kalman filter's state), as it could
            be known then: what alerts are evaluated on.
    """

    mean: Floats
    low: Floats
    high: Floats
    reason: str = ""
    filtered: Level | None = None


@dataclass(frozen=True)
class ChangePoint:
    """A change of the level: time and its 95 % interval, s on the series' axis; levels before and after, points."""

    time_s: float
    low_s: float
    high_s: float
    before: float
    after: float


@dataclass(frozen=True)
class Peak:
    """A peak of the smoothed level: time, s; level and its 95 % interval, points; prominence, points."""

    time_s: float
    level: float
    low: float
    high: float
    prominence: float


@dataclass(frozen=True)
class Span:
    """A stretch of the time axis from `start_s` to `end_s`, s, and what it is: a state, or the reason of a gap."""

    start_s: float
    end_s: float
    kind: str


@dataclass(frozen=True)
class AfterEvent:
    """What followed an event: the level then, the highest of the next minute, and the half-time of the decline."""

    time_s: float
    label: str
    level: Estimate
    highest: Estimate
    half_time_s: Estimate


@dataclass(frozen=True)
class AgainstRatings:
    """Scores against one rater's ratings: n pairs, lag of the scores behind the ratings, rank agreement."""

    rater: str
    n: int
    lag_s: Estimate
    spearman: Estimate
    spearman_at_lag: Estimate


@dataclass(frozen=True)
class Alert:
    """A rule that was met from `start_s` to `end_s`, s on the series' axis; from `raised_s` on it could be known.

    `part` is the index of the recording in which it was met; None for a rule that looks across recordings.
    """

    rule: str
    start_s: float
    end_s: float
    raised_s: float
    text: str
    part: int | None = None


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A series and everything found in it.

    Attributes:
        states, gaps: in time order; gaps are named by their reason.
        above: seconds above each cut point, of `scored_s`.
        area: of the level over the time with scores, points x s.
        highest: of the level, points.
        alerts: in time order.
        notices: plain text.
    """

    series: Series
    level: Level
    changes: tuple[ChangePoint, ...]
    peaks: tuple[Peak, ...]
    states: tuple[Span, ...]
    gaps: tuple[Span, ...]
    scored_s: float
    above: tuple[tuple[float, Estimate], ...]
    area: Estimate
    mean: Estimate
    highest: Estimate
    after_events: tuple[AfterEvent, ...]
    against_ratings: tuple[AgainstRatings, ...]
    alerts: tuple[Alert, ...] = ()
    notices: tuple[str, ...] = ()
