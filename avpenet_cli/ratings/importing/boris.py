"""BORIS: projects (.boris, JSON) and exported events (CSV, TSV).

The forms are those of BORIS 7 to 9 (Friard and Gamba, Methods Ecol Evol 2016;7:1325; user guide, "Export events").
A project lists the events of each observation as time, subject, behaviour code, modifiers joined by `|`, and comment. A
state is two such events, its begin and its end, with the same subject, code and modifiers. Times run over the media
files of player 1 one after the other and include the observation's time offset.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from avpenet_cli.errors import SettingsError, reason
from avpenet_cli.keys import tidy
from avpenet_cli.ratings.importing.rating_map import RatingColumns, RatingMap
from avpenet_cli.ratings.importing.source import Media, Source, SourceRow, column_key, refuse_media_and_times
from avpenet_cli.ratings.importing.text_table import TextTable, read_text_table
from avpenet_cli.ratings.importing.times import parse_number
from avpenet_cli.study.scales import ScaleError, parse_scale
from avpenet_cli.study.sheets import quoted
from avpenet_cli.textfiles import decode_text, parse_json

OBSERVATION, SUBJECT, BEHAVIOR, COMMENT = "Observation id", "Subject", "Behavior", "Comment"
MODIFIER, DATE = "Modifier #1", "Observation date"
_START, _STOP, _TIME = "Start (s)", "Stop (s)", "Time"
_KINDS = ("Behavior type", "Status", "Type")
"""Columns that tell a point from the begin and the end of a state, in different versions."""
_STATE_BEGINS, _STATE_ENDS, _POINT = "start", "stop", "point"
_MEDIA_NAMES = ("Media file name", "Media file path", "Media file")
_PLAYER = "player #1:"
_NEXT_PLAYER = re.compile(r"\||player #[0-9]+:")
_LONGEST_S = 1e12
"""Larger times are none, even where they count from 1970."""
_NONE = "None"
"""Modifier of an event that was given none."""
_NOT_MEDIA = frozenset(("", "na", "not found"))
_REMEDY = "give a project that BORIS saved, or its events exported as CSV or TSV"

OPEN_STATE = "the begin of a state without its end, or the end without its begin"
NO_MEDIA = "of an observation without media, such as a live one"
UNKNOWN_LENGTH = "of queued media files whose lengths are not stated"


@dataclass(frozen=True)
class _Event:
    """A row of an export of events, or an event of a project, before states are paired.

    Attributes:
        place: in the file.
        time_s: as BORIS states it.
        kind: `start`, `stop` or `point`; empty for a state's event of a project, which does not tell begin from end.
        cells: by `column_key`.
        media: by `_queue`.
    """

    place: str
    time_s: float
    kind: str
    cells: Mapping[str, str]
    queue: tuple[Media, ...]

    @property
    def key(self) -> tuple[str, ...]:
        """What begin and end of a state have in common."""
        names = (OBSERVATION, SUBJECT, BEHAVIOR, "modifiers")
        return tuple(self.cells.get(column_key(name), "") for name in names)


def read_boris_source(path: Path, chosen: RatingMap | None) -> Source:
    """Read a BORIS project or an export of its events.

    Without a map, or with one without `[[ratings]]`, the behaviours whose code is the name of a scale are ratings, and
    their first modifier is the value.

    Raises:
        SettingsError: a file that cannot be read or is neither; an event that is none; times in the map.
    """
    source = _read_project(path) if _is_json(path) else _read_export(path)
    chosen = chosen or RatingMap()
    refuse_media_and_times(path, chosen, "recording_name")
    if not chosen.ratings:
        chosen = replace(chosen, ratings=_by_scale(source))
    if not chosen.ratings:
        there = dict.fromkeys(source.text(row, BEHAVIOR) for row in source.rows)
        listed = ", ".join(map(repr, list(there)[:8]))
        raise SettingsError(
            f"{path}: no behaviour has the name of a scale ({listed})",
            "say in a map (--map) which behaviours are ratings, and where their values are",
        )
    source = replace(source, chosen=chosen)
    source.require_columns()
    return source


def _by_scale(source: Source) -> tuple[RatingColumns, ...]:
    blocks = []
    for name in dict.fromkeys(source.text(row, BEHAVIOR) for row in source.rows):
        try:
            parse_scale(tidy(name) or "?")
        except ScaleError:
            continue
        blocks.append(RatingColumns(value=MODIFIER, where={BEHAVIOR: name}, scale=name))
    return tuple(blocks)


def _is_json(path: Path) -> bool:
    if path.suffix.lower() in (".boris", ".json"):
        return True
    try:
        with path.open("rb") as file:
            return file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {reason(error)}", "check the file") from None


def _read_project(path: Path) -> Source:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {reason(error)}", "check the file") from None
    if raw.startswith(b"\x1f\x8b"):
        raise SettingsError(f"{path} is compressed with gzip", "unpack it first, for example with gunzip")
    try:
        project = parse_json(decode_text(raw, str(path)).text)
    except json.JSONDecodeError as error:
        problem = f"line {error.lineno} is not JSON: {error.msg}"
        raise SettingsError(f"{path} is no BORIS project, or half of one: {problem}", _REMEDY) from None
    except ValueError:
        raise SettingsError(f"{path} is no BORIS project: JSON nested too deeply, or a huge number", _REMEDY) from None
    observations = project.get("observations") if isinstance(project, dict) else None
    if not isinstance(observations, dict) or "behaviors_conf" not in project:
        raise SettingsError(f"{path} is no BORIS project: it has no observations or no behaviours", _REMEDY)
    states = {
        str(behavior.get("code"))
        for behavior in _values(project["behaviors_conf"])
        if "state" in str(behavior.get("type", "")).lower()
    }
    rows: list[SourceRow] = []
    columns = dict.fromkeys((OBSERVATION, DATE, SUBJECT, BEHAVIOR, MODIFIER, COMMENT))
    for name, observation in observations.items():
        where = f"observation {quoted(name)}"
        if not isinstance(observation, dict) or not isinstance(observation.get("events"), list):
            raise SettingsError(f"{path}: {where} has no list of events", _REMEDY)
        variables = observation.get("independent_variables")
        # A person may have set the date to that of the recording: only a map says that it is when it was rated.
        stated = {DATE: observation.get("date", ""), **(variables if isinstance(variables, dict) else {})}
        queue = _project_queue(path, where, observation)
        events = [
            _project_event(path, f"{where}, event {number}", name, event, stated, states, queue)
            for number, event in enumerate(observation["events"], 1)
        ]
        rows += _paired(events)
        columns |= dict.fromkeys(stated)
        columns |= {f"Modifier #{n + 1}": None for event in events for n in range(event.key[3].count("|") + 1)}
    if not rows:
        raise SettingsError(f"{path}: no observation has an event", "code some events first, or give another project")
    return Source(path, tuple(rows), tuple(columns), RatingMap())


def _values(table: object) -> list[dict[str, Any]]:
    items = table.values() if isinstance(table, dict) else table if isinstance(table, list) else ()
    return [item for item in items if isinstance(item, dict)]


def _project_event(
    path: Path,
    place: str,
    observation: str,
    event: object,
    stated: Mapping[str, object],
    states: set[str],
    queue: tuple[Media, ...],
) -> _Event:
    written: list[Any] = event if isinstance(event, list) else []
    # An integer may be too large for a float.
    is_time = bool(written) and isinstance(written[0], int | float) and abs(written[0]) < _LONGEST_S
    time_s = float(written[0]) if is_time else math.nan
    # Events of still images may have no time; without media they are left out.
    if len(written) < 3 or (queue and not math.isfinite(time_s)):
        raise SettingsError(f"{path}: {place} has no time, subject and behaviour", "check the project in BORIS")
    subject, behavior, modifiers, comment = ("" if cell is None else str(cell) for cell in (*written[1:5], "", "")[:4])
    cells = {str(name): str(value) for name, value in stated.items()}
    cells |= {OBSERVATION: observation, SUBJECT: subject, BEHAVIOR: behavior, COMMENT: comment}
    cells |= _modifiers(modifiers)
    kind = "" if behavior in states else _POINT
    return _Event(place, time_s, kind, {column_key(name): cell for name, cell in cells.items()}, queue)


def _modifiers(joined: str) -> dict[str, str]:
    """The modifiers of an event, in columns as exports name them."""
    apart = {f"Modifier #{n}": "" if text == _NONE else text for n, text in enumerate(joined.split("|"), 1)}
    return {"modifiers": joined, **apart}


def _project_queue(path: Path, where: str, observation: Mapping[str, Any]) -> tuple[Media, ...]:
    """The media files of player 1 with what to add to BORIS's times to have seconds in each; empty without media."""
    files = observation.get("file")
    names = files.get("1") if isinstance(files, dict) else None
    if observation.get("type") != "MEDIA" or not isinstance(names, list):
        return ()
    info = observation.get("media_info")
    info = info if isinstance(info, dict) else {}
    lengths, created = (
        table if isinstance(table := info.get(name), dict) else {} for name in ("length", "media_creation_time")
    )
    try:
        offset_s = float(observation.get("time offset") or 0.0)
        known = [None if lengths.get(name) is None else float(lengths[name]) for name in names]
        if observation.get("media_creation_date_as_offset"):
            # Times count from 1970: the creation time of the file that played, and the time in it.
            offset_s += float(created[names[0]]) if len(names) == 1 else float("nan")
    except (TypeError, ValueError, KeyError, OverflowError):
        raise SettingsError(f"{path}: {where} has a time offset or media length that is no number", _REMEDY) from None
    return _queue([str(name) for name in names], known, offset_s)


