"""Excerpts: the seconds asked for, with the streams as they are, in memory alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from avpenet_cli.errors import RecordingError
from avpenet_cli.media.confinement import seccomp_filter
from avpenet_cli.media.excerpt import excerpt
from avpenet_cli.media.probe import probe
from avpenet_cli.settings import DecodingSettings
from tests.conftest import ClipMaker

DECODING = DecodingSettings()
SOURCE = ("-f", "lavfi", "-i", "testsrc2=s=160x120:r=10:d=20", "-f", "lavfi", "-i", "sine=d=20", "-g", "10")


@pytest.mark.parametrize(
    ("suffix", "codecs"),
    [
        (".mp4", ()),
        (".mkv", ("-c:a", "flac")),
        (".avi", ("-c:v", "mjpeg", "-c:a", "pcm_s16le")),
        (".ts", ("-c:a", "aac")),
    ],
)
def test_an_excerpt_has_the_streams_and_the_seconds(clips: ClipMaker, suffix: str, codecs: tuple[str, ...]) -> None:
    path = clips.ffmpeg(*SOURCE, *codecs, suffix=suffix)
    facts = probe(path, DECODING)
    before = sorted(path.parent.iterdir())
    with excerpt(path, facts, 8.0, 6.0) as piece:
        assert str(piece.readlink()).startswith("/memfd:")
        cut = probe(piece, DECODING)
    assert cut.video is not None
    assert facts.video is not None
    assert cut.audio is not None
    assert facts.audio is not None
    assert (cut.video.codec, cut.video.width_px) == (facts.video.codec, facts.video.width_px)
    assert cut.audio.codec == facts.audio.codec
    assert 5.5 <= cut.nominal_s <= 8.0  # from a key frame, one a second
    assert sorted(path.parent.iterdir()) == before
    assert not piece.exists()


def test_an_excerpt_keeps_how_its_recording_is_turned(clips: ClipMaker) -> None:
    turned = clips.ffmpeg("-i", str(clips.ffmpeg(*SOURCE)), "-c", "copy", "-metadata:s:v", "rotate=90")
    facts = probe(turned, DECODING)
    assert facts.video is not None
    assert facts.video.rotation_deg
    with excerpt(turned, facts, 0.0, 3.0) as piece:
        cut = probe(piece, DECODING)
    assert cut.video is not None
    assert cut.video.rotation_deg == facts.video.rotation_deg


def test_an_excerpt_of_what_is_no_recording_any_more_is_an_error(clips: ClipMaker, tmp_path: Path) -> None:
    facts = probe(clips.ffmpeg(*SOURCE), DECODING)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"x" * 1000)
    with pytest.raises(RecordingError), excerpt(broken, facts, 0.0, 3.0):
        pass


def test_python_built_for_an_old_c_library_reads_recordings(clips: ClipMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of conda and uv: their `os` lacks `memfd_create`."""
    has_filter = bool(seccomp_filter())
    path = clips.ffmpeg(*SOURCE, suffix=".mp4")
    monkeypatch.delattr(os, "memfd_create")
    seccomp_filter.cache_clear()
    assert bool(seccomp_filter()) == has_filter
    facts = probe(path, DECODING)
    with excerpt(path, facts, 1.0, 1.0) as piece:
        assert probe(piece, DECODING).video is not None
