"""`avpenet phantom check`: check that the installation is intact, runs, and still gives the same scores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from avpenet_cli.cli.options import Debug, WeightsName
from avpenet_cli.cli.reporter import run_callbacks
from avpenet_cli.cli.run_log import printable
from avpenet_cli.errors import ExitCode
from avpenet_cli.runs.memory import loading_libraries


def check(
    weights: WeightsName = None,
    baseline: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Compare with these scores instead of those shipped.")
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Save today's scores for --baseline; those of other weights are kept."),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Also write the protocol to this file.")] = None,
    phantoms: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Phantoms to use instead of the bundled examples.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing on PASS, else only the verdict.")] = False,
    debug: Debug = False,
) -> int:
    """Score phantoms, compare with what the same weights gave before, and print a protocol to sign.

    Exit 0 on PASS. Exit 4 when a segment's score changed by more than 0.1, when a segment became scored or unscorable,
    when a recording failed or a file was altered; and when there was nothing to compare with, unless --save made it.
    """
    # From here on, since loading libraries and weights takes seconds and cannot be interrupted cleanly.
    with run_callbacks(quiet, debug=debug) as callbacks:
        with loading_libraries():
            from avpenet_cli.cli.protocol import print_protocol
            from avpenet_cli.commissioning.run import CheckRequest, check_installation

        result = check_installation(CheckRequest(weights, baseline, save, out, phantoms, device), callbacks)
    verdict, explanation = result.protocol.verdict, result.explanation
    if not quiet:
        print_protocol(result.protocol)
    if save is not None:
        explanation += f"; today's scores are in {save.name}" if result.saved else f"; nothing was saved in {save.name}"
    passed = verdict == "PASS" or (verdict == "NO BASELINE" and save is not None)
    if not quiet or not passed:
        typer.echo(printable(f"{verdict}: {explanation}"))
    if not quiet:
        typer.echo("\nChecked by: ____________________  Date: ____________  Signature: ____________________")
    return ExitCode.OK if passed else ExitCode.NOT_PASSED
