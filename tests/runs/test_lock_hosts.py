"""One run at a time per output where `flock` does not reach: other hosts on a share, and file systems without locks."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from avpenet_cli.errors import OutputLockedError
from avpenet_cli.runs.history import digest_of_line, history_path
from avpenet_cli.runs.journal import Journal, journal_path
from avpenet_cli.runs.lock import LeaseTiming, LockHolder, lock_holder, output_lock
from avpenet_cli.runs.status import read_status
from tests.conftest import REPOSITORY, ClipMaker
from tests.support.hosts import need, start_on_host

_RUN = """
import sys
from pathlib import Path
from avpenet_cli.errors import AvpenetError
from avpenet_cli.runs.callbacks import RunCallbacks
from avpenet_cli.runs.history import digest_of_line, history_path
from avpenet_cli.runs.journal import Journal, journal_path
from avpenet_cli.runs.lock import LeaseTiming, output_lock

class Printed(RunCallbacks):
    def info(self, message, **fields):
        print(message, flush=True)

try:
    with output_lock(Path(sys.argv[1]), Printed(), LeaseTiming(float(sys.argv[2]), float(sys.argv[3]))) as lease:
        print("held", flush=True)
        for line in sys.stdin:
            lease.check()
            print("noted", flush=True)
except AvpenetError as error:
    print(error, flush=True)
    sys.exit(error.exit_code)
"""
_RACE = """
import contextlib, sys
from pathlib import Path
from avpenet_cli.errors import OutputLockedError
from avpenet_cli.runs.lease import LeaseTiming, hold_lease

print("ready", flush=True)
for line in sys.stdin:
    folder = Path(line.strip())
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(hold_lease(folder, folder, LeaseTiming(0.2, 0.3)))
            print("won", flush=True)
        except OutputLockedError:
            print("lost", flush=True)
        sys.stdin.readline()
"""
_APPEND = """
import sys
from pathlib import Path
from avpenet_cli.runs.history import record_run

for number in range(10):
    record_run(Path(sys.argv[1]), "score", written=[Path(sys.argv[1])])
print("done")
"""
_TRANSACTION = """
import sqlite3, sys
from pathlib import Path
from avpenet_cli.runs.journal import Journal, journal_path
from avpenet_cli.runs.lock import output_lock

with output_lock(Path(sys.argv[1])):
    database = sqlite3.connect(sys.argv[1] + ".journal", isolation_level=None)
    database.execute("PRAGMA cache_size = 1")
    database.execute("BEGIN IMMEDIATE")
    rows = [(str(n), '{"status": "failed", "reason": "r", "message": "%s"}' % ("x" * 5000)) for n in range(200)]
    database.executemany("INSERT INTO failed VALUES (?, ?)", rows)
    print("in the middle", flush=True)
    sys.stdin.readline()
    database.execute("COMMIT")
    print("done", flush=True)
"""
_SHORT = LeaseTiming(renew_every_s=0.1, dead_after_s=1.0)


class Hosts:
    """Runs on hosts that share a folder, of which one after the other takes `scores.csv`."""

    def __init__(self, folder: Path) -> None:
        self.shared, self.mount = folder / "shared", folder / "mount"
        self.shared.mkdir()
        self.mount.mkdir()
        self.out = self.mount / "scores.csv"
        self.started: list[subprocess.Popen[str]] = []

    def start(self, host: str, dead_after_s: float = 30.0, out: Path | None = None) -> subprocess.Popen[str]:
        command: list[str | Path] = [sys.executable, "-c", _RUN, out or self.out, "0.1", str(dead_after_s)]
        self.started.append(start_on_host(host, self.shared, self.mount, command))
        return self.started[-1]


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    hosts = Hosts(tmp_path)
    try:
        yield hosts
    finally:
        for process in hosts.started:
            process.kill()
            process.communicate()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def _note(process: subprocess.Popen[str]) -> str:
    """Ask a run to note a recording; its answer."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return _line(process)


def _child_of(process: subprocess.Popen[str]) -> int:
    return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])


def _dead_lease(folder: Path, token: str = "0123456789abcdef") -> Path:
    """What a host that lost its power leaves behind."""
    folder.mkdir()
    facts: dict[str, object] = {"host": "ward-z", "since": "2026-10-02T06:00:00+02:00", "token": token}
    facts |= {"pid": 7, "kernel": "elsewhere/1", "started": 5, "renewals": "000000000003"}
    (folder / token).write_text(json.dumps(facts))
    return folder / token


