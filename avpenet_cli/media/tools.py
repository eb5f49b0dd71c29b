"""Locate ffmpeg and ffprobe and read their version."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from pathlib import Path

from avpenet_cli.errors import EnvironmentUnavailableError, RecordingError

MIN_FFMPEG = (4, 3)
"""Oldest version that has the options this program uses."""

SAFE_INPUT = ("-protocol_whitelist", "file,pipe")
"""Keeps a playlist disguised as a recording from making ffmpeg open a network address."""


@functools.cache
def tool(name: str) -> str:
    """Absolute path of `ffmpeg` or `ffprobe`.

    Raises:
        EnvironmentUnavailableError: the program is not installed.
    """
    # cron starts jobs with a PATH of /usr/bin:/bin, where a locally built ffmpeg would not be found.
    path = shutil.which(name) or shutil.which(name, path="/usr/local/bin:/usr/bin:/bin:/opt/homebrew/bin:/snap/bin")
    if path is None:
        raise EnvironmentUnavailableError(
            f"{name} is not installed or not on the PATH", "install ffmpeg, e.g. apt-get install ffmpeg"
        )
    return path


def open_recording(path: Path) -> int:
    """Open a recording for a child process; the caller closes its own copy of the descriptor.

    Raises:
        RecordingError: `unreadable`, the file cannot be opened.
    """
    try:
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise RecordingError("unreadable", f"cannot be opened: {error.strerror or error}", "check the file") from None


def blanked_input(source: str, start: int, end: int) -> tuple[list[str], str]:
    """Input options and path by which ffmpeg reads a file with the bytes from `start` up to `end` as zeros.

    Args:
        source: descriptor path of the recording.
        start, end: positions in it, with bytes of it before and after.
    """
    parts = [
        f"subfile,,start,0,end,{start},,:{source}",
        f"subfile,,start,0,end,{end - start},,:/dev/zero",
        f"subfile,,start,{end},end,0,,:{source}",
    ]
    return ["-protocol_whitelist", f"{SAFE_INPUT[1]},subfile,concat"], f"concat:{'|'.join(parts)}"


def descriptor_path(descriptor: int) -> str:
    """Path by which a child process that inherits `descriptor` opens the recording without knowing its name."""
    return f"/dev/fd/{descriptor}"


@functools.cache
def ffmpeg_version() -> tuple[int, int]:
    """Version as (major, minor); a git build without a version number counts as the newest.

    Raises:
        EnvironmentUnavailableError: ffmpeg is not installed or does not run.
    """
    completed = subprocess.run([tool("ffmpeg"), "-version"], capture_output=True, text=True, timeout=30, check=False)
    if completed.returncode != 0:
        raise EnvironmentUnavailableError(
            f"{tool('ffmpeg')} does not run (status {completed.returncode})", "install ffmpeg again"
        )
    text = completed.stdout
    match = re.search(r"version n?(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (99, 0)


def passthrough_option() -> list[str]:
    """Output options that keep every frame once; ffmpeg 5.1 renamed the option and deprecated the old name."""
    return ["-fps_mode", "passthrough"] if ffmpeg_version() >= (5, 1) else ["-vsync", "passthrough"]
