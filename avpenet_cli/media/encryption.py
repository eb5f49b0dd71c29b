"""Find streams that are encrypted: ffmpeg decodes them to noise or not at all, and does not say why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from avpenet_cli.media.boxes import TrackBox
from avpenet_cli.media.header import Header, Stream

_ENCRYPTED_ENTRIES = {b"encv", b"enca", b"drmi", b"drms"}
"""Sample entries of Common Encryption (ISO/IEC 23001-7), and Apple's older ones."""
_SAMPLE_AES_TYPES = {"0x00c1", "0x00c2", "0x00cf", "0x00db"}
"""Stream types of HTTP Live Streaming's SAMPLE-AES in a transport stream."""
_TS_SYNC = 0x47
_TS_LOOK_BYTES = 4 << 20


def encrypted_streams(path: Path, header: Header, boxes: Sequence[TrackBox]) -> frozenset[int]:
    """Numbers of the audio and video streams that are encrypted, as far as the container says so.

    Args:
        path: the recording.
        header: what ffprobe says.
        boxes: the tracks of an ISO base media file; none of another container.
    """
    marked = {track.identifier for track in boxes if track.entries & _ENCRYPTED_ENTRIES}
    if header.container == "mpegts":
        marked = _scrambled_pids(path)
    protected = "DRM protected" in header.messages  # Advanced Systems Format
    return frozenset(
        int(stream["index"])
        for stream in header.streams
        if stream.get("codec_type") in {"audio", "video"}
        and (protected or identifier(stream) in marked or _is_marked(stream))
    )


def _is_marked(stream: Stream) -> bool:
    """Whether ffprobe itself shows the mark: SAMPLE-AES's stream types, WebM's key."""
    return stream.get("codec_tag") in _SAMPLE_AES_TYPES or "enc_key_id" in stream.get("tags", {})


def identifier(stream: Stream) -> int:
    """The container's own number of a stream, track or packet identifier; -1 where it has none."""
    try:
        return int(str(stream.get("id", "")), 16)
    except ValueError:
        return -1


def _scrambled_pids(path: Path) -> set[int]:
    """Packet identifiers of a transport stream most of whose packets are marked as scrambled."""
    with path.open("rb") as file:
        data = file.read(_TS_LOOK_BYTES)
    clear: Counter[int] = Counter()
    scrambled: Counter[int] = Counter()
    for packet_bytes, offset in ((188, 0), (192, 4)):  # 192: a time stamp of four bytes before each packet
        starts = range(offset, len(data) - 3, packet_bytes)
        if all(data[at] == _TS_SYNC for at in starts[:20]):
            for at in starts:
                pid = (data[at + 1] & 0x1F) << 8 | data[at + 2]
                (scrambled if data[at + 3] & 0xC0 else clear)[pid] += 1
            break
    return {pid for pid, count in scrambled.items() if count > clear[pid]}
