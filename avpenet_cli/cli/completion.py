"""Shell completion: the scripts under `share/` run the program with a variable that asks for candidates."""

from __future__ import annotations

import os

import typer
import typer.main
from typer._completion_classes import completion_init
from typer.completion import shell_complete

VARIABLE = "_AVPENET_COMPLETE"
"""Set to `complete_bash`, `complete_zsh` or `complete_fish`; the command line is in variables of the shell's script."""


def answer_shell(app: typer.Typer) -> int:
    """Print the candidates for the word at the cursor; gives the exit code."""
    completion_init()
    return shell_complete(typer.main.get_command(app), {}, "avpenet", VARIABLE, os.environ[VARIABLE])
