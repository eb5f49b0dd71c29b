"""Which recording belongs to which shard: kept whatever comes and goes, balanced, the same for every run."""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
import subprocess
import sys
import wave
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from avpenet_cli import schemas
from avpenet_cli.errors import ExitCode, Interrupted, OutputError, SettingsError
from avpenet_cli.inputs import collect
from avpenet_cli.runs.callbacks import RunCallbacks
from avpenet_cli.settings import DecodingSettings
from avpenet_cli.shards.plan import PlanRequest, ShardPlan, foresee_plan, plan_shards, read_plan
from avpenet_cli.shards.shard import Shard, plan_path, shard_of_output, shard_output
from tests.conftest import REPOSITORY

RATE_HZ = 8000
SETTINGS = {"weights": "some@1", "stride_s": 3.0, "require": []}


def record(path: Path, seconds: float) -> None:
    """A silent recording of this length."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(RATE_HZ)
        file.writeframes(bytes([128]) * round(seconds * RATE_HZ))


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Four recordings."""
    folder = tmp_path / "an archive"
    folder.mkdir()
    for number, seconds in enumerate([1.0, 2.5, 2.0, 1.5]):
        record(folder / f"{number:02}.wav", seconds)
    return folder


def requested(archive: Path, count: int = 3, **changes: Any) -> PlanRequest:
    inputs = collect([str(archive)], None, False, None)
    request = PlanRequest(archive.parent / "scores.csv", count, inputs, SETTINGS, DecodingSettings())
    return dataclasses.replace(request, **changes)


def shard_of(plan: ShardPlan) -> dict[str, int]:
    return {item.name: item.shard for item in plan.recordings}


def loads_s(plan: ShardPlan) -> list[float]:
    seconds = dict.fromkeys(range(1, plan.count + 1), 0.0)
    for item in plan.recordings:
        assert item.seconds is not None
        seconds[item.shard] += item.seconds
    return list(seconds.values())


def test_first_plan_is_balanced_within_the_longest_recording(archive: Path) -> None:
    lengths = random.Random(1)
    for number in range(4, 12):
        record(archive / f"{number:02}.wav", lengths.uniform(0.5, 4.0))
    for count in (2, 5):
        shutil.rmtree(archive.parent / "scores.shards", ignore_errors=True)
        plan = plan_shards(requested(archive, count))
        loads = loads_s(plan)
        assert len(plan.recordings) == 12
        assert max(loads) - min(loads) <= max(item.seconds or 0 for item in plan.recordings)


def test_every_recording_is_in_one_shard(archive: Path) -> None:
    request = requested(archive, 5)
    plan = plan_shards(request)
    parts = [plan.part_of(request.inputs, shard).recordings for shard in plan.shards]
    assert sorted(item.name for part in parts for item in part) == ["00.wav", "01.wav", "02.wav", "03.wav"]
    for part in parts:
        assert [item.name for item in part] == sorted(item.name for item in part)


def test_recordings_keep_their_shard_when_others_come_and_go(archive: Path) -> None:
    before = shard_of(plan_shards(requested(archive)))
    moments = random.Random(2)
    gone: set[str] = set()
    for number in range(4, 8):
        record(archive / f"{number:02}.wav", moments.uniform(0.5, 4.0))
        name = moments.choice(sorted(before))
        (archive / name).unlink()
        gone.add(name)
        plan = plan_shards(requested(archive, prune=True))
        after = shard_of(plan)
        assert set(after) == {path.name for path in archive.iterdir()}
        assert {name: after[name] for name in before if name not in gone} == {
            name: shard for name, shard in before.items() if name not in gone
        }
        before = after


def test_new_recording_goes_to_the_shard_with_the_fewest_seconds(archive: Path) -> None:
    plan = plan_shards(requested(archive))
    loads = loads_s(plan)
    record(archive / "-first of all.wav", 1.0)
    after = plan_shards(requested(archive))
    assert shard_of(after) == shard_of(plan) | {"-first of all.wav": loads.index(min(loads)) + 1}
    assert after.recordings[0].name == "-first of all.wav"


