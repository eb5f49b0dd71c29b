"""Worker processes that are forked, in place of fresh interpreters, which take seconds to load the libraries.

All else is as in a worker of the program: a session of its own, the null device for its standard streams, no descriptor
but its channel. `tests/cli/test_workers.py` has workers that are fresh interpreters.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import NoReturn

from avpenet_cli.scoring.lanes import worker_process
from tests.faults.control import WORKER_VARIABLE


class ForkedWorker:
    """In the place of `subprocess.Popen` in `avpenet_cli.scoring.lanes.workers`.

    Args:
        pass_fds: the end of the channel that the worker has.
    """

    def __init__(self, _command: Sequence[str], *, pass_fds: tuple[int, ...], **_others: object) -> None:
        self._status: int | None = None
        self._pid = os.fork()
        if self._pid == 0:
            _work(pass_fds[0])

    def wait(self, timeout: float | None = None) -> int:
        """As of `subprocess.Popen`."""
        deadline = float("inf") if timeout is None else time.monotonic() + timeout
        while self._status is None:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("worker", timeout or 0.0)
            else:
                time.sleep(0.01)
        return self._status

    def kill(self) -> None:
        """As of `subprocess.Popen`."""
        os.kill(self._pid, signal.SIGKILL)


def _work(channel: int) -> NoReturn:
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.environ[WORKER_VARIABLE] = str(os.getpid())
        null = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(null, stream)
        for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names only
            if int(name) > 2 and int(name) != channel:
                with contextlib.suppress(OSError):  # the one that listed them
                    os.close(int(name))
        connection = Connection(channel)
        sys.path[:] = connection.recv()
        worker_process.main(connection)
    finally:
        os._exit(1)
