"""The recordings that ratings may belong to: names, starts and lengths, and which one a media file's name means."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import pandas as pd

from avpenet_cli.errors import SettingsError
from avpenet_cli.inputs.suffixes import RECORDING_SUFFIXES
from avpenet_cli.keys import match_names, normalise_key, shown
from avpenet_cli.study.readers import read_sheet
from avpenet_cli.study.recording_times import parse_date_time, read_recording_times

_AGREE = timedelta(seconds=1)
"""Segments that state the start of their recording agree within this."""
_COLUMNS = ("recording", "start_s", "end_s", "recorded_at", "status")
_DRIVE = re.compile(r"[A-Za-z]:/")


@dataclass(frozen=True)
class Match:
    """What a media file's name means.

    Attributes:
        recording: the recording's name; empty if none or several could be meant.
        candidates: the first of several that could be meant.
        without_suffix: the two differ in their suffixes, as a copy in another format does.
        other_folder: both have a folder, and these differ.
    """

    recording: str = ""
    candidates: tuple[str, ...] = ()
    without_suffix: bool = False
    other_folder: bool = False


@dataclass
class Recordings:
    """Recordings by name.

    Attributes:
        names: as the score table writes them; empty where none was given, and any name is one.
        starts: when they began, where that is known.
        ends_s: their lengths, s, where that is known.
        source: file that has the names, for messages.
        notices: what a person should know about it.
    """

    names: tuple[str, ...] = ()
    starts: Mapping[str, datetime] = field(default_factory=dict)
    ends_s: Mapping[str, float] = field(default_factory=dict)
    source: str = ""
    notices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._matched: dict[str, Match] = {}
        self._by_tail: dict[tuple[bool, str], set[str]] = {}
        for name in self.names:
            parts = _parts(name)
            for suffix in (True, False):
                for first in range(len(parts)):
                    tail = _tail(parts[first:], with_suffix=suffix)
                    self._by_tail.setdefault((suffix, tail), set()).add(name)

    def match(self, written: str) -> Match:
        """The recording that a name means, with folders or without, in any spelling of `keys`.

        Tried in this order: the name to the letter; the most folders that both names have; the file's name; the name
        without a recording's suffix. Where one of these fits several recordings, none is chosen.
        """
        if written not in self._matched:
            self._matched[written] = self._find(written)
        return self._matched[written]

    @property
    def without_suffix(self) -> dict[str, str]:
        """Names that were matched in spite of another suffix, as of a copy in another format, with their recordings."""
        return {name: match.recording for name, match in self._matched.items() if match.without_suffix}

    @property
    def in_other_folders(self) -> dict[str, str]:
        """Names that were matched in spite of another folder, as of a copy elsewhere, with their recordings."""
        return {name: match.recording for name, match in self._matched.items() if match.other_folder}

    def _find(self, written: str) -> Match:
        parts = _parts(written)
        if not parts:
            return Match()
        if not self.names:
            return Match(parts[-1] if _is_absolute(written) else "/".join(parts))
        if written in self.names:
            return Match(written)
        for with_suffix in (True, False):
            for first in range(len(parts)):
                fitting = self._by_tail.get((with_suffix, _tail(parts[first:], with_suffix=with_suffix)), set())
                whole = {name for name in fitting if first or len(_parts(name)) == len(parts)} or fitting
                if len(whole) == 1:
                    name = next(iter(whole))
                    other_folder = first > 0 and len(_parts(name)) > len(parts) - first
                    return Match(name, without_suffix=not with_suffix, other_folder=other_folder)
                if whole:
                    return Match(candidates=tuple(sorted(whole)))
        return Match()


def read_recordings(tables: Sequence[Path], times: Path | None) -> Recordings:
    """Read the recordings' names and starts.

    Args:
        tables: score tables, or any tables with a column `recording`; `recorded_at` and `start_s` give starts, `end_s`
            lengths.
        times: table of recording times, whose starts go before those of `tables`; None for none.

    Raises:
        SettingsError: a table that cannot be read or has no column `recording`; text that is no number or time.
    """
    names: dict[str, None] = {}
    starts: dict[str, list[datetime]] = {}
    ends_s: dict[str, float] = {}
    for path in tables:
        for name, start, end_s in _rows(path):
            names.setdefault(name)
            if start is not None:
                starts.setdefault(name, []).append(start)
            if end_s == end_s:
                ends_s[name] = max(ends_s.get(name, 0.0), end_s)
    agreed = {name: stated[0] for name, stated in starts.items() if _agree(stated)}
    notices = tuple(
        f"{shown(name)}: recorded_at does not agree with start_s, so its start counts as not known"
        for name in starts
        if name not in agreed
    )
    source = ", ".join(path.name for path in tables)
    if times is not None:
        stated, _ = read_recording_times(times)
        if names:
            matches = match_names(stated, names, times.name)
            agreed |= {matches.names[name]: start for name, start in stated.items()}
            notices += matches.notice(times.name, source)
        else:
            names, agreed, source = dict.fromkeys(stated), dict(stated), times.name
    return Recordings(tuple(names), agreed, ends_s, source, notices)


def _rows(path: Path) -> Iterable[tuple[str, datetime | None, float]]:
    """Name, start and end of each row; NaN for an unknown end."""
    description = "table of recordings"
    sheet = read_sheet(path, _COLUMNS, description, _COLUMNS[:1])
    sheet.require(_COLUMNS[:1], description, "give a score table, or a table with a column recording")
    recordings = sheet.filled("recording").to_pylist()
    unknown = [float("nan")] * sheet.rows
    # A table of recordings has ends of another kind, or none.
    segments = {"start_s", "end_s"} <= sheet.columns.keys()
    start_s, end_s = ((sheet.numbers(name).tolist() if segments else unknown) for name in ("start_s", "end_s"))
    stated = sheet.strings("recorded_at") if "recorded_at" in sheet.columns else pd.Series([""] * sheet.rows)
    for row, (name, text) in enumerate(zip(recordings, stated.fillna(""), strict=True)):
        start = parse_date_time(text) if text else None
        if start is not None and start_s[row] == start_s[row]:
            start -= timedelta(seconds=start_s[row])
        yield name, start, end_s[row]


def _agree(starts: Sequence[datetime]) -> bool:
    aware = {start.tzinfo is None for start in starts}
    return len(aware) == 1 and max(starts) - min(starts) <= _AGREE


def _parts(written: str) -> list[str]:
    """Folders and file name of a path or URL, of Windows or not."""
    text = written.strip()
    if text.startswith("file:"):
        text = unquote(text.removeprefix("file:"))
    return [part for part in text.replace("\\", "/").split("/") if part not in ("", ".")]


def may_be_one_file(first: str, second: str) -> bool:
    """Whether two names may be of one media file: one's folders are the last of the other's."""
    tails = [_tail(parts, with_suffix=False).split("/") for name in (first, second) if (parts := _parts(name))]
    shared = min(map(len, tails))
    return len({tuple(tail[-shared:]) for tail in tails}) == 1


def _is_absolute(written: str) -> bool:
    text = written.strip().replace("\\", "/")
    return text.startswith(("/", "file:")) or _DRIVE.match(text) is not None


def _tail(parts: Sequence[str], *, with_suffix: bool) -> str:
    """What two spellings of the last parts of a path share."""
    last = parts[-1]
    if not with_suffix and PurePosixPath(last).suffix.lower() in RECORDING_SUFFIXES:
        last = last[: -len(PurePosixPath(last).suffix)]
    return "/".join(normalise_key(part) for part in (*parts[:-1], last))


def refuse_unmatched(recordings: Recordings, unmatched: Sequence[str], where: str) -> SettingsError:
    """The refusal of a file none of whose media is a recording."""
    listed = ", ".join(map(shown, unmatched[:3])) + (", ..." if len(unmatched) > 3 else "")
    return SettingsError(
        f"{where}: none of its recordings is among those of {recordings.source} ({listed})",
        "give the score table of the recordings that were rated, or correct the names",
    )
