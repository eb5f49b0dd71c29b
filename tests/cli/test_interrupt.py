"""SIGTERM, Ctrl-C, and a second run on the same output."""

from __future__ import annotations

import contextlib
import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, Answer, ClipMaker
from tests.support.processes import ffmpegs_with

AFTER_A_RUN = {
    "scores.csv",
    "scores.csv.history.jsonl",
    "scores.csv.journal",
    "scores.csv.lock",
    "scores.recordings.csv",
    "scores.run.json",
}


class Run:
    """A run under way in a process of its own."""

    def __init__(self, args: Sequence[str | Path]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-m", "avpenet_cli", "score", *map(str, args), "--weights", "untrained"],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []

    def wait_for(self, words: str) -> None:
        """Until a line with `words` has come."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))
            if words in line:
                return
        raise AssertionError(f"ended before it said {words!r}: {self.lines}")

    def end(self) -> tuple[int, str]:
        """Exit status and last line."""
        out, err = self.process.communicate(timeout=120)
        self.lines += err.splitlines()
        assert out == ""
        assert "Traceback" not in "\n".join(self.lines)
        return self.process.returncode, self.lines[-1]


@pytest.fixture
def start() -> Iterator[Callable[..., Run]]:
    with contextlib.ExitStack() as stack:

        def begin(*args: str | Path) -> Run:
            run = Run(args)
            stack.enter_context(run.process)
            stack.callback(run.process.kill)
            return run

        yield begin


@pytest.fixture(scope="module")
def archive(clips: ClipMaker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One short recording, then one that is not done within a moment."""
    folder = tmp_path_factory.mktemp("archive")
    shutil.copy(clips.brief(), folder / "1.mp4")
    shutil.copy(clips.face(5.0, "160x120", 10.0), folder / "2.mp4")
    return folder


def _rows(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_interrupted_run_keeps_finished_recordings(
    archive: Path, start: Callable[..., Run], avpenet_here: Callable[..., Answer], tmp_path: Path
) -> None:
    out = tmp_path / "scores.csv"
    run = start(archive, "--out", out)
    run.wait_for("1.mp4: 1 segment,")
    run.process.send_signal(signal.SIGTERM)
    status, last = run.end()
    assert status == 130
    assert last == (
        "avpenet: interrupted after 1 of 2 recordings; what is finished is in scores.partial.csv; "
        "run the same command again to resume"
    )
    assert {path.name for path in tmp_path.iterdir()} == {
        "scores.csv.history.jsonl",
        "scores.csv.journal",
        "scores.csv.lock",
        "scores.partial.csv",
        "scores.partial.recordings.csv",
    }
    assert [row["recording"] for row in _rows(tmp_path / "scores.partial.csv")] == ["1.mp4"]
    states = {row["recording"]: row["status"] for row in _rows(tmp_path / "scores.partial.recordings.csv")}
    assert states == {"1.mp4": "scored", "2.mp4": "to do"}
    assert ffmpegs_with(archive) == []
    state = avpenet_here("status", out)
    assert state.code == 0
    assert "scores.csv: not running; interrupted (begun 20" in state.out
    assert "recordings: 1 done, 0 failed, still to do: 1" in state.out
    again = avpenet_here("score", archive, "--out", out, "--weights", "untrained")
    assert again.code == 0
    assert re.search(r"1\.mp4: .* scored by an earlier run", again.err)
    assert not re.search(r"2\.mp4: .* scored by an earlier run", again.err)
    assert [row["recording"] for row in _rows(out)] == ["1.mp4", "2.mp4", "2.mp4"]
    assert {path.name for path in tmp_path.iterdir()} == AFTER_A_RUN


@pytest.mark.slow
def test_recording_whose_decoder_gets_the_signal_first_is_not_taken_for_damaged(
    archive: Path, start: Callable[..., Run], avpenet_here: Callable[..., Answer], tmp_path: Path
) -> None:
    """As from a batch system or systemd, which send it to every process of a job or a service."""
    out = tmp_path / "scores.csv"
    run = start(archive, "--out", out)
    run.wait_for("1.mp4: 1 segment,")
    children = Path(f"/proc/{run.process.pid}/task")
    while not (decoders := [int(pid) for path in children.glob("*/children") for pid in path.read_text().split()]):
        time.sleep(0.01)
    for pid in decoders:
        os.kill(pid, signal.SIGTERM)
    time.sleep(0.05)
    run.process.send_signal(signal.SIGTERM)
    status, last = run.end()
    assert status == 130
    assert last.startswith("avpenet: interrupted after 1 of 2 recordings")
    state = avpenet_here("status", out)
    assert "recordings: 1 done, 0 failed, still to do: 1" in state.out


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_interruption_while_loading_gets_one_line(
    number: signal.Signals, archive: Path, start: Callable[..., Run], tmp_path: Path
) -> None:
    run = start(archive, "--out", tmp_path / "scores.csv")
    if number is signal.SIGTERM:
        run.wait_for("scoring 2 recordings")  # the network is loaded next
    else:
        time.sleep(1.5)  # in the midst of the libraries
    run.process.send_signal(number)
    status, last = run.end()
    assert status == 130
    assert last == "avpenet: interrupted after 0 of 2 recordings; run the same command again to resume"


def test_interruption_at_start_exits_130(start: Callable[..., Run], tmp_path: Path) -> None:
    fifo = tmp_path / "list"
    os.mkfifo(fifo)
    run = start("--files-from", fifo, "--out", tmp_path / "scores.csv")
    writer = fifo.open("w")  # opens when the program has: it waits for the list now
    time.sleep(0.2)
    run.process.terminate()
    assert run.end() == (130, "avpenet: interrupted")
    writer.close()


def test_second_signal_stops_at_once(archive: Path, start: Callable[..., Run], tmp_path: Path) -> None:
    run = start(archive, "--out", tmp_path / "scores.csv")
    run.wait_for("scoring 2 recordings")
    run.process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    run.process.send_signal(signal.SIGINT)
    status, last = run.end()
    assert status == 130
    assert last.startswith("avpenet: interrupted")


@pytest.mark.slow
def test_nohup_keeps_ignoring_hangups(archive: Path, start: Callable[..., Run], tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        run = start(archive / "1.mp4", "--out", tmp_path / "scores.csv")
    finally:
        signal.signal(signal.SIGHUP, before)
    run.wait_for("scoring 1 recording")
    run.process.send_signal(signal.SIGHUP)
    status, last = run.end()
    assert status == 0
    assert last.startswith("avpenet: 1 recording, 0 failed")


@pytest.mark.slow
def test_second_run_on_one_output_is_refused(
    archive: Path, start: Callable[..., Run], avpenet_here: Callable[..., Answer], tmp_path: Path
) -> None:
    out = tmp_path / "scores.csv"
    command = ["score", archive, "--out", out, "--weights", "untrained"]
    holder = start(archive, "--out", out)
    holder.wait_for("1.mp4: 1 segment,")
    holder.process.send_signal(signal.SIGSTOP)
    for options in ([], ["--overwrite"]):
        refused = avpenet_here(*command, *options)
        assert refused.code == 75
        assert f"avpenet: {out} is being written by process {holder.process.pid} on " in refused.last_line
    running = avpenet_here("status", out)
    assert f"scores.csv: running: process {holder.process.pid} on " in running.out
    assert "recordings: 1 done, 0 failed, still to do: 1" in running.out
    holder.process.kill()
    holder.process.wait()
    assert "scores.csv: not running; interrupted" in avpenet_here("status", out).out
    taken_over = avpenet_here(*command)
    assert taken_over.code == 0
    assert taken_over.err.count("scored by an earlier run") == 1
    assert len(_rows(out)) == 3
    assert "recordings: 2 done, 0 failed, still to do: 0" in avpenet_here("status", out).out
    assert {path.name for path in tmp_path.iterdir()} == AFTER_A_RUN
