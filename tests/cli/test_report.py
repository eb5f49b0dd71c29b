"""`avpenet report` on a simulated study and on invalid tables."""

from __future__ import annotations

import csv
import os
import re
import shutil
import stat
from pathlib import Path

import pytest

from tests.conftest import RunAvpenet
from tests.support.reports import (
    FEW_RESAMPLES,
    Avpenet,
    all_tables,
    run_report,
    twelve_recordings,
    write_ratings,
    write_scores,
)


def test_the_json_has_every_section(avpenet_here: Avpenet, study: Path, tmp_path: Path) -> None:
    compared = ("--compare", study / "scores-new.csv")
    limit = ("--limit", "2.5", "--limit-source", "protocol 7")
    found = run_report(avpenet_here, tmp_path / "report.html", *all_tables(study), *compared, *limit)
    wanted = {
        "agreement": "limits naive percentiles proportional_bias heteroscedasticity regression_limits shape",
        "error": "n_pairs accuracy by_intensity",
        "reliability": "icc_a1 icc_c1 icc_11",
        "classes": "cut_points confusion accuracy macro_f1 kappa kappa_linear kappa_quadratic ac2 per_class",
        "calibration": "line bins",
        "raters": "sets pairs",
        "coverage": "nominal_s scored_s unscorable_s undecodable_s balanced",
        "verdict": "result limit_points limit_source explanation",
        "comparison": "agreement class_changes status_changes against_reference",
        "provenance": "created_by",
    }
    for section, names in wanted.items():
        assert set(names.split()) <= set(found[section]), section
    assert {stratum["column"] for stratum in found["strata"]} >= {"age_group", "site", "sex", "quality flags"}
    assert found["agreement"]["limits"]["method"] == "repeated measures, changing truth"
    assert found["verdict"]["limit_source"] == "protocol 7"
    assert found["headline"]["n_raters"] == 4
    assert sum(map(sum, found["classes"]["confusion"])) == found["agreement"]["limits"]["n_pairs"]
    changes = found["comparison"]["status_changes"]
    assert sum(changes.values()) == found["headline"]["n_segments"]
    seconds = found["coverage"]
    lost = sum(seconds["unscorable_s"].values()) + seconds["undecodable_s"]
    assert seconds["nominal_s"] == pytest.approx(seconds["scored_s"] + lost, abs=0.1)


