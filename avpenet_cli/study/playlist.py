"""Segments as a playlist: extended M3U, whose entries start and stop where the segments do."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from avpenet_cli.phrasing import plural, printable
from avpenet_cli.storage import atomic_write

# VLC reads an entry as a reference, in which these three mean something else than themselves.
_ESCAPED = str.maketrans({"%": "%25", "#": "%23", "?": "%3F"})


@dataclass(frozen=True)
class PlaylistEntry:
    """A segment to play.

    Attributes:
        recording: its name in the score table, which is its path from the playlist.
        start_s, end_s: seconds after the recording's start.
        title: what the player shows.
    """

    recording: str
    start_s: float
    end_s: float
    title: str


def write_entries(path: Path, head: Sequence[str], entries: Iterable[PlaylistEntry]) -> None:
    """Write a playlist atomically, readable by its owner only.

    Args:
        path: ends in .m3u8, which stands for UTF-8.
        head: lines of comment before the entries.
        entries: in the order to play; those whose names no playlist can hold are left out, and counted in a comment.
    """
    lines = ["#EXTM3U", *(f"# {line}" for line in head)]
    played: list[str] = []
    left_out = 0
    for entry in entries:
        if _playable(entry.recording):
            played += _lines(entry)
        else:
            left_out += 1
    if left_out:
        lines.append(
            f"# Left out, because a playlist cannot hold their recordings' names: {plural(left_out, 'segment')}."
        )
    with atomic_write(path) as file:
        # File names that are not UTF-8 keep their bytes.
        file.write(("\n".join([*lines, *played]) + "\n").encode("utf-8", "surrogateescape"))


def _lines(entry: PlaylistEntry) -> Iterator[str]:
    # VLC takes what stands before a comma or a spaced hyphen for the artist.
    title = printable(entry.title).replace(",", ";").replace(" - ", " ")
    yield f"#EXTINF:{entry.end_s - entry.start_s:.3f},{title}"
    yield f"#EXTVLCOPT:start-time={entry.start_s:.3f}"
    yield f"#EXTVLCOPT:stop-time={entry.end_s:.3f}"
    # A name that starts with # would be a comment, one with a colon an address.
    name = entry.recording
    yield (name if name.startswith("/") else f"./{name}").translate(_ESCAPED)


def _playable(name: str) -> bool:
    """Whether a line can hold the name, and a player takes it for a file of this machine."""
    if any(unicodedata.category(character) in {"Cc", "Zl", "Zp"} for character in name):
        return False
    return name == name.rstrip() and "://" not in name and not name.startswith("//")
