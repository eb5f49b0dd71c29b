"""`--calibration`: applied when tables are written, to what fits it only, and stated."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pandas as pd
import pytest

import avpenet_cli.schemas
from avpenet_cli.calibration.site import SiteCalibration, sealed, write_site
from avpenet_cli.errors import SettingsError
from avpenet_cli.inputs import Inputs, LeftAside, Recording
from avpenet_cli.records import Balance, Quality, RecordingOutcome, SegmentScore, Status
from avpenet_cli.runs.callbacks import RunCallbacks
from avpenet_cli.runs.journal import Journal
from avpenet_cli.runs.manifest import weights_mark
from avpenet_cli.scoring.request import ScoreRequest
from avpenet_cli.scoring.results import Results, RunFacts
from avpenet_cli.settings import RESULTS_VERSION, RunSettings
from avpenet_cli.study.score_tables import read_scores
from avpenet_cli.tables import CALIBRATED_COLUMNS, CHANGE_COLUMNS, COLUMNS
from avpenet_cli.weights import WeightsEntry
from tests.conftest import Answer
from tests.support.sites import curve, site
from tests.support.weight_descriptions import make_description

SCHEMAS = Path(avpenet_cli.schemas.__file__).parent
WEIGHTS = make_description("w")
MARK = weights_mark(WEIGHTS)
ADDED = [column.name for column in CALIBRATED_COLUMNS]
SCORES = {"a.mp4": (1.0, 5.0, 9.5), "b.mp4": (3.0, None)}


class Lines(RunCallbacks):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, message: str, **fields: object) -> None:
        self.lines.append(message)

    warning = info


def calibration(folder: Path, content: SiteCalibration) -> Path:
    write_site(folder / "site.json", content)
    return folder / "site.json"


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "scores.csv", {})
    for name, scores in SCORES.items():
        (tmp_path / name).write_bytes(b"x")
        segments = tuple(
            SegmentScore(
                place,
                3.0 * place,
                3.0 * place + 3.0,
                Status.UNSCORABLE if score is None else Status.SCORED,
                Quality(),
                score,
                score_sd=None if score is None else score / 10,
                modalities="" if score is None else "audio",
            )
            for place, score in enumerate(scores)
        )
        outcome = RecordingOutcome(Status.SCORED, segments, Balance(9.0, 9.0))
        opened.note(Recording(tmp_path / name, name, name), (tmp_path / name).stat(), outcome)
    yield opened
    opened.close()


def requested(folder: Path, **options: object) -> ScoreRequest:
    recordings = tuple(Recording(folder / name, name, name) for name in SCORES)
    defaults: dict[str, object] = {"settings": RunSettings(mc_samples=2), "out": folder / "scores.csv"} | options
    return ScoreRequest(Inputs(recordings, LeftAside()), weights=WeightsEntry(WEIGHTS, None), **defaults)  # type: ignore[arg-type]


def written(request: ScoreRequest, journal: Journal) -> tuple[list[dict[str, str]], list[str]]:
    lines = Lines()
    Results(request).write(journal, RunFacts("cpu", set(), datetime.now(UTC)), lines)
    with request.out.open(newline="") as file:
        return list(csv.DictReader(file)), lines.lines


def manifest(folder: Path) -> dict[str, dict[str, object]]:
    content: dict[str, dict[str, object]] = json.loads((folder / "scores.run.json").read_text())
    return content


def test_columns_are_there_only_when_asked_for(journal: Journal, tmp_path: Path) -> None:
    plain, _ = written(requested(tmp_path), journal)
    before = (tmp_path / "scores.csv").read_bytes()
    path = calibration(tmp_path, site(mark=MARK))
    rows, lines = written(requested(tmp_path, calibration=path, baseline="quiet"), journal)
    names = [column.name for column in (*COLUMNS, *CHANGE_COLUMNS, *CALIBRATED_COLUMNS)]
    assert list(rows[0]) == names
    assert [{name: row[name] for name in plain[0]} for row in rows] == plain
    assert [[row[name] for name in ADDED] for row in rows] == [
        ["2.000", "0.500", "3.500", "0"],
        ["5.000", "3.500", "6.500", "0"],
        ["9.000", "7.500", "10.000", "0"],
        ["3.500", "2.000", "5.000", "0"],
        ["", "", "", ""],
    ]
    entry = manifest(tmp_path)["calibration"]
    assert entry["digest"] == site(mark=MARK).digest and entry["file"] == "site.json"
    assert (entry["n_subjects"], entry["calibrated"], entry["outside"], entry["abstained"]) == (30, 4, 1, 0)
    assert "4 segments, by a calibration fitted on 30 patients" in "\n".join(lines)
    assert "1 segment with a score outside 1 to 9" in "\n".join(lines)
    assert "DEMONSTRATION" in "\n".join(lines)
    assert read_scores([tmp_path / "scores.csv"]).sources[0].manifest_state == "verified"
    assert "lost" not in "\n".join(lines)
    _, lines = written(requested(tmp_path), journal)
    assert [line for line in lines if "lost" in line] == [
        "scores.csv lost change, change_se, which an earlier run wrote: give --baseline again to keep them",
        "scores.csv lost calibrated, interval_lo, interval_hi, abstained, which an earlier run wrote: give "
        "--calibration again to keep them",
    ]
    assert (tmp_path / "scores.csv").read_bytes() == before and "calibration" not in manifest(tmp_path)


def test_abstention_goes_by_the_column_that_was_chosen(journal: Journal, tmp_path: Path) -> None:
    path = calibration(tmp_path, site(abstains=True, mark=MARK))
    rows, lines = written(requested(tmp_path, calibration=path), journal)
    assert [row["abstained"] for row in rows] == ["0", "0", "1", "0", ""]
    assert rows[2]["calibrated"] == rows[2]["interval_hi"] == "" and rows[2]["score"] == "9.500"
    assert manifest(tmp_path)["calibration"]["abstained"] == 1
    assert "1 segment without a calibrated score: the calibration abstains" in lines
    with pytest.raises(SettingsError, match="abstains by score_sd, which this run does not compute; score with --mc"):
        Results(requested(tmp_path, calibration=path, settings=RunSettings()))


def test_groups_come_from_the_table_of_subjects(journal: Journal, tmp_path: Path) -> None:
    path = calibration(tmp_path, site(curve("neonate", half_width=0.5, shift=2.0), mark=MARK))
    with pytest.raises(
        SettingsError, match="curves by age_group, and the recordings' age_group is not known; give --s"
    ):
        Results(requested(tmp_path, calibration=path))
    subjects = tmp_path / "who.csv"
    subjects.write_text("recording,subject\na.mp4,P1\n")
    with pytest.raises(SettingsError, match=r"who\.csv: has no column age_group, by which site\.json has its curves"):
        Results(requested(tmp_path, calibration=path, subjects=subjects))
    subjects.write_text("recording,subject,age_group\na.mp4,P1,Neonate\nb.mp4,P2,\n")
    rows, lines = written(requested(tmp_path, calibration=path, subjects=subjects), journal)
    assert [row["calibrated"] for row in rows] == ["3.000", "5.000", "9.000", "", ""]
    assert rows[0]["interval_hi"] == "3.500" and rows[3]["abstained"] == ""
    assert manifest(tmp_path)["calibration"]["without_group"] == ["b.mp4"]
    assert "1 recording not calibrated: no age_group in the table of subjects" in lines
    subjects.write_text("recording,subject,age_group\na.mp4,P1,adult\nb.mp4,P2,neonate\n")
    rows, lines = written(requested(tmp_path, calibration=path, subjects=subjects), journal)
    assert [row["calibrated"] for row in rows[:4]] == ["2.000", "5.000", "9.000", "4.000"]
    assert "3 segments by the curve of all patients: no curve for their age_group" in lines


def test_calibrations_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"this run has scores of w@.* the calibration is for avpenet-phantom@"):
        Results(requested(tmp_path, calibration=calibration(tmp_path, site())))
    fits = site(mark=MARK)
    other = dataclasses.replace(fits, weights=dataclasses.replace(fits.weights, digest=WEIGHTS.digest[:12] + "0" * 52))
    with pytest.raises(SettingsError, match="is for weights with another digest"):
        Results(requested(tmp_path, calibration=calibration(tmp_path, sealed(other))))
    older = sealed(dataclasses.replace(fits, results_version=RESULTS_VERSION - 1))
    with pytest.raises(SettingsError, match=r"was fitted on scores of another version of avpenet .* score the rated"):
        Results(requested(tmp_path, calibration=calibration(tmp_path, older)))
    path = calibration(tmp_path, fits)
    path.write_text(path.read_text().replace('"coverage": 0.9', '"coverage": 0.8'))
    with pytest.raises(SettingsError, match="was changed after it was fitted"):
        Results(requested(tmp_path, calibration=path))
    with pytest.raises(SettingsError, match=r"--calibration .*none\.json: cannot be read: No such file"):
        Results(requested(tmp_path, calibration=tmp_path / "none.json"))
    (tmp_path / "half.json").write_bytes(b'\xff\xfe{"kind')
    with pytest.raises(SettingsError, match=r"half\.json cannot be read: not JSON"):
        Results(requested(tmp_path, calibration=tmp_path / "half.json"))
    with pytest.raises(SettingsError, match="would overwrite"):
        Results(requested(tmp_path, out=path, calibration=path))


def test_calibration_that_does_not_state_a_version_is_applied_with_a_warning(journal: Journal, tmp_path: Path) -> None:
    unstated = sealed(dataclasses.replace(site(mark=MARK), results_version=None))
    rows, lines = written(requested(tmp_path, calibration=calibration(tmp_path, unstated)), journal)
    assert rows[0]["calibrated"]
    assert any(line.startswith("the calibration does not state which version of avpenet scored") for line in lines)
    path = calibration(tmp_path, site(mark=MARK))
    assert not any("does not state" in line for line in written(requested(tmp_path, calibration=path), journal)[1])


def test_pseudonyms_keep_the_files_name_out(journal: Journal, tmp_path: Path) -> None:
    path = calibration(tmp_path, site(mark=MARK))
    written(requested(tmp_path, calibration=path, pseudonymised=True), journal)
    assert manifest(tmp_path)["calibration"]["file"] == ""
    assert "site.json" not in (tmp_path / "scores.run.json").read_text()


def test_report_compares_the_raw_score_and_says_so(
    journal: Journal, avpenet_here: Callable[..., Answer], tmp_path: Path
) -> None:
    content = site(mark=MARK)
    fitted_on = dataclasses.replace(content.fitted_on, recorded_from="2026-01-02", recorded_to="2026-03-04")
    content = sealed(dataclasses.replace(content, fitted_on=fitted_on))
    written(requested(tmp_path), journal)
    plain = tmp_path / "plain.html"
    assert avpenet_here("report", tmp_path / "scores.csv", "--out", plain).code == 0
    written(requested(tmp_path, calibration=calibration(tmp_path, content), baseline="quiet"), journal)
    page = tmp_path / "report.html"
    answer = avpenet_here("report", tmp_path / "scores.csv", "--out", page)
    assert answer.code == 0, answer.err
    text = page.read_text()
    assert "This report compares <code>score</code>, not <code>calibrated</code>." in text
    assert content.digest[:12] in text and "30 patients" in text and "from 2026-01-02 to 2026-03-04" in text
    assert "calibrated" not in plain.read_text()
    documents = [json.loads(path.with_suffix(".json").read_text()) for path in (plain, page)]
    jsonschema.validate(documents[1], json.loads((SCHEMAS / "report.schema.json").read_text()))
    runs = [document["inputs"]["scores"][0]["run"]["calibration"] for document in documents]
    assert runs[0] is None and runs[1]["digest"] == content.digest
    assert documents[0]["distribution"] == documents[1]["distribution"]
    jsonschema.validate(manifest(tmp_path), json.loads((SCHEMAS / "manifest.schema.json").read_text()))
    answer = avpenet_here("trajectory", tmp_path / "scores.csv", "--out", tmp_path / "trajectories.csv")
    assert answer.code == 0, answer.err


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_other_formats_have_the_same_columns(suffix: str, journal: Journal, tmp_path: Path) -> None:
    path, out = calibration(tmp_path, site(mark=MARK)), tmp_path / f"scores{suffix}"
    request = requested(tmp_path, calibration=path, baseline="quiet", out=out)
    Results(request).write(journal, RunFacts("cpu", set(), datetime.now(UTC)), Lines())
    table = pd.read_parquet(out) if suffix == ".parquet" else pd.read_json(out, lines=True)
    assert list(table.columns[-6:]) == [column.name for column in (*CHANGE_COLUMNS, *CALIBRATED_COLUMNS)]
    assert table["calibrated"].tolist()[:4] == [2.0, 5.0, 9.0, 3.5] and table["abstained"].tolist()[:4] == [0] * 4
    assert table[["change", "change_se"]].isna().all(axis=None) and table.iloc[4][ADDED].isna().all()
    assert len(read_scores([out]).segments) == 5