def test_the_three_files_are_private_and_agree(avpenet_here: Avpenet, study: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    found = run_report(avpenet_here, out, *all_tables(study))
    for path in (out, *(out.with_suffix(suffix) for suffix in (".json", ".review.csv", ".review.m3u8"))):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"report.{suffix}" for suffix in ("html", "html.history.jsonl", "json", "review.csv", "review.m3u8")
    ]
    with out.with_suffix(".review.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    control = found["review"]["control"]["segments"]
    both = sum(segment["sample"] == "both" for segment in control)
    assert len(rows) == len(control) + found["review"]["total"] - both > len(control) == 30
    limits = found["agreement"]["limits"]
    low, high = limits["lower"]["value"], limits["upper"]["value"]
    for row in rows[len(control) :]:
        difference = float(row["score"]) - float(row["reference"])
        assert difference == pytest.approx(float(row["difference"]), abs=0.002)
        assert not low <= difference <= high or "two classes apart" in row["why"]
    page = out.read_text()
    for name in ("bias", "lower", "upper"):
        assert f"{abs(limits[name]['value']):.2f}" in page, name


def test_the_same_tables_give_the_same_numbers(avpenet_here: Avpenet, study: Path, tmp_path: Path) -> None:
    first, second = (run_report(avpenet_here, tmp_path / f"{name}.html", *all_tables(study)) for name in "ab")
    for volatile in ("created", "command"):
        assert first.pop(volatile) and second.pop(volatile)
    assert first == second


def test_the_summary_is_short_and_absent_with_quiet(avpenet_here: Avpenet, study: Path, tmp_path: Path) -> None:
    done = avpenet_here("report", *all_tables(study), *FEW_RESAMPLES, "--out", tmp_path / "a.html")
    assert 8 <= len(done.out.splitlines()) <= 16
    assert re.search(r"bias +-?\d\.\d\d \[-?\d\.\d\d, -?\d\.\d\d\]", done.out)
    assert "5 ratings match no segment" in done.out
    assert avpenet_here("report", *all_tables(study), *FEW_RESAMPLES, "-q", "--out", tmp_path / "b.html").out == ""


@pytest.mark.parametrize(("limit", "result", "code"), [("9.9", "PASS", 0), ("0.5", "FAIL", 4)])
def test_fail_on_limit_makes_the_exit_code_follow_the_verdict(
    avpenet_here: Avpenet, study: Path, tmp_path: Path, limit: str, result: str, code: int
) -> None:
    out = tmp_path / "report.html"
    asked = ("--limit", limit, "--limit-source", "a protocol")
    done = avpenet_here("report", *all_tables(study), *FEW_RESAMPLES, *asked, "--fail-on-limit", "--out", out)
    assert done.code == code, done.err
    assert f"verdict: {result}" in done.out
    assert avpenet_here("report", *all_tables(study), *FEW_RESAMPLES, *asked, "--out", out).code == 0


def test_without_ratings_the_report_has_nothing_about_accuracy(
    avpenet_here: Avpenet, study: Path, tmp_path: Path
) -> None:
    found = run_report(avpenet_here, tmp_path / "plain.html", study / "scores.csv", "--events", study / "events.csv")
    assert found["agreement"] is found["error"] is found["classes"] is None
    assert "Nothing on this page says how right or wrong" in (tmp_path / "plain.html").read_text()
    assert found["trajectories"]
    assert found["headline"]["n_pairs"] == 0
    assert "Bland" not in re.sub(r"<footer.*|<section id=.methods.*", "", (tmp_path / "plain.html").read_text())[:4000]


def test_two_tables_without_ratings_are_compared(avpenet_here: Avpenet, study: Path, tmp_path: Path) -> None:
    both = (study / "scores.csv", "--compare", study / "scores-new.csv")
    found = run_report(avpenet_here, tmp_path / "upgrade.html", *both)
    assert found["agreement"] is None
    assert found["comparison"]["against_reference"] is None
    assert found["comparison"]["agreement"]["limits"]["n_pairs"] == found["comparison"]["status_changes"]["both_scored"]
    same = run_report(avpenet_here, tmp_path / "same.html", study / "scores.csv", "--compare", study / "scores.csv")
    limits = same["comparison"]["agreement"]["limits"]
    assert (limits["bias"]["value"], limits["sd"]) == (0, 0)
    changes = same["comparison"]["class_changes"]
    assert all(changes[a][b] == 0 for a in range(3) for b in range(3) if a != b)


def test_tables_of_other_segments_are_not_compared(avpenet_here: Avpenet, tmp_path: Path) -> None:
    first = write_scores(tmp_path / "one.csv", [("a.mp4", 0, 4.0), ("a.mp4", 3, 5.0)])
    other = write_scores(tmp_path / "other.csv", [("a.mp4", 0, 4.0), ("a.mp4", 1, 5.0)], "new@fedcba987654")
    done = avpenet_here("report", first, "--compare", other, "--out", tmp_path / "r.html")
    assert done.code == 2
    assert "do not describe the same segments" in done.err
    assert "a.mp4 at 3 s" in done.err


def test_several_tables_are_batches_of_a_single_report(avpenet_here: Avpenet, study: Path, tmp_path: Path) -> None:
    rows = (study / "scores.csv").read_text().splitlines()
    names = list(dict.fromkeys(line.split(",")[0] for line in rows[1:]))
    early = set(names[:20])
    for name, kept in (("october.csv", early), ("november.csv", set(names) - early)):
        lines = [rows[0], *(line for line in rows[1:] if line.split(",")[0] in kept)]
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    parts = (tmp_path / "october.csv", tmp_path / "november.csv", "--reference", study / "ratings.csv")
    found = run_report(avpenet_here, tmp_path / "r.html", *parts)
    assert found["drift"]["by"] == "score table"
    assert [batch["name"] for batch in found["drift"]["batches"]] == ["1: october.csv", "2: november.csv"]
    assert found["headline"]["n_segments"] == len(rows) - 1
    assert sum("no readable run manifest" in notice["text"] for notice in found["notices"]) == 2


def test_an_altered_table_gives_a_danger_notice(avpenet_here: Avpenet, study: Path, tmp_path: Path) -> None:
    for name in ("scores.csv", "scores.run.json"):
        shutil.copy(study / name, tmp_path / name)
    text = (tmp_path / "scores.csv").read_text()
    first = next(line for line in text.splitlines() if ",scored," in line)
    cells = first.split(",")
    score, label = (text.splitlines()[0].split(",").index(name) for name in ("score", "label"))
    cells[score] = {"low": "0.001", "moderate": "5.999"}.get(cells[label], "9.999")
    (tmp_path / "scores.csv").write_text(text.replace(first, ",".join(cells)))
    found = run_report(avpenet_here, tmp_path / "r.html", tmp_path / "scores.csv")
    assert any(notice["level"] == "danger" and "changed after the run" in notice["text"] for notice in found["notices"])
    assert found["coverage"]["source"] == "table"


def test_untrained_weights_give_the_first_notice(avpenet_here: Avpenet, tmp_path: Path) -> None:
    mark = "untrained@1a5f25942267 untrained"
    scores = write_scores(tmp_path / "scores.csv", [("a.mp4", 3 * i, 4.0 + i / 10) for i in range(5)], mark)
    found = run_report(avpenet_here, tmp_path / "r.html", scores)
    assert found["notices"][0]["level"] == "danger"
    assert "UNTRAINED" in found["notices"][0]["text"]
    page = (tmp_path / "r.html").read_text()
    assert page.index("UNTRAINED WEIGHTS") < page.index("<main") + 4000


def test_labels_that_contradict_the_cut_points_are_refused(avpenet_here: Avpenet, tmp_path: Path) -> None:
    scores = write_scores(tmp_path / "scores.csv", [("a.mp4", 0, 4.0), ("a.mp4", 3, 5.0)])
    scores.write_text(scores.read_text().replace("5.000,moderate", "5.000,high"))
    done = avpenet_here("report", scores, "--out", tmp_path / "r.html")
    assert done.code == 2
    assert "is labelled high, which the cut points 3 and 6 do not give" in done.err


@pytest.mark.parametrize(
    ("rows", "rated", "reason"),
    [
        (twelve_recordings(12)[:1], 4.0, "fewer than two pairs"),
        (
            [(name, start, score) for name, start, score in twelve_recordings() if name == "rec1.mp4"],
            4.0,
            "one subject",
        ),
        (twelve_recordings(score=5.0), 5.0, "all differences are equal"),
    ],
    ids=["one pair", "one subject", "constant"],
)
def test_degenerate_studies_give_reasons_instead_of_numbers(
    avpenet_here: Avpenet,
    tmp_path: Path,
    rows: list[tuple[str, float, float | None]],
    rated: float,
    reason: str,
) -> None:
    scores = write_scores(tmp_path / "scores.csv", rows)
    reference = write_ratings(tmp_path / "ratings.csv", [(name, start, rated) for name, start, _ in rows])
    out = tmp_path / "r.html"
    found = run_report(avpenet_here, out, scores, "--reference", reference)
    limits = found["agreement"]["limits"]
    assert reason in limits["lower"]["reason"]
    assert limits["lower"]["ci"] == [None, None]
    page = out.read_text()
    assert not re.search(r"\b(nan|NaN|None|inf)\b", re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL))


