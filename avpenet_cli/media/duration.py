"""How long a recording is by its header, as far as the streams that are scored are concerned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from avpenet_cli.media.header import Header, Stream, number, packet_times
from avpenet_cli.media.wave_header import stated_wave_duration
from avpenet_cli.media.wholeness import is_whole

_AGREEMENT_S = 0.15
"""Durations that differ by no more than this, about a step of the frame grid, agree."""
_NEAR_S = 1.0
"""A stream whose last packet ends this close to the stated end reaches it; a clock that starts this close to zero
started with the recording."""

_NO_STATED_DURATION = {
    "aac", "ac3", "amr", "amrnb", "amrwb", "dts", "dtshd", "eac3", "h261", "h263", "h264", "hevc", "loas", "m4v",
    "mjpeg", "mpeg", "mpegts", "mpegvideo", "ogg", "truehd", "vc1",
}  # fmt: skip
"""Formats that state no duration: ffmpeg works it out from the file's last time stamp or its bit rate."""

_WAVE = {"wav", "w64"}
"""Formats of which ffmpeg states the duration of what is there."""


def stated_duration(path: Path, header: Header, chosen: Sequence[Stream], timeout_s: float) -> tuple[float, bool]:
    """Seconds from the container's start to the end that the header states for the streams that are scored.

    The container's own duration counts where those streams agree with it. It may be that of another stream, such as
    text, or be counted from the zero of a clock that was running long before.

    Args:
        path: the recording; its packets are read to the end where its header contradicts itself.
        header: what ffprobe says.
        chosen: the streams that are scored.
        timeout_s: for reading the packets.

    Returns:
        The seconds, 0 where none are stated; and whether they are an estimate, which promises nothing.
    """
    form = header.content.get("format", {})
    start_s, stated_s = number(form.get("start_time")), max(number(form.get("duration")), 0.0)
    if header.container in _WAVE:
        return max(stated_s, stated_wave_duration(path)), False
    ends = [end_s for stream in chosen if (end_s := _stated_end(stream, start_s)) is not None]
    end_s = max(ends) - start_s if len(ends) == len(chosen) else None
    is_estimate = header.container in _NO_STATED_DURATION
    has_old_clock = _is_fragmented(header, chosen) and start_s > _NEAR_S
    is_of_others = end_s is None and stated_s > 0 and len(chosen) < len(_timed(header))
    if not is_estimate and (has_old_clock or is_of_others):
        return _packets_duration(path, header, chosen, timeout_s) or stated_s, False
    if end_s is None or abs(end_s - stated_s) <= _AGREEMENT_S:
        return stated_s, is_estimate
    return end_s, is_estimate


def _stated_end(stream: Stream, container_start_s: float) -> float | None:
    """When the header says that a stream ends, on the container's clock; None where it does not say."""
    start_s, duration_s = number(stream.get("start_time"), container_start_s), number(stream.get("duration"))
    if duration_s > 0:
        return start_s + duration_s
    # Matroska's tag is the time at which the last packet ends.
    for name, value in stream.get("tags", {}).items():
        if name.upper().partition("-")[0] == "DURATION":
            hours, _, rest = str(value).partition(":")
            minutes, _, seconds = rest.partition(":")
            end_s = 3600 * number(hours) + 60 * number(minutes) + number(seconds)
            return end_s if end_s > 0 else None
    return None


def _is_fragmented(header: Header, chosen: Sequence[Stream]) -> bool:
    """Whether this is an ISO base media file without an index of all its frames."""
    return "mp4" in header.container.split(",") and any("nb_frames" not in stream for stream in chosen)


def _timed(header: Header) -> list[Stream]:
    return [
        stream
        for stream in header.streams
        if stream.get("codec_type") != "attachment" and not stream.get("disposition", {}).get("attached_pic")
    ]


def _packets_duration(path: Path, header: Header, chosen: Sequence[Stream], timeout_s: float) -> float:
    """Seconds to the end of the last packet of the streams that are scored; 0 where the file may have been cut."""
    form = header.content.get("format", {})
    packets = packet_times(path, timeout_s)
    reached_s = [packets[stream["index"]][1] for stream in chosen if stream["index"] in packets]
    if not reached_s:
        return 0.0
    # A file that was cut has no packet near the end that its header states. In a whole one, some stream has.
    last_s = max(start_s for start_s, _ in packets.values())
    if last_s < number(form.get("duration")) - _NEAR_S and not is_whole(path, header.container):
        return 0.0
    return max(reached_s) - number(form.get("start_time"))
