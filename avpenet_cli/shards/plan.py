"""Which recording belongs to which shard: a file beside the shards that every run of a shard brings up to date.

A recording keeps its shard from the first run that meets it, whatever is added later. New ones go, longest first, to
the shard with the fewest seconds so far (Graham 1969, SIAM J. Appl. Math. 17:416).
"""

from __future__ import annotations

import contextlib
import heapq
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from avpenet_cli.errors import OutputError, OutputLockedError, RecordingError
from avpenet_cli.inputs import Inputs, LeftAside, Recording
from avpenet_cli.media.probe import probe
from avpenet_cli.phrasing import plural
from avpenet_cli.runs.callbacks import NO_CALLBACKS, RunCallbacks
from avpenet_cli.runs.guard import refuse_dropping
from avpenet_cli.runs.lock import Lease, output_lock
from avpenet_cli.settings import DecodingSettings, describe_differences
from avpenet_cli.shards.shard import Shard, plan_path, shards_folder
from avpenet_cli.storage import make_private_folder, read_document, write_json

PLAN_VERSION = 1
_PROBES = 8
"""Headers read at a time: reading one waits for the disk and for ffprobe."""
_POLL_S = 0.2


@dataclass(frozen=True)
class PlannedRecording:
    """One recording and its shard.

    Attributes:
        key: as in the journal.
        name: its name or pseudonym.
        problem: why it cannot be processed; empty if it can.
        seconds: by its header; None where that does not say.
        size_bytes: of its file; 0 where there is none.
        shard: number of its shard, from 1.
    """

    key: str
    name: str
    problem: str
    seconds: float | None
    size_bytes: int
    shard: int


@dataclass(frozen=True)
class ShardPlan:
    """How an archive is divided. `schemas/shard_plan.schema.json` in the package is its JSON Schema.

    Attributes:
        plan_version: version of this format.
        output: name of the output that the shards are merged into, without a folder.
        count: number of shards.
        pseudonymised: whether names are pseudonyms.
        settings: flat: weights and settings, on which all shards agree.
        command: of the latest run that changed the plan.
        left_aside: what that run found among its inputs and does not process, by reason and by suffix.
        recordings: in the order of its inputs.
    """

    plan_version: int
    output: str
    count: int
    pseudonymised: bool
    settings: dict[str, Any]
    command: str
    left_aside: LeftAside
    recordings: tuple[PlannedRecording, ...]

    @property
    def shards(self) -> tuple[Shard, ...]:
        """All shards, in order; the last ones may have no recordings."""
        return tuple(Shard(number, self.count) for number in range(1, self.count + 1))

    def keys_of(self, shard: Shard) -> frozenset[str]:
        """Keys of a shard's recordings."""
        return frozenset(item.key for item in self.recordings if item.shard == shard.number)

    def part_of(self, inputs: Inputs, shard: Shard) -> Inputs:
        """The recordings of a shard, in the order of the inputs."""
        keys = self.keys_of(shard)
        return replace(inputs, recordings=tuple(item for item in inputs.recordings if item.key in keys))

    def inputs(self) -> Inputs:
        """All recordings as inputs, without paths, which only the shards' journals have."""
        recordings = tuple(Recording(Path(), item.name, item.key, item.problem) for item in self.recordings)
        return Inputs(recordings, self.left_aside)


_PLAN = TypeAdapter(ShardPlan)


@dataclass(frozen=True)
class PlanRequest:
    """What the run of a shard knows about the whole.

    Attributes:
        out: the output that the shards are merged into.
        count: number of shards.
        inputs: all recordings, of all shards.
        settings: flat, JSON values: weights and settings, on which all shards must agree.
        decoding: how headers are read.
        pseudonymised: names are pseudonyms.
        prune: drop from the plan what is no longer among the inputs.
        command: the command line, for the manifest.
    """

    out: Path
    count: int
    inputs: Inputs
    settings: Mapping[str, Any]
    decoding: DecodingSettings
    pseudonymised: bool = False
    prune: bool = False
    command: str = ""


