"""`avpenet monitor`: what changed in new scores since a baseline, on control charts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avpenet_cli.cli.command_line import recorded_command
from avpenet_cli.cli.options import Debug, Quiet
from avpenet_cli.cli.run_log import printable
from avpenet_cli.errors import ExitCode, SettingsError
from avpenet_cli.phrasing import plural

if TYPE_CHECKING:
    from avpenet_cli.monitoring.document import MonitorDocument
    from avpenet_cli.monitoring.run import MonitorRequest


def monitor(
    context: typer.Context,
    scores: Annotated[
        list[Path],
        typer.Argument(metavar="NEW_SCORES...", help="Score tables to monitor: .csv, .parquet, .jsonl."),
    ],
    baseline: Annotated[
        list[Path],
        typer.Option(
            metavar="OLD_SCORES|site.json",
            help="Score table that shows what is usual, or a calibration that lies beside the tables it was fitted on; "
            "may be repeated.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The page (.html); its numbers go to a .json beside it.")],
    subjects: Annotated[
        Path | None,
        typer.Option(
            metavar="SUBJECTS",
            help="Recording and subject of old and new recordings; each site and device has charts of its own; date, "
            "month or batch give the time where the scores do not.",
        ),
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(metavar="RATINGS", help="Human ratings of old and new recordings, as far as known.")
    ] = None,
    embeddings: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Embeddings of the new recordings (score --embeddings).")
    ] = None,
    baseline_embeddings: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Embeddings of the baseline's recordings.")
    ] = None,
    false_alarm_every: Annotated[
        float | None,
        typer.Option(
            metavar="PERIODS",
            help="Weeks (months, batches) until the first false alarm in any chart, on average.  [default: 52 weeks, "
            "12 months or 20 batches]",
            show_default=False,
        ),
    ] = None,
    runs: Annotated[int, typer.Option(help="Runs of the simulation behind the limits.", min=500, max=100_000)] = 4000,
    seed: Annotated[int, typer.Option(help="Seed of the simulation.", min=0)] = 42,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Compare new scores and recordings with a baseline, week by week: what changed, by how much, since when, where.

    Exit 4 on an alarm. Patients are the units. The false-alarm rate is that of all charts together, and supposes that
    weeks differ by no more than their patients explain.
    """
    if subjects is None:
        raise SettingsError(
            "monitor without --subjects: it counts patients, not recordings", "give the table of subjects"
        )
    from avpenet_cli.monitoring.analysis import MonitorOptions
    from avpenet_cli.monitoring.archive import Files
    from avpenet_cli.monitoring.run import MonitorRequest, run_monitor

    request = MonitorRequest(
        files=Files(tuple(scores), tuple(baseline), subjects, reference, embeddings, baseline_embeddings),
        out=out,
        options=MonitorOptions(
            false_alarm_every, runs=runs, seed=seed, command=recorded_command(context, private=False)
        ),
    )
    document = run_monitor(request)
    for line in _alarms(document) if quiet else _summary(document, request):
        typer.echo(printable(line))
    return ExitCode.NOT_PASSED if document.alarms else ExitCode.OK


def _dangers(document: MonitorDocument) -> list[str]:
    return [notice.text for notice in document.notices if notice.level == "danger"]


def _alarms(document: MonitorDocument) -> list[str]:
    """Alarms alone, after what must be known of scores that raise any; nothing without an alarm."""
    return [*_dangers(document), *(alarm.text for alarm in document.alarms)] if document.alarms else []


def _summary(document: MonitorDocument, request: MonitorRequest) -> list[str]:
    lines = _dangers(document)
    from avpenet_cli.monitoring.periods import PLURALS

    new, baseline = document.new, document.baseline
    periods = f"{new.periods} {document.period if new.periods == 1 else PLURALS[document.period]}"
    lines.append(
        f"{plural(new.patients, 'patient')} in {periods}, {new.first} to {new.last}, "
        f"against {plural(baseline.patients, 'baseline patient')}"
    )
    lines.append(document.false_alarms)
    lines.append(f"{plural(len(document.alarms), 'alarm')}{':' if document.alarms else ''}")
    lines += [f"  {alarm.text}" for alarm in document.alarms]
    lines.append(f"written: {', '.join(path.name for path in request.outputs)}")
    return lines
