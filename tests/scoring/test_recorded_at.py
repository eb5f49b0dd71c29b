"""When recordings began: from containers, file names and tables, with their clocks' errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from avpenet_cli.errors import SettingsError
from avpenet_cli.inputs import Recording
from avpenet_cli.records import RecordingOutcome, Status
from avpenet_cli.scoring.recorded_at import iso, start_times
from avpenet_cli.settings import DecodingSettings
from tests.conftest import ClipMaker


def found(option: str | None, name: str = "a.mp4", *, pseudonymised: bool = False, **facts: object) -> str:
    """The start of a recording under `--recorded-at OPTION`."""
    times = start_times(option, DecodingSettings(), pseudonymised=pseudonymised, names=[name])
    outcome = RecordingOutcome(Status.SCORED, facts={"container": "mp4", **facts})
    return iso(times.find(Recording(Path("/archive") / name, name, "key"), outcome))


def table(folder: Path, text: str) -> str:
    path = folder / "times.csv"
    path.write_text(text)
    return str(path)


def refusal(option: str) -> str:
    with pytest.raises(SettingsError) as caught:
        start_times(option, DecodingSettings(), pseudonymised=False)
    return str(caught.value)


def test_container_time_is_the_default_except_under_pseudonyms() -> None:
    stated = "2026-03-04T10:15:00+01:00"
    assert found(None, creation_time=stated) == "2026-03-04T10:15:00.000+01:00"
    assert found("container", creation_time="") == ""
    assert found("none", creation_time=stated) == ""
    assert found(None, pseudonymised=True, creation_time=stated) == ""
    assert found("container", pseudonymised=True, creation_time=stated) == "2026-03-04T10:15:00.000+01:00"


def test_years_of_no_clock_are_no_time(tmp_path: Path) -> None:
    assert found("container", creation_time="9999-12-31T23:59:59") == ""
    assert found("name:%Y%m%d_%H", "99991231_23.mp4") == ""
    assert "recorded_at is '9999-12-31T23:59'" in refusal(
        table(tmp_path, "recording,recorded_at\na,9999-12-31T23:59\n")
    )
    late = "recording,recorded_at,clock_offset_s\na,2026-03-04T10:15:00,1e12\n"
    assert "line 2: clock_offset_s is 1e+12, over 100 years" in refusal(table(tmp_path, late))


def test_container_is_read_again_where_the_journal_keeps_no_time(clips: ClipMaker, tmp_path: Path) -> None:
    clip = clips.ffmpeg("-f", "lavfi", "-i", "color=s=64x48:d=0.2", "-metadata", "creation_time=2026-03-04T10:15:00Z")
    assert found("container", str(clip)) == "2026-03-04T10:15:00.000+00:00"
    assert found("container", str(tmp_path / "moved.mp4")) == ""


def test_segments_start_after_the_recording() -> None:
    times = start_times("name:%Y-%m-%d %H.%M", DecodingSettings(), pseudonymised=False)
    start = times.find(Recording(Path("2026-12-31 23.59.mp4"), "x", "k"), RecordingOutcome(Status.SCORED))
    assert [iso(start, after_s) for after_s in (0.0, 57.5, 60.0)] == [
        "2026-12-31T23:59:00.000",
        "2026-12-31T23:59:57.500",
        "2027-01-01T00:00:00.000",
    ]


@pytest.mark.parametrize(
    ("pattern", "name", "start"),
    [
        ("%Y%m%d_%H%M%S", "bed4_20260304_101500.mp4", "2026-03-04T10:15:00.000"),
        ("%Y%m%d_%H%M%S", "VID_20260304_101500123.mp4", "2026-03-04T10:15:00.000"),
        ("%Y%m%d_%H%M%S", "ward/20260304_101500/cry.mp4", ""),
        ("%Y%m%d%H%M", "cam12202603041015.mp4", "2026-03-04T10:15:00.000"),
        ("%Y%m%d_%H%M%S", "20261304_101500.mp4", ""),
        ("%Y%m%d_%H%M%S%z", "20260304_101500+0100.mp4", "2026-03-04T10:15:00.000+01:00"),
        ("%d.%m.%y (%H.%M)", "04.03.26 (10.15).mp4", "2026-03-04T10:15:00.000"),
        ("%Y-%jT%H", "2026-063T10.mp4", "2026-03-04T10:00:00.000"),
    ],
)
def test_pattern_is_found_anywhere_in_the_file_name(pattern: str, name: str, start: str) -> None:
    assert found(f"name:{pattern}", name) == start


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("contaner", "no such table; give container, none, name:PATTERN or the path of a table"),
        ("name:%Y%m%d", "needs the year, the month, the day and the hour"),
        ("name:%H%M", "needs the year, the month, the day and the hour"),
        ("name:%Y%m%d_%H%M%Q", "%Q is not supported"),
        ("name:", "needs the year"),
    ],
)
def test_sources_that_give_no_time_are_refused(option: str, message: str) -> None:
    assert message in refusal(option)


def test_table_gives_times_and_corrects_a_devices_clock(tmp_path: Path) -> None:
    option = table(
        tmp_path,
        "recording,recorded_at,device,clock_offset_s\n"
        "a.mp4,2026-03-04 10:15:00,cam1,\n"
        "b.mp4,2026-03-04T10:15:00+01:00,cam1,90\n"
        "c.mp4,2026-03-04T10:15:00,cam2,-0.5\n"
        "d.mp4,2026-03-04T10:15:00,,5\n"
        "e.mp4,,cam1,\n",
    )
    # A clock that was 90 s ahead showed 10:15:00 at 10:13:30.
    assert found(option, "a.mp4") == "2026-03-04T10:13:30.000"
    assert found(option, "b.mp4") == "2026-03-04T10:13:30.000+01:00"
    assert found(option, "c.mp4") == "2026-03-04T10:15:00.500"
    assert found(option, "d.mp4") == "2026-03-04T10:14:55.000"
    assert found(option, "e.mp4") == found(option, "not listed.mp4") == ""
    for pseudonymised, start in ((False, "table times.csv (sha256 "), (True, "table (sha256 ")):
        assert start_times(option, DecodingSettings(), pseudonymised=pseudonymised).source.startswith(start)


def test_table_may_spell_names_differently_and_have_other_rows(tmp_path: Path) -> None:
    option = table(tmp_path, "recording,recorded_at\nA.MP4 ,2026-03-04T10:15:00\nz.mp4,2026-03-04T10:15:00\n")
    assert found(option, "a.mp4") == "2026-03-04T10:15:00.000"
    times = start_times(option, DecodingSettings(), pseudonymised=False, names=["a.mp4"])
    assert "written differently in the inputs" in times.notices[0]
    assert times.notices[1] == "times.csv: 1 row of recordings that are not among the inputs"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a.mp4,04/03/2026 10:15,,", "line 2: recorded_at is '04/03/2026 10:15', not a date with time in ISO 8601"),
        ("a.mp4,2026-03-04,,", "not a date with time"),
        ("a.mp4,2026-03-04T10:15,,\na.mp4,2026-03-04T10:15,,", "line 3: a.mp4 has a row already"),
        ("a.mp4,2026-03-04T10:15,c,1\nb.mp4,,c,2", "line 3: clock_offset_s is 2, but 1 on another row of c"),
    ],
)
def test_tables_that_could_mislead_are_refused(rows: str, message: str, tmp_path: Path) -> None:
    assert message in refusal(table(tmp_path, f"recording,recorded_at,device,clock_offset_s\n{rows}\n"))


def test_two_spellings_of_a_recording_must_have_the_same_time(tmp_path: Path) -> None:
    header, time = "recording,recorded_at\n", "2026-03-04T10:15"
    assert found(table(tmp_path, f"{header}A.MP4,{time}\na.mp4,{time}\n")) == f"{time}:00.000"
    with pytest.raises(
        SettingsError, match=r"times\.csv: A\.MP4 and a\.mp4 are one recording, but have different times"
    ):
        found(table(tmp_path, f"{header}A.MP4,{time}\na.mp4,2026-03-05T10:15\n"))
