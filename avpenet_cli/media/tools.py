"""Where ffmpeg and ffprobe are, and which version speaks."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from pathlib import Path

from avpenet_cli.errors import EnvironmentUnavailableError, RecordingError

MIN_FFMPEG = (4, 3)
"""Oldest version whose options this program uses."""

SAFE_INPUT = ("-protocol_whitelist", "file,pipe")
"""A playlist dressed up as a recording must not make ffmpeg open a network address."""


@functools.cache
def tool(name: str) -> str:
    """Absolute path of `ffmpeg` or `ffprobe`.

    Raises:
        EnvironmentUnavailableError: it is not on the PATH.
    """
    # cron starts jobs with a PATH of /usr/bin:/bin, where a locally built ffmpeg would not be found.
    found = shutil.which(name) or shutil.which(name, path="/usr/local/bin:/usr/bin:/bin:/opt/homebrew/bin:/snap/bin")
    if found is None:
        raise EnvironmentUnavailableError(
            f"{name} is not installed or not on the PATH", "install ffmpeg, e.g. apt-get install ffmpeg"
        )
    return found


def open_recording(path: Path) -> int:
    """A file descriptor to hand to a child process; the caller closes its own copy.

    Raises:
        RecordingError: it cannot be opened.
    """
    try:
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise RecordingError("unreadable", f"cannot be opened: {error.strerror or error}", "check the file") from None


def stand_in(descriptor: int) -> str:
    """What a child process that inherits `descriptor` opens in place of the recording's name."""
    return f"/dev/fd/{descriptor}"


@functools.cache
def ffmpeg_version() -> tuple[int, int]:
    """(major, minor); a build from git without a number counts as the newest.

    Raises:
        EnvironmentUnavailableError: ffmpeg is there, but does not run.
    """
    done = subprocess.run([tool("ffmpeg"), "-version"], capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0:
        raise EnvironmentUnavailableError(
            f"{tool('ffmpeg')} does not run (status {done.returncode})", "install ffmpeg anew"
        )
    text = done.stdout
    match = re.search(r"version n?(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (99, 0)


def passthrough_option() -> list[str]:
    """Hand on every frame once; the option's name changed in 5.1 and the old one is going away."""
    return ["-fps_mode", "passthrough"] if ffmpeg_version() >= (5, 1) else ["-vsync", "passthrough"]