def _queue(names: list[str], lengths: list[float | None], offset_s: float) -> tuple[Media, ...]:
    media: list[Media] = []
    before_s = offset_s
    for name, length_s in zip(names, lengths, strict=True):
        media.append(Media(name, 0.0 - before_s, length_s))
        before_s += float("nan") if length_s is None else length_s
    return tuple(media)


def _paired(events: Iterable[_Event]) -> list[SourceRow]:
    """Points, and states from their begin to their end; in the order of the begins."""
    rows: list[SourceRow | None] = []
    begun: dict[tuple[str, ...], tuple[int, _Event]] = {}
    # A state may begin when the one before it ends.
    for event in sorted(events, key=lambda event: (event.time_s, event.kind != _STATE_ENDS)):
        kind = event.kind or (_STATE_ENDS if event.key in begun else _STATE_BEGINS)
        if kind == _STATE_ENDS and event.key in begun:
            place, begin = begun.pop(event.key)
            rows[place] = _row(begin, event)
        elif kind == _STATE_BEGINS and event.key not in begun:
            begun[event.key] = (len(rows), event)
            rows.append(None)
        else:
            rows.append(_row(event, None) if kind == _POINT else _left_out(event))
    for place, event in begun.values():
        rows[place] = _left_out(event)
    return [row for row in rows if row is not None]


