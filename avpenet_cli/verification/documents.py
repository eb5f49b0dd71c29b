"""Digests over content: of calibrations and packs, which state their own, and of the scores of a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from avpenet_cli.calibration.site import KIND, read_site
from avpenet_cli.errors import SettingsError
from avpenet_cli.study.pack import read_pack
from avpenet_cli.study.score_tables import read_scores, scores_digest

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


def digest_of_scores(table: Path) -> str:
    """`scores_digest` of a score table; empty where it cannot be read as one."""
    try:
        return scores_digest(read_scores([table]))
    except SettingsError:
        return ""
