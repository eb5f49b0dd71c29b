"""One run at a time for each output."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from avpenet_cli.errors import OutputError, OutputLockedError
from avpenet_cli.storage import storage_fault, write_json

_PATIENCE_S = 0.3
"""`lock_holder` has the lock for a moment when nobody else does."""


@dataclass(frozen=True)
class LockHolder:
    """The run that is writing an output; fields are None where they are not known.

    Attributes:
        pid: its process.
        host: the computer on which that process runs.
        since: when it began, ISO 8601 with offset.
    """

    pid: int | None = None
    host: str | None = None
    since: str | None = None

    def __str__(self) -> str:
        return "another run" if self.pid is None else f"process {self.pid} on {self.host} since {self.since}"


@contextlib.contextmanager
def output_lock(output: Path) -> Iterator[None]:
    """Lock `output` for this process; the kernel releases the lock when the process ends, however it ends.

    Raises:
        OutputLockedError: another run holds it; says which process on which host.
        OutputError: its folder does not exist or cannot be written.
    """
    lock_path = _lock_path(output)
    # The lock file itself may be emptied by whoever tries the lock, so the holder's name lies beside it.
    holder_path = _holder_path(output)
    lock = FileLock(lock_path, timeout=_PATIENCE_S, poll_interval=0.05, mode=0o600)
    try:
        if not output.parent.is_dir():  # filelock would create it, even where the name is mistyped
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        lock.acquire()
    except Timeout:
        raise OutputLockedError(
            f"{output} is being written by {_read_holder(holder_path)}", "wait for it, or choose another --out"
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


def lock_holder(output: Path) -> LockHolder | None:
    """Who is writing an output; None where nobody is. Never makes a run fail, which waits for longer than this takes.

    Raises:
        OutputError: the lock file cannot be read.
    """
    try:
        handle = os.open(_lock_path(output), os.O_RDONLY)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(f"{_lock_path(output)} cannot be read: {error.strerror}", "check its permissions") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_holder(_holder_path(output))
    except OSError:  # a file system without locks: a run removes its name at its end
        return _read_holder(_holder_path(output)) if _holder_path(output).exists() else None
    finally:
        os.close(handle)
    return None


def _lock_path(output: Path) -> Path:
    return output.with_name(output.name + ".lock")


def _holder_path(output: Path) -> Path:
    return output.with_name(output.name + ".holder")


def _read_holder(path: Path) -> LockHolder:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        return LockHolder(int(facts["pid"]), str(facts["host"]), str(facts["since"]))
    except (OSError, ValueError, LookupError, TypeError):
        return LockHolder()
