"""The structure by which the library of faults (`shim.c`) is told what to do, in shared memory."""

from __future__ import annotations

import ctypes
import mmap
import os
import subprocess
from pathlib import Path

NOTHING, FAIL, SIGNAL, CLOCK, SWAP = range(5)
"""Actions."""
WRITE, SYNC, NAME, CREATE, READ, OPEN, LOOK = (1 << bit for bit in range(7))
"""Kinds of calls: the first four on files of the output's folder, the others on those of the inputs'."""
WRITES = WRITE | SYNC | NAME | CREATE
READS = READ | OPEN | LOOK
WORKER = -1
"""The victim that is the worker process which makes the call; only calls of workers and their decoders are counted."""
WORKER_VARIABLE = "AVPENET_FAULTS_WORKER"
"""Environment variable of a worker process and its decoders: its process."""


class Control(ctypes.Structure):
    """As in `shim.c`.

    Attributes:
        armed: whether calls are counted at all.
        action: what happens.
        error: `errno` of the calls that fail.
        signal: number of the signal that is sent at SIGNAL or SWAP; 0 for none.
        half: the calls that fail to write everything write half of it.
        recording: write down to the file `log` what is written, synced and renamed.
        victim: process that gets the signal; 0 for the one that makes the call, or `WORKER`.
        fired: whether the fault happened.
        calls: the kinds that are counted, as a sum.
        strangers: whether a worker process, or a decoder of one, wrote to the output's folder.
        at: number of the call at which it happens, from 1; 0 for never.
        span: number of calls that fail from there; -1 for all.
        clock_ns, boot_ns: by how much the wall clock and the clock since boot jump, ns.
        count: calls so far of the kinds that are counted.
        by_kind: calls so far of each kind.
        output, input, log: folders and file, absolute.
        place, other: folders, absolute: at SWAP `place` is renamed away, and `other`, if any, takes its place.
    """

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("armed", "action", "error", "signal", "half", "recording", "victim")),
        *((name, ctypes.c_int32) for name in ("fired", "calls", "strangers")),
        *((name, ctypes.c_int64) for name in ("at", "span", "clock_ns", "boot_ns", "count")),
        ("by_kind", ctypes.c_int64 * 7),
        *((name, ctypes.c_char * 256) for name in ("output", "input", "log", "place", "other")),
    )


def map_control(path: Path) -> Control:
    """Map a file that holds the structure; it is created where there is none."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.ftruncate(handle, ctypes.sizeof(Control))
        return Control.from_buffer(mmap.mmap(handle, ctypes.sizeof(Control)))
    finally:
        os.close(handle)


def build_shim(folder: Path) -> Path:
    """Compile the library of faults.

    Raises:
        subprocess.CalledProcessError: there is no C compiler, or it refuses.
    """
    library = folder / "faults.so"
    source = Path(__file__).with_name("shim.c")
    options = ["-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run(["cc", *options, "-o", library, source, "-ldl"], check=True)
    return library
