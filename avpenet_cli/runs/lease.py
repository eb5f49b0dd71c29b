"""A lease on a file name, which holds between hosts where `flock` does not reach: on network shares.

`docs/explanation/locks.md` states the rule in words. A lease is a folder with one file, named after a random token. Two
operations of the file system, each of which the server of a share carries out as a whole, decide everything:

- A folder is renamed over the lease's folder to acquire it: that fails unless there is none or an empty one.
- The file in it is renamed to take over a dead lease: the name is the dead holder's token, so of several newcomers one
  finds it, and a fresh lease, which has another name, is never hit.

No clocks of two hosts are compared: a newcomer measures on its own clock how long the file does not change.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from avpenet_cli.errors import OutputLockedError
from avpenet_cli.runs.holder import CONTENT_BYTES, GONE, TOKEN, LeaseState, ProcessIdentity, read_lease
from avpenet_cli.storage import storage_fault

_POLLS = 10
"""Looks of a newcomer in the time between two renewals, at least."""
_FIRST_PAUSE_S = 0.02
"""Of a newcomer between two looks, at first: some leases are held for a moment only."""
_TRUSTED_S = 1.0
"""How long `check` relies on the last look: a paused machine may be woken with a clock that has not moved."""
_ATTEMPTS = 100
_BUSY = {errno.EBUSY, errno.ETXTBSY, errno.EAGAIN, errno.EEXIST}
"""What servers of SMB answer while another host has the file open, which is for a moment."""
_OCCUPIED = {errno.EEXIST, errno.ENOTEMPTY, errno.EACCES, errno.EBUSY, errno.EPERM}
"""What file systems answer where a folder with something in it would be replaced; on SMB even with an empty one."""


@dataclass(frozen=True)
class LeaseTiming:
    """The intervals of a lease; the same on all hosts that share an output.

    Attributes:
        renew_every_s: between two signs of life of a holder.
        dead_after_s: without one for so long, a holder on another host counts as dead.
    """

    renew_every_s: float = 10.0
    dead_after_s: float = 60.0


class Lease:
    """A lease that this process has; a thread renews it until it is released. From `hold_lease`."""

    def __init__(self, folder: Path, output: Path, timing: LeaseTiming) -> None:
        self._folder, self._output, self._timing = folder, output, timing
        self._token = secrets.token_hex(8)
        self._facts = {
            "host": socket.gethostname(),
            "since": datetime.now().astimezone().isoformat(timespec="seconds"),
            "token": self._token,
            **asdict(ProcessIdentity.own()),
        }
        self._renewals, self._looked, self._is_lost = 0, -_TRUSTED_S, False
        self._guard, self._stop = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def check(self) -> None:
        """Raise unless this process still has the lease; call it before writing results.

        Raises:
            OutputLockedError: another run has taken it over.
            EnvironmentUnavailableError, OutputError: it cannot be read.
        """
        try:
            with self._guard:
                if not self._is_lost and _now() - self._looked >= _TRUSTED_S:
                    _retried(self._renew)
        except OSError as error:
            raise storage_fault(self._folder, error) from None
        if self._is_lost:
            raise self._lost()

    def _lost(self) -> OutputLockedError:
        with contextlib.suppress(OSError):
            if (state := read_lease(self._folder)) is not None:
                return OutputLockedError(
                    f"{self._output} was taken over by {state.holder}, since this run gave no sign of life",
                    "run it again when that run has ended",
                )
        return OutputLockedError(
            f"{self._output} is no longer this run's: its lock was taken over or removed while it gave no sign of life",
            "run it again",
        )

    def _content(self) -> bytes:
        # The same length whatever the number, so that it can be written in place.
        return json.dumps(self._facts | {"renewals": f"{self._renewals:012}"}).encode("ascii")

    def _renew(self) -> None:
        """Write the next number into the lease's own file. Never into another's: it is checked after it was opened."""
        before = _now()
        try:
            handle = os.open(self._folder / self._token, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            if error.errno not in GONE:
                raise
            self._is_lost = True
            return
        try:
            if self._token.encode("ascii") not in os.read(handle, CONTENT_BYTES):
                self._is_lost = True
                return
            self._renewals += 1
            os.pwrite(handle, self._content(), 0)
        finally:
            os.close(handle)  # on a network share this sends it to the server
        self._looked = before

    def _keep(self) -> None:
        while not self._stop.wait(self._timing.renew_every_s):
            # A share that is away may come back before anybody thinks that this run is dead.
            with contextlib.suppress(OSError), self._guard:
                if self._is_lost:
                    return
                self._renew()

    def acquire(self, on_wait: Callable[[str], None], check_stop: Callable[[], None]) -> None:
        """Get the lease, if need be from a holder that is dead.

        Raises:
            OutputLockedError: somebody has it who is alive.
            OSError: the file system refuses.
        """
        watch: _Watch | None = None
        pause_s, refusals = _FIRST_PAUSE_S, 0
        while refusals < _ATTEMPTS:
            try:
                state = read_lease(self._folder)
                if state is None:
                    if self._place(None):
                        return
                    refusals += 1
                elif state.lives_here is False or (watch is not None and watch.is_dead(state)):
                    if self._place(state.token):
                        on_wait(f"{self._output}: lock taken over from {state.holder}, which is dead")
                        return
                    refusals += 1
                elif state.lives_here or (watch is not None and not watch.first.is_same(state)):
                    raise OutputLockedError(
                        f"{self._output} is being written by {state.holder}", "wait for it, or choose another --out"
                    )
                elif watch is None:
                    watch = _Watch(state, self._timing)
                    limit = f"{self._timing.dead_after_s:g} s"
                    on_wait(f"{self._output}: waiting up to {limit} for a sign of life from {state.holder}")
            except OSError as error:
                # The holder may have removed what a newcomer was preparing, as the remains of a killed one.
                if error.errno not in _BUSY | GONE or not self._folder.parent.is_dir():
                    raise
                refusals += 1
            check_stop()
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, self._timing.renew_every_s / _POLLS)
        raise OutputLockedError(
            f"{self._output} is being written by another run", f"wait for it; if there is none, remove {self._folder}"
        )

    def _place(self, dead: str | None) -> bool:
        """Put this lease's file in place of a dead one, or where there is none; False where others were quicker."""
        prepared = self._folder.with_name(f"{_prepared_prefix(self._folder)}{self._token}")
        own, placed = prepared / self._token, self._folder / self._token
        try:
            prepared.mkdir(mode=0o700, exist_ok=True)
            handle = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(self._content())
            if dead is None:
                return self._place_first(prepared)
            # This decides who takes over: the dead lease's name can be renamed once. The file is then replaced, so
            # that its former holder cannot write into it if it comes back.
            with _ignoring(GONE):
                (self._folder / dead).rename(placed)
            return placed.exists() and self._replace(own, placed)
        finally:
            for remove in (own.unlink, prepared.rmdir):
                with contextlib.suppress(OSError):
                    remove()

    def _replace(self, own: Path, placed: Path) -> bool:
        try:
            _retried(lambda: own.replace(placed))
        except OSError as error:
            with contextlib.suppress(OSError):
                _retried(placed.unlink)
            if error.errno in GONE:  # removed as the remains of a killed newcomer
                return False
            raise
        return True

    def _place_first(self, prepared: Path) -> bool:
        try:
            prepared.rename(self._folder)
        except OSError as error:
            if (self._folder / self._token).exists():  # a server's answer was lost, and the request was repeated
                return True
            if error.errno == errno.ENOTDIR:
                if self._folder.is_file():  # left by an earlier version
                    self._folder.unlink(missing_ok=True)
                return False
            if error.errno not in _OCCUPIED | GONE or not self._folder.exists():
                raise
            # Servers of SMB replace no folder, and one with strange files in it would stay for ever.
            with contextlib.suppress(OSError):
                for path in self._folder.iterdir():
                    if not TOKEN.fullmatch(path.name):
                        path.unlink()
                self._folder.rmdir()
            return False
        return True

    def start(self) -> None:
        """Begin to renew the lease; the remains of killed newcomers are removed."""
        self._thread.start()
        prefix = _prepared_prefix(self._folder)
        with contextlib.suppress(OSError):
            for path in self._folder.parent.iterdir():
                if path.name.startswith(prefix) and TOKEN.fullmatch(path.name.removeprefix(prefix)):
                    with contextlib.suppress(OSError):
                        (path / path.name.removeprefix(prefix)).unlink(missing_ok=True)
                        path.rmdir()

    def release(self) -> None:
        """Give the lease back; one that was taken over has another name and stays."""
        self._stop.set()
        self._thread.join()
        # Where the share is away, the lease runs out.
        with contextlib.suppress(OSError):
            _retried((self._folder / self._token).unlink)
        with contextlib.suppress(OSError):
            self._folder.rmdir()


