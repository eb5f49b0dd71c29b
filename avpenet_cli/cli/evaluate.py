"""`avpenet evaluate`: weights evaluated against the references of a segment store, clean and under conditions."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from avpenet_cli.cli.command_line import recorded_command
from avpenet_cli.cli.options import Debug, Quiet
from avpenet_cli.cli.reporter import run_callbacks
from avpenet_cli.cli.run_log import printable
from avpenet_cli.errors import ExitCode
from avpenet_cli.phrasing import counted
from avpenet_cli.runs.memory import loading_libraries

if TYPE_CHECKING:
    from avpenet_cli.dataset.splits import Split
    from avpenet_cli.evaluation.record import EvaluationRecord
    from avpenet_cli.evaluation.results import ConditionResult
    from avpenet_cli.stats.estimate import Estimate


def evaluate(
    context: typer.Context,
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Store made by avpenet prepare.", show_default=False)],
    weights: Annotated[str, typer.Option(help="Name or file of the weights; see avpenet weights list.")],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="The folder to write to: new or empty, unless --overwrite is given.")
    ],
    split: Annotated[str, typer.Option(help="Subjects to evaluate on: train, validation or test.")] = "test",
    conditions: Annotated[
        str, typer.Option(help="all, none, or any of noise,occlusion,modality; occlusion takes longest.")
    ] = "all",
    seed: Annotated[int, typer.Option(help="Seed of the noise, the covered cells and the resampling.", min=0)] = 42,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the evaluation in DIR.")] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Evaluate weights on rated segments: every statistic of report, and how far noise, covered faces or a missing
    modality change the error.
    """
    started = time.monotonic()
    with run_callbacks(quiet, ("recordings", "segments"), debug=debug) as callbacks:
        with loading_libraries():
            from avpenet_cli.evaluation.conditions import parse_conditions
            from avpenet_cli.evaluation.run import EvaluateRequest, evaluate_weights

        request = EvaluateRequest(
            store,
            weights,
            out,
            cast("Split", split),
            parse_conditions(conditions),
            seed,
            device,
            overwrite,
            command=recorded_command(context, private=False),
        )
        record = evaluate_weights(request, callbacks)
        callbacks.close_progress()
        if not quiet:
            for line in _summary(record):
                typer.echo(printable(line))
        minutes = (time.monotonic() - started) / 60
        mae = _value(record.clean.metrics.mae)
        callbacks.summary(f"{out}: clean MAE {mae} on {_counts(record.clean)}; in {minutes:.1f} min", ExitCode.OK)
    return ExitCode.OK


def _summary(record: EvaluationRecord) -> list[str]:
    clean = record.clean
    lines = [record.notice] if record.notice else []
    lines += [
        f"{record.weights.name}: {record.subjects.description}",
        f"split {record.split}: {_counts(clean)}; 95 % intervals by subject",
    ]
    for label, name in (("MAE", "mae"), ("ICC(A,1)", "icc_a1"), ("bias", "bias")):
        lines.append(f"  {label:18} {_with_interval(clean, name)}")
    for result in record.conditions:
        if result.condition.family == "modality":
            difference = _with_interval(result, "mae_minus_clean")
            suffix = "" if result.not_computable else f"; MAE difference from both modalities {difference}"
            lines.append(f"  {result.condition.level:18} {_with_interval(result, 'mae')}{suffix}")
    for family in ("noise", "occlusion"):
        results = [result for result in record.conditions if result.condition.family == family]
        if results:
            values = ", ".join(f"{result.condition.level} {_value(result.metrics.mae)}" for result in results)
            lines.append(f"  MAE, {family:13} {values}")
    lines.append(f"written: {', '.join([*record.files, 'evaluation.json'])}")
    return lines


def _counts(result: ConditionResult) -> str:
    return f"{counted(result.metrics.n, 'segment')} of {counted(result.metrics.n_subjects, 'subject')}"


def _value(estimate: Estimate) -> str:
    return f"{estimate.value:.2f}" if estimate.value == estimate.value else "not computable"


def _with_interval(result: ConditionResult, name: str) -> str:
    """A statistic with its interval, or why it has none."""
    estimate = result.estimates[name]
    reason = result.not_computable or estimate.reason
    if estimate.value != estimate.value:
        return f"not computable: {reason}"
    low, high = estimate.ci
    if low != low or high != high:
        return f"{estimate.value:.2f} (no interval: {reason})"
    return f"{estimate.value:.2f} [{low:.2f}, {high:.2f}]"
