"""Memory of a process that runs the networks: glibc's malloc, and Python's search for unused objects."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
from collections.abc import Iterator

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h
_KEPT_BYTES = 1 << 30
_MANY_MODULES = 100


def keep_freed_memory() -> None:
    """Make glibc's malloc keep freed memory for reuse, unless the environment configures malloc.

    Each layer of a network allocates the same few dozen MiB again. By default such blocks come from the system, which
    clears them page by page, and are returned at once. The memory of the process stays near its peak. Other C libraries
    are not changed.
    """
    configured = any(name.startswith("MALLOC_") for name in os.environ)
    if configured or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


@contextlib.contextmanager
def loading_libraries() -> Iterator[None]:
    """Import libraries in half a second of CPU time less.

    They make a million objects, which stay: Python's collector would go through them over and over while they are made,
    and once more whenever it looks for unused ones later.
    """
    collects, before = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) - before > _MANY_MODULES:
            gc.freeze()
        if collects:
            gc.enable()
