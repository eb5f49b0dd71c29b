"""How far an output is that may be divided into shards: each of them, and all together. Changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from avpenet_cli.runs.journal import journal_path
from avpenet_cli.runs.lock import lock_holder
from avpenet_cli.runs.status import STATUS_VERSION, OutputStatus, ShardState, ShardStatus, State, read_status
from avpenet_cli.shards.plan import ShardPlan, read_plan
from avpenet_cli.shards.shard import shard_output


def read_whole_status(output: Path) -> OutputStatus:
    """The status of an output and, where it has shards, of each of them.

    Args:
        output: the table that `avpenet score --out` names; it need not exist yet.

    Raises:
        SettingsError, OutputError, OutputLockedError: as `runs.status.read_status`; also for a shard or the plan.
    """
    # A store has shards, too, but those have no journals.
    plan = None if output.is_dir() else read_plan(output)
    if plan is None:
        return read_status(output)
    planned = Counter(item.shard for item in plan.recordings)
    outputs = {shard.number: shard_output(output, shard) for shard in plan.shards}
    parts = {
        number: read_status(path)
        for number, path in outputs.items()
        if journal_path(path).exists() or lock_holder(path)
    }
    shards = [_shard(number, planned[number], parts.get(number)) for number in outputs]
    if journal_path(output).exists():
        own = read_status(output)
        if own.state == "running" or _is_merged(own, plan, list(parts.values()), shards):
            return replace(own, shards=shards)
    return _sum(output, plan, parts, shards)


def _shard(number: int, recordings: int, part: OutputStatus | None) -> ShardStatus:
    if part is None:
        state: ShardState = "not started" if recordings else "without recordings"
        return ShardStatus(number, state, None, recordings, 0, 0, recordings)
    done, failed = part.recordings["scored"] + part.recordings["unscorable"], part.recordings["failed"]
    to_do = max(recordings - done - failed, 0)
    state = "unknown" if part.state == "unmerged" else part.state
    return ShardStatus(number, state, part.holder, recordings, done, failed, to_do)


def _is_merged(
    own: OutputStatus, plan: ShardPlan, parts: Sequence[OutputStatus], shards: Sequence[ShardStatus]
) -> bool:
    """Whether the output was written after all shards were finished, and has all recordings of the plan."""
    if own.state != "finished" or own.started is None or any(shard.to_do or shard.holder for shard in shards):
        return False
    begun, listed = datetime.fromisoformat(own.started), sum(own.recordings.values())
    finished = [datetime.fromisoformat(part.finished) for part in parts if part.finished]
    return (
        listed == len(plan.recordings) and len(finished) == len(parts) and all(moment <= begun for moment in finished)
    )


def _sum(
    output: Path, plan: ShardPlan, parts: Mapping[int, OutputStatus], shards: Sequence[ShardStatus]
) -> OutputStatus:
    statuses = list(parts.values())
    running = [shard.holder for shard in shards if shard.holder is not None]
    to_do = sum(shard.to_do for shard in shards)
    waiting = any(shard.recordings and shard.state != "finished" for shard in shards)
    state: State = "running" if running else "interrupted" if to_do or waiting else "unmerged"
    started = [status.started for status in statuses if status.started]
    position = {item.name: number for number, item in enumerate(plan.recordings)}
    failed = [recording for status in statuses for recording in status.failed_recordings]
    failed.sort(key=lambda recording: position.get(recording.recording or "", len(position)))
    return OutputStatus(
        status_version=STATUS_VERSION,
        output=output.name,
        state=state,
        holder=None,
        started=min(started, key=datetime.fromisoformat) if started else None,
        finished=None,
        command=plan.command,
        pseudonymised=plan.pseudonymised,
        recordings=_added(["scored", "unscorable", "failed"], (part.recordings for part in statuses)),
        to_do=to_do,
        not_among_inputs=sum(status.not_among_inputs or 0 for status in statuses),
        segments=_added(["scored", "unscorable"], (part.segments for part in statuses)),
        unscorable=_added([], (part.unscorable for part in statuses)),
        failed=_added([], (part.failed for part in statuses)),
        failed_recordings=failed,
        left_aside=plan.left_aside,
        not_known=list(dict.fromkeys(text for status in statuses for text in status.not_known)),
        shards=list(shards),
    )


def _added(names: Sequence[str], counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Sums by name: those of `names` first, then the others, the largest first."""
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return {name: total[name] for name in names} | dict(total.most_common())
