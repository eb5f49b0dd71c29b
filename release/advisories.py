"""Read a database of vulnerabilities in the OSV format (ossf.github.io/osv-schema), and decide whom they affect."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import InvalidVersion, Version

Document = Mapping[str, Any]


class DatabaseError(Exception):
    """A database that cannot be used; the text is one line."""


@dataclass(frozen=True)
class Advisory:
    """What a database says about one package.

    Attributes:
        ids: its own first, then those of the same vulnerability in other databases.
        summary: at most 100 characters; empty if there is none.
        modified: ISO 8601; empty if it is not stated.
        ranges: the events of each range, as (`introduced`, `fixed`, `last_affected` or `limit`, version).
        versions: versions that are affected, listed one by one.
    """

    ids: tuple[str, ...]
    package: NormalizedName
    summary: str
    modified: str
    ranges: tuple[tuple[tuple[str, str], ...], ...]
    versions: tuple[str, ...]

    def affects(self, version: Version) -> bool:
        """Whether this version is affected. If that cannot be decided, it counts as affected."""
        version = Version(version.public)  # 2.11.0+cu130 has the faults of 2.11.0
        if not self.ranges and not self.versions:
            return True
        try:
            return self._listed(version) or any(_in_range(version, events) for events in self.ranges)
        except InvalidVersion:
            return True

    def fixed_in(self, version: Version) -> str:
        """The first version with a fix after this one; empty if there is none."""
        fixes = [_parse_version(text) for events in self.ranges for kind, text in events if kind == "fixed"]
        later = [fix for fix in fixes if fix is not None and fix > version]
        return str(min(later)) if later else ""

    def _listed(self, version: Version) -> bool:
        return any(_parse_version(text) == version for text in self.versions)


def read_database(path: Path) -> list[Advisory]:
    """Every advisory on a package of the Python Package Index that was not withdrawn.

    Args:
        path: an OSV export: a .zip or a folder of .json files, or one .json file with an advisory or a list of them.

    Raises:
        DatabaseError: it cannot be read, or holds no advisory on such a package. An empty database must not look like
            a clean result.
    """
    advisories = [advisory for name, document in _documents(path) for advisory in _advisories(name, document)]
    if not advisories:
        raise DatabaseError(f"{path} holds no advisory on a PyPI package; give an OSV export of the ecosystem PyPI")
    return advisories


def _documents(path: Path) -> Iterator[tuple[str, Document]]:
    for name, content in _files(path):
        try:
            parsed = json.loads(content)
        except (ValueError, RecursionError):
            raise DatabaseError(f"{name} is not JSON, or is damaged; get the database again") from None
        for document in parsed if isinstance(parsed, list) else [parsed]:
            if not isinstance(document, dict) or not isinstance(document.get("id"), str):
                raise DatabaseError(f"{name} is no advisory in the OSV format; give an OSV export")
            yield name, document


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        if path.is_dir():
            yield from ((str(file), file.read_bytes()) for file in sorted(path.rglob("*.json")))
        elif path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                for name in sorted(archive.namelist()):
                    if name.endswith(".json"):
                        yield f"{path}, {name}", archive.read(name)
        else:
            yield str(path), path.read_bytes()
    except OSError as error:
        raise DatabaseError(f"{path} cannot be read: {error.strerror or error}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError):  # the last: encrypted
        raise DatabaseError(f"{path} is not a zip file, or is damaged; get the database again") from None


def _advisories(name: str, document: Document) -> Iterator[Advisory]:
    if document.get("withdrawn"):
        return
    try:
        for affected in document.get("affected") or ():
            package = affected.get("package") or {}
            if str(package.get("ecosystem", "")).partition(":")[0] != "PyPI":
                continue
            ranges = [part["events"] for part in affected.get("ranges") or () if part["type"] != "GIT"]
            yield Advisory(
                ids=(document["id"], *document.get("aliases", ())),
                package=canonicalize_name(package["name"]),
                summary=" ".join(str(document.get("summary") or document.get("details") or "").split())[:100],
                modified=str(document.get("modified", "")),
                ranges=tuple(_events(events) for events in ranges),
                versions=tuple(map(str, affected.get("versions") or ())),
            )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DatabaseError(f"{name} does not keep to the OSV format ({error!r}); give an OSV export") from None


def _events(events: Iterable[Mapping[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple((kind, str(text)) for event in events for kind, text in event.items())


def _in_range(version: Version, events: Iterable[tuple[str, str]]) -> bool:
    """The evaluation of the OSV schema: events in the order of versions, the last one that applies decides.

    Raises:
        InvalidVersion: an event has a version that PEP 440 does not know.
    """
    within = limited = False
    below_a_limit = False
    # Version "0" of "introduced" is before all versions, 0.dev1 too.
    placed = [(None if text == "0" else Version(text), kind) for kind, text in events if text != "*"]
    for place, kind in sorted(placed, key=lambda event: (event[0] is not None, event[0] or Version("0"))):
        if kind == "introduced" and (place is None or version >= place):
            within = True
        elif place is None:
            continue
        elif (kind == "fixed" and version >= place) or (kind == "last_affected" and version > place):
            within = False
        elif kind == "limit":
            limited, below_a_limit = True, below_a_limit or version < place
    return within and (below_a_limit or not limited)


def _parse_version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None
