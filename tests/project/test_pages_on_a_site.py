"""The tutorial that follows a site from recordings and BORIS ratings to a calibrated, monitored archive."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.support.documented_commands import SITE_PAGES, folder_with_examples, run_commands
from tests.support.preloaded_program import PreloadedProgram


@pytest.mark.slow
def test_the_tutorial_of_a_site_runs_and_says_what_happens(tmp_path: Path, program: PreloadedProgram) -> None:
    run_commands(SITE_PAGES, folder_with_examples(tmp_path), program)
    scores = pd.read_csv(tmp_path / "scores.csv")
    assert ((scores["interval_lo"] <= scores["calibrated"]) & (scores["calibrated"] <= scores["interval_hi"])).all()
    usual, dark = (json.loads((tmp_path / name).read_text()) for name in ("fifth.json", "sixth.json"))
    assert not usual["alarms"]
    assert {alarm["measure"] for alarm in dark["alarms"]} == {"face_rate", "without_face"}
