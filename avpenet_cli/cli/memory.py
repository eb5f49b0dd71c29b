"""How this process asks the system for memory."""

from __future__ import annotations

import ctypes
import os

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h
_KEPT_BYTES = 1 << 30


def keep_freed_memory() -> None:
    """Let glibc's malloc keep what is freed for what is needed next, unless the caller's environment says otherwise.

    Each layer of a network asks for the same few dozen MiB again. By default every such piece comes fresh from the
    system, which clears it page by page, and goes back at once. What the process holds stays near its peak. Other C
    libraries are left alone.
    """
    told = any(name.startswith("MALLOC_") for name in os.environ)
    if told or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
