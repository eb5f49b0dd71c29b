"""One run at a time for each output."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from avpenet_cli.errors import OutputLockedError
from avpenet_cli.storage import storage_fault, write_json


@contextlib.contextmanager
def output_lock(output: Path) -> Iterator[None]:
    """Lock `output` for this process; the kernel releases the lock when the process ends, however it ends.

    Raises:
        OutputLockedError: another run holds it; says which process on which host.
        OutputError: its folder does not exist or cannot be written.
    """
    lock_path = output.with_name(output.name + ".lock")
    # The lock file itself is emptied by whoever tries the lock, so the holder's name lies beside it.
    holder_path = output.with_name(output.name + ".holder")
    lock = FileLock(lock_path, timeout=0, mode=0o600)
    try:
        if not output.parent.is_dir():  # filelock would create it, even where the name is mistyped
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        lock.acquire()
    except Timeout:
        raise OutputLockedError(
            f"{output} is being written by {_holder(holder_path)}", "wait for it, or choose another --out"
        ) from None
    except OSError as error:
        raise storage_fault(output, error) from None
    try:
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        write_json(holder_path, {"pid": os.getpid(), "host": socket.gethostname(), "since": now})
        yield
    finally:
        holder_path.unlink(missing_ok=True)
        # Removing the lock file while others may wait for it would let two of them in; it stays.
        lock.release()


def _holder(path: Path) -> str:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        return f"process {facts['pid']} on {facts['host']} since {facts['since']}"
    except (OSError, ValueError, LookupError, TypeError):
        return "another run"
