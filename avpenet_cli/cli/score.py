"""`avpenet score`: score recordings into a table with a row for every segment."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    Recursive,
    SubjectsTable,
    WeightsName,
    named_baseline,
)
from avpenet_cli.cli.reporter import Reporter, Tracebacks
from avpenet_cli.cli.run_log import LogOptions, log_format_named
from avpenet_cli.cli.totals_summary import totals_summary
from avpenet_cli.errors import ExitCode, SettingsError
from avpenet_cli.phrasing import plural
from avpenet_cli.records import Flag, Modalities, RecordingOutcome
from avpenet_cli.runs.memory import loading_libraries
from avpenet_cli.shards.shard import Shard

if TYPE_CHECKING:
    from avpenet_cli.cli.dry_run import Listed
    from avpenet_cli.inputs import Inputs
    from avpenet_cli.runs.manifest import Totals
    from avpenet_cli.scoring.lanes.lane import Lanes
    from avpenet_cli.scoring.request import ScoreRequest
    from avpenet_cli.scoring.run import ScoredRecording
    from avpenet_cli.settings import RunSettings


def score(
    context: typer.Context,
    paths: Annotated[list[str] | None, typer.Argument(help="Recordings, folders, or quoted patterns.")] = None,
    out: Annotated[Path | None, typer.Option(help="The table to write: .csv, .parquet or .jsonl.")] = None,
    weights: WeightsName = None,
    recursive: Recursive = False,
    files_from: Annotated[
        str | None, typer.Option(help="Read paths from a file, one per line or NUL-separated; - is standard input.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N. [default: auto]")] = None,
    precision: Annotated[
        str | None, typer.Option(help="Precision of the encoders: auto, float32, bfloat16 or int8. [default: float32]")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Number of faces encoded together; does not change scores. [default: 32]")
    ] = None,
    workers: Annotated[
        str | None,
        typer.Option(
            metavar="N|auto",
            help="Recordings scored at a time: on a CPU each in a process of its own, on a GPU in threads; each takes "
            "memory. auto: what the cores and half of the free memory allow. [default: 1]",
        ),
    ] = None,
    stride: Annotated[
        float | None, typer.Option(help="Seconds between segment starts; 1 for trajectories. [default: 3]")
    ] = None,
    require: Annotated[
        str | None,
        typer.Option(metavar="MODALITIES", help="Score only segments that have these: audio, face or audio,face."),
    ] = None,
    mc_samples: Annotated[
        int | None, typer.Option(help="Monte Carlo dropout samples for score_sd, score_lo, score_hi. [default: 0]")
    ] = None,
    recorded_at: RecordedAt = None,
    subjects: SubjectsTable = None,
    baseline: Baseline = None,
    calibration: CalibrationFile = None,
    embeddings: EmbeddingsFile = None,
    csv_bom: CsvBom = False,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="K/N",
            help="Score only part K of N of the recordings, into a folder beside OUT; avpenet merge joins the parts.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start over, whatever OUT and its journal contain.")
    ] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Drop from OUT what is no longer among the inputs or cannot be read.")
    ] = False,
    no_digests: Annotated[
        bool, typer.Option("--no-digests", help="Do not read files once more for their SHA-256; for slow shares.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only read the headers and show what would be scored.")
    ] = False,
    plan: Annotated[
        bool,
        typer.Option(
            "--plan",
            help="With --dry-run: score pieces of the recordings, and estimate how long all take, in shards too.",
        ),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 1 also if a segment is unscorable or a recording truncated.")
    ] = False,
    pseudonymise: Annotated[
        Path | None,
        typer.Option(metavar="KEYFILE", help="Replace the recordings' names with pseudonyms made with this key."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE.toml", help="Settings file for all other settings.")
    ] = None,
    log_format: Annotated[str, typer.Option(help="Log format: text or json.")] = "text",
    log_file: Annotated[Path | None, typer.Option(help="Also append the log to this file.")] = None,
    quiet: Quiet = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Also log how long each stage took.")] = False,
    debug: Debug = False,
) -> int:
    """Score recordings for pain: one row for every 3-second segment.

    A run that was stopped or killed resumes when the same command is given again.
    """
    started = time.monotonic()
    log = LogOptions(log_format_named(log_format), log_file, verbose, quiet)
    tracebacks: Tracebacks = "none" if not debug else "full" if pseudonymise is None else "without text"
    with Reporter(log, tracebacks) as reporter:
        from avpenet_cli.inputs import collect
        from avpenet_cli.runs.manifest import Totals
        from avpenet_cli.settings import RunSettings, read_settings

        totals = Totals()
        if not dry_run:
            reporter.set_totals(lambda: totals_summary(totals, time.monotonic() - started))
        options = {
            "device": device,
            "precision": precision,
            "batch_size": batch_size,
            "workers": int(workers) if workers is not None and workers.isdecimal() else workers,
            "stride_s": stride,
            "require": None if require is None else _modalities(require),
            "mc_samples": mc_samples,
        }
        wanted_baseline = named_baseline(baseline)
        part = None if shard is None else Shard.parse(shard)
        settings = read_settings(RunSettings, config, options)
        if part is not None and out is None:
            raise SettingsError("--shard without --out", "name the table that the shards make, e.g. --out scores.csv")
        if plan and not dry_run:
            raise SettingsError("--plan is for --dry-run", "add --dry-run, or leave --plan out")
        inputs = collect(paths or [], files_from, recursive, pseudonymise)
        if dry_run:
            from avpenet_cli.cli.dry_run import print_inputs

            if part is not None and out is not None and not plan:
                inputs = _foreseen(inputs, out, part, settings, prune=prune)
            listed = print_inputs(inputs, settings, pseudonymised=pseudonymise is not None)
            if plan:
                _print_estimate(listed, weights, settings, part, reporter)
            return listed.code
        if out is None:
            raise SettingsError("--out is missing", "name the table to write, e.g. --out scores.csv")
        from avpenet_cli.tables import check_format
        from avpenet_cli.weights import default_entry, find

        check_format(out)
        # From here on, because loading libraries and weights takes seconds and cannot be interrupted safely.
        with reporter.stopping_on_signals():
            from avpenet_cli.scoring.request import ScoreRequest

            request = ScoreRequest(
                inputs,
                out,
                find(weights) if weights else default_entry(),
                settings,
                pseudonymised=pseudonymise is not None,
                overwrite=overwrite,
                prune=prune,
                recorded_at=recorded_at,
                digests=not no_digests,
                command=recorded_command(context, private=pseudonymise is not None),
                subjects=subjects,
                baseline=wanted_baseline,
                calibration=calibration,
                csv_bom=csv_bom,
                embeddings=embeddings,
            )
            _score(request, part, totals, reporter, context.obj)
        failed = totals.failed or (strict and (totals.segments["unscorable"] or totals.truncated))
        code = ExitCode.SOME_FAILED if failed else ExitCode.OK
        line, fields = totals_summary(totals, time.monotonic() - started)
        reporter.summary(line, code, **fields)
    return code


def _print_estimate(
    listed: Listed, weights: str | None, settings: RunSettings, shard: Shard | None, reporter: Reporter
) -> None:
    """How long the listed recordings take."""
    from avpenet_cli.cli.estimate import print_estimate
    from avpenet_cli.weights import default_entry, find

    with reporter.stopping_on_signals():
        entry = find(weights) if weights else default_entry()
        print_estimate(listed, entry, settings, shard, reporter)


def _modalities(text: str) -> list[str]:
    """The modalities that `--require` names."""
    names = [name.strip() for name in text.split(",")]
    if not set(names) <= {Modalities.AUDIO.value, Modalities.FACE.value}:
        raise SettingsError(f"--require {text}: no such modality", "use audio, face or audio,face")
    return names


def _foreseen(inputs: Inputs, out: Path, shard: Shard, settings: RunSettings, *, prune: bool) -> Inputs:
    """The recordings that a run of this shard would score; no plan is written."""
    from avpenet_cli.shards.plan import PlanRequest, foresee_plan

    plan = foresee_plan(PlanRequest(out, shard.count, inputs, {}, settings.decoding, prune=prune))
    return plan.part_of(inputs, shard)


def _score(
    request: ScoreRequest,
    shard: Shard | None,
    totals: Totals,
    reporter: Reporter,
    open_lanes: Callable[..., Lanes] | None,
) -> None:
    """Score, log and count every recording, or those of one shard, after the weights' notice.

    Args:
        open_lanes: of `submit --engine ray`; see `score_recordings`.
    """
    with loading_libraries():
        from avpenet_cli.scoring.run import score_recordings
        from avpenet_cli.scoring.sharded import report_unmerged_shards, score_shard

    notice = request.weights.description.notice
    if notice:
        reporter.warning(notice, event="notice")
    if shard is None:
        report_unmerged_shards(request.out, reporter)
    scores = score_shard(request, shard, reporter) if shard else score_recordings(request, reporter, open_lanes)
    for scored in scores:
        totals.add(scored.outcome)
        _log_outcome(scored, reporter)


def _log_outcome(scored: ScoredRecording, reporter: Reporter) -> None:
    """Log one recording's outcome: a line for people, the same facts as fields for programs."""
    name, outcome = scored.recording.name, scored.outcome
    unscorable = sum(1 for segment in outcome.segments if segment.score is None)
    seconds = outcome.balance.nominal_s if outcome.balance else 0.0
    fields: dict[str, object] = {
        "event": "recording",
        "recording": name,
        "status": outcome.status.value,
        "reason": outcome.reason,
        "segments": len(outcome.segments),
        "unscorable": unscorable,
        "seconds": seconds,
        "reused": scored.reused,
    }
    if outcome.reason:
        reporter.error(f"{name}: failed: {outcome.message}", **fields)
        return
    how = "scored by an earlier run" if scored.reused else f"{seconds:.1f} s in {scored.spent_s:.1f} s"
    counts = plural(len(outcome.segments), "segment") + (f", {unscorable} unscorable" if unscorable else "")
    rotated = f", image rotated by {outcome.orientation_deg} degrees" if outcome.orientation_deg else ""
    notes = outcome.facts.get("notes")
    chosen = "".join(f"; {note}" for note in notes) if isinstance(notes, list) else ""
    reporter.info(f"{name}: {counts}, {how}{rotated}{chosen}", **fields)
    note: dict[str, object] = {"event": "recording_note", "recording": name}
    if corrections := _audio_corrections(outcome):
        reporter.info(f"{name}: audio: {'; '.join(corrections)}", **note, audio_corrections=corrections)
    if outcome.message:
        # Once, when it is found: a nightly run with -q must not keep it back, nor repeat it every night.
        cut = not scored.reused and any(Flag.TRUNCATED in segment.flags for segment in outcome.segments)
        (reporter.error if cut else reporter.warning)(f"{name}: {outcome.message}", **note)
    stages = ", ".join(f"{stage} {spent:.2f}" for stage, spent in outcome.stage_s.items())
    reporter.detail(f"{name}: seconds by stage: {stages}", **note, stage_s=outcome.stage_s)


def _audio_corrections(outcome: RecordingOutcome) -> list[str]:
    audio = outcome.facts.get("audio")
    return list(audio.get("corrections", [])) if isinstance(audio, dict) else []
