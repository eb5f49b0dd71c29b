"""When recordings began, from their containers, their file names or a table. Scores do not depend on it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from avpenet_cli.errors import RecordingError, SettingsError
from avpenet_cli.inputs import Recording
from avpenet_cli.keys import match_names, shown
from avpenet_cli.media.probe import probe
from avpenet_cli.phrasing import plural
from avpenet_cli.records import CREATION_TIME, RecordingOutcome
from avpenet_cli.settings import DecodingSettings
from avpenet_cli.study.recording_times import CLOCK_YEARS, read_recording_times

CONTAINER, NOWHERE = "container", "none"
_NAME = "name:"

_DIRECTIVES = {
    "Y": r"\d{4}",
    "y": r"\d{2}",
    "m": r"\d{2}",
    "b": r"[^\W\d_]{3}",
    "B": r"[^\W\d_]{3,}",
    "d": r"\d{2}",
    "j": r"\d{3}",
    "H": r"\d{2}",
    "I": r"\d{2}",
    "p": r"[AaPp][Mm]",
    "M": r"\d{2}",
    "S": r"\d{2}",
    "f": r"\d{1,6}",
    "z": r"(?:[+-]\d{2}:?\d{2}|Z)",
    "%": "%",
}
"""What each directive of `strptime` that a pattern may have stands for; numbers have all their digits."""
_FIRST_YEAR = 1990
"""Digits that would be an earlier date are no date."""

Start = datetime | None
Finder = Callable[[Recording, RecordingOutcome], Start]


@dataclass(frozen=True)
class StartTimes:
    """Where the starts of the recordings come from.

    Attributes:
        source: as the manifest states it: `container`, `name:PATTERN`, `table FILE (sha256 ...)` or `none`; under
            pseudonyms without FILE.
        find: the start of a recording, with its offset from UTC where that is known; None where it is not known.
        notices: rows of the table that were matched in spite of their spelling, or not at all.
        sha256: digest of the table, hexadecimal; empty without a table.
    """

    source: str
    find: Finder
    notices: tuple[str, ...] = ()
    sha256: str = ""


def start_times(
    option: str | None, decoding: DecodingSettings, *, pseudonymised: bool, names: Sequence[str] = ()
) -> StartTimes:
    """What `--recorded-at` asks for.

    Args:
        option: `container`, `none`, `name:PATTERN` or the path of a table; None for the default, which is `container`,
            or `none` under pseudonyms, because times can identify a patient.
        decoding: for containers whose time is not known yet.
        names: of the recordings, which a table must name.

    Raises:
        SettingsError: the pattern or the table cannot be used.
    """
    wanted = option if option is not None else NOWHERE if pseudonymised else CONTAINER
    if wanted == NOWHERE:
        return StartTimes(NOWHERE, lambda recording, outcome: None)
    if wanted == CONTAINER:
        return StartTimes(CONTAINER, partial(_from_container, decoding))
    if wanted.startswith(_NAME):
        return StartTimes(wanted, _from_name(wanted.removeprefix(_NAME)))
    path = Path(wanted)
    if not path.is_file():
        raise SettingsError(
            f"--recorded-at {wanted}: no such table", "give container, none, name:PATTERN or the path of a table"
        )
    table, digest = read_recording_times(path)
    matches = match_names(table, names, path.name)
    written_of: dict[str, str] = {}
    for written, name in matches.names.items():
        other = written_of.setdefault(name, written)
        if table[other] != table[written]:
            raise SettingsError(
                f"{path.name}: {shown(other)} and {shown(written)} are one recording, but have different times",
                "give each recording once",
            )
    starts = {matches.names[name]: start for name, start in table.items()}
    notices = matches.notice(path.name, "the inputs")
    if unmatched := len(starts.keys() - set(names)):
        notices = (*notices, f"{path.name}: {plural(unmatched, 'row')} of recordings that are not among the inputs")
    # Under pseudonyms no name stays that somebody gave to a file.
    name = "" if pseudonymised else f"{path.name} "
    return StartTimes(
        f"table {name}(sha256 {digest})", lambda recording, outcome: starts.get(recording.name), notices, digest
    )


def iso(start: datetime | None, after_s: float = 0.0) -> str:
    """The time so many seconds after a start, ISO 8601 to the millisecond; empty where the start is not known.

    All times are written to the same precision, so that programs which guess a format from the first row read them all.
    """
    return "" if start is None else (start + timedelta(seconds=after_s)).isoformat(timespec="milliseconds")


def container_start(outcome: RecordingOutcome) -> datetime | None:
    """The creation time that the container states; None where it states none."""
    return _stated(str(outcome.facts.get(CREATION_TIME, "")))


def _stated(creation_time: str) -> Start:
    start = datetime.fromisoformat(creation_time) if creation_time else None
    return start if start is not None and start.year in CLOCK_YEARS else None


def _from_container(decoding: DecodingSettings, recording: Recording, outcome: RecordingOutcome) -> Start:
    if CREATION_TIME in outcome.facts or not outcome.facts:
        return container_start(outcome)
    # A journal of pseudonyms keeps no time.
    try:
        return _stated(probe(recording.path, decoding).creation_time)
    except RecordingError:
        return None


def _from_name(pattern: str) -> Finder:
    where = f"--recorded-at {_NAME}{pattern}"
    letters = re.findall(r"%(.?)", pattern)
    unknown = [f"%{letter}" for letter in letters if letter not in _DIRECTIVES]
    if unknown:
        known = " ".join(f"%{letter}" for letter in _DIRECTIVES)
        raise SettingsError(f"{where}: {unknown[0]} is not supported", f"use {known}")
    has = set(letters)
    if not (has & set("Yy") and ("j" in has or ("d" in has and has & set("mbB"))) and has & set("HI")):
        raise SettingsError(
            f"{where}: it needs the year, the month, the day and the hour", "for example name:%Y%m%d_%H%M%S"
        )
    parts = re.split(r"%(.)", pattern)
    expression = "".join(_DIRECTIVES[part] if place % 2 else re.escape(part) for place, part in enumerate(parts))
    # Within a lookahead, matches may overlap: the first digits that fit need not be a date.
    places = re.compile(f"(?=({expression}))")

    def find(recording: Recording, outcome: RecordingOutcome) -> Start:
        for match in places.finditer(recording.path.name):
            try:
                start = datetime.strptime(match[1], pattern)
            except ValueError:
                continue
            if start.year >= _FIRST_YEAR and start.year in CLOCK_YEARS:
                return start
        return None

    return find
