"""Inputs for which `avpenet report` could easily give a plausible but wrong answer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.reports import (
    WEIGHTS,
    Avpenet,
    all_tables,
    manifest_entry,
    run_report,
    twelve_recordings,
    write_manifest,
    write_scores,
)


def test_a_failed_recording_with_seconds_counts_once(avpenet_here: Avpenet, tmp_path: Path) -> None:
    scores = write_scores(tmp_path / "scores.csv", [("a.mp4", 0, 4.0), ("a.mp4", 3, 5.0)])
    write_manifest(
        scores,
        [
            manifest_entry("a.mp4", 6, 6),
            manifest_entry("b.mp4", 0, 0, failed=True),
            manifest_entry("c.mp4", 30, 0, failed=True),
        ],
    )
    found = run_report(avpenet_here, tmp_path / "r.html", scores)
    assert found["headline"]["n_recordings"] == 3
    assert len(found["coverage"]["failed_recordings"]) == 2
    assert found["coverage"]["recordings_without_score"] == []
    assert found["coverage"]["share_scored"] == pytest.approx(6 / 36)


def test_a_recording_that_failed_in_one_run_and_was_scored_in_another_is_scored(
    avpenet_here: Avpenet, tmp_path: Path
) -> None:
    first = write_scores(tmp_path / "one.csv", [("a.mp4", 0, 4.0)])
    second = write_scores(tmp_path / "two.csv", [("b.mp4", 0, 4.0)])
    write_manifest(first, [manifest_entry("a.mp4", 3, 3), manifest_entry("b.mp4", 30, 0, failed=True)])
    write_manifest(second, [manifest_entry("b.mp4", 3, 3)])
    found = run_report(avpenet_here, tmp_path / "r.html", first, second)
    assert found["headline"]["n_recordings"] == 2
    assert found["coverage"]["failed_recordings"] == []
    assert found["coverage"]["share_scored"] == 1.0


def test_without_a_manifest_unscorable_seconds_are_divided_by_reason(avpenet_here: Avpenet, tmp_path: Path) -> None:
    scores = write_scores(tmp_path / "scores.csv", [("a.mp4", 0, None), ("a.mp4", 3, None), ("a.mp4", 6, 5.0)])
    text = scores.read_text().replace("3,6,,,unscorable,no_face,no_face", "3,3.5,,,unscorable,no_audio,no_audio")
    assert "no_audio" in text
    scores.write_text(text)
    found = run_report(avpenet_here, tmp_path / "r.html", scores)
    assert found["coverage"]["unscorable_s"] == {"no_audio": pytest.approx(0.5), "no_face": pytest.approx(3.0)}


def test_a_recording_in_two_tables_is_refused_even_with_other_times(avpenet_here: Avpenet, tmp_path: Path) -> None:
    first = write_scores(tmp_path / "one.csv", [("a.mp4", 0, 4.0)])
    second = write_scores(tmp_path / "two.csv", [("a.mp4", 0.01, 4.0)])
    done = avpenet_here("report", first, second, "--out", tmp_path / "r.html")
    assert done.code == 2
    assert "both contain" in done.err


def test_a_manifest_of_other_weights_is_ignored(avpenet_here: Avpenet, tmp_path: Path) -> None:
    scores = write_scores(tmp_path / "scores.csv", [("a.mp4", 0, 4.0)])
    write_manifest(scores, [manifest_entry("a.mp4", 3, 3)])
    scores.write_text(scores.read_text().replace(WEIGHTS, "others@feedfeedfeed"))
    found = run_report(avpenet_here, tmp_path / "r.html", scores)
    assert (found["weights"]["name"], found["weights"]["digest"]) == ("others", "feedfeedfeed")


@pytest.mark.parametrize("broken", ["recordings", "weights", "timing", "software"])
def test_a_malformed_manifest_counts_as_unreadable(avpenet_here: Avpenet, tmp_path: Path, broken: str) -> None:
    scores = write_scores(tmp_path / "scores.csv", [("a.mp4", 0, 4.0)])
    write_manifest(scores, [manifest_entry("a.mp4", 3, 3)])
    path = scores.with_suffix(".run.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {broken: 5}))
    found = run_report(avpenet_here, tmp_path / "r.html", scores)
    assert found["inputs"]["scores"][0]["manifest_state"] == "unreadable"
    assert found["coverage"]["source"] == "table"


def test_each_table_is_classified_by_its_own_cut_points(avpenet_here: Avpenet, tmp_path: Path) -> None:
    old = write_scores(tmp_path / "old.csv", [("a.mp4", 0, 3.5), ("a.mp4", 3, 5.0)])
    new = write_scores(tmp_path / "new.csv", [("a.mp4", 0, 3.5), ("a.mp4", 3, 5.0)])
    new.write_text(new.read_text().replace("3.500,moderate", "3.500,low"))
    write_manifest(old, [manifest_entry("a.mp4", 6, 6)])
    write_manifest(new, [manifest_entry("a.mp4", 6, 6)], (4.0, 7.0))
    found = run_report(avpenet_here, tmp_path / "r.html", old, "--compare", new)
    assert found["comparison"]["class_changes"] == [[0, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert "different cut points" in (tmp_path / "r.html").read_text()


def test_columns_of_the_subjects_may_have_the_names_of_score_columns(
    avpenet_here: Avpenet, study: Path, tmp_path: Path
) -> None:
    lines = (study / "subjects.csv").read_text().splitlines()
    head = lines[0].split(",")
    clash = ["model", "reference", "scored_s", "nominal_s"]
    renamed = ",".join(head[:2] + clash[: len(head) - 2])
    (tmp_path / "subjects.csv").write_text("\n".join([renamed, *lines[1:]]) + "\n")
    inputs = (study / "scores.csv", "--reference", study / "ratings.csv", "--subjects", tmp_path / "subjects.csv")
    found = run_report(avpenet_here, tmp_path / "r.html", *inputs)
    plain = run_report(avpenet_here, tmp_path / "p.html", *all_tables(study))
    assert found["agreement"] == plain["agreement"]
    assert {stratum["column"] for stratum in found["strata"]} >= set(clash[: len(head) - 2])
    shares = [group["coverage_share"] for stratum in found["strata"] for group in stratum["groups"]]
    assert all(share > 0.5 for share in shares if share)


def test_a_rater_called_model_is_not_the_model(avpenet_here: Avpenet, study: Path, tmp_path: Path) -> None:
    text = (study / "ratings.csv").read_text()
    (tmp_path / "ratings.csv").write_text(text.replace(",nurse-1\n", ",model\n"))
    found = run_report(avpenet_here, tmp_path / "r.html", study / "scores.csv", "--reference", tmp_path / "ratings.csv")
    plain = run_report(avpenet_here, tmp_path / "p.html", study / "scores.csv", "--reference", study / "ratings.csv")

    def bias(document: dict[str, Any], a: str, b: str) -> float:
        (pair,) = [pair for pair in document["raters"]["pairs"] if (pair["first"], pair["second"]) == (a, b)]
        return float(pair["agreement"]["bias"]["value"])

    assert bias(found, "model", "nurse-2") == bias(plain, "model", "nurse-2")
    assert bias(found, "model", "rater model") == bias(plain, "model", "nurse-1")


def test_spellings_are_merged_with_a_notice_and_months_are_in_order_of_time(
    avpenet_here: Avpenet, tmp_path: Path
) -> None:
    rows = twelve_recordings()
    scores = write_scores(tmp_path / "scores.csv", rows)
    names = sorted({name for name, _, _ in rows})
    spellings = ("P{}", "P{}\u00a0", "p{}")
    months = ("Oct 2025", "2026/9", "April 2026")
    lines = [f"{name.upper()},{spellings[i % 3].format(i // 3)},{months[i % 3]}" for i, name in enumerate(names)]
    (tmp_path / "subjects.csv").write_text("\n".join(["sep=,", "recording,subject,month", *lines]), encoding="utf-16")
    arguments: list[str | Path] = [scores, "--subjects", tmp_path / "subjects.csv", "--show", names[0].upper()]
    document = run_report(avpenet_here, tmp_path / "r.html", *arguments)
    assert document["headline"]["n_subjects"] == 4
    assert [batch["name"] for batch in document["drift"]["batches"]] == ["2025-10", "2026-04", "2026-09"]
    texts = [notice["text"] for notice in document["notices"]]
    (merged,) = [text for text in texts if "one patient" in text]
    assert merged.startswith(r"subjects.csv: P0, 'P0\xa0', p0 are read as one patient: P0; ")
    assert any(
        "12 recordings are written differently in the scores (letter case) and matched" in text for text in texts
    )
    assert "are read as one patient" in (tmp_path / "r.html").read_text()


@pytest.mark.parametrize(
    ("dates", "batches"),
    [(["2026-01-31", "2026-02-01"], ["2026-01", "2026-02"]), (["", "2026-02-01"], ["(not stated)", "2026-02"])],
)
def test_dates_are_grouped_by_month(
    avpenet_here: Avpenet, tmp_path: Path, dates: list[str], batches: list[str]
) -> None:
    rows = twelve_recordings()
    scores = write_scores(tmp_path / "scores.csv", rows)
    names = sorted({name for name, _, _ in rows})
    lines = ["recording,subject,Date", *(f"{name},s{i},{dates[i % 2]}" for i, name in enumerate(names))]
    (tmp_path / "subjects.csv").write_text("\n".join(lines) + "\n")
    subjects = ("--subjects", tmp_path / "subjects.csv")
    found = run_report(avpenet_here, tmp_path / "r.html", scores, *subjects)
    assert sorted(batch["name"] for batch in found["drift"]["batches"]) == batches
    (tmp_path / "subjects.csv").write_text("\n".join(lines).replace("2026-02-01", "01.02.2026") + "\n")
    done = avpenet_here("report", scores, *subjects, "--out", tmp_path / "s.html")
    assert done.code == 2
    assert "write dates as" in done.err


def test_the_review_table_has_no_spreadsheet_formulas(avpenet_here: Avpenet, tmp_path: Path) -> None:
    scores = write_scores(tmp_path / "scores.csv", [("=cmd|calc.mp4", 3.0 * i, None) for i in range(3)])
    run_report(avpenet_here, tmp_path / "r.html", scores)
    assert "\n'=cmd|calc.mp4,0.000," in (tmp_path / "r.review.csv").read_text()
    run_report(avpenet_here, tmp_path / "excel.html", scores, "--csv-bom")
    plain, for_excel = ((tmp_path / f"{name}.review.csv").read_bytes() for name in ("r", "excel"))
    assert for_excel == b"\xef\xbb\xbf" + plain


def test_folders_are_not_disclosed_and_manifests_not_overwritten(
    avpenet_here: Avpenet, study: Path, tmp_path: Path
) -> None:
    for name in ("scores.csv", "scores.run.json"):
        shutil.copy(study / name, tmp_path / name)
    found = run_report(avpenet_here, tmp_path / "r.html", tmp_path / "scores.csv")
    assert str(tmp_path) not in (tmp_path / "r.html").read_text() + json.dumps(found)
    done = avpenet_here("report", tmp_path / "scores.csv", "--out", tmp_path / "scores.run.html")
    assert done.code == 2
    assert (tmp_path / "scores.run.json").read_bytes() == (study / "scores.run.json").read_bytes()


def test_the_command_keeps_text_with_slashes_and_drops_folders(
    avpenet_here: Avpenet, study: Path, tmp_path: Path
) -> None:
    limit = ("--limit", "3", "--limit-source", "protocol 7/2026")
    found = run_report(avpenet_here, tmp_path / "r.html", *all_tables(study), *limit)
    assert "'protocol 7/2026'" in found["command"]
    assert "--out r.html" in found["command"]
    assert str(tmp_path) not in found["command"]


def test_values_that_a_wrong_unit_would_explain_give_a_notice(avpenet_here: Avpenet, tmp_path: Path) -> None:
    rows = twelve_recordings()
    scores = write_scores(tmp_path / "scores.csv", rows)

    def warned(lines: list[str]) -> str:
        (tmp_path / "ratings.csv").write_text("\n".join(lines) + "\n")
        found = run_report(avpenet_here, tmp_path / "r.html", scores, "--reference", tmp_path / "ratings.csv")
        return " ".join(notice["text"] for notice in found["notices"])

    head = "recording,start_s,end_s,value,scale"
    in_cm = [f"{name},{start},{start + 3},{(value or 0):.1f},VAS" for name, start, value in rows]
    assert "No VAS rating exceeds a tenth" in warned([head, *in_cm])
    in_mm = [f"{name},{start},{start + 3},{10 * (value or 0):.1f},VAS" for name, start, value in rows]
    assert "tenth" not in warned([head, *in_mm])
    in_ms = [f"{name},{1000 * start},{1000 * (start + 3)},{10 * (value or 0):.1f},VAS" for name, start, value in rows]
    assert "are times in seconds?" in warned([head, *in_ms])


@pytest.mark.parametrize(
    ("left_out", "words"),
    [(1, "rec0.mp4 has no subject and"), (2, "2 recordings, such as rec0.mp4, have no subject, ")],
)
def test_recordings_without_a_subject_are_said(
    avpenet_here: Avpenet, tmp_path: Path, left_out: int, words: str
) -> None:
    scores = write_scores(tmp_path / "scores.csv", twelve_recordings())
    lines = ["recording,subject", *(f"rec{i}.mp4,P{i % 4}" for i in range(left_out, 12))]
    (tmp_path / "subjects.csv").write_text("\n".join(lines) + "\n")
    document = run_report(avpenet_here, tmp_path / "r.html", scores, "--subjects", tmp_path / "subjects.csv")
    assert document["headline"]["n_subjects"] == 4 + left_out
    assert any(notice["text"].startswith(f"subjects.csv: {words}") for notice in document["notices"])
