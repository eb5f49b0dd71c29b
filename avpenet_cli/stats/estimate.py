"""A number, its interval, and the reason where there is none."""

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
        n: what it rests on, in the unit of its function (pairs unless said otherwise).
        reason: why value or interval is NaN; empty otherwise.
    """

    value: float
    ci: Interval = NO_INTERVAL
    n: int = 0
    reason: str = ""


def absent(reason: str, n: int = 0) -> Estimate:
    """A statistic that cannot be computed."""
    return Estimate(NAN, NO_INTERVAL, n, reason)


def plain(value: Any) -> Any:
    """JSON-ready: NaN becomes null, numpy scalars become numbers, dataclasses become objects."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Iterable):
        return [plain(one) for one in value]
    return value


def flat(**estimates: Estimate) -> dict[str, Any]:
    """Estimates side by side: `name`, `name_ci`, and their reasons under `reasons`."""
    out: dict[str, Any] = {}
    reasons = {}
    for name, one in estimates.items():
        out[name] = plain(one.value)
        out[f"{name}_ci"] = plain(one.ci)
        if one.reason:
            reasons[name] = one.reason
    out["reasons"] = reasons
    return out