def test_run_of_another_host_is_not_disturbed(hosts: Hosts) -> None:
    first = hosts.start("ward-a")
    assert _line(first) == "held"
    second = hosts.start("ward-b")
    assert _line(second).startswith(
        f"{hosts.out}: waiting up to 30 s for a sign of life from process 1 on ward-a since 2"
    )
    assert _line(second).startswith(f"{hosts.out} is being written by process 1 on ward-a since 2")
    assert second.wait() == 75
    assert _note(first) == "noted"
    holder = lock_holder(hosts.shared / "scores.csv")
    assert holder is not None
    assert (holder.pid, holder.host) == (1, "ward-a")
    first.communicate()
    assert first.returncode == 0
    assert lock_holder(hosts.shared / "scores.csv") is None
    assert [path.name for path in hosts.shared.iterdir()] == ["scores.csv.lock"]


@pytest.mark.slow
def test_shard_that_another_host_scores_is_refused(hosts: Hosts, clips: ClipMaker) -> None:
    (hosts.shared / "scores.shards").mkdir()
    first = hosts.start("ward-a", out=hosts.mount / "scores.shards" / "1-of-2.csv")
    assert _line(first) == "held"
    command: list[str | Path] = [sys.executable, "-m", "avpenet_cli", "score", clips.brief(), "--weights", "untrained"]
    second = start_on_host("ward-b", hosts.shared, hosts.mount, [*command, "--out", hosts.out, "--shard", "1/2"])
    hosts.started.append(second)
    out, err = second.communicate()
    assert second.returncode == 75
    assert out == ""
    assert "1-of-2.csv: waiting up to 60 s for a sign of life from process 1 on ward-a since 2" in err
    assert "1-of-2.csv is being written by process 1 on ward-a since 2" in err.splitlines()[-1]
    assert _note(first) == "noted"
    first.communicate()
    assert sorted(path.name for path in hosts.shared.rglob("*.csv*")) == ["1-of-2.csv.lock"]


def test_lock_of_a_dead_host_is_taken_over(hosts: Hosts) -> None:
    first = hosts.start("ward-a")
    assert _line(first) == "held"
    first.kill()
    first.wait()
    second = hosts.start("ward-b", dead_after_s=1.0)
    assert "waiting up to 1 s for a sign of life from process 1 on ward-a" in _line(second)
    assert "lock taken over from process 1 on ward-a since 2" in _line(second)
    assert _line(second) == "held"
    assert _note(second) == "noted"
    second.communicate()
    assert [path.name for path in hosts.shared.iterdir()] == ["scores.csv.lock"]


def test_host_that_was_suspended_too_long_writes_nothing_when_it_wakes(hosts: Hosts) -> None:
    first = hosts.start("ward-a")
    assert _line(first) == "held"
    assert _note(first) == "noted"
    os.kill(_child_of(first), signal.SIGSTOP)
    second = hosts.start("ward-b", dead_after_s=1.0)
    assert "waiting" in _line(second)
    assert "taken over" in _line(second)
    assert _line(second) == "held"
    os.kill(_child_of(first), signal.SIGCONT)
    assert _note(first).startswith(f"{hosts.out} was taken over by process 1 on ward-b since 2")
    assert first.wait() == 75
    assert _note(second) == "noted"
    second.communicate()
    assert second.returncode == 0


def test_lease_that_ends_while_it_is_watched_is_free(tmp_path: Path) -> None:
    lease = _dead_lease(tmp_path / "scores.csv.holder")
    command: list[str | Path] = [sys.executable, "-c", _RUN, tmp_path / "scores.csv", "1", "600"]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=-1, stdout=-1, text=True) as newcomer:
        assert "waiting up to 600 s" in _line(newcomer)
        lease.unlink()
        assert _line(newcomer) == "held"
        assert newcomer.communicate()[0] == ""


def test_file_system_without_locks_is_locked_by_the_lease_alone(tmp_path: Path) -> None:
    need("strace")
    out = tmp_path / "scores.csv"
    without: list[str | Path] = [
        "strace",
        "-f",
        "-o",
        tmp_path / "calls",
        "-e",
        "trace=flock",
        "-e",
        "inject=flock:error=ENOLCK",
    ]
    command: list[str | Path] = [*without, sys.executable, "-c", _RUN, out, "10", "60"]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=-1, stdout=-1, text=True) as first:
        assert _line(first) == "held"
        refused = subprocess.run(command, cwd=REPOSITORY, stdin=-3, stdout=-1, text=True, check=False)
        assert refused.returncode == 75
        assert f"{out} is being written by process {_child_of(first)} on " in refused.stdout
        os.kill(_child_of(first), signal.SIGKILL)
    taken = subprocess.run(command, cwd=REPOSITORY, stdin=-3, stdout=-1, text=True, check=True)
    # The dead process was one of this host: nothing had to be waited for.
    assert taken.stdout.splitlines()[0].endswith("which is dead")
    assert taken.stdout.splitlines()[1:] == ["held"]
    assert "ENOLCK (No locks available) (INJECTED)" in (tmp_path / "calls").read_text()


