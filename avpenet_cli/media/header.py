"""Run ffprobe, reading as far into a file as it takes to learn the parameters of every stream."""

from __future__ import annotations

import csv
import functools
import json
import math
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avpenet_cli.errors import RecordingError
from avpenet_cli.media.child import run_captured
from avpenet_cli.media.confinement import passed_bound
from avpenet_cli.media.tools import SAFE_INPUT, tool

Stream = Mapping[str, Any]
"""One stream as ffprobe describes it."""

DEPTHS_BYTES = (0, 64 << 20, 1 << 30)
"""How far ffprobe looks into a file for its streams' parameters, one step after the other; 0 stands for ffmpeg's
default, 5 MB or some seconds. A decoder keeps as much in memory as it has looked through."""

_ANY_DURATION_US = 1 << 53
_CPU_S = 3600.0
"""Processor time of one ffprobe; its timeout mostly ends it earlier."""
_MERGING = ("-merge_pmt_versions", "1")
"""Follow a stream to another packet identifier when the program's map of a transport stream changes."""
_STREAMS_APPEAR_LATER = {"mpeg", "mpegts", "flv", "live_flv", "wtv", "ty", "nsv"}
"""Formats without a list of their streams at the start: one that is silent at first is announced later or never."""

_NO_MESSAGE = re.compile(
    r"Last message repeated \d+ times|Conversion failed!|Consider increasing the value .*|\[null @ .*"
)
"""Lines of ffmpeg that say nothing of a recording; the last kind is about its output that nobody reads."""


@dataclass(frozen=True)
class Header:
    """What ffprobe says about a file.

    Attributes:
        content: ffprobe's `format`, `streams` and `programs`.
        options: input options with which ffmpeg sees the same.
        messages: what it complained about.
    """

    content: Mapping[str, Any]
    options: tuple[str, ...] = ()
    messages: str = ""

    @property
    def end_s(self) -> float | None:
        """Where decoding must end, seconds from the container's start; None for the end of the file.

        Of a stream that moved, the last packet from the former place comes after all others, and ffmpeg gives it a time
        beyond the end.
        """
        duration_s = number(self.content.get("format", {}).get("duration"))
        return duration_s if _MERGING[0] in self.options and duration_s > 0 else None

    @property
    def container(self) -> str:
        """ffprobe's name of the format, several names with commas between them for some."""
        return str(self.content.get("format", {}).get("format_name", ""))

    @property
    def streams(self) -> Sequence[Stream]:
        """All streams, in the order of their numbers."""
        streams: Sequence[Stream] = self.content.get("streams", [])
        return streams

    def stream(self, index: int) -> Stream:
        """The stream of that number; empty where ffprobe has not seen it."""
        return next((stream for stream in self.streams if stream["index"] == index), {})


def read_headers(path: Path, timeout_s: float) -> list[Header]:
    """What ffprobe says about a file at each depth that was needed; the last one knows most.

    Args:
        path: the recording.
        timeout_s: for all attempts together; the first must succeed within it.

    Raises:
        RecordingError: `unreadable`, `probe_timeout`.
    """
    deadline = time.monotonic() + timeout_s
    size_bytes = path.stat().st_size
    headers: list[Header] = []
    merging: tuple[str, ...] = ()
    for depth_bytes in DEPTHS_BYTES:
        try:
            header = _read(path, depth_bytes, merging, deadline)
            if not merging and _may_have_moved(header):
                merged = _read(path, depth_bytes, _MERGING, deadline)
                if len(merged.streams) < len(header.streams):
                    merging, header = _MERGING, merged
        except subprocess.TimeoutExpired:
            if not headers:
                raise RecordingError(
                    "probe_timeout", f"its header could not be read in {timeout_s:g} s", "check the file"
                ) from None
            break
        except RecordingError:
            if not headers:
                raise
            break  # what is known stays known
        headers.append(header)
        if _is_complete(header, has_parameters if depth_bytes else _is_seen) or depth_bytes > size_bytes:
            break
    return headers


def _read(path: Path, depth_bytes: int, merging: tuple[str, ...], deadline: float) -> Header:
    wanted = ["-show_format", "-show_streams", "-show_programs", "-of", "json"]
    options = (*merging, *_depth_options(depth_bytes))
    # Without the buffer ffprobe forgets what it has looked through instead of keeping it for a decoder.
    unbuffered = ["-fflags", "nobuffer"] if depth_bytes else []
    completed = _ffprobe(path, [*options, *unbuffered, *wanted], max(0.1, deadline - time.monotonic()))
    messages = completed.stderr.decode("utf-8", "replace")
    try:
        content = json.loads(completed.stdout or b"{}")
    except json.JSONDecodeError:
        content = {}
    if completed.returncode != 0 or not content.get("streams"):
        if "moov atom not found" in messages:
            raise RecordingError(
                "unreadable",
                "the index at its end is missing: the recording was interrupted or the copy was cut off",
                "copy it again from its source",
            )
        if bound := passed_bound(completed.returncode, messages, _CPU_S):
            raise RecordingError("unreadable", f"reading its header {bound}", "check the file")
        raise RecordingError(
            "unreadable",
            f"not a recording that ffmpeg can read ({last_line(messages) or 'no streams'})",
            "check the file",
        )
    return Header(content, options, messages)


