"""Collect the recordings that the user named, and give each a distinct name."""

from __future__ import annotations

import glob
import hashlib
import hmac
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from avpenet_cli.errors import SettingsError
from avpenet_cli.inputs.candidates import Collection
from avpenet_cli.inputs.folders import FolderContent, list_folder
from avpenet_cli.inputs.left_aside import Aside, LeftAside
from avpenet_cli.inputs.lists import read_list
from avpenet_cli.phrasing import plural

_MIN_KEY_BYTES = 16
_PSEUDONYM_DIGITS = 20


@dataclass(frozen=True)
class Recording:
    """A recording to process.

    Attributes:
        path: absolute; links are not resolved, so that a recording keeps the name under which it was given.
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
        left_aside: what was found and is no recording, or the same one again, by reason.
        notes: what a person should know about the names, one line each.
    """

    recordings: tuple[Recording, ...]
    left_aside: LeftAside
    notes: tuple[str, ...] = ()


def collect(paths: Sequence[str], files_from: str | None, recursive: bool, key_file: Path | None) -> Inputs:
    """Collect recordings from files, folders, patterns and lists of files.

    A recording that can be reached by several routes, such as a link and its target, is collected once.

    Args:
        paths: files, folders, or patterns that the shell did not expand.
        files_from: a file with one path per line, or separated by NUL bytes; `-` for standard input.
        recursive: include subfolders.
        key_file: key for pseudonyms in place of names; None for names.

    Raises:
        SettingsError: there are no inputs, or a list or key cannot be read.
    """
    listed = [] if files_from is None else read_list(files_from)
    named = [*paths, *map(os.fsdecode, listed)]
    if not named:
        raise SettingsError("no recordings named", "give files, folders or --files-from")
    key = _read_key(key_file) if key_file else None
    collection = Collection(private=key is not None)
    for text in named:
        _expand(text, recursive, collection)
    candidates = collection.distinct()
    names = [
        _pseudonym(candidate.path, key) if key else display_name(name)
        for candidate, name in zip(candidates, _names([candidate.path for candidate in candidates]), strict=True)
    ]
    recordings = tuple(
        Recording(candidate.path, name, _digest(os.fsencode(candidate.path), key), candidate.problem)
        for candidate, name in zip(candidates, names, strict=True)
    )
    notes = [*_notes_on_list(listed), *collection.notes({r.path: r.name for r in recordings})]
    left_aside = LeftAside.counted(collection.reasons, collection.suffixes, private=collection.private)
    return Inputs(recordings, left_aside, tuple(notes))


def _notes_on_list(listed: Sequence[bytes]) -> list[str]:
    """A note where names are neither UTF-8 nor on the disk: the list is in an 8-bit encoding."""
    absent = sum(1 for name in listed if not _is_utf8(name) and not os.path.lexists(name))
    if not absent:
        return []
    return [
        f"{plural(absent, 'name')} in the list of files not in UTF-8, and not on the disk: if there are accents or "
        "umlauts in the names, write the list as UTF-8"
    ]


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _expand(text: str, recursive: bool, collection: Collection) -> None:
    """Add what an input leads to."""
    path = Path(text)
    if os.path.isdir(text):  # noqa: PTH112  (Path.is_dir() raises where a folder may not be read or a name is too long)
        content = list_folder(path, recursive)
        collection.reasons.update(content.reasons)
        collection.suffixes.update(content.suffixes)
        for folder in content.unreadable:
            collection.add(folder, "a folder without read permission")
        if not content.recordings and not content.unreadable:
            collection.add(path, _nothing_in_folder(content, collection.private))
        for recording in content.recordings:
            collection.add(recording)
    elif not os.path.lexists(path) and glob.has_magic(text):
        matches = sorted(glob.glob(text, recursive=True))  # noqa: PTH207  (Path.glob() takes no absolute patterns)
        if not matches:
            collection.add(path, "a pattern that matches nothing")
        for match in matches:
            if os.path.isdir(match) and not recursive:  # noqa: PTH112
                collection.reasons[Aside.SUBFOLDER] += 1
            else:
                _expand(match, recursive, collection)
    else:
        respelt = collection.other_unicode_form(path)
        if respelt is None:
            collection.add(path)
        else:
            collection.respelt += 1
            _expand(str(respelt), recursive, collection)


def _nothing_in_folder(content: FolderContent, private: bool) -> str:
    """Why a folder gives no recordings, with what it holds instead."""
    held = LeftAside.counted(content.reasons, content.suffixes, private=private).describe()
    return "a folder without recordings" + (f": {held}" if held else "")


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
