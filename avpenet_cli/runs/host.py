"""What kind of computer this is, without anything that names it."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class HostFacts:
    """The computer that scored.

    Attributes:
        cpu: model of its processor, or its architecture where the model is not known.
        cores: logical cores that the program may use.
        memory_bytes: main memory; None where that is not known.
        system: operating system with its version.
    """

    cpu: str
    cores: int
    memory_bytes: int | None
    system: str


def host_facts() -> HostFacts:
    """The facts of this computer; no host name, no user name, no serial number."""
    return HostFacts(_cpu(), len(os.sched_getaffinity(0)), _memory_bytes(), _system())


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models and models[0] else platform.machine()


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return None


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()
