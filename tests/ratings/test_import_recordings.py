"""Which recording an imported rating belongs to, what could not be matched, and that no row is lost."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avpenet_cli.errors import SettingsError
from avpenet_cli.ratings.importing.recordings import Match, Recordings, read_recordings
from avpenet_cli.ratings.importing.run import import_ratings
from avpenet_cli.study.ratings import read_ratings
from tests.ratings.formats import Avpenet, imported, refusal, request, run, write_rows

KNOWN = Recordings(("north/rec-1.mp4", "south/rec-1.mp4", "south/rec-2.mp4", "Zoë 3.mov", "x/Zoë 3.mov", "P1.5"))


@pytest.mark.parametrize(
    ("written", "recording"),
    [
        ("north/rec-1.mp4", "north/rec-1.mp4"),
        ("D:\\study\\NORTH\\Rec-1.mp4", "north/rec-1.mp4"),
        ("file:///media/disk/south/rec-2.mp4", "south/rec-2.mp4"),
        ("rec-2.mp4", "south/rec-2.mp4"),
        ("rec-2", "south/rec-2.mp4"),
        ("rec-2.avi", "south/rec-2.mp4"),
        ("Zoe\u0308 3.mov", "Zoë 3.mov"),
        ("file:///C:/x/Zo%C3%AB%203.mov", "x/Zoë 3.mov"),
        ("P1.5", "P1.5"),
        ("P1.5.mp4", "P1.5"),
    ],
)
def test_names_match_by_the_most_that_both_have(written: str, recording: str) -> None:
    assert KNOWN.match(written).recording == recording


@pytest.mark.parametrize("written", ["rec-1.mp4", "rec-1", "elsewhere/rec-1.avi"])
def test_a_name_that_fits_two_recordings_is_neither(written: str) -> None:
    assert KNOWN.match(written) == Match(candidates=("north/rec-1.mp4", "south/rec-1.mp4"))


@pytest.mark.parametrize("written", ["rec-3.mp4", "P1", "rec-2.mp4.part", "", "/"])
def test_a_name_that_fits_none_is_unknown(written: str) -> None:
    assert KNOWN.match(written) == Match()


def test_without_recordings_names_are_kept_without_the_folders_of_a_machine() -> None:
    anything = Recordings()
    assert anything.match("/videos/anna/rec-1.mp4").recording == "rec-1.mp4"
    assert anything.match("D:\\videos\\rec-1.mp4").recording == "rec-1.mp4"
    assert anything.match("north\\rec-1.mp4").recording == "north/rec-1.mp4"


MAP = 'recording = "Video"\nstart = "From"\nend = "To"\n[[ratings]]\nvalue = "Pain"\n'
HEADER = ("Video", "From", "To", "Pain")


def scores(tmp_path: Path, *names: str, end_s: float = 60) -> Path:
    rows = [("recording", "start_s", "end_s"), *((name, 0, end_s) for name in names)]
    return write_rows(tmp_path / "scores.csv", rows)


def test_what_was_not_matched_is_listed_and_kept_apart(avpenet_here: Avpenet, tmp_path: Path) -> None:
    known = scores(tmp_path, "north/rec-1.mp4", "south/rec-1.mp4", "south/rec-2.mp4")
    names = ["rec-1.mp4", "old.mp4", "old.mp4", "C:\\v\\rec-2.avi", "=cmd.mp4"]
    rows = [(name, 10 * place, 10 * place + 10, 3) for place, name in enumerate(names)]
    file = write_rows(tmp_path / "a.csv", [HEADER, *rows])
    left = tmp_path / "left.csv"
    answer, out = run(avpenet_here, file, "csv", MAP, "--recordings", known, "--left-out", left)
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert "recordings that were not matched: rec-1.mp4 (1 row), old.mp4 (2 rows), =cmd.mp4 (1 row)" in lines
    assert "  1 of a recording whose name fits several" in lines
    assert "2 recordings without a rating" in lines
    assert "note: a.csv: matched without their suffixes: C:\\v\\rec-2.avi as south/rec-2.mp4" in lines
    assert lines[-1] == "written: out.csv, left.csv"
    assert list(read_ratings(out).rows["recording"]) == ["south/rec-2.mp4"]
    with left.open(newline="") as opened:
        entries = list(csv.DictReader(opened))
    assert [entry["place"] for entry in entries] == ["line 2", "line 3", "line 4", "line 6"]
    assert entries[-1]["recording"] == "'=cmd.mp4"
    assert left.stat().st_mode & 0o777 == 0o600


def test_foreign_media_are_refused_in_one_line(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "a.csv", [HEADER, ("other.mp4", 0, 5, 3)])
    line = refusal(file, "csv", MAP, recordings=(scores(tmp_path, "rec-1.mp4"),))
    assert line.endswith(
        "a.csv: none of its recordings is among those of scores.csv (other.mp4); give the score table of the "
        "recordings that were rated, or correct the names"
    )


def test_starts_come_from_the_score_table_or_from_times_that_go_before(tmp_path: Path) -> None:
    rows = [
        ("recording", "start_s", "end_s", "recorded_at"),
        ("a.mp4", 0, 3, "2026-03-04T10:00:00.000+01:00"),
        ("a.mp4", 3, 6, "2026-03-04T10:00:03.000+01:00"),
        ("b.mp4", 0, 3, "2026-03-04T10:00:00.000+01:00"),
        ("b.mp4", 3, 6, "2026-03-04T11:00:03.000+01:00"),
        ("c.mp4", 0, 3, ""),
    ]
    table = write_rows(tmp_path / "scores.csv", rows)
    known = read_recordings([table], None)
    assert known.names == ("a.mp4", "b.mp4", "c.mp4")
    assert {name: start.isoformat() for name, start in known.starts.items()} == {"a.mp4": "2026-03-04T10:00:00+01:00"}
    assert known.ends_s == {"a.mp4": 6.0, "b.mp4": 6.0, "c.mp4": 3.0}
    assert known.notices == ("b.mp4: recorded_at does not agree with start_s, so its start counts as not known",)
    times = write_rows(tmp_path / "times.csv", [("recording", "recorded_at"), ("B.mp4", "2026-03-04T12:00:00+01:00")])
    known = read_recordings([table], times)
    assert known.starts["b.mp4"].isoformat() == "2026-03-04T12:00:00+01:00"
    with pytest.raises(SettingsError, match="is not a table of recordings: no column recording"):
        read_recordings([write_rows(tmp_path / "x.csv", [("a", "b"), (1, 2)])], None)


def test_a_clock_time_after_the_recordings_end_is_left_out(tmp_path: Path) -> None:
    rows = [("recording", "start_s", "end_s", "recorded_at"), ("a.mp4", 0, 60, "2026-03-04T10:00:00+01:00")]
    table = write_rows(tmp_path / "scores.csv", rows)
    file = write_rows(tmp_path / "a.csv", [("Video", "At", "Pain"), ("a", "10:00:50", 1), ("a", "10:05", 2)])
    asked = request(file, "csv", 'recording = "Video"\ntime = "At"\nunit = "clock"\n[[ratings]]\nvalue = "Pain"\n')
    summary = import_ratings(type(asked)(**{**vars(asked), "recordings": (table,)}))
    assert summary.files[0].left_out == {"after the recording's end": 1}
    assert summary.ratings == 1


def test_names_that_look_the_same_are_refused_where_recordings_are_not_known(tmp_path: Path) -> None:
    rows = [HEADER, ("P1.mp4", 0, 5, 3), ("\N{CYRILLIC CAPITAL LETTER ER}1.mp4", 5, 10, 3)]
    line = refusal(write_rows(tmp_path / "a.csv", rows), "csv", MAP)
    assert "look the same, but are written with different characters" in line


@pytest.mark.parametrize("seed", range(5))
def test_counts_add_up_and_the_table_is_what_the_rows_say(tmp_path: Path, seed: int) -> None:
    """Random rows, of which some are no ratings for one reason or another; a second account of them, by hand."""
    rng = np.random.default_rng(seed)
    names = ("rec-1.mp4", "rec-2.mp4", "unknown.mp4", "")
    rows, expected = [], []
    for place in range(int(rng.integers(1, 60))):
        name, value = names[rng.choice(4, p=(0.5, 0.3, 0.1, 0.1))], rng.choice(["", "NA", "4", "7.5"])
        start = float(10 * place)
        from_text = "" if rng.random() < 0.1 else f"{start:g}"
        rows.append((name, from_text, f"{start + 10:g}", value))
        if name.startswith("rec") and value in ("4", "7.5") and from_text:
            expected.append((name, start, start + 10, float(value)))
    expected.append(("rec-1.mp4", 1000.0, 1010.0, 5.0))
    file = write_rows(tmp_path / "a.csv", [HEADER, *rows, ("rec-1", "0:16:40", "1010", "5")])
    known = scores(tmp_path, "rec-1.mp4", "rec-2.mp4", end_s=1010)
    table = imported(file, "csv", MAP, recordings=(known,))
    assert [tuple(row) for row in table[["recording", "start_s", "end_s", "value"]].to_numpy()] == expected
    (tmp_path / "out.csv").unlink()
    summary = import_ratings(request(file, "csv", MAP, recordings=(known,)))
    (count,) = summary.files
    assert count.rows == len(rows) + 1 == count.imported + sum(count.left_out.values())
    assert count.imported == summary.ratings == len(expected)


FOLDERS = [HEADER, ("C:\\ward 1\\Mü.mp4", 0, 10, 3), ("C:\\ward 2\\Mü.mp4", 10, 20, 9)]


@pytest.mark.parametrize("known", [None, "ward 1/Mü.mp4", "Mü.mp4"])
def test_two_files_of_one_name_never_become_one_recording(tmp_path: Path, known: str | None) -> None:
    file = write_rows(tmp_path / "a.csv", FOLDERS)
    tables: dict[str, Any] = {} if known is None else {"recordings": (scores(tmp_path, known),)}
    line = refusal(file, "csv", MAP, **tables)
    assert "rater rated C:\\ward 1\\Mü.mp4 (a.csv line 2) and C:\\ward 2\\Mü.mp4 (a.csv line 3), which would" in line
    known_apart = scores(tmp_path, "ward 1/Mu\u0308.mp4", "ward 2/Mü.mp4")
    table = imported(file, "csv", MAP, recordings=(known_apart,))
    assert table["recording"].tolist() == ["ward 1/Mu\u0308.mp4", "ward 2/Mü.mp4"]


def test_copies_of_two_raters_are_one_recording(avpenet_here: Avpenet, tmp_path: Path) -> None:
    files = [
        write_rows(tmp_path / f"a_{rater}.csv", [HEADER, (f"/videos/{rater}/north/rec.mp4", 0, 10, 3)])
        for rater in ("anna", "ben")
    ]
    (tmp_path / "map.toml").write_text("rater_from_file = '_(.*)$'\n" + MAP)
    known, out = scores(tmp_path, "south/rec.mp4"), tmp_path / "out.csv"
    settings = ("--from", "csv", "--map", tmp_path / "map.toml", "--recordings", known, "--out", out)
    answer = avpenet_here("ratings", "import", *files, *settings)
    assert answer.code == 0, answer.err
    assert read_ratings(out).raters == ("anna", "ben")
    note = "note: the files: matched in spite of other folders: /videos/anna/north/rec.mp4 as south/rec.mp4, "
    assert note in answer.out


def test_times_in_another_unit_are_seen_by_the_recordings_end(avpenet_here: Avpenet, tmp_path: Path) -> None:
    file = write_rows(tmp_path / "a.csv", [HEADER, ("rec.mp4", 0, 10_000, 3), ("rec.mp4", 10_000, 20_000, 3)])
    answer, out = run(avpenet_here, file, "csv", MAP, "--recordings", scores(tmp_path, "rec.mp4"))
    assert answer.code == 0, answer.err
    assert "  1 after the recording's end" in answer.out
    assert "note: a.csv: 1 rating ending after the recording's end, by up to 9940.0 s: check the times" in answer.out
    assert len(read_ratings(out).rows) == 1


def test_files_without_a_rater_say_that_they_count_as_one(avpenet_here: Avpenet, tmp_path: Path) -> None:
    files = [write_rows(tmp_path / f"{name}.csv", [HEADER, (f"{name}.mp4", 0, 10, 3)]) for name in "ab"]
    (tmp_path / "map.toml").write_text(MAP)
    settings = ("--from", "csv", "--map", tmp_path / "map.toml", "--out", tmp_path / "out.csv")
    answer = avpenet_here("ratings", "import", *files, *settings)
    assert "note: the files: no file says who rated: all ratings count as one rater's; name raters" in answer.out
