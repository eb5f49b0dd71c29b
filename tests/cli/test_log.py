"""The log of a run: as text, JSON and a file, on a terminal, and with -q for cron."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from avpenet_cli import schemas
from avpenet_cli.cli.progress import RemainingTime
from avpenet_cli.cli.reporter import Reporter
from avpenet_cli.cli.run_log import LogOptions
from avpenet_cli.errors import ExitCode
from tests.conftest import Answer, ClipMaker

Avpenet = Callable[..., Answer]
SCHEMA = json.loads((Path(schemas.__file__).parent / "log.schema.json").read_text(encoding="utf-8"))
LONG_NAME = "ward [3] camera 17 " + 12 * "exported again " + ".mp4"


@pytest.fixture(scope="module")
def archive(clips: ClipMaker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two recordings that are scored, one of them with a long name."""
    folder = tmp_path_factory.mktemp("archive")
    for name in ("a.mp4", LONG_NAME):
        shutil.copy(clips.brief(), folder / name)
    return folder


@pytest.fixture(scope="module")
def scored(archive: Path, avpenet_here: Avpenet) -> Answer:
    """A run without an error, logged as JSON."""
    out = archive.parent / "scored.csv"
    return avpenet_here("score", archive, *_options(out), "--log-format", "json", "-v", "--strict")


@pytest.fixture
def out(archive: Path, scored: Answer, tmp_path: Path) -> Path:
    """The table of the archive, finished, so that another run takes no time."""
    assert scored.code == 0, scored.err
    for path in archive.parent.glob("scored.*"):
        shutil.copy(path, tmp_path)
    return tmp_path / "scored.csv"


def _options(out: Path) -> list[str | Path]:
    return ["--out", out, "--weights", "untrained"]


def _lines(text: str) -> list[dict[str, Any]]:
    """The lines of a JSON log; every one satisfies the published schema."""
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        jsonschema.validate(line, SCHEMA)
    return lines


def _events(text: str) -> list[str]:
    return [line["event"] for line in _lines(text)]


def test_json_log_of_a_good_run_ends_with_its_summary(scored: Answer) -> None:
    assert _events(scored.err) == [
        "notice",
        "start",
        *["recording", "recording_note"] * 2,
        "summary",
    ]
    summary = _lines(scored.err)[-1]
    assert (summary["exit_code"], summary["level"]) == (0, "info")
    assert (summary["recordings"], summary["segments"]) == ({"scored": 2}, {"scored": 2})
    assert summary["modalities"] == {"audio+face": 2}
    assert summary["seconds"]["scored"] == pytest.approx(3.2, abs=0.1)


def test_json_log_of_a_failing_run_counts_the_failure(
    archive: Path, out: Path, avpenet_here: Avpenet, tmp_path: Path
) -> None:
    name = os.fsdecode(b"no recording \xff\n.mp4")
    (tmp_path / name).write_bytes(b"no recording")
    options = [*_options(out), "--log-format", "json", "--debug"]
    answer = avpenet_here("score", archive, tmp_path / name, *options)
    assert answer.code == 1
    lines = _lines(answer.err)
    failed = next(line for line in lines if line.get("status") == "failed")
    assert (failed["level"], failed["reason"]) == ("error", "unreadable")
    assert "no recording" in failed["recording"]
    assert "RecordingError" in next(line["traceback"] for line in lines if line["event"] == "traceback")
    assert (lines[-1]["exit_code"], lines[-1]["recordings"]) == (1, {"scored": 2, "failed": 1})


@pytest.mark.slow
def test_json_log_of_an_interrupted_run_ends_with_what_it_did(
    archive: Path, avpenet_here: Avpenet, tmp_path: Path
) -> None:
    out = tmp_path / "scores.csv"

    def interrupt() -> None:
        while not (tmp_path / "scores.csv.journal").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    answer = avpenet_here("score", archive, *_options(out), "--log-format", "json")
    thread.join()
    assert answer.code == 130
    error, summary = _lines(answer.err)[-2:]
    assert (error["event"], error["exit_code"]) == ("error", 130)
    assert error["message"].startswith("interrupted after ")
    assert error["remedy"] == "run the same command again to resume"
    assert (summary["event"], summary["exit_code"]) == ("summary", 130)


def test_json_log_of_a_refused_run_names_the_error(archive: Path, avpenet_here: Avpenet, tmp_path: Path) -> None:
    out, log = tmp_path / "scores.csv", tmp_path / "log"
    options = [*_options(out), "--log-format", "json", "--log-file", log, "-q"]
    answer = avpenet_here("score", tmp_path / "not-mounted", *options)
    assert answer.code == 2
    assert _events(answer.err)[-2:] == ["error", "summary"]
    assert log.read_text() == answer.err
    assert _lines(answer.err)[-1]["recordings"] == {}


@pytest.mark.parametrize("how", [["--log-format", "json"], ["--log-format=json"]])
def test_a_wrong_command_line_is_an_error_in_the_json_log(how: list[str], avpenet_here: Avpenet) -> None:
    (line,) = _lines(avpenet_here("score", "a.mp4", *how, "--no-such-option").err)
    assert (line["event"], line["exit_code"]) == ("error", 2)
    assert "--no-such-option" in line["message"]


