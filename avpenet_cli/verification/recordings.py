"""The recordings of a manifest, found in a folder by their names or, under pseudonyms, by size and digest."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avpenet_cli.errors import SettingsError
from avpenet_cli.phrasing import plural
from avpenet_cli.verification.nodes import Node, State

_CONTENT = "recordings"
Digest = Callable[[Path], str]


@dataclass
class RecordingFolder:
    """Files below a folder.

    Attributes:
        folder: it and its subfolders are searched; links to folders are not followed.

    Raises:
        SettingsError: it is not a folder.
    """

    folder: Path
    _named: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    _sized: dict[int, list[Path]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise SettingsError(f"--recordings {self.folder}: no such folder", "give the folder of the recordings")
        for parent, _, names in os.walk(self.folder):
            for name in names:
                path = Path(parent, name)
                try:
                    size = path.stat().st_size
                except OSError:
                    continue
                self._named[_composed(name)].append(path)
                self._sized[size].append(path)

    def find(self, name: str, size_bytes: int | None, sha256: str, digest: Digest) -> tuple[Path | None, bool]:
        """The file of a recording, and whether it has the digest; None where no file has its name or its digest."""
        named = self._named.get(_composed(Path(name).name), [])
        sized = [] if size_bytes is None else self._sized.get(size_bytes, [])
        for path in [*named, *sized]:
            if size_bytes in (None, path.stat().st_size) and digest(path) == sha256:
                return path, True
        return (named[0] if named else None), False


def check_recordings(entries: Sequence[Any], folder: RecordingFolder | None, digest: Digest) -> Node | None:
    """The recordings of a manifest as one node, with a link for each that is not intact; None without any.

    Args:
        entries: the manifest's `recordings`.
        folder: where to look; None: they are not checked.
        digest: of a file, hexadecimal.
    """
    if not entries:
        return None
    known = [entry for entry in entries if _has_digest(entry)]
    without = len(entries) - len(known)
    rest = f"; {plural(without, 'recording')} without a digest in the manifest" if without else ""
    name = plural(len(entries), "recording")
    if folder is None:
        return Node(_CONTENT, name, "not checked", f"give --recordings FOLDER to check them{rest}")
    if not known:
        return Node(_CONTENT, name, "not checked", "the manifest has no digest of any of them")
    faults = []
    for entry in known:
        file, recording = entry["file"], str(entry["recording"])
        path, intact = folder.find(recording, file.get("size_bytes"), file["sha256"], digest)
        if path is None:
            faults.append(Node("recording", recording, "missing", "no file has its name or its digest"))
        elif not intact:
            faults.append(Node("recording", recording, "altered", "the file of that name has another digest"))
    detail = f"{len(known) - len(faults)} intact{rest}"
    altered = any(fault.state == "altered" for fault in faults)
    state: State = "altered" if altered else "missing" if faults else "intact"
    return Node(_CONTENT, name, state, detail, tuple(faults))


def check_recording(name: str, sha256: str, folder: RecordingFolder | None, digest: Digest) -> Node:
    """A recording that a document names, as a node."""
    if folder is None:
        return Node("recording", name, "not checked", "give --recordings FOLDER to check it")
    path, intact = folder.find(name, None, sha256, digest)
    if path is None:
        return Node("recording", name, "missing", "no file has its name")
    return Node(
        "recording",
        name,
        "intact" if intact else "altered",
        "" if intact else "the file of that name has another digest",
    )


def _has_digest(entry: Any) -> bool:
    """Whether a recording's digest is stated; that of one that failed is not."""
    file = entry.get("file") if isinstance(entry, dict) else None
    if not isinstance(file, dict) or not isinstance(entry.get("recording"), str):
        return False
    return isinstance(file.get("sha256"), str) and bool(file["sha256"])


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)
