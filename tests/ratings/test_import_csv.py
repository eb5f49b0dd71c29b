"""`avpenet ratings import` from CSV files by a map and from REDCap: what becomes a rating, and what is refused."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest

from avpenet_cli.ratings.importing.run import import_ratings
from avpenet_cli.ratings.importing.times import TimeError, parse_clock
from avpenet_cli.study.ratings import read_ratings
from tests.ratings.formats import CARMA_MAP, Avpenet, carma, imported, refusal, request, run, write_rows

MAP = """
recording = "Video"
start = "From"
end = "To"
rater_column = "Who"

[[ratings]]
value = "Pain"
"""
HEADER = ("Video", "From", "To", "Pain", "Who")


def test_a_map_names_columns_and_every_row_is_accounted_for(avpenet_here: Avpenet, tmp_path: Path) -> None:
    rows = [
        HEADER,
        ("rec-1.mp4", "0:00:00", "0:00:10", "3", "Anna"),
        ("rec-1.mp4", "0:00:10", "0:00:20.5", "4,5", "anna "),
        ("rec-1.mp4", "0:00:20.5", "30", "", "Anna"),
        ("rec-2.mp4", "0", "10.25", "10", "Ben"),
        ("", "0", "10", "1", "Ben"),
        ("rec-2.mp4", "", "10", "1", "Ben"),
    ]
    file = write_rows(tmp_path / "pain.csv", rows, ";")
    answer, out = run(avpenet_here, file, "csv", MAP)
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert lines[0] == "pain.csv: 6 rows, 3 imported, 3 left out"
    assert {"  1 without a value", "  1 without a recording", "  1 without a time"} < set(lines)
    assert "3 ratings of 2 recordings by 2 raters (Anna, Ben), scale NRS" in lines
    assert any("Anna, anna are read as one rater: Anna" in line for line in lines)
    ratings = read_ratings(out)
    assert ratings.rows["value"].tolist() == [3.0, 4.5, 10.0]
    assert ratings.rows["start_s"].tolist() == [0.0, 10.0, 0.0]
    assert ratings.rows["end_s"].tolist() == [10.0, 20.5, 10.25]
    assert ratings.raters == ("Anna", "Ben")


@pytest.mark.parametrize(
    ("unit", "written", "seconds"),
    [
        ("s", "12.5", 12.5),
        ("s", "1:02:03.25", 3723.25),
        ("s", "00:00:07,5", 7.5),
        ("ms", "12500", 12.5),
        ("mm:ss", "2:05", 125.0),
        ("mm:ss", "0:02:05", 125.0),
    ],
)
def test_times_in_each_unit(tmp_path: Path, unit: str, written: str, seconds: float) -> None:
    file = write_rows(tmp_path / "a.csv", [("Video", "At", "Pain"), ("a.mp4", written, "3")])
    settings = f'recording = "Video"\ntime = "At"\nunit = "{unit}"\n[[ratings]]\nvalue = "Pain"\n'
    table = imported(file, "csv", settings)
    assert table["time_s"].tolist() == [seconds]


def test_clock_times_count_from_the_recordings_start(avpenet_here: Avpenet, tmp_path: Path) -> None:
    times = [
        ("recording", "recorded_at"),
        ("a.mp4", "2026-03-04T23:59:30+01:00"),
        ("b.mp4", "2026-03-05T10:00:00+01:00"),
    ]
    starts = write_rows(tmp_path / "times.csv", times)
    rows = [
        ("Video", "Day", "At", "Pain"),
        ("a.mp4", "", "23:59:40", "1"),
        ("a.mp4", "", "00:00:10", "2"),
        ("a.mp4", "2026-03-05", "00:01:30", "3"),
        ("b.mp4", "", "2026-03-05T10:00:05", "4"),
        ("b.mp4", "", "2026-03-05T09:00:15Z", "5"),
        ("b.mp4", "", "9:59", "6"),
        ("c.mp4", "", "10:00", "7"),
    ]
    file = write_rows(tmp_path / "clock.csv", rows)
    settings = 'recording = "Video"\ntime = "At"\ndate = "Day"\nunit = "clock"\n[[ratings]]\nvalue = "Pain"\n'
    answer, out = run(avpenet_here, file, "csv", settings, "--recorded-at", starts)
    assert answer.code == 0, answer.err
    assert pd.read_csv(out)["time_s"].tolist() == [10.0, 40.0, 120.0, 5.0, 15.0]
    assert "  1 before the recording starts" in answer.out
    assert "recordings that were not matched: c.mp4 (1 row)" in answer.out


def test_a_clock_time_without_zone_needs_one_where_starts_are_in_utc(tmp_path: Path) -> None:
    starts = write_rows(tmp_path / "times.csv", [("recording", "recorded_at"), ("a.mp4", "2026-07-04T08:00:00Z")])
    file = write_rows(tmp_path / "clock.csv", [("Video", "At", "Pain"), ("a.mp4", "10:00:30", "1")])
    settings = 'recording = "Video"\ntime = "At"\nunit = "clock"\n'
    block = '[[ratings]]\nvalue = "Pain"\n'
    line = refusal(file, "csv", settings + block, recorded_at=starts)
    assert "line 2: clock time '10:00:30' has no time zone, and the recording's start is in UTC" in line
    table = imported(file, "csv", settings + 'zone = "Europe/Berlin"\n' + block, recorded_at=starts)
    assert table["time_s"].tolist() == [30.0]


@pytest.mark.parametrize(
    ("began", "at", "seconds"),
    [
        ("2026-10-24T23:00:00+02:00", "04:00", 6 * 3600),  # clocks are put back at 3:00
        ("2026-03-28T23:00:00+01:00", "04:00", 4 * 3600),  # clocks are put forward at 2:00
        ("2026-10-24T01:00:00+02:00", "02:30", 5400),
        ("2026-10-25T01:00:00+02:00", "2026-10-25T02:30:00+01:00", 9000),
        ("2026-10-25T01:00:00+02:00", "02:30+01:00", 9000),
    ],
)
def test_clock_times_where_clocks_are_changed(began: str, at: str, seconds: float) -> None:
    assert parse_clock(at, "", datetime.fromisoformat(began), "Europe/Berlin") == seconds


@pytest.mark.parametrize(("began", "at"), [("2026-10-25T01:00:00+02:00", "02:30"), ("2026-03-29T01:00:00Z", "02:30")])
def test_a_clock_time_that_was_there_twice_or_never_is_refused(began: str, at: str) -> None:
    with pytest.raises(TimeError, match="is not one moment in Europe/Berlin: clocks were changed on 2026-"):
        parse_clock(at, "", datetime.fromisoformat(began), "Europe/Berlin")


def test_carma_files_of_two_raters_become_one_table(avpenet_here: Avpenet, tmp_path: Path) -> None:
    (tmp_path / "map.toml").write_text(CARMA_MAP)
    for rater, values in (("AP", [1, 2.5, "NaN"]), ("JG", [2, 3, 4])):
        (tmp_path / f"rec-1_{rater}.csv").write_text(carma("rec-1.mp4", values))
    files, out = sorted(tmp_path.glob("rec-1_*.csv")), tmp_path / "out.csv"
    answer = avpenet_here("ratings", "import", *files, "--from", "csv", "--map", tmp_path / "map.toml", "--out", out)
    assert answer.code == 0, answer.err
    table = pd.read_csv(out)
    assert table["start_s"].tolist() == [0.0, 1.0, 0.0, 1.0, 2.0]
    assert table["end_s"].tolist() == [1.0, 2.0, 1.0, 2.0, 3.0]
    assert table["value"].tolist() == [1.0, 2.5, 2.0, 3.0, 4.0]
    assert table["rater"].tolist() == ["AP", "AP", "JG", "JG", "JG"]
    assert "rec-1_AP.csv: 3 rows, 2 imported, 1 left out" in answer.out


def test_a_range_that_the_file_states_must_be_that_of_the_scale(tmp_path: Path) -> None:
    file = tmp_path / "rec-1_AP.csv"
    file.write_text(carma("rec-1.mp4", [1], lowest=-100, highest=100))
    line = refusal(file, "csv", CARMA_MAP)
    assert "line 10: Minimum Value is '-100', but the scale NRS has 0 there" in line
    table = imported(file, "csv", CARMA_MAP.replace('"NRS"', '"affect:-100:100"'))
    assert table["scale"].tolist() == ["AFFECT:-100:100"]


def test_an_axis_of_darma_is_a_column(tmp_path: Path) -> None:
    file = tmp_path / "rec.csv"
    head = (
        "Time of Rating,04-Mar-2026,,\nMultimedia File,rec-1.mp4,,\nMagnitude,1000,,\nSecond,Communion,Agency,Button\n"
    )
    file.write_text(head + "%%%%%%,%%%%%%,%%%%%%,%%%%%%\n1,-250,10.5,0\n2,125,NaN,0\n")
    settings = 'recording = "Multimedia File"\nend = "Second"\nlength_s = 1.0\n'
    block = '[[ratings]]\nvalue = "Agency"\nscale = "agency:-1000:1000"\nrater = "R1"\n'
    table = imported(file, "csv", settings + block)
    assert table.to_dict("records") == [
        {
            "recording": "rec-1.mp4",
            "start_s": 0.0,
            "end_s": 1.0,
            "value": 10.5,
            "rater": "R1",
            "scale": "AGENCY:-1000:1000",
        }
    ]


def test_raters_in_columns_words_for_values_and_scales_by_row(avpenet_here: Avpenet, tmp_path: Path) -> None:
    rows = [
        ("Video", "From", "To", "anna", "ben", "tool"),
        ("a.mp4", 0, 5, "none", "moderate", "VAS:0:10"),
        ("a.mp4", 5, 10, "8", "unsure", "COMFORT:8:40"),
    ]
    file = write_rows(tmp_path / "wide.csv", rows)
    words = 'values = { none = 0.0, moderate = 5.0 }\nscale_column = "tool"\n'
    settings = 'recording = "Video"\nstart = "From"\nend = "To"\nmissing = ["unsure"]\n'
    blocks = "".join(f'[[ratings]]\nvalue = "{name}"\nrater = "{name}"\n{words}' for name in ("anna", "ben"))
    answer, out = run(avpenet_here, file, "csv", settings + blocks)
    assert answer.code == 0, answer.err
    assert answer.out.startswith("wide.csv: 2 rows, 2 imported as 3 ratings, 0 left out\n")
    table = pd.read_csv(out)
    assert table["value"].tolist() == [0.0, 5.0, 8.0]
    assert table["scale"].tolist() == ["VAS:0:10", "VAS:0:10", "COMFORT:8:40"]
    # What is written is read as what was meant.
    assert read_ratings(out).rows["value"].tolist() == [0.0, 5.0, 0.0]


def test_a_sheet_of_the_reports_own_columns_needs_no_map(tmp_path: Path) -> None:
    rows = [
        ("order", "recording", "start_s", "end_s", "value", "scale", "rater", "rated_at", "comment", "pack"),
        ("1", "a.mp4", "0", "3", "4", "NIPS", "anna", "2026-03-04T10:00", "", "abc"),
        ("2", "a.mp4", "3", "6", "", "NIPS", "anna", "", "asleep", "abc"),
    ]
    table = imported(write_rows(tmp_path / "sheet.csv", rows), "csv")
    assert table.to_dict("records") == [
        {
            **{"recording": "a.mp4", "start_s": 0.0, "end_s": 3.0, "value": 4.0, "rater": "anna", "scale": "NIPS"},
            **{"rated_at": "2026-03-04T10:00", "order": 1, "pack": "abc"},
        }
    ]


REDCAP = (
    ("record_id", "redcap_event_name", "redcap_repeat_instrument", "redcap_repeat_instance", "video", "t_s", "nips"),
    ("7", "ward_arm_1", "", "", "rec-1.mp4", "", ""),
    ("7", "ward_arm_1", "rating", "1", "", "5", "3"),
    ("7", "ward_arm_1", "rating", "2", "", "15", "4"),
    ("7", "ward_arm_1", "drug", "1", "", "", ""),
    ("7", "home_arm_1", "rating", "1", "", "25", "5"),
    ("8", "ward_arm_1", "", "", "rec-2.mp4", "", ""),
    ("8", "ward_arm_1", "rating", "1", "", "5", ""),
)
REDCAP_MAP = """
recording = "video"
time = "t_s"
hold_s = 10.0