def test_two_hosts_that_append_to_one_history_make_one_chain(hosts: Hosts) -> None:
    out = hosts.shared / "scores.csv"
    out.touch()
    command: list[str | Path] = [sys.executable, "-c", _APPEND, hosts.out]
    for name in ("ward-a", "ward-b"):
        hosts.started.append(start_on_host(name, hosts.shared, hosts.mount, command, cached_s=0.0))
    for process in hosts.started:
        assert process.communicate()[0] == "done\n"
    lines = history_path(out).read_bytes().splitlines()
    assert len(lines) == 20
    previous = [json.loads(line)["previous"] for line in lines]
    assert previous == ["", *map(digest_of_line, lines[:-1])]


def test_status_on_another_host_leaves_a_transaction_alone(hosts: Hosts) -> None:
    out = hosts.shared / "scores.csv"
    Journal(out, {"weights": "some"}).close()
    first = start_on_host("ward-a", hosts.shared, hosts.mount, [sys.executable, "-c", _TRANSACTION, hosts.out])
    hosts.started.append(first)
    assert _line(first) == "in the middle"
    begun = journal_path(out).with_name("scores.csv.journal-journal")
    before = begun.read_bytes()
    assert before
    with pytest.raises(OutputLockedError, match="in the middle of it"):
        read_status(out)
    assert begun.read_bytes() == before
    assert _note(first) == "done"
    assert first.wait() == 0
    assert read_status(out).state == "unknown"
    with contextlib.closing(sqlite3.connect(journal_path(out))) as database:
        assert database.execute("SELECT COUNT(*) FROM failed").fetchone() == (200,)
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.slow
def test_one_of_ten_newcomers_gets_a_dead_or_free_lease(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen([sys.executable, "-c", _RACE], cwd=REPOSITORY, stdin=-1, stdout=-1, text=True)
            )
            for _ in range(10)
        ]
        assert [_line(process) for process in processes] == ["ready"] * 10
        for number in range(20):
            folder = tmp_path / f"{number}.holder"
            if number % 2:
                _dead_lease(folder)
            for line in (f"{folder}\n", "\n"):
                for process in processes:
                    assert process.stdin is not None
                    process.stdin.write(line)
                    process.stdin.flush()
                if line != "\n":
                    assert sorted(_line(process) for process in processes) == ["lost"] * 9 + ["won"]
        for process in processes:
            process.communicate()
    assert list(tmp_path.iterdir()) == []


def test_lease_is_lost_when_its_folder_is_removed(tmp_path: Path) -> None:
    with pytest.raises(OutputLockedError, match="no longer this run's"), output_lock(tmp_path / "a.csv") as lease:
        for path in (tmp_path / "a.csv.holder").iterdir():
            path.unlink()
        lease.check()


def test_status_tells_a_dead_host_from_one_whose_clock_differs(tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    lease = _dead_lease(tmp_path / "scores.csv.holder")
    holder = LockHolder(7, "ward-z", "2026-10-02T06:00:00+02:00")
    assert lock_holder(out) == holder
    for ago_s in (3600.0, 300.0):
        os.utime(lease, (time.time() - ago_s,) * 2)
        assert lock_holder(out, _SHORT) is None
    moving = (
        "import os, sys, time\n"
        "for number in range(10**6):\n"
        "    with open(sys.argv[1], 'r+b') as file:\n"
        "        file.seek(-14, 2)\n"
        "        file.write(b'%012d' % number)\n"
        "    os.utime(sys.argv[1], (time.time() - 300,) * 2)\n"
        "    time.sleep(0.02)\n"
    )
    with subprocess.Popen([sys.executable, "-c", moving, lease]) as process:
        try:
            deadline = time.monotonic() + 30
            while (found := lock_holder(out, _SHORT)) is None and time.monotonic() < deadline:
                pass
            assert found == holder
        finally:
            process.kill()


def test_remains_of_killed_newcomers_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".scores.csv.holder.0123456789abcdef").mkdir()
    (tmp_path / ".scores.csv.holder.0123456789abcdef" / "0123456789abcdef").touch()
    (tmp_path / "scores.csv.holder").mkdir()
    (tmp_path / "scores.csv.holder" / ".DS_Store").touch()
    with output_lock(tmp_path / "scores.csv"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv.lock"]
