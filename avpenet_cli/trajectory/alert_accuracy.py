"""How well alerts agree with the alerts that the same rules raise on the ratings.

An episode is an alert of a rule on the ratings of the same segments, taken as exact and of full quality. It is found if
an alert of the rule, raised on the scores, is raised from `tolerance_s` before its beginning until `tolerance_s` after
its end, and has not ended before it begins. An alert that was raised earlier and never ends finds nothing. After an
event (`no_decline`) an episode is found by an alert after the same event only.

An alert that finds no episode is false. Time counts as observed where a segment has both a score and a rating; alerts
that were raised in other time are left out, and so are those after events that the ratings cannot judge. Episodes are
not: a gap in the scores can miss one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import stats

from avpenet_cli.stats.bootstrap import FEWEST_SUBJECTS, Resampling, Scale, percentile_interval
from avpenet_cli.stats.estimate import NO_INTERVAL, Estimate, Interval, absent
from avpenet_cli.stats.pairs import Array
from avpenet_cli.trajectory.alert_rules import LowConfidenceRule, NoDeclineRule, Rule
from avpenet_cli.trajectory.alerts import exact_level, raise_alerts, undecided_events
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
            where that was before.
        alerts: number of alerts in observed time.
        false_alerts: of those, how many have no episode.
        outside_s: observed time between the raising and the end of an alert and in no episode, s.
        observed_s: length of the observed time, s.
    """

    found: tuple[bool, ...]
    delays_s: tuple[float, ...]
    alerts: int
    false_alerts: int
    outside_s: float
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
        false_per_hour: false alerts per observed hour; n counts false alerts.
        delay_s: median from an episode's beginning until its alert, s, negative for early ones; n counts found
            episodes.
        delay_range_s: shortest and longest; NaN without.
        early: number of the found episodes whose alert was raised before they began.
        outside_min_per_hour: minutes of alerts outside episodes in an observed hour; n counts patients.
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
    early: int
    outside_min_per_hour: Estimate


class AccuracyCounts:
    """Counts of each rule, added up by patient: intervals are between patients, not between their recordings."""

    def __init__(self, rules: Sequence[Rule], tolerance_s: float = TOLERANCE_S) -> None:
        self._rules, self._tolerance_s = rules, tolerance_s
        self._counts: list[dict[str, SeriesCounts]] = [{} for _ in rules]

    def add(self, subject: str, series: Series, level: Level) -> None:
        """Compare the alerts of a series with those on its ratings; without ratings it is passed over."""
        if not series.ratings:
            return
        reference = reference_series(series)
        for rule, of_subject in zip(self._rules, self._counts, strict=True):
            if not isinstance(rule, LowConfidenceRule):
                counts = count_alerts(series, level, reference, rule, self._tolerance_s)
                of_subject[subject] = counts if subject not in of_subject else _sum(of_subject[subject], counts)

    def accuracy(self) -> tuple[AlertAccuracy, ...]:
        """Of each rule, in what was added so far."""
        return tuple(
            summarise(rule, list(counts.values())) for rule, counts in zip(self._rules, self._counts, strict=True)
        )


