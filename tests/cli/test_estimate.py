"""`avpenet score --dry-run --plan`: pieces are scored, the table of shards is printed, nothing is written."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Answer, ClipMaker

Avpenet = Callable[..., Answer]
OPTIONS = ("--dry-run", "--plan", "--weights", "untrained", "--device", "cpu")


@pytest.fixture
def archive(clips: ClipMaker, tmp_path: Path) -> Path:
    """A long recording without a face, a brief one with a face, one without video, and one that cannot be read."""
    folder = tmp_path / "archive"
    folder.mkdir()
    long = ("-f", "lavfi", "-i", "testsrc2=s=160x120:r=10:d=20", "-f", "lavfi", "-i", "sine=d=20")
    shutil.copy(clips.ffmpeg(*long), folder / "Smith long.mp4")
    shutil.copy(clips.brief(), folder / "Smith brief.mp4")
    shutil.copy(clips.ffmpeg("-f", "lavfi", "-i", "sine=d=4", suffix=".wav"), folder / "Smith audio.wav")
    (folder / "Smith broken.mp4").write_bytes(b"x" * 100)
    return folder


@pytest.mark.slow
def test_plan_says_what_was_measured_and_how_long_shards_take(archive: Path, avpenet_here: Avpenet) -> None:
    before = sorted(archive.parent.rglob("*"))
    answer = avpenet_here("score", archive, *OPTIONS)
    assert answer.code == 1  # one cannot be read
    listed, _, estimate = answer.out.partition("measured here")
    assert "4 recordings, 1 unreadable" in listed
    pieces = [line for line in estimate.splitlines() if line.startswith("  Smith")]
    assert any("Smith long.mp4 0:" in line and "0.2 Mpixel/s" in line for line in pieces)
    assert any("Smith audio.wav" in line and "no video" in line for line in pieces)
    assert not any("broken" in line for line in pieces)
    assert re.search(r"recorded: 26 s; to score them: [\d.]+ (s|min) of CPU time", estimate)
    table = estimate.partition("shards   longest shard")[2].splitlines()
    assert [line.split()[0] for line in table[1:3]] == ["1", "2"]  # no more shards than recordings
    assert table[3] == ""
    assert sorted(archive.parent.rglob("*")) == before


@pytest.mark.slow
def test_plan_of_a_shard_shows_its_number_of_shards_and_names_nobody_under_pseudonyms(
    archive: Path, avpenet_here: Avpenet, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_bytes(b"0123456789abcdef")
    key.chmod(0o600)
    (archive / "Smith long.mp4").unlink()
    shard = ("--shard", "2/5", "--out", tmp_path / "scores.csv")
    answer = avpenet_here("score", archive, *OPTIONS, *shard, "--pseudonymise", key, "--log-file", tmp_path / "log")
    estimate = answer.out.partition("measured here")[2]
    assert [line.split()[0] for line in estimate.partition("shards   longest")[2].splitlines()[1:2]] == ["5"]
    assert "rec-" in estimate
    assert "Smith" not in estimate + answer.err + (tmp_path / "log").read_text()
    assert not (tmp_path / "scores.shards").exists()


def test_plan_that_cannot_be_made_says_why_in_one_line(archive: Path, avpenet_here: Avpenet) -> None:
    alone = avpenet_here("score", archive, "--plan", "--out", archive.parent / "t.csv")
    assert alone.code == 2
    assert alone.last_line.endswith("--plan is for --dry-run; add --dry-run, or leave --plan out")
    assert not (archive.parent / "t.csv").exists()
    unreadable = avpenet_here("score", archive / "Smith broken.mp4", *OPTIONS)
    assert unreadable.code == 1
    assert "no recording can be read, so that nothing can be estimated" in unreadable.last_line
    assert len(unreadable.err.splitlines()) == 1