def _left_out(event: _Event) -> SourceRow:
    return SourceRow(event.place, event.cells, media=event.queue[:1], left_out=OPEN_STATE)


def _row(event: _Event, end: _Event | None) -> SourceRow:
    end_s = None if end is None else end.time_s
    return _in_media(event.place, event.cells, event.time_s, end_s, event.queue, size=1 if end is None else 2)


def _in_media(
    place: str, cells: Mapping[str, str], start_s: float, end_s: float | None, queue: tuple[Media, ...], size: int = 1
) -> SourceRow:
    """A row of the media file of the queue that plays at its start."""
    if not queue:
        return SourceRow(place, cells, size, left_out=NO_MEDIA)
    media = queue[0]
    for item in queue:
        # A comparison with NaN, after a file of unknown length, is false.
        if not start_s + item.shift_s < 0.0:
            media = item
    if media.shift_s != media.shift_s:
        return SourceRow(place, cells, size, media=(media,), left_out=UNKNOWN_LENGTH)
    return SourceRow(place, cells, size, (start_s, end_s), (media,))


def _read_export(path: Path) -> Source:
    def is_header(keys: set[str]) -> bool:
        state = {column_key(_START), column_key(_STOP)} <= keys
        event = column_key(_TIME) in keys and any(column_key(kind) in keys for kind in _KINDS)
        return column_key(BEHAVIOR) in keys and (state or event)

    needed = f"{BEHAVIOR}, and {_START} and {_STOP} or {_TIME} and {_KINDS[0]}"
    required = {column_key(name) for name in (BEHAVIOR, _START, _STOP, _TIME)}
    table = read_text_table(path, "BORIS export of events", is_header, needed, required)
    columns = dict.fromkeys(table.columns)
    keys = {column_key(name) for name in table.columns}
    aggregated = column_key(_START) in keys
    rows: list[SourceRow] = []
    events: list[_Event] = []
    for line, written in table.rows:
        place = f"line {line}"
        cells = _export_cells(written)
        columns |= dict.fromkeys(name for name in _modifiers(cells.get("modifiers", "")) if name != "modifiers")
        queue = _export_queue(table, place, cells)
        if aggregated:
            start_s = _seconds(table, place, _START, cells) if queue else math.nan
            point = cells.get(column_key(_KINDS[0]), "").strip().lower() == _POINT
            end_s = None if point or not queue else _seconds(table, place, _STOP, cells)
            rows.append(_in_media(place, cells, start_s, end_s, queue))
            continue
        kind = next(cells[column_key(name)] for name in _KINDS if column_key(name) in keys).strip().lower()
        if kind not in (_STATE_BEGINS, _STATE_ENDS, _POINT):
            raise SettingsError(f"{path}: {place}: an event of kind {quoted(kind)}", "export it from BORIS again")
        time_s = _seconds(table, place, _TIME, cells) if queue else math.nan
        events.append(_Event(place, time_s, kind, cells, queue))
    by_observation: dict[str, list[_Event]] = {}
    for event in events:
        by_observation.setdefault(event.key[0], []).append(event)
    rows += [row for group in by_observation.values() for row in _paired(group)]
    return Source(path, tuple(rows), tuple(columns), RatingMap(), table.stated, table.decimal_comma, table.notices)


