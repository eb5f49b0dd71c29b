"""Scales are known by their spellings and ranges; a range that would be guessed is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from avpenet_cli.study.ratings import read_ratings
from avpenet_cli.study.scales import SCALES, Scale, ScaleError, parse_scale


@pytest.mark.parametrize("name", SCALES)
def test_the_ends_of_every_known_scale_become_0_and_10_points(tmp_path: Path, name: str) -> None:
    known = SCALES[name]
    path = tmp_path / "r.csv"
    rows = [f"a,1,{known.lowest:g},{name}", f"a,2,{known.highest:g},{name.lower()}"]
    path.write_text("recording,time_s,value,scale\n" + "\n".join(rows) + "\n")
    ratings = read_ratings(path)
    assert ratings.rows["value"].to_list() == [0.0, 10.0] and ratings.scales == (name,)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        *[(text, "PIPP-R") for text in ("pipp_r", "PIPPR", "Pipp R")],
        *[("npass", "N-PASS"), ("COMFORTB", "COMFORT-B"), ("COMFORT-Behavior", "COMFORT-B"), ("", "NRS")],
        *[("BPS:3:12", "BPS"), ("vas : 100", "VAS"), ("comfort behaviour scale", "COMFORT-B")],
    ],
)
def test_spellings_of_known_scales_are_recognised(text: str, name: str) -> None:
    assert parse_scale(text) == Scale(name, SCALES[name].lowest, SCALES[name].highest)


def test_other_ranges_are_given_with_both_ends() -> None:
    assert parse_scale("COMFORT:8:40") == Scale("COMFORT:8:40", 8.0, 40.0)
    assert parse_scale("mine:5") == Scale("MINE:5", 0.0, 5.0)
    assert parse_scale("VAS:0:10") == Scale("VAS:10", 0.0, 10.0)
    assert parse_scale("change:-5:5") == Scale("CHANGE:-5:5", -5.0, 5.0)


@pytest.mark.parametrize(
    ("text", "problem", "remedy"),
    [
        (
            "BPS:12",
            "is not the BPS, which goes from 3 to 12",
            "write BPS; a version with another range is `BPS:min:max`",
        ),
        ("VAS:10", "is not the VAS, which goes from 0 to 100", "VAS:0:10"),
        ("COMFORT", "unknown scale", "name:min:max"),
        ("X:5:5", "has no range", "min below max"),
        ("X:1e5", "unknown scale", "name:min:max"),
        ("X:" + "9" * 400, "has no range", "min below max"),
    ],
)
def test_a_scale_whose_range_would_be_a_guess_is_refused(text: str, problem: str, remedy: str) -> None:
    with pytest.raises(ScaleError) as caught:
        parse_scale(text)
    assert problem in caught.value.problem and remedy in caught.value.remedy
