"""`avpenet` for tests that run many commands: each in a process of its own, which need not load the libraries first.

Run as a program it loads them once and forks for each command that the script `avpenet` of `preloaded_program` hands to
it: three to four seconds of CPU time less for a command that uses torch.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

from tests.support.made_once import make_once

_SCRIPT = """#!{python} -IS
# Stands for the program: hands its streams, folder, umask and environment to the server, and ends as the command ended.
import json, os, signal, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    mask = os.umask(0)
    request = json.dumps([sys.argv[1:], os.getcwd(), mask, dict(os.environ)]).encode("utf-8", "surrogateescape")
    socket.send_fds(server, [len(request).to_bytes(8, "big")], [0, 1, 2])
    server.sendall(request)
    status = int(server.makefile().readline())
if status < 0:
    signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
sys.exit(status)
"""

_LIBRARIES = (
    *("torch", "pandas", "pyarrow.parquet", "scipy.signal", "scipy.stats", "librosa.filters"),
    *("matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg", "jinja2"),
    *("avpenet_cli.cli", "avpenet_cli.scoring.scorer", "avpenet_cli.scoring.merging", "avpenet_cli.report.run"),
)
"""What most commands load."""


@dataclass(frozen=True)
class PreloadedProgram:
    """A folder to put first on the path, and the file with the CPU time of each command."""

    folder: Path
    log: Path

    def cpu_times(self) -> list[str]:
        """Lines of CPU seconds and arguments, of all commands so far."""
        return self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []


@contextlib.contextmanager
def preloaded_program(folder: Path) -> Iterator[PreloadedProgram]:
    """The program, as a script `avpenet` in `folder`, which is new or empty and has a short path."""
    address = folder / "socket"
    log = folder / "cpu-times.txt"
    commands = folder / "bin"
    commands.mkdir(parents=True)
    script = commands / "avpenet"
    script.write_text(_SCRIPT.format(python=sys.executable, address=str(address)), encoding="utf-8")
    script.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen()
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(listener.fileno()), str(log)],
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
        )
    try:
        yield PreloadedProgram(commands, log)
    finally:
        process.terminate()
        process.wait()


def _load() -> None:
    import avpenet_cli

    # As the program sets them before it loads torch.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path(avpenet_cli.__file__).parent))
    for name in _LIBRARIES:
        importlib.import_module(name)
    _make_parser_and_templates()
    # Or a command's garbage collector would go through all of it, and copy it page by page.
    gc.freeze()


def _make_parser_and_templates() -> None:
    import typer.main

    from avpenet_cli.cli import app
    from avpenet_cli.report.page import page_environment

    make_once(pytest.MonkeyPatch())
    typer.main.get_command(app)
    templates = page_environment("report", 0.95, "avpenet_cli.report")
    for name in templates.list_templates(["j2"]):
        templates.get_template(name)


def _serve(listener: socket.socket, log: Path) -> None:
    """Fork for each connection, and answer it with the exit status of the child, until SIGTERM."""
    running: dict[int, tuple[int, socket.socket, list[str]]] = {}

    def end_all(*_: object) -> NoReturn:
        for pid in running:
            os.kill(pid, signal.SIGKILL)
        os._exit(0)

    signal.signal(signal.SIGTERM, end_all)
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is listener:
                    connection, _ = listener.accept()
                    streams, (arguments, folder, mask, environment) = _receive(connection)
                    pid = os.fork()
                    if pid == 0:
                        selector.close()
                        listener.close()
                        connection.close()
                        _run(streams, arguments, folder, mask, environment)
                    for stream in streams:
                        os.close(stream)
                    end = os.pidfd_open(pid)
                    selector.register(end, selectors.EVENT_READ, data=pid)
                    selector.register(connection, selectors.EVENT_READ, data=pid)
                    running[pid] = end, connection, arguments
                elif key.data in running and key.fileobj is running[key.data][1]:
                    # It has nothing more to say: who asked was killed, as by a timeout.
                    selector.unregister(key.fileobj)
                    os.kill(key.data, signal.SIGKILL)
                elif key.data in running:
                    end, connection, arguments = running.pop(key.data)
                    _, status, spent = os.wait4(key.data, 0)
                    with log.open("a", encoding="utf-8") as file:
                        print(f"{spent.ru_utime + spent.ru_stime:7.1f} s CPU  {' '.join(arguments)}", file=file)
                    selector.unregister(end)
                    os.close(end)
                    with contextlib.suppress(KeyError):
                        selector.unregister(connection)
                    with connection, contextlib.suppress(BrokenPipeError):
                        connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))


def _receive(connection: socket.socket) -> tuple[list[int], tuple[list[str], str, int, dict[str, str]]]:
    size, streams, _, _ = socket.recv_fds(connection, 8, 3)
    with connection.makefile("rb") as file:
        request = file.read(int.from_bytes(size, "big"))
    return list(streams), json.loads(request.decode("utf-8", "surrogateescape"))


def _run(streams: list[int], arguments: list[str], folder: str, mask: int, environment: dict[str, str]) -> NoReturn:
    """The command, in the child."""
    from avpenet_cli.cli import main

    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.chdir(folder)
    os.umask(mask)
    os.environ.clear()
    os.environ.update(environment)
    # A reader's terminal, and so the encoding of these streams, is not that of the server.
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, encoding="utf-8", closefd=False)
    sys.argv = ["avpenet", *arguments]
    status = 1
    try:
        main()
    except SystemExit as end:
        assert isinstance(end.code, int)
        status = end.code
    except BaseException:
        traceback.print_exc()
    # As Python ends, but for taking apart all that was loaded, which costs half a second.
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
    os._exit(status)


if __name__ == "__main__":
    _load()
    _serve(socket.socket(fileno=int(sys.argv[1])), Path(sys.argv[2]))
