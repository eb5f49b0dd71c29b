"""`avpenet calibrate` on tables of a simulated study and on invalid ones."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import stat
from pathlib import Path

import jsonschema
import pytest

from avpenet_cli import schemas
from avpenet_cli.calibration.site import read_site
from avpenet_cli.runs.history import history_path
from avpenet_cli.runs.outputs import refuse_existing
from tests.support.reports import FEW_RESAMPLES, Avpenet, strict_json, write_ratings, write_scores

SCHEMA = json.loads((Path(schemas.__file__).parent / "site.schema.json").read_text(encoding="utf-8"))


def tables(folder: Path) -> list[str | Path]:
    return [
        folder / "scores.csv",
        "--reference",
        folder / "ratings.csv",
        "--subjects",
        folder / "subjects.csv",
        *FEW_RESAMPLES,
    ]


@pytest.fixture
def altered(study: Path, tmp_path: Path) -> Path:
    """A copy of the study, for a test to change."""
    return Path(shutil.copytree(study, tmp_path / "study"))


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_it_writes_a_calibration_that_says_where_it_was_fitted(
    avpenet_here: Avpenet, study: Path, tmp_path: Path
) -> None:
    out = tmp_path / "site.json"
    done = avpenet_here("calibrate", *tables(study), "--out", out)
    assert done.code == 0, done.err
    jsonschema.validate(strict_json(out.read_text()), SCHEMA)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    site = read_site(out)
    fitted = site.fitted_on
    digests = {entry.name: entry.sha256 for entry in fitted.inputs}
    for name in ("scores.csv", "ratings.csv", "subjects.csv"):
        assert digests[name] == hashlib.sha256((study / name).read_bytes()).hexdigest()
    assert fitted.stride_s == 3.0
    assert fitted.scales == ("NIPS", "NRS")
    assert fitted.n_subjects >= 20
    assert len(site.weights.digest) == 64
    (line,) = history_path(out).read_text().splitlines()
    assert json.loads(line)["event"] == "calibrate"
    assert json.loads(line)["written"][0]["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    # Never dressed up.
    assert site.weights.demonstration
    assert any("DEMONSTRATION" in notice for notice in site.notices)
    assert "DEMONSTRATION" in done.out
    half_width = site.pooled.interval.half_width
    assert f"90 % interval for a segment of a new patient: +- {half_width:.2f} points" in done.out
    assert str(study) not in out.read_text()
    assert not any(row["subject"] in out.read_text() for row in rows_of(study / "subjects.csv"))


def test_the_same_command_fits_the_same_calibration(avpenet_here: Avpenet, study: Path, tmp_path: Path) -> None:
    documents = []
    for name in ("a.json", "b.json"):
        assert avpenet_here("calibrate", *tables(study), "--method", "linear", "-q", "--out", tmp_path / name).code == 0
        document = json.loads((tmp_path / name).read_text())
        documents.append({key: document[key] for key in ("curves", "fitted_on", "settings", "notices")})
    assert documents[0] == documents[1]


def test_a_group_with_too_few_patients_gets_the_pooled_curve(
    avpenet_here: Avpenet, study: Path, tmp_path: Path
) -> None:
    out = tmp_path / "site.json"
    done = avpenet_here("calibrate", *tables(study), "--group", "age_group", "--out", out)
    assert done.code == 0, done.err
    assert [curve.group for curve in read_site(out).curves] == [""]
    assert "age_group neonate has no curve of its own (fewer than 20 patients)" in done.out


def test_abstention_says_what_is_answered(avpenet_here: Avpenet, study: Path, tmp_path: Path) -> None:
    out = tmp_path / "site.json"
    done = avpenet_here("calibrate", *tables(study), "--max-error", "2", "--out", out)
    assert done.code == 0, done.err
    abstention = read_site(out).abstention
    assert abstention is not None
    assert abstention.column == "thin_flags"  # the scores have no score_sd
    assert "answered where thin_flags is at most" in done.out
    assert "mean absolute error at most 2 points with 95 % confidence" in done.out


def test_a_calibration_is_not_replaced_unless_asked(avpenet_here: Avpenet, study: Path, tmp_path: Path) -> None:
    out = tmp_path / "site.json"
    out.write_text("{}")
    done = avpenet_here("calibrate", *tables(study), "--out", out)
    assert (done.code, out.read_text()) == (2, "{}")
    assert "--overwrite" in done.last_line
    assert avpenet_here("calibrate", *tables(study), "--out", out, "--overwrite", "-q").code == 0
    read_site(out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--group", "ward"), "has no column 'ward' to group by"),
        (("--coverage", "0.99"), "an interval of 99 % takes 99 patients"),
        (("--coverage", "1.2"), "give a share"),
        (("--method", "spline"), "use monotone, linear or none"),
        (("--max-error", "0.01"), "no threshold of thin_flags keeps"),
        (("--max-error", "1", "--max-large-errors", "0.1"), "give one of them"),
        (("--max-large-errors", "10"), "give a share"),
        (("--abstain-on", "score_sd"), "give --max-error"),
        (("--max-error", "1", "--abstain-on", "score_sd"), "no segment has a value of score_sd"),
        (("--max-error", "1", "--abstain-on", "ward"), "use one of score_sd"),
        (("--hold-s", "-1"), "cannot hold"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_in_one_line(
    avpenet_here: Avpenet, study: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = avpenet_here("calibrate", *tables(study), *arguments, "--out", tmp_path / "site.json")
    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    assert message in done.err
    refuse_existing(tmp_path / "site.json")


@pytest.mark.parametrize("stated", [None, 7])
def test_it_states_the_version_that_scored(avpenet_here: Avpenet, altered: Path, stated: int | None) -> None:
    manifest = altered / "scores.run.json"
    content = json.loads(manifest.read_text())
    content.pop("results_version", None)
    manifest.write_text(json.dumps(content | ({} if stated is None else {"results_version": stated})))
    assert avpenet_here("calibrate", *tables(altered), "--out", altered / "site.json").code == 0
    assert read_site(altered / "site.json").results_version == stated


def test_merged_spellings_of_a_patient_are_shown_and_not_written(avpenet_here: Avpenet, altered: Path) -> None:
    rows = rows_of(altered / "subjects.csv")
    first = rows[0]["subject"]
    recordings = {row["recording"] for row in rows if row["subject"] == first}
    twin = next(row for row in rows if row["recording"] not in recordings)
    twin |= {name: value for name, value in rows[0].items() if name != "recording"} | {"subject": first.lower()}
    write_rows(altered / "subjects.csv", rows)
    done = avpenet_here("calibrate", *tables(altered), "--out", altered / "site.json")
    assert done.code == 0, done.err
    assert "read as one patient" in done.out
    assert first.lower() not in (altered / "site.json").read_text().lower()


def test_too_few_patients_are_refused(avpenet_here: Avpenet, altered: Path) -> None:
    rows = rows_of(altered / "subjects.csv")
    few = {subject: f"P{number % 12}" for number, subject in enumerate(sorted({row["subject"] for row in rows}))}
    same = {"age_group": "adult", "site": "north", "sex": "male"}
    write_rows(altered / "subjects.csv", [row | same | {"subject": few[row["subject"]]} for row in rows])
    done = avpenet_here("calibrate", *tables(altered), "--out", altered / "site.json")
    assert done.code == 2
    assert "of 12 patients: a calibration takes at least 20" in done.last_line


def test_a_rated_recording_without_a_patient_is_refused(avpenet_here: Avpenet, altered: Path) -> None:
    write_rows(altered / "subjects.csv", rows_of(altered / "subjects.csv")[1:])
    done = avpenet_here("calibrate", *tables(altered), "--out", altered / "site.json")
    assert done.code == 2
    assert "does not say whose recording" in done.last_line


def test_scores_of_two_weights_are_refused(avpenet_here: Avpenet, study: Path, tmp_path: Path) -> None:
    arguments = [study / "scores-new.csv", *tables(study)]
    done = avpenet_here("calibrate", *arguments, "--out", tmp_path / "site.json")
    assert done.code == 2
    assert "use scores of the same weights together" in done.last_line


def test_an_input_is_not_overwritten(avpenet_here: Avpenet, study: Path) -> None:
    manifest = study / "scores.run.json"
    before = manifest.read_bytes()
    done = avpenet_here("calibrate", *tables(study), "--out", manifest, "--overwrite")
    assert done.code == 2
    assert "would overwrite" in done.last_line
    assert manifest.read_bytes() == before


def test_scores_that_say_nothing_are_refused(avpenet_here: Avpenet, tmp_path: Path) -> None:
    names = [f"r{number}.mp4" for number in range(24)]
    rows = [(name, 3.0 * place, float(place)) for name in names for place in range(8)]
    write_scores(tmp_path / "scores.csv", rows)
    write_ratings(tmp_path / "ratings.csv", [(name, start, 8.0 - score) for name, start, score in rows])
    subjects = ["recording,subject", *(f"{name},{name[:-4]}" for name in names)]
    (tmp_path / "subjects.csv").write_text("\n".join(subjects) + "\n")
    done = avpenet_here("calibrate", *tables(tmp_path), "--out", tmp_path / "site.json")
    assert done.code == 2
    assert "the scores do not rise with the ratings" in done.last_line
