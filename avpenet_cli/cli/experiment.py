"""`avpenet experiment`: comparison systems, ablations and robustness tests on a segment store."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avpenet_cli.cli.command_line import recorded_command
from avpenet_cli.cli.options import Debug, Quiet
from avpenet_cli.cli.reporter import Reporter, run_callbacks
from avpenet_cli.cli.run_log import printable
from avpenet_cli.errors import ExitCode
from avpenet_cli.runs.memory import loading_libraries

if TYPE_CHECKING:
    from avpenet_cli.experiment.run import ExperimentRequest


def experiment(
    context: typer.Context,
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Store made by avpenet prepare.", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write to: new or empty, unless --resume.")],
    preset: Annotated[
        str | None,
        typer.Option(help="paper: the paper's systems, ablations and robustness tests; quick: some in minutes."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE.toml", help="Systems and settings of your own, in place of a preset.")
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(metavar="NAME,...", help="Train these systems, what they are built on, and the reference."),
    ] = None,
    recordings: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH",
            help="Recordings that the store was made of, or their folder; for noise before denoising, covers before "
            "detection, and other preparations. May be repeated.",
        ),
    ] = None,
    noise: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder with recordings of real noise, beside white noise.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume the experiment in DIR.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be trained and how long it takes.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Train and evaluate systems on the same splits and seeds, and write tables and a page that compares them.

    What is finished is kept: an interrupted run resumes with --resume.
    """
    started = time.monotonic()
    with run_callbacks(quiet, ("trainings", "steps"), debug=debug) as callbacks:
        with loading_libraries():
            from avpenet_cli.experiment.run import PAGE_FILE, ExperimentRequest, run_experiment, summary_text
            from avpenet_cli.experiment.settings import read_experiment
            from avpenet_cli.experiment.summary import summary_lines

        request = ExperimentRequest(
            store=store,
            out=out,
            settings=read_experiment(preset, config),
            recordings=tuple(recordings or ()),
            noise=noise,
            only=tuple(name.strip() for name in only.split(",") if name.strip()) if only else (),
            resume=resume,
            device=device,
            command=recorded_command(context, private=False),
        )
        if dry_run:
            return _dry_run(request, callbacks)
        result = run_experiment(request, callbacks)
        callbacks.close_progress()
        if not quiet:
            for line in summary_lines(result):
                typer.echo(printable(line))
        code = ExitCode.SOME_FAILED if result.failed else ExitCode.OK
        minutes = (time.monotonic() - started) / 60
        callbacks.summary(f"{out / PAGE_FILE}: {summary_text(result)}; in {minutes:.1f} min", code)
    return code


def _dry_run(request: ExperimentRequest, callbacks: Reporter) -> int:
    from avpenet_cli.experiment.run import plan_experiment
    from avpenet_cli.phrasing import plural

    plan = plan_experiment(request, callbacks)
    callbacks.close_progress()
    for step in plan.steps:
        typer.echo(printable(f"{_minutes(step.seconds):>10}  {step.name}"))
    typer.echo(
        f"{_minutes(plan.seconds):>10}  at most, for {plural(len(plan.steps), 'training')}; "
        f"weights {plan.weights_bytes / 1e9:.1f} GB"
    )
    return ExitCode.OK


def _minutes(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 5400 else f"{seconds / 60:.1f} min"
