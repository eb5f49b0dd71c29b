"""Recordings in a folder and below it. Links to folders are followed once, so that a loop of links ends."""

from __future__ import annotations

import os
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path

from avpenet_cli.inputs.left_aside import Aside
from avpenet_cli.inputs.suffixes import countable_suffix, is_recording_name

FolderId = tuple[int, int] | str
"""Device and inode of a folder; its real path where the file system has no inodes."""


def folder_id(path: str) -> FolderId:
    """What identifies a folder, whatever links lead to it.

    Raises:
        OSError: it does not exist, or may not be reached.
    """
    facts = os.stat(path)  # noqa: PTH116  (of many thousand paths)
    return (facts.st_dev, facts.st_ino) if facts.st_ino else os.path.realpath(path)


@dataclass
class FolderContent:
    """What a folder holds.

    Attributes:
        recordings: paths, those of each folder by name before those of its subfolders, those behind links to folders
            last.
        unreadable: folders without read permission.
        reasons, suffixes: counts of what is left aside.
    """

    recordings: list[Path] = field(default_factory=list)
    unreadable: list[Path] = field(default_factory=list)
    reasons: Counter[Aside] = field(default_factory=Counter)
    suffixes: Counter[str] = field(default_factory=Counter)


def list_folder(folder: Path, recursive: bool) -> FolderContent:
    """Find the recordings in a folder and, if `recursive`, in its subfolders and behind links to folders.

    A folder that can be reached both ways is read where it really is, so that its recordings have the same names with
    and without the link.
    """
    content = FolderContent()
    seen: set[FolderId] = set()
    links = deque([str(folder)])
    while links:
        # What is really in a folder comes before what its links lead to.
        stack = [links.popleft()]
        while stack:
            subfolders = _take_entries(_entries(stack.pop(), seen, content), content, recursive)
            stack.extend(entry.path for entry in reversed(subfolders) if not entry.is_symlink())
            links.extend(entry.path for entry in subfolders if entry.is_symlink())
    return content


def _entries(folder: str, seen: set[FolderId], content: FolderContent) -> list[os.DirEntry[str]]:
    """The entries of a folder by name; none where it was read before or may not be read."""
    try:
        identity = folder_id(folder)
        if identity in seen:
            content.reasons[Aside.REPEATED] += 1
            return []
        seen.add(identity)
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:
        content.unreadable.append(Path(folder))
        return []


def _take_entries(entries: list[os.DirEntry[str]], content: FolderContent, recursive: bool) -> list[os.DirEntry[str]]:
    """Sort the entries of one folder into recordings and what is left aside; returns the subfolders to read."""
    subfolders: list[os.DirEntry[str]] = []
    for entry in entries:
        if entry.name.startswith("."):
            content.reasons[Aside.HIDDEN] += 1
        elif _is_folder(entry):
            subfolders.append(entry)
        elif is_recording_name(entry.name):
            content.recordings.append(Path(entry.path))
        elif entry.is_symlink() and not os.path.exists(entry.path):  # noqa: PTH110
            content.reasons[Aside.BROKEN_LINK] += 1
        else:
            content.reasons[Aside.OTHER_SUFFIX] += 1
            content.suffixes[countable_suffix(entry.name)] += 1
    if not recursive:
        content.reasons[Aside.SUBFOLDER] += len(subfolders)
        return []
    return subfolders


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links that lead to themselves
        return False
