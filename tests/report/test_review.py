"""The list of segments to review, filled in and read again: counted, never a rating, and no other list's."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from avpenet_cli import schemas
from avpenet_cli.errors import SettingsError
from avpenet_cli.report.review import ReviewList, disagreements
from avpenet_cli.report.review_answers import match_answers, read_answers
from avpenet_cli.report.review_sample import draw_control
from avpenet_cli.report.run import analyse
from avpenet_cli.study.pairing import pair
from avpenet_cli.study.ratings import read_ratings
from avpenet_cli.study.score_tables import read_scores
from avpenet_cli.study.subjects import read_subjects
from avpenet_cli.study.tables import match_tables
from tests.support.reports import Avpenet, run_report, strict_json, twelve_recordings, write_ratings, write_scores

Rows = list[dict[str, str]]
Change = Callable[[Rows], None]
BIAS_POINTS = 1.0


@pytest.fixture(scope="module")
def folder(avpenet_here: Avpenet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scores of twelve patients, some without one, and the report that makes the list."""
    folder = tmp_path_factory.mktemp("review")
    rows = [
        (name, start, None if place % 30 == 7 else value)
        for place, (name, start, value) in enumerate(twelve_recordings(240))
    ]
    write_scores(folder / "scores.csv", rows)
    subjects = ["recording,subject", *(f"rec{place}.mp4,p{place}" for place in range(12))]
    (folder / "subjects.csv").write_text("\n".join(subjects) + "\n")
    run_report(avpenet_here, folder / "r.html", *tables(folder))
    return folder


def tables(folder: Path) -> list[str | Path]:
    return [folder / "scores.csv", "--subjects", folder / "subjects.csv"]


