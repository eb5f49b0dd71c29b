"""`avpenet score --workers`: the same bytes whatever their number, and what remains when processes are killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY, Answer, ClipMaker

pytestmark = pytest.mark.slow

NAME = "Mrs Miller"
"""A patient's name, in the names of the recordings."""


@pytest.fixture(scope="module")
def archive(clips: ClipMaker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording that takes seconds, two short ones, and one that cannot be read."""
    folder = tmp_path_factory.mktemp("archive")
    shutil.copy(clips.face(5.0, "160x120", 10.0), folder / f"1 {NAME}.mp4")
    shutil.copy(clips.brief(), folder / f"2 {NAME}.mp4")
    shutil.copy(clips.brief("moan", 1.8), folder / f"3 {NAME}.mp4")
    (folder / f"4 {NAME}.mp4").write_bytes(b"no recording at all")
    return folder


@pytest.fixture(scope="module")
def single(archive: Path, avpenet_here: Callable[..., Answer], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table that one process makes."""
    out = tmp_path_factory.mktemp("single") / "scores.csv"
    assert avpenet_here(*command(archive, out, 1)).code == 1
    return out


def command(archive: Path, out: Path, workers: int | str) -> list[str]:
    subjects = archive.parent / "subjects.csv"
    rows = [f"{path.name},s{path.name[0]}" for path in sorted(archive.iterdir())]
    subjects.write_text("\n".join(["recording,subject", *rows]))
    options = ["--weights", "untrained", "--device", "cpu", "--workers", str(workers), "--subjects", str(subjects)]
    options += ["--embeddings", str(embeddings(out))]
    return ["score", str(archive), "--out", str(out), *options]


def embeddings(out: Path) -> Path:
    return out.with_name("embeddings.parquet")


def outputs(out: Path) -> dict[str, object]:
    """The bytes of all tables, and the manifest without times and numbers of workers."""
    manifest: dict[str, Any] = json.loads(out.with_suffix(".run.json").read_text(encoding="utf-8"))
    del manifest["timing"], manifest["settings"]["workers"], manifest["command"]
    for recording in manifest["recordings"]:
        del recording["stage_s"], recording["from_earlier_run"]
    tables = [out, out.with_suffix(".recordings.csv"), out.with_suffix(".subjects.csv"), embeddings(out)]
    return {path.name: path.read_bytes() for path in tables} | {"manifest": manifest}


class Run:
    """A run with workers in a process of its own."""

    def __init__(self, arguments: list[str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-m", "avpenet_cli", *arguments],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []

    def wait_for(self, words: str) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if words in line:
                return
        raise AssertionError(f"ended before it said {words!r}: {self.lines}")

    def end(self) -> str:
        """Everything that it said, once it has ended."""
        out, err = self.process.communicate(timeout=120)
        assert out == ""
        return "".join(self.lines) + err

    def workers(self) -> list[int]:
        return [pid for pid in descendants(self.process.pid) if b"worker_process" in command_line(pid)]

    def busy_worker(self, other_than: Collection[int] = ()) -> int:
        """Id of a worker that was reading a recording when it was looked at."""
        busy: list[int] = []

        def found() -> bool:
            busy[:] = [pid for pid in self.workers() if pid not in other_than and descendants(pid)]
            return bool(busy)

        until(found, 120.0)
        return busy[0]


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def descendants(pid: int) -> list[int]:
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if state[0] != "Z":
                parents[int(entry.name)] = int(state[1])
    family = [pid]
    for parent in family:
        family += [child for child, above in parents.items() if above == parent]
    return family[1:]


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def begin(archive: Path, tmp_path: Path) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def start(*options: str, workers: int = 2) -> Run:
        runs.append(Run([*command(archive, tmp_path / "scores.csv", workers), *options]))
        return runs[-1]

    yield start
    for run in runs:
        run.process.kill()
        run.process.communicate()


def test_outputs_are_those_of_one_process(
    archive: Path, single: Path, avpenet_here: Callable[..., Answer], tmp_path: Path
) -> None:
    """Two workers are compared with one process below, after a kill."""
    out, workers = tmp_path / "scores.csv", 3
    answer = avpenet_here(*command(archive, out, workers))
    assert (answer.code, answer.out) == (1, "")
    assert outputs(out) == outputs(single)
    said = [line for line in answer.err.splitlines() if f"{NAME}.mp4: " in line]
    assert [line[line.index(NAME) - 2] for line in said] == ["1", "2", "3", "4"]
    again = avpenet_here(*command(archive, out, workers))
    assert again.err.count("scored by an earlier run") == 3


def test_scores_do_not_depend_on_the_order_of_the_inputs(
    archive: Path, single: Path, avpenet_here: Callable[..., Answer], tmp_path: Path
) -> None:
    out = tmp_path / "scores.csv"
    paths = [str(path) for path in sorted(archive.iterdir(), reverse=True)]
    options = ["--weights", "untrained", "--device", "cpu", "--workers", "2", "--out", str(out)]
    assert avpenet_here("score", *paths, *options).code == 1
    head, *rows = out.read_text().splitlines()
    assert [head, *sorted(rows)] == [head, *sorted(single.read_text().splitlines()[1:])]
    assert rows[0].startswith("3 ")


def test_killed_run_leaves_no_process_and_resumes(
    begin: Callable[..., Run], single: Path, archive: Path, avpenet_here: Callable[..., Answer], tmp_path: Path
) -> None:
    run = begin()
    run.wait_for("scoring 4 recordings")
    until(lambda: any(b"ffmpeg" in command_line(pid) for pid in descendants(run.process.pid)))
    processes = descendants(run.process.pid)
    assert len(run.workers()) == 2
    assert not any(NAME.encode() in command_line(pid) for pid in processes)
    run.process.kill()
    until(lambda: not any(map(alive, processes)))
    assert avpenet_here(*command(archive, tmp_path / "scores.csv", 2)).code == 1
    assert outputs(tmp_path / "scores.csv") == outputs(single)


def test_recording_that_is_finished_first_is_stored_first(
    begin: Callable[..., Run], archive: Path, avpenet_here: Callable[..., Answer], tmp_path: Path
) -> None:
    run, out = begin(), tmp_path / "scores.csv"
    run.wait_for("scoring 4 recordings")
    until(lambda: "recordings: 0 done" not in avpenet_here("status", out).out, 120)
    run.process.kill()
    assert "segment" not in run.end()  # the first one's line comes first
    again = avpenet_here(*command(archive, out, 1))
    assert again.err.count("scored by an earlier run") >= 1


def test_recording_of_a_killed_worker_is_tried_again(begin: Callable[..., Run], single: Path, tmp_path: Path) -> None:
    run = begin()
    run.wait_for("scoring 4 recordings")
    os.kill(run.busy_worker(), signal.SIGKILL)
    said = run.end()
    assert run.process.returncode == 1
    assert said.count("the process that scored it was killed (signal 9); it is tried once more, alone") == 1
    assert outputs(tmp_path / "scores.csv") == outputs(single)


def test_recording_whose_worker_is_killed_twice_has_failed(begin: Callable[..., Run], tmp_path: Path) -> None:
    run = begin()
    run.wait_for("scoring 4 recordings")
    first = set(run.workers())
    os.kill(run.busy_worker(), signal.SIGKILL)
    run.wait_for("tried once more, alone")
    os.kill(run.busy_worker(other_than=first), signal.SIGKILL)
    said = run.end()
    assert run.process.returncode == 1
    assert "failed: the process that scored it was killed (signal 9), twice; the machine's memory may be" in said
    assert "4 recordings, 2 failed" in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_interrupted_run_says_how_to_resume_and_leaves_no_process(
    number: signal.Signals, begin: Callable[..., Run], tmp_path: Path
) -> None:
    run = begin()
    run.wait_for("scoring 4 recordings")
    processes = descendants(run.process.pid)
    for pid in [run.process.pid, *run.workers()]:
        os.kill(pid, number)  # as a terminal or a service manager does
    said = run.end()
    assert run.process.returncode == 130
    assert "avpenet: interrupted after " in said
    assert said.endswith("run the same command again to resume\n")
    assert "Traceback" not in said
    until(lambda: not any(map(alive, processes)))


def test_weights_that_a_worker_refuses_end_the_run_before_anything_is_written(
    begin: Callable[..., Run], tmp_path: Path
) -> None:
    altered = tmp_path / "avpenet-phantom.safetensors"
    content = bytearray((REPOSITORY / "weights" / "avpenet-phantom.safetensors").read_bytes())
    content[-1] ^= 1
    altered.write_bytes(content)
    shutil.copy(REPOSITORY / "weights" / "avpenet-phantom.json", altered.with_suffix(".json"))
    run = begin("--weights", str(altered))
    assert "was altered or is incomplete" in run.end()
    assert run.process.returncode == 3
    assert not (tmp_path / "scores.csv.journal").exists()


def test_missing_ffmpeg_ends_the_run(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = tmp_path / "bin"
    bare.mkdir()
    program = (
        "import shutil, sys; which = shutil.which\n"
        "shutil.which = lambda name, *rest, **named: None if name.startswith('ff') else which(name, *rest, **named)\n"
        f"sys.path.insert(0, {str(REPOSITORY)!r}); sys.argv = ['avpenet', *sys.argv[1:]]\n"
        "from avpenet_cli.cli import main; main()"
    )
    # The same holds in the workers, which start from the folders that this process knows.
    (bare / "sitecustomize.py").write_text(program.splitlines()[0] + "\n" + program.splitlines()[1] + "\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(bare), os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        [sys.executable, "-c", program, *command(archive, tmp_path / "scores.csv", 2)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 3
    assert "avpenet: ffprobe is not installed or not on the PATH; install ffmpeg" in done.stderr


def test_tracebacks_of_workers_are_shown(begin: Callable[..., Run]) -> None:
    run = begin("--debug")
    said = run.end()
    assert "Traceback (most recent call last)" in said
    assert "score_job" in said
