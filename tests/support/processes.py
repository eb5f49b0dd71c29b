"""Processes that a command may leave behind."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def ffmpegs_with(folder: Path) -> list[str]:
    """Ids of the running ffmpeg processes whose command line names the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
            if b"ffmpeg" in command.split(b"\0")[0] and os.fsencode(folder) in command:
                found.append(entry.name)
    return found