def score_of(folder: Path) -> dict[tuple[str, float], float]:
    with (folder / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {(row["recording"], float(row["start_s"])): float(row["score"]) for row in rows if row["score"]}


def listed(folder: Path) -> Rows:
    with (folder / "r.review.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def is_blind(row: dict[str, str]) -> bool:
    return row["why"].startswith("score not shown")


def rate_blind(folder: Path, rows: Rows) -> None:
    """Values of the control sample one point below the scores, every fifth five points below."""
    scores = score_of(folder)
    blind = [row for row in rows if is_blind(row)]
    for place, row in enumerate(blind):
        score = scores[row["recording"], float(row["start_s"])]
        below = 5.0 if place % 5 == 0 and score >= 5 else min(BIAS_POINTS, score)
        row["value"] = f"{score - below:.3f}"


def write(path: Path, rows: Rows, delimiter: str = ",", encoding: str = "utf-8") -> Path:
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, rows[0], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_the_list_begins_with_a_sample_that_shows_nothing_of_its_scores(folder: Path) -> None:
    rows, document = listed(folder), strict_json((folder / "r.json").read_text())
    control = document["review"]["control"]
    blind = [row for row in rows if is_blind(row)]
    assert rows[:30] == blind and len(control["segments"]) == 30
    assert [(row["recording"], float(row["start_s"])) for row in blind] == [
        (row["recording"], row["start_s"]) for row in control["segments"]
    ]
    shown = ("score", "reference", "difference", "modalities", "flags", "verdict", "value", "comment")
    assert {row[name] for row in blind for name in shown} == {""}
    assert control["inclusion_probability"] == pytest.approx(30 / control["population"])
    assert control["population"] == document["headline"]["n_scored"]
    assert all(row["why"].startswith("no score") for row in rows[30:]) and len(rows) > 30
    playlist = (folder / "r.review.m3u8").read_text()
    assert playlist.count("score not shown") == 30 and "score 0" not in playlist
    entries = [line.removeprefix("./") for line in playlist.splitlines() if line.startswith("./")]
    assert entries == [row["recording"] for row in rows]


def test_targeted_segments_in_the_sample_are_hidden_and_stated_as_both(
    avpenet_here: Avpenet, folder: Path, tmp_path: Path
) -> None:
    """With ratings far from every score, all segments are targeted."""
    ratings = [(name, start, 10.0 if value < 5 else 0.0) for (name, start), value in score_of(folder).items()]
    reference = write_ratings(tmp_path / "ratings.csv", ratings)
    found = run_report(avpenet_here, tmp_path / "r.html", *tables(folder), "--reference", reference)
    review = found["review"]
    both = [row for row in review["control"]["segments"] if row["sample"] == "both"]
    assert both and {row["sample"] for row in review["rows"]} <= {"targeted", "both"}
    rows = listed(tmp_path)
    assert len(rows) == 30 + review["total"] - len(both)
    assert sum(is_blind(row) for row in rows) == 30


def test_the_control_sample_gives_an_estimate_beside_the_targeted_answers(
    avpenet_here: Avpenet, folder: Path, tmp_path: Path
) -> None:
    rows = listed(folder)
    rate_blind(folder, rows)
    rows[0] |= {"value": "", "verdict": "Can't tell", "comment": "=hidden <b>by</b> a hand"}
    rows[30] |= {"verdict": "agree"}
    filled = write(tmp_path / "filled.csv", rows)
    out = tmp_path / "r.html"
    found = run_report(avpenet_here, out, *tables(folder), "--review", filled)["review"]["filled"]
    scores = score_of(folder)
    differences = [
        scores[row["recording"], float(row["start_s"])] - float(row["value"]) for row in rows if row["value"]
    ]
    assert found["bias"]["value"] == pytest.approx(sum(differences) / 29)
    assert found["bias"]["ci"][0] < found["bias"]["value"] < found["bias"]["ci"][1]
    wrong = sum(difference > 2 for difference in differences)
    assert found["wrong_share"]["value"] == pytest.approx(wrong / 29) and found["wrong_share"]["n"] == 29
    assert found["control"]["too_high"] == wrong and found["control"]["cannot_tell"] == 1
    assert (found["targeted"]["answered"], found["targeted"]["missing"]) == (1, len(rows) - 31)
    assert found["targeted"]["without_score"] == 1
    page = out.read_text()
    assert "targeted, not representative" in page and "=hidden &lt;b&gt;by" in page
    assert "<b>by" not in page


def test_reviews_are_no_ratings(avpenet_here: Avpenet, folder: Path, tmp_path: Path) -> None:
    """Every other section of the report stays as it was."""
    rows = listed(folder)
    rate_blind(folder, rows)
    filled = write(tmp_path / "filled.csv", rows)
    with_review = run_report(avpenet_here, tmp_path / "r.html", *tables(folder), "--review", filled)
    without = run_report(avpenet_here, tmp_path / "s.html", *tables(folder))
    assert with_review["agreement"] is None and with_review["inputs"].pop("review")["name"] == "filled.csv"
    without["inputs"].pop("review")
    for document in (with_review, without):
        for name in ("review", "created", "command"):
            document.pop(name)
    assert with_review == without


def test_the_accepted_difference_decides_what_is_wrong(avpenet_here: Avpenet, folder: Path, tmp_path: Path) -> None:
    ratings = [(name, start, value) for (name, start), value in score_of(folder).items()]
    options = [*tables(folder), "--reference", write_ratings(tmp_path / "ratings.csv", ratings)]
    options += ["--limit", "0.5", "--limit-source", "protocol 7"]
    run_report(avpenet_here, tmp_path / "r.html", *options)
    rows = listed(tmp_path)
    rate_blind(folder, rows)
    filled = write(tmp_path / "filled.csv", rows)
    found = run_report(avpenet_here, tmp_path / "s.html", *options, "--review", filled)["review"]["filled"]
    assert found["tolerance_points"] == 0.5 and found["wrong_share"]["value"] > 0.8


def test_a_partly_filled_list_states_what_is_missing_and_gives_no_estimate(
    avpenet_here: Avpenet, folder: Path, tmp_path: Path
) -> None:
    rows = listed(folder)
    rate_blind(folder, rows[:19])
    # Rows may be deleted, and are missing then.
    filled = write(tmp_path / "filled.csv", rows[:25])
    found = run_report(avpenet_here, tmp_path / "r.html", *tables(folder), "--review", filled)["review"]["filled"]
    assert (found["control"]["answered"], found["control"]["missing"]) == (19, 11)
    for name in ("wrong_share", "bias", "mae"):
        assert found[name]["value"] is None
        assert found[name]["reason"] == "of 30 control segments, 19 with a value; an estimate takes 20"


def test_without_subjects_there_is_no_interval(avpenet_here: Avpenet, folder: Path, tmp_path: Path) -> None:
    scores = folder / "scores.csv"
    run_report(avpenet_here, tmp_path / "r.html", scores)
    rows = listed(tmp_path)
    rate_blind(folder, rows)
    filled = write(tmp_path / "filled.csv", rows)
    found = run_report(avpenet_here, tmp_path / "s.html", scores, "--review", filled)["review"]["filled"]
    assert found["bias"]["value"] is not None and found["bias"]["ci"] == [None, None]
    assert "--subjects" in found["wrong_share"]["reason"]


def test_a_german_spreadsheet_and_another_scale_are_read(avpenet_here: Avpenet, folder: Path, tmp_path: Path) -> None:
    rows = listed(folder)
    rate_blind(folder, rows)
    scores = score_of(folder)
    differences = [
        scores[row["recording"], float(row["start_s"])] - float(row["value"]) for row in rows if row["value"]
    ]
    for row in rows:
        row["scale"] = "VAS"
        row["value"] = f"{10 * float(row['value']):.2f}" if row["value"] else ""
        for name in ("start_s", "end_s", "value"):
            row[name] = row[name].replace(".", ",")
    rows[0]["comment"] = "Mütze verdeckt das Gesicht"
    rows.reverse()
    filled = write(tmp_path / "filled.csv", rows, ";", "utf-16")
    found = run_report(avpenet_here, tmp_path / "r.html", *tables(folder), "--review", filled)["review"]["filled"]
    assert found["bias"]["value"] == pytest.approx(sum(differences) / 30) and found["control"]["values"] == 30
    assert any(row["comment"] == "Mütze verdeckt das Gesicht" for row in found["segments"])


def change(place: int, **cells: str) -> Change:
    return lambda rows: rows[place].update(cells)


@pytest.mark.parametrize(
    ("alter", "words"),
    [
        (change(0, start_s="1.000", end_s="4.000"), "line 2: this segment of"),
        (change(0, recording="other.mp4"), "line 2: this segment of other.mp4 is not in the report's list"),
        (change(0, score="4"), "line 2: score is 4, where the list has none"),
        (change(31, score="4"), "line 33: score is 4, where the list has none"),
        (change(1, verdict="perhaps"), "line 3: verdict is 'perhaps'; write agree, too high"),
        (change(1, verdict="too high"), "line 3: a verdict on a score that the list does not show"),
        (change(31, verdict="too low"), "line 33: the verdict is on a score, and the segment has none"),
        (change(1, value="11"), "line 3: value 11 is outside its scale, NRS from 0 to 10"),
        (change(1, value="some"), "line 3: value is 'some', not a number"),
        (change(1, verdict="cannot tell", value="3"), "line 3: verdict is cannot tell, and there is a value"),
        (lambda rows: rows.append(dict(rows[2])), "the same segment as in an earlier row"),
        (lambda rows: [row.pop("verdict") for row in rows].clear(), "no column verdict"),
    ],
)
def test_an_altered_list_is_refused(folder: Path, tmp_path: Path, alter: Change, words: str) -> None:
    rows = listed(folder)
    alter(rows)
    filled = write(tmp_path / "filled.csv", rows)
    with pytest.raises(SettingsError) as caught:
        analyse(folder / "scores.csv", subjects=folder / "subjects.csv", review=filled)
    assert words in str(caught.value)


def test_answers_to_shown_scores_are_checked_against_them(avpenet_here: Avpenet, folder: Path, tmp_path: Path) -> None:
    ratings = [(name, start, 10.0 if value < 5 else 0.0) for (name, start), value in score_of(folder).items()]
    reference = write_ratings(tmp_path / "ratings.csv", ratings)
    run_report(avpenet_here, tmp_path / "r.html", *tables(folder), "--reference", reference)
    answers = match_to(reference, folder)
    for cells, words in (
        ({"score": "1.234"}, "score is 1.234, in the score table"),
        ({"score": ""}, "score is empty, in the score table"),
        ({"verdict": "too high", "value": "10"}, "verdict is too high, and the value is above the score"),
        ({"verdict": "too-low", "value": "0"}, "verdict is too low, and the value is below the score"),
    ):
        rows = listed(tmp_path)
        middle = next(row for row in rows if row["score"] and 1.5 < float(row["score"]) < 9)
        middle.update(cells)
        with pytest.raises(SettingsError, match=words):
            answers(write(tmp_path / "filled.csv", rows))


def match_to(reference: Path, folder: Path) -> Callable[[Path], object]:
    """Reads a filled-in list of the report on the folder's tables with these ratings."""
    inputs = match_tables(
        read_scores([folder / "scores.csv"]), read_ratings(reference), read_subjects(folder / "subjects.csv")
    )
    segments = pair(inputs.scores, inputs.ratings, inputs.subjects).segments
    scored = segments[segments["status"] == "scored"]
    targeted = disagreements(scored, (-5.0, 5.0), (3.0, 6.0), None)
    listed = ReviewList(targeted, draw_control(scored, 42), segments)
    return lambda path: match_answers(read_answers(path), listed)


def test_another_seed_is_another_list(avpenet_here: Avpenet, folder: Path, tmp_path: Path) -> None:
    filled = write(tmp_path / "filled.csv", listed(folder))
    done = avpenet_here("report", *tables(folder), "--seed", "7", "--review", filled, "--out", tmp_path / "r.html")
    assert done.code == 2 and "--subjects and --seed among them" in done.err
    assert len(done.err.splitlines()) == 1 and [path.name for path in tmp_path.iterdir()] == ["filled.csv"]


def test_a_filled_in_list_is_never_replaced(avpenet_here: Avpenet, folder: Path, tmp_path: Path) -> None:
    rows = listed(folder)
    rows[0]["value"] = "3"
    filled = write(tmp_path / "r.review.csv", rows)
    before = filled.read_bytes()
    done = avpenet_here("report", *tables(folder), "--out", tmp_path / "r.html")
    assert done.code == 2 and "has been filled in" in done.err
    done = avpenet_here("report", *tables(folder), "--review", filled, "--out", tmp_path / "r.html")
    assert done.code == 2 and "would overwrite" in done.err
    assert filled.read_bytes() == before and [path.name for path in tmp_path.iterdir()] == ["r.review.csv"]


def test_a_workbook_and_a_file_that_ends_within_a_row_give_one_line(folder: Path, tmp_path: Path) -> None:
    workbook, half = tmp_path / "filled.csv", tmp_path / "half.csv"
    workbook.write_bytes(b"PK\x03\x04 workbook")
    lines = (folder / "r.review.csv").read_text().splitlines()
    half.write_text("\n".join([*lines[:5], lines[5][: lines[5].index(",") + 3]]))
    for path, words in ((workbook, "save it as CSV UTF-8"), (half, "half.csv: line 6 has 2 cells, the header 12")):
        with pytest.raises(SettingsError, match=words):
            read_answers(path)


def test_the_page_and_the_document_satisfy_the_schema(avpenet_here: Avpenet, folder: Path, tmp_path: Path) -> None:
    rows = listed(folder)
    rate_blind(folder, rows)
    filled = write(tmp_path / "filled.csv", rows)
    document: dict[str, Any] = run_report(avpenet_here, tmp_path / "r.html", *tables(folder), "--review", filled)
    schema = json.loads((Path(schemas.__file__).parent / "report.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(document, schema)