def read_plan(out: Path) -> ShardPlan | None:
    """The plan of an output's shards; None where it has no shards.

    Raises:
        OutputError: the plan is damaged, cannot be read, or is of another output or another version.
    """
    path = plan_path(out)
    plan = read_document(path, _PLAN, _is_valid, f"remove {path}, which the next run of a shard makes again")
    if plan is None:
        return None
    if plan.output != out.name:
        raise OutputError(
            f"{path.parent} belongs to {plan.output}", "choose an --out whose name differs in more than its suffix"
        )
    return plan


def _is_valid(plan: ShardPlan) -> bool:
    numbers = {item.shard for item in plan.recordings}
    return plan.plan_version == PLAN_VERSION and numbers <= set(range(1, plan.count + 1))


def plan_shards(request: PlanRequest, callbacks: RunCallbacks = NO_CALLBACKS) -> ShardPlan:
    """Bring the plan up to date with the inputs, and give a shard to each recording that is new; waits for its turn.

    Raises:
        OutputError: the plan has another number of shards, other settings, or recordings that are not among the inputs
            (without `prune`), or it cannot be read or written.
        OutputLockedError: another run took this one for dead while it read headers.
        Interrupted: the callbacks asked for it.
    """
    make_private_folder(shards_folder(request.out))
    with _plan_lock(plan_path(request.out), callbacks) as lease:
        known = read_plan(request.out)
        if known is not None:
            _check_count(known, request)
            _check_settings(known, request)
            _check_recordings(known, request)
        plan = _planned(known, request, callbacks)
        # The commands of two shards differ; the plan is the same.
        if known is None or replace(plan, command=known.command) != known:
            lease.check()
            write_json(plan_path(request.out), asdict(plan))
    return plan


def foresee_plan(request: PlanRequest, callbacks: RunCallbacks = NO_CALLBACKS) -> ShardPlan:
    """The plan that `plan_shards` would write. Writes nothing, and compares no settings: this may be another computer,
    such as a cluster's login node, whose device would decide otherwise.

    Raises:
        OutputError, Interrupted: as `plan_shards`.
    """
    known = read_plan(request.out)
    if known is not None:
        _check_count(known, request)
        _check_recordings(known, request)
    return _planned(known, request, callbacks)


class _SilentCallbacks(RunCallbacks):
    """Only stops the run."""

    def __init__(self, callbacks: RunCallbacks) -> None:
        self._callbacks = callbacks

    def should_stop(self) -> bool:
        return self._callbacks.should_stop()


@contextlib.contextmanager
def _plan_lock(path: Path, callbacks: RunCallbacks) -> Iterator[Lease]:
    """The lock of the plan, which another run holds only while it reads the headers of new recordings."""
    lock_callbacks = callbacks
    with contextlib.ExitStack() as stack:
        while True:
            try:
                lease = stack.enter_context(output_lock(path, lock_callbacks))
                break
            except OutputLockedError as error:
                if lock_callbacks is callbacks:
                    callbacks.info(f"waiting: {error.message}")
                    lock_callbacks = _SilentCallbacks(callbacks)
                callbacks.check_stop()
                time.sleep(_POLL_S)
        yield lease


def _check_count(known: ShardPlan, request: PlanRequest) -> None:
    if known.count != request.count:
        folder = shards_folder(request.out)
        raise OutputError(
            f"{folder} is divided into {plural(known.count, 'shard')}, not {request.count}", _start_over(folder)
        )


def _check_settings(known: ShardPlan, request: PlanRequest) -> None:
    stored, wanted = (
        {name: json.dumps(value) for name, value in each.items()} for each in (known.settings, request.settings)
    )
    if differences := describe_differences(stored, wanted):
        folder = shards_folder(request.out)
        raise OutputError(f"{folder} has shards with other weights or settings: {differences}", _start_over(folder))


