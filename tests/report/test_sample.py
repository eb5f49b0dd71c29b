"""A report on a sample that was fixed beforehand: what it checks, what it refuses, and the weights of the archive."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest

from avpenet_cli.ratings.sampling import SampleRequest, draw_sample
from avpenet_cli.report.run import analyse
from avpenet_cli.schemas import schemas
from avpenet_cli.study.pack import Pack
from avpenet_cli.study.score_tables import read_scores, scores_digest
from tests.conftest import Answer
from tests.support.reports import FEW_RESAMPLES, Avpenet, strict_json, twelve_recordings, write_scores

LIMIT = ("--limit", "2", "--limit-source", "protocol 7")


def truth(score: float) -> float:
    """A rating whose difference from the score grows with the score, so that weights matter."""
    return round(0.7 * score, 3)


def drawn(folder: Path, **changes: Any) -> Pack:
    """Write scores.csv and a pack of them, and ratings.csv by all raters; most scores are low."""
    rows = [(name, start, (score or 0.0) ** 2 / 10) for name, start, score in twelve_recordings(480)]
    scores = write_scores(folder / "scores.csv", rows)
    score_of = {(name, f"{start:.3f}"): score for name, start, score in rows}
    settings: dict[str, Any] = {
        "n": 60,
        "stratify": ("score",),
        "raters": 2,
        "limit_points": 2.0,
        "limit_source": "protocol 7",
    }
    pack = draw_sample(SampleRequest((str(scores),), out=folder / "pack", **(settings | changes))).pack
    rated = []
    for rater in pack.design.raters:
        with (folder / "pack" / rater / "ratings.csv").open() as file:
            rated += list(csv.DictReader(file))
    for row in rated:
        row["value"] = str(truth(score_of[row["recording"], row["start_s"]]))
    write_rows(folder / "ratings.csv", rated)
    return pack


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def report(avpenet: Avpenet, folder: Path, *options: str | Path, limit: tuple[str, ...] = LIMIT) -> Answer:
    tables = (folder / "scores.csv", "--reference", folder / "ratings.csv", "--pack", folder / "pack" / "pack.json")
    return avpenet("report", *tables, *limit, *FEW_RESAMPLES, "--out", folder / "r.html", *options)


def test_a_report_shows_that_sample_and_limit_were_fixed(avpenet_here: Avpenet, tmp_path: Path) -> None:
    pack = drawn(tmp_path)
    done = report(avpenet_here, tmp_path)
    assert done.code == 0, done.err
    assert "120 of 120 planned ratings" in done.out
    document = strict_json((tmp_path / "r.json").read_text())
    jsonschema.validate(document, schemas()["report.schema.json"])
    section = document["sample"]
    assert section["digest"] == pack.digest
    assert section["named_by_ratings"]
    assert section["same_files"]
    assert [stratum["rated"] for stratum in section["strata"]] == [20, 20, 20]
    assert document["headline"]["n_pairs"] == 60
    page = (tmp_path / "r.html").read_text()
    assert "Sample fixed beforehand" in page
    assert pack.digest in page
    assert any("stratified by score" in notice["text"] for notice in document["notices"])


def test_a_table_with_another_column_or_format_has_the_same_scores(tmp_path: Path) -> None:
    pack = drawn(tmp_path)
    table = pd.read_csv(tmp_path / "scores.csv").iloc[::-1]
    table.assign(calibrated=table["score"] + 1).to_parquet(tmp_path / "again.parquet")
    assert scores_digest(read_scores([tmp_path / "again.parquet"])) == pack.scores_digest
    changed = table.assign(score=table["score"].mask(table["score"] > 9.2, 9.2))
    assert scores_digest(read_scores([changed])) != pack.scores_digest


def test_weights_bring_the_bias_of_the_sample_to_that_of_the_archive(avpenet_here: Avpenet, tmp_path: Path) -> None:
    drawn(tmp_path, n=240)
    done = report(avpenet_here, tmp_path)
    assert done.code == 0 and "the figures above are of this sample; weighted, for the archive:" in done.out
    page = (tmp_path / "r.html").read_text()
    assert "95 of 100 segments of the sample, whose mix is not the archive&#39;s" in page
    assert "Weighted for the archive: " in page
    document = json.loads((tmp_path / "r.json").read_text())
    scores = np.array([float(row["score"]) for row in rows_of(tmp_path / "scores.csv")])
    of_archive = float(np.mean(scores - [truth(score) for score in scores]))
    weighted, plain = document["sample"]["weighted_bias"]["value"], document["agreement"]["limits"]["bias"]["value"]
    assert plain - of_archive > 0.3
    assert weighted == pytest.approx(of_archive, abs=0.06)


def test_rated_segments_stand_for_the_unrated_ones_of_their_stratum(avpenet_here: Avpenet, tmp_path: Path) -> None:
    drawn(tmp_path, n=240)
    score_of = {
        (row["recording"], float(row["start_s"])): float(row["score"]) for row in rows_of(tmp_path / "scores.csv")
    }
    rows = rows_of(tmp_path / "ratings.csv")
    low = [row for row in rows if score_of[row["recording"], float(row["start_s"])] <= 3]
    segments = sorted({(row["recording"], row["start_s"]) for row in low})
    lost = set(segments[::4] + segments[1::4] + segments[2::4])
    write_rows(tmp_path / "ratings.csv", [row for row in rows if (row["recording"], row["start_s"]) not in lost])
    assert report(avpenet_here, tmp_path).code == 0
    of_archive = float(np.mean([score - truth(score) for score in score_of.values()]))
    section = json.loads((tmp_path / "r.json").read_text())["sample"]
    assert section["unrated_segments"] == len(lost) > 50
    # 1.5 where the missing ratings of low scores only lower their weight.
    assert section["weighted_bias"]["value"] == pytest.approx(of_archive, abs=0.1)
    assert "Rated segments stand for the unrated ones of their stratum" in (tmp_path / "r.html").read_text()


def test_missing_ratings_are_counted_and_listed(avpenet_here: Avpenet, tmp_path: Path) -> None:
    drawn(tmp_path)
    rows = rows_of(tmp_path / "ratings.csv")
    first = (rows[0]["recording"], rows[0]["start_s"])
    write_rows(tmp_path / "ratings.csv", [row for row in rows[1:] if (row["recording"], row["start_s"]) != first][1:])
    assert report(avpenet_here, tmp_path).code == 0
    section = json.loads((tmp_path / "r.json").read_text())["sample"]
    assert (section["planned"], section["found"], section["unrated_segments"]) == (120, 117, 1)
    assert sorted(row["found"] for row in section["missing"]) == [0, 1]


def test_ratings_that_do_not_name_the_pack_prove_nothing_about_time(avpenet_here: Avpenet, tmp_path: Path) -> None:
    drawn(tmp_path)
    rows = [{k: v for k, v in row.items() if k != "pack"} for row in rows_of(tmp_path / "ratings.csv")]
    write_rows(tmp_path / "ratings.csv", rows)
    assert report(avpenet_here, tmp_path).code == 0
    assert not json.loads((tmp_path / "r.json").read_text())["sample"]["named_by_ratings"]
    assert "not shown by the files" in (tmp_path / "r.html").read_text()


def test_neighbours_of_a_sampled_segment_get_no_reference(avpenet_here: Avpenet, tmp_path: Path) -> None:
    """With overlapping segments a rating overlaps the sampled one's neighbours by half."""
    rows = [(f"r{i}.mp4", 1.5 * k, float(k % 10)) for i in range(6) for k in range(20)]
    scores = write_scores(tmp_path / "scores.csv", rows)
    pack = draw_sample(SampleRequest((str(scores),), n=12, out=tmp_path / "pack", raters=1)).pack
    sheet = rows_of(tmp_path / "pack" / "rater-1" / "ratings.csv")
    write_rows(tmp_path / "ratings.csv", [row | {"value": "3"} for row in sheet])
    assert analyse(str(scores), str(tmp_path / "ratings.csv")).headline.n_pairs > 12
    assert report(avpenet_here, tmp_path, limit=()).code == 0
    assert json.loads((tmp_path / "r.json").read_text())["headline"]["n_pairs"] == len(pack.segments) == 12


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        (
            ("--limit", "3", "--limit-source", "x"),
            "fixed a limit of 2 points before the ratings, this report has a limit",
        ),
        ((), "fixed a limit of 2 points before the ratings, this report has no limit; give --limit 2"),
    ],
)
def test_another_limit_is_refused(avpenet_here: Avpenet, tmp_path: Path, limit: tuple[str, ...], message: str) -> None:
    drawn(tmp_path)
    done = report(avpenet_here, tmp_path, limit=limit)
    assert done.code == 2
    assert message in done.err
    assert not (tmp_path / "r.html").exists()


