"""The history beside an output: what a run appends, and what shows when somebody changes it."""

from __future__ import annotations

import json
import os
import pwd
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from avpenet_cli.errors import NoSpaceError, OutputError, SettingsError
from avpenet_cli.runs.history import (
    HistoryHead,
    ReadFile,
    checked_signature,
    digest_of_line,
    history_path,
    locked_history,
    read_head,
    record_run,
    refuse_unusable_history,
)
from avpenet_cli.runs.history_chain import Chain, read_chain
from tests.conftest import REPOSITORY

APPENDING = """
import sys
from pathlib import Path
from avpenet_cli.runs.history import locked_history
out = Path(sys.argv[1])
for number in range(20):
    with locked_history(out) as history:
        out.write_text(f"{sys.argv[2]} {number}")
        history.append("score", written=[out])
"""
KILLED = """
import os, signal, sys
from pathlib import Path
from avpenet_cli.runs import history
write = os.write
def torn(handle, content):
    write(handle, content[:40])
    os.kill(os.getpid(), signal.SIGKILL)
os.write = torn
with history.locked_history(Path(sys.argv[1])) as opened:
    opened.append("score", written=[])
"""


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "scores.csv"


def run(out: Path, text: str) -> HistoryHead:
    with locked_history(out) as history:
        out.write_text(text)
        return history.append(
            "score", written=[out], read=[ReadFile("subjects", "s.csv", "ab")], command="avpenet score"
        )


def rewrite(out: Path, lines: list[bytes]) -> Chain:
    history_path(out).write_bytes(b"".join(line + b"\n" for line in lines))
    return read_chain(out)


def raw_lines(out: Path) -> list[bytes]:
    return history_path(out).read_bytes().splitlines()


def python(*words: str | Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", *map(str, words)], cwd=REPOSITORY)


def test_each_run_adds_a_line_that_has_the_digest_of_the_one_before(out: Path) -> None:
    heads = [run(out, text) for text in ("first", "second", "third")]
    lines = [json.loads(line) for line in raw_lines(out)]
    assert [line["line"] for line in lines] == [1, 2, 3]
    assert [line["previous"] for line in lines] == ["", heads[0].sha256, heads[1].sha256]
    assert read_head(out) == heads[2] == HistoryHead(3, digest_of_line(raw_lines(out)[2]))
    (written,) = lines[2]["written"]
    assert (written["file"], written["size_bytes"]) == ("scores.csv", 5)
    assert lines[2]["operator"] == pwd.getpwuid(os.geteuid()).pw_name
    assert "sign_off" not in lines[2]
    chain = read_chain(out)
    assert (chain.problems, chain.notes, len(chain.lines)) == ((), (), 3)
    assert chain.latest() == {"scores.csv": (chain.lines[2].written[0], 3)}


def test_line_that_is_edited_removed_or_moved_shows(out: Path) -> None:
    for text in ("first", "second", "third"):
        run(out, text)
    first, second, third = raw_lines(out)
    edited = second.replace(b'"operator": "', b'"operator": "not ')
    assert rewrite(out, [first, edited, third]).problems == (
        "line 2 was edited: it does not have the digest that it states",
        "line 3 does not have the digest of line 2: line 2 was edited, or both were moved",
    )
    last = third.replace(b'"operator": "', b'"operator": "not ')
    assert rewrite(out, [first, second, last]).problems == (
        "line 3 was edited: it does not have the digest that it states",
    )
    assert "line 3 was edited" in rewrite(out, [first, second, third[:-1] + b', "line": 3}']).problems[0]
    newer = third.replace(b'"history_version": 1', b'"history_version": 2, "new": 0')
    assert "newer version of avpenet" in rewrite(out, [first, second, newer]).problems[0]
    assert rewrite(out, [line + b"\r" for line in (first, second, third)]).problems == (
        "a program changed its line ends to those of Windows",
    )
    assert "lines before it were removed" in rewrite(out, [first, third]).problems[0]
    assert "removed from the beginning" in rewrite(out, [second, third]).problems[0]
    assert len(rewrite(out, [first, third, second]).problems) == 2
    assert "moved, repeated or added" in rewrite(out, [first, second, second, third]).problems[0]
    assert rewrite(out, [first, b"{}", third]).problems[0] == "line 2 cannot be read: it was edited"
    more = second[:-1] + b', "approved": true}'
    assert rewrite(out, [first, more, third]).problems[0] == "line 2 cannot be read: it was edited"
    # Nothing in the history itself shows that its end is gone; the output's digest, and copies of its head, do.
    assert rewrite(out, [first, second]).problems == ()


@pytest.mark.parametrize("kept", [1, 100])
def test_torn_line_is_kept_closed_and_named(out: Path, kept: int) -> None:
    run(out, "first")
    run(out, "second")
    first, second = raw_lines(out)
    history_path(out).write_bytes(first + b"\n" + second[:kept])
    assert "line 2 is torn" in read_chain(out).problems[0]
    run(out, "third")
    assert raw_lines(out)[:2] == [first, second[:kept]]
    chain = read_chain(out)
    assert chain.problems == ()
    assert chain.notes == ("line 2 is torn: a run was killed while it wrote it; line 3 attests it",)
    assert [line.line for line in chain.lines] == [1, 3]


def test_two_runs_killed_in_a_row_leave_torn_lines_that_are_no_problem(out: Path) -> None:
    run(out, "first")
    (first,) = raw_lines(out)
    history_path(out).write_bytes(first + b"\n" + first[:40] + b"\n" + first[:60])
    run(out, "second")
    chain = read_chain(out)
    assert (chain.problems, len(chain.notes), [line.line for line in chain.lines]) == ((), 2, [1, 4])


def test_full_disk_leaves_the_history_as_it_was(out: Path) -> None:
    run(out, "first")
    before = history_path(out).read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, limits[1]))
    try:
        with pytest.raises(NoSpaceError):
            run(out, "second")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert history_path(out).read_bytes() == before
    run(out, "second")
    assert (read_chain(out).problems, read_chain(out).notes) == ((), ())


