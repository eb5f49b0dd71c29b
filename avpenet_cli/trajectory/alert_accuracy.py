"""How well alerts agree with the alerts that the same rules raise on the ratings.

An episode is an alert of a rule on the ratings of the same segments, taken as exact and of full quality. It is found if
an alert of the rule, raised on the scores, is raised no later than `tolerance_s` after the episode's end and has not
ended before it begins. An alert during which there is no such episode is false. Time counts as observed where a segment
has both a score and a rating; alerts that were raised in other time are left out, episodes are not: a gap in the scores
can miss one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import stats

from avpenet_cli.stats.bootstrap import FEWEST_SUBJECTS, Resampling
from avpenet_cli.stats.estimate import NO_INTERVAL, Estimate, Interval, absent
from avpenet_cli.stats.pairs import Array
from avpenet_cli.trajectory.alert_rules import LowConfidenceRule, Rule
from avpenet_cli.trajectory.alerts import exact_level, raise_alerts
from avpenet_cli.trajectory.analysed import Alert, Level
from avpenet_cli.trajectory.series import Series
from avpenet_cli.trajectory.table import ratings_of

TOLERANCE_S = 10.0
"""An episode's alert may be raised this long after its end, s."""
_EPSILON = 1e-6


@dataclass(frozen=True)
class SeriesCounts:
    """One rule on one series.

    Attributes:
        found: for each episode, whether it was.
        delays_s: of the found episodes, from their beginning until the first of their alerts was raised, s; negative
            where that had been raised before.
        alerts: number of alerts in observed time.
        false_alerts: of those, how many have no episode.
        observed_s: length of the observed time, s.
    """

    found: tuple[bool, ...]
    delays_s: tuple[float, ...]
    alerts: int
    false_alerts: int
    observed_s: float


@dataclass(frozen=True)
class AlertAccuracy:
    """One rule on all series that have ratings.

    Attributes:
        rule: its name.
        episodes, found: numbers of them.
        alerts, false_alerts: numbers of them, in observed time.
        observed_h: time with scores and ratings, h.
        sensitivity: share of the episodes that were found; n counts episodes.
        false_per_hour: false alerts per observed hour, with Garwood's exact Poisson interval; n counts false alerts.
        delay_s: median from an episode's beginning until its alert, s, with its distribution-free interval; n counts
            found episodes.
        delay_range_s: shortest and longest; NaN without.
    """

    rule: str
    episodes: int
    found: int
    alerts: int
    false_alerts: int
    observed_h: float
    sensitivity: Estimate
    false_per_hour: Estimate
    delay_s: Estimate
    delay_range_s: Interval


def alert_accuracy(
    rated: Iterable[tuple[Series, Level]], rules: Sequence[Rule], tolerance_s: float = TOLERANCE_S
) -> tuple[AlertAccuracy, ...]:
    """The accuracy of each rule over all series; those without ratings are passed over.

    Args:
        rated: series with their ratings, and their levels. Read one by one; only counts are kept.
        tolerance_s: see the module.
    """
    counts: list[list[SeriesCounts]] = [[] for _ in rules]
    for series, level in rated:
        if not series.ratings:
            continue
        reference = reference_series(series)
        for own, rule in zip(counts, rules, strict=True):
            if not isinstance(rule, LowConfidenceRule):
                own.append(count_alerts(series, level, reference, rule, tolerance_s))
    return tuple(summarise(rule, own) for rule, own in zip(rules, counts, strict=True))


def reference_series(series: Series) -> Series:
    """The series with ratings in place of scores, as `table.ratings_of` gives them, and full quality."""
    ratings = ratings_of(series)
    rated = np.isfinite(ratings)
    return replace(
        series,
        score=ratings,
        sd=np.where(rated, 0.0, np.nan),
        low=ratings,
        high=ratings,
        reason=tuple("" if has else "no_rating" for has in rated.tolist()),
        quality=np.where(rated, 1.0, 0.0),
    )


def count_alerts(series: Series, level: Level, reference: Series, rule: Rule, tolerance_s: float) -> SeriesCounts:
    """Compare one rule's alerts on a series with its alerts on the reference, from `reference_series`."""
    alerts = raise_alerts(series, level, [rule])
    episodes = raise_alerts(reference, exact_level(reference), [rule])
    observed = np.isfinite(series.score) & np.isfinite(reference.score)
    first = [_first_alert(episode, alerts, tolerance_s) for episode in episodes]
    known = [alert for alert in alerts if _is_observed(alert, series, observed)]
    return SeriesCounts(
        found=tuple(alert is not None for alert in first),
        delays_s=tuple(
            alert.raised_s - episode.start_s
            for alert, episode in zip(first, episodes, strict=True)
            if alert is not None
        ),
        alerts=len(known),
        false_alerts=sum(not any(_matches(alert, episode, tolerance_s) for episode in episodes) for alert in known),
        observed_s=float(np.count_nonzero(observed)) * series.stride_s,
    )


