"""Which of several tracks is scored, and what is said of those that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from avpenet_cli.errors import RecordingError
from avpenet_cli.media.probe import Probe, probe
from avpenet_cli.records import Flag
from avpenet_cli.settings import DecodingSettings
from tests.conftest import ClipMaker

VIDEO = ["-f", "lavfi", "-i", "color=s=64x48:r=10:d=1"]
WIDE = ["-f", "lavfi", "-i", "color=s=96x48:r=10:d=1"]
LOW = ["-f", "lavfi", "-i", "sine=d=1:sample_rate=16000"]
HIGH = ["-f", "lavfi", "-i", "sine=d=1:sample_rate=48000"]
ALL = ["-pix_fmt", "yuv420p", "-map", "0", "-map", "1", "-map", "2"]
APAC = ((b"mp4a", b"apac"), (b"esds", b"free"))
"""What turns the first AAC track into one in a codec that ffmpeg does not know."""
KEY = ["-encryption_key", "76a6c65c5ea762046bd749a2e632ccbb", "-encryption_kid", "a7e61c373e219033c21091fa607bf3b8"]


def facts_of(path: Path, video_track: int | None = None, audio_track: int | None = None) -> Probe:
    return probe(path, DecodingSettings(video_track=video_track, audio_track=audio_track))


def refusal(path: Path, video_track: int | None = None, audio_track: int | None = None) -> RecordingError:
    with pytest.raises(RecordingError) as refused:
        facts_of(path, video_track, audio_track)
    assert refused.value.remedy
    return refused.value


def with_codec(path: Path, copy: Path, *changes: tuple[bytes, bytes]) -> Path:
    """A copy of an MP4 file in which the first box of each code in the sample descriptions has another code."""
    content = path.read_bytes()
    for old, new in changes:
        at = content.index(old, content.index(b"stsd"))
        content = content[:at] + new + content[at + 4 :]
    copy.write_bytes(content)
    return copy


@pytest.mark.parametrize(("default", "chosen", "why"), [(1, 1, "marked default"), (0, 0, "marked default")])
def test_default_video_track_is_scored(clips: ClipMaker, default: int, chosen: int, why: str) -> None:
    marks = [word for n in (0, 1) for word in (f"-disposition:v:{n}", "default" if n == default else "0")]
    facts = facts_of(clips.ffmpeg(*VIDEO, *WIDE, *LOW, *ALL, *marks, suffix=".mkv"))
    assert facts.video is not None
    assert (facts.video.track, facts.video.width_px, facts.video_tracks) == (chosen, [64, 96][chosen], 2)
    assert facts.notes == (f"2 video tracks; track {chosen} is scored ({why})",)


def test_first_track_is_scored_where_none_or_all_are_default(clips: ClipMaker) -> None:
    for mark in ("0", "default"):
        marks = ["-disposition:v:0", mark, "-disposition:v:1", mark]
        facts = facts_of(clips.ffmpeg(*VIDEO, *WIDE, *LOW, *ALL, *marks, suffix=".mkv"))
        assert facts.video is not None
        assert facts.video.track == 0
        assert facts.notes == ("2 video tracks; track 0 is scored (the first)",)


def test_tracks_can_be_set(clips: ClipMaker) -> None:
    path = clips.ffmpeg(*VIDEO, *WIDE, *LOW, *ALL, suffix=".mkv")
    facts = facts_of(path, video_track=1)
    assert facts.video is not None
    assert facts.video.width_px == 96
    assert facts.notes == ("2 video tracks; track 1 is scored (as set)",)
    assert refusal(path, video_track=2).code == "no_such_track"
    assert refusal(path, audio_track=1).code == "no_such_track"


def test_recording_with_one_track_of_each_kind_has_no_note(clips: ClipMaker) -> None:
    facts = facts_of(clips.ffmpeg(*VIDEO, *LOW, "-pix_fmt", "yuv420p"), video_track=0, audio_track=0)
    assert (facts.notes, facts.problems, facts.flags) == ((), (), ())


def test_track_in_an_unknown_codec_is_named_and_the_next_is_scored(clips: ClipMaker, tmp_path: Path) -> None:
    two = clips.ffmpeg(*VIDEO, *LOW, *HIGH, *ALL, suffix=".mov")
    path = with_codec(two, tmp_path / "spatial.mov", *APAC)
    facts = facts_of(path)
    assert facts.audio is not None
    assert (facts.audio.track, facts.audio.codec, facts.audio.sample_rate_hz) == (1, "aac", 48_000)
    assert facts.notes == (
        "2 audio tracks; track 1 is scored (the first that can be read)",
        "audio track 0 is in a codec that this ffmpeg does not decode (apac)",
    )
    assert (facts.problems, facts.flags) == ((), ())
    asked = refusal(path, audio_track=0)
    assert asked.code == "unknown_codec"
    assert "set audio_track to 1" in asked.remedy


def test_only_audio_track_in_an_unknown_codec_is_a_problem(clips: ClipMaker, tmp_path: Path) -> None:
    path = with_codec(clips.ffmpeg(*VIDEO, *LOW, suffix=".mov"), tmp_path / "spatial.mov", *APAC)
    facts = facts_of(path)
    assert facts.audio is None
    assert facts.video is not None
    assert facts.problems == ("audio track 0 is in a codec that this ffmpeg does not decode (apac)",)
    assert facts.flags == (Flag.UNREADABLE_STREAM,)


def test_recording_in_unknown_codecs_alone_is_refused(clips: ClipMaker, tmp_path: Path) -> None:
    plain = clips.ffmpeg(*VIDEO, *LOW, "-pix_fmt", "yuv420p")
    refused = refusal(with_codec(plain, tmp_path / "odd.mp4", (b"avc1", b"qqqq"), (b"avcC", b"free"), *APAC))
    assert refused.code == "unknown_codec"
    assert "(qqqq)" in refused.message
    assert "(apac)" in refused.message


def test_encrypted_recording_is_refused_as_encrypted(clips: ClipMaker) -> None:
    encrypted = ["-encryption_scheme", "cenc-aes-ctr", *KEY]
    refused = refusal(clips.ffmpeg(*VIDEO, *LOW, "-pix_fmt", "yuv420p", *encrypted))
    assert refused.code == "encrypted"
    assert refused.message == "video track 0 is encrypted; audio track 0 is encrypted"
    assert refused.remedy == "ask the source for an unencrypted export"


def test_encrypted_track_beside_a_clear_one_is_a_problem(clips: ClipMaker, tmp_path: Path) -> None:
    path = with_codec(clips.ffmpeg(*VIDEO, *LOW, "-pix_fmt", "yuv420p"), tmp_path / "half.mp4", (b"mp4a", b"enca"))
    facts = facts_of(path)
    assert facts.audio is None
    assert facts.problems == ("audio track 0 is encrypted",)


def test_scrambled_transport_stream_is_refused_as_encrypted(clips: ClipMaker, tmp_path: Path) -> None:
    content = bytearray(clips.ffmpeg(*VIDEO, *LOW, "-c:v", "mpeg2video", "-r", "25", suffix=".ts").read_bytes())
    for at in range(0, len(content), 188):
        if (content[at + 1] & 0x1F) << 8 | content[at + 2] in (0x100, 0x101):
            content[at + 3] |= 0x80
            content[at + 12 : at + 188] = bytes(byte ^ 0x5A for byte in content[at + 12 : at + 188])
    path = tmp_path / "scrambled.ts"
    path.write_bytes(content)
    assert refusal(path).code == "encrypted"


def test_audio_comes_from_the_program_of_the_video(clips: ClipMaker) -> None:
    programs = ["-program", "program_num=1:st=0", "-program", "program_num=2:st=1:st=2"]
    path = clips.ffmpeg(
        *LOW, *WIDE, *HIGH, *ALL, *programs, "-c:v", "mpeg2video", "-r", "25", "-c:a", "mp2", suffix=".ts"
    )
    facts = facts_of(path)
    assert facts.audio is not None
    assert facts.audio.sample_rate_hz == 48_000
    assert facts.notes == ("2 audio tracks; track 1 is scored (of program 2)",)
