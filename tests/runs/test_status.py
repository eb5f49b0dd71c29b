"""The status of an output: of a run under way, of a killed one, of a finished one, and of what version 0.1.0 wrote."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from avpenet_cli import schemas
from avpenet_cli.errors import OutputError, SettingsError
from avpenet_cli.inputs import Recording
from avpenet_cli.records import Quality, RecordingOutcome, SegmentScore, Status
from avpenet_cli.runs.journal import Journal, journal_path
from avpenet_cli.runs.lock import lock_holder, output_lock
from avpenet_cli.runs.status import read_status
from tests.conftest import Answer
from tests.support.killed_writers import kill_in_transaction

FAILED = RecordingOutcome(Status.FAILED, reason="unreadable", message="not a recording")
RUN = {
    "started": "2026-10-01T20:00:00+02:00",
    "command": "avpenet score [1 input] --out scores.csv",
    "left_aside": {"by_reason": {"other_suffix": 2}, "by_suffix": {".txt": 2}},
    "pseudonymised": False,
}


def _recording(number: int) -> Recording:
    return Recording(Path(f"/archive/{number}.mp4"), f"{number}.mp4", f"key-{number}")


def _outcome(status: Status = Status.SCORED) -> RecordingOutcome:
    scored = SegmentScore(0, 0.0, 3.0, Status.SCORED, Quality(), score=1.0, label="low")
    unscorable = SegmentScore(1, 3.0, 6.0, Status.UNSCORABLE, Quality(), reason="no_face")
    return RecordingOutcome(status, (scored, unscorable) if status is Status.SCORED else (unscorable,))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "scores.csv"


def _fill(out: Path) -> None:
    """Of five inputs two are done, one failed, one failed the night before, and one was not reached."""
    journal = Journal(out, {"weights": "some"})
    facts = Path(__file__).stat()
    journal.note(_recording(3), None, FAILED)
    journal.note(_recording(9), facts, _outcome())  # of an earlier run with other inputs
    journal.begin_run([_recording(number) for number in range(5)], RUN, with_paths=True)
    journal.note(_recording(0), facts, _outcome())
    journal.note(_recording(1), facts, _outcome(Status.UNSCORABLE))
    journal.note(_recording(2), facts, FAILED)
    journal.close()


def test_interrupted_run_is_counted(out: Path) -> None:
    _fill(out)
    before = journal_path(out).read_bytes()
    state = read_status(out)
    assert (state.state, state.holder, state.started) == ("interrupted", None, RUN["started"])
    assert state.recordings == {"scored": 1, "unscorable": 1, "failed": 1}
    assert (state.to_do, state.not_among_inputs) == (2, 1)
    assert state.segments == {"scored": 1, "unscorable": 2}
    assert (state.unscorable, state.failed) == ({"no_face": 2}, {"unreadable": 1})
    assert [failed.path for failed in state.failed_recordings] == ["/archive/2.mp4"]
    assert state.left_aside is not None
    assert state.left_aside.by_suffix == {".txt": 2}
    assert state.not_known == []
    assert journal_path(out).read_bytes() == before
    assert [path.name for path in out.parent.iterdir()] == ["scores.csv.journal"]


def test_overwriting_run_resumes_without_that_option(out: Path, avpenet_here: Callable[..., Answer]) -> None:
    _fill(out)
    assert "the same command resumes" in avpenet_here("status", out).out
    journal = Journal(out, {"weights": "some"})
    journal.begin_run([], RUN | {"command": "avpenet score [1 input] --overwrite --out scores.csv"}, with_paths=True)
    journal.close()
    assert "the same command without --overwrite resumes" in avpenet_here("status", out).out


def test_running_and_finished_runs_are_told_apart(out: Path) -> None:
    _fill(out)
    with output_lock(out):
        state = read_status(out)
        assert state.state == "running"
        assert state.holder is not None
        assert state.holder.pid == os.getpid()
    journal = Journal(out, {"weights": "some"})
    journal.end_run("2026-10-02T06:00:00+02:00")
    journal.close()
    state = read_status(out)
    assert (state.state, state.finished) == ("finished", "2026-10-02T06:00:00+02:00")


def test_run_that_has_stored_nothing_yet_is_running(out: Path) -> None:
    with output_lock(out):
        assert read_status(out).state == "running"


def test_killed_writer_with_a_half_done_transaction_is_read(out: Path) -> None:
    _fill(out)
    kill_in_transaction(journal_path(out), "failed")
    assert read_status(out).failed == {"unreadable": 1}


def test_status_never_keeps_a_run_from_starting_or_writing(out: Path) -> None:
    _fill(out)
    stop = threading.Event()
    failures: list[Exception] = []

    def look() -> None:
        while not stop.is_set():
            try:
                lock_holder(out)
                read_status(out)
            except Exception as error:
                failures.append(error)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        for number in range(20):
            with output_lock(out):
                journal = Journal(out, {"weights": "some"})
                journal.note(_recording(number), Path(__file__).stat(), _outcome())
                journal.close()
    finally:
        stop.set()
        watcher.join()
    assert failures == []


def test_journal_of_an_earlier_version_says_what_is_not_known(out: Path) -> None:
    _fill(out)
    with sqlite3.connect(journal_path(out)) as database:
        for table in ("file", "input", "latest_run"):
            database.execute(f"DROP TABLE {table}")
    database.close()
    state = read_status(out)
    assert (state.state, state.to_do, state.left_aside) == ("unknown", None, None)
    assert state.recordings == {"scored": 2, "unscorable": 1, "failed": 2}
    assert [failed.path for failed in state.failed_recordings] == [None, None]
    assert "version 0.1.0 did not store" in state.not_known[0]
    Journal(out, {"weights": "some"}).close()  # a new run adds what is missing
    assert read_status(out).to_do is None


def test_manifest_is_read_where_the_journal_is_gone(out: Path, study: Path) -> None:
    content = json.loads((study / "scores.run.json").read_text(encoding="utf-8"))
    del content["command"], content["left_aside"]
    out.with_suffix(".run.json").write_text(json.dumps(content), encoding="utf-8")
    state = read_status(out)
    assert state.state == "finished"
    assert state.failed == {"empty_file": 1}
    assert state.recordings["scored"] == len(content["recordings"]) - 1 - state.recordings["unscorable"]
    assert "the journal is gone" in state.not_known[0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("recordings", 3),
        ("recordings", [{"recording": "a.mp4"}]),
        ("recordings", [{"recording": "a.mp4", "status": "failed", "segments": {"scored": "x"}}]),
        ("left_aside", {"by_reason": 0.5}),
        ("left_aside", {"by_reason": {"other": 1}, "by_suffix": {}}),
        ("left_aside", [1]),
        ("timing", "x"),
        ("command", ["avpenet"]),
    ],
)
def test_a_manifest_with_other_values_is_refused(
    out: Path, study: Path, avpenet_here: Callable[..., Answer], name: str, value: object
) -> None:
    content = json.loads((study / "scores.run.json").read_text(encoding="utf-8"))
    out.with_suffix(".run.json").write_text(json.dumps(content | {name: value}), encoding="utf-8")
    done = avpenet_here("status", out)
    assert done.code == 2
    assert done.last_line.endswith("scores.run.json cannot be read; it is no manifest, or it is damaged")


def test_what_is_no_output_gets_one_line(out: Path) -> None:
    for folder in (Path(), out.parent):
        with pytest.raises(SettingsError, match="is a folder; name the table"):
            read_status(folder)
    with pytest.raises(SettingsError, match="no such output"):
        read_status(out)
    out.write_text("someone else's")
    with pytest.raises(SettingsError, match="has neither journal nor manifest"):
        read_status(out)
    journal_path(out).write_bytes(b"\0\1\2" * 3000)
    with pytest.raises(OutputError, match=r"the journal .* cannot be read"):
        read_status(out)


def test_failed_paths_keep_their_bytes_and_json_follows_its_schema(
    out: Path, avpenet_here: Callable[..., Answer]
) -> None:
    journal = Journal(out, {"weights": "some"})
    paths = [Path(os.fsdecode(b"/archive/m\xfcde.mp4")), Path("/archive/line\nbreak.mp4")]
    recordings = [Recording(path, f"{number}.mp4", f"key-{number}") for number, path in enumerate(paths)]
    journal.begin_run(recordings, RUN, with_paths=True)
    for recording in recordings:
        journal.note(recording, None, FAILED)
    journal.close()
    printed = subprocess.run(
        [sys.executable, "-m", "avpenet_cli", "status", out, "--failed", "--print0"], capture_output=True, check=True
    )
    assert printed.stdout == b"/archive/m\xfcde.mp4\0/archive/line\nbreak.mp4\0"
    assert "give --print0" in avpenet_here("status", out, "--failed").last_line
    content = json.loads(avpenet_here("status", out, "--json").out)
    schema = Path(schemas.__file__).parent / "status.schema.json"
    jsonschema.validate(content, json.loads(schema.read_text(encoding="utf-8")))
    assert os.fsencode(content["failed_recordings"][0]["path"]) == b"/archive/m\xfcde.mp4"
