"""Lists of files, as shells and editors write them."""

from __future__ import annotations

import sys
from pathlib import Path

from avpenet_cli.errors import SettingsError
from avpenet_cli.textfiles import decode_text, detect_encoding

_REMEDY = "write the list as UTF-8 (in PowerShell: Out-File -Encoding utf8)"


def read_list(files_from: str) -> list[bytes]:
    """The names in a list of files, one per line or separated by NUL bytes, in UTF-8 or UTF-16.

    Names keep their bytes: on a Unix disk they need not be UTF-8, unless the list is UTF-16.

    Args:
        files_from: its path; `-` for standard input.

    Raises:
        SettingsError: it cannot be read, is UTF-32, or is UTF-16 and damaged.
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
    parts = names.split(b"\0") if b"\0" in names else names.splitlines()
    return [part for part in parts if part.strip()]
