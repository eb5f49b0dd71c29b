"""Inputs that once made `avpenet report` say something wrong that looked right, found by a review."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_report import WEIGHTS, Avpenet, full, many, run, study, table

__all__ = ["study"]


def manifest_of(table_path: Path, entries: list[dict[str, Any]], cut_points: tuple[float, float] = (3.0, 6.0)) -> None:
    """As `avpenet score` writes it, for a table of `WEIGHTS`."""
    name, digest = WEIGHTS.split("@")
    plain = {
        "software": {},
        "weights": {"name": name, "digest": digest, "cut_points": list(cut_points)},
        "timing": {"finished": "2026-11-01T00:00:00+00:00"},
        "table": {"file": table_path.name, "sha256": hashlib.sha256(table_path.read_bytes()).hexdigest(), "rows": 0},
        "recordings": entries,
    }
    table_path.with_suffix(".run.json").write_text(json.dumps(plain))


def entry(recording: str, nominal_s: float, scored_s: float, failed: bool = False) -> dict[str, Any]:
    lost = nominal_s - scored_s
    return {
        "recording": recording,
        "status": "failed" if failed else "scored",
        "reason": "undecodable" if failed else "",
        "message": "",
        "balance_s": {
            "nominal_s": nominal_s,
            "scored_s": scored_s,
            "unscorable_s": {},
            "undecodable_s": lost,
        },
    }


def test_a_failed_recording_counts_once_though_it_has_a_balance(avpenet_here: Avpenet, tmp_path: Path) -> None:
    scores = table(tmp_path / "scores.csv", [("a.mp4", 0, 4.0), ("a.mp4", 3, 5.0)])
    manifest_of(scores, [entry("a.mp4", 6, 6), entry("b.mp4", 0, 0, failed=True), entry("c.mp4", 30, 0, failed=True)])
    found = run(avpenet_here, tmp_path / "r.html", scores)
    assert found["headline"]["n_recordings"] == 3
    assert len(found["coverage"]["failed_recordings"]) == 2
    assert found["coverage"]["recordings_without_score"] == []
    assert found["coverage"]["share_scored"] == pytest.approx(6 / 36)


def test_failed_in_one_run_and_scored_in_the_next_is_scored(avpenet_here: Avpenet, tmp_path: Path) -> None:
    one = table(tmp_path / "one.csv", [("a.mp4", 0, 4.0)])
    two = table(tmp_path / "two.csv", [("b.mp4", 0, 4.0)])
    manifest_of(one, [entry("a.mp4", 3, 3), entry("b.mp4", 30, 0, failed=True)])
    manifest_of(two, [entry("b.mp4", 3, 3)])
    found = run(avpenet_here, tmp_path / "r.html", one, two)
    assert found["headline"]["n_recordings"] == 2
    assert found["coverage"]["failed_recordings"] == []
    assert found["coverage"]["share_scored"] == 1.0


def test_seconds_lost_are_the_reasons_own_without_a_manifest(avpenet_here: Avpenet, tmp_path: Path) -> None:
    scores = table(tmp_path / "scores.csv", [("a.mp4", 0, None), ("a.mp4", 3, None), ("a.mp4", 6, 5.0)])
    text = scores.read_text().replace("3,6,,,unscorable,no_face,no_face", "3,3.5,,,unscorable,no_audio,no_audio")
    assert "no_audio" in text
    scores.write_text(text)
    found = run(avpenet_here, tmp_path / "r.html", scores)
    assert found["coverage"]["unscorable_s"] == {"no_audio": pytest.approx(0.5), "no_face": pytest.approx(3.0)}


def test_a_recording_in_two_tables_is_refused_whatever_its_times(avpenet_here: Avpenet, tmp_path: Path) -> None:
    one = table(tmp_path / "one.csv", [("a.mp4", 0, 4.0)])
    two = table(tmp_path / "two.csv", [("a.mp4", 0.01, 4.0)])
    done = avpenet_here("report", one, two, "--out", tmp_path / "r.html")
    assert done.code == 2
    assert "both hold" in done.err


def test_a_manifest_of_other_weights_names_nothing_on_the_page(avpenet_here: Avpenet, tmp_path: Path) -> None:
    scores = table(tmp_path / "scores.csv", [("a.mp4", 0, 4.0)])
    manifest_of(scores, [entry("a.mp4", 3, 3)])
    scores.write_text(scores.read_text().replace(WEIGHTS, "others@feedfeedfeed"))
    found = run(avpenet_here, tmp_path / "r.html", scores)
    assert (found["weights"]["name"], found["weights"]["digest"]) == ("others", "feedfeedfeed")


@pytest.mark.parametrize("broken", ["recordings", "weights", "timing", "software"])
def test_a_malformed_manifest_vouches_for_nothing(avpenet_here: Avpenet, tmp_path: Path, broken: str) -> None:
    scores = table(tmp_path / "scores.csv", [("a.mp4", 0, 4.0)])
    manifest_of(scores, [entry("a.mp4", 3, 3)])
    path = scores.with_suffix(".run.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {broken: 5}))
    found = run(avpenet_here, tmp_path / "r.html", scores)
    assert found["inputs"]["scores"][0]["manifest_state"] == "unreadable"
    assert found["coverage"]["source"] == "table"


def test_each_table_is_classified_by_its_own_cut_points(avpenet_here: Avpenet, tmp_path: Path) -> None:
    old = table(tmp_path / "old.csv", [("a.mp4", 0, 3.5), ("a.mp4", 3, 5.0)])
    new = table(tmp_path / "new.csv", [("a.mp4", 0, 3.5), ("a.mp4", 3, 5.0)])
    new.write_text(new.read_text().replace("3.500,moderate", "3.500,low"))
    for one in (old, new):
        manifest_of(one, [entry("a.mp4", 6, 6)], (4.0, 7.0) if one is new else (3.0, 6.0))
    found = run(avpenet_here, tmp_path / "r.html", old, "--compare", new)
    assert found["comparison"]["class_changes"] == [[0, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert "different cut points" in (tmp_path / "r.html").read_text()


def test_columns_of_the_subjects_cannot_take_the_place_of_the_programs_own(
    avpenet_here: Avpenet, study: Path, tmp_path: Path
) -> None:
    lines = (study / "subjects.csv").read_text().splitlines()
    head = lines[0].split(",")
    clash = ["model", "reference", "scored_s", "nominal_s"]
    renamed = ",".join(head[:2] + clash[: len(head) - 2])
    (tmp_path / "subjects.csv").write_text("\n".join([renamed, *lines[1:]]) + "\n")
    inputs = (study / "scores.csv", "--reference", study / "ratings.csv", "--subjects", tmp_path / "subjects.csv")
    found = run(avpenet_here, tmp_path / "r.html", *inputs)
    plain = run(avpenet_here, tmp_path / "p.html", *full(study))
    assert found["agreement"] == plain["agreement"]
    assert {one["column"] for one in found["strata"]} >= set(clash[: len(head) - 2])
    assert all(row["coverage_share"] > 0.5 for one in found["strata"] for row in one["levels"] if row["coverage_share"])


def test_a_rater_called_model_is_not_the_model(avpenet_here: Avpenet, study: Path, tmp_path: Path) -> None:
    text = (study / "ratings.csv").read_text()
    (tmp_path / "ratings.csv").write_text(text.replace(",nurse-1\n", ",model\n"))
    found = run(avpenet_here, tmp_path / "r.html", study / "scores.csv", "--reference", tmp_path / "ratings.csv")
    plain = run(avpenet_here, tmp_path / "p.html", study / "scores.csv", "--reference", study / "ratings.csv")

    def of(document: dict[str, Any], a: str, b: str) -> float:
        (row,) = [one for one in document["raters"]["pairs"] if (one["a"], one["b"]) == (a, b)]
        return float(row["bias"])

    assert of(found, "model", "nurse-2") == of(plain, "model", "nurse-2")
    assert of(found, "model", "rater model") == of(plain, "model", "nurse-1")


@pytest.mark.parametrize(
    ("dates", "batches"),
    [(["2026-01-31", "2026-02-01"], ["2026-01", "2026-02"]), (["", "2026-02-01"], ["(not stated)", "2026-02"])],
)
def test_dates_make_months(avpenet_here: Avpenet, tmp_path: Path, dates: list[str], batches: list[str]) -> None:
    rows = many()
    scores = table(tmp_path / "scores.csv", rows)
    names = sorted({name for name, _, _ in rows})
    lines = ["recording,subject,Date", *(f"{name},s{i},{dates[i % 2]}" for i, name in enumerate(names))]
    (tmp_path / "subjects.csv").write_text("\n".join(lines) + "\n")
    subjects = ("--subjects", tmp_path / "subjects.csv")
    found = run(avpenet_here, tmp_path / "r.html", scores, *subjects)
    assert sorted(row["batch"] for row in found["drift"]) == batches
    (tmp_path / "subjects.csv").write_text("\n".join(lines).replace("2026-02-01", "01.02.2026") + "\n")
    done = avpenet_here("report", scores, *subjects, "--out", tmp_path / "s.html")
    assert done.code == 2
    assert "write dates as" in done.err


def test_a_spreadsheet_finds_no_formula_in_the_review(avpenet_here: Avpenet, tmp_path: Path) -> None:
    scores = table(tmp_path / "scores.csv", [("=cmd|calc.mp4", 3.0 * i, None) for i in range(3)])
    run(avpenet_here, tmp_path / "r.html", scores)
    assert "\n'=cmd|calc.mp4,0.000," in (tmp_path / "r.review.csv").read_text()


def test_no_folder_and_no_manifest_is_harmed(avpenet_here: Avpenet, study: Path, tmp_path: Path) -> None:
    for name in ("scores.csv", "scores.run.json"):
        shutil.copy(study / name, tmp_path / name)
    found = run(avpenet_here, tmp_path / "r.html", tmp_path / "scores.csv")
    assert str(tmp_path) not in (tmp_path / "r.html").read_text() + json.dumps(found)
    done = avpenet_here("report", tmp_path / "scores.csv", "--out", tmp_path / "scores.run.html")
    assert done.code == 2
    assert (tmp_path / "scores.run.json").read_bytes() == (study / "scores.run.json").read_bytes()


def test_the_command_keeps_texts_with_slashes_and_loses_folders(
    avpenet_here: Avpenet, study: Path, tmp_path: Path
) -> None:
    limit = ("--limit", "3", "--limit-source", "protocol 7/2026")
    found = run(avpenet_here, tmp_path / "r.html", *full(study), *limit)
    assert "'protocol 7/2026'" in found["command"]
    assert "--out r.html" in found["command"]
    assert str(tmp_path) not in found["command"]


def test_units_that_look_wrong_are_pointed_out(avpenet_here: Avpenet, tmp_path: Path) -> None:
    rows = many()
    scores = table(tmp_path / "scores.csv", rows)

    def warned(lines: list[str]) -> str:
        (tmp_path / "ratings.csv").write_text("\n".join(lines) + "\n")
        found = run(avpenet_here, tmp_path / "r.html", scores, "--reference", tmp_path / "ratings.csv")
        return " ".join(one["text"] for one in found["notices"])

    head = "recording,start_s,end_s,value,scale"
    in_cm = [f"{name},{start},{start + 3},{(value or 0):.1f},VAS" for name, start, value in rows]
    assert "No VAS rating lies over a tenth" in warned([head, *in_cm])
    in_mm = [f"{name},{start},{start + 3},{10 * (value or 0):.1f},VAS" for name, start, value in rows]
    assert "tenth" not in warned([head, *in_mm])
    in_ms = [f"{name},{1000 * start},{1000 * (start + 3)},{10 * (value or 0):.1f},VAS" for name, start, value in rows]
    assert "are times in seconds?" in warned([head, *in_ms])
