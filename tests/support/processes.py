"""Processes that a command may leave behind."""

from __future__ import annotations

import contextlib
import ipaddress
import os
from collections.abc import Iterable
from pathlib import Path


def ffmpegs_with(folder: Path) -> list[str]:
    """Ids of the running ffmpeg processes whose command line names the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
            if b"ffmpeg" in command.split(b"\0")[0] and os.fsencode(folder) in command:
                found.append(entry.name)
    return found


def descendants(process: int) -> list[int]:
    """Ids of the processes that a process has started, and of theirs; a parent comes before its children."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found = [process]
    for ancestor in found:
        found += [child for child, parent in parents.items() if parent == ancestor]
    return found[1:]


def listening_addresses(processes: Iterable[int]) -> set[str]:
    """Addresses on which TCP sockets of the processes listen."""
    sockets = set()
    for process in processes:
        with contextlib.suppress(OSError):  # it may have ended meanwhile
            for entry in Path(f"/proc/{process}/fd").iterdir():
                with contextlib.suppress(OSError):
                    sockets.add(str(entry.readlink()))
    addresses = set()
    for table in ("tcp", "tcp6"):
        for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            columns = row.split()
            if columns[3] == "0A" and f"socket:[{columns[9]}]" in sockets:
                words = bytes.fromhex(columns[1].partition(":")[0])
                packed = b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))
                address = ipaddress.ip_address(packed)
                addresses.add(str(getattr(address, "ipv4_mapped", None) or address))
    return addresses
