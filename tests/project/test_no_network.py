"""Scoring, merging, reporting and looking at the status open no socket, with all processes that they start."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, ClipMaker
from tests.support.hosts import need

_CALL = re.compile(r"^\d+ +(?P<name>[a-z0-9_]+)\((?P<arguments>.*)")
_PIPES = re.compile(
    r"\d+ +(socketpair\(AF_UNIX, SOCK_STREAM\|SOCK_CLOEXEC, 0, |getsockname\(\d+, \{sa_family=AF_UNIX\}, )"
)
"""How `multiprocessing` makes a pipe to a worker process that it starts: a pair without an address, which nobody else
can reach."""


def _network_calls(calls: Path) -> list[str]:
    """Lines of strace about system calls of the network, those of both ends of a pipe excepted."""
    return [line for line in calls.read_text().splitlines() if _CALL.match(line) and not _PIPES.match(line)]


@pytest.fixture
def traced(tmp_path: Path) -> Callable[..., list[str]]:
    """Runs the program, or another one, and gives the network's system calls."""
    need("strace")

    def run(*command: str | Path) -> list[str]:
        calls = tmp_path / "calls"
        tracing: list[str | Path] = ["strace", "-f", "--seccomp-bpf", "-qq", "-o", calls, "-e", "trace=%network"]
        done = subprocess.run(
            [*tracing, sys.executable, *command], cwd=REPOSITORY, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return _network_calls(calls)

    return run


def test_a_socket_would_be_seen(traced: Callable[..., list[str]]) -> None:
    inner = "import socket; socket.socket().connect_ex(('127.0.0.1', 9))"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    calls = "\n".join(traced("-c", outer))
    assert "socket(AF_INET, SOCK_STREAM" in calls
    assert 'connect(3, {sa_family=AF_INET, sin_port=htons(9), sin_addr=inet_addr("127.0.0.1")}' in calls


@pytest.mark.slow
def test_shards_merge_report_and_status_open_no_socket(
    clips: ClipMaker, traced: Callable[..., list[str]], tmp_path: Path
) -> None:
    archive, out = tmp_path / "archive", tmp_path / "scores.csv"
    archive.mkdir()
    for number in range(3):
        shutil.copy(clips.brief(), archive / f"{number}.mp4")
    score = ["-m", "avpenet_cli", "score", archive, "--weights", "untrained", "--out", out]
    assert traced(*score, "--shard", "1/2", "--workers", "2") == []
    assert traced(*score, "--shard", "2/2") == []
    assert traced("-m", "avpenet_cli", "merge", out) == []
    assert traced("-m", "avpenet_cli", "status", out) == []
    assert traced("-m", "avpenet_cli", "report", out, "--out", tmp_path / "report.html") == []
