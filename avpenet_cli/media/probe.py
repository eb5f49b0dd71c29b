"""Read a recording's header with ffprobe: streams, clock, geometry. Decodes nothing."""

from __future__ import annotations

import dataclasses
import math
import os
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from pathlib import Path

from avpenet_cli.errors import RecordingError
from avpenet_cli.media.boxes import TrackBox, read_tracks
from avpenet_cli.media.duration import stated_duration
from avpenet_cli.media.encryption import encrypted_streams, identifier
from avpenet_cli.media.header import Header, Stream, codec_name, has_parameters, number, read_headers
from avpenet_cli.media.tracks import Track, choose_tracks
from avpenet_cli.records import Flag
from avpenet_cli.settings import DecodingSettings

MAX_PIXELS = 100_000_000
"""A larger frame size comes from a damaged header, not from a camera."""

MAX_DECODED_PIXELS = 4096 * 4096
"""Larger frames are reduced to this before they leave the decoder, which bounds memory; a face still has more pixels
than the network takes."""

_MAX_PIXEL_ASPECT = Fraction(4)
"""Pixels that are wider or narrower by more than this come from a damaged header; broadcast formats stay within 1:2."""
_CLOCK_ZERO_YEAR = 1970
"""Containers count time from 1904 or 1970; a date up to then means that the clock was not set."""


@dataclass(frozen=True)
class StreamAccess:
    """What a decoder must be told to find a stream and its time.

    Attributes:
        options: input options of ffmpeg, such as how far to look into the file for the stream's parameters.
        clock_streams: numbers of the audio and video streams that it knows then; in program and transport streams,
            time is counted from the first of those in use.
        end_s: where it must stop, seconds from the container's start; None for the end of the file.
        blank_bytes: start and end of a place in the file that it must not see.
    """

    options: tuple[str, ...] = ()
    clock_streams: tuple[int, ...] = ()
    end_s: float | None = None
    blank_bytes: tuple[int, int] | None = None


_PLAYLISTS = frozenset({"concat", "dash", "hls", "imf", "sdp", "webm_dash_manifest"})
"""ffmpeg's formats of files that name others to read."""
_RAW_VIDEO = frozenset({"h261", "h263", "h264", "hevc", "m4v", "mjpeg", "mpegvideo", "vc1"})
"""ffmpeg's formats of a video stream without a container."""
_RAW_VIDEO_FPS = 25.0
"""What ffmpeg assumes where a raw stream does not state a rate."""


