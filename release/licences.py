"""Write the list of licences of the locked runtime dependencies into docs/reference/licences.md: `make licences`.

A licence is read from the package's metadata, where that is an SPDX expression or leaves no doubt; otherwise it has to
be in licences.toml, judged by a person. A package without either, or with a licence whose terms are not there, stops
the command.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any, cast

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from release.bundle import declared_licence
from release.lock_files import REPOSITORY, RUNTIME_LOCK, pinned_name, pinned_version, pins

PAGE = REPOSITORY / "docs" / "reference" / "licences.md"
JUDGED = REPOSITORY / "release" / "licences.toml"

_UNAMBIGUOUS = {
    "Apache Software License": "Apache-2.0",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""Classifiers that name one licence; "BSD License" does not."""

_SHARED_LIBRARY = re.compile(r"lib([\w+-]+?)(?:-[0-9a-f]{8})*(?:\.[0-9a-f]{8})?\.so(?:\.([\d.]+\w?))?")


class UnknownLicenceError(Exception):
    """A package whose licence or its terms are not known; the text is one line."""


@dataclass(frozen=True)
class LicensedPackage:
    """A row of the list.

    Attributes:
        licence: SPDX expression.
        terms: what it asks for, one line.
        because: what a person looked at; empty if the metadata leaves no doubt.
    """

    name: str
    version: str
    licence: str
    terms: str
    because: str


def licensed_packages(judged: Mapping[str, Any], lock: Path = RUNTIME_LOCK) -> list[LicensedPackage]:
    """Every package of the lock with its licence, from the metadata of this environment.

    Args:
        judged: contents of licences.toml.
        lock: a lock file, all of whose packages are installed in the locked version.

    Raises:
        UnknownLicenceError: a licence, or what it asks for, is not known.
    """
    packages = []
    for pin in pins(lock):
        name, version = pinned_name(pin), str(pinned_version(pin))
        try:
            metadata = importlib.metadata.metadata(name)
        except importlib.metadata.PackageNotFoundError:
            raise UnknownLicenceError(f"{name} {version} is locked and not installed; run make setup") from None
        if metadata["Version"] != version:
            raise UnknownLicenceError(f"{name} {version} is locked, {metadata['Version']} is not; run make setup")
        entry = judged["packages"].get(name)
        licence = licence_of(cast("Message", metadata), entry)
        unknown = [part for part in identifiers(licence) if part not in judged["terms"]]
        if unknown:
            raise UnknownLicenceError(f"{name}: what {', '.join(unknown)} asks for is not in licences.toml; judge it")
        terms = list(dict.fromkeys(judged["terms"][part] for part in identifiers(licence)))
        because = entry["because"] if entry else ""
        packages.append(LicensedPackage(name, version, licence, "; ".join(terms), because))
    return packages


def licence_of(metadata: Message, judged: Mapping[str, str] | None) -> str:
    """The SPDX expression of a package's licence.

    Args:
        metadata: of the package.
        judged: its entry of licences.toml, if there is one; it prevails.

    Raises:
        UnknownLicenceError: the metadata leaves a doubt, or is not what the entry was judged by.
    """
    name, declared = metadata["Name"], declared_licence(metadata)
    if judged is not None:
        if declared != judged["declared"]:
            raise UnknownLicenceError(f"{name} now declares {declared!r}, not {judged['declared']!r}; judge it again")
        return canonicalize_license_expression(judged["licence"])
    for text in (metadata["License-Expression"], metadata["License"]):
        try:
            return canonicalize_license_expression(text or "")
        except InvalidLicenseExpression:
            continue
    if declared in _UNAMBIGUOUS:
        return _UNAMBIGUOUS[declared]
    raise UnknownLicenceError(f"{name} declares {declared!r}, which names no licence; judge it in licences.toml")


def identifiers(expression: str) -> list[str]:
    """The licences that an SPDX expression names, each with its exception."""
    return re.split(r" (?:AND|OR) ", re.sub(r"[()]", "", expression))


def shared_libraries(lock: Path = RUNTIME_LOCK) -> Iterator[tuple[str, list[str]]]:
    """Packages whose wheels hold shared libraries of others, and these with their versions where the names state them.

    Only those that the tools for wheels have put there, in folders called `PACKAGE.libs`: others are linked into the
    package's own modules and cannot be seen.
    """
    for pin in pins(lock):
        files = importlib.metadata.files(pinned_name(pin)) or []
        file_names = [
            file.name for file in files if file.parts[0].endswith(".libs") or file.parts[0] == "_soundfile_data"
        ]
        matches = [match for name in file_names if (match := _SHARED_LIBRARY.match(name)) is not None]
        if matches:
            names = {match[1].removesuffix("_x86_64") + (f" {match[2]}" if match[2] else "") for match in matches}
            yield pinned_name(pin), sorted(names)


def generated_parts() -> dict[str, str]:
    """What the page holds between its marks, by name.

    Raises:
        UnknownLicenceError: as `licensed_packages`.
    """
    judged = tomllib.loads(JUDGED.read_text(encoding="utf-8"))
    licences = [
        "| Package | Version | Licence | What it asks of who installs it or passes it on | Known from |",
        "|---|---|---|---|---|",
    ]
    for package in licensed_packages(judged):
        row = [package.name, package.version, package.licence, package.terms, package.because or "its metadata"]
        licences.append(f"| {' | '.join(row)} |")
    libraries = ["| Wheel | Libraries |", "|---|---|"]
    libraries += [f"| {name} | {', '.join(names)} |" for name, names in shared_libraries()]
    return {"licences": "\n".join(licences), "libraries": "\n".join(libraries)}


def filled(page: str) -> str:
    """The page with its generated parts made anew."""
    for name, text in generated_parts().items():
        begin, end = f"<!-- {name}: made by `make licences` -->", f"<!-- end of {name} -->"
        before, mark, rest = page.partition(begin)
        _, closing, after = rest.partition(end)
        if not mark or not closing:
            raise ValueError(f"the page has no marks of {name!r}")
        page = f"{before}{begin}\n\n{text}\n\n{end}{after}"
    return page


def main() -> int:
    """Command line; see --help."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if the page is not up to date")
    arguments = parser.parse_args()
    before = PAGE.read_text(encoding="utf-8")
    try:
        page = filled(before)
    except UnknownLicenceError as error:
        print(f"licences: {error}", file=sys.stderr)
        return 1
    if arguments.check:
        if page != before:
            print("licences: docs/reference/licences.md is not of this lock; run make licences", file=sys.stderr)
        return int(page != before)
    PAGE.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
