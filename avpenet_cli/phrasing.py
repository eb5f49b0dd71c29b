"""Numbers, counts and times in words: never `None`, `nan` or nothing where a value is missing."""

from __future__ import annotations

import math
import unicodedata
from datetime import UTC, datetime

MINUS = "\N{MINUS SIGN}"
NARROW_SPACE = "\N{NARROW NO-BREAK SPACE}"
NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"
NOT_COMPUTABLE = "not computable"
UNKNOWN = "unknown"
_BRIEF_S = 6.0
"""Shorter is 0.0 or 0.1 minutes."""

# Control characters of the writing direction would reorder the rest of a table's row.
_DIRECTION_MARKS = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C])


def printable(text: str) -> str:
    """Text without control characters, unpaired surrogates and marks of the writing direction."""

    def replaced(character: str) -> str:
        kind = unicodedata.category(character)
        if kind == "Cc":
            return " "
        return "\N{REPLACEMENT CHARACTER}" if kind == "Cs" else character

    return "".join(map(replaced, text.translate(_DIRECTION_MARKS)))


def number(value: float | None, decimals: int = 2, *, signed: bool = False) -> str:
    """`-2.1` as "−2.10", with thousands separated; None or NaN as "not computable"."""
    if value is None or not math.isfinite(value):
        return NOT_COMPUTABLE
    # Adding 0.0 turns -0.0 into 0.0.
    rounded = round(value, decimals) + 0.0
    text = f"{rounded:{'+' if signed and rounded else ''},.{decimals}f}"
    return text.replace(",", NARROW_SPACE).replace("-", MINUS)


def percent(share: float | None, decimals: int = 1) -> str:
    """A share, 0 to 1, as "83.2 %"; "< 0.1 %" and "> 99.9 %" where rounding would give 0 or 100."""
    if share is None or not math.isfinite(share):
        return NOT_COMPUTABLE
    step = 10.0**-decimals
    if 0 < share < 0.005 * step:
        return f"< {step:.{decimals}f}{NARROW_SPACE}%"
    if 1 - 0.005 * step < share < 1:
        return f"> {100 - step:.{decimals}f}{NARROW_SPACE}%"
    return number(100 * share, decimals) + f"{NARROW_SPACE}%"


def count(value: float | None) -> str:
    """12345 as "12 345"; None as "unknown"."""
    return UNKNOWN if value is None else number(value, 0)


def counted(value: float | None, noun: str, plural: str = "") -> str:
    """ "1 pair", "12 pairs"; `plural` where it is not the noun with s."""
    return f"{count(value)} {noun if value == 1 else plural or noun + 's'}"


def plural(number: int, noun: str) -> str:
    """ "1 file", "12345 files": for logs and messages, which programs search."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def p_value(p: float | None, *, named: bool = False) -> str:
    """ "0.012", "< 0.001" or "not computable"; `named`: "p = 0.012", "p < 0.001", "p not computable"."""
    if p is None or not math.isfinite(p):
        return f"p {NOT_COMPUTABLE}" if named else NOT_COMPUTABLE
    text = "< 0.001" if p < 0.001 else f"{p:.3f}"
    return f"p {text if p < 0.001 else '= ' + text}" if named else text


def duration(seconds: float | None) -> str:
    """15123.4 as "4 h 12 min 3 s", 20.5 as "20.5 s"; None as "unknown"."""
    if seconds is None:
        return UNKNOWN
    hours, minutes, rest, sign = _split(round(seconds) if abs(seconds) >= 60 else seconds)
    parts = [f"{hours} h"] * bool(hours) + [f"{minutes} min"] * bool(hours or minutes)
    parts.append(f"{rest:.0f} s" if parts else f"{rest:.1f} s")
    return sign + " ".join(part.replace(" ", NO_BREAK_SPACE) for part in parts)


def taken_time(seconds: float) -> str:
    """What a run took: 5.9 as "5.9 s", longer as "0.1 min", for logs and messages, which programs search."""
    return f"{seconds:.1f} s" if seconds < _BRIEF_S else f"{seconds / 60:.1f} min"


def clock(seconds: float | None) -> str:
    """Time within a recording: 95.5 as "1:35.5", 3725 as "1:02:05.0"; None as "unknown"."""
    if seconds is None:
        return UNKNOWN
    hours, minutes, rest, sign = _split(seconds)
    return sign + (f"{hours}:{minutes:02d}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}")


def _split(seconds: float) -> tuple[int, int, float, str]:
    """Hours, minutes, seconds to a tenth, and the sign."""
    tenths = round(abs(seconds) * 10)
    return tenths // 36_000, tenths // 600 % 60, tenths % 600 / 10, MINUS if seconds < 0 and tenths else ""


def utc_time(iso: str | None) -> str:
    """An ISO 8601 date with time as "2026-10-01 08:00 UTC"; without a time zone as it is; other text unchanged."""
    try:
        when = datetime.fromisoformat(iso or "")
    except ValueError:
        return iso or UNKNOWN
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC") if when.tzinfo else when.strftime("%Y-%m-%d %H:%M")
