"""`avpenet trajectory`: scores over time, with changes, states, ratings, events and alerts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avpenet_cli.cli.command_line import recorded_command
from avpenet_cli.cli.options import CsvBom, Debug, Events, Quiet, Recursive, Reference
from avpenet_cli.cli.reporter import run_callbacks
from avpenet_cli.cli.run_log import printable
from avpenet_cli.keys import shown
from avpenet_cli.phrasing import plural
from avpenet_cli.runs.memory import loading_libraries

if TYPE_CHECKING:
    from avpenet_cli.stats.estimate import Estimate
    from avpenet_cli.trajectory.alert_accuracy import AlertAccuracy
    from avpenet_cli.trajectory.run import SeriesSummary, TrajectorySummary

_SHOWN = 12
"""Series with a line of their own."""


def trajectory(
    context: typer.Context,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="RECORDING...|SCORES...",
            help="Recordings, which are scored every second, or score tables (.csv, .parquet, .jsonl).",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="A page (.html), a picture (.png) or a table (.csv).")],
    reference: Reference = None,
    events: Events = None,
    subjects: Annotated[
        Path | None,
        typer.Option(metavar="SUBJECTS", help="Recording and subject: all recordings of a patient on one clock time."),
    ] = None,
    alerts: Annotated[
        Path | None,
        typer.Option(metavar="RULES.toml", help="Rules for reviewing archives; alerts also go to FILE.alerts.csv."),
    ] = None,
    recording: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this recording; may be repeated.")
    ] = None,
    subject: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this subject (--subjects); may be repeated.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="Name or file of the weights with which recordings are scored.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="For recordings: auto, cpu, cuda or cuda:N. [default: auto]")
    ] = None,
    recorded_at: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="Where the recordings' times come from: container, name:PATTERN, a table, or none. "
            "[default: container]",
        ),
    ] = None,
    recursive: Recursive = False,
    seed: Annotated[int, typer.Option(help="Seed of the draws from which intervals come.", min=0)] = 42,
    csv_bom: CsvBom = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace FILE.")] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Show scores over time: smoothed, with changes, states, gaps, ratings, events and alerts.

    For research and for reviewing archives, not for watching a patient.
    """
    with run_callbacks(quiet, debug=debug) as callbacks:
        with loading_libraries():
            from avpenet_cli.trajectory.reading import Selection
            from avpenet_cli.trajectory.run import TrajectoryRequest, write_all

        request = TrajectoryRequest(
            inputs=tuple(inputs),
            out=out,
            reference=reference,
            events=events,
            subjects=subjects,
            alerts=alerts,
            selection=Selection(tuple(recording or ()), tuple(subject or ())),
            weights=weights,
            device=device,
            recorded_at=recorded_at,
            recursive=recursive,
            seed=seed,
            command=recorded_command(context, private=False),
            csv_bom=csv_bom,
            overwrite=overwrite,
        )
        summary = write_all(request, callbacks)
        callbacks.close_progress()
        if not quiet:
            for line in _lines(summary, with_alerts=alerts is not None):
                typer.echo(printable(line))
    return summary.exit_code


def _lines(summary: TrajectorySummary, *, with_alerts: bool) -> list[str]:
    series = summary.series
    segments, scored = (sum(getattr(item, name) for item in series) for name in ("segments", "scored"))
    lines = [f"{len(series)} series, {plural(segments, 'segment')}, {scored} scored; 95 % intervals"]
    width = min(max(len(shown(item.name)) for item in series), 32)
    lines += [f"  {shown(item.name):{width}}  {_series(item, with_alerts=with_alerts)}" for item in series[:_SHOWN]]
    if len(series) > _SHOWN:
        lines.append(f"  and {len(series) - _SHOWN} more")
    if with_alerts and len(series) > 1:
        lines.append(f"{plural(sum(item.alerts for item in series), 'alert')} in all")
    lines += [f"  {_accuracy(item)}" for item in summary.accuracy]
    if with_alerts:
        lines.append("alerts are for reviewing archives, not for watching a patient")
    lines.append(f"written: {', '.join(path.name for path in summary.written)}")
    return lines


def _series(item: SeriesSummary, *, with_alerts: bool) -> str:
    if not item.scored:
        return f"no score in {plural(item.segments, 'segment')}"
    if item.mean.computable:
        level = f"mean {_estimate(item.mean)}, highest {_estimate(item.highest)}"
    else:
        level = f"no level: {item.mean.reason}"
    text = f"{item.scored_s / 60:.1f} min scored, {level}" if item.scored_s == item.scored_s else level
    return f"{text}, {plural(item.alerts, 'alert')}" if with_alerts else text


def _accuracy(item: AlertAccuracy) -> str:
    """A rule against the same rule on the ratings."""
    text = f"{item.rule}: sensitivity {_estimate(item.sensitivity)}"
    if item.false_per_hour.computable:
        found = f", {item.found} of {plural(item.episodes, 'episode')} of the ratings" if item.episodes else ""
        text = (
            f"{text}{found}; {plural(item.false_alerts, 'false alert')} in {item.observed_h:.2f} h, "
            f"{_estimate(item.false_per_hour)} per hour; {_estimate(item.outside_min_per_hour)} min per hour of alerts "
            "outside episodes"
        )
    if item.delay_s.computable:
        shortest, longest = item.delay_range_s
        text = f"{text}; delay {_estimate(item.delay_s)} s, from {shortest:z.1f} to {longest:z.1f} s"
        text = f"{text}, {item.early} before the episode began" if item.early else text
    return text


def _estimate(estimate: Estimate) -> str:
    if not estimate.computable:
        return f"not computable ({estimate.reason})"
    if not estimate.has_interval:
        return f"{estimate.value:z.2f}"
    low, high = estimate.ci
    text = f"{estimate.value:z.2f} [{low:z.2f}, {high:z.2f}]"
    return f"{text} ({estimate.reason})" if estimate.reason else text
