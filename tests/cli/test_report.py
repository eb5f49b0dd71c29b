"""`avpenet report` as people use it: whole commands on a simulated study, and on tables with something wrong."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from examples.make_study import make_study
from tests.conftest import Answer, RunAvpenet

Avpenet = Callable[..., Answer]

FAST = ("--bootstrap", "200")
HEADER = "recording,segment,start_s,end_s,score,label,status,reason,flags,weights"
WEIGHTS = "mine@0123456789ab"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("a study")
    make_study(folder, recordings=40, seed=3)
    return folder


def strictly(text: str) -> Any:
    """JSON as the standard has it: NaN is none."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} in JSON")

    return json.loads(text, parse_constant=refuse)


def run(avpenet: Avpenet, out: Path, *args: str | Path) -> dict[str, Any]:
    done = avpenet("report", *args, *FAST, "--out", out)
    assert done.code == 0, done.err
    document: dict[str, Any] = strictly(out.with_suffix(".json").read_text())
    return document


def full(study: Path) -> list[str | Path]:
    with_ratings: list[str | Path] = ["--reference", study / "ratings.csv", "--subjects", study / "subjects.csv"]
    return [study / "scores.csv", *with_ratings, "--events", study / "events.csv"]


def table(path: Path, rows: Iterable[tuple[str, float, float | None]], weights: str = WEIGHTS) -> Path:
    """A score table of (recording, start_s, score); None is unscorable."""
    lines = [HEADER]
    for place, (recording, start_s, score) in enumerate(rows):
        label = "" if score is None else "low" if score <= 3 else "moderate" if score <= 6 else "high"
        value, status, reason = ("", "unscorable", "no_face") if score is None else (f"{score:.3f}", "scored", "")
        quoted = '"' + recording.replace('"', '""') + '"'
        lines.append(f"{quoted},{place},{start_s},{start_s + 3},{value},{label},{status},{reason},{reason},{weights}")
    path.write_text("\n".join(lines) + "\n")
    return path


