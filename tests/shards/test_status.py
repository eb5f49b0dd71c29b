"""The status of an output that is divided into shards."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import jsonschema
import pytest

from avpenet_cli import schemas
from avpenet_cli.errors import SettingsError
from avpenet_cli.inputs import Inputs, LeftAside, Recording
from avpenet_cli.records import Quality, RecordingOutcome, SegmentScore, Status
from avpenet_cli.runs.journal import Journal
from avpenet_cli.runs.lock import output_lock
from avpenet_cli.runs.status import OutputStatus
from avpenet_cli.settings import DecodingSettings
from avpenet_cli.shards.plan import PlanRequest, ShardPlan, plan_shards
from avpenet_cli.shards.shard import Shard, shard_output
from avpenet_cli.shards.status import read_whole_status
from tests.conftest import Answer

SETTINGS = {"weights": "some"}
FAILED = RecordingOutcome(Status.FAILED, reason="unreadable", message="not a recording")
SEGMENTS = (
    SegmentScore(0, 0.0, 3.0, Status.SCORED, Quality(), score=1.0, label="low"),
    SegmentScore(1, 3.0, 6.0, Status.UNSCORABLE, Quality(), reason="no_face"),
)
SCORED = RecordingOutcome(Status.SCORED, SEGMENTS)


def divide(out: Path, recordings: int) -> ShardPlan:
    names = [f"{number}.mp4" for number in range(recordings)]
    inputs = Inputs(tuple(Recording(Path("/archive", name), name, f"key-{name}") for name in names), LeftAside())
    return plan_shards(PlanRequest(out, 3, inputs, SETTINGS, DecodingSettings()))


def run(
    out: Path,
    plan: ShardPlan,
    number: int,
    *,
    outcomes: dict[str, RecordingOutcome] | None = None,
    at: str = "12:00",
    ended: bool = True,
) -> None:
    """What a run of a shard, or for the number 0 a merge, leaves in its journal."""
    wanted = [item for item in plan.inputs().recordings if number == 0 or item.key in plan.keys_of(Shard(number, 3))]
    journal = Journal(out if number == 0 else shard_output(out, Shard(number, 3)), SETTINGS)
    started = f"2026-10-01T{at}:00+02:00"
    journal.begin_run(wanted, {"started": started, "pseudonymised": False}, with_paths=True)
    facts = Path(__file__).stat()
    for recording in wanted:
        outcome = (outcomes or {}).get(recording.name, SCORED)
        journal.note(recording, None if outcome is FAILED else facts, outcome)
    if ended:
        journal.end_run(started)
    journal.close()


def states(status: OutputStatus) -> list[tuple[str, int, int, int]]:
    return [(shard.state, shard.done, shard.failed, shard.to_do) for shard in status.shards]


def test_shards_are_added_up_until_they_are_merged(tmp_path: Path, avpenet_here: Callable[..., Answer]) -> None:
    out = tmp_path / "scores.csv"
    plan = divide(out, 7)
    sizes = [len(plan.keys_of(shard)) for shard in plan.shards]
    assert sizes == [3, 2, 2]
    first = next(item.name for item in plan.recordings if item.shard == 1)
    run(out, plan, 1, outcomes={first: FAILED})
    run(out, plan, 2, ended=False)
    with output_lock(shard_output(out, Shard(2, 3))):
        status = read_whole_status(out)
        assert (status.state, status.to_do) == ("running", 2)
        assert states(status) == [("finished", 2, 1, 0), ("running", 2, 0, 0), ("not started", 0, 0, 2)]
        assert "shard 2: running, process" in avpenet_here("status", out).out
    assert read_whole_status(out).state == "interrupted"
    run(out, plan, 2)
    run(out, plan, 3)
    status = read_whole_status(out)
    assert (status.state, status.to_do, status.failed) == ("unmerged", 0, {"unreadable": 1})
    assert [recording.recording for recording in status.failed_recordings] == [first]
    assert status.recordings == {"scored": 6, "unscorable": 0, "failed": 1}
    assert (status.segments, status.unscorable) == ({"scored": 6, "unscorable": 6}, {"no_face": 6})
    assert f"all shards finished, not merged: avpenet merge {out.name}" in avpenet_here("status", out).out
    jsonschema.validate(json.loads(json.dumps(asdict(status))), schemas.schemas()["status.schema.json"])
    run(out, plan, 0, at="13:00", outcomes={first: FAILED})
    merged = read_whole_status(out)
    assert (merged.state, merged.recordings) == ("finished", status.recordings)
    assert len(merged.shards) == 3


def test_recordings_that_were_added_are_still_to_do(tmp_path: Path, avpenet_here: Callable[..., Answer]) -> None:
    out = tmp_path / "scores.csv"
    plan = divide(out, 6)
    for number in (1, 2, 3):
        run(out, plan, number)
    run(out, plan, 0, at="13:00")
    divide(out, 7)
    status = read_whole_status(out)
    assert (status.state, status.to_do) == ("interrupted", 1)
    assert states(status).count(("finished", 2, 0, 1)) == 1
    assert "finished, with new recordings: 2 done, 0 failed, 1 to do" in avpenet_here("status", out).out


def test_a_merge_before_a_shard_ran_again_is_none(tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    plan = divide(out, 4)
    for number in (1, 2, 3):
        run(out, plan, number)
    run(out, plan, 0, at="13:00")
    run(out, plan, 2, at="14:00")
    assert read_whole_status(out).state == "unmerged"


@pytest.mark.parametrize("damage", ["DROP TABLE tally", "UPDATE tally SET mtime_ns = 0, scored = 9"])
def test_numbers_that_do_not_belong_to_an_outcome_are_counted_anew(tmp_path: Path, damage: str) -> None:
    out = tmp_path / "scores.csv"
    plan = divide(out, 3)
    run(out, plan, 0)
    (tmp_path / "scores.shards" / "plan.json").unlink()
    before = read_whole_status(out)
    with sqlite3.connect(out.with_name("scores.csv.journal")) as database:
        database.execute(damage)
    database.close()
    assert read_whole_status(out) == before
    assert before.segments == {"scored": 3, "unscorable": 3}


def test_a_store_has_no_status(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    divide(store, 2)
    with pytest.raises(SettingsError, match=r"is a folder; .* of a store, avpenet merge says"):
        read_whole_status(store)
