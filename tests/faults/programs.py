"""A server that runs commands with the library of faults, and its client."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.faults.control import Control, build_shim, map_control

_LONGEST_S = 300.0
"""A run takes seconds, a minute where it waits for the lock of a run that it knows nothing about."""


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        status: exit status; negative: the signal.
        left: processes of its own that were still there ten seconds later.
        hung: whether it had to be killed.
        signalled: whether it was still there when its signal after some seconds was due.
        log: what it wrote to standard error.
    """

    status: int
    left: int
    hung: bool
    signalled: bool
    log: str


class Programs:
    """Runs `avpenet` commands, one after another.

    Args:
        process: the server.
        control: the shared structure, filled in before a command.
        folder: for logs.
    """

    def __init__(self, process: subprocess.Popen[bytes], control: Control, folder: Path) -> None:
        self._process, self.control, self._folder = process, control, folder

    def run(
        self,
        args: list[str],
        temporary: Path,
        *,
        more_memory: int | None = None,
        victim: int | None = None,
        signal_after: tuple[float, int] | None = None,
    ) -> Ended:
        """Run a command to its end; what `control` says happens to it.

        Args:
            temporary: its folder for temporary files.
            more_memory: bytes of address space beyond those of the libraries; None for no limit.
            victim: process that gets a signal of `control`; None for the command's own.
            signal_after: seconds, and the number of a signal that the command then gets.
        """
        log = self._folder / "log"
        log.unlink(missing_ok=True)
        order: dict[str, object] = {
            "args": args,
            "temporary": str(temporary),
            "log": str(log),
            "more_memory": more_memory,
            "victim": victim,
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        pid = int(self._line())
        hung = signalled = False
        deadline = time.monotonic() + _LONGEST_S
        started = time.monotonic()
        while not self._answers(0.02 if signal_after else 0.2):
            if signal_after and time.monotonic() - started >= signal_after[0]:
                _send(pid, signal_after[1])
                signal_after, signalled = None, True
            if _is_stopped(pid):
                time.sleep(0.2)
                _send(pid, signal.SIGCONT)
            if time.monotonic() > deadline:
                hung = True
                _send(pid, signal.SIGKILL)
        answer = json.loads(self._line())
        text = log.read_text(errors="replace") if log.exists() else ""
        return Ended(answer["status"], answer["left"], hung, signalled, text)

    def _answers(self, seconds: float) -> bool:
        assert self._process.stdout is not None
        return bool(select.select([self._process.stdout], [], [], seconds)[0])

    def _line(self) -> bytes:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the server has ended"
        return line


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _is_stopped(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False


@contextlib.contextmanager
def open_programs(folder: Path) -> Iterator[Programs]:
    """A server, for as long as the block lasts.

    Args:
        folder: for the library of faults, the shared structure and logs.
    """
    shared = folder / "control"
    control = map_control(shared)
    environment = {
        **os.environ,
        "LD_PRELOAD": str(build_shim(folder)),
        "AVPENET_FAULTS": str(shared),
        "AVPENET_UNCONFINED_DECODERS": "1",  # a confined decoder may not open the shared structure
        "OMP_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "tests.faults.server"],
        cwd=REPOSITORY,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    ) as process:
        try:
            yield Programs(process, control, folder)
        finally:
            process.kill()
