"""`avpenet ratings`: bring human ratings into the form that `avpenet report` reads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avpenet_cli.cli.command_line import recorded_command
from avpenet_cli.cli.options import CsvBom, Debug, Quiet
from avpenet_cli.cli.ratings_agreement import agreement
from avpenet_cli.cli.ratings_join import join
from avpenet_cli.cli.ratings_sample import sample
from avpenet_cli.cli.run_log import printable
from avpenet_cli.errors import SettingsError
from avpenet_cli.keys import shown
from avpenet_cli.phrasing import plural

if TYPE_CHECKING:
    from avpenet_cli.ratings.importing.run import FileCount, ImportSummary

app = typer.Typer(
    help="Human ratings: draw a sample for raters, read what raters filled in, and see how well they agree.\n\n"
    "Sheets of avpenet ratings sample as CSV: join. What another program wrote (BORIS, ELAN, REDCap, CARMA): import. "
    "Both write the table that report, calibrate and monitor take as --reference.",
    no_args_is_help=True,
)
app.command("sample", short_help="Draw a blinded sample of segments for raters.")(sample)

_SHOWN = 8
"""Names that a line lists; the others are counted."""


@app.command("import", short_help="Read files of BORIS, ELAN, REDCap, CARMA, any CSV.")
def import_ratings(
    context: typer.Context,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="What raters' programs wrote.", show_default=False)
    ],
    source_format: Annotated[str, typer.Option("--from", metavar="FORMAT", help="boris, elan, redcap or csv.")],
    out: Annotated[Path, typer.Option(metavar="RATINGS", help="Table of ratings to write: .csv, .parquet or .jsonl.")],
    map_file: Annotated[
        Path | None, typer.Option("--map", metavar="MAP.toml", help="Says where the file has its ratings.")
    ] = None,
    recordings: Annotated[
        list[Path] | None,
        typer.Option(metavar="SCORES", help="Score table whose recordings were rated; may be repeated."),
    ] = None,
    recorded_at: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="When recordings began (recording, recorded_at), for clock times."),
    ] = None,
    left_out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write a table of the rows that are no ratings, and why.")
    ] = None,
    csv_bom: CsvBom = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Import ratings from BORIS, ELAN, REDCap or CSV files as a table for avpenet report --reference.

    CSV sheets of avpenet ratings sample need no import: avpenet ratings join reads them.
    """
    from avpenet_cli.ratings.importing.run import FORMATS, ImportRequest
    from avpenet_cli.ratings.importing.run import import_ratings as run

    chosen = next((name for name in FORMATS if name == source_format), None)
    if chosen is None:
        raise SettingsError(f"--from {source_format}: no such format", f"use one of {', '.join(FORMATS)}")
    request = ImportRequest(
        files=tuple(files),
        format=chosen,
        out=out,
        map=map_file,
        recordings=tuple(recordings or ()),
        recorded_at=recorded_at,
        left_out=left_out,
        csv_bom=csv_bom,
        overwrite=overwrite,
        command=recorded_command(context, private=False),
    )
    summary = run(request)
    if not quiet:
        for line in _import_lines(summary):
            typer.echo(printable(line))


app.command("join", short_help="Join filled-in CSV sheets of a sample into one table.")(join)
app.command("agreement", short_help="Measure raters' agreement: ICC, kappa, drift.")(agreement)


def _import_lines(summary: ImportSummary) -> list[str]:
    lines = [line for count in summary.files for line in _file_lines(count)]
    if summary.unmatched:
        names = [f"{shown(name)} ({plural(rows, 'row')})" for name, rows in summary.unmatched.items()]
        lines.append(f"recordings that were not matched: {_listed(names)}")
    of = f"{plural(summary.ratings, 'rating')} of {plural(len(summary.recordings), 'recording')}"
    raters = f"{plural(len(summary.raters), 'rater')} ({_listed([shown(name) for name in summary.raters])})"
    lines.append(f"{of} by {raters}, scale {', '.join(summary.scales)}")
    if summary.unrated is None:
        lines.append("the recordings' names were not checked; --recordings SCORES matches them")
    elif summary.unrated:
        lines.append(f"{plural(summary.unrated, 'recording')} without a rating")
    lines += [f"note: {notice}" for notice in summary.notices]
    lines.append(f"written: {', '.join(path.name for path in summary.written)}")
    return lines


def _file_lines(count: FileCount) -> list[str]:
    rows = f"{count.name}: {plural(count.rows, 'row')}, {count.imported} imported"
    made = f" as {plural(count.ratings, 'rating')}" if count.ratings != count.imported else ""
    lines = [f"{rows}{made}, {sum(count.left_out.values())} left out"]
    return lines + [f"  {number} {reason}" for reason, number in count.left_out.items()]


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"
