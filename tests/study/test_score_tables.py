"""Reading score tables, ratings, subjects and events: what is accepted, and what is refused and how."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest

from avpenet_cli import schemas
from avpenet_cli.errors import SettingsError
from avpenet_cli.records import Flag, Quality, SegmentScore, Status
from avpenet_cli.study.ratings import read_events, read_ratings
from avpenet_cli.study.score_tables import Scores, read_scores, scored_differently, scores_digest
from avpenet_cli.study.subjects import NOT_STATED, read_subjects
from avpenet_cli.tables import COLUMNS, Row, row, write_table
from examples.make_study import make_study

MARK = "w@0123456789ab research"
HEADER = "recording,start_s,end_s,score,status\n"


def table_rows(recording: str = "a.mp4", scores: tuple[float | None, ...] = (1.0, None, 7.5)) -> list[Row]:
    return [
        row(
            recording,
            SegmentScore(
                segment=number,
                start_s=3.0 * number,
                end_s=3.0 * number + 3.0,
                status=Status.UNSCORABLE if score is None else Status.SCORED,
                quality=Quality(face_rate=0.9, faces=1),
                score=score,
                label="" if score is None else "low",
                reason="no_face" if score is None else "",
                flags=(Flag.NO_FACE, Flag.LOW_SNR) if score is None else (),
            ),
            MARK,
        )
        for number, score in enumerate(scores)
    ]


def written(folder: Path, text: str | bytes, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(read: Callable[[Path], object], path: Path) -> str:
    with pytest.raises(SettingsError) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert caught.value.remedy
    return str(caught.value)


def read_one(path: Path) -> Scores:
    return read_scores([path])


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_tables_read_the_same_in_every_format(tmp_path: Path, suffix: str) -> None:
    names = ("007", "NA", "null", "", "naïve, “x”;\n\ty\r.mp4", "<b>&.mp4")
    rows = [segment for name in names if name for segment in table_rows(name)]
    digest = write_table(tmp_path / f"t{suffix}", rows)
    scores = read_one(tmp_path / f"t{suffix}")
    segments = scores.segments
    assert list(segments.columns) == [*(column.name for column in COLUMNS), "source"]
    assert list(segments["recording"].cat.categories) == [name for name in names if name]
    assert segments["score"].to_list()[::3] == [1.0] * 5 and segments["score"].isna().sum() == 5
    assert segments["flags"].to_list()[:2] == ["", "no_face low_snr"] and segments["reason"].to_list()[0] == ""
    assert segments["faces"].dtype == segments["segment"].dtype == np.float64
    assert segments["score_sd"].isna().all()
    assert scores.weights == MARK and scores.cut_points == (3.0, 6.0)
    (source,) = scores.sources
    assert (source.name, source.sha256, source.rows) == (f"t{suffix}", digest, 15)
    assert source.manifest_state == "absent" and source.manifest is None


def test_names_that_look_like_formulas_are_read_back_from_a_file_for_excel(tmp_path: Path) -> None:
    names = ["=1+1.mp4", "-dash.mp4", "'@at.mp4", "'quoted'.mp4"]
    rows = [segment for name in names for segment in table_rows(name)]
    for name in ("t.csv", "t.parquet"):
        write_table(tmp_path / name, rows, byte_order_mark=True)
        assert list(read_one(tmp_path / name).segments["recording"].cat.categories) == names


def test_data_frames_read_like_files(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    write_table(path, table_rows())
    frame = pd.read_csv(path, keep_default_na=False, na_values={"score": "", "face_rate": ""})
    frame["status"] = frame["status"].astype("category")
    from_file, from_frame = read_one(path), read_scores([frame])
    pd.testing.assert_frame_equal(from_frame.segments, from_file.segments)
    (source,) = from_frame.sources
    assert (source.name, source.rows, source.manifest_state) == ("DataFrame", 3, "absent")
    assert len(source.sha256) == 64


def test_invalid_data_frames_are_refused_with_their_row() -> None:
    frame = pd.DataFrame({"recording": ["a", "a"], "start_s": [0, 3], "end_s": [3, 6], "status": "scored"})
    with pytest.raises(SettingsError, match="row 2: score is outside 0 to 10"):
        read_scores([frame.assign(score=[5.0, 11.0])])
    with pytest.raises(SettingsError, match="DataFrame is not a score table: no column score"):
        read_scores([frame])
    with pytest.raises(SettingsError, match="DataFrame cannot be read as a score table"):
        read_scores([frame.assign(score=pd.Series([5.0, {"nested"}], dtype=object))])


def test_rows_of_two_tables_are_ordered_and_name_their_source(tmp_path: Path) -> None:
    write_table(tmp_path / "one.csv", reversed(table_rows("b.mp4")))
    write_table(tmp_path / "two.parquet", [*table_rows("a.mp4"), *table_rows("c.mp4")])
    segments = read_scores([tmp_path / "one.csv", tmp_path / "two.parquet"]).segments
    assert segments["recording"].to_list() == ["b.mp4"] * 3 + ["a.mp4"] * 3 + ["c.mp4"] * 3
    assert segments["start_s"].to_list() == [0.0, 3.0, 6.0] * 3
    assert segments["source"].to_list() == [0] * 3 + [1] * 6
    assert segments.index.to_list() == list(range(9))


def test_optional_columns_that_a_table_lacks_are_missing_values(tmp_path: Path) -> None:
    scores = read_one(written(tmp_path, HEADER + "a,0,3,5,scored\n"))
    assert scores.weights == ""
    assert scores.segments[["flags", "label", "face_rate", "weights"]].isna().to_numpy().all()


def test_spreadsheet_exports_with_semicolons_commas_and_empty_rows_are_read(tmp_path: Path) -> None:
    text = "\ufeff" + "Recording;start_s;end_s;score;status;\r\n" + "x,y;0;3;5,25;scored;\r\n;;;;;\r\n"
    scores = read_one(written(tmp_path, text))
    assert scores.segments["score"].to_list() == [5.25]
    assert scores.segments["recording"].to_list() == ["x,y"]
    tabs = read_one(written(tmp_path, (HEADER + "a,0,3,5,scored\n").replace(",", "\t")))
    assert tabs.segments["end_s"].to_list() == [3.0]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("a,b\n1,2\n", "no column recording, start_s, end_s, score, status"),
        (HEADER, "is empty"),
        (HEADER + "a,0,3,5,scored\na,3,6,high,scored\n", "line 3: score is 'high', not a number"),
        (HEADER + "a,0,3,nan,scored\n", "line 2: score is 'nan', not a number"),
        (HEADER + "a,0,inf,1,scored\n", "line 2: end_s is 'inf', not a number"),
        (HEADER + 'a,0,3,"5,2",scored\n', "line 2: score is '5,2', not a number"),
        (HEADER + "a,0,3,10.01,scored\n", "line 2: score is outside 0 to 10"),
        (HEADER + "a,0,3,-1,scored\n", "line 2: score is outside 0 to 10"),
        (HEADER + "a,0,3,,scored\n", "line 2: the segment is scored, but has no score"),
        (HEADER + "a,0,3,4,unscorable\n", "line 2: the segment is unscorable, but has a score"),
        (HEADER + "a,0,3,4,Scored\n", "line 2: status is neither"),
        (HEADER + "a,3,3,4,scored\n", "line 2: end_s is missing or not after start_s"),
        (HEADER + "a,0,,4,scored\n", "line 2: end_s is missing or not after start_s"),
        (HEADER + ",0,3,4,scored\n", "line 2: recording is empty"),
        (HEADER + "\n\na,0,3,4,scored\n\n" + '"b\nc",0,3,4,scored\nd,0,3,x,scored\n', "line 8: score is 'x'"),
        (HEADER + "a,0,3,x,scored\n" * 5, "lines 2, 3, 4 and 2 more: score is 'x'"),
        (HEADER + "a,0,3,4,scored,x\n", "line 2 has 6 cells, the header 5"),
        (HEADER + 'a,0,3,4,scored\n"b,0,3,4,scored\n', "line 3 has 1 cell, the header 5"),
        (HEADER + 'a,0,3,4,scored\n"b' + ",0,3,4,scored\n" * 20_000, "has another number of cells"),
        (HEADER.replace("\n", ",flags\n") + 'a,0,3,4,scored,"\nb,0,3,4,scored,\n', "a quote is opened and not closed"),
        (HEADER + "a,0,3,4,scored\nb,0,3,4,scored\na,0,3.0,5,scored\n", "line 2 and "),
        ("recording,recording\na,b\n", "two columns are named 'recording'"),
        ("recording,\na,b\n", "column 2 has no name"),
        ("recording".encode("utf-32"), "is in UTF-32"),
        (HEADER + "a,0,3,4,sco\0red\n", "line 2 has a NUL character"),
        ((HEADER + "M\u00fcller,0,3,4,scored\n").encode("cp1252"), "not in UTF-8"),
    ],
)
def test_invalid_rows_are_refused_with_their_line(tmp_path: Path, lines: str | bytes, message: str) -> None:
    path = written(tmp_path, lines)
    refused = refusal(read_one, path)
    assert message in refused and str(path) in refused


def test_files_that_are_not_tables_are_refused(tmp_path: Path) -> None:
    assert "no such file" in refusal(read_one, tmp_path / "gone.csv")
    assert f"{tmp_path} is a folder; give the path of a score table" in refusal(read_one, tmp_path)
    assert "cannot tell the format" in refusal(read_one, written(tmp_path, "x", "t.xlsx"))
    packed = gzip.compress(b"recording")
    for name in ("t.csv", "t.parquet", "t.jsonl"):
        assert "t." in refusal(read_one, written(tmp_path, packed, name))
    assert "line 2 is not a JSON object" in refusal(read_one, written(tmp_path, '{"recording": "a"}\n[1]\n', "t.jsonl"))
    assert "is empty" in refusal(read_one, written(tmp_path, "{}\n", "t.jsonl"))
    odd = pd.DataFrame({"recording": [["a"]], "start_s": [0.0], "end_s": [3.0], "score": [True], "status": ["scored"]})
    odd.to_parquet(tmp_path / "odd.parquet")
    assert "column recording has list" in refusal(read_one, tmp_path / "odd.parquet")
    odd.assign(recording="a").to_parquet(tmp_path / "odd.parquet")
    assert "row 1: score is 'True', not a number" in refusal(read_one, tmp_path / "odd.parquet")
    with pytest.raises(SettingsError, match="no score table was given"):
        read_scores([])


def test_json_lines_may_mix_integers_fractions_and_null(tmp_path: Path) -> None:
    first = {"recording": 7, "start_s": 0, "end_s": 3, "score": 5, "status": "scored"}
    many = [first | {"start_s": 3 * n, "end_s": 3 * n + 3, "score": 5 if n < 60_000 else 5.5} for n in range(60_002)]
    many[3] |= {"score": None, "status": "unscorable", "reason": "no_face"}
    path = written(tmp_path, "\n\n".join(json.dumps(row) for row in many), "t.jsonl")
    segments = read_one(path).segments
    assert segments["score"].iloc[[0, -1]].to_list() == [5.0, 5.5]
    assert segments["recording"].cat.categories.to_list() == ["7"]
    many[60_001]["score"] = "high"
    written(tmp_path, "\n\n".join(json.dumps(row) for row in many), "t.jsonl")
    assert "line 120003: score is 'high'" in refusal(read_one, path)


def test_the_digest_over_scores_is_of_the_tables_own_names(tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv", [*table_rows("Ward/Zoe\u0308 1.mp4"), *table_rows("b.mp4")])
    scores = read_one(tmp_path / "t.csv")
    matched = scores.matched_to(["b.mp4", "ward/Zoë 1.mp4"]).matched_to(["ward/zoë 1.mp4", "b.mp4"])
    assert set(matched.segments["recording"]) == {"ward/zoë 1.mp4", "b.mp4"}
    assert scores_digest(matched) == scores_digest(scores)


def test_a_segment_in_two_tables_is_refused_with_both_lines(tmp_path: Path) -> None:
    write_table(tmp_path / "one.csv", table_rows())
    write_table(tmp_path / "two.jsonl", table_rows())
    with pytest.raises(SettingsError, match=r"one\.csv line 2 and .*two\.jsonl line 1: the same segment of 'a\.mp4'"):
        read_scores([tmp_path / "one.csv", tmp_path / "two.jsonl"])


def test_two_weights_are_refused_within_a_table_and_across(tmp_path: Path) -> None:
    others = [segment | {"weights": "v@2"} for segment in table_rows("b.mp4")]
    write_table(tmp_path / "both.csv", [*table_rows(), *others])
    message = refusal(read_one, tmp_path / "both.csv")
    assert "v@2" in message and MARK in message and "--compare" in message
    write_table(tmp_path / "one.csv", table_rows())
    write_table(tmp_path / "two.csv", others)
    with pytest.raises(SettingsError, match=r"one\.csv was scored with .*two\.csv with 'v@2'"):
        read_scores([tmp_path / "one.csv", tmp_path / "two.csv"])


def manifest(folder: Path, name: str, digest: str, cut_points: Any = (4.0, 7.0), file: str = "", **stated: Any) -> None:
    weights = {"name": "w", "digest": "0123456789ab" + "0" * 52, "cut_points": cut_points}
    plain = {
        "table": {"file": file or f"{name}.csv", "sha256": digest, "rows": 3},
        "weights": weights,
        "software": {},
        "timing": {"finished": "2026-11-01T00:00:00+00:00"},
        "recordings": [],
        **stated,
    }
    (folder / f"{name}.run.json").write_text(json.dumps(plain))


def test_a_manifest_counts_only_for_the_table_it_names(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    digest = write_table(path, table_rows())
    manifest(tmp_path, "t", digest)
    scores = read_one(path)
    assert scores.sources[0].manifest_state == "verified" and scores.cut_points == (4.0, 7.0)
    path.write_bytes(path.read_bytes().replace(b"7.500", b"7.400"))
    scores = read_one(path)
    # An edited table still has the manifest's weights, and with them its cut points.
    assert scores.sources[0].manifest_state == "altered" and scores.cut_points == (4.0, 7.0)
    path.write_bytes(path.read_bytes().replace(b"w@", b"v@"))
    assert read_one(path).cut_points == (3.0, 6.0)
    manifest(tmp_path, "t", digest, file="t.parquet")
    assert read_one(path).sources[0].manifest_state == "absent"
    for broken in ("{", "[]", '{"table": 1}', '{"table": {}}'):
        (tmp_path / "t.run.json").write_text(broken)
        assert read_one(path).sources[0].manifest_state == "unreadable"
    manifest(tmp_path, "t", read_one(path).sources[0].sha256, cut_points=[7, 4])
    assert "cut points" in refusal(read_one, path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ({}, {}, ""),
        (
            {"software": {"avpenet": "0.1.0"}},
            {"results_version": 3, "software": {"avpenet": "0.2.0"}},
            "(0.1.0 and 0.2",
        ),
        ({"settings": {"stride_s": 3.0}}, {"settings": {"stride_s": 1.0}}, "stride_s 3.0 and 1.0"),
        ({"settings": {"quality": {"low_snr_db": 5.0}}}, {"settings": {}}, "quality.low_snr_db 5.0 and "),
        ({"settings": dict.fromkeys("abcdef", 1)}, {"settings": {}}, " and 2 more"),
        ({"settings": {"workers": 1, "mc_samples": 0, "seed": 1}}, {"settings": {"workers": 2, "mc_samples": 50}}, ""),
        ({"settings": [3]}, {"settings": [4]}, ""),
    ],
)
def test_tables_that_were_not_scored_alike_are_named(
    tmp_path: Path, old: dict[str, Any], new: dict[str, Any], said: str
) -> None:
    for name, stated in (("a", old), ("b", new)):
        digest = write_table(tmp_path / f"{name}.csv", table_rows(f"{name}.mp4"))
        manifest(tmp_path, name, digest, **stated)
    write_table(tmp_path / "c.csv", table_rows("c.mp4"))  # nothing is known of it
    text = scored_differently(read_scores([tmp_path / f"{name}.csv" for name in "cab"]).sources)
    assert said in text
    assert text.startswith("a.csv and b.csv were scored ") if said else not text


def test_manifests_with_different_cut_points_are_refused(tmp_path: Path) -> None:
    for name, cut_points in (("a", (3.0, 6.0)), ("b", (4.0, 7.0))):
        manifest(tmp_path, name, write_table(tmp_path / f"{name}.csv", table_rows(f"{name}.mp4")), cut_points)
    with pytest.raises(SettingsError, match=r"the cut points of a\.csv are \(3\.0, 6\.0\), those of b\.csv"):
        read_scores([tmp_path / "a.csv", tmp_path / "b.csv"])


def test_ratings_of_every_scale_are_rescaled_to_ten_points(tmp_path: Path) -> None:
    text = (
        "recording,time_s,value,scale,rater\n"
        "a,0,7,nips,x\na,1,4,NIPS:7,x\na,2,8,CPOT,x\na,3,10,FLACC,x\na,4,100,VAS,y\na,5,5, VAS:0:10 ,y\n"
        "a,6,7.5,bps,\na,7,3,,\n"
    )
    ratings = read_ratings(written(tmp_path, text))
    expected = [10.0, 40 / 7, 10.0, 10.0, 10.0, 5.0, 5.0, 3.0]
    assert ratings.rows["value"].to_list() == pytest.approx(expected, abs=1e-12)
    assert ratings.rows["value"].max() == 10.0
    assert ratings.scales == ("NIPS", "CPOT", "FLACC", "VAS", "VAS:10", "BPS", "NRS")
    assert ratings.raters == ("x", "y", "rater")
    assert ratings.rows["line"].to_list() == list(range(2, 10))
    assert ratings.rows["end_s"].isna().all()
    plain = read_ratings(written(tmp_path, "recording,start_s,end_s,value\n007,1.5,4,10\n"))
    assert plain.rows.iloc[0].to_list() == [2, "007", 1.5, 4.0, 10.0, "rater", "NRS"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("recording,value\na,1\n", "found neither"),
        ("recording,time_s,start_s,end_s,value\na,1,1,2,3\n", "found time_s, start_s, end_s"),
        ("recording,start_s,value\na,1,3\n", "found start_s"),
        ("time_s,value\n1,3\n", "no column recording"),
        (
            "recording,time_s,value,scale\na,1,7,NIPS\na,2,8,NIPS\n",
            "line 3: value 8 is outside its scale, NIPS from 0 to 7",
        ),
        ("recording,time_s,value\na,1,-1\n", "line 2: value -1 is outside its scale, NRS from 0 to 10"),
        ("recording,time_s,value\na,1,three\n", "line 2: value is 'three', not a number"),
        ("recording,time_s,value\na,1,\n", "line 2: value is empty"),
        ("recording,time_s,value\na,,1\n", "line 2: time_s is empty or negative"),
        ("recording,time_s,value\na,-1,1\n", "line 2: time_s is empty or negative"),
        ("recording,start_s,end_s,value\na,3,3,1\n", "line 2: end_s is empty or not after start_s"),
        ("recording,time_s,value,scale\na,1,1,COMFORT\n", "line 2: unknown scale 'COMFORT'"),
        ("recording,time_s,value,scale\na,1,1,X:0\n", "line 2: scale 'X:0' has no range"),
        ("recording,time_s,value\na,1,1\na,1.0,2\n", "line 3: the same recording, rater and time"),
        ("recording,time_s,value\n", "is empty"),
    ],
)
def test_invalid_ratings_are_refused_with_their_line(tmp_path: Path, text: str, message: str) -> None:
    assert message in refusal(read_ratings, written(tmp_path, text))


def test_subjects_keep_codes_as_text_and_mark_empty_cells(tmp_path: Path) -> None:
    subjects = read_subjects(written(tmp_path, "recording,subject,site,age\na,007,NA,01\nb,007,,\na,007,NA,01\n"))
    assert subjects.subject_of == {"a": "007", "b": "007"}
    assert subjects.columns == ("site", "age") and subjects.table.index.to_list() == ["a", "b"]
    assert subjects.table.to_numpy().tolist() == [["NA", "01"], [NOT_STATED, NOT_STATED]]
    assert subjects.file.rows == 3
    alone = read_subjects(written(tmp_path, "recording,subject\na,1\n"))
    assert alone.columns == () and alone.table.index.to_list() == ["a"]


def test_contradictory_subjects_are_refused(tmp_path: Path) -> None:
    assert "line 3: recording 'a' has an earlier row that differs" in refusal(
        read_subjects, written(tmp_path, "recording,subject\na,1\na,2\n")
    )
    assert "line 2: subject is empty" in refusal(read_subjects, written(tmp_path, "recording,subject\na,\n"))
    assert "no column subject" in refusal(read_subjects, written(tmp_path, "recording\na\n"))


def test_events_are_read_and_their_times_checked(tmp_path: Path) -> None:
    events = read_events(written(tmp_path, "recording,time_s,label\na,1.5,<lance>\n"))
    assert events.rows.iloc[0].to_list() == ["a", 1.5, "<lance>"]
    assert "line 2: time_s" in refusal(read_events, written(tmp_path, "recording,time_s,label\na,soon,x\n"))
    assert "line 2: label is empty" in refusal(read_events, written(tmp_path, "recording,time_s,label\na,1,\n"))


def test_the_simulated_study_is_reproducible_and_valid(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        make_study(tmp_path / folder, recordings=12, seed=3)
    for path in sorted((tmp_path / "one").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
    scores = read_one(tmp_path / "one" / "scores.csv")
    (source,) = scores.sources
    assert source.manifest_state == "verified" and source.manifest is not None
    schema = Path(schemas.__file__).parent / "manifest.schema.json"
    jsonschema.validate(source.manifest, json.loads(schema.read_text(encoding="utf-8")))
    seconds = source.manifest["totals"]["seconds"]
    accounted = seconds["scored"] + seconds["undecodable"] + sum(seconds["unscorable"].values())
    assert seconds["nominal"] == pytest.approx(accounted, abs=0.1)
    new = read_one(tmp_path / "one" / "scores-new.csv")
    assert new.weights != scores.weights
    same = [name for name in scores.segments if name not in ("score", "label", "weights")]
    pd.testing.assert_frame_equal(scores.segments[same], new.segments[same])
    with pytest.raises(ValueError, match="at least 4 recordings"):
        make_study(tmp_path / "none", recordings=1)
