"""Segment stores: record, index, segment files; opened, read, and prepared again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from avpenet_cli.dataset.segment_files import SEGMENT_FILES_FOLDER
from tests.fuzz.case_target import case_target
from tests.fuzz.cases import Case


def _prepare(corpus: Path) -> None:
    from tests.support.training_stores import make_store

    make_store(corpus / "study", subjects=4, segments=2)


def _open(folder: Path) -> None:
    """What training reads."""
    from avpenet_cli.dataset.splits import SPLITS
    from avpenet_cli.dataset.store import SegmentStore

    store = SegmentStore.open(folder / "store")
    for split in SPLITS:
        store.rated(split)
    for number in range(len(store)):
        if store.index.iloc[number]["status"] == "scorable":
            store.stored_frames(number)
            store.segment(number)


def _open_certified(folder: Path) -> None:
    """With the digest of the damaged index in the record."""
    path = folder / "store" / "store.json"
    content: Any = json.loads(path.read_text(encoding="utf-8"))
    index = folder / "store" / content["index"]["file"]
    content["index"]["sha256"] = hashlib.sha256(index.read_bytes()).hexdigest()
    for recording in content["recordings"]:
        recording["shard_bytes"] = (folder / "store" / SEGMENT_FILES_FOLDER / recording["shard"]).stat().st_size
    path.write_text(json.dumps(content), encoding="utf-8")
    _open(folder)


def _headers(folder: Path) -> None:
    """What `prepare` reads of an earlier run."""
    from avpenet_cli.dataset.segment_files import segment_descriptions, segment_file_header

    for path in sorted((folder / "store" / SEGMENT_FILES_FOLDER).iterdir()):
        if segment_file_header(path) is not None:
            segment_descriptions(path)


STORES = case_target(
    "stores",
    "segment stores: record, index and segment files",
    _prepare,
    [
        Case("record", "study", ("store/store.json",), _open),
        Case("index", "study", ("store/*.parquet",), _open_certified),
        Case("segment files", "study", (f"store/{SEGMENT_FILES_FOLDER}/*",), _open_certified, weight=2.0),
        Case("headers", "study", (f"store/{SEGMENT_FILES_FOLDER}/*",), _headers),
    ],
    ci_trials=50,
)
