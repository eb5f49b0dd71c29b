"""The commands of the tutorials on phantoms, and of the guides that go on from there, run as they are printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.documented_commands import PHANTOM_PAGES, folder_with_examples, run_commands
from tests.support.preloaded_program import PreloadedProgram


@pytest.mark.slow
def test_the_commands_of_pages_on_phantoms_run(tmp_path: Path, program: PreloadedProgram) -> None:
    run_commands(PHANTOM_PAGES, folder_with_examples(tmp_path), program)
    assert (tmp_path / "phantom-report.html").exists()
    assert "PHANTOMS" in (tmp_path / "store" / "store.json").read_text()
    assert (tmp_path / "evaluation" / "evaluation.json").exists()