def _sum(first: SeriesCounts, second: SeriesCounts) -> SeriesCounts:
    return SeriesCounts(
        found=first.found + second.found,
        delays_s=first.delays_s + second.delays_s,
        alerts=first.alerts + second.alerts,
        false_alerts=first.false_alerts + second.false_alerts,
        outside_s=first.outside_s + second.outside_s,
        observed_s=first.observed_s + second.observed_s,
    )


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
    exact = exact_level(reference)
    episodes = raise_alerts(reference, exact, [rule])
    observed = np.isfinite(series.score) & np.isfinite(reference.score)
    known = [alert for alert in alerts if _is_observed(alert, series, observed)]
    if isinstance(rule, NoDeclineRule):
        undecided = undecided_events(reference, exact, rule)
        known = [alert for alert in known if alert.start_s not in undecided]

    def matches(alert: Alert, episode: Alert) -> bool:
        if isinstance(rule, NoDeclineRule):
            return alert.start_s == episode.start_s
        in_time = episode.start_s - tolerance_s <= alert.raised_s + _EPSILON
        in_time = in_time and alert.raised_s <= episode.end_s + tolerance_s + _EPSILON
        return in_time and alert.end_s >= episode.start_s - _EPSILON

    first = [next((alert for alert in alerts if matches(alert, episode)), None) for episode in episodes]
    middle_s = series.middle_s
    alerted = _during(middle_s, [(alert.raised_s, alert.end_s) for alert in alerts])
    outside = alerted & ~_during(middle_s, [(episode.start_s, episode.end_s) for episode in episodes])
    return SeriesCounts(
        found=tuple(alert is not None for alert in first),
        delays_s=tuple(
            alert.raised_s - episode.start_s
            for alert, episode in zip(first, episodes, strict=True)
            if alert is not None
        ),
        alerts=len(known),
        false_alerts=sum(not any(matches(alert, episode) for episode in episodes) for alert in known),
        outside_s=float(np.count_nonzero(outside & observed)) * series.stride_s,
        observed_s=float(np.count_nonzero(observed)) * series.stride_s,
    )


def _during(time_s: Array, spans: Iterable[tuple[float, float]]) -> npt.NDArray[np.bool_]:
    """(n,) whether each time is in one of the spans."""
    inside = np.zeros(time_s.size, dtype=np.bool_)
    for start_s, end_s in spans:
        inside |= (time_s >= start_s - _EPSILON) & (time_s <= end_s + _EPSILON)
    return inside


def _is_observed(alert: Alert, series: Series, observed: npt.NDArray[np.bool_]) -> bool:
    """Whether the last segment that ended by the time when an alert was raised has a score and a rating."""
    place = int(np.searchsorted(series.end_s, alert.raised_s + _EPSILON, side="right")) - 1
    return place >= 0 and bool(observed[place])


def summarise(rule: Rule, counts: Sequence[SeriesCounts]) -> AlertAccuracy:
    """Add up one rule's counts, of one patient each."""
    found, episodes, false_alerts, outside_s, observed_s = (
        np.array(values, dtype=np.float64)
        for values in (
            [sum(own.found) for own in counts],
            [len(own.found) for own in counts],
            [own.false_alerts for own in counts],
            [own.outside_s for own in counts],
            [own.observed_s for own in counts],
        )
    )
    delays = [np.array(own.delays_s, dtype=np.float64) for own in counts]
    ordered = np.sort(np.concatenate([np.zeros(0), *delays]))
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
        false_alerts=int(false_alerts.sum()),
        observed_h=float(observed_s.sum()) / 3600,
        sensitivity=absent(reason) if reason else _sensitivity(found, episodes),
        false_per_hour=absent(reason) if reason else _false_per_hour(false_alerts, observed_s / 3600),
        delay_s=absent(reason) if reason else _median(delays),
        delay_range_s=(float(ordered[0]), float(ordered[-1])) if len(ordered) else NO_INTERVAL,
        early=int(np.count_nonzero(ordered < -_EPSILON)),
        outside_min_per_hour=absent(reason) if reason else _outside(outside_s, observed_s),
    )


def _ratio(numerators: Array, denominators: Array, scale: Scale, n: int) -> Estimate:
    """Ratio of sums over patients, with its bootstrap-t interval between them."""
    having = denominators > 0
    sums = np.stack([numerators[having], denominators[having]], axis=1)
    return Resampling().of(len(sums)).estimate(lambda s: s[..., :1] / s[..., 1:], sums, (scale,), n)[0]


def _scaled(estimate: Estimate, factor: float) -> Estimate:
    low, high = estimate.ci
    return replace(estimate, value=estimate.value * factor, ci=(low * factor, high * factor))


