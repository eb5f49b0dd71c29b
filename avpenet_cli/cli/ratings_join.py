"""`avpenet ratings join`: the filled-in sheets of several raters as one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from avpenet_cli.cli.command_line import recorded_command
from avpenet_cli.cli.options import CsvBom, Debug, Quiet
from avpenet_cli.cli.run_log import printable
from avpenet_cli.errors import ExitCode
from avpenet_cli.phrasing import plural


def join(
    context: typer.Context,
    sheets: Annotated[
        list[Path], typer.Argument(metavar="SHEETS...", help="Filled-in rating sheets, or tables of ratings.")
    ],
    out: Annotated[Path, typer.Option(metavar="RATINGS", help="Table of ratings to write: .csv, .parquet or .jsonl.")],
    csv_bom: CsvBom = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace RATINGS.")] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Join the filled-in sheets of several raters into one table for avpenet report --reference.

    For CSV sheets of avpenet ratings sample, and tables of avpenet ratings import. Files of other programs: import.
    """
    from avpenet_cli.ratings.sheet_join import join_sheets

    command = recorded_command(context, private=False)
    joined = join_sheets(sheets, out, csv_bom=csv_bom, overwrite=overwrite, command=command)
    if not quiet:
        for notice in joined.notices:
            typer.echo(printable(f"note: {notice}"))
        raters = ", ".join(f"{rater} {number}" for rater, number in joined.by_rater.items())
        typer.echo(
            printable(
                f"{plural(joined.ratings, 'rating')} ({raters}), {plural(joined.empty, 'row')} without a value left out"
            )
        )
        typer.echo(printable(f"written: {out.name}"))
    return ExitCode.OK
