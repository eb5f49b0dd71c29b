"""A journal as a run leaves it that is killed in the middle of a transaction."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

_WRITE = """
import os, signal, sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA cache_size = 1")
database.execute("BEGIN IMMEDIATE")
database.execute(f"DELETE FROM {sys.argv[2]}")
database.executemany(f"INSERT INTO {sys.argv[2]} VALUES (?, ?)", [(str(n), "x" * 5000) for n in range(200)])
os.kill(os.getpid(), signal.SIGKILL)
"""


def kill_in_transaction(database: Path, table: str) -> None:
    """Kill a process that has replaced the rows of a table with two columns of text, before it commits that."""
    killed = subprocess.run([sys.executable, "-c", _WRITE, database, table], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert database.with_name(f"{database.name}-journal").stat().st_size > 0