def _may_have_moved(header: Header) -> bool:
    """Whether a transport stream has several streams of a kind: one that moved to another place looks like two."""
    kinds = [stream.get("codec_type") for stream in header.streams]
    return header.container == "mpegts" and max(kinds.count("video"), kinds.count("audio")) > 1


def _ffprobe(path: Path, options: Sequence[str], timeout_s: float) -> subprocess.CompletedProcess[bytes]:
    return run_captured([tool("ffprobe"), "-v", "error", *SAFE_INPUT, *options], path, _CPU_S, timeout_s)


def _depth_options(depth_bytes: int) -> tuple[str, ...]:
    """Input options that make ffmpeg look `depth_bytes` into a file; none for 0."""
    return ("-probesize", str(depth_bytes), "-analyzeduration", str(_ANY_DURATION_US)) if depth_bytes else ()


def packet_times(path: Path, timeout_s: float) -> dict[int, tuple[float, float]]:
    """(latest start, latest end) of each stream's packets, seconds on the container's own clock, by stream number.

    Reads the whole file without decoding it; empty where that takes longer than `timeout_s`.
    """
    options = ["-show_entries", "packet=stream_index,pts_time,duration_time", "-of", "csv=p=0"]
    try:
        completed = _ffprobe(path, options, timeout_s)
    except subprocess.TimeoutExpired:
        return {}
    times: dict[int, tuple[float, float]] = {}
    for row in csv.reader(completed.stdout.decode("ascii", "replace").splitlines()):
        if len(row) < 3 or not row[0].isdigit() or math.isnan(start_s := number(row[1], math.nan)):
            continue
        index, end_s = int(row[0]), start_s + number(row[2])
        latest_start_s, latest_end_s = times.get(index, (start_s, end_s))
        times[index] = max(start_s, latest_start_s), max(end_s, latest_end_s)
    return times


def has_parameters(stream: Stream) -> bool:
    """Whether the rate and channels of an audio stream, or the size of a video stream, are known."""
    if stream.get("codec_type") == "audio":
        return number(stream.get("sample_rate")) > 0 and number(stream.get("channels")) > 0
    return number(stream.get("width")) > 0 and number(stream.get("height")) > 0


def _is_seen(stream: Stream) -> bool:
    """Whether ffprobe has looked at the stream's data, which alone shows the format of its pixels."""
    is_video = stream.get("codec_type") == "video"
    return has_parameters(stream) and not (is_video and stream.get("pix_fmt", "unknown") == "unknown")


def codec_name(stream: Stream) -> str:
    """ffmpeg's name of the codec; of an unknown one, the container's, in capitals where it is four letters."""
    name = str(stream.get("codec_name", "unknown"))
    if name not in {"unknown", "none"}:
        return name
    tag = str(stream.get("codec_tag_string", ""))
    return tag if tag.strip("[]0 ") else "unknown"


def is_decodable(stream: Stream) -> bool:
    """Whether this ffmpeg has a decoder for the stream's codec."""
    return stream.get("codec_name") in _decodable_codecs()


@functools.cache
def _decodable_codecs() -> frozenset[str]:
    listed = subprocess.run([tool("ffmpeg"), "-v", "error", "-codecs"], capture_output=True, text=True, check=False)
    return frozenset(re.findall(r"^ D\S+ +(\S+)", listed.stdout, re.MULTILINE))


def is_cover(stream: Stream) -> bool:
    """Cover images are video streams; some files mark them, others only hold a single frame in a still-image codec."""
    disposition = stream.get("disposition", {})
    single_image = stream.get("codec_name") in STILL_IMAGE_CODECS - {"mjpeg"} and stream.get("nb_frames") == "1"
    return bool(disposition.get("attached_pic")) or bool(disposition.get("timed_thumbnails")) or single_image


STILL_IMAGE_CODECS = frozenset({"mjpeg", "png", "bmp", "gif", "webp"})
"""Codecs of cover images; some recordings use them too, mostly mjpeg."""


def is_text(stream: Stream) -> bool:
    """ffmpeg renders text files of certain suffixes (.txt, .nfo, .bin) as video."""
    return stream.get("codec_name") in {"ansi", "bintext", "xbin", "idf"}


def _is_complete(header: Header, is_known: Callable[[Stream], bool]) -> bool:
    """Whether looking further cannot tell more: all streams known, and of both kinds where they may come late."""
    media = [
        stream
        for stream in header.streams
        if stream.get("codec_type") in {"audio", "video"} and not is_cover(stream) and not is_text(stream)
    ]
    if any(not is_known(stream) and is_decodable(stream) for stream in media):
        return False
    kinds = {stream["codec_type"] for stream in media}
    return kinds == {"audio", "video"} or header.container not in _STREAMS_APPEAR_LATER


def number(value: object, default: float = 0.0) -> float:
    """A number of ffprobe's, which it writes as text; `default` where there is none."""
    try:
        return float(str(value))
    except ValueError:
        return default


def last_line(messages: str) -> str:
    """Last of ffmpeg's messages, without the descriptor path of the file and the addresses of ffmpeg's objects."""
    lines = [line.strip() for line in messages.splitlines()]
    telling = [line for line in lines if line and not _NO_MESSAGE.fullmatch(line)]
    if not telling:
        return ""
    return re.sub(r"/dev/fd/\d+(: )?|(?<=\w) @ 0x[0-9a-f]+", "", telling[-1])