def changed_scores(folder: Path) -> None:
    path = folder / "scores.csv"
    path.write_text(path.read_text().replace(",9.604,", ",9.605,", 1))
    assert ",9.605," in path.read_text()


def foreign_rating(folder: Path) -> None:
    rows = rows_of(folder / "ratings.csv")
    write_rows(folder / "ratings.csv", [*rows, rows[0] | {"start_s": "900", "end_s": "903"}])


def other_pack(folder: Path) -> None:
    rows = rows_of(folder / "ratings.csv")
    write_rows(folder / "ratings.csv", [*rows[:-1], rows[-1] | {"pack": "0123456789abcdef"}])


def edited_pack(folder: Path) -> None:
    path = folder / "pack" / "pack.json"
    path.write_text(path.read_text().replace('"limit_points": 2.0', '"limit_points": 3.0'))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed_scores, "scores.csv: not the scores that were sampled, which were those of scores.csv"),
        (foreign_rating, "the rating in line 122, of 'rec"),
        (other_pack, "ratings name pack '0123456789abcdef'"),
        (edited_pack, "was changed after it was written"),
    ],
)
def test_what_was_not_fixed_beforehand_is_refused_in_one_line(
    avpenet_here: Avpenet, tmp_path: Path, change: Any, message: str
) -> None:
    drawn(tmp_path)
    change(tmp_path)
    done = report(avpenet_here, tmp_path)
    assert done.code == 2
    assert message in done.err
    assert done.err.count("\n") == 1


def test_a_pack_without_ratings_is_refused(avpenet_here: Avpenet, tmp_path: Path) -> None:
    drawn(tmp_path)
    done = avpenet_here(
        "report", tmp_path / "scores.csv", "--pack", tmp_path / "pack" / "pack.json", "--out", tmp_path / "r.html"
    )
    assert done.code == 2
    assert "--pack without --reference" in done.err
