"""Cores and memory that this process may use, within the limits of containers and batch systems."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


def usable_cores(cgroups: Path = _CGROUPS) -> int:
    """Logical cores of the affinity mask, or what a cgroup's quota allows if that is less; at least 1."""
    cores = float(len(os.sched_getaffinity(0)))
    for folder in _folders(cgroups, "cpu"):
        quota, _, period = _read(folder / "cpu.max").partition(" ")
        if not quota:
            quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
        if quota.isdecimal() and period.isdecimal() and int(period):
            cores = min(cores, int(quota) / int(period))
    return max(1, math.floor(cores))


def available_memory_bytes(cgroups: Path = _CGROUPS) -> int | None:
    """Memory that can be taken without swapping, within a cgroup's limit; None where that is not known."""
    available = [kib << 10 for kib in _values(_read(Path("/proc/meminfo")), "MemAvailable:")]
    for folder in _folders(cgroups, "memory"):
        limit, used = _read(folder / "memory.max"), _read(folder / "memory.current")
        if not used:
            limit, used = _read(folder / "memory.limit_in_bytes"), _read(folder / "memory.usage_in_bytes")
        if limit.isdecimal() and used.isdecimal():
            # File pages that nothing has used lately are given up before a limit counts.
            statistics = _read(folder / "memory.stat")
            freeable = max([*_values(statistics, "inactive_file"), *_values(statistics, "total_inactive_file"), 0])
            available.append(max(0, int(limit) - int(used) + freeable))
    return min(available) if available else None


def _folders(cgroups: Path, controller: str) -> Iterator[Path]:
    """Folders of this process's cgroup and of those around it, as far as they can be seen; version 1 and 2."""
    for line in _read(Path("/proc/self/cgroup")).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = cgroups / controllers if controllers else cgroups
        folder = root / path.lstrip("/")
        yield folder
        # In a container the path may be that of the machine outside, of which only the root can be seen.
        yield from folder.parents[: len(folder.relative_to(root).parts)]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _values(text: str, name: str) -> list[int]:
    """The number behind a name at the start of a line."""
    words = (line.split() for line in text.splitlines())
    return [int(line[1]) for line in words if line[:1] == [name] and len(line) > 1 and line[1].isdecimal()]
