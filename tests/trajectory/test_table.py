"""The table of trajectories: every segment once, with what stands at its time, safe for spreadsheets and private."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from avpenet_cli.stats.estimate import absent
from avpenet_cli.study.pairing import pair
from avpenet_cli.study.ratings import read_ratings
from avpenet_cli.study.score_tables import read_scores
from avpenet_cli.study.tables import match_tables
from avpenet_cli.trajectory.analysed import Level, Span, Trajectory
from avpenet_cli.trajectory.reading import SeriesReader
from avpenet_cli.trajectory.series import Event, Part, Series
from avpenet_cli.trajectory.table import TRAJECTORY_COLUMNS, ratings_of, trajectory_rows, write_trajectories


def series(name: str = "P1") -> Series:
    """Two recordings, 1 min apart: four segments, of which the second has no score, and one."""
    start_s = np.array([0.0, 3.0, 6.0, 9.0, 60.0])
    score = np.array([2.0, np.nan, 4.0, 5.0, 6.0])
    return Series(
        name=name,
        parts=(Part("a.mp4", 0.0, 12.0), Part("=b.mp4", 60.0, 3.0)),
        clock="2026-03-04T10:00:00.000+01:00",
        part=np.array([0, 0, 0, 0, 1]),
        start_s=start_s,
        end_s=start_s + 3.0,
        score=score,
        sd=np.full(5, 0.5),
        low=score - 1,
        high=score + 1,
        reason=("", "no_face", "", "", ""),
        quality=np.array([0.9, 0.0, np.nan, 1.0, 1.0]),
        stride_s=3.0,
        window_s=3.0,
        events=(Event(4.0, "lance"), Event(4.5, "cry"), Event(30.0, "=analgesic"), Event(99.0, "end")),
        ratings=(),
        cut_points=(3.0, 6.0),
    )


def trajectory(of: Series) -> Trajectory:
    """With a level and states that are made up."""
    level = np.where(np.isfinite(of.score), of.score + 0.1, np.nan)
    nothing = absent("made up")
    return Trajectory(
        series=of,
        level=Level(level, level - 0.5, level + 0.5),
        changes=(),
        peaks=(),
        states=(Span(0.0, 7.0, "rising"), Span(7.0, 12.0, "stable")),
        gaps=(Span(3.0, 6.0, "no_face"),),
        scored_s=12.0,
        above=((3.0, nothing), (6.0, nothing)),
        area=nothing,
        mean=nothing,
        highest=nothing,
        after_events=(),
        against_ratings=(),
    )


def test_every_segment_has_a_row_with_what_stands_at_its_time(tmp_path: Path) -> None:
    path = tmp_path / "trajectories.csv"
    write_trajectories(path, [trajectory(series()), trajectory(series("P2"))])
    assert path.stat().st_mode & 0o777 == 0o600
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [column.name for column in TRAJECTORY_COLUMNS]
    assert [row["series"] for row in rows] == ["P1"] * 5 + ["P2"] * 5
    first, second, third, fourth, last = rows[:5]
    assert (first["score"], first["score_lo"], first["level"], first["level_hi"]) == (
        "2.000",
        "1.000",
        "2.100",
        "2.600",
    )
    assert (second["score"], second["level"], second["state"], second["reason"]) == ("", "", "", "no_face")
    assert (first["quality"], second["quality"], third["quality"]) == ("0.900", "0.000", "")
    assert [row["state"] for row in rows[:5]] == ["rising", "", "stable", "stable", ""]
    assert [row["event"] for row in rows[:5]] == ["", "lance; cry", "", "'=analgesic", "end"]
    assert (fourth["recording"], last["recording"]) == ("a.mp4", "'=b.mp4")
    assert (last["start_s"], last["recording_start_s"]) == ("60.000", "0.000")
    assert last["recorded_at"] == "2026-03-04T10:01:00.000+01:00"


def test_without_a_clock_there_is_no_time() -> None:
    rows = list(trajectory_rows(trajectory(replace(series(), clock=""))))
    assert {row["recorded_at"] for row in rows} == {""}


def test_the_rating_of_a_segment_is_that_of_the_report() -> None:
    """The same rule as in `pair`, with ratings that overlap, at one time, and of two raters."""
    rng = np.random.default_rng(4)
    start_s = np.arange(60) * 1.0
    scores = pd.DataFrame(
        {"recording": "a", "start_s": start_s, "end_s": start_s + 3, "score": 5.0, "status": "scored"}
    )
    spans = pd.DataFrame(
        {
            "recording": "a",
            "start_s": np.arange(30) * 2.0,
            "end_s": np.arange(30) * 2.0 + rng.uniform(0.5, 6.0, 30),
            "value": rng.integers(0, 11, 30),
            "rater": rng.choice(["one", "two"], 30),
        }
    )
    moments = spans.drop(columns="end_s").rename(columns={"start_s": "time_s"})
    for table in (spans, moments):
        inputs = match_tables(read_scores([scores]), read_ratings(table))
        (found,) = SeriesReader(inputs)
        expected = pair(inputs.scores, inputs.ratings, None).segments["reference"].to_numpy()
        assert np.isfinite(expected).sum() > 30
        assert ratings_of(found) == pytest.approx(expected, nan_ok=True)