@dataclass(frozen=True)
class VideoStream:
    """One video stream, geometry as displayed: after rotation and with square pixels.

    Attributes:
        index: the stream's number in the file.
        codec: ffmpeg's name of the codec.
        width_px, height_px: size of the decoded frames, as displayed.
        rotation_deg: clockwise rotation for display, 0, 90, 180 or 270; already applied to the displayed size.
        pixel_aspect: width over height of a stored pixel.
        fps: average frame rate, Hz; 0 where the header has none.
        pixel_format: ffmpeg's name of the pixel format.
        interlaced: whether frames consist of two fields.
        start_s: first presentation time, from the container's start.
        track: counted from 0 among the video streams.
        access: how a decoder finds the stream.
        has_implausible_aspect: the header states another pixel aspect, which cannot be true.
        reduction: pixels of the recording for one of a decoded frame, along a side; 1 up to `MAX_DECODED_PIXELS`.
        color_space: ffmpeg's name of the matrix between RGB and YUV; empty where the header does not state it.
        color_range: `pc` for codes from 0 to 255, else `tv`; empty where the header does not state it.
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
    track: int = 0
    access: StreamAccess = StreamAccess()
    has_implausible_aspect: bool = False
    reduction: float = 1.0
    color_space: str = ""
    color_range: str = ""


@dataclass(frozen=True)
class AudioStream:
    """One audio stream; attributes as for `VideoStream`."""

    index: int
    codec: str
    sample_rate_hz: int
    channels: int
    start_s: float
    track: int = 0
    access: StreamAccess = StreamAccess()


@dataclass(frozen=True)
class Probe:
    """The header facts of a recording.

    Attributes:
        container: ffprobe's format name.
        nominal_s: duration that the header states for the streams to decode, seconds; 0 where it states none.
        start_s: the container's first timestamp, seconds; presentation times are counted from it.
        video, audio: the streams to decode; None where there is none.
        audio_tracks: number of audio streams.
        creation_time: when the container says that the recording was made, ISO 8601, with an offset where it states
            one; empty where it does not say, or states the zero of its clock (1904 or 1970).
        video_tracks: number of video streams; cover images do not count.
        is_estimate: the format states no duration, and `nominal_s` promises nothing.
        notes: which tracks are decoded, where there was a choice.
        problems: what cannot be read, or not as the header says.
        flags: the same for the score table.
    """

    container: str
    nominal_s: float
    start_s: float
    video: VideoStream | None
    audio: AudioStream | None
    audio_tracks: int
    creation_time: str = ""
    video_tracks: int = 0
    is_estimate: bool = False
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    flags: tuple[Flag, ...] = ()


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
        decoding: which tracks, and how long ffprobe may take.

    Raises:
        RecordingError: the file cannot be read, is no recording, or has neither video nor audio that can be decoded.
    """
    check_file(path)
    deadline = time.monotonic() + decoding.probe_timeout_s
    headers = read_headers(path, decoding.probe_timeout_s)
    header = headers[-1]
    if header.container.endswith("_pipe") or header.container == "image2":
        raise RecordingError("image", "an image, not a recording", "name a video file")
    if _PLAYLISTS & set(header.container.split(",")):
        raise RecordingError("unreadable", "a list of other files, not a recording", "name the files that it lists")
    boxes = read_tracks(path) if "mp4" in header.container.split(",") else []
    encrypted = encrypted_streams(path, header, boxes)
    tracks = choose_tracks(header, encrypted, decoding.video_track, decoding.audio_track)
    start_s = number(header.content["format"].get("start_time"))
    chosen = [track.stream for track in (tracks.chosen_video, tracks.chosen_audio) if track]
    nominal_s, is_estimate = stated_duration(path, header, chosen, max(0.1, deadline - time.monotonic()))
    video = _video(tracks.chosen_video, headers, boxes, start_s) if tracks.chosen_video else None
    problems, flags = tracks.problems, [Flag.UNREADABLE_STREAM] if tracks.problems else []
    if video is not None and video.has_implausible_aspect:
        problems = (*problems, "the header states an impossible pixel aspect; pixels are taken as square")
        flags.append(Flag.PIXEL_ASPECT)
    if video is not None and header.container in _RAW_VIDEO:
        problems = (
            *problems,
            f"a raw {video.codec} stream holds no times: {video.fps or _RAW_VIDEO_FPS:.4g} frames per second are "
            "assumed; if the camera had another rate, make a file that states it: ffmpeg -r RATE -i IN -c copy OUT.mkv",
        )
    return Probe(
        container=header.container,
        nominal_s=nominal_s,
        start_s=start_s,
        video=video,
        audio=_audio(tracks.chosen_audio, headers, start_s) if tracks.chosen_audio else None,
        audio_tracks=len(tracks.audio),
        creation_time=_creation_time(header),
        video_tracks=len(tracks.video),
        is_estimate=is_estimate,
        notes=tracks.notes,
        problems=problems,
        flags=tuple(flags),
    )


def _creation_time(header: Header) -> str:
    """The first complete date and time in the tags of a container and its streams."""
    for entry in (header.content["format"], *header.streams):
        tags = {name.lower(): str(value).strip() for name, value in entry.get("tags", {}).items()}
        date, time_of_day = tags.get("date", ""), tags.get("creation_time", "")
        # Apple's tag states the local time's offset. Broadcast WAV has date and time in two tags.
        for text in (tags.get("com.apple.quicktime.creationdate", ""), time_of_day, date, f"{date}T{time_of_day}"):
            try:
                moment = datetime.fromisoformat(text)
            except ValueError:
                continue
            if len(text) > len("2026-01-31T") and moment.year > _CLOCK_ZERO_YEAR:
                return moment.isoformat()
    return ""