def _matches(alert: Alert, episode: Alert, tolerance_s: float) -> bool:
    in_time = alert.raised_s <= episode.end_s + tolerance_s + _EPSILON
    return in_time and alert.end_s >= episode.start_s - _EPSILON


def _first_alert(episode: Alert, alerts: Sequence[Alert], tolerance_s: float) -> Alert | None:
    return next((alert for alert in alerts if _matches(alert, episode, tolerance_s)), None)


def _is_observed(alert: Alert, series: Series, observed: npt.NDArray[np.bool_]) -> bool:
    """Whether the last segment that ended by the time when an alert was raised has a score and a rating."""
    place = int(np.searchsorted(series.end_s, alert.raised_s + _EPSILON, side="right")) - 1
    return place >= 0 and bool(observed[place])


def summarise(rule: Rule, counts: Sequence[SeriesCounts]) -> AlertAccuracy:
    """Add up one rule's series, each of which is a patient, or a recording of its own."""
    episodes = np.array([len(own.found) for own in counts], dtype=np.float64)
    found = np.array([sum(own.found) for own in counts], dtype=np.float64)
    false_alerts = sum(own.false_alerts for own in counts)
    observed_h = sum(own.observed_s for own in counts) / 3600
    delays = np.sort([delay for own in counts for delay in own.delays_s])
    reason = ""
    if isinstance(rule, LowConfidenceRule):
        reason = "ratings have no confidence to compare with"
    elif not counts:
        reason = "no series has ratings"
    return AlertAccuracy(
        rule=rule.name,
        episodes=int(episodes.sum()),
        found=int(found.sum()),
        alerts=sum(own.alerts for own in counts),
        false_alerts=false_alerts,
        observed_h=observed_h,
        sensitivity=absent(reason) if reason else _sensitivity(found, episodes),
        false_per_hour=absent(reason) if reason else rate_per_hour(false_alerts, observed_h),
        delay_s=absent(reason) if reason else _median(delays),
        delay_range_s=(float(delays[0]), float(delays[-1])) if len(delays) else NO_INTERVAL,
    )


def _sensitivity(found: Array, episodes: Array) -> Estimate:
    """By patient where one has several episodes and there are enough of them, else Wilson's."""
    total = int(episodes.sum())
    if not total:
        return absent("the ratings have no such episode")
    having = episodes > 0
    clustered = bool((episodes > 1).any())
    if clustered and np.count_nonzero(having) >= FEWEST_SUBJECTS:
        sums = np.stack([found[having], episodes[having]], axis=1)
        resampled = Resampling().of(len(sums)).estimate(lambda s: s[..., :1] / s[..., 1:], sums, ("logit",), total)[0]
        if resampled.has_interval:
            return resampled
    interval = stats.binomtest(int(found.sum()), total).proportion_ci(method="wilson")
    reason = "interval as if a patient's episodes were independent" if clustered else ""
    return Estimate(float(found.sum() / total), (float(interval.low), float(interval.high)), total, reason)


def rate_per_hour(events: int, hours: float) -> Estimate:
    """A rate with its exact interval (Garwood 1936, Biometrika 28:437), from quantiles of chi-square."""
    if hours <= 0:
        return absent("no time has both scores and ratings")
    low = stats.chi2.ppf(0.025, 2 * events) / 2 if events else 0.0
    high = stats.chi2.ppf(0.975, 2 * events + 2) / 2
    return Estimate(events / hours, (float(low / hours), float(high / hours)), events)


def _median(ordered: Array) -> Estimate:
    """Median with its interval between two order statistics (Conover 1999, section 3.2), which needs six."""
    n = len(ordered)
    if not n:
        return absent("no episode was found")
    # The largest rank whose interval, from it to its mirror image, has at least 95 %.
    rank = int(stats.binom.ppf(0.025, n, 0.5))
    if rank < 1:
        return Estimate(float(np.median(ordered)), NO_INTERVAL, n, "fewer than 6 episodes found")
    return Estimate(float(np.median(ordered)), (float(ordered[rank - 1]), float(ordered[n - rank])), n)