def test_recordings_of_unknown_length_are_balanced_by_size(archive: Path) -> None:
    for name in ("torn.mp4", "torn too.mp4"):
        (archive / name).write_bytes(bytes(100 * RATE_HZ))
    (archive / "empty.mp4").touch()
    plan = plan_shards(requested(archive))
    torn = [item for item in plan.recordings if "torn" in item.name]
    assert [(item.seconds, item.size_bytes) for item in torn] == [(None, 100 * RATE_HZ)] * 2
    assert torn[0].shard != torn[1].shard
    (third,) = {1, 2, 3} - {item.shard for item in torn}
    assert {item.shard for item in plan.recordings if item.seconds is not None} == {third}


def test_input_that_is_not_there_has_a_shard(archive: Path) -> None:
    inputs = collect([str(archive), str(archive / "gone.mp4"), str(archive / "*.nothing")], None, False, None)
    plan = plan_shards(requested(archive, inputs=inputs))
    assert len(plan.recordings) == 6
    assert {"gone.mp4", "*.nothing"} <= set(shard_of(plan))


def test_plan_is_read_as_it_was_written(archive: Path) -> None:
    request = requested(archive, command="avpenet score --shard 1/3")
    plan = plan_shards(request)
    assert read_plan(request.out) == plan
    content = json.loads(plan_path(request.out).read_text())
    jsonschema.validate(content, schemas.schemas()["shard_plan.schema.json"])
    assert plan.inputs().left_aside == request.inputs.left_aside
    assert [item.key for item in plan.inputs().recordings] == [item.key for item in request.inputs.recordings]


def test_plan_is_written_only_where_it_changes(archive: Path) -> None:
    request = requested(archive)
    plan_shards(request)
    before = plan_path(request.out).stat()
    plan_shards(dataclasses.replace(request, command="avpenet score --shard 2/3"))
    assert plan_path(request.out).stat().st_ino == before.st_ino


def test_foreseen_plan_is_the_plan_and_writes_nothing(archive: Path) -> None:
    request = requested(archive)
    foreseen = foresee_plan(request)
    assert [path.name for path in archive.parent.iterdir()] == [archive.name]
    assert plan_shards(request) == foreseen
    record(archive / "new.wav", 1.0)
    before = plan_path(request.out).read_bytes()
    foreseen = foresee_plan(requested(archive))
    assert plan_path(request.out).read_bytes() == before
    assert plan_shards(requested(archive)) == foreseen


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"count": 4}, "is divided into 3 shards, not 4; choose another --out, or remove "),
        ({"settings": SETTINGS | {"weights": "others@2"}}, 'other weights or settings: weights was "some@1", now "oth'),
        ({"settings": SETTINGS | {"stride_s": 1.0}}, "other weights or settings: stride_s was 3.0, now 1.0; choose"),
    ],
)
def test_shards_that_are_divided_or_made_otherwise_are_refused(
    changes: dict[str, Any], message: str, archive: Path
) -> None:
    request = requested(archive)
    plan_shards(request)
    before = plan_path(request.out).read_bytes()
    with pytest.raises(OutputError) as refusal:
        plan_shards(requested(archive, **changes))
    assert message in str(refusal.value)
    assert refusal.value.exit_code == ExitCode.USAGE
    assert plan_path(request.out).read_bytes() == before


def test_inputs_without_recordings_of_the_plan_are_refused(archive: Path) -> None:
    plan_shards(requested(archive))
    (archive / "03.wav").unlink()
    with pytest.raises(OutputError, match=r"would lose 1 recording that it holds: 1 not among the inputs \(such as 03"):
        plan_shards(requested(archive))
    assert "03.wav" not in shard_of(plan_shards(requested(archive, prune=True)))


def test_the_same_recordings_under_another_path_are_named_as_such(archive: Path) -> None:
    request = requested(archive)
    plan_shards(request)
    elsewhere = archive.parent / "mounted elsewhere"
    archive.rename(elsewhere)
    with pytest.raises(OutputError, match=r"4 recordings under another path than here \(such as 00\.wav\); give them"):
        plan_shards(requested(elsewhere))
    assert len(plan_shards(requested(elsewhere, prune=True)).recordings) == 4