def test_line_that_was_edited_is_not_taken_for_torn(out: Path) -> None:
    run(out, "first")
    (first,) = raw_lines(out)
    history_path(out).write_bytes(first + b"\n{}\n")
    run(out, "second")
    chain = read_chain(out)
    assert (chain.problems, chain.notes) == (("line 2 cannot be read: it was edited",), ())


def test_no_output_replaces_a_history(out: Path) -> None:
    run(out, "first")
    with pytest.raises(OutputError, match="only histories have such names"):
        refuse_unusable_history(history_path(out))


def test_output_of_another_command_is_not_replaced_by_a_file_beside_an_output(out: Path) -> None:
    site = out.with_name("site.json")
    site.write_text("{}")
    refuse_unusable_history(out.with_name("site.html"), [site])
    record_run(site, "calibrate", written=[site])
    with pytest.raises(OutputError, match="history of its own"):
        refuse_unusable_history(out.with_name("site.html"), [site])
    refuse_unusable_history(site, [site])


def test_run_killed_while_it_appends_leaves_a_torn_line(out: Path) -> None:
    run(out, "first")
    process = python(KILLED, out)
    assert process.wait() == -signal.SIGKILL
    assert len(raw_lines(out)[1]) == 40
    run(out, "second")
    assert (read_chain(out).problems, len(read_chain(out).notes)) == ((), 1)


def test_two_runs_at_a_time_make_one_chain(out: Path) -> None:
    processes = [python(APPENDING, out, name) for name in ("a", "b")]
    assert [process.wait() for process in processes] == [0, 0]
    chain = read_chain(out)
    assert (len(chain.lines), chain.problems, chain.notes) == (40, (), ())


def test_new_history_is_private_whatever_the_umask(out: Path) -> None:
    mask = os.umask(0)
    try:
        run(out, "first")
    finally:
        os.umask(mask)
    assert stat.S_IMODE(history_path(out).stat().st_mode) == 0o600


def test_run_that_wrote_nothing_leaves_no_history(out: Path) -> None:
    with pytest.raises(OutputError, match="a file"), locked_history(out):
        raise OutputError("a file")
    assert not history_path(out).exists()
    assert read_head(out) is None
    assert not read_chain(out).exists


def test_link_in_place_of_the_history_is_refused(out: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("")
    history_path(out).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="is a link"):
        refuse_unusable_history(out)
    with pytest.raises(OutputError, match="is a link"):
        run(out, "first")
    assert "it is a link" in read_chain(out).problems[0]
    history_path(out).unlink()
    os.mkfifo(history_path(out))
    assert read_chain(out).problems == ("it is not a regular file",)
    with pytest.raises(OutputError, match="not a regular file"):
        refuse_unusable_history(out)


@pytest.mark.parametrize(("name", "role"), [("", "QA"), ("Dr. X", " "), ("Dr.\nX", "QA"), ("x" * 201, "QA")])
def test_signature_needs_a_name_and_a_role(name: str, role: str) -> None:
    with pytest.raises(SettingsError):
        checked_signature(name, role)
    assert checked_signature(" Dr. X ", "QA") == ("Dr. X", "QA")
