"""The files that a document names with their digests: wherever a JSON object has a name and a SHA-256, it is one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avpenet_cli.textfiles import parse_json

_SHA256 = re.compile(r"[0-9a-f]{64}")
_CONTENTS = {"table": "scores", "summaries": "table", "reference": "ratings", "compare": "other scores"}
"""What the keys of documents are called."""
_LARGEST_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True)
class Link:
    """A file that a document, or a line of a history, states the digest of.

    Attributes:
        content: what it is.
        name: without its folder; empty where it is not stated.
        sha256: digest, hexadecimal.
        scores_digest: of a score table: over its scores alone, as the document states it; of its manifest: the same;
            empty where none is stated.
    """

    content: str
    name: str
    sha256: str
    scores_digest: str = ""


def read_document(path: Path) -> dict[str, Any] | None:
    """A JSON object; None where the file holds none."""
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            return None
        content = parse_json(path.read_bytes())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def links_in(document: dict[str, Any]) -> list[Link]:
    """Every file that the document names with its digest, once, in the order of the document.

    The recordings of a manifest are not among them: `recordings.check_recordings` checks those.
    """
    return list(dict.fromkeys(_links(document, "")))


def _links(value: Any, place: str) -> Iterator[Link]:
    if isinstance(value, list):
        for item in value:
            yield from _links(item, place)
        return
    if not isinstance(value, dict):
        return
    name = value.get("name", value.get("file"))
    if isinstance(name, str) and name and _is_digest(value.get("sha256")):
        content = str(value.get("role") or value.get("content") or place)
        scores = value["scores_digest"] if _is_digest(value.get("scores_digest")) else ""
        yield Link(_CONTENTS.get(content, content), Path(name).name, value["sha256"], scores)
        if _is_digest(value.get("manifest_sha256")):
            yield Link("manifest", Path(name).with_suffix(".run.json").name, value["manifest_sha256"], scores)
    for key, item in value.items():
        if key == "files" and isinstance(item, dict):
            yield from (Link("file", file, digest) for file, digest in item.items() if _is_digest(digest))
        elif not (key == "recordings" and not place):
            yield from _links(item, key)


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None
