"""Configure glibc's malloc for inference."""

from __future__ import annotations

import ctypes
import os

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h
_KEPT_BYTES = 1 << 30


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
