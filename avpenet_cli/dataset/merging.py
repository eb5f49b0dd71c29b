"""The shards of a store -> its index and `store.json`, as a run over all recordings writes them: `avpenet merge STORE`.

Decodes nothing and needs no recording: what the shards left says of each which segment file it has, or why it failed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from avpenet_cli.dataset.annotations import read_annotations
from avpenet_cli.dataset.prepare import PreparedRecording, PrepareSettings
from avpenet_cli.dataset.record import STORE_FILE, read_store_file
from avpenet_cli.dataset.run import (
    PrepareResult,
    StoreFinish,
    StoreRun,
    finish_checked,
    remove_temporary_files,
    start_store,
)
from avpenet_cli.dataset.segment_files import (
    SCORABLE,
    SEGMENT_FILES_FOLDER,
    segment_descriptions,
    segment_file_header,
)
from avpenet_cli.dataset.shard_records import (
    ShardRecord,
    ShardRecording,
    read_shard_record,
    running_shards,
    shard_record_path,
    store_path,
)
from avpenet_cli.errors import AvpenetError, RecordingError, SettingsError
from avpenet_cli.inputs import Recording
from avpenet_cli.phrasing import plural
from avpenet_cli.runs.callbacks import NO_CALLBACKS, RunCallbacks
from avpenet_cli.runs.history import refuse_unusable_history
from avpenet_cli.runs.lock import output_lock
from avpenet_cli.settings import describe_differences, digest_of
from avpenet_cli.shards.plan import PlannedRecording, ShardPlan, read_plan
from avpenet_cli.shards.problems import NOT_STARTED, ShardProblem, foreign_files, refusal
from avpenet_cli.shards.shard import Shard, shards_folder


@dataclass(frozen=True)
class StoreMergeRequest:
    """The request for one merge.

    Attributes:
        out: the store.
        ratings, subjects: the two tables; None for those that the shards were given, as they are now.
        prune: drop from the store what it held and no shard has.
        command: that was given, for the history; without folders.
    """

    out: Path
    ratings: Path | None = None
    subjects: Path | None = None
    prune: bool = False
    command: str = ""


def merge_store(request: StoreMergeRequest, callbacks: RunCallbacks = NO_CALLBACKS) -> PrepareResult:
    """Finish a store from its shards. Every file of it but its history is equal, to the byte, to that of a run over all
    recordings.

    Can be repeated, also with other tables or after more recordings were prepared.

    Raises:
        ShardsUnfinishedError: shards were not started, were interrupted, or have recordings to do; says which.
        OutputLockedError: shards are being prepared and nothing else is wrong; another run writes the store.
        OutputError: shards are foreign, damaged or of other settings; the store would lose recordings without `prune`.
        SettingsError: the store has no shards; tables that cannot be used; the shards were given different ones; the
            same file under two subjects.
    """
    out, started = store_path(request.out), datetime.now(UTC)
    plan = read_plan(out)
    if plan is None:
        raise SettingsError(
            f"{request.out} has no shards: there is no {shards_folder(out)}",
            "name the store that avpenet prepare --shard was given as --out",
        )
    with output_lock(out / STORE_FILE, callbacks) as lease:
        refuse_unusable_history(out / STORE_FILE)
        # The run of a shard looks at the store's lock after taking its own.
        records = _checked_records(out, plan)
        recordings = _prepared_recordings(out, plan, records)
        settings = _settings(out, records)
        annotations = read_annotations(
            request.ratings or _table(records, "ratings"),
            request.subjects or _table(records, "subjects"),
            [item.recording for item in recordings],
            settings.split,
            settings.seed,
        )
        before = read_store_file(out)
        start_store(out, before, settings.store_fingerprint_fields)
        remove_temporary_files(out, out / SEGMENT_FILES_FOLDER)
        for notice in annotations.notices:
            callbacks.warning(notice)
        callbacks.info(f"merging {plural(plan.count, 'shard')} of {plural(len(recordings), 'recording')}")
        notice = next((record.notice for record in records.values() if record.notice), "")
        lease.check()
        finish = StoreFinish(out, before, recordings, annotations, settings, notice)
        run = StoreRun("merge", request.command, started)
        return finish_checked(finish, run, callbacks, prune=request.prune)


def _checked_records(out: Path, plan: ShardPlan) -> dict[Shard, ShardRecord]:
    """The records of all shards that have recordings.

    Raises:
        ShardsUnfinishedError, OutputLockedError, OutputError: with everything that is wrong with them.
    """
    problems = list(foreign_files(out, plan))
    running = running_shards(out)
    planned: dict[int, list[PlannedRecording]] = {}
    for item in plan.recordings:
        planned.setdefault(item.shard, []).append(item)
    records: dict[Shard, ShardRecord] = {}
    for shard in plan.shards:
        try:
            if holder := running.get(shard):
                raise ShardProblem(f"is being prepared by {holder}", "running")
            if shard.number in planned:
                records[shard] = _checked_record(out, shard, planned[shard.number], plan)
        except ShardProblem as problem:
            problems.append((shard, problem))
    if problems:
        remedy = f"remove from {shards_folder(out)} what does not belong there, and prepare these shards again"
        raise refusal(out, problems, remedy)
    return records


def _checked_record(out: Path, shard: Shard, planned: Sequence[PlannedRecording], plan: ShardPlan) -> ShardRecord:
    """The record of a shard; raises `ShardProblem` where it cannot be merged."""
    path = shard_record_path(out, shard)
    try:
        record = read_shard_record(path)
        settings = record.prepare_settings(path) if record else None
    except AvpenetError as error:
        raise ShardProblem(f"cannot be read: {error.message}", "wrong") from None
    if record is None or settings is None:
        raise ShardProblem(NOT_STARTED, "unfinished")
    if (record.number, record.count) != (shard.number, shard.count):
        raise ShardProblem(f"has the record of shard {Shard(record.number, record.count)}, {path.name}", "wrong")
    if differences := describe_differences(_as_json(plan.settings), _as_json(settings.store_fingerprint_fields)):
        raise ShardProblem(f"has other settings: {differences}", "wrong")
    if not record.finished:
        raise ShardProblem("was interrupted", "unfinished")
    outcomes = {item.key: item for item in record.recordings}
    fingerprint = digest_of(settings.segment_fingerprint_fields)
    to_do = [item for item in planned if not _is_accounted_for(out, outcomes.get(item.key), fingerprint)]
    if to_do:
        number = f"{len(to_do)} of {plural(len(planned), 'recording')}"
        raise ShardProblem(f"has {number} to do, such as {to_do[0].name}", "unfinished")
    return record


def _is_accounted_for(out: Path, outcome: ShardRecording | None, fingerprint: str) -> bool:
    """Whether a recording failed or has its whole segment file."""
    if outcome is None or not outcome.file:
        return outcome is not None and bool(outcome.reason)
    header = segment_file_header(out / SEGMENT_FILES_FOLDER / outcome.file)
    return header is not None and header.fingerprint == fingerprint


def _as_json(fields: Mapping[str, object]) -> dict[str, str]:
    return {name: json.dumps(value) for name, value in fields.items()}


def _prepared_recordings(
    out: Path, plan: ShardPlan, records: Mapping[Shard, ShardRecord]
) -> tuple[PreparedRecording, ...]:
    """All recordings in input order, as the run that prepared each knew them."""
    outcomes = {(shard.number, item.key): item for shard, record in records.items() for item in record.recordings}
    return tuple(_prepared(out, item, outcomes[item.shard, item.key]) for item in plan.recordings)


def _prepared(out: Path, planned: PlannedRecording, outcome: ShardRecording) -> PreparedRecording:
    recording = Recording(Path(), planned.name, planned.key, planned.problem)
    if not outcome.file:
        return PreparedRecording(recording, failure=RecordingError(outcome.reason, outcome.message, outcome.remedy))
    file = out / SEGMENT_FILES_FOLDER / outcome.file
    status = segment_descriptions(file)["status"]
    return PreparedRecording(
        recording,
        file,
        segment_file_header(file),
        len(status),
        int((status != SCORABLE).sum()),
        reused=True,
    )


def _settings(out: Path, records: Mapping[Shard, ShardRecord]) -> PrepareSettings:
    """Those of all shards, which `_checked_records` has found to agree."""
    shard, record = next(iter(records.items()))
    return record.prepare_settings(shard_record_path(out, shard))


def _table(records: Mapping[Shard, ShardRecord], which: str) -> Path:
    """The table that all shards were given."""
    paths = sorted({str(getattr(record, which)) for record in records.values()})
    if len(paths) > 1:
        raise SettingsError(
            f"the shards were given different tables of {which}: {paths[0]} and {paths[1]}",
            f"name the one to use with --{which}",
        )
    return Path(paths[0])
