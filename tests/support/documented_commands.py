"""Running the commands of documentation pages, as a reader would."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from avpenet_cli.runs.history_chain import chain_at
from docs import generate
from tests.conftest import REPOSITORY
from tests.support.preloaded_program import PreloadedProgram

BLOCK = re.compile(r"^```(\S+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
"""An opening fence with its info string, the text, the closing fence."""
_OUTPUT = re.compile(r"\bavpenet ((?:ratings |weights |phantom )?[a-z]+)\b[^\n]*? --out (\S+)")


def _guides(*names: str) -> tuple[Path, ...]:
    return tuple(REPOSITORY / "docs" / "how-to" / f"{name}.md" for name in names)


_TUTORIALS = REPOSITORY / "docs" / "tutorials"

SCORING_PAGES = (
    REPOSITORY / "README.md",
    _TUTORIALS / "1-first-scores.md",
    *_guides("after-a-night-run", "baseline", "cron", "install", "patient-record", "pseudonyms", "resume", "slurm"),
    *_guides("shards", "speed", "spreadsheets", "verify", "weights"),
)
"""With the recordings of the examples."""
PHANTOM_PAGES = (
    _TUTORIALS / "2-first-report.md",
    _TUTORIALS / "3-own-weights.md",
    *_guides("prepare-in-shards", "experiments", "notebooks"),
)
"""With phantoms that the first of them makes, and the store of the second."""
STUDY_PAGES = _guides(
    *("alerts", "audit", "calibrate", "export", "import-ratings", "monitor", "review", "sample-for-raters"),
    "trajectories",
)
"""With a simulated study, which README and the second tutorial make."""
EXPLANATION_PAGES = _guides("explain")
SITE_PAGES = (_TUTORIALS / "4-a-site.md",)
PAGES_RUN_TOGETHER = (SCORING_PAGES, PHANTOM_PAGES, STUDY_PAGES, EXPLANATION_PAGES, SITE_PAGES)
"""Each in a folder and a test of its own, so that they run side by side."""


def read(page: Path) -> str:
    """The text of a page."""
    return page.read_text(encoding="utf-8")


def shell_blocks(page: Path) -> Iterator[str]:
    """Its sh blocks, but for those marked `no-run`."""
    for language, info, text in BLOCK.findall(read(page)):
        if language == "sh" and "no-run" not in info:
            yield text


def folder_with_examples(folder: Path, seconds: float | None = None) -> Path:
    """A fresh folder that holds the examples, as a reader's copy of the repository does.

    `seconds` is the length of P0001-01.mp4, which most commands take: its first seconds are encoded again, with two
    frames a second, because every frame costs a tenth of a second.
    """
    shutil.copytree(REPOSITORY / "examples", folder / "examples")
    if seconds is not None:
        name = Path("examples", "phantoms", "P0001-01.mp4")
        command = ["ffmpeg", "-v", "error", "-y", "-i", str(REPOSITORY / name), "-t", str(seconds), "-r", "2"]
        subprocess.run([*command, "-c:a", "copy", str(folder / name)], check=True)
    return folder


def run_commands(pages: Sequence[Path], folder: Path, program: PreloadedProgram | None = None) -> list[str]:
    """Run every sh block of the pages, in order, in `folder`.

    With `program` the libraries are loaded once for all commands, and `pytest -rP` shows the CPU time of each.

    Returns:
        What each block wrote to its standard output.

    Raises:
        AssertionError: one does not exit with 0, an output has not the history that the reference states, or others can
            read it.
    """
    programs = [str(program.folder)] if program else []
    environment = os.environ | {
        "PATH": os.pathsep.join([*programs, str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH")))),
    }
    already_run, outputs = set(), []
    n_before = len(program.cpu_times()) if program else 0
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
                umask=0,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=1500,
            )
            assert done.returncode == 0, f"{page.name}\n{block}\n{done.stdout}\n{done.stderr}"
            outputs.append(done.stdout)
    if program:
        print(*program.cpu_times()[n_before:], sep="\n")
    with_history, _ = commands_with_and_without_history()
    for name, out in sorted(documented_outputs(pages)):
        # A plan or a dry run writes nothing.
        if name in with_history and (folder / out).exists():
            assert name in _events(folder / out), f"{out} of {name} has no history"
        assert _open_to_others(folder / out) == [], f"{name} let others read its output, under an umask of 0"
    return outputs


def _open_to_others(out: Path) -> list[Path]:
    """Those of an output's files and folders, and of those beside it, that are not their owner's alone."""
    around = out.parent.iterdir() if out.parent.is_dir() else ()
    # But for `study/upgraded.csv`, which `monitor` reads and writes `study/upgraded.html` of.
    beside = [p for p in around if p.name.startswith((f"{out.stem}.", f".{out.stem}.")) and p.name != f"{out.stem}.csv"]
    paths = {path for root in (out, *beside) for path in (root, *root.rglob("*")) if path.exists()}
    # Raters' projects are made by `examples/rate_pack.py` in the folders they were given, signatures by ssh-keygen.
    return sorted(p for p in paths if p.stat().st_mode & 0o077 and p.suffix not in (".boris", ".sig"))


def documented_outputs(pages: Sequence[Path]) -> set[tuple[str, str]]:
    """Command and `--out`, such as (`ratings join`, `study/ratings.csv`), of every command that the pages run.

    The output of a command with `--shard` is that of `merge`.
    """
    blocks = (block.replace("\\\n", " ") for page in pages for block in shell_blocks(page))
    lines = (line for block in blocks for line in block.splitlines())
    return {("merge" if "--shard" in line else name, out) for line in lines for name, out in _OUTPUT.findall(line)}


def commands_with_and_without_history() -> tuple[set[str], set[str]]:
    """Commands that keep a history, and those that write an output and keep none, as the reference names them."""
    page = read(REPOSITORY / "docs" / "reference" / "output-files.md")
    section = page.split("## The history beside an output\n")[1].split("\n## ")[0]
    known = {name.removeprefix("avpenet ") for name, _ in generate.commands()}
    paragraphs = [known & set(re.findall(r"`([a-z ]+)`", paragraph)) for paragraph in section.split("\n\n")]
    with_history, without, *_ = (names for names in paragraphs if names)
    return with_history, without


def _events(out: Path) -> set[str]:
    """What the histories beside an output, or in it, say of how it came about."""
    chains = [chain_at(path) for path in (out.with_name(f"{out.name}.history.jsonl"), *out.glob("*.history.jsonl"))]
    assert [chain.problems for chain in chains if chain.problems] == []
    return {line.event for chain in chains for line in chain.lines}
