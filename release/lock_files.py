"""Read the lock files."""

from __future__ import annotations

from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

REPOSITORY = Path(__file__).resolve().parents[1]

RUNTIME_LOCK = REPOSITORY / "requirements-runtime.lock"
LOCKS = (
    RUNTIME_LOCK,
    REPOSITORY / "requirements-landmarks.lock",
    REPOSITORY / "requirements-release.lock",
    REPOSITORY / "requirements.lock",
)


def pins(lock: Path) -> list[Requirement]:
    """Every entry of a lock file, for any interpreter and platform.

    Raises:
        ValueError: an entry is not pinned.
    """
    lines = [line.split(" \\")[0] for line in lock.read_text(encoding="utf-8").splitlines()]
    entries = [Requirement(line) for line in lines if line[:1].isalnum()]
    for entry in entries:
        pinned_version(entry)
    return entries


def pinned_name(pin: Requirement) -> NormalizedName:
    """The package that an entry of a lock file pins."""
    return canonicalize_name(pin.name)


def pinned_version(pin: Requirement) -> Version:
    """The version that an entry of a lock file pins."""
    (specifier,) = pin.specifier
    if specifier.operator != "==":
        raise ValueError(f"{pin} is not pinned")
    return Version(specifier.version)
