"""`avpenet report --plan`: how many subjects and segments a study needs, without any table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from avpenet_cli.stats.sample_size import Spread, subjects_to_pass
from tests.support.reports import Avpenet


def table(out: str) -> list[list[str]]:
    """Cells of the rows below the heads."""
    lines = out.splitlines()
    start = next(place for place, line in enumerate(lines) if "segments per subject" in line)
    rows = lines[start + 1 :]
    return [line.split() for line in rows[: rows.index("")]]


def report_json(path: Path, **limits: Any) -> Path:
    values = {
        "n_subjects": 20,
        "n_pairs": 240,
        "sd": 1.0,
        "between_sd": 0.6,
        "within_sd": 0.8,
        "pairs_per_subject": 12.0,
    }
    values |= {"bias": {"value": 0.1}} | limits
    path.write_text(json.dumps({"agreement": {"limits": values}}))
    return path


def test_a_plan_has_subjects_and_segments_for_several_designs(avpenet_here: Avpenet) -> None:
    done = avpenet_here("report", "--plan", "--limit", "2", "--sd", "0.8")
    assert done.code == 0, done.err
    rows = table(done.out)
    assert rows[0][:5] == ["0.80", "any", "1", "123", "123"]
    assert {row[1] for row in rows[1:]} == {"0.10", "0.30", "0.50"}
    assert "+1.57 points" in " ".join(done.out.split())
    expected = subjects_to_pass(Spread(0.0, 0.8 * 0.3**0.5, 0.8 * 0.7**0.5), 2.0, 20, 0.8)
    assert ["0.80", "0.30", "20", str(expected), str(20 * (expected or 0))] in [row[:5] for row in rows]


def test_one_design_of_known_icc(avpenet_here: Avpenet) -> None:
    options = ("--sd", "0.8", "--icc", "0.4", "--segments", "12", "--bias", "0.2", "--power", "0.9")
    done = avpenet_here("report", "--plan", "--limit", "2", *options)
    assert [row[:3] for row in table(done.out)] == [["0.80", "0.40", "12"]]
    assert "PASS with a chance of 90 %" in done.out


def test_limits_beyond_the_acceptance_limit_are_said_to_be_so(avpenet_here: Avpenet) -> None:
    done = avpenet_here("report", "--plan", "--limit", "2", "--sd", "1.4")
    assert done.code == 0
    text = " ".join(done.out.split())
    assert "No number of subjects makes PASS likely" in text and "PASS needs an SD under 1.02 points" in text
    assert "Subjects for FAIL" in text


def test_a_pilot_gives_bias_spread_and_a_larger_spread_to_plan_with(avpenet_here: Avpenet, tmp_path: Path) -> None:
    pilot = report_json(tmp_path / "report.json")
    done = avpenet_here("report", "--plan", "--limit", "2.6", "--pilot", pilot)
    assert done.code == 0, done.err
    rows = table(done.out)
    assert {row[0] for row in rows} == {"1.00", "1.07"}
    assert ["1.00", "0.36", "12"] in [row[:3] for row in rows]
    by_sd = {row[0]: int(row[3]) for row in rows if row[2] == "12"}
    assert by_sd["1.07"] > by_sd["1.00"] > 10


def test_a_pilot_of_independent_pairs_has_one_segment_per_subject(avpenet_here: Avpenet, tmp_path: Path) -> None:
    pilot = report_json(tmp_path / "r.json", n_pairs=20, between_sd=None, within_sd=None, pairs_per_subject=1.0)
    done = avpenet_here("report", "--plan", "--limit", "3", "--pilot", pilot)
    assert done.code == 0, done.err
    assert "cannot say how alike several are" in " ".join(done.out.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--plan", "--sd", "1"], "--plan without --limit"),
        (["--plan", "--limit", "2"], "needs either --sd or --pilot"),
        (["--plan", "--limit", "2", "--sd", "0"], "--sd 0: out of range"),
        (["--plan", "--limit", "12", "--sd", "1"], "--limit 12: out of range"),
        (["--plan", "--limit", "2", "--sd", "1", "--icc", "1.5"], "--icc 1.5: out of range"),
        (["--plan", "--limit", "2", "--sd", "nan"], "--sd nan: out of range"),
        (["--plan", "--limit", "2", "--sd", "1", "--out", "r.html"], "--plan with tables or --out"),
        (["--plan", "--limit", "2", "--sd", "1", "scores.csv"], "--plan with tables or --out"),
        (["--plan", "--limit", "2", "--pilot", "absent.json"], "--pilot absent.json: cannot be read"),
        (["--sd", "1", "scores.csv", "--out", "r.html"], "--sd without --plan"),
        (["scores.csv"], "no --out was given"),
        ([], "no score table was given"),
    ],
)
def test_options_that_do_not_belong_together_are_refused(
    avpenet_here: Avpenet, arguments: list[str], message: str
) -> None:
    done = avpenet_here("report", *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


@pytest.mark.parametrize("content", ["no JSON", "[]", "{}", '{"agreement": null}'])
def test_a_pilot_that_is_no_report_with_ratings_is_refused(avpenet_here: Avpenet, tmp_path: Path, content: str) -> None:
    (tmp_path / "r.json").write_text(content)
    done = avpenet_here("report", "--plan", "--limit", "2", "--pilot", tmp_path / "r.json")
    assert done.code == 2 and "is not a report on agreement with ratings" in done.err


@pytest.mark.parametrize(
    "limits",
    [
        {"pairs_per_subject": [0.4]},
        {"between_sd": "x"},
        {"bias": {"value": "NaN"}},
        {"bias": {"value": 1e308}},
        {"n_subjects": 10**400},
        {"sd": float("inf")},
        {"bias": [0.1]},
    ],
)
def test_a_pilot_with_values_that_are_none_is_refused(
    avpenet_here: Avpenet, tmp_path: Path, limits: dict[str, Any]
) -> None:
    done = avpenet_here("report", "--plan", "--limit", "2", "--pilot", report_json(tmp_path / "r.json", **limits))
    assert done.code == 2 and "is not a report on agreement with ratings" in done.err


def test_a_pilot_without_spread_is_refused(avpenet_here: Avpenet, tmp_path: Path) -> None:
    pilot = report_json(tmp_path / "r.json", sd=None)
    done = avpenet_here("report", "--plan", "--limit", "2", "--pilot", pilot)
    assert done.code == 2 and "no spread between subjects" in done.err
