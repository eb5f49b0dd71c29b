"""Runs commands in processes of their own that have loaded the libraries already: it forks for each.

Reads a line of JSON for each command from standard input, and answers with two lines: the process, then how it ended.
Started by `programs.py`, with the library of faults.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

import librosa.filters  # noqa: F401
import typer.main

import avpenet_cli.runs.manifest
import avpenet_cli.scoring.merging
import avpenet_cli.scoring.run
import avpenet_cli.scoring.scorer  # noqa: F401
from avpenet_cli.cli import app, main
from tests.faults.control import map_control

_PR_SET_CHILD_SUBREAPER = 36
_PATIENCE_S = 10.0


def serve() -> None:
    """Answer until standard input ends."""
    control = map_control(Path(os.environ["AVPENET_FAULTS"]))
    # Decoders that outlive their run become children of this process, which sees them end.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # Half of what a command takes that scores a second is the making of all commands' options.
    typer.main.get_command = functools.cache(typer.main.get_command)
    typer.main.get_command(app)
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            control.victim = 0 if order["own_victim"] else os.getpid()
            _run(order)
            control.armed = 1
            _main(order.get("modules"))
        print(pid, flush=True)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        control.armed = 0
        print(json.dumps({"status": status, "left": _left_processes()}), flush=True)
        if "modules" in order:  # those that the first command imported are there for all that follow
            for name in json.loads(Path(order["modules"]).read_text()):
                with contextlib.suppress(ImportError):
                    importlib.import_module(name)


def _main(modules: str | None) -> None:
    try:
        main()
    finally:
        if modules is not None:
            Path(modules).write_text(json.dumps([name for name in sys.modules if name != "__main__"]))


def _run(order: dict[str, Any]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    sys.argv = ["avpenet", *order["args"]]
    os.environ["TMPDIR"] = order["temporary"]
    null = os.open(os.devnull, os.O_RDWR)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.dup2(log, 2)
    os.close(log)
    if order["more_memory"] is not None:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limit = used + order["more_memory"]
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _left_processes() -> int:
    """Processes of the run that are still there after some seconds; they are ended."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
            time.sleep(0.01)
            continue
        return 0
    left = 0
    for task in Path("/proc/self/task").iterdir():
        for child in (task / "children").read_text().split():
            left += 1
            os.kill(int(child), signal.SIGKILL)
    return left


if __name__ == "__main__":
    serve()
