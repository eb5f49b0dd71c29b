"""Put the shards of a table together: their journals into one, and from that the files of a run over all recordings."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields, replace
from datetime import datetime
from pathlib import Path

from avpenet_cli.errors import OutputError, OutputLockedError, SettingsError
from avpenet_cli.inputs import Inputs, Recording
from avpenet_cli.phrasing import plural
from avpenet_cli.runs.callbacks import NO_CALLBACKS, RunCallbacks
from avpenet_cli.runs.history import ReadFile, refuse_unusable_history
from avpenet_cli.runs.journal import Journal, JournalPart
from avpenet_cli.runs.journal_source import opened_source
from avpenet_cli.runs.lock import Lease, lock_holder, output_lock
from avpenet_cli.runs.manifest import Totals, manifest_path
from avpenet_cli.scoring.embeddings import EmbeddingStore, check_embeddings_path, opened_store
from avpenet_cli.scoring.output_files import check_manifest_owner, refuse_replacing_others, remove_leftovers
from avpenet_cli.scoring.recorded_at import CONTAINER, NOWHERE
from avpenet_cli.scoring.request import MergeRequest, OutputOptions, ScoreRequest
from avpenet_cli.scoring.results import MergedShards, Results, RunFacts
from avpenet_cli.scoring.shard_check import FinishedShard, check_shards
from avpenet_cli.settings import RunSettings, from_dict
from avpenet_cli.shards.plan import ShardPlan, read_plan
from avpenet_cli.shards.shard import shard_file, shard_output, shards_folder
from avpenet_cli.tables import check_format
from avpenet_cli.version import __version__
from avpenet_cli.weights import WeightsDescription, WeightsEntry


def merge_scores(request: MergeRequest, callbacks: RunCallbacks = NO_CALLBACKS) -> Totals:
    """Merge all shards of a table; the files are those of a run over all recordings.

    All that it takes lies in the folder of the shards; recordings and weights need not be within reach. Killed at any
    moment, it leaves every file whole, and is given again.

    Returns:
        Sums over all recordings.

    Raises:
        SettingsError: there are no shards, or a table that is given cannot be used.
        ShardsUnfinishedError: shards are not finished; says which.
        OutputLockedError: shards, or the table, are being written.
        OutputError: shards are foreign, damaged or of other weights or settings; the table belongs to other weights or
            settings, or would lose recordings without `prune`; a file cannot be written.
        EnvironmentUnavailableError: no space left.
    """
    started = datetime.now().astimezone()
    check_format(request.out)
    plan = read_plan(request.out)
    if plan is None:
        raise SettingsError(
            f"{request.out} has no shards: there is no {shards_folder(request.out)}",
            "name the table that avpenet score --shard was given as --out",
        )
    if request.embeddings is not None:
        check_embeddings_path(request.embeddings, request.out)
    with output_lock(request.out, callbacks) as lease:
        plan = read_plan(request.out) or plan  # it may have waited long
        check_manifest_owner(request.out)
        refuse_replacing_others(request.out, with_subjects=request.subjects is not None)
        refuse_unusable_history(request.out)
        embeddings = None if request.embeddings is None else request.embeddings.name
        shards = check_shards(request.out, plan, embeddings=embeddings, prune=request.prune)
        _check_versions(shards, callbacks)
        whole = _whole_request(request, plan, shards)
        _check_times(whole, shards, callbacks)
        results = Results(whole)
        remove_leftovers(request.out, request.embeddings)
        with (
            contextlib.closing(_opened_journal(request.out, plan)) as journal,
            opened_store(request.embeddings, request.out, plan.settings) as store,
        ):
            return _merge_into(journal, store, results, whole, plan, shards, callbacks, started, lease)


def _opened_journal(out: Path, plan: ShardPlan) -> Journal:
    try:
        return Journal(out, plan.settings)
    except OutputError as error:
        raise OutputError(error.message, f"move {out.name} and what lies beside it away, then merge again") from None


def _merge_into(
    journal: Journal,
    store: EmbeddingStore | None,
    results: Results,
    request: ScoreRequest,
    plan: ShardPlan,
    shards: Sequence[FinishedShard],
    callbacks: RunCallbacks,
    started: datetime,
    lease: Lease,
) -> Totals:
    recordings = request.inputs.recordings
    if not request.prune:
        _refuse_dropping(request.out, journal, recordings)
    callbacks.info(f"merging {plural(len(recordings), 'recording')} of {plural(len(shards), 'shard')}")
    if store is not None:
        assert request.embeddings is not None
        for shard in shards:
            callbacks.check_stop()
            file = shard_file(request.out, shard.shard, f".{request.embeddings.name}")
            store.take(file, shard_output(request.out, shard.shard).name, plan.settings, shard.keys)
    facts = {
        "started": started.isoformat(timespec="seconds"),
        "version": __version__,
        "command": request.command,
        "left_aside": asdict(request.inputs.left_aside),
        "pseudonymised": request.pseudonymised,
    }
    lease.check()
    parts = _parts(request.out, shards, callbacks)
    journal.merge(recordings, facts, parts, with_paths=not request.pseudonymised, prune=request.prune)
    callbacks.check_stop()
    lease.check()
    reused = set().union(*(shard.reused for shard in shards))
    run_facts = RunFacts(_devices(shards), reused, started, _merged(request.out, shards))
    journal.end_run(results.write(journal, run_facts, callbacks, store))
    if request.prune:
        if store is not None:
            store.prune(recordings)
        if dropped := journal.prune(recordings):
            callbacks.info(f"{plural(dropped, 'recording')} dropped from {request.out.name} (--prune)")
    return results.totals


def _refuse_dropping(out: Path, journal: Journal, recordings: Sequence[Recording]) -> None:
    """Raise where the table holds recordings that no shard has, as after a run over all recordings of a larger
    archive."""
    others = journal.held() - {recording.key for recording in recordings}
    if not others:
        return
    names = journal.names()
    example = next((f" (such as {names[key]})" for key in sorted(others) if key in names), "")
    raise OutputError(
        f"{out} would lose {plural(len(others), 'recording')} that it holds and no shard has{example}; it is unchanged",
        "give --shard all recordings and score those shards first, or give --prune to drop them",
    )


def _parts(out: Path, shards: Sequence[FinishedShard], callbacks: RunCallbacks) -> Iterator[JournalPart]:
    """The shards' journals one after the other, each checked not to have changed since all were checked."""
    for shard in shards:
        callbacks.check_stop()
        output = shard_output(out, shard.shard)
        started = OutputLockedError(
            f"shard {shard.shard} was started while it was merged; nothing was changed", "wait for it"
        )
        # Before it is opened: on a share, the transaction of another host's run may look like a dead one's.
        if lock_holder(output):
            raise started
        with opened_source(output) as source:
            if source.run.get("finished") != shard.finished:
                raise started
            yield JournalPart(
                shard.keys, source.finished_rows(), source.failed_rows(), source.file_rows(), source.tally_rows()
            )
            if lock_holder(output):  # where locks do not reach it, it may have written meanwhile
                raise started


