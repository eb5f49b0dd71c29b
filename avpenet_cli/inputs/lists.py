"""Lists of files, as shells and editors write them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from avpenet_cli.errors import SettingsError
from avpenet_cli.textfiles import decode_text, detect_encoding

_REMEDY = "write the list as UTF-8 (in PowerShell: Out-File -Encoding utf8)"


def read_list(files_from: str) -> list[bytes]:
    """The names in a list of files, one per line or separated by NUL bytes, in UTF-8 or UTF-16.

    Names keep their bytes: on a Unix disk they need not be UTF-8, unless the list is UTF-16. Quotes and white space
    around a name, as Windows and spreadsheets write them, are left out unless there is a file that is named so.

    Args:
        files_from: its path; `-` for standard input.

    Raises:
        SettingsError: it cannot be read, is UTF-32, is UTF-16 and damaged, or is no text.
    """
    try:
        raw = sys.stdin.buffer.read() if files_from == "-" else Path(files_from).read_bytes()
    except OSError as error:
        raise SettingsError(f"--files-from {files_from}: {error.strerror}", "name a readable file, or -") from None
    encoding, mark_bytes = detect_encoding(raw)
    if encoding == "utf-8":
        names = raw[mark_bytes:]
    else:
        try:
            names = decode_text(raw, f"--files-from {files_from}").text.encode()
        except SettingsError as error:
            raise SettingsError(error.message, _REMEDY) from None
    if b"\0" not in names:
        return [_bare(name) for name in names.splitlines() if name.strip()]
    parts = [part for part in names.split(b"\0") if part.strip()]
    if _are_characters(parts):
        raise SettingsError(f"--files-from {files_from} is neither UTF-8 nor recognised as UTF-16", _REMEDY)
    return parts


def _are_characters(parts: Sequence[bytes]) -> bool:
    """Whether what stands between zero bytes is single characters: text in another encoding, or no text.

    They must not be taken for paths: `/` is the whole disk.
    """
    return b"/" in parts or sum(len(part.strip()) == 1 for part in parts) * 2 > len(parts)


def _bare(line: bytes) -> bytes:
    """A line of a list without the quotes and white space around it, unless a file is named as the whole line."""
    bare = line.strip()
    for quote in (b'"', b"'"):
        if len(bare) > 2 and bare.startswith(quote) and bare.endswith(quote):
            bare = bare[1:-1]
            break
    return line if bare == line or os.path.lexists(line) else bare