def _cut(text: str) -> str:
    return text[: len(text) // 2]


@pytest.mark.parametrize(
    "damage",
    [
        _cut,
        lambda text: "",
        lambda text: "[]",
        lambda text: text.replace('"plan_version": 1', '"plan_version": 2'),
        lambda text: text.replace('"shard": 3', '"shard": 4'),
        lambda text: text.replace('"count": 3', '"count": "many"'),
    ],
)
def test_damaged_plan_is_refused(damage: Callable[[str], str], archive: Path) -> None:
    request = requested(archive)
    plan = plan_shards(request)
    path = plan_path(request.out)
    damaged = damage(path.read_text())
    path.write_text(damaged)
    with pytest.raises(OutputError, match=r"is damaged, or of another version of avpenet; remove .*plan\.json, which"):
        plan_shards(request)
    assert path.read_text() == damaged
    path.unlink()
    assert plan_shards(request) == plan


def test_shards_of_a_table_with_another_suffix_are_refused(archive: Path) -> None:
    plan_shards(requested(archive))
    with pytest.raises(OutputError, match=r"scores\.shards belongs to scores\.csv; choose an --out whose name differs"):
        plan_shards(requested(archive, out=archive.parent / "scores.parquet"))


def test_missing_folder_is_not_created(archive: Path) -> None:
    with pytest.raises(OutputError, match="its folder does not exist"):
        plan_shards(requested(archive, out=archive.parent / "mistyped" / "scores.csv"))
    assert not (archive.parent / "mistyped").exists()


class Stopping(RunCallbacks):
    def should_stop(self) -> bool:
        return True


def test_interrupted_planning_leaves_no_plan(archive: Path) -> None:
    request = requested(archive)
    with pytest.raises(Interrupted):
        plan_shards(request, Stopping())
    assert read_plan(request.out) is None


_START = """
import sys
from pathlib import Path
from avpenet_cli.inputs import collect
from avpenet_cli.runs.callbacks import RunCallbacks
from avpenet_cli.settings import DecodingSettings
from avpenet_cli.shards.plan import PlanRequest, plan_shards

class Printing(RunCallbacks):
    def info(self, message, **fields):
        print(message)

archive = Path(sys.argv[1])
inputs = collect([str(archive)], None, False, None)
sys.stdin.read()
request = PlanRequest(archive.parent / "scores.csv", 4, inputs, {"weights": "some@1"}, DecodingSettings())
print([item.shard for item in plan_shards(request, Printing()).recordings])
"""


def test_runs_that_start_together_make_one_plan(archive: Path) -> None:
    for number in range(4, 16):
        record(archive / f"{number:02}.wav", 1.0 + number / 40)
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", _START, str(archive)],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for run in runs:  # each waits until its standard input is closed
        assert run.stdin is not None
        run.stdin.close()
        run.stdin = None
    said = [run.communicate(timeout=60)[0].splitlines() for run in runs]
    assert [run.returncode for run in runs] == [0] * 3
    assert len({lines[-1] for lines in said}) == 1
    assert [line for lines in said for line in lines if "reading the headers" in line] == [
        "dividing the archive: reading the headers of 16 recordings"
    ]
    assert not list((archive.parent / "scores.shards").glob(".*"))


@pytest.mark.parametrize("text", ["3", "0/4", "5/4", "1/0", "-1/4", "1/10001", "a/b", "1/4/5", " 1/4", "１/4", ""])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"such as 3/16"):
        Shard.parse(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [("3/16", "03-of-16.csv"), ("16/16", "16-of-16.csv"), ("7/9", "7-of-9.csv"), ("1/1", "1-of-1.csv")],
)
def test_outputs_of_shards_sort_by_number(text: str, name: str, tmp_path: Path) -> None:
    shard = Shard.parse(text)
    path = shard_output(tmp_path / "scores.v2.csv", shard)
    assert path == tmp_path / "scores.v2.shards" / name
    assert shard_of_output(f"{path.name}.journal") == shard


def test_names_of_other_files_are_no_shards() -> None:
    others: Sequence[str] = ("plan.json", "03-of-16", "x03-of-16.csv", "03-of-16x.csv", "03-of-.csv")
    assert [shard_of_output(name) for name in others] == [None, Shard(3, 16), None, None, None]
