"""The version of this program, and of formats that several packages read."""

from __future__ import annotations

from avpenet_cli.errors import SettingsError

__version__ = "0.2.0.dev0"

MANIFEST_VERSION = 3
"""Version of the format of manifests (`*.run.json`)."""
JOURNAL_VERSION = 1
"""Version of the format of journals."""
USE_LATER = "use the version of avpenet that wrote it, or a later one"


def is_later(format_version: object, known: int) -> bool:
    """Whether a file states a format that only a later version of this program reads.

    Args:
        format_version: as the file states it, of whatever type.
        known: the latest that this program reads.
    """
    return isinstance(format_version, int) and format_version > known


def refuse_later(where: str, format_version: object, known: int) -> None:
    """Raise if a file is of a later format; arguments as of `is_later`.

    Raises:
        SettingsError: it is.
    """
    if is_later(format_version, known):
        raise SettingsError(f"{where} has format version {format_version}; this program reads up to {known}", USE_LATER)
