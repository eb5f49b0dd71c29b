"""Make the finished shards of a large archive, to measure a merge.

Plan, journals and manifests are real, outcomes made up; the shards' own tables, which no merge reads, are left out.

    python -m tests.bench.merge_scale /tmp/archive --recordings 100000 --segments 20 --shards 16
    /usr/bin/time -v python -m avpenet_cli merge /tmp/archive/scores.csv
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter

from avpenet_cli.inputs import Inputs, Recording
from avpenet_cli.records import RecordingOutcome, Status
from avpenet_cli.runs.journal import FileFacts, Journal, JournalPart
from avpenet_cli.runs.manifest import Manifest, Totals, file_entry, manifest_path, recording_entry, write_manifest
from avpenet_cli.runs.manifest_entries import RecordedAtEntry, TableEntry, Timing
from avpenet_cli.shards.plan import PLAN_VERSION, PlannedRecording, ShardPlan, divide
from avpenet_cli.shards.shard import plan_path, shard_output, shards_folder
from avpenet_cli.storage import make_private_folder, write_json
from tests.support.shard_runs import made_up, requested, settings_of

_DIFFERENT = 200
"""Outcomes that are made up; one recording in 100 fails."""
_FILE = 1_000_000, 1_790_000_000_000_000_000
"""Size and time of every recording's file."""
_SHA256 = "0" * 64


def make_shards(folder: Path, number: int, segments: int, count: int) -> None:
    """Write `scores.shards` of an archive into a folder."""
    recordings = tuple(
        Recording(folder / name, name, hashlib.sha256(name.encode()).hexdigest())
        for name in (f"ward-{place % 40:02d}/P{place:06d}-01.mp4" for place in range(number))
    )
    request = requested(folder / "scores.csv", recordings, command=f"avpenet score [{number} inputs] --out scores.csv")
    unplaced = [
        PlannedRecording(item.key, item.name, "", 3.0 * segments, 1_000_000, 0) for item in request.inputs.recordings
    ]
    placed = {item.key: item for item in divide(unplaced, count)}
    plan = ShardPlan(
        PLAN_VERSION,
        request.out.name,
        count,
        False,
        settings_of(request),
        request.command,
        request.inputs.left_aside,
        tuple(placed[item.key] for item in recordings),
    )
    make_private_folder(shards_folder(request.out))
    write_json(plan_path(request.out), asdict(plan))
    to_json = TypeAdapter(RecordingOutcome).dump_json
    outcomes = [
        made_up(replace(recordings[0], name=f"{'bad' if place % 100 == 0 else ''}{place}"), segments)
        for place in range(_DIFFERENT)
    ]
    texts = [to_json(outcome).decode() for outcome in outcomes]
    for shard in plan.shards:
        part = Inputs(tuple(item for item in recordings if placed[item.key].shard == shard.number), plan.left_aside)
        started = datetime.now().astimezone()
        facts = {
            "started": started.isoformat(timespec="seconds"),
            "command": request.command,
            "left_aside": asdict(plan.left_aside),
            "pseudonymised": False,
        }
        drawn = [(item, int(item.key[:8], 16) % _DIFFERENT) for item in part.recordings]
        scored = [(item.key, place) for item, place in drawn if outcomes[place].status is not Status.FAILED]
        failed = [(item.key, place) for item, place in drawn if outcomes[place].status is Status.FAILED]
        rows = JournalPart(
            frozenset(item.key for item in part.recordings),
            [(key, *_FILE, texts[place]) for key, place in scored],
            [(key, texts[place]) for key, place in failed],
            [(key, False, *_FILE, _SHA256) for key, _ in scored] + [(key, True, *_FILE, "") for key, _ in failed],
            [(key, *_FILE, "scored", segments, "{}") for key, _ in scored],
        )
        totals = Totals()
        for _, place in drawn:
            totals.add(outcomes[place])
        out = shard_output(request.out, shard)
        timing = Timing.between(started, datetime.now().astimezone())
        manifest = Manifest.of(
            request.settings,
            request.weights.description,
            device="cpu",
            table=TableEntry(out.name, _SHA256, segments * len(scored)),
            totals=totals.entry(),
            timing=timing,
            recordings=[
                recording_entry(item, outcomes[place], False, file=file_entry(FileFacts(*_FILE, _SHA256)))
                for item, place in drawn
            ],
            recorded_at=RecordedAtEntry("container", len(drawn), 0),
            command=request.command,
        )
        with contextlib.closing(Journal(out, plan.settings)) as journal:
            journal.merge(part.recordings, facts, [rows], with_paths=True, prune=False)
            write_manifest(manifest_path(out), manifest)
            journal.end_run(timing.finished)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--recordings", type=int, default=100_000)
    parser.add_argument("--segments", type=int, default=20)
    parser.add_argument("--shards", type=int, default=16)
    options = parser.parse_args()
    options.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    make_shards(options.folder, options.recordings, options.segments, options.shards)