def test_a_table_without_scores_gives_a_report(avpenet_here: Avpenet, tmp_path: Path) -> None:
    scores = write_scores(tmp_path / "scores.csv", [("a.mp4", 3.0 * i, None) for i in range(20)])
    found = run_report(avpenet_here, tmp_path / "r.html", scores)
    assert found["headline"]["n_scored"] == 0
    assert found["coverage"]["share_scored"] == 0
    assert found["review"]["total"] == 20
    reference = write_ratings(tmp_path / "ratings.csv", [("a.mp4", 0, 4)])
    done = avpenet_here("report", scores, "--reference", reference, "--out", tmp_path / "s.html")
    assert done.code == 2
    assert "no segment has a score to compare with a rating" in done.err
    assert not (tmp_path / "s.html").exists()


def test_markup_in_names_stays_text(avpenet_here: Avpenet, tmp_path: Path) -> None:
    names = ["<script>alert(1)</script>.mp4", "a&b \"q\" 'x' $\\alpha$ --> ]]>.mp4", "müde 痛み 😖 {{7*7}}.mp4"]
    rows = [(names[i % 3], 3.0 * (i // 3), float(i % 10)) for i in range(30)]
    scores = write_scores(tmp_path / "scores.csv", rows)
    quoted = [('"' + name.replace('"', '""') + '"', start, (value or 0) / 2) for name, start, value in rows]
    out = tmp_path / "r.html"
    found = run_report(avpenet_here, out, scores, "--reference", write_ratings(tmp_path / "ratings.csv", quoted))
    assert {trajectory["recording"] for trajectory in found["trajectories"]} == set(names)
    page = out.read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "{{7*7}}" in page


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "page.pdf"], "end the name in .html"),
        (["--limit", "2", "--out", "r.html"], "--limit without --limit-source"),
        (["--limit", "2", "--limit-source", "x", "--out", "r.html"], "--limit without --reference"),
        (["--limit", "11", "--limit-source", "x", "--out", "r.html"], "not a distance on the 0-10 scale"),
        (["--fail-on-limit", "--out", "r.html"], "--fail-on-limit without --limit"),
        (["--show", "nobody.mp4", "--out", "r.html"], "no such recording"),
        (["--reference", "absent.csv", "--out", "r.html"], "absent.csv"),
        (["--hold-s", "-1", "--out", "r.html"], "out of range"),
    ],
)
def test_invalid_options_give_one_line_and_no_file(
    avpenet_here: Avpenet,
    study: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = avpenet_here("report", study / "scores.csv", *arguments)
    assert done.code == 2
    assert words in done.err
    assert len(done.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_inputs_are_not_overwritten(avpenet_here: Avpenet, study: Path, tmp_path: Path) -> None:
    reference = tmp_path / "audit.review.csv"
    shutil.copy(study / "ratings.csv", reference)
    before = reference.read_bytes()
    done = avpenet_here("report", study / "scores.csv", "--reference", reference, "--out", tmp_path / "audit.html")
    assert done.code == 2
    assert "would overwrite" in done.err
    assert reference.read_bytes() == before


def test_it_works_without_home_terminal_and_locale(run_avpenet: RunAvpenet, study: Path, tmp_path: Path) -> None:
    """As in cron: matplotlib neither warns nor leaves a folder."""
    bare = {name: "" for name in os.environ} | {"PATH": "/usr/bin:/bin", "MPLBACKEND": "", "HOME": "/nonexistent"}
    done = run_avpenet(["report", study / "scores.csv", "--out", tmp_path / "r.html"], env=bare)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        f"r.{suffix}" for suffix in ("html", "html.history.jsonl", "json", "review.csv", "review.m3u8")
    ]


def test_a_missing_output_folder_is_named(avpenet_here: Avpenet, study: Path, tmp_path: Path) -> None:
    done = avpenet_here("report", study / "scores.csv", *FEW_RESAMPLES, "--out", tmp_path / "absent" / "r.html")
    assert done.code == 2
    assert "its folder does not exist" in done.err
