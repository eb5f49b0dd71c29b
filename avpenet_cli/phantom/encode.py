"""Encode frames and audio into a recording with ffmpeg."""

from __future__ import annotations

import contextlib
import subprocess
import wave
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from avpenet_cli.errors import EnvironmentUnavailableError
from avpenet_cli.media.tools import tool
from avpenet_cli.phantom.parameters.voice_params import SAMPLE_RATE_HZ
from avpenet_cli.runs.temporary import temporary_folder

# Without dates and program versions in the file the same input gives the same bytes from the same ffmpeg.
_BITEXACT = ("-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact", "-map_metadata", "-1")


def bitrate_options(bitrate_kbits: int | None) -> tuple[str, ...]:
    """ffmpeg's output options for video of a rate in kbit/s, held over each second; none for constant quality."""
    if bitrate_kbits is None:
        return ()
    rate = f"{bitrate_kbits}k"
    return ("-crf", "-1", "-q:v", "-1", "-b:v", rate, "-maxrate", rate, "-bufsize", rate)


def write_recording(
    path: Path,
    frames: Iterable[npt.NDArray[np.uint8]],
    size_px: tuple[int, int],
    fps: float,
    audio: npt.NDArray[np.floating] | None,
    options: Sequence[str] = (),
) -> None:
    """Encode a recording, as H.264 and AAC unless `options` say otherwise.

    Args:
        path: file to write or replace; its suffix chooses the container.
        frames: (height, width, 3) uint8 RGB each.
        size_px: width and height of all frames.
        fps: frames per second.
        audio: (samples,) in [-1, 1], 48 kHz, passed to ffmpeg as 16 bits; None for a recording without audio.
        options: ffmpeg's output options, after the defaults, which they override.

    Raises:
        EnvironmentUnavailableError: ffmpeg is not installed or failed; the message includes ffmpeg's.
    """
    with temporary_folder("phantom") as folder:
        command = [tool("ffmpeg"), "-v", "error", "-nostdin", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24"]
        command += ["-s", f"{size_px[0]}x{size_px[1]}", "-r", str(fps), "-i", "pipe:0"]
        if audio is not None:
            audio_file = folder / "audio.wav"
            with wave.open(str(audio_file), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(SAMPLE_RATE_HZ)
                file.writeframes(np.round(audio * 32_767).astype("<i2").tobytes())
            command += ["-i", str(audio_file), "-c:a", "aac", "-b:a", "96k"]
        command += ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "23", "-threads", "1"]
        command += [*_BITEXACT, *options, f"file:{path.absolute()}"]
        errors = folder / "errors"
        with errors.open("wb") as stderr, subprocess.Popen(command, stdin=subprocess.PIPE, stderr=stderr) as ffmpeg:
            assert ffmpeg.stdin is not None
            # When ffmpeg has stopped, its exit status and messages tell why.
            with contextlib.suppress(BrokenPipeError):
                for frame in frames:
                    ffmpeg.stdin.write(frame.tobytes())
            with contextlib.suppress(BrokenPipeError):
                ffmpeg.stdin.close()
        if ffmpeg.returncode != 0:
            path.unlink(missing_ok=True)
            messages = " ".join(errors.read_text(errors="replace").split())
            raise EnvironmentUnavailableError(
                f"ffmpeg could not write {path.name}: {messages}", "check the codec, size and suffix"
            )
