"""Streams that begin after the others: found, and decoded from where they start."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avpenet_cli.media.audio import WaveformStream
from avpenet_cli.media.frame_image import whole
from avpenet_cli.media.header import DEPTHS_BYTES
from avpenet_cli.media.probe import probe
from avpenet_cli.media.tools import passthrough_option
from avpenet_cli.records import Flag
from avpenet_cli.settings import DecodingSettings
from tests.conftest import ClipMaker
from tests.support.numbered_clips import number_on, numbered, read

DECODING = DecodingSettings()
CODECS = ["-c:v", "mpeg2video", "-b:v", "200k", "-c:a", "mp2", "-pix_fmt", "yuv420p", *passthrough_option()]


def tone(seconds: float) -> list[str]:
    return ["-f", "lavfi", "-i", f"sine=d={seconds}:sample_rate=44100"]


@pytest.mark.parametrize(("suffix", "late_s"), [(".ts", 8), (".mts", 25), (".mpg", 8), (".mpg", 60)])
def test_late_audio_is_found_and_placed(clips: ClipMaker, suffix: str, late_s: int) -> None:
    still = ["-f", "lavfi", "-i", f"color=s=64x48:r=25:d={late_s + 2}"]
    path = clips.ffmpeg(*still, "-itsoffset", str(late_s), *tone(2), *CODECS, suffix=suffix)
    facts = probe(path, DECODING)
    assert facts.audio is not None
    assert (facts.audio.sample_rate_hz, facts.audio_tracks, facts.problems) == (44_100, 1, ())
    stream = WaveformStream(path, facts, DECODING)
    samples = np.concatenate(list(stream))
    assert (stream.decode_error, stream.decoder_warning) == ("", "")
    assert stream.present[0][0] == pytest.approx(late_s, abs=0.06)
    assert stream.end_s == pytest.approx(late_s + 2, abs=0.1)
    assert not samples[: round((late_s - 0.1) * stream.rate_hz)].any()
    assert samples[round((late_s + 0.1) * stream.rate_hz) :].any()


@pytest.mark.parametrize(("suffix", "late_s"), [(".ts", 9), (".mts", 20), (".mpg", 9)])
def test_late_video_is_found_and_placed(clips: ClipMaker, suffix: str, late_s: int) -> None:
    late = ["-itsoffset", str(late_s), *numbered("25", 2)]
    path = clips.ffmpeg(*tone(late_s + 2), *late, "-map", "0", "-map", "1", *CODECS, suffix=suffix)
    facts, stream, frames = read(path)
    assert facts.problems == ()
    assert (stream.decode_error, stream.decoder_warning) == ("", "")
    assert frames[0].slot == pytest.approx(late_s * 10, abs=1)
    assert stream.slots_end == pytest.approx(late_s * 10 + 20, abs=1)
    numbers = {frame.slot: number_on(whole(frame.image)) for frame in frames}
    assert numbers[late_s * 10 + 10] == pytest.approx(26, abs=2)


def test_complete_header_is_read_once(clips: ClipMaker) -> None:
    still = ["-f", "lavfi", "-i", "color=s=64x48:r=25:d=2"]
    for suffix in (".ts", ".mp4"):
        facts = probe(clips.ffmpeg(*still, *tone(2), *CODECS, suffix=suffix), DECODING)
        assert facts.video is not None
        assert facts.audio is not None
        assert facts.video.access.options == facts.audio.access.options == ()
    late = clips.ffmpeg(*still[:3], "color=s=64x48:r=25:d=10", "-itsoffset", "8", *tone(2), *CODECS, suffix=".ts")
    facts = probe(late, DECODING)
    assert facts.video is not None
    assert facts.audio is not None
    assert facts.video.access.options == ()
    assert str(DEPTHS_BYTES[1]) in facts.audio.access.options


def test_announced_stream_without_packets_is_named(clips: ClipMaker, tmp_path: Path) -> None:
    still = ["-f", "lavfi", "-i", "color=s=64x48:r=25:d=3"]
    packets = np.frombuffer(clips.ffmpeg(*still, *tone(3), *CODECS, suffix=".ts").read_bytes(), np.uint8)
    packets = packets.reshape(-1, 188)
    identifiers = (packets[:, 1] & 0x1F).astype(int) << 8 | packets[:, 2]
    path = tmp_path / "mute.ts"
    path.write_bytes(packets[identifiers != 0x101].tobytes())
    facts, stream, frames = read(path)
    assert facts.audio is None
    assert facts.problems == ("audio track 0 (mp3) is announced, but holds nothing that can be read",)
    assert facts.flags == (Flag.UNREADABLE_STREAM,)
    assert len(frames) == pytest.approx(30, abs=1)
    assert stream.decode_error == ""


def joined(clips: ClipMaker, path: Path, first: list[str], second: list[str]) -> Path:
    """A transport stream whose program has another map from 3 s on."""
    later = ["-output_ts_offset", "3", "-tables_version", "1"]
    parts = [clips.ffmpeg(*first, *CODECS, suffix=".ts"), clips.ffmpeg(*second, *CODECS, *later, suffix=".ts")]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def test_stream_that_joins_the_program_later_is_found_and_placed(clips: ClipMaker, tmp_path: Path) -> None:
    video = ["-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=3"]
    facts, stream, frames = read(joined(clips, tmp_path / "joined.ts", video, [*video, *tone(3)]))
    assert facts.audio is not None
    assert len(frames) == pytest.approx(60, abs=1)
    audio = WaveformStream(tmp_path / "joined.ts", facts, DECODING)
    list(audio)
    assert (stream.decoder_warning, audio.decoder_warning) == ("", "")
    assert audio.present[0][0] == pytest.approx(3.0, abs=0.1)
    assert audio.end_s == pytest.approx(6.0, abs=0.1)


def test_streams_that_move_to_other_packets_are_followed(clips: ClipMaker, tmp_path: Path) -> None:
    both = ["-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=3", *tone(3)]
    moved = [*both, "-streamid", "0:0x200", "-streamid", "1:0x201"]
    facts, stream, frames = read(joined(clips, tmp_path / "moved.ts", both, moved))
    assert (facts.video_tracks, facts.audio_tracks, facts.notes) == (1, 1, ())
    assert len(frames) == pytest.approx(60, abs=1)
    assert stream.decode_error == ""
    audio = WaveformStream(tmp_path / "moved.ts", facts, DECODING)
    list(audio)
    assert audio.end_s == pytest.approx(6.0, abs=0.1)
