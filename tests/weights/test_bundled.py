"""The bundled default weights: intact, used when none are named, and marked as a demonstration in every output."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from avpenet_cli import weights
from avpenet_cli.errors import ExitCode, WeightsError
from avpenet_cli.model.architecture import Architecture
from tests.conftest import REPOSITORY, Answer, ClipMaker

_MAX_BYTES = 60_000_000
_PHANTOMS = REPOSITORY / "examples" / "phantoms"


@pytest.fixture(autouse=True)
def _nothing_else_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(tmp_path / "none"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "none"))


def test_default_is_intact_and_small() -> None:
    entry = weights.default_entry()
    assert entry.path is not None
    assert entry.path.parent == REPOSITORY / "weights"
    weights.verify(entry)
    assert entry.path.stat().st_size < _MAX_BYTES


def test_default_states_what_it_was_trained_on() -> None:
    description = weights.default_entry().description
    assert description.status == "demonstration"
    assert description.notice.startswith("DEMONSTRATION weights, trained on ")
    assert description.notice.endswith(", not for patients")
    assert "Patients" in description.not_intended_use
    assert description.licence.startswith("MIT; learnt from data under ")
    assert "simulated patients" in description.training_data.lower()
    assert "No patient" in description.training_data
    assert "kept out" in description.training_data
    assert isinstance(description.architecture, Architecture)
    assert description.architecture.fusion == "tokens"


def test_missing_default_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avpenet_cli.weights.finding.DEFAULT_NAME", "no-such-weights")
    with pytest.raises(WeightsError) as caught:
        weights.default_entry()
    assert caught.value.exit_code == ExitCode.ENVIRONMENT
    assert "default weights no-such-weights are missing" in caught.value.message
    assert "--weights" in caught.value.remedy


@pytest.mark.slow
def test_outputs_of_the_default_have_the_demonstration_notice(
    clips: ClipMaker, tmp_path: Path, avpenet_here: Callable[..., Answer]
) -> None:
    notice = weights.default_entry().description.notice
    table, page, ratings = tmp_path / "scores.csv", tmp_path / "report.html", tmp_path / "ratings.csv"
    clip = clips.brief()
    ratings.write_text(f"recording,start_s,end_s,value\n{clip.name},0,3,4\n")
    scored = avpenet_here("score", clip, "--out", table)
    assert scored.code == 0, scored.err
    assert scored.err.count(notice) == 1
    assert pd.read_csv(table)["weights"].str.endswith(" demonstration").all()
    assert notice in json.dumps(json.loads(table.with_name("scores.run.json").read_text()))
    reported = avpenet_here("report", table, "--reference", ratings, "--out", page)
    assert reported.code == 0, reported.err
    assert notice.lower() in page.read_text().lower()
