"""`avpenet merge`: put the shards of a table together."""

from __future__ import annotations

import time
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
    SubjectsTable,
    named_baseline,
)
from avpenet_cli.cli.reporter import run_callbacks
from avpenet_cli.cli.totals_summary import totals_summary
from avpenet_cli.errors import ExitCode


def merge(
    context: typer.Context,
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="Table that avpenet score --shard was given as --out.", show_default=False),
    ],
    recorded_at: RecordedAt = None,
    subjects: SubjectsTable = None,
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
    """Put the shards of a table together: the files are those of a run over all recordings.

    Says what is still to do where shards are not finished, and then changes nothing. It can be repeated, also after
    shards have scored more.
    """
    started = time.monotonic()
    wanted_baseline = named_baseline(baseline)
    with run_callbacks(quiet, debug=debug) as reporter:
        from avpenet_cli.scoring.merging import MergeRequest, merge_scores

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
