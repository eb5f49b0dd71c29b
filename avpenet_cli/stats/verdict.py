"""Do the limits of agreement keep within an acceptance limit that was set beforehand?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from avpenet_cli.stats.agreement import Limits, PercentileLimits
from avpenet_cli.stats.estimate import NAN, Interval

Result = Literal["PASS", "FAIL", "INCONCLUSIVE", "NOT ASKED"]

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
class Verdict:
    """The limits of agreement against the acceptance limit.

    Attributes:
        result: NOT ASKED without an acceptance limit.
        limit_points: acceptance limit, points; NaN without one.
        limit_source: where it comes from.
        explanation: what the result rests on.
        other_methods: the result by the subject bootstrap and by percentiles, where these have intervals.
    """

    result: Result
    limit_points: float
    limit_source: str
    explanation: str
    other_methods: tuple[MethodResult, ...] = ()


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
        return Verdict("INCONCLUSIVE", limit_points, limit_source, explanation, others)
    method = "exact intervals" if limits.method == "independent pairs" else "intervals by MOVER"
    result = compare_with_limit(limits.lower.ci, limits.upper.ci, limit_points)
    return Verdict(result, limit_points, limit_source, f"{_EXPLANATIONS[result]} ({method})", others)


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
