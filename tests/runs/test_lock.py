"""One run at a time per output, whatever became of the run before."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from avpenet_cli.errors import ExitCode, OutputError, OutputLockedError
from avpenet_cli.runs.holder import LeaseState
from avpenet_cli.runs.lock import LockHolder, lock_holder, output_lock

_HOLD = """
import sys, time
from pathlib import Path
from avpenet_cli.runs.lock import output_lock
with output_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@contextmanager
def _holder(out: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", _HOLD, str(out)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_second_run_on_one_output_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    with _holder(out) as holder:
        with pytest.raises(
            OutputLockedError, match=rf"scores\.csv is being written by process {holder.pid} on "
        ) as refusal:
            output_lock(out).__enter__()
        assert refusal.value.exit_code == ExitCode.LOCKED
        with output_lock(tmp_path / "others.csv"):
            pass


def test_lock_of_a_killed_run_is_released(tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    with _holder(out) as holder:
        holder.kill()
        holder.wait()
        assert (tmp_path / "scores.csv.holder").exists()
        with output_lock(out):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv.lock"]


def test_lock_holds_when_its_holder_is_unknown(tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    for damage in (None, "", "[]", "{"):
        with output_lock(out):
            (lease,) = (tmp_path / "scores.csv.holder").iterdir()
            kept = lease.read_bytes()
            lease.unlink() if damage is None else lease.write_text(damage)
            with pytest.raises(OutputLockedError, match="another run"):
                output_lock(out).__enter__()
            assert lock_holder(out) == LockHolder()
            lease.write_bytes(kept)


def test_lock_is_released_after_an_error(tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    with pytest.raises(RuntimeError), output_lock(out):
        raise RuntimeError
    with output_lock(out):
        pass


def test_missing_folder_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="its folder does not exist"):
        output_lock(tmp_path / "no" / "such" / "scores.csv").__enter__()
    assert list(tmp_path.iterdir()) == []


def test_lock_files_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        with output_lock(tmp_path / "scores.csv"):
            (lease,) = (tmp_path / "scores.csv.holder").iterdir()
            (lease,) = (tmp_path / "scores.csv.holder").iterdir()
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (*tmp_path.iterdir(), lease)}
    finally:
        os.umask(mask)
    assert modes == {"scores.csv.lock": 0o600, "scores.csv.holder": 0o700, lease.name: 0o600}


def test_name_left_by_an_earlier_version_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "scores.csv.holder").write_text('{"pid": 1, "host": "a", "since": "2026-10-02T06:00:00+02:00"}')
    with output_lock(tmp_path / "scores.csv"):
        assert (tmp_path / "scores.csv.holder").is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv.lock"]


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"pid": Infinity, "host": "h", "since": "s"}', b"[" * 3000])
def test_a_lease_that_is_damaged_has_an_unknown_holder(content: bytes) -> None:
    lease = LeaseState("0" * 16, content, 0.0)
    assert lease.holder == LockHolder()
    assert lease.lives_here is None
