"""Tables as spreadsheets write them are read right, or refused with the line and what to do."""

from __future__ import annotations

import codecs
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from avpenet_cli.errors import SettingsError
from avpenet_cli.study.ratings import read_events, read_ratings
from avpenet_cli.study.subjects import NOT_STATED, read_subjects

RATINGS = 'recording;start_s;end_s;value;rater\r\nMüller 1.mp4;0,0;3,0;1;x\r\n"b\r\nc.mp4";3,0;6,5;2,5;\r\n'


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        RATINGS.encode(),
        RATINGS.encode("utf-8-sig"),
        RATINGS.encode("utf-16-le"),
        RATINGS.encode("utf-16-be"),
        RATINGS.encode("utf-16"),
        codecs.BOM_UTF16_BE + RATINGS.encode("utf-16-be"),
        ("sep=;\r\n" + RATINGS).encode("utf-8-sig"),
        ('"sep=;"\r\n' + RATINGS).encode("utf-16"),
        RATINGS.replace(";", "\t").encode("utf-16"),
        ("SEP=\t\n" + RATINGS.replace(";", "\t")).encode(),
        RATINGS.replace("recording;start_s", "\ufeff Recording\u00a0;Start s").encode("utf-8-sig"),
        ("sep=,\r\n" + RATINGS).encode(),
        (";;;;\r\n\r\n" + RATINGS).encode(),
    ],
)
def test_every_encoding_and_separator_gives_the_same_ratings(tmp_path: Path, content: bytes) -> None:
    rows = read_ratings(written(tmp_path, content)).rows
    assert rows["recording"].to_list() == ["Müller 1.mp4", "b\r\nc.mp4"]
    assert rows["value"].to_list() == [1.0, 2.5] and rows["end_s"].to_list() == [3.0, 6.5]
    assert rows["rater"].to_list() == ["x", "rater"]


def test_lines_are_those_of_the_file_below_a_separator_line_and_blank_lines(tmp_path: Path) -> None:
    text = "sep=;\r\n;;;\r\n" + RATINGS + "\r\nd.mp4;9;12;high;x\r\n"
    with pytest.raises(SettingsError, match=r"t\.csv: line 8: value is 'high', not a number"):
        read_ratings(written(tmp_path, text.encode("utf-16")))


def test_line_ends_of_old_macs_are_read_with_their_lines(tmp_path: Path) -> None:
    events = read_events(written(tmp_path, "recording,time_s,label\ra,1.5,lance\r\rb,2,swab\r"))
    assert events.rows["label"].to_list() == ["lance", "swab"]
    with pytest.raises(SettingsError, match="line 4: time_s is 'x'"):
        read_events(written(tmp_path, "recording,time_s,label\ra,1.5,lance\r\rb,x,swab\r"))


def test_cells_that_spreadsheets_leave_out_or_add_at_the_end_of_a_row_are_empty(tmp_path: Path) -> None:
    text = "recording;subject;site;note;;\r\na;P1;A;x;;\r\nb;P2\r\nc;P3;B;;;;;\r\n;;\r\n  \r\n\x1a"
    subjects = read_subjects(written(tmp_path, text))
    assert subjects.subject_of == {"a": "P1", "b": "P2", "c": "P3"}
    assert subjects.table["site"].to_list() == ["A", NOT_STATED, "B"]
    with pytest.raises(SettingsError, match=r"line 3 has 1 cell, the header 3 \(1 such row\)"):
        read_subjects(written(tmp_path, "recording,subject,site\na,P1,A\nb\n"))
    with pytest.raises(SettingsError, match="line 2 has 4 cells, the header 3"):
        read_subjects(written(tmp_path, "recording,subject,site\na,P1,A,B\n"))


def test_rows_of_different_lengths_behind_a_cell_that_is_too_long_are_not_lost(tmp_path: Path) -> None:
    text = 'recording,subject,site\na,P1\n"b' + "x" * 200_000 + '",P2,A\nc,P3,A\n'
    with pytest.raises(SettingsError, match="a row has another number of cells"):
        read_subjects(written(tmp_path, text))


def test_blank_cells_are_missing_whatever_blank_it_is(tmp_path: Path) -> None:
    subjects = read_subjects(written(tmp_path, "recording,subject,site\na,P1, \u00a0\nb,P2,A\n"))
    assert subjects.table["site"].to_list() == [NOT_STATED, "A"]
    with pytest.raises(SettingsError, match="lines 2 and 3: subject is empty"):
        read_subjects(written(tmp_path, "recording,subject\na, \nb,\u200b\u3000\n"))
    ratings = read_ratings(written(tmp_path, "recording,start_s,end_s,value,scale\na,0, 3 ,5,\u00a0\n"))
    np.testing.assert_array_equal(ratings.rows["end_s"], [3.0])
    assert ratings.scales == ("NRS",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            RATINGS.encode("cp1252"),
            "line 2 is not in UTF-8: in Windows-1252 it would be 'Müller 1.mp4'; save it as UTF-8",
        ),
        (RATINGS.encode("utf-32"), "is in UTF-32"),
        (b"PK\x03\x04" + bytes(100), "a ZIP archive, such as an .xlsx workbook; save it as CSV UTF-8"),
        (b"\xd0\xcf\x11\xe0" + bytes(100), "an .xls workbook"),
        ("sep=;\r\n", "is empty"),
    ],
)
def test_what_is_no_table_in_unicode_is_refused_with_its_kind(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_ratings(written(tmp_path, content))
    assert message in str(caught.value)


def test_a_file_that_breaks_off_is_refused_and_its_last_row_gets_no_other_rater(tmp_path: Path) -> None:
    rows = "recording,start_s,end_s,value,scale,rater\na.mp4,0,10,3,VAS,anna\n"
    cut = written(tmp_path, rows + "a.mp4,10,20,7")
    with pytest.raises(SettingsError, match="line 3, the last, has 4 cells, the header 6, and no end"):
        read_ratings(cut)
    assert read_ratings(written(tmp_path, rows + "a.mp4,10,20,7\n")).notices == (
        "t.csv: 1 row without a rater, who counts as 'rater'",
    )


def test_parquet_text_that_is_no_utf_8_is_refused(tmp_path: Path) -> None:
    offsets, letters = pa.py_buffer(struct.pack("<2i", 0, 3)), pa.py_buffer(b"\xe3.m")
    names = pa.Array.from_buffers(pa.string(), 1, [None, offsets, letters])
    pq.write_table(pa.table({"recording": names, "subject": ["P1"]}), tmp_path / "s.parquet")
    with pytest.raises(SettingsError, match=r"s\.parquet cannot be read as a table of subjects: .*UTF8"):
        read_subjects(tmp_path / "s.parquet")
