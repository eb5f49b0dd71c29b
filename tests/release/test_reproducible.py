"""The same files give the same archives, whoever builds them, where and when."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

_LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "build", "dist", "demo", "__pycache__", ".*_cache")


def _build(folder: Path, out: Path, umask: int, **environment: str) -> dict[str, str]:
    """SHA-256 by name of the source archive and the wheel that the tree in `folder` gives."""
    build = [sys.executable, "-m", "hatchling", "build", "-d", str(out)]
    done = subprocess.run(
        build, cwd=folder, env={**os.environ, **environment}, umask=umask, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.iterdir()}


@pytest.mark.slow
def test_two_builds_give_the_same_bytes(tmp_path: Path) -> None:
    """Other folders, times of files, permissions, time zones, languages, seeds of hashes and orders of folders."""
    first, second = tmp_path / "first", tmp_path / "a much longer name" / "of a folder"
    shutil.copytree(REPOSITORY, first, ignore=_LEFT_OUT, symlinks=True)
    # In reverse, because many file systems list files in the order in which they were made; without their times.
    for path in sorted(first.rglob("*"), reverse=True):
        target = second / path.relative_to(first)
        if path.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            target.chmod(0o700 if path.stat().st_mode & 0o100 else 0o600)
            os.utime(target, (1_000_000_000, 1_000_000_000))
    epoch = "1764201600"
    one = _build(
        first, tmp_path / "one", 0o022, SOURCE_DATE_EPOCH=epoch, TZ="UTC", LC_ALL="C.UTF-8", PYTHONHASHSEED="1"
    )
    other = _build(
        second, tmp_path / "two", 0o077, SOURCE_DATE_EPOCH=epoch, TZ="Asia/Tokyo", LC_ALL="C", PYTHONHASHSEED="2"
    )
    assert sorted(name.rpartition(".")[2] for name in one) == ["gz", "whl"]
    assert one == other
