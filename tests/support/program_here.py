"""Run the program within this process, which saves loading the libraries each time."""

from __future__ import annotations

import contextlib
import io
import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path


def program_here(*arguments: str | Path) -> tuple[object, str, str]:
    """Run `avpenet ARGUMENTS...`; afterwards this process is as it was.

    Returns:
        The exit code, and what it wrote to stdout and stderr.
    """
    from avpenet_cli.cli import main

    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    code: object = None
    with _process_restored(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        sys.argv = ["avpenet", *map(str, arguments)]
        try:
            main()
        except SystemExit as end:
            code = end.code
    for stream in (out, err):
        stream.flush()
        stream.seek(0)
    return code, out.read(), err.read()


@contextlib.contextmanager
def _process_restored() -> Iterator[None]:
    """What the program sets for its own process would change what is run in this one later."""
    argv, limit, mask = sys.argv, resource.getrlimit(resource.RLIMIT_CORE), os.umask(0o077)
    os.umask(mask)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        sys.argv = argv
        resource.setrlimit(resource.RLIMIT_CORE, limit)
        os.umask(mask)
        for number, handler in handlers.items():
            signal.signal(number, handler)
