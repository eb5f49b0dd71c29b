"""`avpenet score --dry-run --plan`: how long an archive takes, on machines like this one."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from rich.console import Console

from avpenet_cli.cli.dry_run import Listed
from avpenet_cli.cli.run_log import printable
from avpenet_cli.phrasing import clock, plural
from avpenet_cli.runs.callbacks import RunCallbacks

if TYPE_CHECKING:
    from avpenet_cli.scoring.sample_speed import SampleRecording, SpeedSample
    from avpenet_cli.settings import RunSettings
    from avpenet_cli.shards.estimate import ShardEstimate, SpeedModel
    from avpenet_cli.shards.shard import Shard
    from avpenet_cli.weights import WeightsEntry

_BUSY = 0.5
"""Processes that wait for each core, from which on a measurement says more about others than about this program."""


def print_estimate(
    listed: Listed, weights: WeightsEntry, run: RunSettings, shard: Shard | None, callbacks: RunCallbacks
) -> None:
    """Score pieces of the recordings, and print how long all of them take.

    Args:
        listed: from `print_inputs`.
        shard: names the number of shards; by default several numbers are shown.

    Raises:
        AvpenetError: as `measure_sample`.
    """
    from avpenet_cli.errors import RecordingError
    from avpenet_cli.runs.resources import usable_cores
    from avpenet_cli.scoring.sample_speed import measure_sample
    from avpenet_cli.shards.estimate import SHARD_COUNTS, estimate_shards, fit

    recordings = _sized(listed)
    if not recordings:
        raise RecordingError(
            "unreadable", "no recording can be read, so that nothing can be estimated", "check the list"
        )
    cores = usable_cores()
    busy = os.getloadavg()[0] / cores
    callbacks.info("scoring pieces of the recordings to see how fast this machine is")
    sample = measure_sample(recordings, weights, run, callbacks)
    model = fit(sample.pieces, sample.startup)
    sized = [recording.sized for recording in recordings]
    counts = [count for count in SHARD_COUNTS if count <= len(sized)] if shard is None else [shard.count]
    on_cpu = sample.device == "cpu"
    estimates = estimate_shards(
        sized, model, counts, sample.speedup, cores_at_best=cores if busy > _BUSY and on_cpu else None
    )
    lines = [
        *_measured(sample, weights.name),
        "",
        *_totals(recordings, listed, model),
        "",
        *_table(estimates),
        "",
        *_assumptions(sample, busy),
    ]
    console = Console() if Console().is_terminal else Console(width=10_000)
    for line in lines:
        console.print(printable(line), highlight=False, markup=False)


def _sized(listed: Listed) -> list[SampleRecording]:
    from avpenet_cli.scoring.sample_speed import SampleRecording, mpixel_per_s
    from avpenet_cli.shards.estimate import SizedRecording
    from avpenet_cli.shards.plan import PlannedRecording

    sized = []
    for recording, facts in listed.readable:
        size_bytes = 0
        with contextlib.suppress(OSError):  # gone since its header was read
            size_bytes = recording.path.stat().st_size
        planned = PlannedRecording(recording.key, recording.name, "", facts.nominal_s or None, size_bytes, 0)
        sized.append(SampleRecording(SizedRecording(planned, mpixel_per_s(facts.video)), recording.path, facts))
    return sized


def _measured(sample: SpeedSample, weights: str) -> list[str]:
    from avpenet_cli.runs.host import host_facts

    host = host_facts()
    lines = [
        "",
        f"measured here ({host.cpu}, {plural(host.cores, 'core')}; {sample.device}, {sample.precision}, {weights}):",
    ]
    for piece in sample.pieces:
        pixels = "no video" if piece.mpixel_per_s is None else f"{piece.mpixel_per_s:.1f} Mpixel/s"
        lines.append(
            f"  {piece.name} {clock(piece.start_s)}-{clock(piece.start_s + piece.length_s)}, {pixels}: "
            f"{piece.cost.wall_s / piece.length_s:.2f} s, {piece.cost.cpu_s / piece.length_s:.2f} CPU-s "
            "for each recorded second"
        )
    recorded_s = sum(piece.length_s for piece in sample.pieces)
    unscored = f"; {plural(sample.unscored, 'piece')} could not be scored" if sample.unscored else ""
    pieces = plural(len(sample.pieces), "piece")
    lines.append(f"{pieces}, {recorded_s:.0f} s recorded, in {_time(sample.taken_s)} with loading{unscored}")
    return lines


def _totals(recordings: list[SampleRecording], listed: Listed, model: SpeedModel) -> list[str]:
    from avpenet_cli.shards.estimate import output_bytes, total_cpu_s
    from avpenet_cli.shards.plan import expected_seconds

    sized = [recording.sized for recording in recordings]
    seconds = expected_seconds([recording.planned for recording in sized])
    total_s = sum(seconds(recording.planned) for recording in sized)
    written = output_bytes(len(sized), listed.segments)
    return [
        f"recorded: {_time(total_s)}; to score them: {_time(total_cpu_s(sized, model))} of CPU time",
        f"outputs: about {_size(written)} for one run, {_size(2 * written)} with shards",
    ]


def _table(estimates: list[ShardEstimate]) -> list[str]:
    lines = [f"{'shards':>6}  {'longest shard':>14}  {'90 % range':>22}  {'read from the archive':>22}"]
    for row in estimates:
        if row.low_s is None or row.high_s is None:
            span = "not known: one piece"
        else:
            span = f"{_time(row.low_s)} to {_time(row.high_s)}"
        lines.append(f"{row.count:>6}  {_time(row.longest_s):>14}  {span:>22}  {_size(row.bytes_per_s) + '/s':>22}")
    return lines


def _assumptions(sample: SpeedSample, busy: float) -> list[str]:
    lines = [
        "This assumes that each shard has a machine like this one to itself, that the archive can be read as fast as",
        "said, and that nothing is scored yet. The range is that of the pieces above, not of other machines or nights.",
        f"Memory of a run with one worker: {sample.peak_mib / 1024:.1f} GiB at its peak here.",
    ]
    if sample.workers > 1:
        lines.append(
            f"{sample.workers} workers are taken to be {sample.speedup:.1f} times as fast as one, by calculation: the "
            "pieces were scored one at a time."
        )
    if busy > _BUSY:
        lines.append(
            f"This machine had other work to do ({busy:.1f} processes for each core): idle, it is faster. The range "
            "begins where all cores are used to the full."
        )
    return lines


def _time(seconds: float) -> str:
    """To two or three digits."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 600:
        return f"{seconds / 60:.1f} min"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    hours = seconds / 3600
    return f"{hours:.1f} h" if hours < 100 else f"{hours:.0f} h"


def _size(size_bytes: float) -> str:
    for unit in ("kB", "MB", "GB"):
        size_bytes /= 1000
        if size_bytes < 1000:
            return f"{size_bytes:.1f} {unit}" if size_bytes < 10 else f"{size_bytes:.0f} {unit}"
    return f"{size_bytes / 1000:.1f} TB"
