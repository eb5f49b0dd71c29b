"""Who holds a lease: read from its file, on this host or another."""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass
from pathlib import Path

from avpenet_cli.textfiles import parse_json

TOKEN = re.compile(r"[0-9a-f]{16}")
"""Names of leases' files."""
CONTENT_BYTES = 4096
"""A lease's file is shorter."""
GONE = {errno.ENOENT, errno.ESTALE, errno.ENOTDIR}
"""What file systems answer about a file that was removed, or renamed, by another host."""


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


@dataclass(frozen=True)
class ProcessIdentity:
    """A process, told apart from all others of all hosts.

    Attributes:
        kernel: boot identifier and process namespace, within which process numbers mean something; empty if unknown.
        started: in clock ticks since boot, because numbers are used again; 0 if unknown.
    """

    pid: int
    kernel: str
    started: int

    @classmethod
    def own(cls) -> ProcessIdentity:
        """Of the process that calls this."""
        return cls(os.getpid(), _kernel(), _state_and_start(os.getpid())[1])

    def is_of_this_kernel(self) -> bool:
        """Whether its number means something here: of this boot of this host, and not of another container."""
        return bool(self.kernel) and self.kernel == _kernel()

    def is_alive(self) -> bool:
        """Whether it runs; only for a process of this kernel."""
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):
            return False
        except PermissionError:
            pass
        state, started = _state_and_start(self.pid)
        return state not in {"Z", "X"} and started in {0, self.started}


def _kernel() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def _state_and_start(pid: int) -> tuple[str, int]:
    """State letter and start of a process, in clock ticks since boot; ("", 0) where they cannot be read."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return fields[0], int(fields[19])
    except (OSError, IndexError, ValueError):
        return "", 0


@dataclass(frozen=True)
class LeaseState:
    """A lease as a newcomer sees it.

    Attributes:
        token: name of its file.
        content: of that file; empty where it cannot be read.
        changed: when the file was changed, by the clock of the file system; seconds since 1970.
    """

    token: str
    content: bytes
    changed: float

    def is_same(self, other: LeaseState) -> bool:
        """Whether the holder has given no sign of life between the two."""
        return (self.token, self.content) == (other.token, other.content)

    @property
    def holder(self) -> LockHolder:
        """As far as it can be read."""
        try:
            facts = parse_json(self.content)
            return LockHolder(int(facts["pid"]), str(facts["host"]), str(facts["since"]))
        except (ValueError, LookupError, TypeError, OverflowError):
            return LockHolder()

    @property
    def lives_here(self) -> bool | None:
        """Whether the holder's process lives on this host; None where it may be on another one."""
        try:
            facts = parse_json(self.content)
            process = ProcessIdentity(int(facts["pid"]), str(facts["kernel"]), int(facts["started"]))
            own = facts["token"] == self.token
        except (ValueError, LookupError, TypeError, OverflowError):  # the last one: int() of Infinity
            return None
        return process.is_alive() if own and process.is_of_this_kernel() else None


def read_lease(folder: Path) -> LeaseState | None:
    """The lease on a folder as it is now; None where nobody has one.

    Raises:
        OSError: it cannot be read.
    """
    try:
        tokens = sorted(path.name for path in folder.iterdir() if TOKEN.fullmatch(path.name))
    except OSError as error:
        if error.errno in GONE:  # a file is the holder's name of an earlier version, which relied on flock
            return None
        raise
    if not tokens:
        return None
    try:
        handle = os.open(folder / tokens[0], os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in GONE:  # it has just changed hands, or this host's view of the folder is old
            return LeaseState(tokens[0], b"", 0.0)
        raise
    try:
        return LeaseState(tokens[0], os.read(handle, CONTENT_BYTES), os.fstat(handle).st_mtime)
    finally:
        os.close(handle)
