"""Choose the video and the audio track to score, and say why the others were not."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Literal

from avpenet_cli.errors import RecordingError
from avpenet_cli.media.header import (
    STILL_IMAGE_CODECS,
    Header,
    Stream,
    codec_name,
    has_parameters,
    is_cover,
    is_decodable,
    is_text,
)
from avpenet_cli.phrasing import plural

Kind = Literal["video", "audio"]
Problem = Literal["", "encrypted", "unknown_codec", "unreadable_stream"]

_MIN_SIDE_PX = 2


@dataclass(frozen=True)
class Track:
    """One audio or video stream of a recording.

    Attributes:
        kind: video or audio.
        number: counted from 0 among the streams of its kind.
        stream: as ffprobe describes it.
        problem: why it cannot be scored, a code; empty if it can.
        programs: of a transport stream, those that it belongs to.
    """

    kind: Kind
    number: int
    stream: Stream
    problem: Problem
    programs: frozenset[int]

    @property
    def index(self) -> int:
        """The stream's number in the file."""
        return int(self.stream["index"])

    @property
    def is_default(self) -> bool:
        """Whether the container marks it as the one to play."""
        return bool(self.stream.get("disposition", {}).get("default"))

    @property
    def is_still_image(self) -> bool:
        """Whether it may be a cover image that is not marked as one."""
        return self.stream.get("codec_name") in STILL_IMAGE_CODECS

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.kind} track {self.number}"

    @property
    def description(self) -> str:
        """What is wrong with it, in a sentence."""
        codec = codec_name(self.stream)
        return {
            "": f"{self.name} can be read",
            "encrypted": f"{self.name} is encrypted",
            "unknown_codec": f"{self.name} is in a codec that this ffmpeg does not decode ({codec})",
            "unreadable_stream": f"{self.name} ({codec}) is announced, but holds nothing that can be read",
        }[self.problem]


@dataclass(frozen=True)
class Tracks:
    """The tracks of a recording and the choice among them.

    Attributes:
        video, audio: every track of that kind, in the file's order; cover images are none.
        chosen_video, chosen_audio: the one to score; None where no track of that kind can be scored.
        notes: what was chosen, a clause for each kind with several tracks.
        problems: a clause for each track that cannot be read, of a kind of which nothing can be read.
    """

    video: Sequence[Track]
    audio: Sequence[Track]
    chosen_video: Track | None
    chosen_audio: Track | None
    notes: tuple[str, ...]
    problems: tuple[str, ...]


def choose_tracks(header: Header, encrypted: Set[int], video: int | None, audio: int | None) -> Tracks:
    """Choose one track of each kind: the one asked for, else the one marked default, else the first that can be read.

    Args:
        header: of the recording.
        encrypted: numbers of the streams that are.
        video, audio: the tracks asked for, counted from 0 among those of their kind; None for no wish.

    Raises:
        RecordingError: `no_streams`, `no_such_track`; `encrypted`, `unknown_codec`, `unreadable_stream` where nothing
            else is left, or for the very track that was asked for.
    """
    videos, audios = _tracks("video", header, encrypted), _tracks("audio", header, encrypted)
    if not videos and not audios:
        raise RecordingError("no_streams", "neither video nor audio in it", "check the file")
    chosen_video = _asked_for(videos, video) or _preferred(videos, frozenset())
    programs = chosen_video.programs if chosen_video else frozenset()
    chosen_audio = _asked_for(audios, audio) or _preferred(audios, programs)
    if chosen_video is None and chosen_audio is None:
        raise _refusal([*videos, *audios])
    notes, problems = [], []
    for tracks, chosen, wish in ((videos, chosen_video, video), (audios, chosen_audio, audio)):
        unreadable = [track.description for track in tracks if track.problem]
        if chosen is None:
            problems += unreadable
        elif len(tracks) > 1:
            notes += [_choice(tracks, chosen, wish), *unreadable]
    return Tracks(videos, audios, chosen_video, chosen_audio, tuple(notes), tuple(problems))


def _tracks(kind: Kind, header: Header, encrypted: Set[int]) -> list[Track]:
    streams = [
        stream
        for stream in header.streams
        if stream.get("codec_type") == kind and not is_cover(stream) and not is_text(stream)
    ]
    return [
        Track(kind, number, stream, _problem(stream, encrypted), _programs(stream, header))
        for number, stream in enumerate(streams)
    ]


def _problem(stream: Stream, encrypted: Set[int]) -> Problem:
    if stream["index"] in encrypted:
        return "encrypted"
    if not is_decodable(stream):
        return "unknown_codec"
    size_px = min(int(stream.get("width") or 0), int(stream.get("height") or 0))
    if not has_parameters(stream) or (stream["codec_type"] == "video" and size_px < _MIN_SIDE_PX):
        return "unreadable_stream"
    return ""


def _programs(stream: Stream, header: Header) -> frozenset[int]:
    return frozenset(
        int(program["program_id"])
        for program in header.content.get("programs", [])
        if any(member.get("index") == stream["index"] for member in program.get("streams", []))
    )


def _asked_for(tracks: Sequence[Track], wish: int | None) -> Track | None:
    if wish is None or not tracks:
        return None
    kind = tracks[0].kind
    if wish >= len(tracks):
        raise RecordingError(
            "no_such_track",
            f"{kind} track {wish} was requested, counting from 0; the recording has {len(tracks)}",
            f"set {kind}_track to one of them, or leave it out",
        )
    track = tracks[wish]
    if track.problem:
        others = [str(other.number) for other in tracks if not other.problem]
        advice = f"set {kind}_track to {' or '.join(others)}, or leave it out" if others else "leave the setting out"
        raise _refusal([track], advice)
    return track


def _preferred(tracks: Sequence[Track], programs: frozenset[int]) -> Track | None:
    readable = [track for track in tracks if not track.problem]
    # Audio of another program of a transport stream belongs to another scene.
    together = [track for track in readable if track.programs & programs] or readable
    return min(together, key=lambda track: (track.is_still_image, not track.is_default, track.number), default=None)


def _refusal(tracks: Sequence[Track], advice: str = "") -> RecordingError:
    """The error for tracks that cannot be read; the most telling problem comes first."""
    said = "; ".join(track.description for track in tracks)
    problems = {track.problem for track in tracks}
    if "encrypted" in problems:
        return RecordingError("encrypted", said, advice or "ask the source for an unencrypted export")
    if "unknown_codec" in problems:
        return RecordingError(
            "unknown_codec", said, advice or "export the recording in H.264 and AAC, or upgrade ffmpeg"
        )
    return RecordingError("unreadable_stream", said, advice or "copy it again from its source")


def _choice(tracks: Sequence[Track], chosen: Track, wish: int | None) -> str:
    """Which of several tracks was chosen, and why."""
    if wish is not None:
        why = "as set"
    elif chosen.is_default and not all(track.is_default for track in tracks):
        why = "marked default"
    elif any(track.programs != chosen.programs for track in tracks):
        why = f"of program {min(chosen.programs, default=0)}"
    elif chosen.number > 0:
        why = "the first that can be read"
    else:
        why = "the first"
    return f"{plural(len(tracks), f'{chosen.kind} track')}; track {chosen.number} is scored ({why})"
