"""Ratings are matched to segments and segments to subjects; whatever has no match is listed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from avpenet_cli.errors import SettingsError
from avpenet_cli.study.pairing import BEYOND, IN_NONE, NO_RECORDING, Pairing, pair, row_medians
from avpenet_cli.study.ratings import read_events, read_ratings
from avpenet_cli.study.score_tables import read_scores
from avpenet_cli.study.subjects import read_subjects
from examples.make_study import make_study

THREE = "a,0,3,5,scored\na,3,6,,unscorable\na,6,9,5,scored\n"


def paired(
    folder: Path, segments: str, ratings: str | None, subjects: str | None = None, hold_s: float = 10.0
) -> Pairing:
    paths = {}
    for name, text in (("scores", segments), ("ratings", ratings), ("subjects", subjects)):
        if text is not None:
            paths[name] = folder / f"{name}.csv"
            header = "recording,start_s,end_s,score,status\n" if name == "scores" else ""
            paths[name].write_text(header + text)
    return pair(
        read_scores([paths["scores"]]),
        read_ratings(paths["ratings"]) if "ratings" in paths else None,
        read_subjects(paths["subjects"]) if "subjects" in paths else None,
        hold_s,
    )


def references(pairing: Pairing) -> list[float]:
    return pairing.segments["reference"].to_list()


def test_a_point_rating_holds_for_ten_seconds_and_needs_half_a_segment(tmp_path: Path) -> None:
    segments = "".join(f"a,{3 * n},{3 * n + 3},5,scored\n" for n in range(7))
    pairing = paired(tmp_path, segments, "recording,time_s,value\na,0,2\na,10,8\n")
    # Of 9 to 12 s the first rating covers one second and the second two.
    assert references(pairing) == [2.0, 2.0, 2.0, 8.0, 8.0, 8.0, 8.0]
    assert pairing.unmatched_ratings.empty and pairing.unrated_segments == 0


def test_half_of_the_shorter_is_enough_despite_rounding(tmp_path: Path) -> None:
    # 8.6 + 3 - 10.1 is slightly less than 1.5 in floating point.
    pairing = paired(tmp_path, "a,8.6,11.6,5,scored\n", "recording,start_s,end_s,value\na,10.1,20.1,4\n")
    assert references(pairing) == [4.0]
    short = paired(tmp_path, "a,0,3,5,scored\na,3,6,5,scored\n", "recording,start_s,end_s,value\na,2.4,3.4,4\n")
    assert np.isnan(references(short)[1]) and references(short)[0] == 4.0
    both = paired(tmp_path, "a,0,3,5,scored\na,3,6,5,scored\n", "recording,start_s,end_s,value\na,2.5,3.5,4\n")
    assert references(both) == [4.0, 4.0]


def test_an_instant_rating_belongs_to_the_segment_that_starts_then(tmp_path: Path) -> None:
    pairing = paired(tmp_path, THREE, "recording,time_s,value\na,3,4\na,9,1\na,8.999,2\n", hold_s=0.0)
    np.testing.assert_array_equal(references(pairing), [np.nan, 4.0, 2.0])
    assert pairing.unmatched_ratings["why"].to_list() == [BEYOND]
    overlapping = "a,0,3,5,scored\na,1,4,5,scored\na,2,3.5,5,scored\n"
    pairing = paired(tmp_path, overlapping, "recording,time_s,value\na,3.7,6\na,2.5,2\n", hold_s=0.0)
    assert references(pairing) == [2.0, 4.0, 2.0]


def test_the_reference_is_the_median_over_raters_of_their_medians(tmp_path: Path) -> None:
    ratings = (
        "recording,start_s,end_s,value,rater,scale\n"
        # A rater who rates often does not outvote two who rate once.
        "a,0,1,9,x,NRS\na,1,2,10,x,NRS\na,2,3,8,x,NRS\na,0,3,7,y,NIPS\na,0,3,0,z,NIPS\n"
        "a,6,9,1,y,NRS\na,6,9,4,z,NRS\n"
    )
    pairing = paired(tmp_path, THREE, ratings)
    np.testing.assert_array_equal(references(pairing), [9.0, np.nan, 2.5])
    assert pairing.segments["n_raters"].to_list() == [3, 0, 2]
    assert pairing.by_rater.columns.to_list() == ["x", "y", "z"]
    np.testing.assert_array_equal(pairing.by_rater, [[9, 10, 0], [np.nan] * 3, [np.nan, 1, 4]])
    assert pairing.by_rater.index.equals(pairing.segments.index)
    assert pairing.unrated_segments == 1


def test_unmatched_ratings_and_recordings_are_listed_with_the_reason(tmp_path: Path) -> None:
    segments = "b,0,3,5,scored\n" + THREE + "a,30,33,5,scored\nc,0,3,5,scored\n"
    ratings = "recording,start_s,end_s,value\nx,0,3,1\na,33,36,2\na,12,15,3\na,0,3,4\nb,2.9,20,5\nx,3,6,1\n"
    pairing = paired(tmp_path, segments, ratings)
    listed = pairing.unmatched_ratings
    assert listed["line"].to_list() == [2, 3, 4, 6, 7]
    assert listed["why"].to_list() == [NO_RECORDING, BEYOND, IN_NONE, IN_NONE, NO_RECORDING]
    assert listed["recording"].to_list() == ["x", "a", "a", "b", "x"]
    assert listed["start_s"].to_list() == [0.0, 33.0, 12.0, 2.9, 3.0]
    assert pairing.unrated_recordings == ("c",) and pairing.unrated_segments == 5


def test_tables_without_common_recordings_are_refused_with_an_example_of_both(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no recording in common.*'x' there, 'a' in the scores") as caught:
        paired(tmp_path, THREE, "recording,time_s,value\nx,0,1\n")
    assert "suffix" not in str(caught.value)
    clip = THREE.replace("a,", "ward 3/Clip-1.mp4,")
    with pytest.raises(SettingsError, match=r"'C:\\\\clip-1' there, 'ward 3/Clip-1.mp4' in the.*differ only in folder"):
        paired(tmp_path, "z,0,3,5,scored\n" + clip, "recording,time_s,value\ny,0,1\nC:\\clip-1,0,1\n")
    with pytest.raises(SettingsError, match=r"subjects\.csv has no recording in common"):
        paired(tmp_path, THREE, None, "recording,subject\nx,1\n")


def test_without_subjects_each_recording_is_a_separate_subject(tmp_path: Path) -> None:
    pairing = paired(tmp_path, THREE + "NA,0,3,5,scored\n", None)
    assert pairing.segments["subject"].to_list() == ["a", "a", "a", "NA"]
    assert pairing.segments["reference"].isna().all() and pairing.segments["n_raters"].eq(0).all()
    assert pairing.by_rater.shape == (4, 0) and pairing.unmatched_ratings.empty
    assert pairing.unrated_segments == 4 and pairing.recordings_without_subject == ()


def test_recordings_without_subject_and_subjects_without_recording_are_listed(tmp_path: Path) -> None:
    segments = THREE + "b,0,3,5,scored\nc,0,3,5,scored\n"
    subjects = "recording,subject\na,S1\nb,S1\ny,S1\nz,S9\n"
    pairing = paired(tmp_path, segments, None, subjects)
    assert pairing.segments["subject"].to_list() == ["S1"] * 4 + ["c"]
    assert pairing.recordings_without_subject == ("c",)
    assert pairing.subjects_without_recording == ("S9",)
    assert pairing.subject_rows_without_scores == ("y", "z")
    with pytest.raises(SettingsError, match="'c' has no row, and its name is that of a subject"):
        paired(tmp_path, segments, None, subjects.replace("S1", "c"))


@pytest.mark.parametrize("hold_s", [-1.0, float("nan"), float("inf")])
def test_a_negative_or_infinite_holding_time_is_refused(tmp_path: Path, hold_s: float) -> None:
    with pytest.raises(SettingsError, match="cannot hold"):
        paired(tmp_path, THREE, "recording,time_s,value\na,0,1\n", hold_s=hold_s)


def test_medians_of_rows_agree_with_numpy_and_empty_rows_stay_empty() -> None:
    draw = np.random.default_rng(1)
    values = draw.normal(size=(200, 5))
    values[draw.random(values.shape) < 0.4] = np.nan
    values[7] = np.nan
    medians, counts = row_medians(values)
    some = counts > 0
    np.testing.assert_allclose(medians[some], np.nanmedian(values[some], axis=1), atol=1e-15)
    assert np.isnan(medians[~some]).all() and not some[7]
    assert row_medians(np.empty((3, 0)))[1].tolist() == [0, 0, 0]


def test_pairing_of_a_study_agrees_with_a_loop_over_its_rows(tmp_path: Path) -> None:
    make_study(tmp_path, recordings=12, seed=2)
    scores, ratings = read_scores([tmp_path / "scores.csv"]), read_ratings(tmp_path / "ratings.csv")
    subjects = read_subjects(tmp_path / "subjects.csv")
    pairing = pair(scores, ratings, subjects)
    expected = []
    rows = ratings.rows
    columns = (scores.segments[name] for name in ("recording", "start_s", "end_s"))
    for recording, start_s, end_s in zip(*columns, strict=True):
        of_recording = rows[rows["recording"] == recording]
        overlap_s = of_recording["end_s"].clip(upper=end_s) - of_recording["start_s"].clip(lower=start_s)
        shorter_s = (of_recording["end_s"] - of_recording["start_s"]).clip(upper=end_s - start_s)
        of_recording = of_recording[overlap_s >= 0.5 * shorter_s - 1e-6]
        expected.append(of_recording.groupby("rater")["value"].median().median() if len(of_recording) else np.nan)
    np.testing.assert_allclose(pairing.segments["reference"], expected, atol=1e-12)
    assert pairing.unmatched_ratings["why"].value_counts().to_dict() == {BEYOND: 3, NO_RECORDING: 2}
    assert len(pairing.unrated_recordings) == 1
    assert pairing.segments["subject"].isin(list(subjects.subject_of.values())).all()
    assert set(read_events(tmp_path / "events.csv").rows["recording"]) <= set(map(str, scores.segments["recording"]))
    both = scores.segments.columns.difference(pairing.segments.columns)
    assert both.empty and "reference" not in scores.segments


def test_ratings_of_thousands_of_recordings_stay_within_their_recording(tmp_path: Path) -> None:
    n_recordings, n_segments = 10_000, 10
    recording = np.repeat(np.arange(n_recordings), n_segments)
    names = np.array([f"r{number:05d}" for number in range(n_recordings)])[recording]
    start_s = np.tile(3.0 * np.arange(n_segments), n_recordings)
    table = {"recording": names, "start_s": start_s, "end_s": start_s + 3.0, "score": 5.0, "status": "scored"}
    pd.DataFrame(table).to_parquet(tmp_path / "scores.parquet")
    rated = {"recording": names[::3], "time_s": start_s[::3], "value": recording[::3] % 11}
    pd.DataFrame(rated).to_parquet(tmp_path / "ratings.parquet")
    pairing = pair(read_scores([tmp_path / "scores.parquet"]), read_ratings(tmp_path / "ratings.parquet"), None)
    reference = pairing.segments["reference"]
    assert reference.notna().mean() > 0.5
    expected = pairing.segments["recording"].astype(str).str[1:].astype(int) % 11
    assert (reference[reference.notna()] == expected[reference.notna()]).all()
