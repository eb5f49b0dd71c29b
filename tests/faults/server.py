"""Runs commands in processes of their own that have loaded the libraries already: it forks for each.

Reads a line of JSON for each command from standard input, and answers with two lines: the process, then how it ended.
Started by `programs.py`, with the library of faults.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import gc
import importlib.metadata
import json
import os
import platform
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import librosa.filters  # noqa: F401
import safetensors.torch  # noqa: F401
import typer.main
from pydantic import TypeAdapter

import avpenet_cli.model.systems.early_fusion
import avpenet_cli.runs.manifest
import avpenet_cli.scoring.merging
import avpenet_cli.scoring.run
import avpenet_cli.scoring.scorer  # noqa: F401
from avpenet_cli import settings
from avpenet_cli.cli import app, main
from avpenet_cli.media import header
from avpenet_cli.media.tools import ffmpeg_version
from avpenet_cli.runs.versions import software_versions
from avpenet_cli.scoring.lanes import workers
from avpenet_cli.settings import RunSettings
from avpenet_cli.weights import WeightsDescription
from tests.faults.control import map_control
from tests.faults.forked_worker import ForkedWorker

_PR_SET_CHILD_SUBREAPER = 36
_PATIENCE_S = 10.0


def serve() -> None:
    """Answer until standard input ends."""
    control = map_control(Path(os.environ["AVPENET_FAULTS"]))
    # Decoders that outlive their run become children of this process, which sees them end.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    _compute_what_commands_share()
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            control.victim = os.getpid() if order["victim"] is None else order["victim"]
            _run(order)
            control.armed = 1
            _main()
        print(pid, flush=True)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        control.armed = 0
        print(json.dumps({"status": status, "left": _left_processes()}), flush=True)


def _compute_what_commands_share() -> None:
    """What takes most of the time of a command that scores a second, and is the same in all of them."""
    typer.main.get_command = functools.cache(typer.main.get_command)
    score = typer.main.get_command(app).commands["score"]  # type: ignore[attr-defined]
    for parameter in score.params:
        parameter.get_runtime_param()
    adapter = functools.cache(TypeAdapter)
    vars(settings)["TypeAdapter"] = adapter
    for kind in (RunSettings, WeightsDescription):
        adapter(kind)
    importlib.metadata.version = functools.cache(importlib.metadata.version)
    software_versions()
    header._decodable_codecs()
    ffmpeg_version()
    platform.processor()
    # Of that module only: decoders are started as ever.
    stand_in = SimpleNamespace(DEVNULL=subprocess.DEVNULL, TimeoutExpired=subprocess.TimeoutExpired, Popen=ForkedWorker)
    vars(workers)["subprocess"] = stand_in
    gc.collect()
    gc.freeze()  # so that collecting garbage does not copy all that was loaded


def _main() -> None:
    """The program, and of the interpreter's end what it can notice: the rest takes longer than the program."""
    try:
        main()
    except SystemExit as end:
        assert isinstance(end.code, int)
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(end.code)


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
