"""Months and dates as people write them, in one form that sorts in order of time."""

from __future__ import annotations

import datetime
import re

ACCEPTED_MONTHS = "write months as 2026-01 (2026/1, 01/2026, Jan 2026 and 2026-01-15 are read too)"

_YEAR_FIRST = re.compile(r"([0-9]{4})\s*[-/. ]\s*([0-9]{1,2})")
_YEAR_FIRST_DIGITS = re.compile(r"([0-9]{4})([0-9]{2})")
_MONTH_FIRST = re.compile(r"([0-9]{1,2})\s*[-/. ]\s*([0-9]{4})")
_NAME_FIRST = re.compile(r"([a-z]+)\.?[\s,/-]*(?:([0-9]{4})|['\N{RIGHT SINGLE QUOTATION MARK}]?([0-9]{2}))")
_NAME_LAST = re.compile(r"([0-9]{4})[\s,/-]*([a-z]+)\.?")
_NAMES = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_LEAST_LETTERS = 3
_CENTURY = 2000


def month_of(text: str) -> str | None:
    """The month of a cell as `2026-01`: of a month, with a number or an English name, or of an ISO 8601 date.

    `Jan-26`, as spreadsheets write January 2026, is read as such.

    Returns:
        None for anything else, such as a month without a year.
    """
    text = " ".join(text.split()).lower()
    for pattern in (_YEAR_FIRST, _YEAR_FIRST_DIGITS):
        if match := pattern.fullmatch(text):
            return _month(int(match[1]), int(match[2]))
    if match := _MONTH_FIRST.fullmatch(text):
        return _month(int(match[2]), int(match[1]))
    if match := _NAME_FIRST.fullmatch(text):
        return _month(int(match[2] or _CENTURY + int(match[3])), _named(match[1]))
    if match := _NAME_LAST.fullmatch(text):
        return _month(int(match[1]), _named(match[2]))
    return month_of_date(text)


def month_of_date(text: str) -> str | None:
    """The month of an ISO 8601 date, with or without a time, as `2026-01`; None for anything else."""
    try:
        return datetime.datetime.fromisoformat(text.strip().upper()).strftime("%Y-%m")
    except ValueError:
        return None


def _named(word: str) -> int:
    if len(word) >= _LEAST_LETTERS:
        for number, name in enumerate(_NAMES, start=1):
            if name.startswith(word) or (word == "sept" and name == "september"):
                return number
    return 0


def _month(year: int, month: int) -> str | None:
    return f"{year:04d}-{month:02d}" if 1 <= month <= 12 else None
