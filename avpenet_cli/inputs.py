"""Collect the recordings that the user named, and give each a distinct name."""

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
"""Suffixes of recordings in a folder. A file that is named explicitly may have any suffix."""

_MIN_KEY_BYTES = 16
_PSEUDONYM_DIGITS = 20


@dataclass(frozen=True)
class Recording:
    """A recording to process.

    Attributes:
        path: absolute; links are not resolved, so that two names are two recordings.
        name: its name in outputs and logs.
        key: digest of the path, which identifies the recording in the journal.
        problem: why it cannot be processed; empty if it can.
    """

    path: Path
    name: str
    key: str
    problem: str = ""


@dataclass(frozen=True)
class Inputs:
    """The result of `collect`.

    Attributes:
        recordings: in the order of the inputs, those of a folder by name.
        repeated: number of inputs that repeat a path.
        other_files: number of files in the folders that are no recordings.
    """

    recordings: tuple[Recording, ...]
    repeated: int
    other_files: int


def collect(paths: Sequence[str], files_from: str | None, recursive: bool, key_file: Path | None) -> Inputs:
    """Collect recordings from files, folders, patterns and lists of files.

    Args:
        paths: files, folders, or patterns that the shell did not expand.
        files_from: a file with one path per line, or separated by NUL bytes; `-` for standard input.
        recursive: include subfolders.
        key_file: key for pseudonyms in place of names; None for names.

    Raises:
        SettingsError: there are no inputs, or a list or key cannot be read.
    """
    named = [*paths, *_listed(files_from)]
    if not named:
        raise SettingsError("no recordings named", "give files, folders or --files-from")
    candidates: list[tuple[Path, str]] = []
    others = 0
    for text in named:
        for path, problem, skipped in _expand(text, recursive):
            others += skipped
            if path is not None:
                candidates.append((path, problem))
    problems: dict[Path, str] = {}
    for path, problem in candidates:
        problems.setdefault(Path(os.path.abspath(path)), problem)  # noqa: PTH100  (resolve() would follow links)
    key = _read_key(key_file) if key_file else None
    names = _names(list(problems))
    recordings = tuple(
        Recording(path, _pseudonym(path, key) if key else display_name(name), _digest(os.fsencode(path), key), problem)
        for (path, problem), name in zip(problems.items(), names, strict=True)
    )
    return Inputs(recordings, len(candidates) - len(recordings), others)


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
    """Expand an input to (path, problem, number of skipped files) for each recording."""
    path = Path(text)
    if os.path.isdir(text):  # noqa: PTH112  (Path.is_dir() raises where a folder may not be read or a name is too long)
        inside, unreadable, others = _recordings_in(path, recursive)
        yield None, "", others
        for folder in unreadable:
            yield folder, "a folder without read permission", 0
        if not inside and not unreadable:
            yield path, "a folder without recordings" + ("" if recursive else " (--recursive looks deeper)"), 0
        for recording in inside:
            yield recording, "", 0
    elif not os.path.lexists(path) and glob.has_magic(text):
        matches = sorted(glob.glob(text, recursive=True))  # noqa: PTH207  (Path.glob() takes no absolute patterns)
        if not matches:
            yield path, "a pattern that matches nothing", 0
        for match in matches:
            if os.path.isdir(match) and not recursive:  # noqa: PTH112
                continue
            yield from _expand(match, recursive)
    else:
        yield path, "", 0


def _recordings_in(folder: Path, recursive: bool) -> tuple[list[Path], list[Path], int]:
    """Find (recordings, folders without read permission, number of other files)."""
    inside: list[Path] = []
    unreadable: list[Path] = []
    others = 0
    for parent, folders, files in os.walk(folder, onerror=lambda error: unreadable.append(Path(error.filename))):
        folders.sort()
        folders[:] = [name for name in folders if recursive and not name.startswith(".")]
        for name in sorted(files):
            if Path(name).suffix.lower() in RECORDING_SUFFIXES and not name.startswith("."):
                inside.append(Path(parent) / name)
            else:
                others += 1
    return inside, unreadable, others


def _names(paths: Sequence[Path]) -> list[str]:
    """Paths relative to the inputs' common folder."""
    if not paths:
        return []
    common = os.path.commonpath([path.parent for path in paths])
    return [os.path.relpath(path, common) for path in paths]


def display_name(name: str) -> str:
    """A file name as text for outputs, with bytes that are not UTF-8 as escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _pseudonym(path: Path, key: bytes) -> str:
    """Pseudonym of the whole path: names depend on the inputs' common folder, and the `cry.mp4` of two patients, scored
    in two runs, must not share a pseudonym."""
    return f"rec-{_digest(os.fsencode(path), key)[:_PSEUDONYM_DIGITS]}"


def _digest(raw: bytes, key: bytes | None) -> str:
    return hmac.new(key, raw, hashlib.sha256).hexdigest() if key is not None else hashlib.sha256(raw).hexdigest()


def _read_key(path: Path) -> bytes:
    try:
        key = path.read_bytes().strip()
        others_mode = path.stat().st_mode & 0o077
    except OSError as error:
        raise SettingsError(f"--pseudonymise {path}: {error.strerror}", "name a readable key file") from None
    if len(key) < _MIN_KEY_BYTES:
        raise SettingsError(
            f"--pseudonymise {path}: the key has {len(key)} bytes, under {_MIN_KEY_BYTES}",
            "make one with: head -c 32 /dev/urandom | base64 > KEYFILE",
        )
    if others_mode:
        raise SettingsError(f"--pseudonymise {path}: the key is accessible to other users", f"chmod 600 {path}")
    return key
