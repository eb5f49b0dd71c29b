"""`avpenet verify`: from outputs back to their inputs, every digest computed again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avpenet_cli.cli.options import Debug
from avpenet_cli.cli.run_log import printable
from avpenet_cli.errors import ExitCode, SettingsError

if TYPE_CHECKING:
    from avpenet_cli.verification.nodes import Node

_COLOURS = {"intact": "green", "altered": "red", "missing": "red", "not checked": "yellow"}


def verify(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE...", help="Reports, score tables, pages, documents.", show_default=False),
    ] = None,
    recordings: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Also check the recordings, which are in FOLDER or below it."),
    ] = None,
    inputs: Annotated[
        list[Path] | None,
        typer.Option(metavar="FOLDER", help="Look for inputs here and in its subfolders, too; may be repeated."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    debug: Debug = False,
) -> int:
    """Follow outputs back through manifests, weights and inputs, and check every digest and history; change nothing.

    Exit 4 if anything is altered or missing. Recordings are checked only with --recordings.
    """
    from avpenet_cli.verification.run import verify_files

    if not files:
        raise SettingsError("no file was named", "avpenet verify report.html")
    result = verify_files(files, inputs or (), recordings)
    if as_json:
        # Escapes keep the bytes of names that are not UTF-8.
        typer.echo(json.dumps(asdict(result), indent=1))
    else:
        for root in result.files:
            for line in _lines(root, 0):
                typer.echo(line)
        counts = ", ".join(f"{number} {state}" for state, number in result.counts.items() if number)
        typer.echo(f"{'INTACT' if result.intact else 'NOT INTACT'}: {counts}")
    return ExitCode.OK if result.intact else ExitCode.NOT_PASSED


def _lines(node: Node, depth: int) -> Iterator[str]:
    state = typer.style(node.state, fg=_COLOURS[node.state])
    detail = f" ({printable(node.detail)})" if node.detail else ""
    yield f"{'  ' * depth}{node.content} {printable(node.name)}: {state}{detail}"
    for link in node.links:
        yield from _lines(link, depth + 1)
