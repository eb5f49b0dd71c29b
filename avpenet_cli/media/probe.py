"""Read a recording's header with ffprobe: streams, clock, geometry. Decodes nothing."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

from avpenet_cli.errors import RecordingError
from avpenet_cli.media.tools import SAFE_INPUT, descriptor_path, open_recording, tool
from avpenet_cli.settings import DecodingSettings

MAX_PIXELS = 100_000_000
"""A larger frame size comes from a damaged header, not from a camera."""

_CLOCK_ZERO_YEAR = 1970
"""Containers count time from 1904 or 1970; a date up to then means that the clock was not set."""

_STILL_IMAGE_CODECS = frozenset({"mjpeg", "png", "bmp", "gif", "webp"})
"""Codecs of cover images; some recordings use them too, mostly mjpeg."""


@dataclass(frozen=True)
class VideoStream:
    """One video stream, geometry as displayed: after rotation and with square pixels.

    Attributes:
        index: the stream's number in the file.
        codec: ffmpeg's name of the codec.
        width_px, height_px: displayed size.
        rotation_deg: clockwise rotation for display, 0, 90, 180 or 270; already applied to the displayed size.
        pixel_aspect: width over height of a stored pixel.
        fps: average frame rate, Hz; 0 where the header has none.
        pixel_format: ffmpeg's name of the pixel format.
        interlaced: whether frames consist of two fields.
        start_s: first presentation time, from the container's start.
    """

    index: int
    codec: str
    width_px: int
    height_px: int
    rotation_deg: int
    pixel_aspect: float
    fps: float
    pixel_format: str
    interlaced: bool
    start_s: float


@dataclass(frozen=True)
class AudioStream:
    """One audio stream. `start_s` counts from the container's start."""

    index: int
    codec: str
    sample_rate_hz: int
    channels: int
    start_s: float


@dataclass(frozen=True)
class Probe:
    """The header facts of a recording.

    Attributes:
        container: ffprobe's format name.
        nominal_s: duration stated by the header, seconds; 0 where it states none.
        start_s: the container's first timestamp, seconds; presentation times are counted from it.
        video, audio: the streams to decode; None where there is none.
        audio_tracks: number of audio streams.
        creation_time: when the container says that the recording was made, ISO 8601, with an offset where it states
            one; empty where it does not say, or states the zero of its clock (1904 or 1970).
    """

    container: str
    nominal_s: float
    start_s: float
    video: VideoStream | None
    audio: AudioStream | None
    audio_tracks: int
    creation_time: str = ""


def check_file(path: Path) -> os.stat_result:
    """Check that this is a non-empty regular file that can be opened. Opens nothing that could block (a FIFO).

    Raises:
        RecordingError: missing, broken_link, not_a_file, empty_file, no_permission, unreadable.
    """
    try:
        facts = path.stat()
    except FileNotFoundError:
        if path.is_symlink():
            raise RecordingError(
                "broken_link", "a link to a file that is not there", "fix or remove the link"
            ) from None
        raise RecordingError("missing", "no such file", "check its path; it may have been moved or deleted") from None
    except PermissionError:
        raise RecordingError("no_permission", "its folder may not be read", "give this user read access") from None
    except OSError as error:
        raise RecordingError("unreadable", f"{error.strerror or error}", "check the path and the disk") from None
    except ValueError:
        raise RecordingError("missing", "no file can have this name", "look for stray bytes in the list") from None
    if stat.S_ISDIR(facts.st_mode):
        raise RecordingError("not_a_file", "a folder, not a recording", "name its files or use --recursive")
    if not stat.S_ISREG(facts.st_mode):
        raise RecordingError(
            "not_a_file", "not a regular file (a pipe, socket or device)", "copy the recording to a file"
        )
    if facts.st_size == 0:
        raise RecordingError("empty_file", "an empty file", "copy it again from its source")
    try:
        with path.open("rb") as file:
            file.read(1)
    except PermissionError:
        raise RecordingError("no_permission", "may not be read by this user", "give this user read access") from None
    except OSError as error:
        raise RecordingError("unreadable", f"cannot be read: {error.strerror or error}", "check the disk") from None
    return facts


