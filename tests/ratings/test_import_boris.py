"""`avpenet ratings import` from BORIS projects and from its exports of events."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from avpenet_cli.ratings.importing.run import import_ratings
from tests.ratings.formats import (
    AGGREGATED,
    TABULAR,
    Avpenet,
    boris_export_row,
    boris_observation,
    imported,
    refusal,
    request,
    run,
    write_boris,
    write_rows,
)

BY_OBSERVER = 'rater_column = "observer"\n'


def test_behaviours_named_by_a_scale_are_ratings(avpenet_here: Avpenet, tmp_path: Path) -> None:
    events = [
        (5.0, "", "NRS", "3", ""),
        (15.5, "", "NRS", "3", ""),
        (15.5, "", "NRS", "7", ""),
        (20.0, "", "cry", "", ""),
        (30.0, "", "NRS", "7", ""),
        (40.0, "", "NRS", "2", "never ended"),
    ]
    media = "D:\\videos\\anna\\rec-1.mp4"
    observations = {"one": boris_observation(events, [media], observer="anna")}
    file = write_boris(tmp_path / "study.boris", observations)
    answer, out = run(avpenet_here, file, "boris", BY_OBSERVER)
    assert answer.code == 0, answer.err
    assert out.read_text() == (
        "recording,start_s,end_s,value,rater,scale\n"
        "rec-1.mp4,5.000,15.500,3.000,anna,NRS\n"
        "rec-1.mp4,15.500,30.000,7.000,anna,NRS\n"
    )
    assert answer.out.splitlines()[:3] == [
        "study.boris: 6 rows, 4 imported as 2 ratings, 2 left out",
        "  1 of another kind than the ratings",
        "  1 the begin of a state without its end, or the end without its begin",
    ]


def test_points_have_one_time_and_beside_states_a_length_from_the_map(tmp_path: Path) -> None:
    points = {"one": boris_observation([(5.0, "", "NIPS", "3", ""), (9.0, "", "NIPS", "None", "")])}
    table = imported(write_boris(tmp_path / "a.boris", points), "boris")
    assert table.to_numpy().tolist() == [["rec-1.mp4", 5.0, 3.0, "rater", "NIPS"]]
    (tmp_path / "out.csv").unlink()
    both = [(1.0, "", "NRS", "2", ""), (4.0, "", "NRS", "2", ""), (5.0, "", "NIPS", "3", "")]
    file = write_boris(tmp_path / "b.boris", {"one": boris_observation(both)})
    assert "event 3: a rating at one time, but 1 rating of 2 have a start and an end" in refusal(file, "boris")
    table = imported(file, "boris", "hold_s = 10.0\n")
    assert table["end_s"].tolist() == [4.0, 15.0]


def test_queued_media_and_the_time_offset_become_seconds_in_each_file(tmp_path: Path) -> None:
    events = [(100.0 + at, "", "NIPS", "3", "") for at in (5.0, 65.0, 119.0, 200.0)]
    observation = boris_observation(events, ["a.mp4", "b.mp4"], [60.0, 60.0], offset_s=100.0)
    asked = request(write_boris(tmp_path / "a.boris", {"one": observation}), "boris")
    summary = import_ratings(asked)
    assert asked.out.read_text().splitlines()[1:] == [
        "a.mp4,5.000,3.000,rater,NIPS",
        "b.mp4,5.000,3.000,rater,NIPS",
        "b.mp4,59.000,3.000,rater,NIPS",
    ]
    assert summary.files[0].left_out == {"after the recording's end": 1}


def test_times_from_the_media_creation_time_count_from_1970(tmp_path: Path) -> None:
    observation = boris_observation([(1_700_000_012.5, "", "NIPS", "3", "")], ["a.mp4"], [60.0])
    observation["media_creation_date_as_offset"] = True
    observation["media_info"]["media_creation_time"] = {"a.mp4": 1_700_000_000.0}
    table = imported(write_boris(tmp_path / "a.boris", {"one": observation}), "boris")
    assert table["time_s"].tolist() == [12.5]


def test_live_observations_and_unknown_lengths_are_left_out(tmp_path: Path) -> None:
    live = boris_observation([(5.0, "", "NIPS", "3", "")], [], []) | {"type": "LIVE", "file": []}
    images = boris_observation([(None, "", "NIPS", "3", "", 7, "7.png")], [], []) | {"type": "IMAGES", "file": []}
    queued = boris_observation([(65.0, "", "NIPS", "3", "")], ["a.mp4", "b.mp4"], [60.0, 60.0])
    queued["media_info"]["length"] = {}
    known = boris_observation([(65.0, "", "NIPS", "3", "")], ["c.mp4"], [90.0])
    file = write_boris(tmp_path / "a.boris", {"live": live, "images": images, "queued": queued, "known": known})
    summary = import_ratings(request(file, "boris"))
    assert summary.files[0].left_out == {
        "of an observation without media, such as a live one": 2,
        "of queued media files whose lengths are not stated": 1,
    }
    assert summary.recordings == ("c.mp4",)


def test_behaviours_as_words_by_a_map(tmp_path: Path) -> None:
    events = [(1.0, "", "calm", "", ""), (9.0, "", "calm", "", ""), (9.0, "", "cry", "", ""), (12.0, "", "x", "", "")]
    file = write_boris(tmp_path / "a.boris", {"one": boris_observation(events)}, states=["calm"])
    settings = 'hold_s = 2.0\n[[ratings]]\nwhere = { Behavior = ["calm", "cry"] }\nvalue = "Behavior"\n'
    table = imported(file, "boris", settings + "values = { calm = 0.0, cry = 6.0 }\n")
    assert table["value"].tolist() == [0.0, 6.0]
    assert table["end_s"].tolist() == [9.0, 11.0]


def test_aggregated_and_tabular_exports_say_what_the_project_says(tmp_path: Path) -> None:
    source = "player #1:videos/a.mp4;videos/b.mp4|player #2:videos/other.mp4"
    common = {"source": source, "media_duration": "60.000;60.000|60.000", "observer": "anna", "time_offset": "10"}
    rated = {**common, "behavior": "NRS", "modifier_1": "4"}
    aggregated = [
        AGGREGATED,
        boris_export_row(AGGREGATED, **rated, behavior_type="STATE", start="75.000", stop="80.000"),
        boris_export_row(AGGREGATED, **common, behavior="cry", behavior_type="POINT", start="76.000", stop="76.000"),
        boris_export_row(AGGREGATED, behavior="NRS", modifier_1="4", behavior_type="STATE", start="NA", source="NA"),
        boris_export_row(AGGREGATED, **{**rated, "modifier_1": "None"}, behavior_type="STATE", start="90", stop="92"),
    ]
    tabular = [
        TABULAR,
        boris_export_row(TABULAR, **rated, behavior_type="START", time="75.000", media_file_name="videos/b.mp4"),
        boris_export_row(TABULAR, **common, behavior="cry", behavior_type="POINT", time="76.000"),
        boris_export_row(TABULAR, **rated, behavior_type="STOP", time="80.000", media_file_name="videos/b.mp4"),
    ]
    for name, rows, delimiter in (("a.tsv", aggregated, "\t"), ("b.csv", tabular, ",")):
        folder = tmp_path / name
        folder.mkdir()
        table = imported(write_rows(folder / name, rows, delimiter), "boris", BY_OBSERVER)
        assert table.to_numpy().tolist() == [["videos/b.mp4", 5.0, 10.0, 4.0, "anna", "NRS"]]


def test_an_export_of_version_7_with_lines_above_its_header(tmp_path: Path) -> None:
    rows = [
        ["Observation id", "one"],
        ["Media file(s)"],
        ["Player #1", "videos/a.mp4"],
        ["Observation date", "2018-03-04 10:15:00"],
        ["Time", "Media file path", "Total length", "FPS", "Subject", "Behavior", "Modifiers", "Comment", "Status"],
        ["3.000", "videos/a.mp4", "60.000", "25", "", "NRS", "4|left", "", "START"],
        ["8.000", "videos/a.mp4", "60.000", "25", "", "NRS", "4|left", "", "STOP"],
    ]
    table = imported(write_rows(tmp_path / "a.tsv", rows, "\t"), "boris")
    assert table.to_numpy().tolist() == [["videos/a.mp4", 3.0, 8.0, 4.0, "rater", "NRS"]]


GOOD = {"one": boris_observation([(5.0, "", "NRS", "3", ""), (15.0, "", "NRS", "3", "")])}
TWICE = [
    (5.0, "a", "NRS", "3", ""),
    (15.0, "a", "NRS", "3", ""),
    (9.0, "b", "NRS", "3", ""),
    (20.0, "b", "NRS", "3", ""),
]


def test_half_a_project_is_refused(tmp_path: Path) -> None:
    file = write_boris(tmp_path / "a.boris", GOOD)
    file.write_bytes(file.read_bytes()[:700])
    assert "a.boris is no BORIS project, or half of one: line " in refusal(file, "boris")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1}', "is no BORIS project: it has no observations or no behaviours"),
        (b"\x1f\x8b\x08\x00", "is compressed with gzip; unpack it first"),
        ('{"project": "Zoë"}'.encode("cp1252"), "line 1 is not in UTF-8: in Windows-1252 it would be"),
        (b"<xml/>", "is no BORIS project, or half of one: line 1 is not JSON"),
        (b"[" * 100_000, "is no BORIS project: JSON nested too deeply, or a huge number"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "is no BORIS project: JSON nested too deeply, or a huge number"),
        (b"", "is no BORIS project, or half of one"),
    ],
)
def test_what_is_no_project_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "a.boris"
    file.write_bytes(content)
    assert message in refusal(file, "boris")


@pytest.mark.parametrize(
    ("events", "settings", "message"),
    [
        (
            [(5.0, "", "NIPS", "8", "")],
            "",
            "observation 'one', event 1: value 8 is outside its scale, NIPS from 0 to 7",
        ),
        ([(5.0, "", "NIPS", "low", "")], "", "observation 'one', event 1: Modifier #1 is 'low', not a number"),
        ([(5.0, "", "cry", "", "")], "", "no behaviour has the name of a scale ('cry'); say in a map (--map)"),
        ([(float("nan"), "", "NIPS", "3", "")], "", "observation 'one', event 1 has no time, subject and behaviour"),
        ([(10**400, "", "NIPS", "3", "")], "", "observation 'one', event 1 has no time, subject and behaviour"),
        (["later"], "", "observation 'one', event 1 has no time, subject and behaviour"),
        ([], "", "no observation has an event"),
        (
            TWICE,
            "",
            "rater rated rec-1.mp4 twice at times that overlap: 5 to 15 s (a.boris observation 'one', event 1)",
        ),
        ([(5.0, "", "NIPS", "3", "")], 'start = "Time"\n', "the map gives start, but files of this format state times"),
        (
            [(5.0, "", "NIPS", "3", "")],
            BY_OBSERVER,
            "no column 'observer' (its columns: 'Observation id', 'Observation date'",
        ),
        (
            [(5.0, "", "NIPS", "3", "")],
            '[[ratings]]\nvalue = "Modifier #1"\nscale = "PAINLESS"\n',
            "unknown scale 'PAINL",
        ),
    ],
)
def test_bad_events_are_refused_in_one_line(tmp_path: Path, events: list[object], settings: str, message: str) -> None:
    observation = boris_observation([])
    observation["events"] = events
    file = write_boris(tmp_path / "a.boris", {"one": observation})
    assert message in refusal(file, "boris", settings)


def test_bad_exports_are_refused_in_one_line(tmp_path: Path) -> None:
    row = boris_export_row(AGGREGATED, behavior="NRS", start="0:05", stop="8", modifier_1="4", media_file_name="a.mp4")
    line = refusal(write_rows(tmp_path / "a.csv", [AGGREGATED, row]), "boris")
    assert "line 2: Start (s) is '0:05', not a number of seconds; export the events with times in seconds" in line
    line = refusal(write_rows(tmp_path / "b.csv", [AGGREGATED, row[:10]]), "boris")
    assert "line 2 has 10 cells, the header 26; check that the file is whole" in line
    line = refusal(write_rows(tmp_path / "c.csv", [["recording", "value"], ["a", "1"]]), "boris")
    assert "is not a BORIS export of events: no row has Behavior, and Start (s) and Stop (s) or Time and" in line


def test_projects_as_versions_write_them_are_read(tmp_path: Path) -> None:
    """Events of other versions have a frame index, or four cells; independent variables may be absent."""
    observation = boris_observation([])
    del observation["independent_variables"]
    observation["events"] = [[5, "", "NIPS", "3", "", 125], [9.5, "", "NIPS", "4"]]
    file = write_boris(tmp_path / "a.boris", {"one": observation})
    project = json.loads(file.read_text())
    project["behaviors_conf"]["0"]["type"] = "State event with coding map"
    file.write_text("\ufeff" + json.dumps(project), encoding="utf-8")
    assert imported(file, "boris")["value"].tolist() == [3.0, 4.0]
