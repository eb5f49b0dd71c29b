"""Frames and sound into a recording, through ffmpeg."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import wave
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from avpenet_cli.errors import EnvironmentUnavailableError
from avpenet_cli.media.tools import tool
from avpenet_cli.phantom.parameters.voice_params import SAMPLE_RATE_HZ

# No dates and no program versions in the file: the same input gives the same bytes from the same ffmpeg.
_BITEXACT = ("-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact", "-map_metadata", "-1")


def write_recording(
    path: Path,
    frames: Iterable[npt.NDArray[np.uint8]],
    size_px: tuple[int, int],
    fps: float,
    sound: npt.NDArray[np.floating] | None,
    options: Sequence[str] = (),
) -> None:
    """Encode: H.264 and AAC unless `options` say otherwise.

    Args:
        path: file to write; its suffix chooses the container. Replaced when it exists.
        frames: (height, width, 3) uint8 RGB each.
        size_px: width and height of all frames.
        fps: frames per second.
        sound: (samples,) in [-1, 1], 48 kHz, handed on as 16 bits; None for a recording without audio stream.
        options: of ffmpeg for the output, after the defaults, so that they win.

    Raises:
        EnvironmentUnavailableError: ffmpeg is absent or failed; with its own words.
    """
    with tempfile.TemporaryDirectory(prefix="avpenet-phantom-") as folder:
        command = [tool("ffmpeg"), "-v", "error", "-nostdin", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24"]
        command += ["-s", f"{size_px[0]}x{size_px[1]}", "-r", str(fps), "-i", "pipe:0"]
        if sound is not None:
            voice = Path(folder) / "voice.wav"
            with wave.open(str(voice), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(SAMPLE_RATE_HZ)
                file.writeframes(np.round(sound * 32_767).astype("<i2").tobytes())
            command += ["-i", str(voice), "-c:a", "aac", "-b:a", "96k"]
        command += ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "23", "-threads", "1"]
        command += [*_BITEXACT, *options, f"file:{path.absolute()}"]
        errors = Path(folder) / "errors"
        with errors.open("wb") as stderr, subprocess.Popen(command, stdin=subprocess.PIPE, stderr=stderr) as ffmpeg:
            assert ffmpeg.stdin is not None
            # When ffmpeg has stopped, its exit status and its words say why.
            with contextlib.suppress(BrokenPipeError):
                for frame in frames:
                    ffmpeg.stdin.write(frame.tobytes())
            with contextlib.suppress(BrokenPipeError):
                ffmpeg.stdin.close()
        if ffmpeg.returncode != 0:
            path.unlink(missing_ok=True)
            said = " ".join(errors.read_text(errors="replace").split())
            raise EnvironmentUnavailableError(
                f"ffmpeg could not write {path.name}: {said}", "check the codec, size and suffix"
            )
