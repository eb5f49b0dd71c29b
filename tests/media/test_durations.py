"""The length that a header promises for what is scored, not for text, data or a clock that was running before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avpenet_cli.media.audio import WaveformStream
from avpenet_cli.media.probe import probe
from avpenet_cli.media.wholeness import is_whole
from avpenet_cli.settings import DecodingSettings
from tests.conftest import ClipMaker
from tests.support.numbered_clips import read

DECODING = DecodingSettings()
MEDIA = ["-f", "lavfi", "-i", "testsrc2=s=64x48:r=10:d=3", "-f", "lavfi", "-i", "sine=d=3:sample_rate=44100"]


def nominal_s(path: Path) -> float:
    return probe(path, DECODING).nominal_s


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """Subtitles that end at 60 s."""
    path = tmp_path / "words.srt"
    path.write_text("1\n00:00:00,000 --> 00:01:00,000\nhello\n")
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_longer_text_track_promises_nothing(clips: ClipMaker, words: Path, suffix: str) -> None:
    text = [] if suffix == ".mkv" else ["-c:s", "mov_text"]
    maps = ["-map", "0", "-map", "1", "-map", "2", "-pix_fmt", "yuv420p"]
    path = clips.ffmpeg(*MEDIA, "-i", str(words), *maps, *text, suffix=suffix)
    assert nominal_s(path) == pytest.approx(3.0, abs=0.1)


def without_stream_durations(path: Path, copy: Path) -> Path:
    """A copy of a Matroska file in which the tags that ffmpeg writes about durations have another name."""
    copy.write_bytes(path.read_bytes().replace(b"DURATION", b"DURATIOX"))
    return copy


def test_longer_text_track_of_a_file_without_stream_durations_promises_nothing(
    clips: ClipMaker, words: Path, tmp_path: Path
) -> None:
    maps = ["-map", "0", "-map", "1", "-map", "2", "-pix_fmt", "yuv420p"]
    path = clips.ffmpeg(*MEDIA, "-i", str(words), *maps, suffix=".mkv")
    assert nominal_s(without_stream_durations(path, tmp_path / "ward.mkv")) == pytest.approx(3.0, abs=0.1)


def test_cut_file_with_text_still_promises_its_length(clips: ClipMaker, tmp_path: Path) -> None:
    text = tmp_path / "words.srt"
    text.write_text("1\n00:00:00,000 --> 00:00:03,000\nhello\n")
    maps = ["-map", "0", "-map", "1", "-map", "2", "-pix_fmt", "yuv420p", "-b:v", "500k"]
    whole = without_stream_durations(
        clips.ffmpeg(*MEDIA, "-i", str(text), *maps, suffix=".mkv"), tmp_path / "whole.mkv"
    ).read_bytes()
    path = tmp_path / "cut.mkv"
    path.write_bytes(whole[: 2 * len(whole) // 3])
    facts, stream, _ = read(path)
    assert facts.nominal_s == pytest.approx(3.0, abs=0.1)
    assert stream.slots_end < 25


def test_longer_video_that_is_not_scored_promises_nothing(clips: ClipMaker) -> None:
    longer = ["-f", "lavfi", "-i", "color=s=96x48:r=10:d=9"]
    maps = ["-map", "2", "-map", "0", "-map", "1", "-pix_fmt", "yuv420p"]
    marks = ["-disposition:v:0", "0", "-disposition:v:1", "default"]
    path = clips.ffmpeg(*MEDIA, *longer, *maps, *marks, suffix=".mkv")
    assert nominal_s(path) == pytest.approx(3.0, abs=0.2)
    assert probe(path, DecodingSettings(video_track=0)).nominal_s == pytest.approx(9.0, abs=0.2)


def test_clock_of_a_network_recorder_is_no_promise(clips: ClipMaker, tmp_path: Path) -> None:
    """Fragments whose time is counted from an hour before the recording."""
    ticks = ["-video_track_timescale", "44100", "-pix_fmt", "yuv420p", "-g", "10"]
    whole = clips.ffmpeg(*MEDIA, *ticks, "-movflags", "frag_keyframe+empty_moov+default_base_moof").read_bytes()
    content, at = bytearray(whole), 0
    while (at := content.find(b"tfdt", at + 4)) > 0:
        time = int.from_bytes(content[at + 8 : at + 16], "big") + 3600 * 44_100
        content[at + 8 : at + 16] = time.to_bytes(8, "big")
    path = tmp_path / "network.mp4"
    path.write_bytes(content)
    facts, stream, frames = read(path)
    assert facts.start_s == pytest.approx(3600, abs=0.3)
    assert facts.nominal_s == pytest.approx(3.0, abs=0.3)
    assert stream.slots_end * 0.1 == pytest.approx(facts.nominal_s, abs=0.3)
    assert len(frames) == pytest.approx(30, abs=1)
    audio = WaveformStream(path, facts, DECODING)
    np.concatenate(list(audio))
    assert audio.end_s == pytest.approx(facts.nominal_s, abs=0.3)


@pytest.mark.parametrize(
    ("suffix", "codecs", "is_estimate"),
    [(".mp4", [], False), (".mkv", [], False), (".avi", [], False), (".ts", [], True), (".mpg", ["-r", "25"], True)],
)
def test_only_a_stated_duration_promises_anything(
    clips: ClipMaker, suffix: str, codecs: list[str], is_estimate: bool
) -> None:
    assert (
        probe(clips.ffmpeg(*MEDIA, *codecs, "-pix_fmt", "yuv420p", suffix=suffix), DECODING).is_estimate is is_estimate
    )


@pytest.mark.parametrize(
    ("suffix", "container"), [(".mkv", "matroska,webm"), (".webm", "matroska,webm"), (".flv", "flv")]
)
def test_cut_file_is_told_from_a_whole_one(clips: ClipMaker, tmp_path: Path, suffix: str, container: str) -> None:
    codecs = {".webm": ["-c:v", "libvpx", "-c:a", "libvorbis"], ".flv": ["-c:v", "flv"]}.get(suffix, [])
    whole = clips.ffmpeg(*MEDIA, *codecs, "-pix_fmt", "yuv420p", suffix=suffix)
    assert is_whole(whole, container)
    content = whole.read_bytes()
    copy = tmp_path / "copy"
    for kept in (0, 10, len(content) // 2, len(content) - 1):
        copy.write_bytes(content[:kept])
        assert not is_whole(copy, container)
    copy.write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))
    assert not is_whole(copy, container), "a copy that was filled up with zeros"
