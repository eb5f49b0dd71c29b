"""Which recordings were asked for, and what each is called."""

from __future__ import annotations

import glob
import hashlib
import hmac
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from avpenet_cli.errors import SettingsError

RECORDING_SUFFIXES = frozenset(
    [
        ".3gp",
        ".asf",
        ".avi",
        ".flv",
        ".m2ts",
        ".m4v",
        ".mkv",
        ".mov",
        ".mp4",
        ".mpeg",
        ".mpg",
        ".mts",
        ".mxf",
        ".ogv",
        ".ts",
        ".vob",
        ".webm",
        ".wmv",
    ]
)
"""What is taken from a folder. A file named by itself is taken whatever its suffix."""

_MIN_KEY_BYTES = 16
_PSEUDONYM_DIGITS = 20


@dataclass(frozen=True)
class Recording:
    """One input.

    Attributes:
        path: absolute; links are not followed, so that two names stay two recordings.
        name: what outputs and logs call it.
        key: stands for the path in the journal, and says nothing of it.
        problem: why it cannot even be tried; empty when it can.
    """

    path: Path
    name: str
    key: str
    problem: str = ""


@dataclass(frozen=True)
class Inputs:
    """What `collect` found.

    Attributes:
        recordings: in the order given, folders in the order of their names.
        repeated: how often a path that had come before came again.
        other_files: files in the folders that are not recordings.
    """

    recordings: tuple[Recording, ...]
    repeated: int
    other_files: int


def collect(paths: Sequence[str], files_from: str | None, recursive: bool, key_file: Path | None) -> Inputs:
    """Files, folders, globs and lists of files, as recordings with distinct names.

    Args:
        paths: files, folders, or patterns that the shell left alone.
        files_from: a file with one path per line (or separated by NUL bytes), or `-` for standard input.
        recursive: look into folders of folders.
        key_file: names become pseudonyms under this key.

    Raises:
        SettingsError: nothing was named, or a list or key cannot be read.
    """
    named = [*paths, *_listed(files_from)]
    if not named:
        raise SettingsError("no recordings named", "give files, folders or --files-from")
    found: list[tuple[Path, str]] = []
    others = 0
    for text in named:
        for path, problem, skipped in _expand(text, recursive):
            others += skipped
            if path is not None:
                found.append((path, problem))
    seen: dict[Path, str] = {}
    for path, problem in found:
        seen.setdefault(Path(os.path.abspath(path)), problem)  # noqa: PTH100  (resolve() would follow links)
    key = _read_key(key_file) if key_file else None
    names = _names(list(seen))
    recordings = tuple(
        Recording(path, _pseudonym(path, key) if key else shown(name), _digest(os.fsencode(path), key), problem)
        for (path, problem), name in zip(seen.items(), names, strict=True)
    )
    return Inputs(recordings, len(found) - len(recordings), others)


def _listed(files_from: str | None) -> list[str]:
    if files_from is None:
        return []
    try:
        raw = sys.stdin.buffer.read() if files_from == "-" else Path(files_from).read_bytes()
    except OSError as error:
        raise SettingsError(f"--files-from {files_from}: {error.strerror}", "name a readable file, or -") from None
    parts = raw.split(b"\0") if b"\0" in raw else raw.splitlines()
    return [os.fsdecode(part) for part in parts if part.strip()]


def _expand(text: str, recursive: bool) -> Iterable[tuple[Path | None, str, int]]:
    """(path, problem, files left aside) for each recording that `text` stands for."""
    path = Path(text)
    if os.path.isdir(text):  # noqa: PTH112  (Path.is_dir() raises where a folder may not be read or a name is too long)
        inside, closed, others = _recordings_in(path, recursive)
        yield None, "", others
        for folder in closed:
            yield folder, "a folder that may not be read", 0
        if not inside and not closed:
            yield path, "a folder without recordings" + ("" if recursive else " (--recursive looks deeper)"), 0
        for one in inside:
            yield one, "", 0
    elif not os.path.lexists(path) and glob.has_magic(text):
        matches = sorted(glob.glob(text, recursive=True))  # noqa: PTH207  (absolute patterns are no business of Path)
        if not matches:
            yield path, "a pattern that matches nothing", 0
        for match in matches:
            if os.path.isdir(match) and not recursive:  # noqa: PTH112
                continue
            yield from _expand(match, recursive)
    else:
        yield path, "", 0


def _recordings_in(folder: Path, recursive: bool) -> tuple[list[Path], list[Path], int]:
    """(recordings, folders that may not be read, how many other files)."""
    inside: list[Path] = []
    closed: list[Path] = []
    others = 0
    for parent, folders, files in os.walk(folder, onerror=lambda error: closed.append(Path(error.filename))):
        folders.sort()
        folders[:] = [name for name in folders if recursive and not name.startswith(".")]
        for name in sorted(files):
            if Path(name).suffix.lower() in RECORDING_SUFFIXES and not name.startswith("."):
                inside.append(Path(parent) / name)
            else:
                others += 1
    return inside, closed, others


def _names(paths: Sequence[Path]) -> list[str]:
    """Paths relative to the inputs' common folder."""
    if not paths:
        return []
    common = os.path.commonpath([path.parent for path in paths])
    return [os.path.relpath(path, common) for path in paths]


def shown(name: str) -> str:
    """A name as text for outputs, with bytes that are no UTF-8 spelled out."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _pseudonym(path: Path, key: bytes) -> str:
    """Of the whole path: names shrink and grow with the inputs' common folder, and two patients' `cry.mp4`, scored by
    two runs, must not share one."""
    return f"rec-{_digest(os.fsencode(path), key)[:_PSEUDONYM_DIGITS]}"


def _digest(raw: bytes, key: bytes | None) -> str:
    return hmac.new(key, raw, hashlib.sha256).hexdigest() if key is not None else hashlib.sha256(raw).hexdigest()


def _read_key(path: Path) -> bytes:
    try:
        key = path.read_bytes().strip()
        open_to_others = path.stat().st_mode & 0o077
    except OSError as error:
        raise SettingsError(f"--pseudonymise {path}: {error.strerror}", "name a readable key file") from None
    if len(key) < _MIN_KEY_BYTES:
        raise SettingsError(
            f"--pseudonymise {path}: the key has {len(key)} bytes, under {_MIN_KEY_BYTES}",
            "make one with: head -c 32 /dev/urandom | base64 > KEYFILE",
        )
    if open_to_others:
        raise SettingsError(f"--pseudonymise {path}: others may read the key", f"chmod 600 {path}")
    return key
