"""The commands of README, the first tutorial and the guides to scoring run as they are printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.documented_commands import SCORING_PAGES, folder_with_examples, run_commands
from tests.support.preloaded_program import PreloadedProgram


@pytest.mark.slow
def test_the_commands_of_pages_on_scoring_run(tmp_path: Path, program: PreloadedProgram) -> None:
    # Of the recording that most commands take, the first seconds: all that a page names.
    folder = folder_with_examples(tmp_path, seconds=6)
    run_commands(SCORING_PAGES, folder, program)
    assert (tmp_path / "scores.csv").read_text().startswith("recording,segment,")
    assert (tmp_path / "scores.run.json").exists()
    assert (tmp_path / "study" / "report.html").exists()
