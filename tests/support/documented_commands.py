"""Running the commands of documentation pages, as a reader would."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.conftest import REPOSITORY

BLOCK = re.compile(r"^```(\S+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
"""An opening fence with its info string, the text, the closing fence."""


def read(page: Path) -> str:
    """The text of a page."""
    return page.read_text(encoding="utf-8")


def shell_blocks(page: Path) -> Iterator[str]:
    """Its sh blocks, but for those marked `no-run`."""
    for language, info, text in BLOCK.findall(read(page)):
        if language == "sh" and "no-run" not in info:
            yield text


def folder_with_examples(folder: Path) -> Path:
    """A fresh folder that holds the examples, as a reader's copy of the repository does."""
    shutil.copytree(REPOSITORY / "examples", folder / "examples")
    return folder


def run_commands(pages: Sequence[Path], folder: Path) -> None:
    """Run every sh block of the pages, in order, in `folder`.

    Raises:
        AssertionError: one does not exit with 0.
    """
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder),
    }
    already_run = set()
    for page in pages:
        for block in shell_blocks(page):
            # Pages share blocks; a repeated one is run once, but for a score, which resumes in a moment.
            if block in already_run and "avpenet score" not in block:
                continue
            already_run.add(block)
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", block],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=600,
            )
            assert done.returncode == 0, f"{page.name}\n{block}\n{done.stdout}\n{done.stderr}"
