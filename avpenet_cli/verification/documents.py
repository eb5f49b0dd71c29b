"""Documents that state a digest over their own content: calibrations of a site, and packs of a sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from avpenet_cli.calibration.site import KIND, read_site
from avpenet_cli.errors import SettingsError
from avpenet_cli.study.pack import read_pack

_OF_A_PACK = {"design", "frame", "segments", "digest"}


def is_self_certified(document: dict[str, Any]) -> bool:
    """Whether a document states a digest over its own content."""
    return document.get("kind") == KIND or document.keys() >= _OF_A_PACK


def content_problem(path: Path, document: dict[str, Any]) -> str:
    """What its reader says against a document that certifies itself; empty where that is nothing."""
    if not is_self_certified(document):
        return ""
    try:
        if document.get("kind") == KIND:
            read_site(path)
        else:
            read_pack(path)
    except SettingsError as error:
        return error.message.replace(str(path), path.name)
    return ""