[[ratings]]
where = { redcap_repeat_instrument = "rating" }
value = "nips"
scale = "NIPS"
"""


def test_repeating_instruments_of_redcap_have_their_records_recording(avpenet_here: Avpenet, tmp_path: Path) -> None:
    file = write_rows(tmp_path / "redcap.csv", REDCAP)
    answer, out = run(avpenet_here, file, "redcap", REDCAP_MAP)
    assert answer.code == 0, answer.err
    table = pd.read_csv(out)
    assert table["recording"].tolist() == ["rec-1.mp4"] * 3
    assert table["start_s"].tolist() == [5.0, 15.0, 25.0]
    assert table["end_s"].tolist() == [15.0, 25.0, 35.0]
    lines = answer.out.splitlines()
    assert lines[:3] == [
        "redcap.csv: 7 rows, 3 imported, 4 left out",
        "  3 of another kind than the ratings",
        "  1 without a value",
    ]


def test_a_repeated_row_without_a_value_has_none_of_another_row(tmp_path: Path) -> None:
    """An instrument may repeat in one event and stand once in another."""
    once, empty = ("7", "first_arm_1", "", "", "", "1", "7"), ("7", "home_arm_1", "rating", "2", "", "35", "")
    file = write_rows(tmp_path / "redcap.csv", [*REDCAP, once, empty])
    summary = import_ratings(request(file, "redcap", REDCAP_MAP))
    assert summary.ratings == 3
    assert summary.files[0].left_out["without a value"] == 2


def test_cells_that_a_spreadsheet_left_out_at_a_rows_end_are_empty(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("Video,From,To,Pain,Who,Note\na.mp4,0,10,3,anna\na.mp4,10,20,4,anna,x\na.mp4,20,30,5\n")
    assert imported(file, "csv", MAP)["rater"].tolist() == ["anna", "anna", "rater"]


def test_a_redcap_export_of_labels_is_refused(tmp_path: Path) -> None:
    rows = [("Record ID", "Repeat Instrument", "video", "t_s", "nips", "redcap_repeat_instrument"), *[("7",) * 6]]
    line = refusal(write_rows(tmp_path / "labels.csv", rows), "redcap", REDCAP_MAP)
    assert "is a REDCap export of labels (column 'Repeat Instrument'); export it as CSV / raw data" in line


GOOD = "Video,From,To,Pain,Who\na.mp4,0,10,3,anna\na.mp4,10,20,4,anna\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD.replace(",4,", ",12,"), "line 3: value 12 is outside its scale, NRS from 0 to 10"),
        (GOOD.replace(",4,", ",high,"), "line 3: Pain is 'high', not a number"),
        (GOOD.replace("10,20", "ten,20"), "line 3: time 'ten' is neither seconds nor h:mm:ss"),
        (GOOD.replace("10,20", "-1,20"), "line 3: time -1 s is negative"),
        (GOOD.replace("10,20", "20,20"), "line 3: end 20 s is not after start 20 s"),
        (
            GOOD.replace("10,20", "9,20"),
            "anna rated a.mp4 twice at times that overlap: 0 to 10 s (a.csv line 2) and 9",
        ),
        (GOOD[:-8], "line 3 has 3 cells, the header 5; check that the file is whole"),
        (
            GOOD.replace("3,anna", '3,"anna'),
            "a quote is opened and not closed before the end; check",
        ),
        (GOOD.replace("anna", "Zoë"), "line 2 is not in UTF-8: in Windows-1252 it would be 'Zoë'"),
        (GOOD.replace("Pain", "Score"), "is not a CSV file of ratings: no row has the columns 'From', 'To', 'Pain'"),
        ("", "is empty"),
        ("Video,From,To,Pain,Who\n", "is empty: no row below its header"),
        (GOOD + f'a.mp4,20,30,4,"{"a" * 140_000}"\n', "a quote is opened and not closed before the end"),
        (GOOD[:-1] + '\na.mp4,20,30,4,"an', "a quote is opened and not closed before the end"),
        (GOOD.replace("Who", "Pain"), "line 1: two columns are named 'pain'"),
        ("PK\x03\x04...", "it is a ZIP archive, such as an .xlsx workbook; save it as CSV UTF-8"),
        (GOOD.replace(",3,", ",,").replace(",4,", ",NA,"), "no rating in 2 rows (2 without a value)"),
    ],
)
def test_bad_csv_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(text.encode("cp1252"))
    assert message in refusal(file, "csv", MAP)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MAP + 'scale = "PAINLESS"\n', "line 2: unknown scale 'PAINLESS'; use NRS, VAS"),
        (MAP + "scales = 1\n", "map.toml: no setting is called ratings.0.scales"),
        (MAP.replace('value = "Pain"', ""), "map.toml: ratings.0.value"),
        (MAP.replace('start = "From"', "start ="), "cannot read the map"),
        (MAP.replace('"Who"', '"Whom"'), "no column 'Whom' (its columns: 'Video', 'From', 'To', 'Pain', 'Who')"),
        ("unit = 'h'\n" + MAP, "unit = 'h'"),
        ("time = 'From'\n" + MAP, "time excludes start and end"),
        ("zone = 'Mars/Olympus'\n" + MAP, "zone = 'Mars/Olympus': not a time zone"),
        ("zone = 'Europe/Berlin'\n" + MAP, "date and zone are for clock times"),
        ("rater_from_file = '(x'\n" + MAP, "not a regular expression"),
        (MAP.replace('recording = "Video"\n', ""), "the map names no recording"),
        (MAP.replace('end = "To"\n', ""), "the map names a start or an end only; add the other one, or length_s"),
    ],
)
def test_bad_maps_are_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "a.csv"
    file.write_text(GOOD)
    assert message in refusal(file, "csv", text)


def test_two_scales_of_a_rater_at_one_time_are_told_apart(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "a.csv", [("Video", "At", "nips", "nrs"), ("a.mp4", "1", "3", "4")])
    blocks = "".join(f'[[ratings]]\nvalue = "{name}"\nscale = "{name}"\n' for name in ("nips", "nrs"))
    line = refusal(file, "csv", 'recording = "Video"\ntime = "At"\n' + blocks)
    assert "rater rated a.mp4 twice at the same time" in line
    assert "import one scale at a time" in line


def test_outputs_are_kept_and_inputs_never_replaced(avpenet_here: Avpenet, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text(GOOD)
    (tmp_path / "map.toml").write_text(MAP)
    command = ("ratings", "import", file, "--from", "csv", "--map", tmp_path / "map.toml", "--out")
    for out, message in ((file, "would overwrite"), (tmp_path / "a.txt", "cannot tell the format")):
        answer = avpenet_here(*command, out, "--overwrite")
        assert (answer.code, answer.err.count("\n")) == (2, 1)
        assert message in answer.err
    assert file.read_text() == GOOD
    out = tmp_path / "out.csv"
    assert avpenet_here(*command, out).code == 0
    assert "already exists" in avpenet_here(*command, out).err
    assert avpenet_here(*command, out, "--overwrite", "--quiet").out == ""
