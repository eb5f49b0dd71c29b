"""`avpenet score`: recordings in, a table with a row for every segment out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from avpenet_cli.cli.reporter import LogFormat, Reporter
from avpenet_cli.cli.signals import stop_on_signals
from avpenet_cli.errors import ExitCode, Interrupted, OutputError, SettingsError

if TYPE_CHECKING:
    from avpenet_cli.inputs import Inputs, Recording
    from avpenet_cli.runs.journal import Journal
    from avpenet_cli.runs.manifest import Totals
    from avpenet_cli.scoring.run import Finished
    from avpenet_cli.settings import RunSettings
    from avpenet_cli.tables import Row
    from avpenet_cli.weights import WeightsEntry


@dataclass(frozen=True)
class _Plan:
    """What one run is to do."""

    inputs: Inputs
    out: Path
    entry: WeightsEntry
    run: RunSettings
    debug: bool
    names_allowed: bool
    """False under --pseudonymise."""
    stop: Callable[[], bool]
    """Has an end been asked for?"""


def score(
    paths: Annotated[list[str] | None, typer.Argument(help="Recordings, folders, or quoted patterns.")] = None,
    out: Annotated[Path | None, typer.Option(help="The table to write: .csv, .parquet or .jsonl.")] = None,
    weights: Annotated[str | None, typer.Option(help="Name or file of the weights; see avpenet weights list.")] = None,
    recursive: Annotated[bool, typer.Option("--recursive", help="Look into folders of folders.")] = False,
    files_from: Annotated[
        str | None, typer.Option(help="Read paths from a file, one a line or NUL-separated; - is standard input.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N. [default: auto]")] = None,
    precision: Annotated[
        str | None, typer.Option(help="Of the encoders: float32 or bfloat16. [default: float32]")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Faces encoded together; changes no score. [default: 32]")
    ] = None,
    stride: Annotated[
        float | None, typer.Option(help="Seconds between segment starts; 1 for trajectories. [default: 3]")
    ] = None,
    mc_samples: Annotated[
        int | None, typer.Option(help="Monte Carlo dropout samples for score_sd, score_lo, score_hi. [default: 0]")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start anew, whatever OUT and its journal hold.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only read headers and say what would be scored.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 1 also when a segment is unscorable or a recording truncated.")
    ] = False,
    pseudonymise: Annotated[
        Path | None, typer.Option(metavar="KEYFILE", help="Replace recordings' names by pseudonyms under this key.")
    ] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE.toml", help="The rest of the settings.")] = None,
    log_format: Annotated[str, typer.Option(help="text or json.")] = "text",
    log_file: Annotated[Path | None, typer.Option(help="Append the log here too.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only warnings, errors and the last line.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Also where the time went.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> int:
    """Score recordings for pain: one row for every 3-second segment.

    A run that was stopped or killed goes on when the same command is given again.
    """
    from avpenet_cli.inputs import collect

    given = {
        "device": device,
        "precision": precision,
        "batch_size": batch_size,
        "stride_s": stride,
        "mc_samples": mc_samples,
    }
    run = _settings(config, given)
    inputs = collect(paths or [], files_from, recursive, pseudonymise)
    if dry_run:
        from avpenet_cli.cli.dry_run import dry_run as list_what_would_be_scored

        return list_what_would_be_scored(inputs, run, pseudonymised=pseudonymise is not None)
    if out is None:
        raise SettingsError("--out is missing", "name the table to write, e.g. --out scores.csv")
    from avpenet_cli.tables import check_format
    from avpenet_cli.weights import default_entry, find

    check_format(out)
    # From here on, because loading libraries and weights takes seconds and does not take interruptions well.
    with stop_on_signals() as stop:
        entry = find(weights) if weights else default_entry()
        plan = _Plan(inputs, out, entry, run, debug, pseudonymise is None, stop)
        with Reporter(_log_format(log_format), log_file, quiet, verbose, len(inputs.recordings)) as reporter:
            totals, last_line = _run(plan, overwrite, reporter)
    typer.echo(last_line, err=True)
    if totals.failed:
        return ExitCode.SOME_FAILED
    return ExitCode.SOME_FAILED if strict and (totals.segments["unscorable"] or totals.truncated) else ExitCode.OK


def _log_format(text: str) -> LogFormat:
    known: dict[str, Literal["text", "json"]] = {"text": "text", "json": "json"}
    if text not in known:
        raise SettingsError(f"--log-format {text}: no such format", "use text or json")
    return known[text]


def _settings(config: Path | None, given: dict[str, Any]) -> RunSettings:
    """The settings file, with what was given on the command line on top."""
    from avpenet_cli.settings import RunSettings, from_dict, read_config

    plain = read_config(config) if config else {}
    from_dict(RunSettings, plain, str(config))
    options = {name: value for name, value in given.items() if value is not None}
    return from_dict(RunSettings, plain | options, "command line")


def _run(plan: _Plan, overwrite: bool, reporter: Reporter) -> tuple[Totals, str]:
    """Score everything, then write table and manifest. Returns the sums and the last line."""
    from avpenet_cli.runs.device import choose_device
    from avpenet_cli.runs.journal import Journal, journal_path
    from avpenet_cli.runs.lock import output_lock
    from avpenet_cli.runs.manifest import Totals, manifest_path
    from avpenet_cli.storage import storage_fault, temporary_prefix
    from avpenet_cli.weights import verify

    begun = time.monotonic()
    description = plan.entry.description
    _announce(plan, reporter)
    # Before anything old is removed.
    choose_device(plan.run.device)
    verify(plan.entry)
    with output_lock(plan.out):
        _check_manifest(plan.out)
        prefixes = (temporary_prefix(plan.out), temporary_prefix(manifest_path(plan.out)))
        leftovers = [p for p in plan.out.parent.iterdir() if p.name.startswith(prefixes) and p.suffix == ".tmp"]
        if overwrite:
            # The old table and manifest stay until the new ones take their place.
            leftovers.append(journal_path(plan.out))
        try:
            for path in leftovers:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise storage_fault(plan.out, error) from None
        journal = Journal(plan.out, _fingerprint(plan), replacing=overwrite)
        try:
            if others := journal.others(plan.inputs.recordings):
                reporter.warning(
                    f"{others} recordings scored earlier are not among the inputs now; "
                    f"{plan.out.name} will not hold them, its journal still does"
                )
            reused: set[str] = set()
            totals = Totals()
            for finished in _finished(plan, journal, reporter):
                totals.add(finished.outcome)
                if finished.reused:
                    reused.add(finished.recording.key)
                _say(finished, reporter)
            _write(plan, journal, totals, reused, begun)
        finally:
            journal.close()
    if description.notice:
        reporter.warning(description.notice)
    return totals, _last_line(totals, time.monotonic() - begun)


def _check_manifest(out: Path) -> None:
    """`scores.csv` and `scores.parquet` would share a manifest; one must not vouch for the other."""
    from avpenet_cli.runs.manifest import manifest_path

    path = manifest_path(out)
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))["table"]["file"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if owner != out.name:
        raise OutputError(f"{path} belongs to {owner}", "choose an --out whose name differs in more than its suffix")


def _announce(plan: _Plan, reporter: Reporter) -> None:
    inputs, description = plan.inputs, plan.entry.description
    if description.notice:
        reporter.warning(description.notice)
    if inputs.repeated:
        reporter.info(f"{inputs.repeated} inputs were named more than once and are scored once")
    if inputs.other_files:
        reporter.info(
            f"{inputs.other_files} files in the folders are not recordings by their suffix and were left aside"
        )


def _fingerprint(plan: _Plan) -> dict[str, Any]:
    """What two runs must agree on to share a journal."""
    from avpenet_cli.settings import result_settings

    return {
        "weights": f"{plan.entry.name}@{plan.entry.digest}",
        "recordings' names": "plain" if plan.names_allowed else "pseudonyms",
        **result_settings(plan.run),
    }


def _finished(plan: _Plan, journal: Journal, reporter: Reporter) -> Iterator[Finished]:
    """The recordings as they are dealt with; an interruption says how far it got."""
    from avpenet_cli.runs.device import choose_device, device_name
    from avpenet_cli.scoring.network import Network
    from avpenet_cli.scoring.run import score_all
    from avpenet_cli.scoring.scorer import Scorer

    device = choose_device(plan.run.device)
    total, done = len(plan.inputs.recordings), 0
    reporter.info(f"scoring {total} recordings on {device_name(device)}", device=str(device))
    scorer = Scorer(Network(plan.entry, plan.run), plan.run, plan.stop)
    outcomes = score_all(plan.inputs.recordings, scorer, journal, reporter.seconds)
    try:
        while done < total:
            if plan.stop():
                raise Interrupted("")
            finished = next(outcomes)
            done += 1
            reporter.advance()
            if finished.error is not None and plan.debug:
                reporter.trace(finished.error, plan.names_allowed)
            yield finished
    except Interrupted:
        raise Interrupted(
            f"interrupted after {done} of {total} recordings", "run the same command again to go on"
        ) from None


def _say(finished: Finished, reporter: Reporter) -> None:
    """One line about one recording."""
    name, outcome = finished.recording.name, finished.outcome
    facts: dict[str, object] = {"event": "recording", "recording": name, "status": outcome.status.value}
    if outcome.reason:
        reporter.warning(f"{name}: failed: {outcome.message}", **facts, reason=outcome.reason)
        return
    unscorable = sum(1 for segment in outcome.segments if segment.score is None)
    seconds, spent = outcome.balance.nominal_s if outcome.balance else 0.0, sum(outcome.stage_s.values())
    facts |= {
        "segments": len(outcome.segments),
        "unscorable": unscorable,
        "seconds": seconds,
        "reused": finished.reused,
    }
    how = "known from an earlier run" if finished.reused else f"{seconds:.1f} s in {spent:.1f} s"
    counts = f"{len(outcome.segments)} segments" + (f", {unscorable} unscorable" if unscorable else "")
    turned = f", picture turned by {outcome.orientation_deg} degrees" if outcome.orientation_deg else ""
    reporter.info(f"{name}: {counts}, {how}{turned}", **facts)
    if outcome.message:
        reporter.warning(f"{name}: {outcome.message}", **facts)
    stages = ", ".join(f"{stage} {spent:.2f}" for stage, spent in outcome.stage_s.items())
    reporter.detail(f"{name}: seconds by stage: {stages}", **facts, stage_s=outcome.stage_s)


def _write(plan: _Plan, journal: Journal, totals: Totals, reused: set[str], begun: float) -> None:
    """The table, then the manifest that vouches for it."""
    from avpenet_cli.runs.device import choose_device, device_name
    from avpenet_cli.runs.manifest import manifest, manifest_path, recording_entry
    from avpenet_cli.storage import write_json
    from avpenet_cli.tables import write_table

    description = plan.entry.description
    digest = write_table(plan.out, _rows(plan, journal))
    taken_s = time.monotonic() - begun
    now = datetime.now().astimezone()
    entries = (
        recording_entry(recording, outcome, recording.key in reused)
        for recording in plan.inputs.recordings
        if (outcome := journal.latest(recording)) is not None
    )
    whole = manifest(
        plan.run,
        description,
        device_name(choose_device(plan.run.device)),
        {"file": plan.out.name, "sha256": digest, "rows": sum(totals.segments.values())},
        totals,
        {"finished": now.isoformat(timespec="seconds"), "seconds": round(taken_s, 1)},
        entries,
    )
    write_json(manifest_path(plan.out), whole)


def _rows(plan: _Plan, journal: Journal) -> Iterator[Row]:
    """The table's rows, in input order, straight from the journal."""
    from avpenet_cli.runs.manifest import weights_mark
    from avpenet_cli.tables import row

    mark = weights_mark(plan.entry.description)
    recording: Recording
    for recording in plan.inputs.recordings:
        outcome = journal.latest(recording)
        for segment in outcome.segments if outcome else ():
            yield row(recording.name, segment, mark)


def _last_line(totals: Totals, taken_s: float) -> str:
    return (
        f"avpenet: {sum(totals.recordings.values())} recordings, {totals.failed} failed, "
        f"{totals.segments['unscorable']} unscorable segments, "
        f"{totals.seconds['scored'] / 60:.1f} min scored in {taken_s / 60:.1f} min"
    )
