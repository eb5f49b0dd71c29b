"""Write the manual page from the commands themselves: `make man`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import typer.main
from typer._click.core import Command, Context
from typer.core import TyperGroup

from avpenet_cli import __version__
from avpenet_cli.cli import app
from avpenet_cli.errors import ExitCode

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = REPOSITORY / "share" / "man" / "man1" / "avpenet.1"

_EXIT_MEANINGS = {
    ExitCode.OK: "Everything that was asked for is done.",
    ExitCode.SOME_FAILED: "A recording failed, or an internal error; the line on standard error says which.",
    ExitCode.USAGE: "An option, a settings file or an output path that cannot be used.",
    ExitCode.ENVIRONMENT: "Something is missing: weights, ffmpeg, a device, memory or disk.",
    ExitCode.NOT_PASSED: "A check was carried out and did not pass; merge: a shard is not finished.",
    ExitCode.LOCKED: "Another run is writing the same output.",
    ExitCode.INTERRUPTED: "Stopped by a signal. The same command resumes; train needs --resume, evaluate starts over.",
}
_ENVIRONMENT = {
    "AVPENET_WEIGHTS": "Folder that is searched first for weights, and into which weights are installed.",
    "XDG_DATA_HOME": "Weights are also searched for in avpenet/weights below it; ~/.local/share without it.",
}


def manual_page() -> str:
    """The page in roff."""
    root = typer.main.get_group(app)
    context = root.context_class(root, info_name="avpenet", help_option_names=["-h", "--help"])
    summary, *rest = _paragraphs(root.help)
    lines = [
        f'.TH AVPENET 1 "" "avpenet {__version__}" "User Commands"',
        *(".SH NAME", f"avpenet \\- {_escape(summary[0].lower() + summary[1:].rstrip('.'))}"),
        *(".SH SYNOPSIS", ".B avpenet", '.RI [ options ] " command " [ arguments ]'),
        *(".SH DESCRIPTION", *_joined(rest)),
        *(".SH OPTIONS", *_parameters(root, context)),
        ".SH COMMANDS",
        *_commands(root, context),
        ".SH EXIT STATUS",
        *(line for code in ExitCode for line in (".TP", f".B {code.value}", _escape(_EXIT_MEANINGS[code]))),
        ".SH ENVIRONMENT",
        *(line for name, meaning in _ENVIRONMENT.items() for line in (".TP", f".B {name}", _escape(meaning))),
    ]
    return "\n".join(lines) + "\n"


def _commands(group: TyperGroup, context: Context) -> Iterator[str]:
    for name, command in group.commands.items():
        below = command.context_class(command, info_name=name, parent=context)
        if isinstance(command, TyperGroup):
            yield from _commands(command, below)
            continue
        usage = " ".join(command.collect_usage_pieces(below))
        yield f".SS {_escape(below.command_path)} {_escape(usage)}"
        yield from _joined(_paragraphs(command.help))
        yield from _parameters(command, below)


def _parameters(command: Command, context: Context) -> Iterator[str]:
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None:
            name, meaning = record
            yield from (".TP", f".B {_escape(name)}", _escape(meaning))


def _paragraphs(text: str | None) -> list[str]:
    return [" ".join(part.split()) for part in re.split(r"\n\s*\n", text or "") if part.strip()]


def _joined(paragraphs: list[str]) -> Iterator[str]:
    for place, paragraph in enumerate(paragraphs):
        if place:
            yield ".PP"
        yield _escape(paragraph)


def _escape(text: str) -> str:
    """Roff's own characters, kept from being read as such; all else stays UTF-8."""
    escaped = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    sys.stdout.write(manual_page())
