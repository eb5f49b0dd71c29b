"""Tell a file that ends where it should from one that was cut, by its outermost structure."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

_EBML = 0x1A45DFA3
_SEGMENT = 0x18538067
_FLV_TAG_BYTES = 11


def is_whole(path: Path, container: str) -> bool:
    """Whether the file ends exactly where its structure says, so that nothing can be missing at its end.

    Args:
        path: the recording.
        container: ffprobe's name of the format. Only Matroska and Flash Video can be told; others count as cut.
    """
    with path.open("rb") as file:
        if "matroska" in container.split(","):
            return _is_whole_matroska(file, path.stat().st_size)
        return container == "flv" and _is_whole_flash(file, path.stat().st_size)


def _is_whole_matroska(file: BinaryIO, size: int) -> bool:
    """Elements of known length from the start to the last byte; a copy filled up with zeros has no element there."""
    at, has_segment = 0, False
    while at < size:
        element = _element(file, at)
        if element is None:
            return False
        identifier, content, end = element
        if end > size or (at == 0 and identifier != _EBML):
            return False
        has_segment = has_segment or identifier == _SEGMENT
        at = content if identifier == _SEGMENT else end
    return has_segment


def _element(file: BinaryIO, at: int) -> tuple[int, int, int] | None:
    """(identifier, start and end of the content) of the element at a place; None where there is none, or no length."""
    file.seek(at)
    head = file.read(12)
    identifier_bytes = 9 - head[0].bit_length() if head else 0
    if not 1 <= identifier_bytes <= 4 or len(head) < identifier_bytes + 1:
        return None
    size_bytes = 9 - head[identifier_bytes].bit_length()
    stated = head[identifier_bytes : identifier_bytes + size_bytes]
    if size_bytes > 8 or len(stated) < size_bytes:
        return None
    mask = (1 << 7 * size_bytes) - 1
    length = int.from_bytes(stated, "big") & mask
    if length == mask:
        return None
    content = at + identifier_bytes + size_bytes
    return int.from_bytes(head[:identifier_bytes], "big"), content, content + length


def _is_whole_flash(file: BinaryIO, size: int) -> bool:
    """The file ends with the length of its last tag, and that tag says the same of itself."""
    if size < _FLV_TAG_BYTES + 4:
        return False
    file.seek(size - 4)
    tag_bytes = int.from_bytes(file.read(4), "big")
    if not _FLV_TAG_BYTES <= tag_bytes <= size - 4:
        return False
    file.seek(size - 4 - tag_bytes)
    head = file.read(4)
    return int.from_bytes(head[1:], "big") + _FLV_TAG_BYTES == tag_bytes
