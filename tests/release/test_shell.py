"""What the wheel installs under share/: completion in a real shell, and the manual page."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from release.man_page import PAGE, manual_page
from tests.conftest import REPOSITORY, RunAvpenet

_BASH = REPOSITORY / "share" / "bash-completion" / "completions" / "avpenet"
_PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


class _Bash:
    """An interactive bash on a terminal of its own."""

    def __init__(self, cwd: Path) -> None:
        master, terminal = pty.openpty()
        self.terminal = master
        environment = {"PATH": _PATH, "TERM": "dumb", "HOME": str(cwd), "PS1": "$ "}
        command = ["bash", "--norc", "--noprofile", "-i"]
        self.process = subprocess.Popen(
            command, cwd=cwd, env=environment, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True
        )
        os.close(terminal)
        self.seen = ""

    def type(self, keys: str, until: str) -> None:
        """Press keys and wait for text on the screen that follows them."""
        os.write(self.terminal, keys.encode())
        before = len(self.seen)
        while until not in self.seen[before:]:
            assert select.select([self.terminal], [], [], 60.0)[0], self.seen
            self.seen += os.read(self.terminal, 4096).decode(errors="replace")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.terminal)


def test_bash_completes_commands_options_and_file_names(tmp_path: Path) -> None:
    (tmp_path / "recording-1.mp4").touch()
    shell = _Bash(tmp_path)
    try:
        shell.type(f"source '{_BASH}' && echo rea''dy\n", "ready")
        shell.type("avpenet sco\t", "score ")
        shell.type("--mc-s\t", "--mc-samples ")
        shell.type("20 rec\t", "recording-1.mp4 ")
        shell.type("\x15avpenet phantom ch\t", "check ")
    finally:
        shell.close()


@pytest.mark.parametrize(
    ("variables", "code", "expected"),
    [
        ({"_AVPENET_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "avpenet weights ver"}, 0, '"verify":'),
        ({"_AVPENET_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "avpenet score rec"}, 0, "_files"),
        (
            {
                "_AVPENET_COMPLETE": "complete_fish",
                "_TYPER_COMPLETE_ARGS": "avpenet weights ver",
                "_TYPER_COMPLETE_FISH_ACTION": "get-args",
            },
            0,
            "verify\t",
        ),
        (
            {
                "_AVPENET_COMPLETE": "complete_fish",
                "_TYPER_COMPLETE_ARGS": "avpenet score rec",
                "_TYPER_COMPLETE_FISH_ACTION": "is-args",
            },
            1,
            "",
        ),
    ],
)
def test_program_answers_zsh_and_fish(
    run_avpenet: RunAvpenet, variables: dict[str, str], code: int, expected: str
) -> None:
    done = run_avpenet([], env=variables)
    assert done.returncode == code, done.stderr
    assert expected in done.stdout
    assert done.stderr == ""


def test_help_is_free_of_completion_options(run_avpenet: RunAvpenet) -> None:
    assert "completion" not in run_avpenet(["--help"]).stdout


def test_manual_page_is_what_the_commands_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == manual_page(), "run make man"


def test_manual_page_renders_without_warnings() -> None:
    man = shutil.which("man")
    if man is None:
        pytest.skip("needs man, to render the page")
    environment = {**os.environ, "MANWIDTH": "100", "MAN_KEEP_FORMATTING": "", "LC_ALL": "C.UTF-8"}
    done = subprocess.run([man, "--warnings", "-l", PAGE], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    for word in ("avpenet score", "avpenet weights import", "--mc-samples", "EXIT STATUS"):
        assert word in done.stdout
