"""Estimates in words for the page and the checklist: with the reason wherever a number is missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from avpenet_cli.phrasing import NARROW_SPACE, NOT_COMPUTABLE, number, percent, printable
from avpenet_cli.stats.estimate import Estimate

Style = Literal["points", "signed", "coefficient", "slope", "share", "per cent"]

_FORMATS: dict[Style, Callable[[float], str]] = {
    "points": number,
    "signed": lambda value: number(value, signed=True),
    "coefficient": lambda value: number(value, 3),
    "slope": lambda value: number(value, 3, signed=True),
    "share": percent,
    "per cent": lambda value: f"{number(value, 1, signed=True)}{NARROW_SPACE}%",
}


@dataclass(frozen=True)
class EstimateText:
    """An estimate in words.

    Attributes:
        value: the number, or "not computable: reason".
        interval: "[−0.05, 0.29]" or "[no interval: reason]"; empty without a value, and for a statistic that has no
            interval by definition.
        computable: whether `value` is a number.
        bounded: whether `interval` is two numbers.
    """

    value: str
    interval: str = ""
    computable: bool = True
    bounded: bool = False

    def __str__(self) -> str:
        return f"{self.value} {self.interval}".rstrip()


def format_estimate(estimate: Estimate, style: Style = "points") -> EstimateText:
    """An estimate with its interval, or the reason where there is none.

    Args:
        estimate: of the document.
        style: points (2 decimals), signed (the same with +), coefficient (3 decimals), slope (with +), share (of 0
            to 1, written as percent), per cent (a change, with +).
    """
    because = f": {printable(estimate.reason)}" if estimate.reason else ""
    if not estimate.computable:
        return EstimateText(NOT_COMPUTABLE + because, computable=False)
    write = _FORMATS[style]
    if not estimate.has_interval:
        return EstimateText(write(estimate.value), f"[no interval{because}]" if because else "")
    low, high = estimate.ci
    return EstimateText(write(estimate.value), f"[{write(low)}, {write(high)}]", bounded=True)
