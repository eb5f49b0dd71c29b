"""A statistic with its interval, and the reason where there is none; how results become JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

NAN = float("nan")
NO_INTERVAL = (NAN, NAN)
Interval = tuple[float, float]


@dataclass(frozen=True)
class Estimate:
    """One statistic.

    Attributes:
        value: NaN where it cannot be computed.
        ci: its 95 % confidence interval; NaN, NaN where it cannot be computed.
        n: sample size, in the unit of the function that made it (pairs unless stated otherwise).
        reason: why value or interval is NaN; empty otherwise.
    """

    value: float
    ci: Interval = NO_INTERVAL
    n: int = 0
    reason: str = ""

    @property
    def computable(self) -> bool:
        """Whether the value is a number."""
        return math.isfinite(self.value)

    @property
    def has_interval(self) -> bool:
        """Whether both ends of the interval are numbers."""
        return math.isfinite(self.ci[0]) and math.isfinite(self.ci[1])


def absent(reason: str, n: int = 0) -> Estimate:
    """A statistic that cannot be computed."""
    return Estimate(NAN, NO_INTERVAL, n, reason)


def to_json(value: Any) -> Any:
    """A result as JSON types: NaN and infinity become null, NumPy values numbers or lists, dataclasses objects.

    Args:
        value: a dataclass, mapping, iterable, NumPy array or scalar, or anything that JSON has.

    Returns:
        dict, list, str, int, float, bool or None, all the way down.
    """
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        return to_json(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Iterable):
        return [to_json(item) for item in value]
    return value


def flat(**estimates: Estimate) -> dict[str, Any]:
    """Estimates as columns of a table, JSON types: `name`, `name_ci`, and all their reasons under `reasons`."""
    columns: dict[str, Any] = {}
    reasons = {}
    for name, estimate in estimates.items():
        columns[name] = to_json(estimate.value)
        columns[f"{name}_ci"] = to_json(estimate.ci)
        if estimate.reason:
            reasons[name] = estimate.reason
    columns["reasons"] = reasons
    return columns
