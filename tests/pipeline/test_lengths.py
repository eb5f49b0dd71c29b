"""What of a recording counts as lost: what its header promised for the streams that are scored, and no more."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from avpenet_cli.pipeline.evidence import FrontEnd, RecordingEvidence
from avpenet_cli.pipeline.timer import StageTimer
from avpenet_cli.records import Flag
from avpenet_cli.settings import Preprocessing, RunSettings
from tests.conftest import ClipMaker

AUDIO = ["-f", "lavfi", "-i", "sine=d=4:sample_rate=44100"]


class NoFaces:
    """A pool for recordings without video."""

    def add(self, slot: int, track: int, crop: np.ndarray) -> None:
        raise AssertionError("there is no video")

    def flush_before(self, slot: int) -> None:
        pass

    def finish(self) -> None:
        pass

    def features(self, slots: range, tracks: Sequence[int]) -> None:
        return None


@pytest.fixture(scope="module")
def front_end() -> FrontEnd:
    return FrontEnd(Preprocessing(), RunSettings(), (), torch.device("cpu"))


def evidence_of(front_end: FrontEnd, path: Path) -> RecordingEvidence[None]:
    return front_end.read(path, NoFaces(), StageTimer())


def with_duration(path: Path, copy: Path, milliseconds: float) -> Path:
    """A copy of a Matroska file whose header states another duration, and whose streams state none."""
    content = bytearray(path.read_bytes().replace(b"DURATION", b"DURATIOX"))
    at = content.index(b"\x44\x89\x88") + 3
    content[at : at + 8] = struct.pack(">d", milliseconds)
    copy.write_bytes(content)
    return copy


def test_whole_file_with_a_wrong_header_lost_nothing(front_end: FrontEnd, clips: ClipMaker, tmp_path: Path) -> None:
    path = with_duration(clips.ffmpeg(*AUDIO, suffix=".mkv"), tmp_path / "ward.mkv", 60_000)
    evidence = evidence_of(front_end, path)
    assert evidence.nominal_s == evidence.length_s == pytest.approx(4.0, abs=0.05)
    assert Flag.TRUNCATED not in evidence.flags


def test_cut_file_lost_what_its_header_states(front_end: FrontEnd, clips: ClipMaker, tmp_path: Path) -> None:
    content = clips.ffmpeg(*AUDIO, suffix=".mkv").read_bytes()
    path = tmp_path / "cut.mkv"
    path.write_bytes(content[: len(content) // 2])
    evidence = evidence_of(front_end, path)
    assert evidence.nominal_s == pytest.approx(4.0, abs=0.05)
    assert evidence.length_s < 3
    assert Flag.TRUNCATED in evidence.flags
    missing_s = evidence.nominal_s - evidence.length_s
    assert f"the last {missing_s:.1f} of 4.0 s are missing; copy it again from its source" in evidence.problems


@pytest.mark.parametrize(
    ("suffix", "options"),
    [(".wav", []), (".wav", ["-rf64", "always"]), (".wav", ["-c:a", "pcm_mulaw", "-ac", "2"]), (".w64", [])],
)
def test_wave_file_lost_what_its_header_states(
    front_end: FrontEnd, clips: ClipMaker, tmp_path: Path, suffix: str, options: list[str]
) -> None:
    whole = clips.ffmpeg(*AUDIO, *options, suffix=suffix)
    assert Flag.TRUNCATED not in evidence_of(front_end, whole).flags
    content = whole.read_bytes()
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(content[: len(content) // 2])
    evidence = evidence_of(front_end, cut)
    assert (evidence.nominal_s, evidence.length_s) == pytest.approx((4.0, 2.0), abs=0.05)
    assert Flag.TRUNCATED in evidence.flags


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_wave_file_of_a_program_that_did_not_know_its_length_lost_nothing(
    front_end: FrontEnd, clips: ClipMaker, tmp_path: Path, size: int
) -> None:
    content = bytearray(clips.ffmpeg(*AUDIO, suffix=".wav").read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = struct.pack("<I", size)
    piped = tmp_path / "piped.wav"
    piped.write_bytes(content)
    evidence = evidence_of(front_end, piped)
    assert evidence.nominal_s == evidence.length_s == pytest.approx(4.0, abs=0.05)
    assert Flag.TRUNCATED not in evidence.flags


def test_clock_that_jumps_in_a_transport_stream_lost_nothing(
    front_end: FrontEnd, clips: ClipMaker, tmp_path: Path
) -> None:
    parts = [clips.ffmpeg(*AUDIO, "-output_ts_offset", offset, "-c:a", "mp2", suffix=".ts") for offset in ("0", "100")]
    path = tmp_path / "jump.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    evidence = evidence_of(front_end, path)
    assert evidence.facts.nominal_s > 100
    assert evidence.nominal_s == evidence.length_s == pytest.approx(8.0, abs=0.2)
    assert Flag.TRUNCATED not in evidence.flags


def test_track_that_cannot_be_read_is_flagged(front_end: FrontEnd, clips: ClipMaker, tmp_path: Path) -> None:
    video = ["-f", "lavfi", "-i", "color=s=64x48:r=10:d=4"]
    content = clips.ffmpeg(*video, *AUDIO, "-pix_fmt", "yuv420p").read_bytes()
    path = tmp_path / "odd.mp4"
    path.write_bytes(content.replace(b"avc1", b"qqqq").replace(b"avcC", b"free"))
    evidence = evidence_of(front_end, path)
    assert evidence.flags == (Flag.UNREADABLE_STREAM,)
    assert evidence.problems == ("video track 0 is in a codec that this ffmpeg does not decode (qqqq)",)


def test_level_of_a_segment_is_that_of_the_audio_which_is_there(front_end: FrontEnd, clips: ClipMaker) -> None:
    """The second segment lacks half of its audio: it is a gap, not a quiet patient."""
    hole = "aselect='not(between(t,3.5,5))'"
    path = clips.ffmpeg("-f", "lavfi", "-i", "sine=d=6:r=16000", "-af", hole, "-c:a", "pcm_s16le", suffix=".mkv")
    evidence = evidence_of(front_end, path)
    # All segments first: how far the audio reaches is known once it has been decoded.
    audios = list(front_end.iter_segment_audio(evidence))
    records = [front_end.assess_segment(evidence, *pair).record for pair in zip(evidence.plan, audios, strict=True)]
    assert [Flag.AUDIO_GAP in record.flags for record in records] == [False, True]
    whole, gapped = (record.quality for record in records)
    assert gapped.level_dbfs == pytest.approx(whole.level_dbfs, abs=0.1)
    assert gapped.snr_db == pytest.approx(whole.snr_db, abs=0.1)