def _whole_request(request: MergeRequest, plan: ShardPlan, shards: Sequence[FinishedShard]) -> ScoreRequest:
    """What a run over all recordings would have been asked."""
    manifest = shards[0].manifest
    stated = {name: value for name, value in manifest["weights"].items() if name != "digest"}
    where = str(manifest_path(shard_output(request.out, shards[0].shard)))
    weights = from_dict(WeightsDescription, stated | {"preprocessing": manifest["preprocessing"]}, where)
    if plan.settings.get("weights") != f"{weights.name}@{weights.digest}":
        raise OutputError(f"{where} was altered: its weights are not those of the plan", "score that shard again")
    paths = {key: path for shard in shards for key, path in shard.paths.items()}
    inputs = plan.inputs()
    recordings = tuple(replace(item, path=paths.get(item.key, item.path)) for item in inputs.recordings)
    return ScoreRequest(
        Inputs(recordings, inputs.left_aside),
        request.out,
        WeightsEntry(weights, None),
        from_dict(RunSettings, manifest["settings"], where),
        pseudonymised=plan.pseudonymised,
        prune=request.prune,
        command=request.private_command if plan.pseudonymised else request.command,
        **{option.name: getattr(request, option.name) for option in fields(OutputOptions)},
    )


def _check_times(request: ScoreRequest, shards: Sequence[FinishedShard], callbacks: RunCallbacks) -> None:
    """Raise where the times that are asked for are not in pseudonymised shards, which keep neither names nor times;
    warn where shards had others."""
    sources = {str(shard.manifest.get("recorded_at", {}).get("source", "")) for shard in shards}
    wanted = request.recorded_at
    if request.pseudonymised and wanted is not None:
        if wanted.startswith("name:"):
            raise SettingsError(
                f"--recorded-at {wanted}: pseudonymised shards hold no names of files", "give a table of the pseudonyms"
            )
        if wanted == CONTAINER and sources != {CONTAINER}:
            raise SettingsError(
                "--recorded-at container: pseudonymised shards hold times only if they were scored with it",
                "score them again with --recorded-at container --overwrite",
            )
    used = NOWHERE if request.pseudonymised else CONTAINER
    if wanted is None and (others := sorted(sources - {used})):
        callbacks.warning(
            f"recorded_at of shards: {others[0]}; of this merge: {used}; give --recorded-at again to keep it"
        )


def _check_versions(shards: Sequence[FinishedShard], callbacks: RunCallbacks) -> None:
    """Say where shards were scored by different software, whose numbers may differ in their last digits."""
    first = shards[0].manifest["software"]
    names = [name for name in first if name != "platform"]
    for name in names:
        different = [shard for shard in shards if shard.manifest["software"].get(name) != first[name]]
        if different:
            callbacks.warning(
                f"shards were scored with different versions of {name}: {first[name]}, and shard {different[0].shard} "
                f"with {different[0].manifest['software'].get(name)}"
            )


def _devices(shards: Sequence[FinishedShard]) -> str:
    return ", ".join(dict.fromkeys(str(shard.manifest["device"]) for shard in shards))


def _merged(out: Path, shards: Sequence[FinishedShard]) -> MergedShards:
    entries = {shard.shard: shard.entry for shard in shards if shard.entry is not None}
    return MergedShards(
        list(entries.values()),
        [
            ReadFile("shard", manifest_path(shard_output(out, shard)).name, entry.sha256)
            for shard, entry in entries.items()
        ],
        next(iter(entries.values())).host,
        dict(shards[0].manifest["software"]),
    )
