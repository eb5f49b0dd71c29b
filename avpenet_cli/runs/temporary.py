"""Temporary folders that are their owner's alone and do not outlive their process for longer than until the next start.

Each holds a lock (`flock`) on a file in it, which the kernel releases when the process ends, however it ends: a folder
whose lock is free was left behind.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from avpenet_cli.errors import EnvironmentUnavailableError

_PREFIX = "avpenet-"
_LOCK_FILE = ".in-use"
_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)
"""What file systems without locks answer, as Lustre with `noflock`. There, a killed process's folder stays."""


@contextlib.contextmanager
def temporary_folder(purpose: str) -> Iterator[Path]:
    """A folder (0700) among the temporary files, for as long as the block lasts.

    Args:
        purpose: a word for its name.

    Raises:
        EnvironmentUnavailableError: none can be made.
    """
    try:
        # Renamed when it is locked: a folder without a lock file is left alone by others that start meanwhile.
        folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{purpose}-"))
        unlocked = folder / f"{_LOCK_FILE}.new"
        handle = os.open(unlocked, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        else:
            unlocked.rename(folder / _LOCK_FILE)
    except OSError as error:
        raise EnvironmentUnavailableError(
            f"no temporary folder can be made: {error.strerror or error}", "set TMPDIR to a folder you may write to"
        ) from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def remove_leftovers() -> None:
    """Remove the temporary folders of this user's processes that were killed; never makes a command fail."""
    # Not `tempfile.gettempdir`, which writes a file to find out whether it can.
    named = (os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP"))
    folder = next(filter(None, named), "/tmp")
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(_PREFIX):
                with contextlib.suppress(OSError):
                    _remove_left_behind(Path(entry.path))


def _remove_left_behind(folder: Path) -> None:
    """Remove a folder unless it is another user's, a link, or in use."""
    state = folder.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.geteuid():
        return
    handle = os.open(folder / _LOCK_FILE, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(handle)
