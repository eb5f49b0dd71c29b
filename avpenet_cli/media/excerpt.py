"""An excerpt of a recording, held in memory and not decoded: patients' data reach no disk for a measurement."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from avpenet_cli.errors import RecordingError
from avpenet_cli.media.confinement import confined
from avpenet_cli.media.probe import Probe
from avpenet_cli.media.tools import SAFE_INPUT, descriptor_path, open_recording, tool
from avpenet_cli.storage import memory_file

_FORMATS = ("mp4", "mov", "matroska")
"""Of the excerpt, one after the other: the first two keep how a recording is turned, the last takes all codecs."""
_MOST_BYTES = 512 << 20
_TIMEOUT_S = 60.0
_MOST_THREADS = 16
"""That ffmpeg uses at a time."""


@contextlib.contextmanager
def excerpt(path: Path, facts: Probe, start_s: float, length_s: float) -> Iterator[Path]:
    """Copy some seconds of a recording's streams into memory.

    Args:
        path: the recording.
        facts: its header.
        start_s, length_s: the seconds wanted. An excerpt begins with the key frame before `start_s`, so that it may be
            longer by what lies between them.

    Yields:
        A path by which programs of this user read the excerpt within the block.

    Raises:
        RecordingError: `unreadable`, or `decoder` where ffmpeg cannot copy the streams.
    """
    streams = [stream for stream in (facts.video, facts.audio) if stream is not None]
    options = list(streams[0].access.options)
    window = ["-ss", f"{start_s:.3f}", "-t", f"{length_s:.3f}"]
    maps = [word for stream in streams for word in ("-map", f"0:{stream.index}")]
    memory = memory_file("excerpt")
    try:
        for container in _FORMATS:
            source = open_recording(path)
            try:
                command = [
                    *(tool("ffmpeg"), "-v", "error", "-nostdin", "-y"),
                    *(*SAFE_INPUT, *options, *window, "-i", descriptor_path(source)),
                    *(*maps, "-c", "copy", "-fs", str(_MOST_BYTES), "-f", container, descriptor_path(memory)),
                ]
                with confined(command, source, _TIMEOUT_S * _MOST_THREADS, 2 * _MOST_BYTES) as child:
                    done = subprocess.run(
                        child.command,
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL,
                        pass_fds=(source, memory, *child.descriptors),
                        timeout=_TIMEOUT_S,
                        check=False,
                    )
            except subprocess.TimeoutExpired:
                break
            finally:
                os.close(source)
            if done.returncode == 0 and os.fstat(memory).st_size:
                yield Path(f"/proc/{os.getpid()}/fd/{memory}")
                return
        raise RecordingError("decoder", "ffmpeg cannot copy an excerpt of it", "check the file")
    finally:
        os.close(memory)
