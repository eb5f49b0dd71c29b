"""Compare the lock files with a database of vulnerabilities, offline: `make audit-dependencies DATABASE=FILE`.

Exit status: 0 no known vulnerability in the locked packages, 1 there is one, 2 the database or a file cannot be used.
"""

from __future__ import annotations

import argparse
import datetime
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import NormalizedName
from packaging.version import Version

from release.advisories import Advisory, DatabaseError, read_database
from release.lock_files import LOCKS, REPOSITORY, pinned_name, pinned_version, pins

ACCEPTED = REPOSITORY / "release" / "accepted-advisories.toml"


@dataclass(frozen=True)
class Finding:
    """A vulnerability of a locked package, of all databases that list it.

    Attributes:
        ids: all of its names, sorted.
        locks: names of the lock files that hold the package in this version.
        fixed_in: the first later version with a fix; empty if none is known.
        summary: of the first advisory that has one; may be empty.
    """

    package: NormalizedName
    version: Version
    ids: tuple[str, ...]
    locks: tuple[str, ...]
    fixed_in: str
    summary: str

    def __str__(self) -> str:
        fix = f"fixed in {self.fixed_in}" if self.fixed_in else "no fix known"
        where = ", ".join(self.locks)
        return f"{self.package} {self.version} ({where}): {', '.join(self.ids)}: {self.summary or 'no summary'}; {fix}"


def locked_packages(locks: Iterable[Path]) -> dict[tuple[NormalizedName, Version], tuple[str, ...]]:
    """Names of the lock files by the packages and versions that they pin, for whatever interpreter and platform."""
    lock_names: dict[tuple[NormalizedName, Version], list[str]] = {}
    for lock in locks:
        for pin in pins(lock):
            lock_names.setdefault((pinned_name(pin), pinned_version(pin)), []).append(lock.name)
    return {key: tuple(names) for key, names in lock_names.items()}


def find_vulnerabilities(
    packages: dict[tuple[NormalizedName, Version], tuple[str, ...]], advisories: Iterable[Advisory]
) -> list[Finding]:
    """What the advisories say against these packages, in order of names; aliases are one finding."""
    by_package: dict[NormalizedName, list[Advisory]] = {}
    for advisory in advisories:
        by_package.setdefault(advisory.package, []).append(advisory)
    findings = []
    for (package, version), locks in sorted(packages.items()):
        affecting = [advisory for advisory in by_package.get(package, ()) if advisory.affects(version)]
        for group in _same_vulnerability(affecting):
            fixes = [Version(fix) for advisory in group if (fix := advisory.fixed_in(version))]
            findings.append(
                Finding(
                    package=package,
                    version=version,
                    ids=tuple(sorted({name for advisory in group for name in advisory.ids})),
                    locks=locks,
                    fixed_in=str(min(fixes)) if fixes else "",
                    summary=next((advisory.summary for advisory in group if advisory.summary), ""),
                )
            )
    return findings


def _same_vulnerability(advisories: Iterable[Advisory]) -> list[list[Advisory]]:
    groups: list[list[Advisory]] = []
    for advisory in advisories:
        names = set(advisory.ids)
        same = [group for group in groups if any(names & set(other.ids) for other in group)]
        groups = [group for group in groups if group not in same]
        groups.append([member for group in same for member in group] + [advisory])
    return groups


def read_accepted(path: Path, today: datetime.date) -> dict[str, str]:
    """Reasons by name of the advisories that were judged not to concern this program, and whose date has not passed.

    Raises:
        ValueError: the file is no TOML, or an entry lacks its `id`, `reason` or `until`.
    """
    entries = tomllib.loads(path.read_text(encoding="utf-8")).get("accepted", [])
    for entry in entries:
        if set(entry) != {"id", "reason", "until"} or type(entry["until"]) is not datetime.date:
            raise ValueError(f"{path.name}: an entry has an id, a reason and a date until")
    return {entry["id"]: entry["reason"] for entry in entries if entry["until"] >= today}


def main() -> int:
    """Command line; see --help."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database", type=Path, help="OSV export: a .zip or a folder of .json files, or one .json file")
    parser.add_argument("--lock", type=Path, action="append", help="a lock file; all of the project's if none is given")
    parser.add_argument("--accepted", type=Path, default=ACCEPTED, help="advisories that do not count, with reasons")
    arguments = parser.parse_args()
    try:
        packages = locked_packages(arguments.lock or LOCKS)
        accepted = read_accepted(arguments.accepted, datetime.datetime.now(datetime.UTC).date())
        advisories = read_database(arguments.database)
    except (DatabaseError, OSError, ValueError) as error:
        print(f"audit: {error}", file=sys.stderr)
        return 2
    findings = find_vulnerabilities(packages, advisories)
    newest = max(advisory.modified for advisory in advisories)[:10] or "unknown"
    print(f"locked packages: {len(packages)}; advisories: {len(advisories)}, the newest of {newest}")
    counting = 0
    for finding in findings:
        reasons = [accepted[name] for name in finding.ids if name in accepted]
        counting += not reasons
        print(f"{finding}; accepted: {reasons[0]}" if reasons else finding)
    print(f"known vulnerabilities: {counting}, and {len(findings) - counting} accepted")
    print("not looked at: libraries inside wheels (docs/reference/licences.md lists them), Python, ffmpeg, the system")
    return 1 if counting else 0


if __name__ == "__main__":
    raise SystemExit(main())