def ratings(path: Path, rows: Iterable[tuple[str, float, float]]) -> Path:
    lines = ["recording,start_s,end_s,value", *(f"{name},{start},{start + 3},{value}" for name, start, value in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_everything_asked_for_is_in_the_json(avpenet_here: Avpenet, study: Path, tmp_path: Path) -> None:
    compared = ("--compare", study / "scores-new.csv")
    limit = ("--limit", "2.5", "--limit-source", "protocol 7")
    found = run(avpenet_here, tmp_path / "report.html", *full(study), *compared, *limit)
    wanted = {
        "agreement": "n_pairs n_subjects bias bias_ci sd loa_lower loa_upper loa_lower_ci loa_upper_ci method naive "
        "nonparametric proportional heteroscedasticity",
        "error": "mae mae_ci rmse pearson spearman ccc",
        "reliability": "icc_a1 icc_a1_ci icc_c1 icc_11",
        "classes": "cut_points confusion accuracy macro_f1 kappa kappa_linear kappa_quadratic ac2 per_class",
        "calibration": "intercept slope bins",
        "raters": "sets pairs",
        "coverage": "nominal_s scored_s unscorable_s undecodable_s balanced",
        "verdict": "result limit_points limit_source explanation",
        "comparison": "agreement class_changes status_changes against_reference",
        "provenance": "created_by",
    }
    for section, names in wanted.items():
        assert set(names.split()) <= set(found[section]), section
    assert {one["column"] for one in found["strata"]} >= {"age_group", "site", "sex", "quality flags"}
    assert found["agreement"]["method"] == "repeated measures, changing truth"
    assert found["verdict"]["limit_source"] == "protocol 7"
    assert found["headline"]["n_raters"] == 4
    assert sum(map(sum, found["classes"]["confusion"])) == found["agreement"]["n_pairs"]
    changes = found["comparison"]["status_changes"]
    assert sum(changes.values()) == found["headline"]["n_segments"]
    seconds = found["coverage"]
    lost = sum(seconds["unscorable_s"].values()) + seconds["undecodable_s"]
    assert seconds["nominal_s"] == pytest.approx(seconds["scored_s"] + lost, abs=0.1)


def test_the_three_files_are_the_owners_and_say_the_same(avpenet_here: Avpenet, study: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    found = run(avpenet_here, out, *full(study))
    for path in (out, out.with_suffix(".json"), out.with_suffix(".review.csv")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(one.name for one in tmp_path.iterdir()) == ["report.html", "report.json", "report.review.csv"]
    with out.with_suffix(".review.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == found["review"]["total"] > 0
    low, high = found["agreement"]["loa_lower"], found["agreement"]["loa_upper"]
    for row in rows:
        difference = float(row["score"]) - float(row["reference"])
        assert difference == pytest.approx(float(row["difference"]), abs=0.002)
        assert not low <= difference <= high or "two classes apart" in row["why"]
    page = out.read_text()
    for name, key in (("bias", "bias"), ("lower limit", "loa_lower")):
        assert f"{abs(found['agreement'][key]):.2f}" in page, name


def test_the_same_tables_give_the_same_numbers(avpenet_here: Avpenet, study: Path, tmp_path: Path) -> None:
    first, second = (run(avpenet_here, tmp_path / f"{name}.html", *full(study)) for name in "ab")
    for volatile in ("created", "command"):
        assert first.pop(volatile) and second.pop(volatile)
    assert first == second


def test_the_terminal_has_a_short_summary_and_quiet_none(avpenet_here: Avpenet, study: Path, tmp_path: Path) -> None:
    done = avpenet_here("report", *full(study), *FAST, "--out", tmp_path / "a.html")
    assert 8 <= len(done.out.splitlines()) <= 16
    assert re.search(r"bias +-?\d\.\d\d \[-?\d\.\d\d, -?\d\.\d\d\]", done.out)
    assert "5 ratings match no segment" in done.out
    assert avpenet_here("report", *full(study), *FAST, "-q", "--out", tmp_path / "b.html").out == ""


@pytest.mark.parametrize(("limit", "result", "code"), [("9.9", "PASS", 0), ("0.5", "FAIL", 4)])
def test_the_exit_code_follows_the_verdict_when_asked(
    avpenet_here: Avpenet, study: Path, tmp_path: Path, limit: str, result: str, code: int
) -> None:
    out = tmp_path / "report.html"
    asked = ("--limit", limit, "--limit-source", "a protocol")
    done = avpenet_here("report", *full(study), *FAST, *asked, "--fail-on-limit", "--out", out)
    assert done.code == code, done.err
    assert f"verdict: {result}" in done.out
    assert avpenet_here("report", *full(study), *FAST, *asked, "--out", out).code == 0


def test_without_ratings_nothing_is_said_of_accuracy(avpenet_here: Avpenet, study: Path, tmp_path: Path) -> None:
    found = run(avpenet_here, tmp_path / "plain.html", study / "scores.csv", "--events", study / "events.csv")
    assert found["agreement"] is found["error"] is found["classes"] is None
    assert "Nothing on this page says how right or wrong" in (tmp_path / "plain.html").read_text()
    assert found["trajectories"]
    assert found["headline"]["n_pairs"] == 0
    assert "Bland" not in re.sub(r"<footer.*|<section id=.methods.*", "", (tmp_path / "plain.html").read_text())[:4000]


def test_two_tables_without_ratings_are_held_against_each_other(
    avpenet_here: Avpenet, study: Path, tmp_path: Path
) -> None:
    both = (study / "scores.csv", "--compare", study / "scores-new.csv")
    found = run(avpenet_here, tmp_path / "upgrade.html", *both)
    assert found["agreement"] is None
    assert found["comparison"]["against_reference"] is None
    assert found["comparison"]["agreement"]["n_pairs"] == found["comparison"]["status_changes"]["both_scored"]
    itself = run(avpenet_here, tmp_path / "same.html", study / "scores.csv", "--compare", study / "scores.csv")
    assert (itself["comparison"]["agreement"]["bias"], itself["comparison"]["agreement"]["sd"]) == (0, 0)
    changes = itself["comparison"]["class_changes"]
    assert all(changes[a][b] == 0 for a in range(3) for b in range(3) if a != b)


def test_tables_of_other_segments_are_not_compared(avpenet_here: Avpenet, tmp_path: Path) -> None:
    one = table(tmp_path / "one.csv", [("a.mp4", 0, 4.0), ("a.mp4", 3, 5.0)])
    other = table(tmp_path / "other.csv", [("a.mp4", 0, 4.0), ("a.mp4", 1, 5.0)], "new@fedcba987654")
    done = avpenet_here("report", one, "--compare", other, "--out", tmp_path / "r.html")
    assert done.code == 2
    assert "do not describe the same segments" in done.err
    assert "a.mp4 at 3 s" in done.err


def test_several_tables_make_one_report_with_a_row_for_each(avpenet_here: Avpenet, study: Path, tmp_path: Path) -> None:
    rows = (study / "scores.csv").read_text().splitlines()
    names = list(dict.fromkeys(line.split(",")[0] for line in rows[1:]))
    early = set(names[:20])
    for name, kept in (("october.csv", early), ("november.csv", set(names) - early)):
        lines = [rows[0], *(line for line in rows[1:] if line.split(",")[0] in kept)]
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    parts = (tmp_path / "october.csv", tmp_path / "november.csv", "--reference", study / "ratings.csv")
    found = run(avpenet_here, tmp_path / "r.html", *parts)
    assert found["drift_by"] == "score table"
    assert [row["batch"] for row in found["drift"]] == ["1: october.csv", "2: november.csv"]
    assert found["headline"]["n_segments"] == len(rows) - 1
    assert sum("no readable run manifest" in one["text"] for one in found["notices"]) == 2


def test_an_altered_table_is_said_to_be_altered(avpenet_here: Avpenet, study: Path, tmp_path: Path) -> None:
    for name in ("scores.csv", "scores.run.json"):
        shutil.copy(study / name, tmp_path / name)
    text = (tmp_path / "scores.csv").read_text()
    first = next(line for line in text.splitlines() if ",scored," in line)
    cells = first.split(",")
    cells[4] = "0.001" if cells[5] == "low" else "5.999" if cells[5] == "moderate" else "9.999"
    (tmp_path / "scores.csv").write_text(text.replace(first, ",".join(cells)))
    found = run(avpenet_here, tmp_path / "r.html", tmp_path / "scores.csv")
    assert any(one["level"] == "danger" and "changed after the run" in one["text"] for one in found["notices"])
    assert found["coverage"]["source"] == "table"


def test_untrained_weights_cannot_be_missed(avpenet_here: Avpenet, tmp_path: Path) -> None:
    mark = "untrained@1a5f25942267 (UNTRAINED: scores mean nothing)"
    scores = table(tmp_path / "scores.csv", [("a.mp4", 3 * i, 4.0 + i / 10) for i in range(5)], mark)
    found = run(avpenet_here, tmp_path / "r.html", scores)
    assert found["notices"][0]["level"] == "danger"
    assert "UNTRAINED" in found["notices"][0]["text"]
    page = (tmp_path / "r.html").read_text()
    assert page.index("UNTRAINED WEIGHTS") < page.index("<main") + 4000


def test_labels_by_other_cut_points_are_noticed_without_a_manifest(avpenet_here: Avpenet, tmp_path: Path) -> None:
    scores = table(tmp_path / "scores.csv", [("a.mp4", 0, 4.0), ("a.mp4", 3, 5.0)])
    scores.write_text(scores.read_text().replace("5.000,moderate", "5.000,high"))
    done = avpenet_here("report", scores, "--out", tmp_path / "r.html")
    assert done.code == 2
    assert "is labelled high, which the cut points 3 and 6 do not give" in done.err


def many(n: int = 60, score: float | None = None) -> list[tuple[str, float, float | None]]:
    return [(f"rec{i % 12}.mp4", 3.0 * (i // 12), (i * 37 % 100) / 10 if score is None else score) for i in range(n)]


@pytest.mark.parametrize(
    ("rows", "rated", "reason"),
    [
        (many(12)[:1], 4.0, "fewer than two pairs"),
        ([(name, start, score) for name, start, score in many() if name == "rec1.mp4"], 4.0, "one subject"),
        (many(score=5.0), 5.0, "all differences are equal"),
    ],
    ids=["one pair", "one subject", "constant"],
)
def test_degenerate_studies_give_reasons_not_numbers(
    avpenet_here: Avpenet,
    tmp_path: Path,
    rows: list[tuple[str, float, float | None]],
    rated: float,
    reason: str,
) -> None:
    scores = table(tmp_path / "scores.csv", rows)
    reference = ratings(tmp_path / "ratings.csv", [(name, start, rated) for name, start, _ in rows])
    out = tmp_path / "r.html"
    found = run(avpenet_here, out, scores, "--reference", reference)
    agreement = found["agreement"]
    assert any(reason in one for one in agreement["reasons"].values())
    page = out.read_text()
    assert not re.search(r"\b(nan|NaN|None|inf)\b", re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL))


def test_nothing_scored_is_a_report_of_nothing_scored(avpenet_here: Avpenet, tmp_path: Path) -> None:
    scores = table(tmp_path / "scores.csv", [("a.mp4", 3.0 * i, None) for i in range(20)])
    found = run(avpenet_here, tmp_path / "r.html", scores)
    assert found["headline"]["n_scored"] == 0
    assert found["coverage"]["share_scored"] == 0
    assert found["review"]["total"] == 20
    reference = ratings(tmp_path / "ratings.csv", [("a.mp4", 0, 4)])
    done = avpenet_here("report", scores, "--reference", reference, "--out", tmp_path / "s.html")
    assert done.code == 2
    assert "not one scored segment has a rating" in done.err
    assert not (tmp_path / "s.html").exists()


def test_markup_in_names_stays_text(avpenet_here: Avpenet, tmp_path: Path) -> None:
    nasty = ["<script>alert(1)</script>.mp4", "a&b \"q\" 'x' $\\alpha$ --> ]]>.mp4", "müde 痛み 😖 {{7*7}}.mp4"]
    rows = [(nasty[i % 3], 3.0 * (i // 3), float(i % 10)) for i in range(30)]
    scores = table(tmp_path / "scores.csv", rows)
    quoted = [('"' + name.replace('"', '""') + '"', start, (value or 0) / 2) for name, start, value in rows]
    out = tmp_path / "r.html"
    found = run(avpenet_here, out, scores, "--reference", ratings(tmp_path / "ratings.csv", quoted))
    assert {one["recording"] for one in found["trajectories"]} == set(nasty)
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
def test_what_cannot_be_done_is_said_in_one_line(
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


def test_what_is_read_is_never_overwritten(avpenet_here: Avpenet, study: Path, tmp_path: Path) -> None:
    reference = tmp_path / "audit.review.csv"
    shutil.copy(study / "ratings.csv", reference)
    before = reference.read_bytes()
    done = avpenet_here("report", study / "scores.csv", "--reference", reference, "--out", tmp_path / "audit.html")
    assert done.code == 2
    assert "would overwrite" in done.err
    assert reference.read_bytes() == before


def test_cron_can_write_it(run_avpenet: RunAvpenet, study: Path, tmp_path: Path) -> None:
    """No home, no terminal, no locale, a relative path: matplotlib neither complains nor leaves a folder."""
    bare = {name: "" for name in os.environ} | {"PATH": "/usr/bin:/bin", "MPLBACKEND": "", "HOME": "/nonexistent"}
    done = run_avpenet(["report", study / "scores.csv", "--out", tmp_path / "r.html"], env=bare)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert [one.name for one in sorted(tmp_path.iterdir())] == ["r.html", "r.json", "r.review.csv"]


def test_a_folder_that_cannot_be_written_is_named(avpenet_here: Avpenet, study: Path, tmp_path: Path) -> None:
    done = avpenet_here("report", study / "scores.csv", *FAST, "--out", tmp_path / "absent" / "r.html")
    assert done.code == 2
    assert "its folder does not exist" in done.err