def test_schema_refuses_unknown_fields_and_events(scored: Answer) -> None:
    summary = _lines(scored.err)[-1]
    for wrong in (summary | {"surprise": 1}, summary | {"event": "end"}, {**summary, "exit_code": "0"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({name: value for name, value in summary.items() if name != "event"}, SCHEMA)


def test_quiet_run_prints_nothing_and_fills_the_log_file(
    archive: Path, out: Path, avpenet_here: Avpenet, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    answer = avpenet_here("score", archive, *_options(out), "-q", "--log-file", log)
    assert (answer.code, answer.err, answer.out) == (0, "", "")
    text = log.read_text()
    assert text.count("UNTRAINED") == 1
    assert "a.mp4: 1 segment, scored by an earlier run" in text
    assert " info    2 recordings, 0 failed; " in text.splitlines()[-1]


def test_quiet_run_prints_what_failed(archive: Path, out: Path, avpenet_here: Avpenet, tmp_path: Path) -> None:
    log = tmp_path / "log"
    (tmp_path / "bad.mp4").write_bytes(b"")
    command = ["score", archive, tmp_path / "bad.mp4", *_options(out), "-q", "--log-file", log]
    answer = avpenet_here(*command)
    assert answer.code == 1
    notice, failed, last = answer.err.splitlines()
    assert "UNTRAINED" in notice
    assert "bad.mp4: failed: an empty file" in failed
    assert failed[26:33] == "error  "
    assert last.startswith("avpenet: 3 recordings, 1 failed; ")
    assert log.read_text().splitlines()[-1].endswith(last.removeprefix("avpenet: "))


def test_quiet_run_reports_a_truncated_recording_once(clips: ClipMaker, avpenet_here: Avpenet, tmp_path: Path) -> None:
    content = clips.ffmpeg("-f", "lavfi", "-i", "sine=d=8:r=16000", suffix=".wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(content[: len(content) // 2])
    command = ["score", tmp_path / "cut.wav", *_options(tmp_path / "scores.csv"), "-q"]
    first, again = avpenet_here(*command), avpenet_here(*command)
    assert "cut.wav: the last 4.0 of 8.0 s are missing" in first.err
    assert (first.code, again.code, again.err) == (0, 0, "")


def test_quiet_run_prints_the_error_that_ended_it(out: Path, avpenet_here: Avpenet, tmp_path: Path) -> None:
    log = tmp_path / "log"
    for wrong in (["--out", tmp_path / "scores.txt"], ["--out", out, "--require", "smell"]):
        answer = avpenet_here("score", tmp_path, *wrong, "-q", "--log-file", log)
        assert answer.code == 2
        (line,) = answer.err.splitlines()
        assert line.startswith("avpenet: ")
        assert log.read_text().splitlines()[-1].endswith(line.removeprefix("avpenet: "))


@pytest.mark.parametrize("columns", [80, 120])
def test_terminal_shows_the_name_in_one_line_and_failures_in_red(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("TERM", "xterm"), ("COLUMNS", str(columns)), ("LINES", "24")):
        monkeypatch.setenv(name, value)
    terminal, other_end = pty.openpty()
    chunks: list[bytes] = []

    def read() -> None:
        with contextlib.suppress(OSError):  # how a terminal says that its other end is closed
            while chunk := os.read(terminal, 1 << 12):
                chunks.append(chunk)

    reader = threading.Thread(target=read)
    reader.start()
    with (
        os.fdopen(other_end, "w", encoding="utf-8") as stderr,
        contextlib.redirect_stderr(stderr),
        Reporter(LogOptions()) as reporter,
    ):
        reporter.set_total(3)
        reporter.item_started(LONG_NAME)
        reporter.progress(12, 60)
        reporter.warning("a.mp4: truncated")
        reporter.error("bad.mp4: failed: an empty file")
        reporter.summary("3 recordings, 1 failed", ExitCode.SOME_FAILED)
    reader.join()
    os.close(terminal)
    seen = b"".join(chunks).decode()
    assert "\x1b[33ma.mp4: truncated" in seen
    assert "\x1b[31mbad.mp4: failed: an empty file" in seen
    plain = list(filter(None, re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen))))
    assert max(map(len, plain)) == columns
    # Repeated below every line of the log, and gone at the end.
    names = [line for line in plain if line.startswith("ward ")]
    assert set(names) == {LONG_NAME[: columns - 1] + "…"}
    assert not plain[-3].startswith("ward ")
    assert any(re.fullmatch(r"seconds +[━╸╺]+ +12/60 *", line) for line in plain)
    assert plain[-1] == "avpenet: 3 recordings, 1 failed"


class _Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_remaining_time_follows_the_seconds_of_recordings_done() -> None:
    clock = _Clock()
    remaining = RemainingTime(clock)
    clock.now_s += 50  # loading
    remaining.start(5)
    remaining.item_done()  # by an earlier run
    assert remaining.remaining_s is None
    remaining.progress(30, 60)
    clock.now_s += 60  # half as fast as real time
    # The rest of this recording, and three like it.
    assert remaining.remaining_s == pytest.approx(2 * (30 + 3 * 60))
    remaining.progress(60, 60)
    clock.now_s += 60
    remaining.item_done()
    remaining.progress(0, 180)
    # Those to come are as long as the two known ones on average.
    assert remaining.remaining_s == pytest.approx(2 * (180 + 2 * 120))
    for _ in range(3):
        remaining.item_done()
    assert remaining.remaining_s == 0