def _export_cells(written: dict[str, str]) -> dict[str, str]:
    """A row's cells, with modifiers both joined and apart, as different versions export them."""
    names = [key for key in written if key.startswith("modifier #")]
    if names:
        joined = "|".join(written[name] for name in names)
        return written | {name: "" for name in names if written[name] == _NONE} | {"modifiers": joined}
    apart = _modifiers(written.get("modifiers", "") or written.get("modifier", ""))
    return {**{column_key(name): cell for name, cell in apart.items()}, **written}


def _seconds(table: TextTable, place: str, name: str, cells: Mapping[str, str]) -> float:
    text = cells[column_key(name)].strip()
    number = parse_number(text, decimal_comma=table.decimal_comma)
    if number is None:
        problem = f"{name} is {quoted(text)}, not a number of seconds"
        raise SettingsError(f"{table.path}: {place}: {problem}", "export the events with times in seconds")
    return number


def _export_queue(table: TextTable, place: str, cells: Mapping[str, str]) -> tuple[Media, ...]:
    """As `_project_queue`, from the columns of an export."""
    offset = cells.get(column_key("Time offset (s)"), "").strip()
    offset_s = parse_number(offset, decimal_comma=table.decimal_comma) if offset else 0.0
    if offset_s is None:
        problem = f"Time offset (s) is {quoted(offset)}, not a number"
        raise SettingsError(f"{table.path}: {place}: {problem}", "export it from BORIS again")
    texts = [cells.get(column_key(name), "").strip() for name in ("Source", *_MEDIA_NAMES)]
    queued = next((text for text in texts if _PLAYER in text), "")
    if not queued:
        named = next((text for text in texts[1:] if text), "")
        names = [] if named.lower() in _NOT_MEDIA else [part.strip() for part in named.split(";") if part.strip()]
        return _queue(names, [None] * len(names), offset_s)
    names = [part.strip() for part in _NEXT_PLAYER.split(queued.split(_PLAYER)[1])[0].split(";") if part.strip()]
    stated = cells.get(column_key("Media duration (s)"), "").split("|")[0].split(";")
    lengths = [parse_number(part.strip(), decimal_comma=False) for part in stated]
    lengths = lengths if len(lengths) == len(names) else [None] * len(names)
    return _queue(names, lengths, offset_s)
