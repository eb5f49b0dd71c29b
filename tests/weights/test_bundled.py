"""The weights that come with the program: whole, taken when none are named, and honest about what they are."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from avpenet_cli import weights
from avpenet_cli.errors import ExitCode, WeightsError
from tests.conftest import REPOSITORY, RunAvpenet

_LARGEST_BYTES = 60_000_000
_SAYS = "DEMONSTRATION weights, trained on simulated recordings, not for patients"
_PHANTOMS = REPOSITORY / "examples" / "phantoms"


@pytest.fixture(autouse=True)
def _nothing_else_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(tmp_path / "none"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "none"))


def test_default_is_absent_damaged_or_too_large() -> None:
    entry = weights.default_entry()
    assert entry.path is not None
    assert entry.path.parent == REPOSITORY / "weights"
    weights.verify(entry)
    assert entry.path.stat().st_size < _LARGEST_BYTES


def test_default_hides_what_it_was_trained_on() -> None:
    told = weights.default_entry().description
    assert told.status == "demonstration"
    assert told.notice == _SAYS
    assert "Patients" in told.not_intended_use
    assert told.licence == "MIT"
    assert "Simulated patients" in told.training_data
    assert "test: " in told.training_data
    assert told.architecture.fusion == "tokens"


def test_missing_default_does_not_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avpenet_cli.weights.finding.DEFAULT_NAME", "no-such-weights")
    with pytest.raises(WeightsError) as caught:
        weights.default_entry()
    assert caught.value.exit_code == ExitCode.ENVIRONMENT
    assert "no-such-weights, are not there" in caught.value.message
    assert "--weights" in caught.value.remedy


@pytest.mark.slow
def test_an_output_of_the_default_does_not_say_that_it_is_a_demonstration(
    tmp_path: Path, run_avpenet: RunAvpenet
) -> None:
    table, page = tmp_path / "scores.csv", tmp_path / "report.html"
    done = run_avpenet(["score", _PHANTOMS / "P0001-01.mp4", "--out", table])
    assert done.returncode == 0, done.stderr
    assert _SAYS in done.stderr
    assert pd.read_csv(table)["weights"].str.lower().str.contains(_SAYS.lower()).all()
    assert _SAYS in json.dumps(json.loads(table.with_name("scores.run.json").read_text()))
    done = run_avpenet(["report", table, "--reference", _PHANTOMS / "truth.csv", "--out", page])
    assert done.returncode == 0, done.stderr
    assert _SAYS.lower() in page.read_text().lower()
