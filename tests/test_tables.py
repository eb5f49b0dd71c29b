"""The score table: its columns, equal values in three formats, and atomic writing."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import resource
import stat
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from avpenet_cli.errors import AvpenetError, EnvironmentUnavailableError, ExitCode, OutputError, SettingsError
from avpenet_cli.records import Flag, Quality, SegmentScore, Status
from avpenet_cli.storage import atomic_write, write_json
from avpenet_cli.tables import (
    COLUMNS,
    Column,
    Row,
    check_format,
    escape_cell,
    row,
    segment_columns,
    unescape_cell,
    write_columns,
    write_table,
)

COLUMN_NAMES = (
    "recording segment start_s end_s recorded_at score label status reason modalities score_sd score_lo score_hi "
    "face_rate face_confidence face_px faces voiced snr_db level_dbfs flags weights"
)
"""Names of the columns, in order. Other programs rely on them."""

ODD_NAMES = [
    "plain.mp4",
    "two words.mp4",
    "quo\"te's.mp4",
    "com,ma;semicolon.mp4",
    "line\nbreak.mp4",
    "carriage\rreturn.mp4",
    "müde Ärztin 日本.mp4",
    "m\\xfcde.mp4",
    "-dash.mp4",
    "=1+1.mp4",
    "'=quoted formula.mp4",
    "'apostrophe.mp4",
    " blanks ",
]

SCORED = SegmentScore(
    segment=0,
    start_s=0.0,
    end_s=3.0,
    status=Status.SCORED,
    quality=Quality(0.96666, 0.99951, 120.26, 2, 0.5, -0.04, -23.456),
    score=4.5674,
    label="moderate",
    modalities="audio+face",
    score_sd=0.1,
    score_lo=4.25,
    score_hi=4.875,
    flags=(Flag.SEVERAL_FACES, Flag.LOW_SNR),
)
UNSCORABLE = SegmentScore(
    1, 3.0, 4.6, Status.UNSCORABLE, Quality(), reason="no_face", flags=(Flag.NO_FACE, Flag.NO_AUDIO)
)


def _rows() -> Iterator[Row]:
    for name in ODD_NAMES:
        yield row(name, SCORED, "untrained@0123 untrained", "2026-03-04T10:15:00.000+01:00")
        yield row(name, UNSCORABLE, "untrained@0123 untrained")


def _csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_columns_have_their_documented_names_and_order(tmp_path: Path) -> None:
    assert " ".join(column.name for column in COLUMNS) == COLUMN_NAMES
    write_table(tmp_path / "t.csv", [])
    assert (tmp_path / "t.csv").read_text() == COLUMN_NAMES.replace(" ", ",") + "\n"


def test_csv_rounds_floats_and_leaves_missing_values_empty(tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv", _rows())
    scored, unscorable = _csv(tmp_path / "t.csv")[:2]
    assert "|".join(scored.values()) == (
        "plain.mp4|0|0.000|3.000|2026-03-04T10:15:00.000+01:00|4.567|moderate|scored||audio+face|0.100|4.250|4.875|0.967|1.000|120.3|2|0.500|0.0|-23.5|"
        "several_faces low_snr|untrained@0123 untrained"
    )
    assert "|".join(unscorable.values()) == (
        "plain.mp4|1|3.000|4.600||||unscorable|no_face||||||||||||no_face no_audio|untrained@0123 untrained"
    )


def test_odd_names_survive_every_format(tmp_path: Path) -> None:
    for suffix in (".csv", ".jsonl", ".parquet"):
        write_table(tmp_path / f"t{suffix}", _rows())
    expected = [name for name in ODD_NAMES for _ in range(2)]
    in_csv = [fields["recording"] for fields in _csv(tmp_path / "t.csv")]
    assert in_csv == pd.read_csv(tmp_path / "t.csv")["recording"].tolist()
    assert [unescape_cell(name) for name in in_csv] == expected
    assert pd.read_parquet(tmp_path / "t.parquet")["recording"].tolist() == expected
    lines = (tmp_path / "t.jsonl").read_text(encoding="utf-8").split("\n")
    assert [json.loads(line)["recording"] for line in lines if line] == expected


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_of_a_csv_file_starts_like_a_formula(first: str, tmp_path: Path) -> None:
    texts = [f"{first}cmd", f"'{first}cmd", f"''{first}", first]
    assert [escape_cell(text) for text in texts] == [f"'{text}" for text in texts]
    assert [unescape_cell(escape_cell(text)) for text in texts] == texts
    columns = (Column("text", "text", ""), Column("number", "float", ""))
    for suffix in (".csv", ".jsonl"):
        write_table(tmp_path / f"t{suffix}", [{"text": texts[0], "number": -1.0}], columns)
    assert _csv(tmp_path / "t.csv") == [{"text": f"'{first}cmd", "number": "-1.000"}]
    assert json.loads((tmp_path / "t.jsonl").read_text()) == {"text": f"{first}cmd", "number": -1.0}


@pytest.mark.parametrize("text", ["plain", "'", "'plain", "", "a=b", " =b"])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert escape_cell(text) == unescape_cell(text) == text


def test_byte_order_mark_comes_first_where_asked_for(tmp_path: Path) -> None:
    digest = write_table(tmp_path / "t.csv", _rows(), byte_order_mark=True)
    content = (tmp_path / "t.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbfrecording,")
    assert digest == hashlib.sha256(content).hexdigest()
    write_table(tmp_path / "plain.csv", _rows())
    assert (tmp_path / "plain.csv").read_bytes() == content[3:]


def test_formats_have_equal_values(tmp_path: Path) -> None:
    for suffix in (".csv", ".jsonl", ".parquet"):
        write_table(tmp_path / f"t{suffix}", _rows())
    from_parquet = pd.read_parquet(tmp_path / "t.parquet")
    assert " ".join(from_parquet.columns) == COLUMN_NAMES
    text = [column.name for column in COLUMNS if column.kind == "text"]
    from_csv = pd.read_csv(tmp_path / "t.csv", dtype=dict.fromkeys(text, str)).fillna(dict.fromkeys(text, ""))
    from_csv["recording"] = from_csv["recording"].map(unescape_cell)
    pd.testing.assert_frame_equal(from_csv, from_parquet, check_dtype=False)
    lines = (tmp_path / "t.jsonl").read_text(encoding="utf-8").splitlines()
    from_lines = pd.DataFrame([json.loads(line) for line in lines])
    pd.testing.assert_frame_equal(from_lines, from_parquet, check_dtype=False)
    assert all(" ".join(json.loads(line)) == COLUMN_NAMES for line in lines)
    assert json.loads(lines[1])["score"] is None


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("name", ["plain.mp4", "com,ma.mp4", "carriage\rreturn.mp4"])
def test_columns_of_whole_recordings_give_the_same_file_as_rows(suffix: str, name: str, tmp_path: Path) -> None:
    levels = [-0.04, -0.0004, 0.0, 12.25, 12.35, 1 / 3, -1e-9, None]
    segments = [
        replace(SCORED, segment=place, score=level, quality=Quality(snr_db=level, face_rate=place % 3 / 30))
        for place, level in enumerate(levels * 150)
    ]
    parts = [segments[:3], [], segments[3:700], segments[700:]]
    write_columns(
        tmp_path / f"parts{suffix}", (segment_columns(name, part, "untrained", [""] * len(part)) for part in parts)
    )
    write_table(tmp_path / f"rows{suffix}", (row(name, segment, "untrained") for segment in segments))
    assert (tmp_path / f"parts{suffix}").read_bytes() == (tmp_path / f"rows{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_digest_is_that_of_the_file(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"t{suffix}"
    assert write_table(path, _rows()) == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["scores.txt", "scores", "scores.csv.gz", "scores.CSV"])
def test_unknown_format_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"\.csv, \.parquet, \.jsonl"):
        check_format(tmp_path / name)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_files_are_readable_by_their_owner_only(suffix: str, tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        write_table(tmp_path / f"t{suffix}", _rows())
        write_json(tmp_path / "t.json", {})
    finally:
        os.umask(mask)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def _breaking() -> Iterator[Row]:
    yield from _rows()
    raise RuntimeError("halfway")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_error_while_writing_keeps_the_old_table(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"t{suffix}"
    path.write_text("the old table")
    with pytest.raises(RuntimeError, match="halfway"):
        write_table(path, _breaking())
    assert path.read_text() == "the old table"
    assert [path.name for path in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_full_disk_keeps_the_old_table(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"t{suffix}"
    path.write_text("the old table")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, before[1]))
    try:
        with pytest.raises(EnvironmentUnavailableError, match="no space left to write") as fault:
            write_table(path, _rows())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert fault.value.exit_code == ExitCode.ENVIRONMENT
    assert path.read_text() == "the old table"
    assert [path.name for path in tmp_path.iterdir()] == [path.name]


def test_path_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "t.csv").mkdir()
    with pytest.raises(AvpenetError, match=r"t\.csv cannot be written"):
        write_table(tmp_path / "t.csv", _rows())
    with pytest.raises(OutputError, match="its folder does not exist"), atomic_write(tmp_path / "no" / "t.csv"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_memory_does_not_grow_with_the_table(suffix: str, tmp_path: Path) -> None:
    many = (row("a.mp4", SCORED, "untrained") for _ in range(60_000 if suffix == ".parquet" else 10_000))
    tracemalloc.start()
    write_table(tmp_path / f"t{suffix}", many)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < (100e6 if suffix == ".parquet" else 2e6)
