"""The surroundings of a run: an empty environment, another folder, a terminal, a reader that leaves, no ffmpeg."""

from __future__ import annotations

import json
import os
import pty
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import pytest

from avpenet_cli.media import tools
from avpenet_cli.settings import Precision
from tests.conftest import Answer, ClipMaker
from tests.support.privileges import drop_file_capabilities

Avpenet = Callable[..., Answer]
PROGRAM = Path(sys.executable).parent / "avpenet"


@pytest.fixture
def somewhere(clips: ClipMaker, tmp_path: Path) -> Path:
    """A folder with a blank in its name and one recording in it."""
    folder = tmp_path / "ward round"
    folder.mkdir()
    shutil.copy(clips.brief(), folder / "one recording.mp4")
    return folder


@pytest.mark.slow
def test_no_frames_or_audio_are_written_anywhere(somewhere: Path, tmp_path: Path) -> None:
    """Run on a terminal, from another folder, without a PATH; what a folder held in between shows in its own time."""
    watched = {name: tmp_path / name for name in ("TMPDIR", "HOME")}
    for folder in watched.values():
        folder.mkdir()
    watched["cwd"] = somewhere
    out = tmp_path / "out"
    out.mkdir()
    before = {name: folder.stat().st_mtime_ns for name, folder in watched.items()}
    terminal, other_end = pty.openpty()
    with subprocess.Popen(
        [PROGRAM, "score", "one recording.mp4", "--weights", "untrained", "--out", out / "scores.csv"],
        cwd=somewhere,
        env={"TMPDIR": str(watched["TMPDIR"]), "HOME": str(watched["HOME"]), "TERM": "xterm"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=other_end,
    ) as process:
        os.close(other_end)
        seen = b""
        try:
            while chunk := os.read(terminal, 1 << 16):
                seen += chunk
        except OSError:  # how a terminal says that its other end is closed
            pass
        os.close(terminal)
        assert process.stdout is not None
        assert process.stdout.read() == b""
    assert process.returncode == 0, seen.decode()
    assert b"\x1b[" in seen
    assert "━".encode() in seen
    assert b"one recording.mp4: 1 segment" in seen
    assert b"avpenet: 1 recording, 0 failed" in seen.splitlines()[-1]
    assert {name: folder.stat().st_mtime_ns for name, folder in watched.items()} == before
    assert {path.name for path in out.iterdir()} == {
        "scores.csv",
        "scores.csv.history.jsonl",
        "scores.csv.journal",
        "scores.csv.lock",
        "scores.recordings.csv",
        "scores.run.json",
    }


def test_empty_environment_is_enough(somewhere: Path) -> None:
    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PROGRAM, *args], cwd="/", env={}, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )

    assert run("--version").returncode == 0
    listed = run("score", str(somewhere), "--dry-run")
    assert listed.returncode == 0, listed.stderr
    assert "one recording.mp4" in listed.stdout
    shown = run("weights", "list")
    assert shown.returncode == 0, shown.stderr
    assert "untrained" in shown.stdout


