"""`avpenet export`: scores for a hospital's other systems."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from avpenet_cli.cli.command_line import recorded_command
from avpenet_cli.cli.options import Debug, Quiet
from avpenet_cli.cli.run_log import printable
from avpenet_cli.errors import ExitCode, SettingsError
from avpenet_cli.phrasing import plural

if TYPE_CHECKING:
    from avpenet_cli.export.run import Target

_TARGETS = ("fhir", "redcap")


def export(
    context: typer.Context,
    scores: Annotated[Path, typer.Argument(metavar="SCORES", help="Score table with its manifest beside it.")],
    to: Annotated[str, typer.Option(help="fhir: an R4 bundle; redcap: an import file and its data dictionary.")],
    out: Annotated[
        Path,
        typer.Option(metavar="FILE", help=".json for fhir; .csv for redcap, whose dictionary is FILE.dictionary.csv."),
    ],
    subjects: Annotated[
        Path | None,
        typer.Option(metavar="SUBJECTS", help="Subjects: recording, subject; needed for redcap.", show_default=False),
    ] = None,
    allow_demonstration: Annotated[
        bool,
        typer.Option("--allow-demonstration", help="Export scores of demonstration weights too, marked as test data."),
    ] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Hand scores on: mean and peak of each recording, with the weights' digest, labelled as asserted by AI."""
    if to not in _TARGETS:
        raise SettingsError(f"--to {to}: no such format", f"give {' or '.join(_TARGETS)}")

    from avpenet_cli.export.run import ExportRequest, run_export

    command = recorded_command(context, private=False)
    request = ExportRequest(scores, cast("Target", to), out, subjects, allow_demonstration, command)
    handover = run_export(request)
    if not quiet:
        without = sum(not row.scores.scored for row in handover.recordings)
        if handover.for_testing_only:
            typer.echo("TEST DATA: the weights are not for patients, and every record says so")
        typer.echo(f"{plural(len(handover.recordings), 'recording')}, {without} without a score")
        if handover.calibration is not None:
            digest = handover.calibration.digest[:12]
            typer.echo(f"beside the raw scores, means calibrated by {digest}; no intervals, which are of segments")
        unknown = sum(row.subject is None for row in handover.recordings)
        if unknown:
            typer.echo(f"{plural(unknown, 'recording')} without a subject")
        typer.echo(printable(f"written: {', '.join(path.name for path in request.outputs)}"))
    return ExitCode.OK
