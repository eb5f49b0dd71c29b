"""Files of version 0.1.0 open, or are refused with the way forward: each row of docs/reference/compatibility.md."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from avpenet_cli.commissioning.baseline import read_baseline
from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.settings import from_dict, read_settings
from avpenet_cli.training.run_directory import RunIdentity
from avpenet_cli.training.settings import TrainSettings
from avpenet_cli.version import __version__
from tests.conftest import REPOSITORY, Answer, ClipMaker
from tests.upgrades.make_files import TRAIN

Avpenet = Callable[..., Answer]
ARCHIVE = Path(__file__).parent / "0.1.0.tar.xz"


def unpack(folder: Path) -> None:
    """Put what version 0.1.0 wrote into a folder."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """A folder of what version 0.1.0 wrote."""
    unpack(tmp_path)
    return tmp_path


def _checks(name: str) -> list[str]:
    """First cells of the table under a heading of the page."""
    page = (REPOSITORY / "docs" / "reference" / "compatibility.md").read_text()
    section = page.split(f"## {name}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| ([^|]+?) \| (?:columns )?\d", section, re.MULTILINE)


def test_files_are_small() -> None:
    assert ARCHIVE.stat().st_size < 100_000


def test_score_table_and_manifest_are_read(earlier: Path, avpenet_here: Avpenet) -> None:
    out = earlier / "bundle.json"
    answer = avpenet_here("export", earlier / "scores.csv", "--to", "fhir", "--out", out, "--allow-demonstration")
    assert answer.code == 0, answer.err
    assert len(json.loads(out.read_text())["entry"]) >= 4
    table = earlier / "trajectory.csv"
    assert avpenet_here("trajectory", earlier / "scores.csv", "--out", table).code == 0
    assert "P4.mkv" in table.read_text()


def test_table_weights_and_reports_are_verified(earlier: Path, avpenet_here: Avpenet) -> None:
    answer = avpenet_here("verify", earlier / "scores.csv")
    assert answer.code == 0, answer.out
    assert "INTACT: 3 intact, 1 not checked" in answer.out
    for document in ("report.json", "evaluation/evaluation.json"):
        answer = avpenet_here("verify", earlier / document)
        assert "altered" not in answer.out
        assert "scores.csv: intact" in answer.out
    table = earlier / "scores.csv"
    table.write_text(table.read_text().replace("P1.mkv", "P9.mkv"))
    assert avpenet_here("verify", table).code == 4


@pytest.mark.slow
def test_report_says_that_tables_of_both_versions_were_scored_differently(
    earlier: Path, clips: ClipMaker, avpenet_here: Avpenet, tmp_path: Path
) -> None:
    now = tmp_path / "now.csv"
    score = ("score", clips.brief(), "--out", now, "--weights", earlier / "zeros.safetensors", "--device", "cpu")
    assert avpenet_here(*score).code == 0
    page = tmp_path / "report.html"
    assert avpenet_here("report", earlier / "scores.csv", now, "--out", page).code == 0
    notices = json.loads(page.with_suffix(".json").read_text())["notices"]
    assert {
        "level": "danger",
        "text": f"scores.csv and now.csv were scored by versions of avpenet that score differently (0.1.0 and "
        f"{__version__}): score the older recordings again before you compare them.",
    } in notices
    assert avpenet_here("report", now, "--out", page).code == 0
    assert "score differently" not in page.read_text()


@pytest.mark.slow
def test_status_reads_the_journal_but_score_does_not_resume_it(
    earlier: Path, clips: ClipMaker, avpenet_here: Avpenet
) -> None:
    out, before = earlier / "scores.csv", (earlier / "scores.csv").read_bytes()
    assert "4 done, 0 failed" in avpenet_here("status", out).out
    score = ("score", clips.brief(), "--out", out, "--weights", earlier / "zeros.safetensors", "--device", "cpu")
    answer = avpenet_here(*score)
    assert answer.code == 2
    assert "results_version was 1, now 3" in answer.last_line
    assert answer.last_line.endswith("choose another --out, or --overwrite to score everything again")
    assert out.read_bytes() == before
    # The way forward, with weights of 0.1.0.
    assert avpenet_here(*score, "--overwrite").code == 0
    assert out.read_bytes() != before


def test_weights_are_loaded(earlier: Path, avpenet_here: Avpenet) -> None:
    answer = avpenet_here("weights", "verify", earlier / "zeros.safetensors")
    assert answer.code == 0
    assert answer.out.startswith("zeros: intact")


def test_store_is_read(earlier: Path) -> None:
    store = SegmentStore.open(earlier / "store")
    assert [len(store.rated(split, None)) for split in ("train", "validation", "test")] == [2, 1, 1]


def test_training_run_may_be_resumed(earlier: Path) -> None:
    settings = earlier / "train.toml"
    settings.write_text(TRAIN)
    now = RunIdentity.of(
        SegmentStore.open(earlier / "store"), read_settings(TrainSettings, settings, {"device": "cpu"}), []
    )
    path = earlier / "own.train" / "run.json"
    assert now.differences(from_dict(RunIdentity, json.loads(path.read_text()), str(path))) == ""


def test_report_is_no_pilot(earlier: Path, avpenet_here: Avpenet) -> None:
    answer = avpenet_here("report", "--plan", "--pilot", earlier / "report.json", "--limit", "3")
    assert answer.code == 2
    assert answer.last_line.endswith(
        "report.json has format version 1; this program reads 2 to 4; make the report again from its tables"
    )


@pytest.mark.slow
def test_evaluation_is_replaced_only_when_asked(earlier: Path, avpenet_here: Avpenet) -> None:
    evaluate = ("evaluate", earlier / "store", "--weights", earlier / "zeros.safetensors", "--conditions", "none")
    answer = avpenet_here(*evaluate, "--device", "cpu", "--out", earlier / "evaluation")
    assert answer.code == 2
    assert "give --overwrite to replace the evaluation" in answer.last_line
    answer = avpenet_here(*evaluate, "--device", "cpu", "--out", earlier / "evaluation", "--overwrite")
    assert answer.code == 0, answer.err


def test_scores_of_phantoms_are_read(earlier: Path) -> None:
    assert read_baseline(earlier / "baseline.json").weights


def test_each_row_has_a_test() -> None:
    assert _checks("Files of version 0.1.0") == [
        "score table",
        "manifest, `*.run.json`",
        "journal, `*.journal`",
        "segment store",
        "weights and their description",
        "training run, `run.json`",
        "`report.json`",
        "evaluation",
        "scores of phantoms, `phantom check --save`",
    ]
