"""The commands of the guides to audits, ratings, calibration, monitoring and export run as they are printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.make_study import make_study
from tests.support.documented_commands import STUDY_PAGES, folder_with_examples, run_commands
from tests.support.preloaded_program import PreloadedProgram


@pytest.mark.slow
def test_the_commands_of_pages_on_a_study_run(tmp_path: Path, program: PreloadedProgram) -> None:
    make_study(tmp_path / "study")
    run_commands(STUDY_PAGES, folder_with_examples(tmp_path), program)
    assert (tmp_path / "study" / "audit.html").exists()
    assert (tmp_path / "study" / "site.json").exists()
    assert (tmp_path / "study" / "monitor.html").exists()
