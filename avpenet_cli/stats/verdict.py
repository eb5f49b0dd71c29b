"""Do the limits of agreement keep within an acceptance limit that was set beforehand?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from avpenet_cli.stats.agreement import Limits, PercentileLimits
from avpenet_cli.stats.estimate import NAN, Interval
from avpenet_cli.stats.sample_size import MOST_SUBJECTS, Spread, subjects_to_fail, subjects_to_pass

Result = Literal["PASS", "FAIL", "INCONCLUSIVE", "NOT ASKED"]

POWER = 0.8
"""Chance of a verdict that a planned study should have."""

_EXPLANATIONS: dict[Result, str] = {
    "PASS": "both limits lie within it, with confidence",
    "FAIL": "a limit lies outside it, with confidence",
    "INCONCLUSIVE": "the limits' confidence intervals include it",
}


@dataclass(frozen=True)
class MethodResult:
    """What the verdict would be with limits of agreement by another method."""

    method: str
    result: Result


@dataclass(frozen=True)
class MoreSubjects:
    """How many subjects would probably decide an inconclusive verdict, if bias and spread stay as in these data.

    Attributes:
        expected: verdict to which the estimates point.
        power: chance of that verdict with `needed` subjects, 0 to 1.
        present: subjects with pairs now.
        needed: subjects in all; null where more than 10,000 would be needed, or where there is no spread to plan from.
        segments_per_subject: rated segments of each, as now (harmonic mean).
        explanation: the same in words.
    """

    expected: Literal["PASS", "FAIL"]
    power: float
    present: int
    needed: int | None
    segments_per_subject: float
    explanation: str


@dataclass(frozen=True)
class Verdict:
    """The limits of agreement against the acceptance limit.

    Attributes:
        result: NOT ASKED without an acceptance limit.
        limit_points: acceptance limit, points; NaN without one.
        limit_source: where it comes from.
        explanation: what the result rests on.
        other_methods: the result by the subject bootstrap and by percentiles, where these have intervals.
        more_subjects: how many subjects would probably decide it; null unless the result is INCONCLUSIVE.
    """

    result: Result
    limit_points: float
    limit_source: str
    explanation: str
    other_methods: tuple[MethodResult, ...] = ()
    more_subjects: MoreSubjects | None = None


def verdict(
    limits: Limits | None, percentiles: PercentileLimits | None, limit_points: float | None, limit_source: str
) -> Verdict:
    """Compare both limits' confidence intervals with +-`limit_points`.

    PASS when the outer ends of both intervals lie within, FAIL when an inner end lies outside, otherwise
    INCONCLUSIVE; also INCONCLUSIVE where the intervals cannot be computed.

    Args:
        limits: None without pairs.
        percentiles: the limits by percentiles, for `other_methods`.
        limit_points: over 0, points; None: no verdict is asked for.
        limit_source: for the page.
    """
    if limit_points is None:
        return Verdict("NOT ASKED", NAN, "", "no acceptance limit was given (--limit, --limit-source)")
    if limits is None:
        return Verdict(
            "INCONCLUSIVE", limit_points, limit_source, "the limits' intervals are not known: there are no pairs"
        )
    others = _other_methods(limits, percentiles, limit_points)
    if not (limits.lower.has_interval and limits.upper.has_interval):
        explanation = f"the limits' intervals are not known: {limits.lower.reason}"
        undecided = Verdict("INCONCLUSIVE", limit_points, limit_source, explanation, others)
        return replace(undecided, more_subjects=more_subjects(limits, limit_points))
    method = "exact intervals" if limits.method == "independent pairs" else "intervals by MOVER"
    result = compare_with_limit(limits.lower.ci, limits.upper.ci, limit_points)
    more = more_subjects(limits, limit_points) if result == "INCONCLUSIVE" else None
    return Verdict(result, limit_points, limit_source, f"{_EXPLANATIONS[result]} ({method})", others, more)


def more_subjects(limits: Limits, limit_points: float) -> MoreSubjects:
    """How many subjects a study like this one would need for an 80 % chance of a verdict.

    Bias and both components of the spread are taken as estimated; see `sample_size.verdict_chances`.
    """
    present, segments = limits.n_subjects, limits.pairs_per_subject
    within_sd = 0.0 if np.isnan(limits.within_sd) else limits.within_sd
    spread = Spread(limits.bias.value, limits.sd if np.isnan(limits.between_sd) else limits.between_sd, within_sd)
    if not spread.sd > 0:
        text = "It cannot be estimated: these data have no spread to plan from."
        if present < 2:
            text = "It cannot be estimated from one subject: rate recordings of others, at least ten in all."
        return MoreSubjects("PASS", POWER, present, None, segments, text)
    expected: Literal["PASS", "FAIL"] = "PASS" if spread.outermost < limit_points else "FAIL"
    search = subjects_to_pass if expected == "PASS" else subjects_to_fail
    needed = search(spread, limit_points, segments, POWER)
    if needed is None:
        text = (
            f"The outer limit of agreement, {spread.outermost:.2f} points from 0, lies so close to the accepted "
            f"difference that even {MOST_SUBJECTS} subjects would probably not decide it."
        )
        return MoreSubjects(expected, POWER, present, None, segments, text)
    needed = max(needed, present + 1)
    each = "1 rated segment" if round(segments) == 1 else f"about {segments:.0f} rated segments"
    text = (
        f"If bias and spread stay as in these data, about {needed} subjects in all ({needed - present} more) with "
        f"{each} each have an {100 * POWER:.0f} % chance of {expected}."
    )
    if expected == "FAIL":
        text += (
            " A limit of agreement lies outside the accepted difference, so more subjects are likelier to confirm it."
        )
    text += f" This is an estimate from {present} subjects; plan a larger study than it says."
    return MoreSubjects(expected, POWER, present, needed, segments, text)


def compare_with_limit(lower_ci: Interval, upper_ci: Interval, limit_points: float) -> Result:
    """PASS, FAIL or INCONCLUSIVE from the confidence intervals of both limits of agreement, points, without NaN."""
    if max(-lower_ci[0], upper_ci[1]) <= limit_points:
        return "PASS"
    return "FAIL" if max(-lower_ci[1], upper_ci[0]) > limit_points else "INCONCLUSIVE"


def _other_methods(
    limits: Limits, percentiles: PercentileLimits | None, limit_points: float
) -> tuple[MethodResult, ...]:
    intervals = []
    if limits.bootstrap is not None:
        intervals.append(("subject bootstrap", limits.bootstrap.lower, limits.bootstrap.upper))
    if percentiles is not None and percentiles.lower.has_interval and percentiles.upper.has_interval:
        intervals.append(("percentiles", percentiles.lower.ci, percentiles.upper.ci))
    return tuple(
        MethodResult(method, compare_with_limit(lower, upper, limit_points)) for method, lower, upper in intervals
    )
