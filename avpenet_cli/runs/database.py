"""The databases beside outputs: made and read so that neither kills nor other programs and computers harm them.

A transaction that a killed run left half done is rolled back by whoever opens the database next (sqlite.org/lockingv3).
On a share whose locks do not reach this computer, the transaction of a run on another one looks just like that.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from avpenet_cli.errors import AvpenetError, EnvironmentUnavailableError, OutputError, OutputLockedError
from avpenet_cli.storage import storage_fault
from avpenet_cli.version import JOURNAL_VERSION, refuse_later

_LOCK_TIMEOUT_S = 30.0
"""Someone may be reading the journal with a database browser."""
_PATIENCE_S = 3.0
"""A run that is writing is in the middle of a transaction for a moment only."""
_POLL_S = 0.05


def open_database(path: Path) -> sqlite3.Connection:
    """Open or create a journal's database, readable by its owner only, in which every transaction reaches the disk."""
    # Created here with its final mode: SQLite would apply the umask, and follow a link.
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    database = sqlite3.connect(path, timeout=_LOCK_TIMEOUT_S, isolation_level=None)
    # FULL does not sync the removal of a transaction's journal: after a power cut the transaction would be rolled back.
    database.execute("PRAGMA synchronous = EXTRA")
    database.execute("PRAGMA secure_delete = ON")
    return database


def connect_to_read(path: Path, *, mode: Literal["ro", "rw"] = "ro") -> sqlite3.Connection:
    """Open a database that is only read.

    Args:
        mode: `rw` rolls back a transaction that is half done.

    Raises:
        sqlite3.OperationalError: there is none, or with `ro`, a transaction is half done.
        sqlite3.Error: it is damaged.
    """
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    database = sqlite3.connect(uri, uri=True, timeout=_LOCK_TIMEOUT_S, isolation_level=None)
    try:
        database.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    except BaseException:
        database.close()
        raise
    return database


@contextlib.contextmanager
def opened_to_read(path: Path, is_written: Callable[[], bool] = lambda: False) -> Iterator[sqlite3.Connection]:
    """A database for as long as the block lasts; where a killed run left a transaction half done, without that.

    Args:
        is_written: whether a run has the output's lock; asked where a transaction is half done, which is then not
            rolled back.

    Raises:
        OutputLockedError: that run stays in the middle of its transaction.
        sqlite3.Error: there is no database, or it is damaged.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            database = connect_to_read(path)
            break
        except sqlite3.OperationalError:
            if not is_written():
                database = connect_to_read(path, mode="rw")
                break
            if time.monotonic() > deadline:
                raise OutputLockedError(
                    f"the run that is writing the journal {path} is in the middle of it", "try again in a moment"
                ) from None
        time.sleep(_POLL_S)
    with contextlib.closing(database):
        yield database


@contextlib.contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Turn errors of SQLite and the operating system about a journal into errors that say what to do."""
    try:
        yield
    except sqlite3.Error as error:
        if "full" in str(error):
            raise storage_fault(path, OSError(errno.ENOSPC, str(error))) from None
        if "disk I/O" in str(error):  # SQLite does not say whether it was a quota
            remedy = "check the disk, your quota, and the limit on the size of files (ulimit -f)"
            raise EnvironmentUnavailableError(f"{path} cannot be read or written: {error}", remedy) from None
        if "locked" in str(error):
            raise OutputLockedError(
                f"another program holds the journal {path} open", "close it, then try again"
            ) from None
        if "unable to open" in str(error) or "readonly" in str(error):
            raise storage_fault(path, OSError(errno.EACCES, str(error))) from None
        raise damaged(path, str(error)) from None
    except OSError as error:
        raise storage_fault(path, error) from None


def damaged(path: Path, detail: str) -> AvpenetError:
    """The error of a journal whose content is not what was written."""
    return OutputError(
        f"the journal {path} is damaged ({detail})", "--overwrite scores everything again and makes a new one"
    )


def refuse_later_journal(path: Path, stated: object) -> None:
    """Raise if a journal is of a later format.

    Args:
        stated: `journal_format` in its table `run`; None where it states none.

    Raises:
        SettingsError: it is.
    """
    digits = str(stated)[:9]
    refuse_later(f"the journal {path}", int(digits) if digits.isdecimal() else None, JOURNAL_VERSION)


@contextlib.contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """A transaction that is rolled back where the block raises."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if database.in_transaction:  # SQLite rolls back on its own after a full disk
            database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")
