"""The playlist of segments to review: entries start and stop with the segment, and no name can become anything else."""

from __future__ import annotations

import math
import stat
from pathlib import Path

import pandas as pd
import pytest

from avpenet_cli.report.playlist import write_playlist


def written(path: Path, *recordings: str) -> list[str]:
    rows = pd.DataFrame({"recording": recordings, "start_s": 12.0, "end_s": 15.0, "score": 8.25, "why": "two_classes"})
    write_playlist(path, rows)
    return path.read_bytes().decode("utf-8", "surrogateescape").split("\n")


def entries(lines: list[str]) -> list[str]:
    return [line for line in lines if line and not line.startswith("#")]


def test_an_entry_has_title_start_stop_and_a_relative_path(tmp_path: Path) -> None:
    lines = written(tmp_path / "r.review.m3u8", "ward 3/a, b.mp4")
    assert lines[0] == "#EXTM3U"
    assert lines[-5:] == [
        "#EXTINF:3.000,ward 3/a; b.mp4 0:12.0 to 0:15.0: score 8.2; two classes",
        "#EXTVLCOPT:start-time=12.000",
        "#EXTVLCOPT:stop-time=15.000",
        "./ward 3/a, b.mp4",
        "",
    ]


def test_a_playlist_is_private(tmp_path: Path) -> None:
    path = tmp_path / "r.review.m3u8"
    written(path, "a.mp4")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_segment_without_a_score_says_so(tmp_path: Path) -> None:
    row = pd.DataFrame(
        {"recording": ["a.mp4"], "start_s": 0.0, "end_s": 3.0, "score": math.nan, "why": "no score: no_face"}
    )
    write_playlist(tmp_path / "p.m3u8", row)
    assert "a.mp4 0:00.0 to 0:03.0: no score: no face" in (tmp_path / "p.m3u8").read_text()


@pytest.mark.parametrize(
    ("name", "written_as"),
    [
        ("#EXTVLCOPT:sout=x.mp4", "./%23EXTVLCOPT:sout=x.mp4"),
        ("100%41?.mp4", "./100%2541%3F.mp4"),
        ("-x.mp4", "./-x.mp4"),
        ("C:x.mp4", "./C:x.mp4"),
        ("\\\\host\\share\\x.mp4", "./\\\\host\\share\\x.mp4"),
        ("/srv/a b.mp4", "/srv/a b.mp4"),
    ],
)
def test_odd_names_are_paths(tmp_path: Path, name: str, written_as: str) -> None:
    assert entries(written(tmp_path / "p.m3u8", name)) == [written_as]


@pytest.mark.parametrize(
    "name",
    ["a\n#EXTVLCOPT:sout=x\n.mp4", "a\r.mp4", "http://host/a.mp4", "x/smb://host/a", "//host/a.mp4", "a\x85b", "a "],
)
def test_names_that_a_playlist_cannot_hold_are_left_out_and_counted(tmp_path: Path, name: str) -> None:
    lines = written(tmp_path / "p.m3u8", "good.mp4", name)
    assert entries(lines) == ["./good.mp4"]
    assert any(line.startswith("# Left out") and line.endswith("1 segment.") for line in lines)
    assert sum(line.startswith("#EXTVLCOPT") for line in lines) == 2
