"""`avpenet evaluate`: weights held against the ratings of a segment store, clean and under difficulties."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from avpenet_cli.cli.reporter import Reporter, printable
from avpenet_cli.cli.signals import stop_on_signals
from avpenet_cli.errors import ExitCode, Interrupted
from avpenet_cli.phrasing import counted

if TYPE_CHECKING:
    from avpenet_cli.dataset.splits import Split
    from avpenet_cli.dataset.store import SegmentStore
    from avpenet_cli.evaluation.conditions import Condition
    from avpenet_cli.evaluation.evaluate import Evaluation, EvaluationSplit
    from avpenet_cli.scoring.network import Network
    from avpenet_cli.settings import RunSettings
    from avpenet_cli.weights import WeightsEntry


def evaluate(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="From avpenet prepare.", show_default=False)],
    weights: Annotated[str, typer.Option(help="Name or file of the weights; see avpenet weights list.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write to: new, empty, or with --overwrite.")],
    split: Annotated[str, typer.Option(help="Whom to evaluate on: train, validation or test.")] = "test",
    conditions: Annotated[
        str, typer.Option(help="all, none, or of noise,occlusion,modality; occlusion takes most of the time.")
    ] = "all",
    seed: Annotated[int, typer.Option(help="Of noise, covered cells and the resampling.", min=0)] = 42,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the evaluation in DIR.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only warnings, errors and the last line.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> int:
    """Hold weights against rated segments: every statistic of report, and how far noise, covered faces or a missing
    modality change the error.
    """
    begun = time.monotonic()
    with stop_on_signals() as stop:
        from avpenet_cli.dataset.store import SegmentStore
        from avpenet_cli.evaluation.conditions import chosen_conditions
        from avpenet_cli.evaluation.evaluate import check_preprocessing, identify_split, segments_of
        from avpenet_cli.evaluation.outputs import prepare_output_directory, scoring_settings
        from avpenet_cli.weights import find

        chosen = chosen_conditions(conditions)
        opened, entry = SegmentStore.open(store), find(weights)
        check_preprocessing(opened, entry.description)
        told = entry.description
        division = identify_split(opened, cast("Split", split), told.training_data, told.created_with)
        recordings = segments_of(opened, division)["recording"].nunique()
        run = scoring_settings(opened, device)
        prepare_output_directory(out, overwrite)
        with Reporter("text", None, quiet, False, recordings, ("recordings", "segments")) as reporter:
            record = _run(opened, entry, division, out, run, chosen, seed, reporter, stop)
    if not quiet:
        for line in _summary(record):
            typer.echo(printable(line))
    taken_min = (time.monotonic() - begun) / 60
    typer.echo(f"avpenet: {printable(str(out))}: clean {_clean_line(record)}; in {taken_min:.1f} min", err=True)
    return ExitCode.OK


def _run(
    store: SegmentStore,
    entry: WeightsEntry,
    division: EvaluationSplit,
    out: Path,
    run: RunSettings,
    conditions: tuple[Condition, ...],
    seed: int,
    reporter: Reporter,
    stop: Callable[[], bool],
) -> dict[str, Any]:
    """Score and write; returns the account."""
    from avpenet_cli.evaluation.outputs import EVALUATION_FILE, remove_leftovers, write_evaluation
    from avpenet_cli.runs.device import device_name
    from avpenet_cli.runs.lock import output_lock
    from avpenet_cli.scoring.network import Network

    with output_lock(out / EVALUATION_FILE):
        remove_leftovers(out)
        network = Network(entry, run)
        for text in (network.description.notice, division.warning):
            if text:
                reporter.warning(text)
        reporter.info(f"{division.words}; evaluating on {device_name(network.device)}")
        begun = time.monotonic()
        found = _evaluated(store, division, network, conditions, seed, reporter, stop)
        for name, why in found.why_not.items():
            reporter.warning(f"{name} is not computable: {why}")
        reporter.info("writing the report and the tables")
        record = write_evaluation(out, store, division, network, run, found, conditions, seed, time.monotonic() - begun)
        for text in record["notes"]:
            reporter.warning(text)
    return record


def _evaluated(
    store: SegmentStore,
    division: EvaluationSplit,
    network: Network,
    conditions: tuple[Condition, ...],
    seed: int,
    reporter: Reporter,
    stop: Callable[[], bool],
) -> Evaluation:
    from avpenet_cli.evaluation.evaluate import EvaluationTold, evaluate

    done = 0

    def recording(name: str, segments: int, scored: int) -> None:
        nonlocal done
        done += 1
        reporter.info(f"{name}: {segments} segments, {scored} scored")
        reporter.item_done()

    try:
        return evaluate(store, division, network, conditions, seed, EvaluationTold(recording, reporter.progress, stop))
    except Interrupted:
        raise Interrupted(
            f"interrupted after {done} recordings; nothing is kept", "give the same command again to begin anew"
        ) from None


def _summary(record: dict[str, Any]) -> list[str]:
    by_family: dict[str, list[dict[str, Any]]] = {}
    for one in record["conditions"]:
        by_family.setdefault(one["family"], []).append(one)
    (clean,) = by_family["clean"]
    paired = f"{counted(clean['n'], 'segment')} of {counted(clean['n_subjects'], 'subject')}"
    lines = [record["notice"]] if record["notice"] else []
    lines += [
        f"{record['weights']['name']}: {record['subjects']['words']}",
        f"split {record['split']}: {paired}; 95 % intervals by subject",
    ]
    for words, key in (("MAE", "mae"), ("ICC(A,1)", "icc_a1"), ("bias", "bias")):
        lines.append(f"  {words:18} {_with_interval(clean, key)}")
    for one in by_family.get("modality", []):
        worse = f"; MAE less that of both {_with_interval(one, 'mae_minus_clean')}" if not one["why_not"] else ""
        lines.append(f"  {one['level']:18} {_with_interval(one, 'mae')}{worse}")
    for family in ("noise", "occlusion"):
        if family in by_family:
            found = ", ".join(f"{one['level']} {_value(one['mae'])}" for one in by_family[family])
            lines.append(f"  MAE, {family:13} {found}")
    lines.append(f"written: {', '.join([*record['files'], 'evaluation.json'])}")
    return lines


def _clean_line(record: dict[str, Any]) -> str:
    clean = record["conditions"][0]
    return (
        f"MAE {_value(clean['mae'])} on {counted(clean['n'], 'segment')} of {counted(clean['n_subjects'], 'subject')}"
    )


def _value(value: float | None) -> str:
    return "not computable" if value is None else f"{value:.2f}"


def _with_interval(found: dict[str, Any], key: str) -> str:
    """A figure with its interval, or why it has none."""
    low, high = found[f"{key}_ci"]
    reason = found["why_not"] or found["reasons"].get(key, "")
    if found[key] is None:
        return f"not computable: {reason}"
    if low is None or high is None:
        return f"{found[key]:.2f} (no interval: {reason})"
    return f"{found[key]:.2f} [{low:.2f}, {high:.2f}]"
