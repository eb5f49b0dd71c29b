"""The documentation must not drift: its commands run, its links resolve, its reference lists what the code has."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET
from functools import cache
from pathlib import Path

import pytest
import torch
from pydantic import TypeAdapter

from avpenet_cli.errors import ExitCode
from avpenet_cli.experiment.settings import read_experiment
from avpenet_cli.model.registry import NETWORKS
from avpenet_cli.model.systems import settings as systems_settings
from avpenet_cli.records import FLAG_MEANINGS, Flag, Reason
from avpenet_cli.tables import COLUMNS
from docs import generate, program_source, settings_tables
from tests.support.documented_commands import (
    BLOCK,
    PAGES_RUN_TOGETHER,
    commands_with_and_without_history,
    documented_outputs,
    read,
    shell_blocks,
)

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"
FRONT_PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md"]
PAGES = [*FRONT_PAGES, *sorted(DOCS.rglob("*.md"))]
RUN_PAGES = [
    REPOSITORY / "README.md",
    *sorted((DOCS / "tutorials").glob("*.md")),
    *sorted((DOCS / "how-to").glob("*.md")),
]
"""Pages whose commands run."""

_NO_RUN = re.compile(r"^<!-- no-run: \S.+ -->\n```sh no-run$", re.MULTILINE)


# --- commands --------------------------------------------------------------------------------------------------------


def test_a_block_that_does_not_run_says_why() -> None:
    for page in RUN_PAGES:
        text = read(page)
        assert len(_NO_RUN.findall(text)) == text.count("```sh no-run"), page


def test_the_commands_of_every_page_are_run_by_one_test() -> None:
    """By those of `tests/project/test_pages_*.py`, and that of explanations in `tests/cli/test_explain.py`."""
    run = [page for pages in PAGES_RUN_TOGETHER for page in pages]
    assert len(set(run)) == len(run)
    assert {page for page in RUN_PAGES if any(shell_blocks(page))} <= set(run) <= set(RUN_PAGES)


def test_of_every_command_the_reference_says_whether_it_keeps_a_history() -> None:
    """That it does where it should shows when the commands of the pages run."""
    with_history, without = commands_with_and_without_history()
    writing_nothing = {"status", "verify", "doctor", "bench", "weights list", "weights show", "weights verify"}
    named = [*with_history, *without, *writing_nothing]
    assert sorted(named) == sorted(name.removeprefix("avpenet ") for name, _ in generate.commands())
    run = {name for pages in PAGES_RUN_TOGETHER for name, _ in documented_outputs(pages)}
    # A merge has no --out: it writes the output of its shards.
    assert with_history - {"merge"} <= run


# --- links -----------------------------------------------------------------------------------------------------------


@cache
def anchors(page: Path) -> frozenset[str]:
    """What a heading may be linked by, as GitHub and MyST spell it."""
    text = BLOCK.sub("", read(page))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", BLOCK.sub("", read(page))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.is_relative_to(REPOSITORY), target
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


# --- what the code knows ---------------------------------------------------------------------------------------------


def test_every_command_and_option_is_in_the_reference() -> None:
    page = generate.command_pages()
    names = [name for name, _ in generate.commands()]
    assert {"avpenet score", "avpenet phantom check", "avpenet weights import"} <= set(names)
    for name, command in generate.commands():
        section = page.split(f"## {name}\n", 1)[1].split("\n## ", 1)[0]
        for parameter in command.params:
            if not generate.is_argument(parameter):
                assert all(f"{option}" in section for option in parameter.opts), (name, parameter.opts)
            assert parameter.help, (name, parameter.name)


def test_columns_flags_reasons_and_exit_codes_are_all_explained() -> None:
    columns = [f"| `{column.name}` | " for column in COLUMNS]
    assert [
        line[: len(start)] for line, start in zip(generate.columns().splitlines()[2:], columns, strict=True)
    ] == columns
    assert set(FLAG_MEANINGS) == set(Flag)
    assert all(f"| `{flag.value}` | {FLAG_MEANINGS[flag]} |" in generate.flags() for flag in Flag)
    for kind in (ExitCode, Reason):
        for member, meaning in program_source.members(kind):
            assert meaning, member


@pytest.mark.parametrize("name", generate.SETTINGS)
def test_every_setting_has_a_meaning_and_the_shown_file_gives_the_defaults(name: str) -> None:
    kind = generate.SETTINGS[name]
    rows = list(settings_tables.settings_rows(kind()))
    assert [row[0] for row in rows if not row[3]] == []
    shown = tomllib.loads(settings_tables.toml(kind()))
    assert TypeAdapter(kind).validate_python(shown) == kind()


def test_every_setting_of_networks_and_experiments_has_a_meaning() -> None:
    kinds = [entry.settings_class()() for entry in NETWORKS.values()]
    for settings in (*kinds, *generate.EXPERIMENT_SETTINGS.values(), *generate.MAP_SETTINGS.values()):
        rows = list(settings_tables.settings_rows(settings))
        assert rows
        assert [(type(settings).__name__, row[0]) for row in rows if not row[3]] == []


def test_the_systems_of_every_preset_are_in_the_reference() -> None:
    page = generate.experiment_systems()
    for preset in ("paper", "quick"):
        assert all(f"| `{name}` | " in page for name in read_experiment(preset, None).systems)


def test_the_example_of_an_experiment_can_be_used_and_is_quoted_in_the_guide() -> None:
    example = REPOSITORY / "examples" / "experiment.toml"
    settings = read_experiment(None, example)
    assert {settings.train_settings(name, 42).network for name in settings.systems} >= {"avpenet", "context"}
    blocks = [
        text for language, _, text in BLOCK.findall(read(DOCS / "how-to" / "experiments.md")) if language == "toml"
    ]
    assert blocks == [read(example)]


def test_the_network_of_the_guide_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = [
        text for language, _, text in BLOCK.findall(read(DOCS / "how-to" / "add-a-system.md")) if language == "python"
    ]
    settings_block, network_block, entry_block = blocks
    written = dict(vars(systems_settings))
    exec(settings_block, written)
    monkeypatch.setattr(systems_settings, "BandEnergySettings", written["BandEnergySettings"], raising=False)
    module: dict[str, object] = {"__name__": "band_energy"}
    exec(network_block, module)
    network = module["BandEnergy"](systems_settings.BandEnergySettings(hidden=4))  # type: ignore[operator, attr-defined]
    scores = network.score(network.encode_audio(torch.rand(3, 1, 128, 300)), None)
    assert scores.shape == (3,)
    assert bool(((scores >= 0) & (scores <= 10)).all())
    names = dict(re.findall(r"(\w+)=\"([^\"]+)\"", entry_block))
    assert names["network"].endswith(":BandEnergy")
    assert names["settings"] == "avpenet_cli.model.systems.settings:BandEnergySettings"


def test_every_generated_part_is_on_a_page() -> None:
    asked = {name for page in DOCS.rglob("*.md") for name in re.findall(r"<!-- generated: (\S+) -->", read(page))}
    assert asked == set(generate.PARTS)


# --- troubleshooting -------------------------------------------------------------------------------------------------


@cache
def strings_of_the_program() -> str:
    """Every string in the package, with `...` for values that are filled in, one a line."""
    lines = []
    for path in sorted(program_source.PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(read(path))):
            if isinstance(node, ast.JoinedStr | ast.Constant):
                lines.append(" ".join(program_source.message(node).split()))
    return "\n".join(lines)


def first_cells(heading: str) -> list[str]:
    """Code in the first column of the table below a heading of the troubleshooting page, up to the next heading."""
    below = read(DOCS / "troubleshooting.md").split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in below.splitlines() if line.startswith("| `")]
    return [text for row in rows for text in re.findall(r"`([^`]+)`", row.split(" | ", 1)[0])]


def test_every_failure_code_is_in_troubleshooting_and_no_other() -> None:
    assert sorted(first_cells("A recording failed")) == sorted(program_source.failure_codes())


def test_reasons_and_flags_in_troubleshooting_exist() -> None:
    assert set(first_cells("Segments have no score")) <= {*Flag, *Reason}


@pytest.mark.parametrize(
    "heading",
    [
        "Options and settings",
        "Tables that you bring",
        "Weights",
        "This machine",
        "Outputs that exist",
        "Stores and training",
        "Experiments",
    ],
)
def test_messages_in_troubleshooting_are_messages_of_the_program(heading: str) -> None:
    messages = first_cells(heading)
    assert messages
    assert [message for message in messages if message not in strings_of_the_program()] == []


# --- architecture ----------------------------------------------------------------------------------------------------


def test_the_packages_on_the_architecture_page_are_those_of_the_tree() -> None:
    there = {
        path.name for path in program_source.PACKAGE.iterdir() if path.is_dir() and (path / "__init__.py").exists()
    }
    there |= {path.stem for path in program_source.PACKAGE.glob("*.py") if not path.stem.startswith("_")}
    listed = re.findall(r"^\| \d+ \| `(\w+)` \| \S.*\|$", generate.layer_table(), re.MULTILINE)
    assert sorted(listed) == sorted(there)
    assert listed == [name for layer in generate.layers() for name in layer]
    svg = "{http://www.w3.org/2000/svg}text"
    drawn = [text.text for text in ET.parse(DOCS / "explanation" / "architecture.svg").iter(svg) if text.get("class")]
    assert drawn
    assert set(drawn) <= there


def test_files_and_functions_named_on_the_architecture_page_exist() -> None:
    page = read(DOCS / "explanation" / "architecture.md")
    paths = re.findall(r"`((?:avpenet_cli|tests)/[\w/.]+)`", page)
    assert len(paths) > 5
    assert [path for path in paths if not (REPOSITORY / path).exists()] == []


# --- the site --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_site_builds_without_warnings_and_loads_nothing_from_outside(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "sphinx",
            "-q",
            "-E",
            "-W",
            "--keep-going",
            "-d",
            tmp_path / "trees",
            DOCS,
            tmp_path / "site",
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 30
    # Links may lead outside; what a browser loads by itself may not.
    loads = re.compile(r"<(?:script|img|iframe|source)[^>]*\ssrc=\"(?:https?:)?//|<link[^>]*\shref=\"(?:https?:)?//")
    assert [page.name for page in pages if loads.search(read(page))] == []
    styles = (tmp_path / "site").rglob("*.css")
    assert [style.name for style in styles if re.search(r"@import|url\([\"']?(?:https?:)?//", read(style))] == []
    reference = read(tmp_path / "site" / "reference" / "commands.html")
    assert all(f">{name}<" in reference for name, _ in generate.commands())
