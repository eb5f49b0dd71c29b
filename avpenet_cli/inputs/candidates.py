"""Paths that may lead to the same recording: by links, by repetition, or by names in another Unicode form."""

from __future__ import annotations

import contextlib
import os
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from avpenet_cli.inputs.folders import FolderId, folder_id
from avpenet_cli.inputs.left_aside import Aside
from avpenet_cli.phrasing import plural

_NAMED_PAIRS = 3


@dataclass(frozen=True)
class Candidate:
    """A path that was named or found.

    Attributes:
        path: absolute.
        problem: why it leads to no recording; empty if it may.
    """

    path: Path
    problem: str


@dataclass
class Collection:
    """Candidates in the order of the inputs, with counts of what is left aside.

    Attributes:
        private: whether names must not appear in any message.
        respelt: inputs that were found under their name in another Unicode form.
    """

    private: bool
    reasons: Counter[Aside] = field(default_factory=Counter)
    suffixes: Counter[str] = field(default_factory=Counter)
    respelt: int = 0
    _candidates: list[Candidate] = field(default_factory=list)
    _look_alikes: list[tuple[Path, Path]] = field(default_factory=list)
    _names_in: dict[Path, dict[str, list[str]]] = field(default_factory=dict)

    def add(self, path: Path, problem: str = "") -> None:
        """Add a path that was named or found."""
        self._candidates.append(Candidate(Path(os.path.abspath(path)), problem))  # noqa: PTH100  (keeps links)

    def distinct(self) -> list[Candidate]:
        """The candidates, each recording once: by its real path if that is among them, else by the first route.

        The others are counted as repeated.
        """
        folders: dict[str, FolderId | None] = {}
        kept: dict[tuple[object, ...], tuple[Candidate, bool]] = {}
        for candidate in self._candidates:
            real = os.path.realpath(candidate.path)
            is_real = real == str(candidate.path)
            identity = _identity(candidate.path, real, folders)
            if (alike := kept.get(identity)) is not None and not _is_same_file(alike[0].path, candidate.path):
                self._look_alikes.append((alike[0].path, candidate.path))
                identity = (*identity, real)
            if identity in kept:
                self.reasons[Aside.REPEATED] += 1
                if kept[identity][1] or not is_real:
                    continue
                del kept[identity]  # the real path has a place of its own in the order
            kept[identity] = candidate, is_real
        return [candidate for candidate, _ in kept.values()]

    def other_unicode_form(self, path: Path) -> Path | None:
        """The path on the disk whose names differ from this one's in Unicode form only.

        macOS writes names in NFD (letters and accents apart), most other systems in NFC.

        Returns:
            None where the path itself exists, or no such path does, or several do.
        """
        text = str(path)
        if text.isascii() or os.path.lexists(path):
            return None
        found = Path(path.anchor)
        for part in path.relative_to(path.anchor).parts:
            if os.path.lexists(found / part):
                found /= part
                continue
            matches = self._by_composed_name(found).get(unicodedata.normalize("NFC", part), [])
            if len(matches) != 1:
                return None
            found /= matches[0]
        return found

    def _by_composed_name(self, folder: Path) -> dict[str, list[str]]:
        """A folder's names by their form NFC, read once: a list may name thousands of its files."""
        if folder not in self._names_in:
            names: dict[str, list[str]] = {}
            with contextlib.suppress(OSError):
                for name in os.listdir(folder):  # noqa: PTH208
                    names.setdefault(unicodedata.normalize("NFC", name), []).append(name)
            self._names_in[folder] = names
        return self._names_in[folder]

    def notes(self, names: Mapping[Path, str]) -> list[str]:
        """What a person should know about names in different Unicode forms; `names` are those of the outputs."""
        notes = []
        if self.respelt:
            notes.append(
                f"{plural(self.respelt, 'input')} found under the same name in another Unicode form (NFC or NFD)"
            )
        alike = [
            (names[first], names[second]) for first, second in self._look_alikes if {first, second} <= names.keys()
        ]
        notes += [
            f"{first} and {second} are two files whose names differ in their Unicode form only (NFC and NFD); both are "
            "scored"
            for first, second in alike[:_NAMED_PAIRS]
        ]
        if len(alike) > _NAMED_PAIRS:
            notes.append(f"{plural(len(alike) - _NAMED_PAIRS, 'more pair')} of files whose names look the same")
        return notes


def _identity(path: Path, real: str, folders: dict[str, FolderId | None]) -> tuple[object, ...]:
    """What two routes to one file have in common: its real folder and its name, whatever Unicode form that has."""
    parent, name = os.path.split(real)
    if parent not in folders:
        try:
            folders[parent] = folder_id(parent)
        except (OSError, ValueError):
            folders[parent] = None
    if folders[parent] is None or not os.path.lexists(real):
        return (str(path),)
    return folders[parent], unicodedata.normalize("NFC", name)


def _is_same_file(first: Path, second: Path) -> bool:
    """Whether two paths whose names differ at most in Unicode form lead to one file."""
    if os.path.realpath(first) == os.path.realpath(second):
        return True
    try:
        return first.samefile(second)
    except OSError:
        return False