class _Watch:
    """How long a lease has not changed, on this host's clock."""

    def __init__(self, first: LeaseState, timing: LeaseTiming) -> None:
        self.first, self._timing = first, timing
        self._since = self._latest = _now()

    def is_dead(self, state: LeaseState) -> bool:
        now = _now()
        # A newcomer that was suspended, or waited for a server that was away, has seen nothing meanwhile.
        if now - self._latest > self._timing.renew_every_s:
            self._since = now
        self._latest = now
        return state.is_same(self.first) and now - self._since >= self._timing.dead_after_s


@contextlib.contextmanager
def hold_lease(
    folder: Path,
    output: Path,
    timing: LeaseTiming,
    on_wait: Callable[[str], None] = lambda line: None,
    check_stop: Callable[[], None] = lambda: None,
) -> Iterator[Lease]:
    """Hold the lease on an output; raises at the end, too, if it was lost.

    Args:
        folder: of the lease, beside the output; nobody else's name.
        output: for messages.
        on_wait: takes a line about what is waited for, and one when a lease is taken over.
        check_stop: raises where the run is to end; called while waiting.

    Raises:
        OutputLockedError: somebody else has it.
        EnvironmentUnavailableError, OutputError: the file system refuses.
    """
    lease = Lease(folder, output, timing)
    try:
        lease.acquire(on_wait, check_stop)
    except OSError as error:
        raise storage_fault(folder, error) from None
    try:
        lease.start()
        yield lease
        lease.check()
    finally:
        lease.release()


def _prepared_prefix(folder: Path) -> str:
    # Hidden, so that commands that refuse folders with other files in them ignore it.
    return f".{folder.name}."


def _retried(action: Callable[[], object]) -> None:
    """Do something again while another host has the file open."""
    for _ in range(_ATTEMPTS):
        try:
            action()
        except OSError as error:
            if error.errno not in _BUSY:
                raise
            time.sleep(_FIRST_PAUSE_S)
        else:
            return
    action()


def _now() -> float:
    """Seconds on a clock that goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@contextlib.contextmanager
def _ignoring(numbers: set[int]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in numbers:
            raise