def _check_recordings(known: ShardPlan, request: PlanRequest) -> None:
    """Raise where a recording of the plan is not among the inputs, which may be those of a mistyped folder."""
    if request.prune:
        return
    folder = shards_folder(request.out)
    named = {recording.key for recording in request.inputs.recordings}
    missing = [item.name for item in known.recordings if item.key not in named]
    before = {item.key for item in known.recordings}
    moved = set(missing) & {recording.name for recording in request.inputs.recordings if recording.key not in before}
    if moved:
        raise OutputError(
            f"{folder} has {plural(len(moved), 'recording')} under another path than here (such as {min(moved)})",
            "give them the same path on every computer, or --prune to process them again under this one",
        )
    refuse_dropping(folder, missing, [])


def _start_over(folder: Path) -> str:
    return f"choose another --out, or remove {folder} to start over"


def _planned(known: ShardPlan | None, request: PlanRequest, callbacks: RunCallbacks) -> ShardPlan:
    before = {item.key: item for item in known.recordings} if known else {}
    new = [recording for recording in request.inputs.recordings if recording.key not in before]
    measured = _measure(new, request.decoding, callbacks)
    kept = [before[recording.key] for recording in request.inputs.recordings if recording.key in before]
    placed = {item.key: item for item in divide(measured, request.count, kept)}
    recordings = [
        replace(
            placed.get(recording.key) or before[recording.key],
            name=recording.name,
            problem=recording.problem,
        )
        for recording in request.inputs.recordings
    ]
    return ShardPlan(
        plan_version=PLAN_VERSION,
        output=request.out.name,
        count=request.count,
        pseudonymised=request.pseudonymised,
        settings=dict(request.settings),
        command=request.command,
        left_aside=request.inputs.left_aside,
        recordings=tuple(recordings),
    )


def divide(
    recordings: Sequence[PlannedRecording], count: int, placed: Sequence[PlannedRecording] = ()
) -> list[PlannedRecording]:
    """Give each recording a shard: longest first, each to the shard with the fewest seconds so far.

    Of several such, to the one with the fewest recordings, since no length may be known.

    Args:
        recordings: without a shard.
        count: number of shards.
        placed: recordings that keep the shards that they have.
    """
    load = dict.fromkeys(range(1, count + 1), 0.0)
    number = dict.fromkeys(load, 0)
    expected = expected_seconds([*placed, *recordings])
    for item in placed:
        load[item.shard] += expected(item)
        number[item.shard] += 1
    lightest = [(seconds, number[shard], shard) for shard, seconds in load.items()]
    heapq.heapify(lightest)
    divided = []
    for item in sorted(recordings, key=lambda item: (-expected(item), item.key)):
        seconds, before, shard = lightest[0]
        heapq.heapreplace(lightest, (seconds + expected(item), before + 1, shard))
        divided.append(replace(item, shard=shard))
    return divided


def _measure(
    recordings: Sequence[Recording], decoding: DecodingSettings, callbacks: RunCallbacks
) -> list[PlannedRecording]:
    """Length and size of recordings, not yet in a shard."""

    def measure(recording: Recording) -> PlannedRecording:
        callbacks.check_stop()
        seconds, size_bytes = None, 0
        if not recording.problem:
            with contextlib.suppress(RecordingError, OSError, ValueError):
                size_bytes = recording.path.stat().st_size
                seconds = probe(recording.path, decoding).nominal_s or None
        return PlannedRecording(recording.key, recording.name, recording.problem, seconds, size_bytes, 0)

    if recordings:
        callbacks.info(f"dividing the archive: reading the headers of {plural(len(recordings), 'recording')}")
    with ThreadPoolExecutor(_PROBES) as pool:
        return list(pool.map(measure, recordings))


def expected_seconds(recordings: Sequence[PlannedRecording]) -> Callable[[PlannedRecording], float]:
    """How many seconds a recording has, by its size where its header does not say."""
    stated = [item for item in recordings if item.seconds is not None and item.size_bytes]
    size_bytes = sum(item.size_bytes for item in stated)
    per_byte = sum(item.seconds or 0.0 for item in stated) / size_bytes if size_bytes else 0.0
    return lambda item: item.size_bytes * per_byte if item.seconds is None else item.seconds
