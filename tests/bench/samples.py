"""Memory, descriptors, threads and children of a process that scores, over time."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from tests.support.processes import descendants

_WARM_UP = 0.25
"""Share of a process's measurements that are left out at its start: caches fill."""

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Sample:
    """One measurement.

    Attributes:
        started: of the process that scores, seconds since 1970; it tells processes apart.
        seconds: that the process has been scoring.
        recordings: that it has scored.
        at_rest: between two rounds.
        rss_mib: resident memory of the process, MiB.
        workers_mib: of each worker, by process.
        descriptors, threads, children: of the process; workers and decoders are children.
        log_bytes: size of the log.
    """

    started: float
    seconds: float
    recordings: int
    at_rest: bool
    rss_mib: float
    workers_mib: dict[str, float]
    descriptors: int
    threads: int
    children: int
    log_bytes: int


def take(
    pid: int, started: float, seconds: float, recordings: int, *, at_rest: bool = False, log_bytes: int = 0
) -> Sample:
    """Measure a process and its workers."""
    children = descendants(pid)
    workers = {}
    for child in children:
        with contextlib.suppress(OSError):
            if b"worker_process" in Path(f"/proc/{child}/cmdline").read_bytes():
                workers[str(child)] = round(_status(child, "VmRSS") / 1024, 2)
    descriptors = 0
    with contextlib.suppress(OSError):
        descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return Sample(
        started=started,
        seconds=round(seconds, 1),
        recordings=recordings,
        at_rest=at_rest,
        rss_mib=round(_status(pid, "VmRSS") / 1024, 2),
        workers_mib=workers,
        descriptors=descriptors,
        threads=_status(pid, "Threads"),
        children=len(children),
        log_bytes=log_bytes,
    )


def _status(pid: int, name: str) -> int:
    """A number of a process's status, memory in KiB; 0 where it has ended."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])
    return 0


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """By how much values grow with time, least squares; not a number below three of them."""
    return float(np.polyfit(times, values, 1)[0]) if len(times) > 2 else float("nan")


def warm(samples: Sequence[_Item]) -> Sequence[_Item]:
    """Those after the warm-up."""
    return samples[int(_WARM_UP * len(samples)) :]
