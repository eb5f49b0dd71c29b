"""README must not drift from the program: its tables are the code's, its commands run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from avpenet_cli.errors import ExitCode
from avpenet_cli.records import FLAG_MEANINGS, Flag
from avpenet_cli.settings import RunSettings, from_dict, to_dict
from avpenet_cli.tables import COLUMNS

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def table_after(heading: str) -> list[tuple[str, str]]:
    """The first two-column table below a heading, without its head."""
    below = README.split(heading, 1)[1]
    rows = re.findall(r"^\| (.+?) \| (.+) \|$", below.split("\n\n| ", 1)[1].split("\n\n", 1)[0], re.MULTILINE)
    return [(first.strip("`"), second) for first, second in rows if first != "---"]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_the_columns_are_those_of_the_table_in_their_order() -> None:
    assert table_after("## The columns") == [(column.name, column.meaning) for column in COLUMNS]


def test_every_flag_is_explained_in_the_words_of_the_program() -> None:
    assert set(FLAG_MEANINGS) == set(Flag)
    assert table_after("### Flags") == [(flag.value, FLAG_MEANINGS[flag]) for flag in Flag]


def test_every_exit_code_is_explained() -> None:
    assert [int(code) for code, _ in table_after("### Exit codes")] == [code.value for code in ExitCode]


def test_the_settings_file_shows_all_settings_with_their_defaults() -> None:
    (shown,) = blocks("toml")
    plain = tomllib.loads(shown)
    assert plain == to_dict(RunSettings())
    assert from_dict(RunSettings, plain, "README") == RunSettings()


@pytest.mark.slow
def test_its_commands_run(tmp_path: Path) -> None:
    """Every line of its sh blocks, in order, in a fresh folder that holds the examples."""
    shutil.copytree(REPOSITORY / "examples", tmp_path / "examples")
    # `make setup` has run, or this test would not; its own test covers it.
    lines = [line for block in blocks("sh") for line in block.splitlines() if line and line != "make setup"]
    assert any(line.startswith("avpenet score") for line in lines)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for line in lines:
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=tmp_path,
            env=os.environ | {"PATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    assert (tmp_path / "scores.csv").read_text().startswith("recording,segment,")
    assert (tmp_path / "scores.run.json").exists()
    assert (tmp_path / "study" / "report.html").exists()
    assert (tmp_path / "phantom-report.html").exists()
    assert "PHANTOMS" in (tmp_path / "store" / "store.json").read_text()