def _sensitivity(found: Array, episodes: Array) -> Estimate:
    """By patient where one has several episodes and there are enough of them, else Wilson's."""
    total = int(episodes.sum())
    if not total:
        return absent("the ratings have no such episode")
    clustered = bool((episodes > 1).any())
    if clustered and np.count_nonzero(episodes) >= FEWEST_SUBJECTS:
        resampled = _ratio(found, episodes, "logit", total)
        if resampled.has_interval:
            return resampled
    interval = stats.binomtest(int(found.sum()), total).proportion_ci(method="wilson")
    reason = "interval as if a patient's episodes were independent" if clustered else ""
    return Estimate(float(found.sum() / total), (float(interval.low), float(interval.high)), total, reason)


def _false_per_hour(false_alerts: Array, hours: Array) -> Estimate:
    """By patient where one has several false alerts and enough of them have any, else Garwood's."""
    total = int(false_alerts.sum())
    exact = rate_per_hour(total, float(hours.sum()))
    if not exact.computable or not (false_alerts > 1).any():
        return exact
    if np.count_nonzero(false_alerts) >= FEWEST_SUBJECTS:
        # Per second, because intervals on a logarithmic scale end at 10.
        resampled = _scaled(_ratio(false_alerts, hours * 3600, "log", total), 3600)
        if resampled.has_interval:
            return resampled
    return replace(exact, reason="interval as if a patient's false alerts were independent")


def _outside(outside_s: Array, observed_s: Array) -> Estimate:
    """Minutes per hour, by patient."""
    if not observed_s.sum() > 0:
        return absent("no time has both scores and ratings")
    return _scaled(_ratio(outside_s, observed_s, "logit", int(np.count_nonzero(observed_s))), 60)


def rate_per_hour(events: int, hours: float) -> Estimate:
    """A rate with its exact interval (Garwood 1936, Biometrika 28:437), from quantiles of chi-square."""
    if hours <= 0:
        return absent("no time has both scores and ratings")
    low = stats.chi2.ppf(0.025, 2 * events) / 2 if events else 0.0
    high = stats.chi2.ppf(0.975, 2 * events + 2) / 2
    return Estimate(events / hours, (float(low / hours), float(high / hours)), events)


def _median(delays: Sequence[Array]) -> Estimate:
    """Median with its interval between two order statistics (Conover 1999, section 3.2), which needs six.

    Where a patient has several found episodes, patients are resampled if there are enough of them.
    """
    having = [own for own in delays if own.size]
    ordered = np.sort(np.concatenate([np.zeros(0), *having]))
    n = len(ordered)
    if not n:
        return absent("no episode was found")
    clustered = n > len(having)
    if clustered and len(having) >= FEWEST_SUBJECTS:
        return Estimate(float(np.median(ordered)), _resampled_median(having), n)
    # The largest rank whose interval, from it to its mirror image, has at least 95 %.
    rank = int(stats.binom.ppf(0.025, n, 0.5))
    if rank < 1:
        return Estimate(float(np.median(ordered)), NO_INTERVAL, n, "fewer than 6 episodes found")
    reason = "interval as if a patient's episodes were independent" if clustered else ""
    return Estimate(float(np.median(ordered)), (float(ordered[rank - 1]), float(ordered[n - rank])), n, reason)


def _resampled_median(delays: Sequence[Array]) -> Interval:
    """Percentile interval of the median of all patients' delays over resamples of patients."""
    values = np.concatenate(delays)
    owner = np.repeat(np.arange(len(delays)), [own.size for own in delays])
    order = np.argsort(values, kind="stable")
    values, owner = values[order], owner[order]
    medians = []
    for drawn in Resampling().of(len(delays)).weights_for_ranks():
        below = np.cumsum(drawn[:, owner], axis=1)
        half = below[:, -1:] / 2
        lower, upper = (below >= half).argmax(axis=1), (below > half).argmax(axis=1)
        medians.append((values[lower] + values[upper]) / 2)
    return percentile_interval(np.concatenate(medians), len(delays))
