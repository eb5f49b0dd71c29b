"""Stores that are damaged, or altered together with their digests, are refused; none ends the process."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from avpenet_cli.dataset.record import STORE_FILE
from avpenet_cli.dataset.segment_files import SEGMENT_FILES_FOLDER, segment_descriptions, segment_file_header
from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.errors import SettingsError
from tests.support.training_stores import make_store


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return make_store(tmp_path, subjects=4, segments=1)


def files(store: Path) -> list[Path]:
    return sorted((store / SEGMENT_FILES_FOLDER).iterdir())


def rewrite_index(store: Path, index: pa.Table) -> None:
    """Replace the index, and its digest in the record."""
    path = store / "index.parquet"
    pq.write_table(index, path)
    record = json.loads((store / STORE_FILE).read_text())
    record["index"]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (store / STORE_FILE).write_text(json.dumps(record))


def test_offsets_outside_of_a_list_are_refused(store: Path) -> None:
    # Arrow ended the process with SIGABRT.
    for path in files(store):
        content = path.read_bytes()
        of_three_faces = struct.pack("<2i", 0, 3)
        assert of_three_faces in content
        path.write_bytes(content.replace(of_three_faces, struct.pack("<2i", 14_000_000, 14_000_003)))
    opened = SegmentStore.open(store)
    for read in (opened.segment, opened.stored_frames):
        with pytest.raises(SettingsError, match=r"segment file .*0\.arrow cannot be read: .*; remove it"):
            read(0)


@pytest.mark.parametrize("lost_bytes", [1, 200, 5000])
def test_a_segment_file_that_is_cut_off_is_refused(store: Path, lost_bytes: int) -> None:
    path = files(store)[0]
    path.write_bytes(path.read_bytes()[:-lost_bytes] + bytes(lost_bytes))
    assert segment_file_header(path) is None
    with pytest.raises(SettingsError, match="cannot be read"):
        segment_descriptions(path)
    with pytest.raises(SettingsError, match="cannot be read"):
        SegmentStore.open(store).segment(0)


def test_a_segment_file_with_other_columns_is_refused(store: Path) -> None:
    path = files(store)[0]
    table = pa.ipc.open_file(pa.BufferReader(path.read_bytes())).read_all()
    with pa.ipc.new_file(path, table.drop_columns(["peak"]).schema) as writer:
        writer.write_table(table.drop_columns(["peak"]))
    assert segment_file_header(path) is None
    with pytest.raises(SettingsError, match="cannot be read: other columns"):
        segment_descriptions(path)


@pytest.mark.parametrize("name", ["split", "reference", "shard", "crops"])
def test_an_index_without_a_column_or_with_one_of_another_type_is_refused(store: Path, name: str) -> None:
    index = pq.read_table(store / "index.parquet")
    rewrite_index(store, index.drop_columns([name]))
    with pytest.raises(SettingsError, match=f"has no column {name} of type"):
        SegmentStore.open(store)
    rewrite_index(store, index.drop_columns([name]).append_column(name, pa.array([True] * index.num_rows)))
    with pytest.raises(SettingsError, match=f"has no column {name} of type"):
        SegmentStore.open(store)


def test_an_index_that_is_no_parquet_file_is_refused(store: Path) -> None:
    index = store / "index.parquet"
    content = index.read_bytes()
    rewrite_index(store, pq.read_table(index))
    index.write_bytes(content[:200])
    record = json.loads((store / STORE_FILE).read_text())
    record["index"]["sha256"] = hashlib.sha256(index.read_bytes()).hexdigest()
    (store / STORE_FILE).write_text(json.dumps(record))
    with pytest.raises(SettingsError, match=r"index\.parquet cannot be read: "):
        SegmentStore.open(store)


def test_a_segment_file_with_a_type_that_arrow_does_not_have_is_refused(store: Path) -> None:
    # Its ArrowNotImplementedError is no ValueError.
    path = files(store)[0]
    content = path.read_bytes()
    at = content.rindex(struct.pack("<i", 32))  # bits of an integer, in the footer's list of columns
    path.write_bytes(content[:at] + struct.pack("<i", 4) + content[at + 4 :])
    assert segment_file_header(path) is None
    with pytest.raises(SettingsError, match="Integers with less than 8 bits"):
        segment_descriptions(path)
