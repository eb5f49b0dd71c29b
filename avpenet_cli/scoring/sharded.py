"""Score one shard of an archive: a run like any other, whose output lies in the folder of shards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from avpenet_cli.errors import SettingsError
from avpenet_cli.inputs import Recording
from avpenet_cli.phrasing import plural
from avpenet_cli.runs.callbacks import NO_CALLBACKS, RunCallbacks
from avpenet_cli.runs.device import resolve_settings
from avpenet_cli.runs.guard import require_inputs
from avpenet_cli.runs.journal import count_unfinished, journal_path
from avpenet_cli.scoring.embeddings import check_embeddings_path
from avpenet_cli.scoring.output_files import check_manifest_owner, refuse_replacing_others
from avpenet_cli.scoring.request import ScoreRequest
from avpenet_cli.scoring.run import ScoredRecording, fingerprint, score_recordings
from avpenet_cli.shards.plan import PlanRequest, plan_shards, read_plan
from avpenet_cli.shards.shard import Shard, shard_file, shard_output, shards_folder
from avpenet_cli.tables import check_format


def score_shard(
    request: ScoreRequest, shard: Shard, callbacks: RunCallbacks = NO_CALLBACKS
) -> Iterator[ScoredRecording]:
    """Score one shard of the inputs, after bringing the plan of the shards up to date.

    Args:
        request: as for a run over all inputs: `out` is the table that the shards are merged into.
        shard: the part to score; it may have no recordings.
        callbacks: as of `score_recordings`.

    Yields:
        The shard's recordings, in the order of the inputs; exhaust the iterator.

    Raises:
        SettingsError: the request asks for what needs all recordings.
        OutputError: the shards are divided otherwise, or have other settings.
        AvpenetError: as `score_recordings`.
    """
    _refuse_finishing(request)
    check_format(request.out)
    require_inputs(request.inputs, pseudonymised=request.pseudonymised)
    check_manifest_owner(request.out)
    refuse_replacing_others(request.out, with_subjects=False)
    embeddings = None if request.embeddings is None else embeddings_of_shard(request.out, shard, request.embeddings)
    request = replace(request, settings=resolve_settings(request.settings))
    plan = plan_shards(plan_request(request, shard), callbacks)
    inputs, out = plan.part_of(request.inputs, shard), shard_output(request.out, shard)
    whole = plural(len(request.inputs.recordings), "recording")
    callbacks.info(f"shard {shard}: {len(inputs.recordings)} of {whole}")
    _report_scored_elsewhere(request.out, out, inputs.recordings, callbacks)
    part = replace(request, inputs=inputs, part_of=request.inputs, out=out, embeddings=embeddings)
    yield from score_recordings(part, callbacks)


def report_unmerged_shards(out: Path, callbacks: RunCallbacks) -> None:
    """Warn before a run over all inputs where the output has shards and no run or merge has made it yet.

    Raises:
        OutputError: as `read_plan`.
    """
    plan = read_plan(out)
    if plan is not None and not journal_path(out).exists():
        callbacks.warning(
            f"{shards_folder(out).name} has {plural(plan.count, 'shard')} of {out.name}, which this run does not use: "
            "avpenet merge joins them"
        )


def _report_scored_elsewhere(whole: Path, out: Path, recordings: Sequence[Recording], callbacks: RunCallbacks) -> None:
    """Warn where a run over all inputs has scored more of a shard than the shard's own runs."""
    if not journal_path(whole).exists():
        return
    again = count_unfinished(out, recordings) - count_unfinished(whole, recordings)
    if again > 0:
        callbacks.warning(
            f"{whole.name} already has scores of {plural(again, 'recording')} of this shard, which scores them again: "
            "a shard uses only its own"
        )


def plan_request(request: ScoreRequest, shard: Shard) -> PlanRequest:
    """What a run of a shard asks of the plan.

    Args:
        request: of all inputs, with settings whose precision is that of their device.
        shard: any; how many there are counts.
    """
    return PlanRequest(
        out=request.out,
        count=shard.count,
        inputs=request.inputs,
        settings=fingerprint(request),
        decoding=request.settings.decoding,
        pseudonymised=request.pseudonymised,
        prune=request.prune,
        command=request.command,
    )


def embeddings_of_shard(out: Path, shard: Shard, embeddings: Path) -> Path:
    """`scores.shards/03-of-16.embeddings.parquet` for `embeddings.parquet`.

    Raises:
        SettingsError: no file for the embeddings of all shards.
        OutputError: there is a file that `avpenet score` did not write.
    """
    check_embeddings_path(embeddings, out, replacing=True)
    return shard_file(out, shard, f".{embeddings.name}")


def _refuse_finishing(request: ScoreRequest) -> None:
    """Raise where the request asks for what can be computed from all recordings only."""
    asked = {
        "--subjects": request.subjects is not None,
        "--baseline": request.baseline is not None,
        "--calibration": request.calibration is not None,
        "--csv-bom": request.csv_bom,
    }
    if wanted := [option for option, is_asked in asked.items() if is_asked]:
        raise SettingsError(f"--shard with {wanted[0]}, which needs all shards", "give it to avpenet merge instead")
