"""What a disk holds after a power cut: only what was synced is certain, of the rest any part may be there.

As in SQLite's tests (sqlite.org/testing.html, "crash testing"): a file keeps the bytes that were in it when it was last
synced, and of later writes a random part, in sectors, in any order. A new name, a rename or a removal is certain once
its folder was synced; of later ones in the same folder the first few are there. A file's own sync does not make its
name certain. A lock's folder is exempt, since nothing syncs it: it is there as it was.
"""

from __future__ import annotations

import random
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

_SECTOR = 512


@dataclass
class _File:
    """A file: its bytes when it was last synced, and what was done to it since: (place, bytes), or (length, None)."""

    synced: bytearray
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)

    def sync(self) -> None:
        for change in self.pending:
            _apply(self.synced, *change)
        self.pending.clear()


def _apply(content: bytearray, at: int, data: bytes | None) -> None:
    if data is None:
        if at < len(content):
            del content[at:]
        else:
            content.extend(bytes(at - len(content)))
        return
    if len(content) < at:
        content.extend(bytes(at - len(content)))
    content[at : at + len(data)] = data


_Names = dict[str, "_File | None"]
"""Files by path; None for a folder."""
_Change = tuple[str, str, "_File | None"]
"""Path that disappears or is empty, path that appears or is empty, the file."""


class Disk:
    """A folder as the disk of a machine holds it whose power may fail.

    Args:
        folder: absolute; as it is now, all of it is on the disk.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._synced: _Names = {}
        self._files: dict[int, _File] = {}
        for path in sorted(folder.rglob("*")):
            if path.is_dir():
                self._synced[str(path)] = None
                continue
            file = _File(bytearray(path.read_bytes()))
            self._synced[str(path)] = self._files[path.stat().st_ino] = file
        self._now = dict(self._synced)
        self._pending: dict[str, list[_Change]] = {}

    def replay(self, log: bytes, most: int = sys.maxsize) -> int:
        """Do what the library of faults wrote down.

        Args:
            most: operations that are done; the power fails before the next one.

        Returns:
            Their number.
        """
        at = done = 0
        while at < len(log) and done < most:
            end = log.index(b"\n", at)
            what, number, place, size, first, second = log[at:end].split(b"\t")
            at = end + 1
            data = b""
            if what == b"W":
                data = log[at : at + int(size)]
                at += int(size)
            self._do(what.decode(), int(number), int(place), first.decode(), second.decode(), data)
            done += 1
        return done

    def _do(self, what: str, number: int, place: int, first: str, second: str, data: bytes) -> None:
        if what == "C":
            file = self._now.get(first)
            if first not in self._now or file is not self._files.get(number):
                file = self._files[number] = _File(bytearray())
                self._change(("", first, file))
            if place and file is not None:
                file.pending.append((0, None))
        elif what == "M":
            self._change(("", first, None))
        elif what == "R":
            if first in self._now:
                self._change((first, second, self._now[first]))
        elif what in "UD":
            if first in self._now:
                self._change((first, "", self._now[first]))
        elif what == "F" and (first == self._folder or (first in self._now and self._now[first] is None)):
            for change in self._pending.pop(first, ()):
                _rename(self._synced, change)
        elif number in self._files:
            file = self._files[number]
            if what == "F":
                file.sync()
            else:
                file.pending.append((place, data if what == "W" else None))

    def _change(self, change: _Change) -> None:
        _rename(self._now, change)
        self._pending.setdefault(str(Path(change[1] or change[0]).parent), []).append(change)

    def fail(self, rng: random.Random) -> None:
        """Put what is left after the power failed in place of the folder's content."""
        everything_lost = rng.random() < 0.4
        kept = dict(self._synced)
        for folder, changes in sorted(self._pending.items()):
            count = 0 if everything_lost else rng.randint(0, len(changes))
            if ".holder" in folder:
                count = len(changes)
            for change in changes[:count]:
                _rename(kept, change)
        for path in Path(self._folder).iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for name in sorted(kept):
            path, file = Path(name), kept[name]
            if not path.parent.is_dir():
                continue  # a folder that is gone takes its files with it
            if file is None:
                path.mkdir(mode=0o700)
                continue
            path.touch(mode=0o600)
            path.write_bytes(_content(name, file, rng, everything_lost and ".holder" not in name))


def _rename(names: _Names, change: _Change) -> None:
    before, after, file = change
    if before:
        names.pop(before, None)
        if file is None:  # what is in a folder moves with it
            for inner in [name for name in names if name.startswith(before + "/")]:
                moved = names.pop(inner)
                if after:
                    names[after + inner.removeprefix(before)] = moved
    if after:
        names[after] = file


def _content(name: str, file: _File, rng: random.Random, everything_lost: bool) -> bytes:
    content = bytearray(file.synced)
    if everything_lost:
        return bytes(content)
    how = rng.choice(("all", "first", "sectors")) if ".holder" not in name else "all"
    changes = file.pending if how != "first" else file.pending[: rng.randint(0, len(file.pending))]
    for at, data in changes:
        if how != "sectors" or data is None:
            _apply(content, at, data)
            continue
        for offset in range(0, len(data), _SECTOR):
            if rng.random() < 0.5:
                _apply(content, at + offset, data[offset : offset + _SECTOR])
    return bytes(content)
