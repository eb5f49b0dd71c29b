"""Commands as processes that may be killed, without loading the libraries for each."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator

from tests.conftest import REPOSITORY

# Loads the libraries once and forks for each command: a kill while they are loaded puts nothing at risk, and twenty
# times four seconds would be spent on it.
_STARTER = """
import gc, json, os, sys
import avpenet_cli.runs.manifest, avpenet_cli.scoring.merging, avpenet_cli.scoring.scorer, librosa.filters
from avpenet_cli.cli import main
gc.freeze()
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        sys.argv = ["avpenet", *json.loads(line)]
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        main()
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Starter:
    """Runs commands one after another, each in a process of its own that may be killed."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def __call__(self, args: list[str], kill_after_s: float | None = None) -> int:
        """Exit status, negative when killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(args).encode() + b"\n")
        pid = int(self._process.stdout.readline())
        if kill_after_s is not None and not select.select([self._process.stdout], [], [], kill_after_s)[0]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return int(self._process.stdout.readline())


@contextlib.contextmanager
def open_starter() -> Iterator[Starter]:
    """A starter, ready as soon as its first command has ended."""
    with subprocess.Popen(
        [sys.executable, "-c", _STARTER],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
    ) as process:
        try:
            yield Starter(process)
        finally:
            process.kill()