def probe(path: Path, decoding: DecodingSettings) -> Probe:
    """Read a file's header.

    Args:
        path: the recording.
        decoding: which audio track, and how long ffprobe may take.

    Raises:
        RecordingError: the file cannot be read, is no recording, or has neither video nor audio.
    """
    check_file(path)
    source = open_recording(path)
    # ffmpeg-python's probe() leaves a hung ffprobe running after its timeout; subprocess.run kills it.
    command = [
        tool("ffprobe"),
        "-v",
        "error",
        *SAFE_INPUT,
        "-show_format",
        "-show_streams",
        "-of",
        "json",
        descriptor_path(source),
    ]
    try:
        completed = subprocess.run(
            command,
            capture_output=True,
            timeout=decoding.probe_timeout_s,
            stdin=subprocess.DEVNULL,
            pass_fds=(source,),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RecordingError(
            "probe_timeout", f"its header could not be read in {decoding.probe_timeout_s:g} s", "check the file"
        ) from None
    finally:
        os.close(source)
    try:
        facts = json.loads(completed.stdout or b"{}")
    except json.JSONDecodeError:
        facts = {}
    streams = facts.get("streams", [])
    if completed.returncode != 0 or not streams:
        detail = last_line(completed.stderr.decode("utf-8", "replace"))
        raise RecordingError(
            "unreadable", f"not a recording that ffmpeg can read ({detail or 'no streams'})", "check the file"
        )
    return _read(facts, decoding)


def last_line(messages: str) -> str:
    """Last line of ffmpeg's messages, without the descriptor path of the file and the addresses of ffmpeg's objects."""
    lines = [line.strip() for line in messages.splitlines() if line.strip()]
    if not lines:
        return ""
    return re.sub(r"/dev/fd/\d+(: )?|(?<=\w) @ 0x[0-9a-f]+", "", lines[-1])


def _read(facts: dict[str, Any], decoding: DecodingSettings) -> Probe:
    form, streams = facts.get("format", {}), facts["streams"]
    container = str(form.get("format_name", ""))
    if container.endswith("_pipe") or container == "image2":
        raise RecordingError("image", "an image, not a recording", "name a video file")
    start_s = _number(form.get("start_time"))
    videos = [s for s in streams if s.get("codec_type") == "video" and not _is_cover(s) and not _is_text(s)]
    # A stream in a still-image codec before the actual video may be a cover that is not marked as one.
    videos.sort(key=lambda s: s.get("codec_name") in _STILL_IMAGE_CODECS)
    audios = [s for s in streams if s.get("codec_type") == "audio" and _number(s.get("sample_rate")) > 0]
    if not videos and not audios:
        raise RecordingError("no_streams", "neither video nor audio in it", "check the file")
    if audios and decoding.audio_track >= len(audios):
        raise RecordingError(
            "no_such_track",
            f"audio track {decoding.audio_track} was requested, counting from 0; the recording has {len(audios)}",
            "set audio_track",
        )
    return Probe(
        container=container,
        nominal_s=max(_number(form.get("duration")), 0.0),
        start_s=start_s,
        video=_video(videos[0], start_s) if videos else None,
        audio=_audio(audios[decoding.audio_track], start_s) if audios else None,
        audio_tracks=len(audios),
        creation_time=_creation_time([form, *streams]),
    )


def _creation_time(described: Sequence[dict[str, Any]]) -> str:
    """The first complete date and time in the tags of a container and its streams."""
    for entry in described:
        tags = {name.lower(): str(value).strip() for name, value in entry.get("tags", {}).items()}
        date, time = tags.get("date", ""), tags.get("creation_time", "")
        # Apple's tag states the local time's offset. Broadcast WAV has date and time in two tags.
        for text in (tags.get("com.apple.quicktime.creationdate", ""), time, date, f"{date}T{time}"):
            try:
                moment = datetime.fromisoformat(text)
            except ValueError:
                continue
            if len(text) > len("2026-01-31T") and moment.year > _CLOCK_ZERO_YEAR:
                return moment.isoformat()
    return ""


def _is_cover(stream: dict[str, Any]) -> bool:
    """Cover images are video streams; some files mark them, others only hold a single frame in a still-image codec."""
    disposition = stream.get("disposition", {})
    single_image = stream.get("codec_name") in _STILL_IMAGE_CODECS - {"mjpeg"} and stream.get("nb_frames") == "1"
    return bool(disposition.get("attached_pic")) or bool(disposition.get("timed_thumbnails")) or single_image


def _is_text(stream: dict[str, Any]) -> bool:
    """ffmpeg renders text files of certain suffixes (.txt, .nfo, .bin) as video."""
    return stream.get("codec_name") in {"ansi", "bintext", "xbin", "idf"}


def _video(stream: dict[str, Any], container_start_s: float) -> VideoStream | None:
    width, height = int(stream.get("width") or 0), int(stream.get("height") or 0)
    if width < 2 or height < 2:
        return None
    if width * height > MAX_PIXELS:
        raise RecordingError(
            "too_large", f"its header says {width}x{height} pixels", "check the file; the header is probably damaged"
        )
    aspect = _ratio(stream.get("sample_aspect_ratio", "1:1").replace(":", "/")) or Fraction(1)
    rotation = _rotation(stream)
    display_w = max(2, round(width * aspect))
    size = (height, display_w) if rotation in (90, 270) else (display_w, height)
    return VideoStream(
        index=int(stream["index"]),
        codec=str(stream.get("codec_name", "unknown")),
        width_px=size[0],
        height_px=size[1],
        rotation_deg=rotation,
        pixel_aspect=float(aspect),
        fps=float(_ratio(stream.get("avg_frame_rate", "")) or _ratio(stream.get("r_frame_rate", "")) or 0),
        pixel_format=str(stream.get("pix_fmt", "")),
        interlaced=stream.get("field_order", "progressive") in {"tt", "bb", "tb", "bt"},
        start_s=_number(stream.get("start_time"), container_start_s) - container_start_s,
    )


def _audio(stream: dict[str, Any], container_start_s: float) -> AudioStream:
    return AudioStream(
        index=int(stream["index"]),
        codec=str(stream.get("codec_name", "unknown")),
        sample_rate_hz=int(_number(stream.get("sample_rate"))),
        channels=int(stream.get("channels") or 1),
        start_s=_number(stream.get("start_time"), container_start_s) - container_start_s,
    )


def _rotation(stream: dict[str, Any]) -> int:
    """Clockwise rotation for display, to the nearest quarter turn; ffprobe's matrix rotation is anticlockwise."""
    for side in stream.get("side_data_list", []):
        if "rotation" in side:
            return round(-_number(side["rotation"]) / 90) * 90 % 360
    return round(_number(stream.get("tags", {}).get("rotate")) / 90) * 90 % 360


def _number(value: object, default: float = 0.0) -> float:
    try:
        return float(str(value))
    except ValueError:
        return default


def _ratio(text: str) -> Fraction | None:
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError):
        return None
    return value if value > 0 else None
