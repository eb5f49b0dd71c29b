"""Numbers of the document as the page and its checklist write them: never `None`, never `nan`, never a bare gap."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

MINUS = "\N{MINUS SIGN}"
NARROW_SPACE = "\N{NARROW NO-BREAK SPACE}"
NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"
NOT_COMPUTABLE = "not computable"
UNKNOWN = "unknown"

# Characters that turn the direction of the text after them would reorder the rest of a table's row.
_TURNING = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C])


def printable(text: str) -> str:
    """Text without control characters, halves of surrogate pairs and marks that turn the direction of reading."""

    def one(character: str) -> str:
        kind = unicodedata.category(character)
        if kind == "Cc":
            return " "
        return "\N{REPLACEMENT CHARACTER}" if kind == "Cs" else character

    return "".join(map(one, text.translate(_TURNING)))


def number(given: float | None, decimals: int = 2, *, signed: bool = False) -> str:
    """`-2.1` as "−2.10", thousands apart; None or NaN as "not computable"."""
    if given is None or not math.isfinite(given):
        return NOT_COMPUTABLE
    # Adding 0.0 turns -0.0 into 0.0.
    rounded = round(given, decimals) + 0.0
    text = f"{rounded:{'+' if signed and rounded else ''},.{decimals}f}"
    return text.replace(",", NARROW_SPACE).replace("-", MINUS)


def percent(share: float | None, decimals: int = 1) -> str:
    """A share, 0 to 1, as "83.2 %"; what would only round to 0 or 100 is said as under or over."""
    if share is None or not math.isfinite(share):
        return NOT_COMPUTABLE
    step = 10.0**-decimals
    if 0 < share < 0.005 * step:
        return f"< {step:.{decimals}f}{NARROW_SPACE}%"
    if 1 - 0.005 * step < share < 1:
        return f"> {100 - step:.{decimals}f}{NARROW_SPACE}%"
    return number(100 * share, decimals) + f"{NARROW_SPACE}%"


def count(given: float | None) -> str:
    """12345 as "12 345"; None as "unknown"."""
    return UNKNOWN if given is None else number(given, 0)


def counted(given: float | None, noun: str, plural: str = "") -> str:
    """ "1 pair", "12 pairs"; `plural` where it is not made with s."""
    return f"{count(given)} {noun if given == 1 else plural or noun + 's'}"


def plural(number: int, noun: str) -> str:
    """ "1 file", "12345 files": for logs and messages, which programs search."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def p_value(p: float | None, *, named: bool = False) -> str:
    """ "0.012", "< 0.001", or that there is none; `named`: "p = 0.012", "p < 0.001"."""
    if p is None or not math.isfinite(p):
        return f"p {NOT_COMPUTABLE}" if named else NOT_COMPUTABLE
    text = "< 0.001" if p < 0.001 else f"{p:.3f}"
    return f"p {text if p < 0.001 else '= ' + text}" if named else text


def duration(seconds: float | None) -> str:
    """15123.4 as "4 h 12 min 3 s", 20.5 as "20.5 s"; None as "unknown"."""
    if seconds is None:
        return UNKNOWN
    hours, minutes, rest, below_zero = _split(round(seconds) if abs(seconds) >= 60 else seconds)
    parts = [f"{hours} h"] * bool(hours) + [f"{minutes} min"] * bool(hours or minutes)
    parts.append(f"{rest:.0f} s" if parts else f"{rest:.1f} s")
    return below_zero + " ".join(part.replace(" ", NO_BREAK_SPACE) for part in parts)


def clock(seconds: float | None) -> str:
    """Time within a recording: 95.5 as "1:35.5", 3725 as "1:02:05.0"; None as "unknown"."""
    if seconds is None:
        return UNKNOWN
    hours, minutes, rest, below_zero = _split(seconds)
    return below_zero + (f"{hours}:{minutes:02d}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}")


def _split(seconds: float) -> tuple[int, int, float, str]:
    """Hours, minutes, seconds to a tenth, and the sign."""
    tenths = round(abs(seconds) * 10)
    return tenths // 36_000, tenths // 600 % 60, tenths % 600 / 10, MINUS if seconds < 0 and tenths else ""


def moment(iso: str | None) -> str:
    """An ISO 8601 date with time as "2026-10-01 08:00 UTC"; anything else as it came."""
    try:
        when = datetime.fromisoformat(iso or "")
    except ValueError:
        return iso or UNKNOWN
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC") if when.tzinfo else when.strftime("%Y-%m-%d %H:%M")


_FORMS: dict[str, Callable[[float], str]] = {
    "points": number,
    "signed": lambda given: number(given, signed=True),
    "coefficient": lambda given: number(given, 3),
    "slope": lambda given: number(given, 3, signed=True),
    "share": percent,
}


@dataclass(frozen=True)
class Worded:
    """A statistic in words.

    Attributes:
        value: the number, or "not computable: why".
        interval: "[−0.05, 0.29]", "[no interval: why]", or empty where the document has none for it.
        computable: is `value` a number?
        bounded: is `interval` two numbers?
    """

    value: str
    interval: str = ""
    computable: bool = True
    bounded: bool = False

    def __str__(self) -> str:
        return f"{self.value} {self.interval}".rstrip()


def worded(block: Mapping[str, Any], name: str, form: str = "points") -> Worded:
    """One statistic of the document with its interval, or why there is none.

    Args:
        block: holds `name`, where there is an interval `name_ci`, and the reason for a None under `reasons`.
        name: of the statistic.
        form: points (2 decimals), signed (the same with +), coefficient (3 decimals), slope (with +), share (percent).

    Raises:
        KeyError: the block has no such statistic.
    """
    given = block[name]
    reason = printable(str((block.get("reasons") or {}).get(name) or block.get("reason") or ""))
    because = f": {reason}" if reason else ""
    if given is None:
        return Worded(NOT_COMPUTABLE + because, computable=False)
    text = _FORMS[form](given)
    if f"{name}_ci" not in block:
        return Worded(text)
    low, high = block[f"{name}_ci"] or (None, None)
    if low is None or high is None:
        return Worded(text, f"[no interval{because}]")
    return Worded(text, f"[{_FORMS[form](low)}, {_FORMS[form](high)}]", bounded=True)
