"""The command as it was given, for a record that may leave the house."""

from __future__ import annotations

import shlex
from pathlib import Path

import typer
from typer.core import TyperArgument

from avpenet_cli.phrasing import plural

_MAY_BE_PATHS = frozenset({"files_from", "recorded_at", "recordings", "weights"})
"""Options that are text, because they name a file or something else."""
_NO_PATHS = frozenset({"-", "container", "none"})


def recorded_command(context: typer.Context, *, private: bool) -> str:
    """The command with the options that were given, without what may name a patient or a user.

    Args:
        context: of the command that runs.
        private: names must not appear: no path has a part left. Else options keep the last part of their paths.

    Returns:
        `avpenet score [3 inputs] --out scores.csv --recursive`: inputs are counted, folders left out.
    """
    words = [context.command_path]
    for parameter in context.command.params:
        name = parameter.name or ""
        value = context.params.get(name)
        source = context.get_parameter_source(name)
        if source is None or source.name != "COMMANDLINE" or value is None:
            continue
        if isinstance(parameter, TyperArgument):
            count = len(value) if isinstance(value, list | tuple) else 1
            words.append(f"[{plural(count, 'input')}]")
            continue
        for item in value if isinstance(value, list | tuple) else [value]:
            words.append(parameter.opts[0])
            if not isinstance(item, bool):
                words.append(shlex.quote(_shown(name, item, private)))
    return " ".join(words)


def _shown(name: str, value: object, private: bool) -> str:
    from avpenet_cli.inputs import display_name

    text = display_name(str(value))
    if text in _NO_PATHS or not (isinstance(value, Path) or name in _MAY_BE_PATHS):
        return text
    # The manifest names the table and the weights elsewhere.
    if private and name not in ("out", "weights"):
        return "..."
    return text if text.startswith("name:") else Path(text).name or text
