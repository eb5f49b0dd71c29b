"""Times as rating programs and people write them, in seconds after a recording's start."""

from __future__ import annotations

import math
import re
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from avpenet_cli.ratings.importing.rating_map import TimeUnit
from avpenet_cli.study.recording_times import parse_date_time
from avpenet_cli.study.sheets import quoted

_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_HOURS = re.compile(r"([0-9]{1,3}):([0-5]?[0-9]):([0-5]?[0-9](?:[.,][0-9]+)?)")
_MINUTES = re.compile(r"([0-9]{1,4}):([0-5]?[0-9](?:[.,][0-9]+)?)")


class TimeError(ValueError):
    """A time that cannot be used: what is wrong, and what to do."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.problem, self.remedy = problem, remedy


def parse_number(text: str, *, decimal_comma: bool) -> float | None:
    """A finite number as text; None for anything else.

    Args:
        decimal_comma: whether a comma may be the decimal mark.
    """
    plain = text.replace(",", ".") if decimal_comma else text
    number = float(plain) if _NUMBER.fullmatch(plain) else math.nan
    return number if math.isfinite(number) else None


def parse_offset(text: str, unit: TimeUnit, *, decimal_comma: bool) -> float:
    """Seconds after the recording's start.

    Args:
        text: not empty.
        unit: any but `clock`.

    Raises:
        TimeError: text that is no time in this unit.
    """
    number = parse_number(text, decimal_comma=decimal_comma)
    if unit == "ms":
        if number is None:
            raise TimeError(f"time {quoted(text)} is no number of milliseconds", "change `unit` in the map")
        return number / 1000.0
    if unit == "mm:ss" and (match := _MINUTES.fullmatch(text)):
        return 60.0 * int(match[1]) + _seconds(match[2])
    if match := _HOURS.fullmatch(text):
        return 3600.0 * int(match[1]) + 60.0 * int(match[2]) + _seconds(match[3])
    if unit == "mm:ss":
        raise TimeError(f"time {quoted(text)} is not minutes and seconds as mm:ss", "change `unit` in the map")
    if number is None:
        remedy = 'set `unit` in the map to "ms", "mm:ss" or "clock" if that is what it is'
        raise TimeError(f"time {quoted(text)} is neither seconds nor h:mm:ss", remedy)
    return number


def _seconds(text: str) -> float:
    return float(text.replace(",", "."))


def parse_clock(text: str, day: str, began: datetime, zone: str | None) -> float:
    """Seconds after the recording's start of a clock time.

    A time of day without a date is that within 12 h of the recording's start.

    Args:
        text: date and time in ISO 8601, or a time of day such as 10:15 or 10:15:30.5; not empty.
        day: date of a time of day, ISO 8601; empty where there is none.
        began: start of the recording.
        zone: of a clock time without an offset from UTC; by default that of `began`.

    Raises:
        TimeError: text that is neither; a time zone that has to be known and is not; a time that was there twice, or
            never, when clocks were changed.
    """
    moment = parse_date_time(text)
    of_day = None if moment is not None else _time_of_day(text)
    if moment is None and of_day is None:
        remedy = "write it like 2026-03-04T10:15:00 or 10:15:00"
        raise TimeError(f"clock time {quoted(text)} is neither a date with time nor a time of day", remedy)
    if moment is None:
        assert of_day is not None
        moment = datetime.combine(_date(day), of_day) if day else _nearest(of_day, began, zone)
    return (_placed(moment, text, began, zone) - began).total_seconds()


def _nearest(of_day: time, began: datetime, zone: str | None) -> datetime:
    """The time of day that is nearest to a recording's start: past midnight it is the next day's."""
    # The start as the clock on the wall showed it, where the time of day is that clock's, too.
    local = began.astimezone(ZoneInfo(zone)) if zone and began.tzinfo else began
    start = began if of_day.tzinfo and began.tzinfo else local.replace(tzinfo=None)
    moments = [datetime.combine(local.date() + timedelta(days=shift), of_day) for shift in (1, 0, -1)]
    if start.tzinfo is None:
        return min(moments, key=lambda moment: abs(moment.replace(tzinfo=None) - start))
    return min(moments, key=lambda moment: abs(moment - start))


def _placed(moment: datetime, text: str, began: datetime, zone: str | None) -> datetime:
    """A clock time with the offset from UTC that the recording's start needs; raises as `parse_clock`."""
    if moment.tzinfo is not None and began.tzinfo is None:
        raise TimeError(
            f"clock time {quoted(text)} has an offset from UTC, and the recording's start has none",
            "state the start with its offset (--recorded-at)",
        )
    if moment.tzinfo is not None or began.tzinfo is None:
        return moment
    if zone is None:
        if not began.utcoffset():
            raise TimeError(
                f"clock time {quoted(text)} has no time zone, and the recording's start is in UTC",
                'add the zone of the clock times to the map, such as zone = "Europe/Berlin"',
            )
        return moment.replace(tzinfo=began.tzinfo)
    placed = moment.replace(tzinfo=ZoneInfo(zone))
    if placed.utcoffset() != placed.replace(fold=1).utcoffset():
        raise TimeError(
            f"clock time {quoted(text)} is not one moment in {zone}: clocks were changed on {moment.date()}",
            "write it with its offset from UTC, like 2026-10-25T02:30:00+02:00",
        )
    return placed


def _time_of_day(text: str) -> time | None:
    try:
        return time.fromisoformat(text if text[1:2] != ":" else f"0{text}")
    except ValueError:
        return None


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise TimeError(f"date {quoted(text)} is not in ISO 8601", "write it like 2026-03-04") from None
