"""The shards of a store -> its index and `store.json`, as a run over all recordings writes them: `avpenet merge STORE`.

Decodes nothing and needs no recording: what the shards left says of each which segment file it has, or why it failed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from avpenet_cli.dataset.annotations import read_annotations
from avpenet_cli.dataset.prepare import PreparedRecording, PrepareSettings
from avpenet_cli.dataset.record import STORE_FILE, read_store_file
from avpenet_cli.dataset.run import PrepareResult, StoreFinish, finish_checked, remove_temporary_files, start_store
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
from avpenet_cli.errors import AvpenetError, OutputError, OutputLockedError, RecordingError, SettingsError
from avpenet_cli.inputs import Recording
from avpenet_cli.phrasing import plural
from avpenet_cli.runs.callbacks import NO_CALLBACKS, RunCallbacks
from avpenet_cli.runs.lock import output_lock
from avpenet_cli.settings import describe_differences, digest_of
from avpenet_cli.shards.plan import PlannedRecording, ShardPlan, read_plan
from avpenet_cli.shards.shard import Shard, shard_of_output, shards_folder

_NAMED = 16


@dataclass(frozen=True)
class StoreMergeRequest:
    """The request for one merge.

    Attributes:
        out: the store.
        ratings, subjects: the two tables; None for those that the shards were given, as they are now.
        prune: drop from the store what it held and no shard has.
    """

    out: Path
    ratings: Path | None = None
    subjects: Path | None = None
    prune: bool = False


def merge_store(request: StoreMergeRequest, callbacks: RunCallbacks = NO_CALLBACKS) -> PrepareResult:
    """Finish a store from its shards. Every file of it is equal, to the byte, to that of a run over all recordings.

    Can be repeated, also with other tables or after more recordings were prepared.

    Raises:
        OutputError: the store has no shards; a shard is missing, not finished, of other settings or of other shards,
            or lacks a recording or a file: all of them in one message.
        OutputLockedError: shards are being prepared and nothing else is wrong; another run writes the store.
        SettingsError: tables that cannot be used; the shards were given different ones; another version prepared them;
            the same file under two subjects.
    """
    out = store_path(request.out)
    plan = read_plan(out)
    if plan is None:
        raise OutputError(f"{request.out} has no shards", "prepare them first with avpenet prepare ... --shard 1/N")
    with output_lock(out / STORE_FILE):
        # The run of a shard looks at the store's lock after taking its own.
        records = _checked_records(out, plan)
        recordings = _prepared_recordings(out, plan, records)
        settings = _settings(out, plan, records)
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
        finish = StoreFinish(out, before, recordings, annotations, settings, notice)
        return finish_checked(finish, callbacks, prune=request.prune)


@dataclass(frozen=True)
class _Problem:
    """Why a shard cannot be merged yet; `shard` is None for a file that belongs to none."""

    shard: Shard | None
    what: str
    is_running: bool = False


def _checked_records(out: Path, plan: ShardPlan) -> dict[Shard, ShardRecord]:
    """The records of all shards that have recordings; raises with everything that is wrong with them."""
    problems: list[_Problem] = _foreign_files(out, plan)
    running = running_shards(out)
    records: dict[Shard, ShardRecord] = {}
    for shard in plan.shards:
        planned = [item for item in plan.recordings if item.shard == shard.number]
        if holder := running.get(shard):
            problems.append(_Problem(shard, f"is being prepared by {holder}", is_running=True))
            continue
        if not planned:
            continue
        path = shard_record_path(out, shard)
        try:
            record = read_shard_record(path)
            what = _problem_of(out, shard, record, planned, plan)
        except AvpenetError as error:
            record, what = None, f"cannot be used: {error.message}"
        if what:
            problems.append(_Problem(shard, what))
        elif record is not None:
            records[shard] = record
    if problems:
        raise _refusal(out, problems)
    return records


def _foreign_files(out: Path, plan: ShardPlan) -> list[_Problem]:
    names = sorted(path.name for path in shards_folder(out).iterdir())
    return [
        _Problem(None, f"{name} belongs to other shards than these {plan.count}")
        for name in names
        if (shard := shard_of_output(name)) is not None
        and shard not in plan.shards
        and name == shard_record_path(out, shard).name
    ]


def _problem_of(
    out: Path, shard: Shard, record: ShardRecord | None, planned: Sequence[PlannedRecording], plan: ShardPlan
) -> str:
    """What is wrong with the record of a shard; empty if nothing is."""
    recordings = plural(len(planned), "recording")
    if record is None:
        return f"is missing ({recordings})"
    if (record.number, record.count) != (shard.number, shard.count):
        return f"is foreign: its record is that of shard {Shard(record.number, record.count)}"
    settings = record.prepare_settings(shard_record_path(out, shard))
    if differences := _differences(plan, settings):
        return f"has other settings: {differences}"
    if not record.finished:
        return f"is not finished ({recordings})"
    outcomes = {item.key: item for item in record.recordings}
    added = [item.name for item in planned if item.key not in outcomes]
    if added:
        return f"has not prepared {plural(len(added), 'recording')}, such as {added[0]}"
    fingerprint = digest_of(settings.segment_fingerprint_fields)
    lost = [item.name for item in planned if not _is_accounted_for(out, outcomes[item.key], fingerprint)]
    if lost:
        return f"lacks {plural(len(lost), 'segment file')}, such as that of {lost[0]}"
    return ""


def _is_accounted_for(out: Path, outcome: ShardRecording, fingerprint: str) -> bool:
    """Whether a recording failed or has its whole segment file."""
    if not outcome.file:
        return bool(outcome.reason)
    header = segment_file_header(out / SEGMENT_FILES_FOLDER / outcome.file)
    return header is not None and header.fingerprint == fingerprint


def _differences(plan: ShardPlan, settings: PrepareSettings) -> str:
    stored, now = (
        {name: json.dumps(value) for name, value in fields.items()}
        for fields in (plan.settings, settings.store_fingerprint_fields)
    )
    return describe_differences(stored, now)


def _refusal(out: Path, problems: Sequence[_Problem]) -> AvpenetError:
    listed = _some([f"shard {item.shard} {item.what}" if item.shard else item.what for item in problems], "; ")
    message = f"{out} cannot be merged yet: {listed}"
    if all(item.is_running for item in problems):
        return OutputLockedError(message, "wait for it, then merge again")
    to_do = [f"{item.shard.number}/{item.shard.count}" for item in problems if item.shard and not item.is_running]
    steps = [f"run avpenet prepare again with --shard {_some(to_do, ', ')}"] if to_do else []
    if any(item.shard is None for item in problems):
        steps.append(f"remove from {shards_folder(out)} what belongs to others")
    return OutputError(message, f"{', '.join(steps)}, then merge again")


def _some(items: Sequence[str], separator: str) -> str:
    more = len(items) - _NAMED
    return separator.join(items[:_NAMED]) + (f" and {more} more" if more > 0 else "")


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


def _settings(out: Path, plan: ShardPlan, records: Mapping[Shard, ShardRecord]) -> PrepareSettings:
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
