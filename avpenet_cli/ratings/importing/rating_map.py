"""Where an imported file has its ratings, and the shape of `map.toml`, which says so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from avpenet_cli.errors import SettingsError, reason
from avpenet_cli.settings import from_dict
from avpenet_cli.textfiles import decode_text, parse_toml

_STRICT = ConfigDict(extra="forbid")


def _checked_pattern(text: str) -> str:
    try:
        groups = re.compile(text).groups
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    if groups != 1:
        raise ValueError("needs one group in parentheses, around the rater's name")
    return text


def _checked_zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("not a time zone such as Europe/Berlin or UTC") from None
    return text


Text = Annotated[str, Field(strict=True, pattern=r"\S")]
"""Text that is not blank: a column's name, a value, a person."""
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Seconds = Annotated[float, Field(strict=True, gt=0.0, le=86_400.0)]
TimeUnit = Literal["s", "ms", "mm:ss", "clock"]


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class RatingColumns:
    """One kind of rating in the file: which rows have it, and in which columns."""

    value: Text
    """Column of the value."""
    where: dict[Text, Text | tuple[Text, ...]] = Field(default_factory=dict)
    """Only rows that have this text, or one of these, in these columns."""
    values: dict[Text, Number] = Field(default_factory=dict)
    """Number for each text that stands for a value, such as `moderate = 5`."""
    scale: Text | None = None
    """Of all these ratings: a name that the report knows, or `name:min:max`. Without it and `scale_column`: NRS."""
    scale_column: Text | None = None
    """Column that names the scale."""
    lowest: Text | None = None
    """Column, or label of a line above the header, that states the scale's lowest value; it must agree with `scale`."""
    highest: Text | None = None
    """The same for the highest."""
    rater: Text | None = None
    """Who rated."""
    rater_column: Text | None = None
    """Column that names the rater."""


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class RatingMap:
    """Where a file has its ratings. BORIS and ELAN files state times and media themselves."""

    recording: Text | None = None
    """Column, or label of a line above the header, with the recording's name."""
    recording_name: Text | None = None
    """The recording, where the whole file is of one."""
    start: Text | None = None
    """Column of the time at which a rating begins to hold."""
    end: Text | None = None
    """Column of the time until which it holds."""
    time: Text | None = None
    """Column of the time, where a rating has one time only."""
    length_s: Seconds | None = None
    """How long a rating holds, s, where the file states only its start or only its end."""
    hold_s: Seconds | None = None
    """How long a rating given at one time holds, s, where others in the same file have a start and an end."""
    unit: TimeUnit = "s"
    """`s`: seconds or h:mm:ss; `ms`: milliseconds; `mm:ss`: minutes and seconds; `clock`: date and time, or time of
    day."""
    date: Text | None = None
    """Column of the date that belongs to a time of day."""
    zone: Annotated[Text, AfterValidator(_checked_zone)] | None = None
    """Time zone of clock times that state none, such as Europe/Berlin."""
    rater: Text | None = None
    """Who rated, where all ratings are one person's."""
    rater_column: Text | None = None
    """Column, or label of a line above the header, that names the rater."""
    rater_from_file: Annotated[Text, AfterValidator(_checked_pattern)] | None = None
    """Regular expression whose group is the rater's name in the file's name without its suffix."""
    rated_at: Text | None = None
    """Column of when it was rated, which the table keeps as it is written."""
    order: Text | None = None
    """Column of the place in the rater's order of rating, a number."""
    pack: Text | None = None
    """Column, or label of a line above the header, with the sample's mark in sheets of `avpenet ratings sample`."""
    missing: tuple[Text, ...] = ("NA", "NaN")
    """Cells that mean there is no value, besides empty ones."""
    ratings: tuple[RatingColumns, ...] = ()
    """Each kind of rating in the file."""


def read_map(path: Path) -> RatingMap:
    """Read `map.toml`.

    Raises:
        SettingsError: the file cannot be read or is not TOML; a setting that is unknown, missing, of another type or
            contradicts another one. Names the file and the setting.
    """
    try:
        content = parse_toml(decode_text(path.read_bytes(), str(path)).text)
    except (OSError, ValueError) as error:
        raise SettingsError(f"cannot read the map {path}: {reason(error)}", "correct it, or the path") from None
    chosen = from_dict(RatingMap, content, str(path))
    _check(chosen, str(path))
    return chosen


def _check(chosen: RatingMap, where: str) -> None:
    """Check settings against each other.

    Raises:
        SettingsError: two that contradict each other.
    """

    def both(*names: str) -> bool:
        return sum(getattr(chosen, name) is not None for name in names) > 1

    if both("recording", "recording_name"):
        raise SettingsError(f"{where}: recording and recording_name exclude each other", "keep one of them")
    if both("rater", "rater_column", "rater_from_file"):
        raise SettingsError(f"{where}: the rater is given in more than one way", "keep one of them")
    if both("time", "start") or both("time", "end"):
        raise SettingsError(f"{where}: time excludes start and end", "give time, or start and end")
    if both("start", "end", "length_s") and chosen.length_s and chosen.start and chosen.end:
        raise SettingsError(f"{where}: length_s is for a file without start or without end", "leave it out")
    if chosen.length_s and not (chosen.start or chosen.end):
        raise SettingsError(f"{where}: length_s needs start or end", "name that column, or use hold_s")
    if (chosen.date or chosen.zone) and chosen.unit != "clock":
        raise SettingsError(f"{where}: date and zone are for clock times", 'add unit = "clock", or leave them out')
    for number, block in enumerate(chosen.ratings, 1):
        if block.scale and block.scale_column:
            raise SettingsError(f"{where}: ratings {number}: scale and scale_column exclude each other", "keep one")
        if block.rater and block.rater_column:
            raise SettingsError(f"{where}: ratings {number}: rater and rater_column exclude each other", "keep one")
