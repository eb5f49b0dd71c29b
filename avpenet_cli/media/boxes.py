"""Read from an ISO base media file (MP4, MOV, 3GP) what ffprobe does not show of its tracks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_PARENTS = {b"moov", b"trak", b"mdia", b"minf", b"stbl"}
_MAX_CONTENT_BYTES = 1 << 16


@dataclass(frozen=True)
class TrackBox:
    """One track.

    Attributes:
        identifier: its number in the container.
        entries: four-letter codes of its sample descriptions, such as `avc1`.
        display_size: width and height for display, 16.16 fixed point, as stored.
        display_size_at: where in the file those 8 bytes stand.
    """

    identifier: int
    entries: frozenset[bytes]
    display_size: tuple[int, int]
    display_size_at: int


def read_tracks(path: Path) -> list[TrackBox]:
    """The tracks of an ISO base media file; none where it is damaged before them."""
    tracks: list[TrackBox] = []
    identifier, size, size_at = 0, (0, 0), 0
    with path.open("rb") as file:
        for kind, start, end in _boxes(file, 0, path.stat().st_size):
            file.seek(start)
            content = file.read(min(end - start, _MAX_CONTENT_BYTES))
            if kind == b"tkhd" and len(content) >= 84:
                at = 20 if content[0] == 1 else 12  # version 1 has times of 8 bytes
                identifier = _integer(content[at : at + 4])
                size, size_at = (_integer(content[-8:-4]), _integer(content[-4:])), end - 8
            elif kind == b"stsd":
                tracks.append(TrackBox(identifier, frozenset(_entries(content)), size, size_at))
    return tracks


def _integer(content: bytes) -> int:
    return int.from_bytes(content, "big")


def _entries(description: bytes) -> Iterator[bytes]:
    """The codes of the sample entries in the content of an `stsd` box."""
    at = 8
    while at + 8 <= len(description):
        yield description[at + 4 : at + 8]
        at += max(8, _integer(description[at : at + 4]))


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(code, start and end of its content) of the boxes that describe tracks, in the file's order."""
    while start + 8 <= end:
        file.seek(start)
        head = file.read(16)
        size, kind, content = _integer(head[:4]), head[4:8], start + 8
        if size == 1:
            size, content = _integer(head[8:16]), start + 16
        elif size == 0:
            size = end - start
        if size < content - start:
            return
        stop = min(start + size, end)
        if kind in _PARENTS:
            yield from _boxes(file, content, stop)
        elif kind in {b"tkhd", b"stsd"}:
            yield kind, content, stop
        start += size