@pytest.mark.slow
def test_run_continues_when_the_reader_of_its_log_leaves(somewhere: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    command = '"$0" score "$1" --weights untrained --out "$2" 2>&1 | head -1; echo ${PIPESTATUS[0]}'
    done = subprocess.run(
        ["bash", "-c", command, PROGRAM, somewhere, out], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    first, status = done.stdout.splitlines()
    assert "UNTRAINED" in first
    assert status == "0"
    assert done.stderr == ""
    assert len(out.read_text().splitlines()) == 2


def test_unwritable_folder_gets_one_line(somewhere: Path, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(0o500)
    try:
        done = subprocess.run(
            [PROGRAM, "score", somewhere, "--weights", "untrained", "--out", closed / "scores.csv"],
            preexec_fn=drop_file_capabilities,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
    except subprocess.SubprocessError:
        pytest.skip("root may not give up its privileges here")
    assert done.returncode == 2, done.stderr
    assert f"avpenet: {closed}/scores.csv cannot be written: Permission denied" in done.stderr.splitlines()[-1]
    assert list(closed.iterdir()) == []


@pytest.fixture
def no_tools() -> Iterator[None]:
    """Search for the tools again, now and when the test is over."""
    for found in (tools.tool, tools.ffmpeg_version):
        found.cache_clear()
    yield
    for found in (tools.tool, tools.ffmpeg_version):
        found.cache_clear()


def _lines(answer: Answer) -> dict[str, str]:
    return {line[:15].strip(): line for line in answer.out.splitlines()}


def test_doctor_passes_a_complete_installation(avpenet_here: Avpenet, tmp_path: Path) -> None:
    answer = avpenet_here("doctor", "--folder", tmp_path)
    assert answer.code == 0, answer.out
    lines = _lines(answer)
    checks = {
        "ffmpeg",
        "ffprobe",
        "codecs",
        "face detector",
        "audio",
        "decord",
        "device",
        "weights",
        "disk",
        "write access",
    }
    assert checks <= lines.keys()
    assert not [line for line in lines.values() if " missing " in line]
    assert "\x1b" not in answer.out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_tools")
def test_doctor_reports_a_missing_ffmpeg(
    avpenet_here: Avpenet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The program also looks where cron's PATH does not, so an empty PATH alone hides nothing.
    monkeypatch.setattr(shutil, "which", lambda *args, **options: None)
    answer = avpenet_here("doctor", "--folder", tmp_path / "none")
    assert answer.code == 3
    lines = _lines(answer)
    for check in ("ffmpeg", "ffprobe", "codecs"):
        assert " missing " in lines[check]
        assert "apt-get install ffmpeg" in lines[check]
    assert " missing " in lines["write access"]
    assert " missing " in lines["disk"]
    assert " ok " in lines["face detector"]


@pytest.mark.usefixtures("no_tools")
def test_doctor_rejects_an_old_ffmpeg(avpenet_here: Avpenet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ffmpeg", "ffprobe"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho {name} version 4.1.11-0+deb10u1 Copyright\n")
        (tmp_path / name).chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    answer = avpenet_here("doctor", "--folder", tmp_path)
    assert answer.code == 3
    assert "install 4.3 or newer" in _lines(answer)["ffmpeg"]
    assert "no decoder for" in _lines(answer)["codecs"]


@pytest.mark.usefixtures("no_tools")
def test_missing_ffmpeg_stops_the_run_at_once(
    somewhere: Path, avpenet_here: Avpenet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *args, **options: None)
    answer = avpenet_here("score", somewhere, "--weights", "untrained", "--out", tmp_path / "scores.csv")
    assert answer.code == 3
    assert "is not installed or not on the PATH; install ffmpeg" in answer.last_line
    assert not (tmp_path / "scores.csv").exists()


@pytest.mark.slow
def test_bench_prints_its_figures(clips: ClipMaker, avpenet_here: Avpenet, tmp_path: Path) -> None:
    options = ["--device", "cpu", "--compare-precision"]
    answer = avpenet_here("bench", clips.brief(), "--json", "--repeat", "2", *options)
    assert answer.code == 0, answer.err
    figures = json.loads(answer.out)
    assert (figures["device"], figures["precision"], figures["repeat"]) == ("cpu", "float32", 2)
    assert figures["segments"] == 1
    assert figures["recorded_s"] == pytest.approx(1.6, abs=0.1)
    assert figures["x_realtime"] == pytest.approx(figures["recorded_s"] / figures["wall_s"], rel=0.05)
    assert figures["share_of_decoding_speed_cpu"] == pytest.approx(
        figures["decoding_cpu_s"] / figures["cpu_s"], rel=0.1
    )
    assert {"detect", "encode_faces", "audio", "fuse"} <= figures["stage_s"].keys()
    assert figures["stage_cpu_s"].keys() == figures["stage_s"].keys()
    assert sum(figures["stage_cpu_s"].values()) + figures["decoder_cpu_s"] <= 1.1 * figures["cpu_s"]
    assert figures["peak_rss_mib"] > figures["decoder_peak_rss_mib"] > 0
    assert figures["cores"] == len(os.sched_getaffinity(0))
    assert {other["precision"] for other in figures["precisions"]} == set(get_args(Precision)) - {"float32"}
    for other in figures["precisions"]:
        assert bool(other["unavailable"]) == (other["largest"] is None)
        assert bool(other["unavailable"]) == (other["cpu_s"] is None)
    people = avpenet_here("bench", clips.brief(), "--stride", "1.5", *options)
    assert people.code == 0
    assert {"decoding", "scoring", "encode_faces", "speed:", "bfloat16"} <= {
        line.split()[0] for line in people.out.splitlines() if line
    }
    assert avpenet_here("bench", clips.brief(), "--repeat", "0").code == 2
    missing = avpenet_here("bench", tmp_path / "none.mp4")
    assert missing.code == 1
    assert missing.last_line.startswith("avpenet: no such file")


def test_log_file_is_readable_by_its_owner_only(somewhere: Path, avpenet_here: Avpenet, tmp_path: Path) -> None:
    (somewhere / "one recording.mp4").write_bytes(b"")
    log = tmp_path / "log"
    mask = os.umask(0)
    try:
        command = ["score", somewhere, "--weights", "untrained", "--out", tmp_path / "scores.csv", "--log-file", log]
        assert avpenet_here(*command).code == 1
        once = log.read_text()
        assert avpenet_here(*command).code == 1
    finally:
        os.umask(mask)
    assert log.read_text().startswith(once)
    assert log.read_text().count("failed: an empty file") == 2
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
