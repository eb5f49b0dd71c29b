"""Agreement of raters: the report's numbers, per item, by pairs; drift; refusals where data do not suffice."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

from avpenet_cli.errors import SettingsError
from avpenet_cli.ratings.agreement import AgreementRequest, measure_agreement
from avpenet_cli.ratings.agreement_document import AgreementDocument
from avpenet_cli.ratings.drift import drifts
from avpenet_cli.report.analysis import ReportSettings
from avpenet_cli.report.run import analyse
from avpenet_cli.schemas import schemas
from avpenet_cli.stats.bootstrap import Resampling
from avpenet_cli.stats.estimate import Estimate
from avpenet_cli.stats.pairs import Pairs
from avpenet_cli.stats.value_kappa import kappa_of_values
from avpenet_cli.study.ratings import read_ratings
from examples.make_study import make_study
from tests.support.reports import Avpenet

HEADER = "recording,start_s,end_s,value,scale,rater"


def table(path: Path, rows: Iterable[str], header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def measured(*paths: Path, subjects: Path | None = None) -> AgreementDocument:
    return measure_agreement(AgreementRequest(paths, subjects, Resampling(200)))


def rated(raters: Iterable[str], n: int = 24, shift: float = 0.0, item: str = "") -> list[str]:
    """Rows of NRS ratings of `n` recordings with two segments each, by raters who differ by 0 to 2 points."""
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 8, (n, 2))
    return [
        f"r{i}.mp4,{3 * k},{3 * k + 3},{truth[i, k] + rng.integers(0, 3)},NRS,{rater}{item}"
        for rater in raters
        for i in range(n)
        for k in range(2)
    ]


def assert_same(estimate: Estimate, other: Estimate) -> None:
    assert (estimate.value, *estimate.ci) == pytest.approx((other.value, *other.ci), abs=1e-9)
    assert estimate.n == other.n


def test_the_numbers_are_those_of_the_report(tmp_path: Path) -> None:
    make_study(tmp_path, recordings=40, segments=8.0)
    subjects = tmp_path / "subjects.csv"
    ratings = pd.read_csv(tmp_path / "ratings.csv")
    nurses = [name for name in ratings["rater"].unique() if name.startswith("nurse")]
    # The report has no pairs of segments that are not in the scores; a few ratings of the study are of none.
    scored = pd.read_csv(tmp_path / "scores.csv")[["recording", "start_s"]]
    ratings[ratings["rater"].isin(nurses)].merge(scored).to_csv(tmp_path / "nurses.csv", index=False)
    document = measured(tmp_path / "nurses.csv", subjects=subjects)
    report = analyse(
        str(tmp_path / "scores.csv"),
        str(tmp_path / "nurses.csv"),
        str(subjects),
        settings=ReportSettings(resampling=Resampling(200)),
    )
    assert report.raters is not None
    reported = {(row.first, row.second): row.agreement for row in report.raters.pairs}
    pairs = document.items[0].pairs
    assert len(pairs) == 3
    for pair in pairs:
        same = reported[pair.first, pair.second]
        assert pair.n_segments == same.n_pairs > 50
        for name, other in (("bias", "bias"), ("lower", "lower"), ("icc_a1", "icc_a1"), ("mae", "mae")):
            assert_same(getattr(pair, name), getattr(same, other))
        assert_same(pair.kappa_classes, same.kappa_quadratic)
    largest = document.items[0].sets[0]
    assert_same(largest.icc_a1, report.raters.sets[0].icc.icc_a1)
    assert_same(largest.icc_c1, report.raters.sets[0].icc.icc_c1)


def test_kappa_of_values_is_cohens_with_quadratic_weights() -> None:
    rng = np.random.default_rng(5)
    first = rng.integers(0, 11, 200)
    second = np.clip(first + rng.integers(-2, 4, 200), 0, 10)
    pairs = Pairs.of(first.astype(float), second.astype(float), np.arange(200) // 8)
    kappa = kappa_of_values(pairs, Resampling(400).of(pairs.n_subjects))
    oracle = cohen_kappa_score(first, second, weights="quadratic", labels=np.arange(11))
    assert kappa.value == pytest.approx(oracle, abs=1e-12)
    assert kappa.ci[0] < oracle < kappa.ci[1]
    same = Pairs.of(np.full(20, 4.0), np.full(20, 4.0), np.arange(20))
    assert kappa_of_values(same, Resampling(200).of(20)).reason == "both raters always give the same value"


def test_items_are_measured_one_by_one_after_the_whole_scale(tmp_path: Path) -> None:
    rows = [
        f"r{i}.mp4,0,3,{value},{scale},{rater},{item}"
        for i in range(15)
        for rater, other in (("a", 0), ("b", i % 3 == 0))
        for item, scale, value in (
            ("cry", "cry:0:2", min(2, i % 3 + other)),
            ("face", "face:0:1", i % 2),
            ("", "NIPS", (i % 7 + other) % 7),
        )
    ]
    document = measured(table(tmp_path / "r.csv", rows, HEADER + ",item"))
    assert [item.item for item in document.items] == ["", "cry", "face"]
    assert document.items[1].scales == ("CRY:2",)
    total, cry, face = (item.pairs[0] for item in document.items)
    assert total.kappa_classes.computable
    assert not cry.kappa_classes.computable
    first = [min(2, i % 3) for i in range(15)]
    second = [min(2, i % 3 + (i % 3 == 0)) for i in range(15)]
    assert cry.kappa_values.value == pytest.approx(cohen_kappa_score(first, second, weights="quadratic"))
    assert face.icc_a1.value == 1


def drifting(change: float, seed: int) -> pd.DataFrame:
    """Three raters, each in an order of their own, of whom the first changes by `change` points."""
    rng = np.random.default_rng(seed)
    truth, subject = rng.uniform(0, 10, 60), np.repeat(np.arange(20), 3)
    parts = []
    for rater in range(3):
        order = rng.permutation(60) + 1
        drift = change * (order - 1) / 59 if rater == 0 else 0.0
        value = truth + drift + rng.normal(0, 0.8, 60)
        parts.append(
            pd.DataFrame({"target": np.arange(60), "subject": subject, "rater": f"r{rater}", "value": value})
            .assign(order=order.astype(float), rated_s=np.nan)
            .sample(frac=1, random_state=seed)
        )
    return pd.concat(parts, ignore_index=True)


def test_drift_is_found_and_seldom_where_there_is_none() -> None:
    found = [drifts(drifting(2.0, seed)) for seed in range(40)]
    by_rater = [{row.rater: row for row in rows} for rows in found]
    changes = [rows["r0"].change for rows in by_rater]
    assert np.mean([change.value for change in changes]) == pytest.approx(2.0, abs=0.15)
    assert np.mean([change.ci[0] <= 2.0 <= change.ci[1] for change in changes]) >= 0.85
    assert np.mean([rows["r0"].p_holm < 0.05 for rows in by_rater]) > 0.8
    alarms = [min(row.p_holm for row in drifts(drifting(0.0, seed))) < 0.05 for seed in range(100, 160)]
    assert np.mean(alarms) <= 0.15


def test_the_time_of_rating_counts_before_the_order_in_the_sheet(tmp_path: Path) -> None:
    rows = rated("ab")
    timed = [f"{row},{place},2026-03-{1 + place // 24:02d}T{place % 24:02d}:00" for place, row in enumerate(rows)]
    document = measured(table(tmp_path / "r.csv", timed, HEADER + ",order,rated_at"))
    assert {row.by for row in document.items[0].drift} == {"rated_at"}
    untimed = measured(table(tmp_path / "s.csv", rows))
    assert "neither rated_at nor order" in untimed.items[0].drift[0].change.reason


def test_sheets_of_several_raters_are_joined_and_what_is_written_satisfies_the_schema(
    avpenet_here: Avpenet, tmp_path: Path
) -> None:
    first = table(tmp_path / "a.csv", [*rated(["Anna"]), "r0.mp4,30,33,,NRS,Anna"])
    second = table(tmp_path / "b.csv", rated(["bob"]))
    for suffix in ("json", "csv"):
        done = avpenet_here(
            "ratings", "agreement", first, second, "--bootstrap", "200", "--out", tmp_path / f"x.{suffix}"
        )
        assert done.code == 0, done.err
    assert "1 row without a value left out" in done.out
    assert "each counts as a patient" in done.out
    document: dict[str, Any] = json.loads((tmp_path / "x.json").read_text())
    jsonschema.validate(document, schemas()["agreement.schema.json"])
    with (tmp_path / "x.csv").open() as file:
        rows = {(row["raters"], row["statistic"]): row for row in csv.DictReader(file)}
    pair = document["items"][0]["pairs"][0]
    assert float(rows["Anna | bob", "icc_c1"]["value"]) == pytest.approx(pair["icc_c1"]["value"], abs=1e-6)
    assert rows["Anna", "drift"]["reason"]


def test_few_patients_give_no_coefficient_but_the_numbers_that_it_takes(tmp_path: Path) -> None:
    document = measured(table(tmp_path / "r.csv", rated("ab", n=9)))
    pair = document.items[0].pairs[0]
    assert (pair.n_segments, pair.n_subjects) == (18, 9)
    assert pair.icc_a1.reason == "18 segments of 9 subjects in common; it takes 10 of 10"
    assert not any(row.computable for row in (pair.bias, pair.kappa_values, document.items[0].sets[0].icc_a1))


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (rated("a"), [], "all ratings are by a: agreement takes two raters"),
        (rated("a"), ["x.mp4,0,3,1,NRS,b"], "no two of 2 raters rated the same segment"),
        (
            rated("a"),
            rated("a")[3:4],
            "b.csv: the rating in line 2, by a of r1.mp4 at 0:03.0, is also in line 5 of a.csv",
        ),
        (rated("a"), ["r1.mp4,0,3,11,NRS,b"], "value 11 is outside its scale"),
        (rated("a"), ["r1.mp4,0,3,,NRS,b"], "no row has a value"),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path: Path, first: list[str], second: list[str], message: str) -> None:
    paths = [table(tmp_path / "a.csv", first), *([table(tmp_path / "b.csv", second)] if second else [])]
    with pytest.raises(SettingsError, match=message):
        measured(*paths)


def test_a_time_of_rating_that_is_none_is_refused_with_its_line(tmp_path: Path) -> None:
    rows = [f"{row},2026-03-01" for row in rated("ab")]
    rows[4] = rows[4].replace("2026-03-01", "noon")
    with pytest.raises(SettingsError, match="line 6: rated_at is 'noon', no date and time"):
        measured(table(tmp_path / "r.csv", rows, HEADER + ",rated_at"))


def test_import_join_and_agreement_leave_lines_that_verify_follows(avpenet_here: Avpenet, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.csv"
    rows = [f"r{place}.mp4,0,3,{place % 5},{rater}" for place in range(4) for rater in ("anna", "ben")]
    sheet.write_text("recording,start_s,end_s,value,rater\n" + "\n".join(rows) + "\n")
    imported, joined, document = (tmp_path / name for name in ("imported.csv", "joined.csv", "agreement.json"))
    command: tuple[Any, ...]
    for command in (
        ("import", sheet, "--from", "csv", "--out", imported),
        ("join", imported, "--out", joined),
        ("agreement", joined, "--out", document),
    ):
        answer = avpenet_here("ratings", *command)
        assert answer.code == 0, answer.err
        again = avpenet_here("ratings", *command)
        assert (again.code, f"{command[-1]} already exists" in again.err) == (2, True)
        assert avpenet_here("ratings", *command, "--overwrite").out.endswith(f"written: {command[-1].name}\n")
        assert avpenet_here("ratings", *command, "--overwrite", "--quiet").out == ""
        nowhere = avpenet_here("ratings", *command[:-1], tmp_path / "none" / command[-1].name)
        assert "cannot be written: its folder does not exist" in nowhere.err
    again = avpenet_here(
        "ratings", "import", sheet, "--from", "csv", "--out", imported, "--left-out", joined, "--overwrite"
    )
    assert f"{joined} is another output, with a history of its own" in again.err
    # Both write the same table of the same ratings.
    assert joined.read_bytes() == imported.read_bytes()
    answer = avpenet_here("verify", document)
    assert answer.code == 0, answer.out
    assert "ratings sheet.csv: intact" in answer.out
    sheet.write_text(sheet.read_text().replace(",0,anna", ",1,anna"))
    assert avpenet_here("verify", document).code == 4


def test_joined_sheets_are_a_table_for_the_report(avpenet_here: Avpenet, tmp_path: Path) -> None:
    header = f"{HEADER},order,rated_at,pack,comment"
    sheets = []
    for rater in ("Anna", "bob"):
        rows = [f"{row},{place},,0123456789abcdef," for place, row in enumerate(rated([rater], n=3), 1)]
        sheets.append(
            table(tmp_path / f"{rater}.csv", [*rows, f"=x.mp4,0,3,,NRS,{rater},7,,0123456789abcdef,asleep"], header)
        )
    out = tmp_path / "ratings.csv"
    done = avpenet_here("ratings", "join", *sheets, "--out", out)
    assert done.code == 0, done.err
    assert "12 ratings (Anna 6, bob 6), 2 rows without a value left out" in done.out
    ratings = read_ratings(out)
    assert ratings.raters == ("Anna", "bob")
    assert ratings.packs == ("0123456789abcdef",)
    assert ratings.all_name_packs
    assert avpenet_here("ratings", "join", *sheets, "--out", out).code == 2
    assert avpenet_here("ratings", "join", *sheets, "--out", out, "--overwrite", "--csv-bom").code == 0
    assert out.read_bytes().startswith(b"\xef\xbb\xbfrecording,start_s,end_s,value,rater,scale,order,pack")
    assert "would overwrite" in avpenet_here("ratings", "join", *sheets, "--out", sheets[0], "--overwrite").err
    once = table(tmp_path / "once.csv", ["a.mp4,3,1"], "recording,time_s,value")
    mixed = avpenet_here("ratings", "join", sheets[0], once, "--out", tmp_path / "mixed.csv")
    assert mixed.code == 2
    assert "some tables have time_s, others start_s and end_s" in mixed.err


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_sheet_whose_last_line_has_no_end_is_said(avpenet_here: Avpenet, tmp_path: Path, encoding: str) -> None:
    text = "recording,start_s,end_s,value\na.mp4,0,3,7.5\n"
    for name, content in (("whole", text), ("cut", text[:-3])):
        (tmp_path / f"{name}.csv").write_bytes(content.encode(encoding))
        answer = avpenet_here("ratings", "join", tmp_path / f"{name}.csv", "--out", tmp_path / f"{name}-joined.csv")
        assert answer.code == 0, answer.err
        assert (f"note: {name}.csv: its last line has no end" in answer.out) == (name == "cut")
