"""`avpenet merge`: put the shards of a table, or of a store, together."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from avpenet_cli.cli.command_line import recorded_command
from avpenet_cli.cli.options import (
    Baseline,
    CalibrationFile,
    CsvBom,
    Debug,
    EmbeddingsFile,
    Quiet,
    RecordedAt,
    named_baseline,
)
from avpenet_cli.cli.prepare import last_line
from avpenet_cli.cli.reporter import run_callbacks
from avpenet_cli.cli.totals_summary import totals_summary
from avpenet_cli.errors import ExitCode, SettingsError
from avpenet_cli.phrasing import taken_time
from avpenet_cli.runs.memory import loading_libraries


def merge(
    context: typer.Context,
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="What the shards were given as --out: the table of avpenet score, or the store of avpenet prepare.",
            show_default=False,
        ),
    ],
    recorded_at: RecordedAt = None,
    subjects: Annotated[
        Path | None,
        typer.Option(
            help="Table of recordings and subjects: also write a table of subjects. Of a store: in place of the table "
            "that its shards were given."
        ),
    ] = None,
    ratings: Annotated[
        Path | None, typer.Option(help="Of a store: table of ratings, in place of that which its shards were given.")
    ] = None,
    baseline: Baseline = None,
    calibration: CalibrationFile = None,
    embeddings: EmbeddingsFile = None,
    csv_bom: CsvBom = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Leave out what the shards' plan no longer has or what cannot be read.")
    ] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Put the shards of a table or a store together: the files are those of a run over all recordings.

    Says what is still to do where shards are not finished, and then changes nothing. It can be repeated, also after
    shards have scored or prepared more.
    """
    started = time.monotonic()
    wanted_baseline = named_baseline(baseline)
    if out.is_dir():
        only_tables = {"recorded-at": recorded_at, "baseline": baseline, "calibration": calibration}
        _refuse_given(only_tables | {"embeddings": embeddings, "csv-bom": csv_bom}, f"is for tables; {out} is a store")
        command = recorded_command(context, private=False)
        return _merge_store(out, ratings, subjects, command, started, prune=prune, quiet=quiet, debug=debug)
    _refuse_given({"ratings": ratings}, "is for stores")
    with run_callbacks(quiet, debug=debug) as reporter:
        with loading_libraries():
            from avpenet_cli.scoring.merging import merge_scores
            from avpenet_cli.scoring.request import MergeRequest

        request = MergeRequest(
            out,
            prune=prune,
            recorded_at=recorded_at,
            subjects=subjects,
            baseline=wanted_baseline,
            calibration=calibration,
            csv_bom=csv_bom,
            embeddings=embeddings,
            command=recorded_command(context, private=False),
            private_command=recorded_command(context, private=True),
        )
        totals = merge_scores(request, reporter)
        code = ExitCode.SOME_FAILED if totals.failed else ExitCode.OK
        line, fields = totals_summary(totals, time.monotonic() - started, "merged")
        reporter.summary(line, code, **fields)
    return code


def _refuse_given(options: Mapping[str, object], why: str) -> None:
    for name, value in options.items():
        if value:
            raise SettingsError(f"--{name} {why}", "leave it out")


def _merge_store(
    out: Path,
    ratings: Path | None,
    subjects: Path | None,
    command: str,
    started: float,
    *,
    prune: bool,
    quiet: bool,
    debug: bool,
) -> int:
    with run_callbacks(quiet, debug=debug) as callbacks:
        from avpenet_cli.dataset.merging import StoreMergeRequest, merge_store

        result = merge_store(StoreMergeRequest(out, ratings, subjects, prune, command), callbacks)
        code = ExitCode.SOME_FAILED if result.failed else ExitCode.OK
        callbacks.summary(f"{last_line(result)}; in {taken_time(time.monotonic() - started)}", code)
    return code
