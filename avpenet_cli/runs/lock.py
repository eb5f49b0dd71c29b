"""One run at a time for each output, on one host and, where several hosts share a folder, on all of them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from avpenet_cli.errors import OutputError, OutputLockedError
from avpenet_cli.runs.callbacks import NO_CALLBACKS, RunCallbacks
from avpenet_cli.runs.holder import LockHolder, read_lease
from avpenet_cli.runs.lease import Lease, LeaseTiming, hold_lease
from avpenet_cli.storage import storage_fault

__all__ = ["Lease", "LeaseTiming", "LockHolder", "flock_or_none", "lock_holder", "output_lock"]

_PATIENCE_S = 0.3
"""`lock_holder` has the lock for a moment when nobody else does."""
_POLL_S = 0.05
_WITHOUT_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
_OTHERS = {errno.EAGAIN, errno.EACCES}
"""Somebody else has the lock."""
_SKEW_S = 600.0
"""Further apart are no clocks of two hosts that can use one share."""


@contextlib.contextmanager
def output_lock(
    output: Path, callbacks: RunCallbacks = NO_CALLBACKS, timing: LeaseTiming | None = None
) -> Iterator[Lease]:
    """Lock `output` for this process.

    On one host the kernel releases the lock when the process ends, however it ends. On a share the lease beside it
    holds for all hosts, whether or not the kernel's lock reaches them; `docs/explanation/locks.md` states when the
    lease of a dead host is taken over.

    Args:
        callbacks: are told what is waited for, up to a minute where the lease of another host may be a dead one's.
        timing: other intervals than the usual ones; the same on all hosts.

    Yields:
        The lease: call its `check` before results are written.

    Raises:
        OutputLockedError: another run holds it; says which process on which host. At the end of the block: this run
            lost it meanwhile.
        OutputError: its folder does not exist or cannot be written.
        Interrupted: the callbacks asked for it.
    """
    holder_path = _holder_path(output)
    try:
        handle = os.open(_lock_path(output), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise storage_fault(output, error) from None
    # Removing the lock file while others may wait for it would let two of them in; it stays.
    with contextlib.closing(os.fdopen(handle)):
        try:
            if not flock_or_none(handle, _PATIENCE_S):
                state = read_lease(holder_path)
                raise OutputLockedError(
                    f"{output} is being written by {state.holder if state else LockHolder()}",
                    "wait for it, or choose another --out",
                )
        except OSError as error:
            raise storage_fault(output, error) from None
        with hold_lease(holder_path, output, timing or LeaseTiming(), callbacks.info, callbacks.check_stop) as lease:
            yield lease


def flock_or_none(handle: int, patience_s: float) -> bool:
    """Lock an open file; does nothing where the file system has no locks.

    Returns:
        False if somebody else has the lock for longer than `patience_s`.

    Raises:
        OSError: it cannot be locked.
    """
    deadline = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _WITHOUT_LOCKS:
                return True
            if error.errno not in _OTHERS:
                raise
        else:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)


def lock_holder(output: Path, timing: LeaseTiming | None = None) -> LockHolder | None:
    """Who is writing an output; None where nobody is. Never makes a run fail, which waits for longer than this takes.

    It takes up to 12 s where another host's run has given no sign of life lately: until the next one is due.

    Args:
        timing: as of `output_lock`.

    Raises:
        OutputError: the lock cannot be read.
    """
    try:
        return _lock_holder(output, timing or LeaseTiming())
    except OSError as error:
        raise OutputError(f"{_lock_path(output)} cannot be read: {error.strerror}", "check its permissions") from None


def _lock_holder(output: Path, timing: LeaseTiming) -> LockHolder | None:
    folder = _holder_path(output)
    state = read_lease(folder)
    if state is not None and not state.content:  # it is changing hands
        time.sleep(_POLL_S)
        state = read_lease(folder)
    lives = None if state is None else state.lives_here
    # Here alone are clocks of two hosts compared: nothing but the answer to a question depends on it.
    age_s = 0.0 if state is None else abs(time.time() - state.changed)
    if state is not None and (lives or (lives is None and age_s <= timing.dead_after_s)):
        return state.holder
    if _is_flocked(_lock_path(output)):  # a run that begins, and may be waiting for a dead one's lease to run out
        return LockHolder()
    if state is None or lives is False or age_s > _SKEW_S:
        return None
    deadline = time.monotonic() + 1.2 * timing.renew_every_s
    while time.monotonic() < deadline:
        time.sleep(_POLL_S)
        latest = read_lease(folder)
        if latest is None or not latest.is_same(state):
            return latest.holder if latest else None
    return None


def _is_flocked(path: Path) -> bool:
    """Whether a process has the lock but no lease, as for a moment when it begins."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in _OTHERS
    finally:
        os.close(handle)
    return False


def _lock_path(output: Path) -> Path:
    return output.with_name(output.name + ".lock")


def _holder_path(output: Path) -> Path:
    return output.with_name(output.name + ".holder")