def _access(index: int, headers: Sequence[Header]) -> StreamAccess:
    """The least deep look at the file that shows a stream's parameters."""
    header = next(header for header in headers if has_parameters(header.stream(index)))
    known = [
        int(stream["index"])
        for stream in header.streams
        if stream.get("codec_type") in {"audio", "video"} and has_parameters(stream)
    ]
    return StreamAccess(header.options, tuple(known), header.end_s)


def _video(track: Track, headers: Sequence[Header], boxes: Sequence[TrackBox], container_start_s: float) -> VideoStream:
    stream = track.stream
    width, height = int(stream["width"]), int(stream["height"])
    if width * height > MAX_PIXELS:
        raise RecordingError(
            "too_large", f"its header says {width}x{height} pixels", "check the file; the header is probably damaged"
        )
    aspect, overflow = _aspect(stream), _overflowing_size(stream, boxes)
    implausible = overflow is not None or not 1 / _MAX_PIXEL_ASPECT <= aspect <= _MAX_PIXEL_ASPECT
    if implausible:
        aspect = Fraction(1)
    rotation = _rotation(stream)
    display_w = max(2, round(width * aspect))
    reduction = max(1.0, math.sqrt(display_w * height / MAX_DECODED_PIXELS))
    if reduction > 1:
        display_w, height = max(2, int(display_w / reduction)), max(2, int(height / reduction))
    size = (height, display_w) if rotation in (90, 270) else (display_w, height)
    return VideoStream(
        index=track.index,
        codec=codec_name(stream),
        width_px=size[0],
        height_px=size[1],
        rotation_deg=rotation,
        pixel_aspect=float(aspect),
        fps=float(_ratio(stream.get("avg_frame_rate", "")) or _ratio(stream.get("r_frame_rate", "")) or 0),
        pixel_format=str(stream.get("pix_fmt", "")),
        interlaced=stream.get("field_order", "progressive") in {"tt", "bb", "tb", "bt"},
        start_s=number(stream.get("start_time"), container_start_s) - container_start_s,
        track=track.number,
        access=dataclasses.replace(_access(track.index, headers), blank_bytes=overflow),
        has_implausible_aspect=implausible,
        reduction=reduction,
        color_space=str(stream.get("color_space", "")),
        color_range=str(stream.get("color_range", "")),
    )


def _audio(track: Track, headers: Sequence[Header], container_start_s: float) -> AudioStream:
    stream = track.stream
    return AudioStream(
        index=track.index,
        codec=codec_name(stream),
        sample_rate_hz=int(number(stream["sample_rate"])),
        channels=int(stream["channels"]),
        start_s=number(stream.get("start_time"), container_start_s) - container_start_s,
        track=track.number,
        access=_access(track.index, headers),
    )


def _aspect(stream: Stream) -> Fraction:
    """Width over height of a stored pixel; 1 where the header states none."""
    return _ratio(stream.get("sample_aspect_ratio", "1:1").replace(":", "/")) or Fraction(1)


def _overflowing_size(stream: Stream, boxes: Sequence[TrackBox]) -> tuple[int, int] | None:
    """Start and end of a display size in the header that ffmpeg reads as negative, and then decodes nothing."""
    for track in boxes:
        if track.identifier == identifier(stream) and max(track.display_size) >= 1 << 31:
            return track.display_size_at, track.display_size_at + 8
    return None


def _rotation(stream: Stream) -> int:
    """Clockwise rotation for display, to the nearest quarter turn; ffprobe's matrix rotation is anticlockwise."""
    for side in stream.get("side_data_list", []):
        if "rotation" in side:
            return round(-number(side["rotation"]) / 90) * 90 % 360
    return round(number(stream.get("tags", {}).get("rotate")) / 90) * 90 % 360


def _ratio(text: str) -> Fraction | None:
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError):
        return None
    return value if value > 0 else None
