"""Bad recordings among good ones: a clear line for each, and the others are scored."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from avpenet_cli.inputs import display_name
from avpenet_cli.tables import unescape_cell
from tests.conftest import REPOSITORY, Answer, ClipMaker
from tests.support.privileges import drop_file_capabilities

GOOD = ["good.mp4", "-dash 'two words\".mp4", "new\nline müde.mp4", os.fsdecode(b"inv\xfflid.mp4")]

FAILED = {
    "empty.mp4": ("empty_file", "an empty file"),
    "text.mp4": ("unreadable", "not a recording that ffmpeg can read"),
    "line\nbreak.mp4": ("unreadable", "not a recording that ffmpeg can read"),
    "picture.mp4": ("image", "an image, not a recording"),
    "photo.mp4": ("image", "an image, not a recording"),
    "no-index.mp4": ("unreadable", "the index at its end is missing"),
    "no-recordings": ("no_recordings", "a folder without recordings"),
    "fifo.mp4": ("not_a_file", "not a regular file"),
    "link.mp4": ("broken_link", "a link to a file that is not there"),
    "loop.mp4": ("unreadable", "Too many levels of symbolic links"),
    "closed.mp4": ("no_permission", "may not be read by this user"),
    "closed/inside.mp4": ("no_permission", "its folder may not be read"),
    "vanished.mp4": ("missing", "no such file"),
    "good.mp4/inside.mp4": ("unreadable", "Not a directory"),
    "x" * 300 + ".mp4": ("unreadable", "File name too long"),
    "*.xyz": ("no_recordings", "a pattern that matches nothing"),
}

UNSCORABLE = {"silent-film.mp4": "no_audio", "audio-only.mp4": "no_video"}


@dataclass(frozen=True)
class Night:
    """One run over everything."""

    status: int
    out: str
    err: str
    rows: list[dict[str, str]]
    manifest: dict[str, Any]


def _fill(archive: Path, clips: ClipMaker) -> None:
    for name in GOOD:
        shutil.copy(clips.brief(), archive / name)
    (archive / "empty.mp4").touch()
    (archive / "text.mp4").write_text("Dear colleague, the video is on the other server.\n" * 50)
    (archive / "line\nbreak.mp4").write_text("no recording")
    shutil.copy(clips.ffmpeg("-f", "lavfi", "-i", "testsrc2", "-frames:v", "1", suffix=".png"), archive / "picture.mp4")
    shutil.copy(clips.ffmpeg("-f", "lavfi", "-i", "testsrc2", "-frames:v", "1", suffix=".jpg"), archive / "photo.mp4")
    whole = clips.brief().read_bytes()
    (archive / "no-index.mp4").write_bytes(whole[: len(whole) // 2])
    (archive / "no-recordings").mkdir()
    (archive / "no-recordings" / "notes.txt").touch()
    os.mkfifo(archive / "fifo.mp4")
    (archive / "link.mp4").symlink_to("nowhere.mp4")
    (archive / "loop.mp4").symlink_to("loop.mp4")
    shutil.copy(clips.brief(), archive / "closed.mp4")
    (archive / "closed.mp4").chmod(0)
    (archive / "closed").mkdir()
    (archive / "closed").chmod(0)
    shutil.copy(clips.face(1.6, "160x120", 10.0, audio=None), archive / "silent-film.mp4")
    shutil.copy(clips.ffmpeg("-i", str(clips.brief()), "-vn", "-c", "copy"), archive / "audio-only.mp4")
    long = clips.ffmpeg("-i", str(clips.face(4.6, "160x120", 10.0)), "-c", "copy", suffix=".mkv").read_bytes()
    (archive / "cut.mkv").write_bytes(long[: len(long) // 2])


@pytest.fixture(scope="module")
def night(clips: ClipMaker, tmp_path_factory: pytest.TempPathFactory) -> Night:
    archive = tmp_path_factory.mktemp("archive")
    folder = tmp_path_factory.mktemp("night")
    _fill(archive, clips)
    listed = folder / "list"
    names = [*GOOD, *FAILED, *UNSCORABLE, "cut.mkv", "good.mp4"]
    listed.write_bytes(b"\0".join(map(os.fsencode, names)))
    out = folder / "scores.csv"
    args = ["--files-from", str(listed), "--weights", "untrained", "--out", str(out), "--", GOOD[1], "./empty.mp4"]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "avpenet_cli", "score", *args],
            cwd=archive,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            preexec_fn=drop_file_capabilities,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )
    except subprocess.SubprocessError:
        pytest.skip("root may not give up its privileges here")
    finally:
        (archive / "closed").chmod(0o700)
    assert out.exists(), done.stderr
    with out.open(encoding="utf-8", newline="") as file:
        rows = [row | {"recording": unescape_cell(row["recording"])} for row in csv.DictReader(file)]
    manifest = json.loads(out.with_suffix(".run.json").read_text(encoding="utf-8"))
    return Night(done.returncode, done.stdout, done.stderr, rows, manifest)


@pytest.mark.slow
def test_run_with_failures_exits_1_and_counts_them(night: Night) -> None:
    assert night.status == 1
    assert night.out == ""
    assert "Traceback" not in night.err
    recordings = len(GOOD) + len(FAILED) + len(UNSCORABLE) + 1
    last = night.err.splitlines()[-1]
    assert last.startswith(f"avpenet: {recordings} recordings, {len(FAILED)} failed; ")
    assert last.endswith(", 2 unscorable")


def test_good_recordings_are_scored_among_bad_ones(night: Night) -> None:
    scored = [row for row in night.rows if row["status"] == "scored" and row["recording"] != "cut.mkv"]
    assert sorted(row["recording"] for row in scored) == sorted(map(display_name, GOOD))
    assert len({row["score"] for row in scored}) == 1


def test_manifest_lists_every_recording(night: Night) -> None:
    entry = [recording["recording"] for recording in night.manifest["recordings"]]
    wanted = [*GOOD, *FAILED, *UNSCORABLE, "cut.mkv"]
    assert sorted(entry) == sorted(map(display_name, wanted))
    # What was named on the command line comes first.
    assert entry[:3] == ["-dash 'two words\".mp4", "empty.mp4", "good.mp4"]
    assert "3 repeated recordings or folders" in night.err


@pytest.mark.parametrize("name", FAILED)
def test_each_failure_has_one_line_with_its_reason(name: str, night: Night) -> None:
    reason, words = FAILED[name]
    (entry,) = [recording for recording in night.manifest["recordings"] if recording["recording"] == name]
    assert (entry["status"], entry["reason"]) == ("failed", reason)
    assert words in entry["message"]
    assert "internal" not in entry["message"]
    printed = name.replace("\n", r"\n")
    (line,) = [line for line in night.err.splitlines() if f" {printed}: failed: " in line]
    assert words in line
    assert not [row for row in night.rows if row["recording"] == name]


@pytest.mark.parametrize("name", UNSCORABLE)
def test_recording_without_a_needed_stream_is_unscorable(name: str, night: Night) -> None:
    (row,) = [row for row in night.rows if row["recording"] == name]
    assert (row["status"], row["reason"], row["score"]) == ("unscorable", UNSCORABLE[name], "")
    assert UNSCORABLE[name] in row["flags"].split()


def test_truncated_recording_is_flagged(night: Night) -> None:
    entry = next(recording for recording in night.manifest["recordings"] if recording["recording"] == "cut.mkv")
    balance = entry["balance_s"]
    assert balance["nominal_s"] == pytest.approx(4.6, abs=0.1)
    assert balance["undecodable_s"] > 1
    accounted = balance["scored_s"] + sum(balance["unscorable_s"].values()) + balance["undecodable_s"]
    assert accounted == pytest.approx(balance["nominal_s"], abs=0.1)
    rows = [row for row in night.rows if row["recording"] == "cut.mkv"]
    assert rows
    assert all("truncated" in row["flags"].split() for row in rows)


def test_only_bad_recordings_still_make_a_table(avpenet_here: Callable[..., Answer], tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    out = tmp_path / "scores.csv"
    answer = avpenet_here("score", tmp_path, "--out", out, "--weights", "untrained")
    assert answer.code == 1
    assert len(out.read_text().splitlines()) == 1
    # It is tried again: it may have been copied again.
    assert "failed: an empty file" in avpenet_here("score", tmp_path, "--out", out, "--weights", "untrained").err


def test_names_that_are_not_utf8_are_recorded_or_refused(avpenet_here: Callable[..., Answer], tmp_path: Path) -> None:
    (tmp_path / "torn.mp4").write_bytes(b"no recording at all")
    listed = tmp_path / os.fsdecode(b"l\xfcst.txt")
    listed.write_text(str(tmp_path / "torn.mp4"))
    out = tmp_path / "scores.csv"
    answer = avpenet_here("score", "--files-from", listed, "--out", out, "--weights", "untrained")
    assert answer.code == 1, answer.err
    assert r"l\xfcst.txt" in json.loads((tmp_path / "scores.run.json").read_text())["command"]
    refused = avpenet_here("score", "--files-from", listed, "--out", tmp_path / os.fsdecode(b"sc\xfc.csv"))
    assert refused.code == 2
    assert refused.last_line.endswith(": the name is not UTF-8; choose another name")
