"""How long a WAV file is by its own header: ffmpeg counts the bytes that are there, and would not miss any."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_UNKNOWN_BYTES = 0x7FF00000
"""Programs that write to a pipe state this much or more, or nothing."""
_CONSTANT_RATE = {1, 3, 6, 7, 0xFFFE}
"""Format codes of samples that all take the same space: PCM, floats, A-law, mu-law, extensible."""
_MOST_CHUNKS = 1000

_Chunk = tuple[bytes, int, int]
"""First four letters of its name, start and length of its content, bytes."""


def stated_wave_duration(path: Path) -> float:
    """Seconds of audio that the header of a WAV, RF64 or Sony Wave64 file states.

    Args:
        path: the recording, which may be shorter.

    Returns:
        0 where the header does not say: it is damaged, the codec compresses, or a program did not know the length.
    """
    bytes_per_s = long_bytes = 0
    with path.open("rb") as file:
        for name, start, length in _chunks(file):
            file.seek(start)
            if name == b"ds64" and len(sizes := file.read(16)) == 16:
                (long_bytes,) = struct.unpack("<8xQ", sizes)
            elif name == b"fmt " and len(layout := file.read(12)) == 12:
                code, bytes_per_s = struct.unpack("<H6xI", layout)
                bytes_per_s *= code in _CONSTANT_RATE
            elif name == b"data":
                data_bytes = long_bytes or (length if length < _UNKNOWN_BYTES else 0)
                return data_bytes / bytes_per_s if bytes_per_s else 0.0
    return 0.0


def _chunks(file: BinaryIO) -> Iterator[_Chunk]:
    """The chunks of the file up to its end."""
    start = file.read(40)
    if start[:4] in (b"RIFF", b"RF64") and start[8:12] == b"WAVE":
        at, name_bytes, size_bytes, overhead, multiple = 12, 4, 4, 0, 2
    elif start[:4] == b"riff" and start[24:28] == b"wave":
        # Names of 16 bytes, and lengths that count the chunk's own head.
        at, name_bytes, size_bytes, overhead, multiple = 40, 16, 8, 24, 8
    else:
        return
    for _ in range(_MOST_CHUNKS):
        file.seek(at)
        head = file.read(name_bytes + size_bytes)
        if len(head) < name_bytes + size_bytes:
            return
        length = int.from_bytes(head[name_bytes:], "little") - overhead
        if length < 0:
            return
        content = at + len(head)
        yield head[:4], content, length
        at = content + length + -length % multiple
