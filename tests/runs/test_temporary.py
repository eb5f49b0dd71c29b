"""Temporary folders are private, and those of killed processes go at the next start; nobody else's do."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from avpenet_cli.runs.temporary import remove_leftovers, temporary_folder
from tests.conftest import REPOSITORY

_HOLD = """
import sys, time
from avpenet_cli.runs.temporary import temporary_folder
with temporary_folder("test") as folder:
    (folder / "name of a patient").write_text("data")
    print(folder, flush=True)
    time.sleep(1000)
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


@contextlib.contextmanager
def _holder() -> Iterator[Path]:
    """The temporary folder of a process that is killed at the end of the block."""
    command = [sys.executable, "-c", _HOLD]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Path(process.stdout.readline().strip())
        finally:
            process.kill()


def test_folder_is_its_owners_alone_and_gone_afterwards(temporary: Path) -> None:
    mask = os.umask(0)
    try:
        with temporary_folder("test") as folder:
            assert folder.parent == temporary
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    finally:
        os.umask(mask)
    assert list(temporary.iterdir()) == []


def test_only_folders_of_killed_processes_are_removed_at_the_next_start(temporary: Path) -> None:
    with _holder() as left_behind:
        pass
    foreign = temporary / "avpenet-of-another-program"
    foreign.mkdir()
    (foreign / "file").touch()
    link = temporary / "avpenet-link"
    link.symlink_to(foreign)
    with _holder() as in_use:
        assert left_behind.is_dir()
        start = [sys.executable, "-m", "avpenet_cli", "--version"]
        subprocess.run(start, cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)
        assert set(temporary.iterdir()) == {in_use, foreign, link}
        assert (in_use / "name of a patient").exists()
    # A link to a folder that could be removed is no such folder.
    target = in_use.rename(temporary / "elsewhere")
    (temporary / "avpenet-2").symlink_to(target)
    remove_leftovers()
    assert (target / "name of a patient").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_folders_of_other_users_are_left_alone(temporary: Path) -> None:
    with _holder() as folder:
        pass
    os.chown(folder, 12345, 12345)
    remove_leftovers()
    assert folder.exists()


def test_folder_is_made_and_kept_where_the_file_system_has_no_locks(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: int, operation: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with temporary_folder("test") as folder:
        remove_leftovers()
        assert folder.is_dir()
    assert list(temporary.iterdir()) == []


def test_start_writes_nothing_among_the_temporary_files(temporary: Path) -> None:
    before = temporary.stat().st_mtime_ns
    subprocess.run([sys.executable, "-m", "avpenet_cli", "--version"], cwd=REPOSITORY, check=True, capture_output=True)
    assert temporary.stat().st_mtime_ns == before
